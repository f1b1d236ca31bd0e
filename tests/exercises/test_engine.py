"""The exercise engine on small made-up exercises: what a learner reads for whatever they may write."""

import dataclasses
import threading
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_lib.exercises import engine
from vae_lib.exercises.engine import Exercise, Misconception, judge


def exercise(oracle: Callable, cases: list[tuple] | None = None, misconceptions=(), **settings) -> Exercise:
    cases = cases or [(1.0, 2.0), (3.0, 5.0)]
    return Exercise("99.1", "Made up", oracle, lambda rng: cases, misconceptions, "notice this.", **settings)


ADD = exercise(
    lambda x, y: x + y,
    misconceptions=[
        Misconception("minus", lambda x, y: x - y, "yours is {yours}, right is {right}, ratio {ratio}: minus."),
        Misconception("a row", lambda x, y: np.array([x, y]), "yours is {yours}, right is {right}: not added up."),
        Misconception("a logarithm of 0", lambda x, y: (x + y) * np.nan, "yours is {yours}: 0 log 0 is 0."),
        Misconception("fails", lambda x, y: [][1], "never said"),
    ],
)
ARRAY = exercise(lambda x: 2 * x, [(np.arange(4.0),), (np.ones((2, 3)),)])


def words(answer, of: Exercise = ADD) -> str:
    """What is wrong with an answer."""
    verdict = judge(of, answer)
    assert verdict.status == "not yet"
    return verdict.text


@pytest.mark.parametrize(
    "answer",
    [
        lambda x, y: y + x,
        lambda x, y: np.float32(x + y),
        lambda x, y: jnp.asarray(x + y),
        jax.jit(lambda x, y: x + y),
        lambda x, y: int(x + y),
    ],
)
def test_a_right_answer_of_any_kind_is_correct_and_tells_what_to_notice(answer):
    verdict = judge(ADD, answer)
    assert str(verdict) == "✓ 99.1 correct: notice this."


def stub(x, y):
    """Add."""
    ...


def stub_with_pass(x, y):
    """Add."""
    pass


@pytest.mark.parametrize("answer", [None, ..., stub, stub_with_pass, jax.jit(stub)])
def test_an_untouched_stub_is_not_attempted(answer):
    assert judge(ADD, answer).status == "not attempted"


def test_a_constant_is_an_attempt():
    def three(x, y):
        """Add."""
        return 3

    assert judge(ADD, three).status == "not yet"


def test_a_misconception_answers_with_the_learners_own_numbers():
    assert words(lambda x, y: x - y) == "yours is -1, right is 3, ratio -0.3333: minus."


def test_a_misconception_of_another_shape_or_with_nan_is_recognised():
    assert "an array of shape (2,)" in words(lambda x, y: np.array([x, y]))
    assert words(lambda x, y: np.array([x, y])).endswith("not added up.")
    assert words(lambda x, y: np.nan) == "yours is nan: 0 log 0 is 0."


@given(st.floats(-1e6, 1e6).filter(lambda d: abs(d) > 0.1), st.sampled_from([float, np.float64, jnp.asarray]))
def test_any_other_number_is_shown_beside_the_right_one(difference, kind):
    text = words(lambda x, y: kind(x + y + difference))
    assert text.startswith("yours is ") and ("where 3 is right (ratio " in text or text.endswith("minus."))


@given(
    st.one_of(
        st.text(), st.binary(), st.integers(), st.booleans(), st.dictionaries(st.text(), st.text()),
        st.lists(st.one_of(st.none(), st.text(), st.floats(), st.lists(st.floats()))), st.complex_numbers(),
        st.sets(st.integers()), st.just(object()), st.just(len),
    )
)  # fmt: skip
def test_whatever_a_function_returns_gets_words(thing):
    for of in (ADD, exercise(lambda x, y: "text"), exercise(lambda x, y: 10**400), exercise(lambda x, y: b"bytes")):
        assert judge(of, lambda x, y: thing).text


@pytest.mark.parametrize(
    ("answer", "of", "said"),
    [
        (lambda x: np.zeros(3), ARRAY, "expected shape (4,), got shape (3,)."),
        (lambda x: 3.0, ARRAY, "expected shape (4,), got shape ()."),
        (lambda x: "four", ARRAY, "expected an array, got str 'four'."),
        (lambda x: None, ARRAY, "your function returned None: does its last line say `return`?"),
        (lambda x: ..., ARRAY, "your function returned `...`: a placeholder is still inside."),
        (lambda x: x * np.nan, ARRAY, "your result contains NaN"),
        (np.ones(4), ARRAY, "expected the function itself, without parentheses; got an array of shape (4,)"),
        (3.5, ARRAY, "expected the function itself, without parentheses; got float 3.5."),
        (lambda x, y: "5", ADD, "expected a number, got str '5'."),
        (lambda x, y: x > y, ADD, "expected type float64, got type bool."),
        (
            lambda x: x,
            exercise(lambda x: x.astype(np.uint8), [(np.arange(4.0),)]),
            "expected type uint8, got type float64",
        ),
        (
            lambda x: x > 1,
            exercise(lambda x: x.astype(np.uint8), [(np.arange(4.0),)]),
            "expected type uint8, got type bool",
        ),
        (
            lambda x, y: (x, [y]),
            exercise(lambda x, y: (x, [y], x)),
            "expected 3 results of shapes (), (1,), (), got 2 results of shapes (), (1,).",
        ),
        (
            lambda x: (x.sum(), x.max()),
            exercise(lambda x: (x, x), [(np.arange(4.0),)]),
            "expected 2 results of shapes (4,), (4,), got 1 result of shape (2,).",
        ),
        (
            lambda x: (x, "a", x),
            exercise(lambda x: (x, "a"), [(np.arange(4.0),)]),
            "expected 2 results, got 3 results.",
        ),
        (lambda x, y: (x, [y, y]), exercise(lambda x, y: (x, [y])), "expected shape (1,), got shape (2,)."),
        (lambda x, y: (x, [x]), exercise(lambda x, y: (x, [y])), "yours is 1 where 2 is right (ratio 0.5)."),
        (lambda x, y: b"ab", exercise(lambda x, y: b"abc"), "yours is b'ab' where b'abc' is right."),
        (lambda x, y: 10**401, exercise(lambda x, y: 10**400), "is right."),
        (lambda x, y: 4, exercise(lambda x, y: 0), "yours is 4 where 0 is right."),
    ],
)
def test_each_kind_of_difference_has_its_words(answer, of, said):
    assert said in words(answer, of)


