"""Grading a folder of submissions: each bad one named, nothing lost."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from notebook_rules import ROOT, as_shipped, find_exercises

from vae_lib.commands import main
from vae_lib.exercises.grade import grade

NOTEBOOK = ROOT / "notebooks" / "01_bits_and_bytes.ipynb"
ENDLESS = "def {name}(*arguments):\n    while True:\n        pass"


def submission(folder: Path, name: str, answers: dict[str, str] | None = None, without: tuple[str, ...] = ()) -> Path:
    """Notebook 01 with {exercise: source instead of its stub}, and without the stubs and checks of some."""
    notebook = as_shipped(NOTEBOOK)
    gone = []
    for entry in find_exercises(notebook):
        if entry.id in (answers or {}):
            notebook.cells[entry.check - 1].source = answers[entry.id].replace("{name}", entry.stub)
        if entry.id in without:
            gone += [entry.check - 1, entry.check]
    notebook.cells = [cell for number, cell in enumerate(notebook.cells) if number not in gone]
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    nbformat.write(notebook, path)
    return path


def statuses(path: Path, **options) -> tuple[list[str], str]:
    result = grade(path, **options)
    return [verdict["status"] for verdict in result["verdicts"].values()], result["trouble"]


SOLUTIONS = {entry.id: entry.solution for entry in find_exercises(as_shipped(NOTEBOOK))}
COUNT = len(SOLUTIONS)


def test_an_untouched_notebook_is_not_attempted_and_the_worked_solutions_are_correct(tmp_path):
    assert statuses(submission(tmp_path, "01.ipynb")) == (["not attempted"] * COUNT, "")
    assert statuses(submission(tmp_path, "01.ipynb", SOLUTIONS)) == (["correct"] * COUNT, "")


def test_what_is_wrong_missing_or_no_python_is_said_and_the_rest_is_graded(tmp_path):
    first, second, third, *_ = SOLUTIONS
    answers = SOLUTIONS | {first: "def {name}(*arguments):\n    return 'a word'", second: "def {name}(:\n"}
    result = grade(submission(tmp_path, "anna.ipynb", answers, without=(third,)))
    found = [verdict["status"] for verdict in result["verdicts"].values()]
    assert found == ["not yet", "missing", "missing"] + ["correct"] * (COUNT - 3)
    assert "no Python" in result["verdicts"][second]["text"]
    assert "notebook without it" in result["verdicts"][third]["text"]


def test_the_words_are_those_that_the_learner_sees(tmp_path):
    first = next(iter(SOLUTIONS))
    result = grade(submission(tmp_path, "01.ipynb", {first: "def {name}(*arguments):\n    return 1 / 0"}))
    text = result["verdicts"][first]["text"]
    assert "ZeroDivisionError" in text and "return 1 / 0" in text and "grade" not in text


def test_a_submission_that_never_ends_keeps_what_was_judged_before(tmp_path):
    last = list(SOLUTIONS)[-1]
    found, trouble = statuses(submission(tmp_path, "01.ipynb", SOLUTIONS | {last: ENDLESS}), seconds=20)
    assert found == ["correct"] * (COUNT - 1) and trouble == "no end after 20 s"


def test_a_submission_that_ends_its_own_process_is_named(tmp_path):
    last = list(SOLUTIONS)[-1]
    gone = "def {name}(*arguments):\n    import os\n    os._exit(3)"
    assert statuses(submission(tmp_path, "01.ipynb", SOLUTIONS | {last: gone})) == (
        ["correct"] * (COUNT - 1),
        "exit code 3",
    )


def test_the_command_grades_a_folder_and_names_what_is_no_notebook(tmp_path, capsys):
    folder = tmp_path / "in"
    submission(folder / "anna", "01.ipynb", SOLUTIONS)
    (folder / "berta.ipynb").write_text("{ no JSON")
    (folder / "clara.ipynb").write_text(json.dumps({"cells": []}))
    assert main(["grade", str(folder), "--json", str(tmp_path / "grades.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["anna/01.ipynb", "berta.ipynb", "clara.ipynb"]
    assert re.search(rf"{COUNT} of {COUNT}$", lines[0])
    assert "expected a Jupyter notebook, got berta.ipynb" in lines[1]
    assert "expected a notebook of the course" in lines[2]
    assert set(json.loads((tmp_path / "grades.json").read_text())) == {line.split()[0] for line in lines}


@pytest.mark.parametrize("arguments", [["nowhere"], ["."], [".", "--workers", "0"]])
def test_what_cannot_be_graded_is_one_line_and_exit_code_2(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["grade", *arguments]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
