"""How an answer is judged: run it beside an oracle, and when they differ look for the belief that explains it.

An exercise is data: cases to try, an oracle that cannot be wrong in the same way as the learner, and misconceptions,
each a wrong function together with the words for whoever wrote one like it. What the code looks like never matters.
"""

import copy
import importlib
import inspect
import linecache
import signal
import textwrap
import threading
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

SEED = 20140416  # every check tries the same cases, so a verdict does not change from run to run


@dataclass(frozen=True)
class Misconception:
    """A belief, a function that follows from it, and what to say to whoever holds it.

    `words` may use {yours}, {right} and {ratio} (yours over right), taken from the first number that differs. Where
    the belief leads to another shape or kind they describe the two results, and {ratio} is "-".
    """

    belief: str
    wrong: Callable
    words: str


@dataclass(frozen=True)
class Exercise:
    """What a check needs to know.

    Attributes:
      id: "NN.K", notebook and number.
      title: as in the notebook.
      oracle: a right answer by another road (a plain loop, a closed form, a finite difference).
      cases: from a NumPy generator to the argument tuples on which answers are compared.
      misconceptions: at least three, told apart by the cases.
      notice: what to notice once the answer is right.
      probe: how a function is put to the test: (function, *arguments) -> what is compared. The default calls it.
      rtol, atol: relative and absolute tolerance on numbers.
      seconds: time limit for all cases together; ample, as a busy machine compiles JAX's operations slowly.
    """

    id: str
    title: str
    oracle: Callable
    cases: Callable[[np.random.Generator], Sequence[tuple]]
    misconceptions: Sequence[Misconception]
    notice: str
    probe: Callable = lambda function, *arguments: function(*arguments)
    rtol: float = 1e-4
    atol: float = 1e-6
    seconds: float = 60.0


@dataclass(frozen=True)
class Verdict:
    """`status` is "correct", "not attempted" or "not yet"; `text` is what the learner reads after it."""

    id: str
    status: str
    text: str

    def __str__(self) -> str:
        mark = {"correct": "✓", "not attempted": "○", "not yet": "✗"}[self.status]
        return f"{mark} {self.id} {self.status}: {self.text}"


VERDICTS: dict[str, Verdict] = {}  # of this kernel; `progress` reads them


class _OutOfTime(BaseException):
    """Not an Exception, so that an answer's own `except Exception` does not swallow it."""


class _NotYet(Exception):
    """Carries the words for an answer that cannot be compared at all."""


def find(exercise_id: str) -> Exercise:
    """The exercise with this id; ValueError names the ids that exist."""
    number = str(exercise_id).partition(".")[0]
    try:
        exercises = importlib.import_module(f"vae_lib.exercises.notebook_{number}").EXERCISES
    except ModuleNotFoundError:
        raise ValueError(f"expected an exercise such as '01.2', got {exercise_id!r}") from None
    for exercise in exercises:
        if exercise.id == exercise_id:
            return exercise
    raise ValueError(f"expected one of {', '.join(e.id for e in exercises)}, got {exercise_id!r}")


def check(exercise_id: str, answer: Callable) -> None:
    """Judge an answer and print the verdict: correct, not attempted, or what is wrong with it."""
    try:
        verdict = judge(find(exercise_id), answer)
    except ValueError as error:
        print(f"check: {error}")
        return
    VERDICTS[exercise_id] = verdict
    for line in str(verdict).split("\n"):  # Jupyter breaks a longer line in the middle of a word
        print(textwrap.fill(line, 100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))


