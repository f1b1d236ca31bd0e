"""Each check is itself checked: by the folded solution, other right answers, documented wrong ones, and nonsense."""

import ast
import dataclasses
import functools
import importlib
import re
from collections.abc import Callable
from string import Formatter

import numpy as np
import pytest
from misconceptions import TABLE, all_exercises, table
from notebook_rules import ROOT, as_shipped, find_exercises, is_untouched, load, of_type

from vae_lib.exercises.engine import Exercise, judge
from vae_lib.exercises.grade import needed, run, statements

EXERCISES = all_exercises()
MISCONCEPTIONS = [(exercise, k) for exercise in EXERCISES for k in range(len(exercise.misconceptions))]
OF_OURS = re.compile(
    r"""Traceback|File "|(^|[\s"'(])/\w|\.py\b|vae_lib|ipykernel|engine|guarded|probe|oracle|_NotYet"""
)

each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=[e.id for e in EXERCISES])


@functools.cache
def in_notebook(exercise_id: str):
    """The notebook of an exercise and its entry there; as committed, where the copy on the disk has been solved."""
    (path,) = (ROOT / "notebooks").glob(f"{exercise_id[:2]}_*.ipynb")
    for notebook in (load(path), as_shipped(path)):
        found = {entry.id: entry for entry in find_exercises(notebook)}
        assert exercise_id in found, f"expected exercise {exercise_id} in {path.name}, got {list(found)}"
        if is_untouched(notebook.cells[found[exercise_id].check - 1]):
            break
    return notebook, found[exercise_id]


def namespace(notebook, source: str) -> dict:
    """What a solution may use: of the notebook, what grading would lend it."""
    stubs = {entry.stub for entry in find_exercises(notebook)}
    program, _ = statements([cell.source for _, cell in of_type(notebook, "code")])
    program = [statement for statement in program if not isinstance(statement.node, ast.Expr)]  # no setting of JAX
    uses = set().union(*(statement.uses for statement in statements([source])[0]))
    names = {"__name__": "solution"}
    lent = [s for s in program if not s.gives & stubs]
    run(needed(lent, uses - stubs, frozenset(s.cell for s in lent))[0], names, {})  # whose cells raise nothing
    return names


@each_exercise
def test_the_notebook_has_the_exercise_its_stub_and_a_solution_that_is_right(exercise: Exercise):
    notebook, entry = in_notebook(exercise.id)
    assert entry.title == exercise.title
    stub = notebook.cells[entry.check - 1].source
    names = namespace(notebook, f"{stub}\n{entry.solution}")
    exec(compile(stub, "stub", "exec"), names)
    assert judge(exercise, names[entry.stub]).status == "not attempted"
    exec(compile(entry.solution, "solution", "exec"), names)
    verdict = judge(exercise, names[entry.stub])
    assert verdict.status == "correct", verdict


def test_each_exercise_of_a_notebook_has_its_check():
    ids = {e.id for e in EXERCISES}
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert {entry.id for entry in find_exercises(load(path))} <= ids


@each_exercise
def test_another_right_answer_is_correct(exercise: Exercise):
    others = importlib.import_module(f"other_solutions.notebook_{exercise.id[:2]}").ALSO_RIGHT[exercise.id]
    assert others
    for answer in others:
        verdict = judge(exercise, answer)
        assert verdict.status == "correct", verdict


@each_exercise
def test_an_exercise_knows_three_misconceptions_or_more_each_with_its_own_words(exercise: Exercise):
    assert len(exercise.misconceptions) >= 3
    for texts in ([m.words for m in exercise.misconceptions], [m.belief for m in exercise.misconceptions]):
        assert len({" ".join(text.split()) for text in texts}) == len(texts)
    assert exercise.notice.strip()


def pattern(words: str) -> str:
    """The words of a misconception, with anything in the places of the learner's numbers."""
    return "".join(re.escape(text) + (".+" if field else "") for text, field, *_ in Formatter().parse(words))


def in_double_precision(answer: Callable) -> Callable:
    """The same answer, its numbers as NumPy's: nobody types the bits that a wrong answer is told by."""

    def convert(result):
        if isinstance(result, (tuple, list)):
            return type(result)(map(convert, result))
        return np.float64(result) if isinstance(result, float) else result

    return lambda *arguments, **keywords: convert(answer(*arguments, **keywords))


@pytest.mark.parametrize(("exercise", "k"), MISCONCEPTIONS, ids=[f"{e.id}-{k}" for e, k in MISCONCEPTIONS])
def test_a_misconception_is_answered_with_its_own_words(exercise: Exercise, k: int):
    misconception = exercise.misconceptions[k]
    for answer in (misconception.wrong, in_double_precision(misconception.wrong)):
        verdict = judge(exercise, answer)
        assert verdict.status == "not yet"
        assert re.fullmatch(pattern(misconception.words), verdict.text, re.DOTALL), verdict.text


def nothing(*arguments, **keywords):
    return None


def ellipsis(*arguments, **keywords):
    value = ...
    return value


def raising(*arguments, **keywords):
    raise ValueError("my own message")


def text(*arguments, **keywords):
    return "not what was asked for"


def odd_shape(*arguments, **keywords):
    return np.zeros((3, 1, 7))


def not_a_number(*arguments, **keywords):
    return float("nan")


def endless(*arguments, **keywords):
    while True:
        pass


def nine(a, b, c, d, e, f, g, h, i):
    return 0


NONSENSE = [
    (nothing, "None"),
    (ellipsis, "placeholder"),
    (raising, "ValueError: my own message\n  in your line: raise ValueError"),
    (text, ""),
    (odd_shape, ""),
    (not_a_number, ""),
    (endless, "no answer after 0.05 s"),
    (nine, "missing"),
    (3.5, "without parentheses; got float 3.5"),
    (np.ones((2, 2)), "without parentheses; got an array of shape (2, 2)"),
]


@each_exercise
def test_nonsense_gets_words_and_none_of_our_internals(exercise: Exercise):
    hasty = dataclasses.replace(exercise, seconds=0.05)
    for answer, said in NONSENSE:
        verdict = judge(hasty if answer is endless else exercise, answer)
        assert verdict.status == "not yet" and said in verdict.text, verdict
        assert not OF_OURS.search(verdict.text), verdict


def test_the_table_of_misconceptions_is_fresh():
    assert TABLE.read_text(encoding="utf-8") == table(), (
        "expected what `uv run python tests/exercises/misconceptions.py` writes"
    )
