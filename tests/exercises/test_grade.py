"""Grading a folder of submissions: each bad one named, nothing lost."""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from notebook_rules import ROOT, as_shipped, find_exercises

from vae_lib.commands import main
from vae_lib.exercises.grade import grade, grade_folder

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
    assert main(["grade", str(folder), "--json", str(tmp_path / "grades.json")]) == 1
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


# What people hand in: {what it is: cells in place of the stub}. {name} is the function asked for, {answer} the worked
# solution under that name, {indented} the same by four spaces.
SHAPES = {
    "as asked": ["{answer}"],
    "untouched": ['def {name}(*arguments):\n    """What it shall do."""\n    ...'],
    "wrong": ["def {name}(*arguments):\n    return 123.0"],
    "a cell that is timed": ["%%time\n{answer}"],
    "a cell that is captured": ["%%capture\n{answer}"],
    "a cell in another language": ["%%bash\necho {name}", "{answer}"],
    "a line that is timed": ["{answer}\nright = {name}\n%time {name} = right"],
    "a magic before it": ["%matplotlib inline\n{answer}"],
    "a command of the shell before it": ["!true\n{answer}"],
    "help before it": ["{answer}\n{name}?"],
    "a small global": ["one = 1.0", "{answer}\nright = {name}\ndef {name}(*a):\n    return one and right(*a)"],
    "a tuple of globals": [
        "one, two = 1.0, 2.0",
        "{answer}\nright = {name}\ndef {name}(*a):\n    return two and right(*a)",
    ],
    "a starred assignment": [
        "one, *rest = [1, 2, 3]",
        "{answer}\nright = {name}\ndef {name}(*a):\n    return rest and right(*a)",
    ],
    "a global that is counted up": [
        "n = 0\nn += 1",
        "{answer}\nright = {name}\ndef {name}(*a):\n    return n and right(*a)",
    ],
    "a table that a loop fills": [
        "table = {}\nfor i in range(3):\n    table[i] = i",
        "{answer}\nright = {name}\ndef {name}(*a):\n    return table[2] and right(*a)",
    ],
    "a list that grows": [
        "seen = []\nseen.append(1)",
        "{answer}\nright = {name}\ndef {name}(*a):\n    return seen[0] and right(*a)",
    ],
    "a dictionary that is brought up to date": [
        "known = dict()\nknown.update(a=1)",
        "{answer}\nright = {name}\ndef {name}(*a):\n    return known['a'] and right(*a)",
    ],
    "a definition under if": ["if True:\n{indented}"],
    "a definition under else": ["if False:\n    pass\nelse:\n{indented}"],
    "a definition under try": ["try:\n{indented}\nexcept NameError:\n    pass"],
    "a definition under with": ["import contextlib\nwith contextlib.suppress(ValueError):\n{indented}"],
    "an import under try": [
        "try:\n    import no_such_module as m\nexcept ImportError:\n    import math as m",
        "{answer}\nright = {name}\ndef {name}(*a):\n    return m.pi and right(*a)",
    ],
    "all of a module": ["from math import *", "{answer}\nright = {name}\ndef {name}(*a):\n    return pi and right(*a)"],
    "a lambda": ["{answer}\nright = {name}\n{name} = lambda *a: right(*a)"],
    "a partial function": ["import functools\n{answer}\nright = {name}\n{name} = functools.partial(right)"],
    "an object that can be called": [
        "{answer}\nright = {name}\nclass A:\n    def __call__(self, *a):\n        return right(*a)\n{name} = A()"
    ],
    "a decorator": [
        "def plain(f):\n    return lambda *a: f(*a)",
        "{answer}\nright = {name}\n@plain\ndef {name}(*a):\n    return right(*a)",
    ],
    "a helper below it": [
        "def {name}(*a):\n    return helper(*a)",
        "{answer}\nhelper, {name} = {name}, lambda *a: helper(*a)",
    ],
    "twice, the second right": ["def {name}(*a):\n    return 123.0", "{answer}"],
    "twice, the second wrong": ["{answer}", "def {name}(*a):\n    return 123.0"],
    "after a line that fails": ["1 / 0\n{answer}"],
    "before a line that fails": ["{answer}\n1 / 0"],
    "after a call that fails": ["import numpy as np\nempty = np.zeros(2)\nempty[5] = 1\n{answer}"],
    "no Python": ["def {name}(:"],
    "a default that fails": ["def {name}(*a, b=1 / 0):\n    return b"],
    "an annotation that fails": ["def {name}(p: NoSuchType):\n    return p"],
    "a name that is nowhere": ["def {name}(*a):\n    return no_such_name"],
    "a function that counts its calls": [
        "calls = 0",
        "{answer}\nright = {name}\ndef {name}(*a):\n    global calls\n    calls += 1\n    return right(*a)",
    ],
    "a name that is deleted": ["{answer}\nright = {name}\ndel {name}\ndef {name}(*a):\n    return right(*a)"],
    "a walrus": ["{answer}\nright = {name}\nif (two := 2) > 1:\n    def {name}(*a):\n        return two and right(*a)"],
    "something else than a function": ["{name} = 3"],
    "a seed": ["import numpy as np\nnp.random.seed(0)\n{answer}"],
    "letters of another alphabet": ["σ = 1.0\n{answer}\nright = {name}\ndef {name}(*a):\n    return σ and right(*a)"],
    "a table that a function fills": [
        "squares = {}\ndef fill(t):\n    t[2] = 4",
        "fill(squares)",
        "{answer}\nright = {name}\ndef {name}(*a):\n    return squares[2] and right(*a)",
    ],
    "a global that a function sets": [
        "def prepare():\n    global ready\n    ready = True\ndef begin():\n    prepare()",
        "begin()",
        "{answer}\nright = {name}\ndef {name}(*a):\n    return ready and right(*a)",
    ],
    "a global that a call to exec sets": [
        "exec('three = 3')",
        "{answer}\nright = {name}\ndef {name}(*a):\n    return three and right(*a)",
    ],
    "a definition for the main program": ["if __name__ == '__main__':\n{indented}"],
    "a definition after await": ["import asyncio\nawait asyncio.sleep(0)\n{answer}"],
    "after a cell that exits": ["import sys\nsys.exit('done')", "{answer}"],
    "a helper from a cell that fails": [
        "1 / 0\ndef half(x):\n    return x / 2",
        "def {name}(*a):\n    return half(1)",
    ],
    "a global that changes after the check": [
        "four = 4",
        "{answer}\nright = {name}\ndef {name}(*a):\n    return right(*a) if four == 4 else 0",
        'check("{id}", {name})',
        "four = 5",
    ],
    "a check with other quotes": ["{answer}", "check('{id}', {name})  # mine"],
    "a check in the answer's cell": ["{answer}\ncheck('{id}', {name})"],
    "a check of a lambda": ["{answer}", "check('{id}', lambda *a: {name}(*a))"],
    "a check in a loop": ["{answer}", "for number, mine in [('{id}', {name})]:\n    check(number, mine)"],
    "a check with its words": ["{answer}", "check(exercise_id='{id}', answer={name})"],
    "a check after a line that fails": ["{answer}", "1 / 0\ncheck('{id}', {name})"],
    "a check by another name": [
        "{answer}",
        "from vae_lib.exercises import check as look\nlook('{id}', {name})",
    ],
    "prompts of another notebook": [">>> six = 6", "{answer}"],
    "indented as a whole": ["{indented}"],
    "tabs and Windows' ends of lines": ["{answer}\r\nright = {name}\r\ndef {name}(*a):\r\n\treturn right(*a)\r\n"],
}