def judge(exercise: Exercise, answer: Callable) -> Verdict:
    """Compare an answer with the oracle on all cases; never raises for what the answer does."""
    if answer is None or answer is ... or (callable(answer) and _is_stub(answer)):
        return Verdict(exercise.id, "not attempted", "replace the `...` in the cell above, run it, then run this cell.")
    try:
        if not callable(answer):
            raise _NotYet(f"expected the function itself, without parentheses; got {_describe(answer)}.")
        cases = exercise.cases(np.random.default_rng(SEED))
        with _time_limit(exercise.seconds):
            yours = [_leaves(_run(exercise, answer, case)) for case in cases]
        right = [_leaves(exercise.probe(exercise.oracle, *copy.deepcopy(case))) for case in cases]
        if _same(exercise, yours, right) and not any(map(_other_kind, yours, right)):
            return Verdict(exercise.id, "correct", exercise.notice)
        raise _NotYet(_explain(exercise, cases, yours, right))
    except _NotYet as verdict:
        return Verdict(exercise.id, "not yet", str(verdict))
    except _OutOfTime:
        words = (
            f"no answer after {exercise.seconds:g} s: is there a loop that never ends, or one that could be an array?"
        )
        return Verdict(exercise.id, "not yet", words)


def _is_stub(answer: Callable) -> bool:
    """Whether the body is nothing but a docstring and `...`: it compiles to the same code as an empty function."""

    def empty():
        """Nothing."""
        ...

    code = _code(answer)
    if code is None or (code.co_code, code.co_names) != (empty.__code__.co_code, ()):
        return False
    return set(code.co_consts) <= {None, inspect.unwrap(answer).__doc__}  # else `return 3` would pass for empty


def _code(answer: Callable) -> types.CodeType | None:
    """The learner's own code, also beneath a decorator such as `jax.jit`."""
    return getattr(inspect.unwrap(answer), "__code__", None)


def _run(exercise: Exercise, answer: Callable, case: tuple) -> Any:
    """What the probe finds; the answer's exceptions and missing results become words that name the learner's line."""

    def guarded(*arguments, **keywords):
        try:
            result = answer(*arguments, **keywords)
        except (Exception, SystemExit) as error:
            raise _NotYet(_where(error, answer)) from None
        if result is None:
            raise _NotYet("your function returned None: does its last line say `return`?")
        if result is ...:
            raise _NotYet("your function returned `...`: a placeholder is still inside.")
        return result

    try:
        return exercise.probe(guarded, *copy.deepcopy(case))
    except _NotYet:
        raise
    except Exception as error:  # the probe could not go on with what the answer returned
        raise _NotYet(f"what your function returned cannot be used here: {_name_and_message(error)}") from None


def _name_and_message(error: BaseException) -> str:
    message = str(error).strip().split("\n")[0][:300]
    return type(error).__name__ + (f": {message}" if message else ".")


def _where(error: BaseException, answer: Callable) -> str:
    """The exception's message and the learner's own line, none of ours."""
    file = getattr(_code(answer), "co_filename", None)
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file]
    source = linecache.getline(file, lines[-1]).strip() if file and lines else ""
    return f"your function raised {_name_and_message(error)}" + (f"\n  in your line: {source}" if source else "")


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise _OutOfTime after so many seconds; without effect outside the main thread, where Python has no alarm."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_):
        raise _OutOfTime

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _leaves(result: Any) -> list:
    """A result as a flat list: texts and bytes as they are, everything else as arrays."""
    if isinstance(result, (str, bytes)):
        return [result]
    if isinstance(result, (tuple, list)) and any(
        isinstance(r, (str, bytes, tuple, list)) or np.ndim(r) for r in result
    ):
        return [leaf for r in result for leaf in _leaves(r)]
    try:
        array = np.asarray(result)
    except Exception:
        return [result]
    if array.dtype.kind in "biuf":
        return [array]
    return [result.tolist() if isinstance(result, np.ndarray) else result]  # an array of texts, say


def _describe(thing: Any) -> str:
    """A few words for a value: type, shape, or the number itself."""
    if isinstance(thing, np.ndarray) or hasattr(thing, "shape"):
        return (
            f"an array of shape {tuple(thing.shape)} and type {thing.dtype}"
            if np.ndim(thing)
            else f"the number {thing}"
        )
    return f"{type(thing).__name__} {thing!r:.60}"


