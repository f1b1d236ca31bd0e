"""Progress is read from what the notebooks saved, and from this kernel where it knows better."""

import importlib
import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from vae_lib.exercises.engine import VERDICTS, Verdict
from vae_lib.exercises.progress import progress, saved_statuses, summary

module = importlib.import_module("vae_lib.exercises.progress")  # the package's attribute of this name is the function
SAID = {
    "98.1": "✓ 98.1 correct: yes.",
    "98.2": "✗ 98.2 not yet: expected a number.",
    "98.3": "○ 98.3 not attempted: go.",
}


@pytest.fixture
def folder(tmp_path):
    """Two notebooks: one with a check of each status and one never run, one with a single check."""
    cells = [new_markdown_cell('check("98.7", not_code)'), new_code_cell("print('98.1 correct')")]
    for k, text in SAID.items():
        cells.append(new_code_cell(f'check("{k}", f)', outputs=[new_output("stream", text=f"{text}\n")]))
    cells.append(new_code_cell('check("98.4", f)'))
    nbformat.write(new_notebook(cells=cells), tmp_path / "98_two.ipynb")
    nbformat.write(new_notebook(cells=[new_code_cell('check("97.1", f)')]), tmp_path / "97_one.ipynb")
    return tmp_path


def test_statuses_are_those_that_the_checks_last_printed(folder):
    assert list(saved_statuses(folder / "98_two.ipynb").values()) == [
        "correct",
        "not yet",
        "not attempted",
        "not attempted",
    ]


def test_a_text_that_another_cell_prints_is_no_verdict(folder):
    assert "98.7" not in saved_statuses(folder / "98_two.ipynb")


def test_the_summary_counts_each_notebook_and_all(folder):
    assert [line.split() for line in summary(folder).splitlines()] == [
        ["97_one", "○", "0", "of", "1"],
        ["98_two", "✓✗○○", "1", "of", "4"],
        ["all", "1", "of", "5"],
    ]


def test_one_notebook_is_summed_up_in_one_line(folder):
    assert summary(folder, "98").split() == ["98_two", "✓✗○○", "1", "of", "4"]


def test_this_kernel_knows_better_than_the_disk(folder, monkeypatch, capsys):
    monkeypatch.setitem(VERDICTS, "98.2", Verdict("98.2", "correct", "yes."))
    monkeypatch.setitem(VERDICTS, "98.1", Verdict("98.1", "not yet", "no."))
    monkeypatch.setattr(module, "summary", lambda number: summary(folder, number))
    progress("98")
    assert capsys.readouterr().out.split() == ["98_two", "✗✓○○", "1", "of", "4"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{}]}', '{"cells": ["a"]}', b"\xff\xfe", '{"a": 1}']
    + [
        json.dumps({"cells": [{"cell_type": "code", "source": 'check("01.1", f)', "outputs": outputs}]})
        for outputs in (3, [3])
    ],
)
def test_a_broken_notebook_gives_one_line_that_names_it(folder, text):
    broken = folder / "99_broken.ipynb"
    broken.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"^expected a Jupyter notebook, got .*99_broken\.ipynb \(\w+\)$"):
        summary(folder)


def test_no_notebooks_are_said_to_be_missing(tmp_path, monkeypatch, capsys):
    with pytest.raises(ValueError, match=r"^expected notebooks such as 00_.* got none$"):
        summary(tmp_path)
    monkeypatch.setattr(module, "summary", lambda number: summary(tmp_path, number))
    progress("00")
    assert capsys.readouterr().out.startswith("progress: expected notebooks")
