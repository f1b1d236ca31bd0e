"""JupyterLab in a real browser, started by the README's first command: cells run, checks answer, a slider moves.

The notebooks are a copy in an empty folder, and so are JupyterLab's settings: nothing of the reader's is touched.
"""

import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from browser import needs_chromium, visit
from nbformat import NotebookNode
from notebook_rules import WIDGET, as_shipped, find_exercises, load
from playwright.sync_api import Locator, Page

from vae_lib.plotting import sliders

ROOT = Path(__file__).parents[2]
WITH_SLIDERS = [
    p
    for p in sorted((ROOT / "notebooks").glob("*.ipynb"))
    if "\nsliders(" in "\n".join(c.source for c in load(p).cells)
]
PATIENCE = 240  # seconds for anything to happen; a quiet machine needs a tenth of it
COMMAND = re.search(r"^pip install uv && uv run (jupyter lab (\S+))$", (ROOT / "README.md").read_text("utf-8"), re.M)


def wait_for(happened: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < end, f"expected {what} within {PATIENCE} s"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The folder that JupyterLab was started in, as the README says, and the address of the README's notebook."""
    folder = tmp_path_factory.mktemp("course")
    (folder / COMMAND[2]).parent.mkdir()
    nbformat.write(without_outputs(load(ROOT / COMMAND[2])), folder / COMMAND[2])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    options = ["--no-browser", f"--ServerApp.port={port}", "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1"]
    options += [f"--IdentityProvider.token={token}", "--allow-root"]
    own = {name: str(folder / ".home") for name in ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    environment = {**os.environ, **own, "JUPYTER_RUNTIME_DIR": str(folder / ".home" / "runtime")}
    command = [sys.executable, "-m", *shlex.split(COMMAND[1]), *options]
    with open(folder / "log", "w", encoding="utf-8") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:

        def answers() -> bool:
            assert server.poll() is None, (folder / "log").read_text(encoding="utf-8")[-2000:]
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).status == 200
            except (urllib.error.URLError, OSError):
                return False

        wait_for(answers, "an answer of the server")
        yield folder, f"http://127.0.0.1:{port}/lab/tree/{Path(COMMAND[2]).name}?token={token}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def without_outputs(notebook: NotebookNode) -> NotebookNode:
    """The notebook as if no cell had been run: what is there afterwards, JupyterLab has made."""
    for code in (cell for cell in notebook.cells if cell.cell_type == "code"):
        code.outputs, code.execution_count = [], None
    return notebook


def cell(page: Page, text: str) -> Locator:
    """The code cell whose source says this, in sight."""
    found = page.locator(".jp-CodeCell", has=page.locator(".jp-InputArea", has_text=text)).first
    found.scroll_into_view_if_needed(timeout=1000 * PATIENCE)
    return found


def answer(page: Page, exercise: str, stub: str, source: str) -> str:
    """Write a function where the stub stands, run it and its check, and return what the check says."""
    before = said(page, exercise)
    cell(page, f"def {stub}(").locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(source)
    page.keyboard.press("Shift+Enter")  # and on to the check
    page.keyboard.press("Shift+Enter")
    wait_for(lambda: said(page, exercise) not in ("", before), "words of the check")
    return said(page, exercise)


def said(page: Page, exercise: str) -> str:
    """The words of a check, empty until they are there."""
    output = cell(page, f'check("{exercise}"').locator(".jp-OutputArea-output").first
    return " ".join(output.text_content(timeout=1000 * PATIENCE).split()) if output.count() else ""


@needs_chromium
def test_the_readmes_first_command_opens_a_notebook_that_runs_answers_and_moves(lab: tuple[Path, str]):
    folder, address = lab
    saved = folder / COMMAND[2]
    (exercise,) = [e for e in find_exercises(load(saved)) if e.id == "00.1"]
    with visit(width=1280, height=1000) as seen:
        page = seen.page
        page.goto(address)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=1000 * PATIENCE)
        page.wait_for_timeout(5000)  # it says so a moment before the kernel listens
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.locator("[data-command='runmenu:run-all']").click()

        # All cells ran: the file says so, whatever of the page is in sight
        def all_ran() -> bool:
            page.keyboard.press("Control+s")
            page.wait_for_timeout(1500)
            return all(cell.execution_count for cell in load(saved).cells if cell.cell_type == "code")

        wait_for(all_ran, "all cells to run")
        outputs = [output for c in load(saved).cells for output in c.get("outputs", [])]
        assert not [output.ename for output in outputs if output.output_type == "error"]

        # A wrong answer, then a right one
        wait_for(lambda: said(page, "00.1").startswith("○ 00.1 not attempted"), "the words for an untouched stub")
        wrong = exercise.solution.replace("height * width", "3 * height * width")
        words = answer(page, "00.1", exercise.stub, wrong)
        assert words.startswith("✗ 00.1") and "three times as long: bits per pixel count all channels" in words
        words = answer(page, "00.1", exercise.stub, exercise.solution)
        assert words.startswith("✓ 00.1 correct")

        # The sliders, one for each codec
        figure = cell(page, "def at_quality(")
        picture, handles = figure.locator(".jp-OutputArea img"), figure.locator(".noUi-handle")
        for number, readouts in enumerate((["20", "15"], ["20", "20"])):
            handles.nth(number).scroll_into_view_if_needed(timeout=1000 * PATIENCE)
            before = picture.get_attribute("src")
            handles.nth(number).focus()
            for _ in range(5):
                handles.nth(number).press("ArrowRight")
            wait_for(
                lambda before=before: picture.count() == 1 and picture.get_attribute("src") != before, "another figure"
            )
            assert figure.locator(".widget-readout").all_inner_texts() == readouts


@pytest.mark.parametrize("path", WITH_SLIDERS, ids=[path.stem for path in WITH_SLIDERS])
def test_a_notebook_with_sliders_ships_without_widgets_that_nobody_can_move(path: Path):
    assert len(WITH_SLIDERS) >= 3
    notebook = as_shipped(path)
    assert "widgets" not in notebook.metadata
    assert not [c.id for c in notebook.cells for o in c.get("outputs", []) if WIDGET in o.get("data", {})]


def test_sliders_begin_at_the_defaults_and_keep_their_ranges(monkeypatch: pytest.MonkeyPatch):
    import ipywidgets

    shown = []
    monkeypatch.setattr(ipywidgets, "interact", lambda draw, **controls: shown.append(controls))

    def draw(quality: int = 10, value: float = -2.0) -> None: ...

    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    sliders(draw, quality=(1, 95, 1), value=(-3.0, 3.0, 0.5))
    assert not shown, "expected nothing where nobody can move a slider"
    monkeypatch.setenv("JPY_SESSION_NAME", "notebooks/00_what_an_image_costs.ipynb")
    sliders(draw, quality=(1, 95, 1), value=(-3.0, 3.0, 0.5))
    (controls,) = shown
    assert [(c.value, c.min, c.max, c.step) for c in controls.values()] == [(10, 1, 95, 1), (-2.0, -3.0, 3.0, 0.5)]
    assert isinstance(controls["quality"], ipywidgets.IntSlider)