def _other_kind(yours: list, right: list) -> str:
    """Words for answers that differ before any number does: in count, kind, shape, type, or by NaN; else empty."""
    if len(yours) != len(right):
        return f"expected {_count(right)}, got {_count(yours)}."
    for mine, theirs in zip(yours, right, strict=True):
        if not isinstance(theirs, np.ndarray):
            if type(mine) is not type(theirs):
                return f"expected {type(theirs).__name__}, got {_describe(mine)}."
            continue
        if not isinstance(mine, np.ndarray):
            return f"expected {'an array' if theirs.ndim else 'a number'}, got {_describe(mine)}."
        if mine.shape != theirs.shape:
            return f"expected shape {theirs.shape}, got shape {mine.shape}."
        if mine.dtype.kind == "b" != theirs.dtype.kind or theirs.dtype == np.uint8 != mine.dtype:
            return f"expected type {theirs.dtype}, got type {mine.dtype}."
        if np.isnan(mine).any() and not np.isnan(theirs).any():
            return "your result contains NaN: look for a logarithm of 0, 0/0, or infinity minus infinity."
    return ""


def _count(results: list) -> str:
    """How many results, and of which shapes where all are arrays: two numbers arrive as one array of shape (2,)."""
    count = f"{len(results)} result{'s' * (len(results) != 1)}"
    if not all(isinstance(result, np.ndarray) for result in results):
        return count
    return f"{count} of shape{'s' * (len(results) != 1)} {', '.join(str(result.shape) for result in results)}"


def _same(exercise: Exercise, yours: list[list], right: list[list]) -> bool:
    """Whether the results of all cases agree within the exercise's tolerances."""

    def equal(mine, theirs):
        if not isinstance(mine, np.ndarray) or not isinstance(theirs, np.ndarray):
            return type(mine) is type(theirs) and bool(mine == theirs)
        return mine.shape == theirs.shape and np.allclose(mine, theirs, exercise.rtol, exercise.atol, equal_nan=True)

    return all(
        len(mine) == len(theirs) and all(map(equal, mine, theirs)) for mine, theirs in zip(yours, right, strict=True)
    )


def _explain(exercise: Exercise, cases: Sequence[tuple], yours: list[list], right: list[list]) -> str:
    """The words of the misconception that gives the learner's own results; without one, the results alone."""
    kind = next(filter(None, map(_other_kind, yours, right)), "")
    for misconception in exercise.misconceptions:
        try:
            wrong = [_leaves(exercise.probe(misconception.wrong, *copy.deepcopy(case))) for case in cases]
        except Exception:  # a wrong function may well fail on some cases; then it explains nothing
            continue
        if _same(exercise, yours, wrong) and not any(map(_other_kind, yours, wrong)):
            words = misconception.words
            break
    else:
        if kind:
            return kind
        words = "yours is {yours} where {right} is right (ratio {ratio})."
    mine, theirs = _first_difference(exercise, yours, right)
    ratio = f"{mine / theirs:.4g}" if _is_number(mine) and _is_number(theirs) and theirs else "-"
    words = words.replace(" (ratio {ratio})", "") if ratio == "-" else words
    return words.format(yours=_show(mine), right=_show(theirs), ratio=ratio)


def _is_number(thing: Any) -> bool:
    """Whether it can be divided and shown with six digits: no truth value, and no integer beyond all floats."""
    return isinstance(thing, float) or (type(thing) is int and thing.bit_length() < 1000)


def _show(thing: Any) -> str:
    """A value as it stands in a sentence."""
    if _is_number(thing):
        return f"{thing:.6g}"
    return f"{thing!r:.80}" if isinstance(thing, (str, bytes, bool)) else _describe(thing)


def _first_difference(exercise: Exercise, yours: list[list], right: list[list]) -> tuple[Any, Any]:
    """The first pair that differs: two numbers where the shapes agree, else the two results."""
    pairs = [pair for mine, theirs in zip(yours, right, strict=True) for pair in zip(mine, theirs, strict=False)]
    for mine, theirs in pairs:
        if isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray) and mine.shape == theirs.shape:
            differs = ~np.isclose(mine, theirs, exercise.rtol, exercise.atol, equal_nan=True)
            if differs.any():
                return mine[differs].flat[0].item(), theirs[differs].flat[0].item()
        elif type(mine) is not type(theirs) or isinstance(mine, np.ndarray) or mine != theirs:
            return mine, theirs
    return pairs[0]  # equal but for their type, or for how many results there are