def handed_in(shape: str, entry) -> list[str]:
    """The cells of a shape for an exercise, with its check."""
    indented = "\n".join(f"    {line}" for line in entry.solution.splitlines())
    words = {"{name}": entry.stub, "{answer}": entry.solution, "{indented}": indented, "{id}": entry.id}
    cells = SHAPES[shape] if "{id}" in str(SHAPES[shape]) else [*SHAPES[shape], 'check("{id}", {name})']
    for word, text in words.items():
        cells = [cell.replace(word, text) for cell in cells]
    return cells


@pytest.fixture(scope="module")
def kernel():
    """A kernel in which notebook 01 has been run, as far as exercises need it: cell -> what it prints, or its error."""
    manager, client = start_new_kernel(cwd=str(ROOT / "notebooks"))

    def run(source: str) -> str:
        said = []
        client.execute_interactive(source, output_hook=lambda message: said.append(message["content"]), timeout=120)
        return "".join(str(content.get("text", content.get("ename", ""))) for content in said)

    for cell in as_shipped(NOTEBOOK).cells:
        if cell.cell_type == "code" and re.search("^(import|from|def) ", cell.source, re.MULTILINE):
            run(cell.source)
    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_the_verdicts_are_those_of_a_kernel(tmp_path, kernel):
    entries = find_exercises(as_shipped(NOTEBOOK))
    of_exercise = {shape: entries[number % len(entries)] for number, shape in enumerate(SHAPES)}
    expected, shapes = {}, list(SHAPES)
    for shape, entry in of_exercise.items():
        kernel(f"{entry.stub} = None\ndel {entry.stub}")
        said = "".join(kernel(cell) for cell in handed_in(shape, entry))
        status = re.search(r"[✓○✗] [\d.]+ (correct|not attempted|not yet):", said)
        expected[shape] = status[1] if status else "missing"
    assert set(expected.values()) == {"correct", "not attempted", "not yet", "missing"}, expected
    for start in range(0, len(shapes), len(entries)):  # as many shapes in a submission as there are exercises
        notebook = as_shipped(NOTEBOOK)
        for shape in reversed(shapes[start : start + len(entries)]):
            at = of_exercise[shape].check - 1
            notebook.cells[at : at + 2] = [nbformat.v4.new_code_cell(c) for c in handed_in(shape, of_exercise[shape])]
        nbformat.write(notebook, tmp_path / f"{start:02}.ipynb")
    found, text = {}, {}
    for name, result in grade_folder(tmp_path):
        for shape in shapes[int(name[:2]) : int(name[:2]) + len(entries)]:
            found[shape] = result["verdicts"][of_exercise[shape].id]["status"]
            text[shape] = result["verdicts"][of_exercise[shape].id]["text"]
    wrong = [f"{s}: {found[s]} for {expected[s]}: {text[s]}" for s in shapes if found[s] != expected[s]]
    assert not wrong, "\n".join(wrong)


