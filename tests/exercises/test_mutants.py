"""No check takes an answer with one small slip, unless the slip changes nothing."""

import pytest
from misconceptions import all_exercises
from mutants import EQUIVALENT, mutants, survivors

QUICK = "00.1 00.3 01.2 01.3 02.2 03.1 03.4 05.4 06.3 07.2 07.4 08.2 09.4 10.2 11.1 12.2 13.3 14.1".split()


@pytest.mark.filterwarnings("ignore")  # of what a slip divides by
@pytest.mark.parametrize("exercise", [e for e in all_exercises() if e.id in QUICK], ids=lambda exercise: exercise.id)
def test_a_solution_with_one_slip_is_not_correct(exercise):
    """Of every notebook at least one exercise; `python tests/exercises/mutants.py` tries all."""
    count, taken = survivors(exercise)
    assert count > 5
    assert set(taken) <= set(EQUIVALENT.get(exercise.id, {}))


def test_slips_are_what_people_do():
    found = set(mutants("def f(p, base):\n    return np.ceil(-np.log2(p) / base + 1)"))
    for line in (
        "np.floor(-np.log2(p) / base + 1)",
        "np.ceil(-np.log(p) / base + 1)",
        "np.ceil(np.log2(p) / base + 1)",
    ):
        assert f"def f(p, base):\n    return {line}" in found
    for line in ("-np.log2(p) * base + 1", "base / -np.log2(p) + 1", "-np.log2(p) / base + 2", "-np.log2(p) / base"):
        assert f"def f(p, base):\n    return np.ceil({line})" in found
