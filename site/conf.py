"""The course as a site, from the notebooks' committed outputs: nothing is executed, and no page asks another host.

    uv run sphinx-build -M html site site/_build -W
    uv run python -m http.server -d site/_build/html

Sphinx wants all pages in one folder, so the notebooks are copied into it first. course.py holds what Sphinx is taught
about them; generated.py collects the indexes, from the notebooks and their checks alone.
"""

import importlib.util
import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


def copy_notebooks(source: Path, target: Path) -> None:
    """Make `target` hold the notebooks of `source`, times included: only what has changed is read again."""
    target.mkdir(exist_ok=True)
    for old in target.iterdir():
        if not (source / old.name).exists():
            old.unlink()
    for notebook in source.glob("*.ipynb"):
        shutil.copy2(notebook, target)


copy_notebooks(HERE.parent / "notebooks", HERE / "notebooks")

project = "Bits from latents"
author = "the authors of Bits from Latents"
copyright = "2026, the authors of Bits from Latents. Text and figures CC BY 4.0, code MIT"

extensions = ["myst_nb", "sphinx-mathjax-offline", "course"]
exclude_patterns = ["_build", "landing", "playground", "**/.ipynb_checkpoints"]
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
smartquotes = False  # the pages say what the notebooks say

nb_execution_mode = "off"
nb_render_markdown_format = "gfm"  # of outputs: with tables
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]  # dead without a kernel
nb_ipywidgets_js: dict[str, dict[str, str]] = {}

html_theme = "sphinx_book_theme"
templates_path = ["_templates"]
html_title = project
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_static_path = ["_static"]
html_css_files = ["course.css"]
html_sourcelink_suffix = ""  # so that a notebook is downloaded under its own name
html_show_sphinx = False
html_theme_options = {
    "navigation_with_keys": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    "show_toc_level": 2,
    "use_fullscreen_button": False,
}


def add_plain_pages(app: Sphinx, error: Exception | None) -> None:
    """Copy what is no page of Sphinx's, and let each part make its data with `build(folder)`."""
    if error or app.builder.name != "html":
        return
    for part, data in (("landing", "landing"), ("playground", "playground/data")):
        if (HERE / part).is_dir():
            shutil.copytree(HERE / part, app.outdir / part, dirs_exist_ok=True)
        if importlib.util.find_spec(f"{part}_data"):
            (app.outdir / data).mkdir(parents=True, exist_ok=True)
            importlib.import_module(f"{part}_data").build(Path(app.outdir / data))


def setup(app: Sphinx) -> None:
    app.connect("build-finished", add_plain_pages)