def test_what_a_submission_leaves_running_is_ended_and_not_waited_for(tmp_path):
    first, *_ = SOLUTIONS
    leaves = f"import os\nos.system('sleep 91.5 &')\n{SOLUTIONS[first]}"
    began = time.monotonic()
    assert statuses(submission(tmp_path, "01.ipynb", SOLUTIONS | {first: leaves})) == (["correct"] * COUNT, "")
    assert time.monotonic() - began < 60
    assert subprocess.run(["pgrep", "-f", "sleep 91.5"], capture_output=True).stdout == b""


def test_a_heavy_cell_that_no_exercise_needs_is_not_run_and_one_that_is_needed_is(tmp_path):
    path = submission(tmp_path, "01.ipynb", SOLUTIONS)
    notebook = nbformat.read(path, 4)
    heavy = [f"x = open({str(tmp_path / name)!r}, 'w').write('{name}')" for name in ("unused", "used")]
    name = find_exercises(notebook)[0].stub
    uses = f"right = {name}\ndef {name}(*a):\n    return y and right(*a)"
    place = find_exercises(notebook)[0].check
    notebook.cells[place:place] = [
        nbformat.v4.new_code_cell(c) for c in (heavy[0], heavy[1].replace("x", "y", 1), uses)
    ]
    nbformat.write(notebook, path)
    assert statuses(path) == (["correct"] * COUNT, "")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["01.ipynb", "used"]


def test_a_submission_ends_at_its_time_with_all_that_it_started(tmp_path):
    first, second, *_ = SOLUTIONS
    sleeps = "import os\ndef {name}(*arguments):\n    os.system('sleep 90')"
    path = submission(tmp_path, "01.ipynb", SOLUTIONS | {second: sleeps})
    began = time.monotonic()
    result = grade(path, seconds=12)
    assert time.monotonic() - began < 20 and result["trouble"] == "no end after 12 s"
    assert result["verdicts"][first]["status"] == "correct"


def test_notebooks_are_found_by_whatever_name_and_behind_links_and_read_with_a_byte_order_mark(tmp_path, capsys):
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    path = submission(folder, "anna.IPYNB", SOLUTIONS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    submission(elsewhere, "clara.ipynb", SOLUTIONS)
    (folder / "link").symlink_to(elsewhere)
    (folder / "round").symlink_to(folder)
    (folder / os.fsdecode(b"d\xe4vid.ipynb")).write_bytes(path.read_bytes())
    assert main(["grade", str(folder), "--json", str(tmp_path / "grades.json")]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["anna.IPYNB", r"d\xe4vid.ipynb", "link/clara.ipynb"]
    assert (
        all(f"{COUNT} of {COUNT}" in row for row in rows)
        and len(json.loads((tmp_path / "grades.json").read_text())) == 3
    )