def failing(x, y):
    return helper(x) + undefined_name  # noqa: F821


def helper(x):
    return x


def test_an_exception_is_shown_with_the_learners_line_and_nothing_of_ours():
    text = words(failing)
    assert text == (
        "your function raised NameError: name 'undefined_name' is not defined\n"
        "  in your line: return helper(x) + undefined_name  # noqa: F821"
    )


def test_an_exception_deep_in_a_library_is_shown_with_the_learners_line():
    text = words(lambda x, y: jnp.ones((2, 3)) @ jnp.ones((2, 3)))
    assert "TypeError" in text and "in your line: text = words(" in text
    assert "vae_lib" not in text and "Traceback" not in text and "File" not in text


def test_wrong_arguments_and_exit_are_words_too():
    assert "takes 0 positional arguments but 2 were given" in words(lambda: 0)
    assert "SystemExit" in words(lambda x, y: exit())


def test_a_result_that_the_probe_cannot_use_is_not_called_an_exception_of_the_learners():
    of = exercise(lambda x: x**2, [(3.0,)], probe=lambda f, x: jax.grad(f)(x))
    assert judge(of, lambda x: x * x).status == "correct"
    assert words(lambda x: jnp.ones(3) * x, of).startswith("what your function returned cannot be used here: TypeError")
    assert words(lambda x: None, of).startswith("your function returned None")


def test_an_answer_that_changes_its_arguments_spoils_nothing():
    def in_place(x):
        x *= 2
        return x

    assert judge(ARRAY, in_place).status == "correct"
    assert judge(ARRAY, in_place).status == "correct"


def patient(x, y):
    """Three seconds, as good as endless beside the limit below."""
    end = time.monotonic() + 3
    while time.monotonic() < end:
        try:
            time.sleep(0.01)
        except Exception:
            pass
    return x + y


def test_an_answer_that_never_ends_is_stopped_although_it_catches_exceptions():
    start = time.monotonic()
    assert words(patient, dataclasses.replace(ADD, seconds=0.2)).startswith("no answer after 0.2 s")
    assert time.monotonic() - start < 2


def test_a_later_alarm_does_not_ring():
    judge(dataclasses.replace(ADD, seconds=0.05), lambda x, y: x + y)
    time.sleep(0.1)


def test_an_interrupt_passes_through():
    def interrupted(x, y):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(ADD, interrupted)


def test_outside_the_main_thread_answers_are_judged_without_a_time_limit():
    verdicts = []
    thread = threading.Thread(target=lambda: verdicts.append(judge(ADD, lambda x, y: x + y)))
    thread.start()
    thread.join()
    assert verdicts[0].status == "correct"


def test_check_prints_the_verdict_and_remembers_it(monkeypatch, capsys):
    monkeypatch.setattr(engine, "find", lambda exercise_id: ADD)
    monkeypatch.setattr(engine, "VERDICTS", {})
    engine.check("99.1", stub)
    engine.check("99.1", lambda x, y: x + y)
    assert capsys.readouterr().out.splitlines() == [
        "○ 99.1 not attempted: replace the `...` in the cell above, run it, then run this cell.",
        "✓ 99.1 correct: notice this.",
    ]
    assert engine.VERDICTS["99.1"].status == "correct"


def test_long_words_are_printed_in_lines_that_break_between_words(monkeypatch, capsys):
    words = "it is of no use to tell somebody what is wrong in a line that ends in the middle of a wo-rd; " * 3
    monkeypatch.setattr(engine, "find", lambda exercise_id: dataclasses.replace(ADD, notice=words))
    monkeypatch.setattr(engine, "VERDICTS", {})
    engine.check("99.1", lambda x, y: x + y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 2 and max(map(len, lines)) <= 100
    assert " ".join(lines).split() == f"✓ 99.1 correct: {words}".split()


@pytest.mark.parametrize("exercise_id", ["99.1", "", "a", 1.2])
def test_an_unknown_exercise_gets_one_line(exercise_id, capsys):
    engine.check(exercise_id, stub)
    assert capsys.readouterr().out == f"check: expected an exercise such as '01.2', got {exercise_id!r}\n"
