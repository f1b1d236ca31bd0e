"""The house is in order: pins, folders, formatters and checkers, and who may import whom."""

import ast
import functools
import re
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from house import CORE, FURNITURE, LIBRARY, PAGE, ROOMS, ROOT, WORKSHOP, imports, path_of, rooms, with_map
from notebook_rules import RULES, load, section

TOP_LEVEL = {"site", "notebooks", "vae_lib", "data", "tests", "environment.yml", "README.md"} | {
    "pyproject.toml", "LICENSE", "CITATION.cff", ".ci", ".devcontainer", ".gitattributes", ".gitignore", ".github",
}  # fmt: skip
IMPORT_SECONDS = 0.4  # what `import vae_lib.vae` may cost beyond JAX


def run(*command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def python(code: str) -> str:
    """What a fresh Python prints; it must exit without an error."""
    result = run(sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


# Pins


@functools.cache
def pyproject() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins() -> list[str]:
    return pyproject()["tool"]["uv"]["constraint-dependencies"]


def test_environment_yml_holds_the_pins_of_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert [line for line in pip if not line.startswith("--editable")] == pins()


def test_no_package_has_two_versions():
    names = [re.fullmatch(r"([a-z0-9-]+)==[\w.]+( ; .+)?", pin)[1] for pin in pins()]
    assert len(names) == len(set(names))


def test_every_package_that_is_asked_for_is_pinned():
    asked = pyproject()["project"]["dependencies"] + pyproject()["dependency-groups"]["dev"]
    assert set(asked) <= {pin.partition("==")[0] for pin in pins()}


@pytest.mark.parametrize("name", ["pyproject.toml", "environment.yml"])
def test_the_lists_hold_no_addresses(name):
    assert "://" not in (ROOT / name).read_text(encoding="utf-8")


# Folders, formatters, checkers


def test_the_top_level_holds_what_the_readme_names_and_nothing_else():
    listing = run("git", "ls-files", "--cached", "--others", "--exclude-standard")
    assert listing.returncode == 0, f"expected a git repository, got {listing.stderr}"
    assert {line.partition("/")[0] for line in listing.stdout.splitlines()} <= TOP_LEVEL


CHECKERS = {
    "lint": ("-m", "ruff", "check", "--no-cache", "."),
    "format": ("-m", "ruff", "format", "--no-cache", "--check", "."),
    "types": ("-m", "mypy"),
    "spelling": ("-m", "codespell_lib", "."),
}


@pytest.mark.parametrize("name", CHECKERS)
def test_the_checker_is_content(name):
    """A notebook that a learner has begun to solve is left out: their code need not be formatted."""
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    begun = [path for path in notebooks if any(RULES["ships_unsolved"](load(path), path))]
    exclude = [f"--exclude={path.relative_to(ROOT)}" for path in begun] if name in ("lint", "format") else []
    result = run(sys.executable, *CHECKERS[name], *exclude)
    assert result.returncode == 0, result.stdout + result.stderr


# Who imports whom


def modules() -> list[str]:
    """All modules of the library, in dotted names; `__main__` is for the command line."""
    paths = [path.relative_to(ROOT).with_suffix("") for path in sorted(LIBRARY.rglob("*.py"))]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths if path.name != "__main__"]


def built_by_notebooks(folder: Path) -> set[str]:
    """The modules that the closing tables of the notebooks in a folder name."""
    tables = [section(load(path), "Built here, now lives in") for path in sorted(folder.glob("*.ipynb"))]
    return {module for _, text in filter(None, tables) for module in re.findall(r"\| `vae_lib\.([\w.]+)` \|", text)}


def test_a_module_is_at_the_top_if_and_only_if_a_notebook_builds_it():
    top = {path.stem for path in LIBRARY.glob("*.py")} - {"__init__", "__main__"}
    assert top == set(CORE) == built_by_notebooks(ROOT / "notebooks") | set(FURNITURE)


def test_a_module_that_no_notebook_builds_would_be_seen(tmp_path):
    closing = "## Built here, now lives in\n\n| definition | lives in |\n|---|---|\n| `elbo` | `vae_lib.inference` |\n"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(closing)])
    nbformat.write(notebook, tmp_path / "02_closing.ipynb")
    assert built_by_notebooks(tmp_path) == {"inference"}


def test_every_module_of_the_workshop_has_its_place_on_the_map():
    assert {f"workshop.{path.stem}" for path in (LIBRARY / "workshop").glob("*.py")} - {"workshop.__init__"} == {
        *WORKSHOP
    }


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_earlier_ones_only(room):
    found = imports(path_of(room))
    assert rooms(found) <= set(ROOMS[: ROOMS.index(room)])
    assert not {name.partition(".")[0] for name in found} & {"commands", "exercises"}


@pytest.mark.parametrize(
    "line",
    [
        "import vae_lib.vae",
        "from vae_lib import vae",
        "from vae_lib.vae import VAE",
        "from .vae import VAE",
        "from vae_lib.workshop import search",
        "from vae_lib.workshop.search import encode_tile",
    ],
)
def test_the_import_of_a_later_room_would_be_seen(line, tmp_path):
    (tmp_path / "room.py").write_text(f"def f():\n    {line}\n")
    assert rooms(imports(tmp_path / "room.py")) == {"workshop.search" if "search" in line else "vae"}


def test_the_page_for_who_carries_on_shows_the_house_as_it_is():
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_map(page), "expected what `uv run python tests/house.py` draws"
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert all(f"`{folder}`" in page for folder in folders)


LONG = 300  # lines: a longer module of the core says in its first lines why it is one file


@pytest.mark.parametrize("room", CORE)
def test_a_long_room_says_why(room):
    text = path_of(room).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONG or "one file" in (ast.get_docstring(ast.parse(text)) or "")


NUMPY_ONLY = ["entropy_coding", "neighbours", "metrics", "images", "ledger", "decoder", "codec", "commands"]


def test_numpy_only_rooms_import_without_jax():
    code = f"import sys\nfor room in {NUMPY_ONLY}: __import__('vae_lib.' + room)\nprint('jax' in sys.modules)"
    assert python(code) == "False"


def test_pyplot_comes_in_through_plotting_only():
    """And no module needs anything that Python or a package calls deprecated."""
    others = [name for name in modules() if name != "vae_lib.plotting"]
    python(
        "import importlib, sys, warnings\nimport jax\nwarnings.simplefilter('error', DeprecationWarning)\n"
        f"for name in {others}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'matplotlib.pyplot' not in sys.modules, f'{name} imports pyplot'"
    )


def test_importing_the_vae_costs_little_beyond_jax():
    """Medians of three, in seconds of work; a busy machine slows both alike: no more than JAX is right too."""
    code = (
        "from time import process_time as now\nstart = now()\nimport jax\nmiddle = now()\nimport vae_lib.vae\n"
        "print(middle - start, now() - middle)"
    )
    jax, vae = map(statistics.median, zip(*(map(float, python(code).split()) for _ in range(3)), strict=True))
    assert vae <= max(IMPORT_SECONDS, jax)
