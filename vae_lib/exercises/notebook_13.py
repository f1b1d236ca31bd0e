"""Exercises of notebook 13: decibels at equal rate, one figure for many photographs, when the model is paid back.

The oracles add up narrow strips, or count photographs one by one.
"""

import math
from collections.abc import Callable

import numpy as np

from vae_lib.exercises.engine import Exercise, Misconception
from vae_lib.metrics import bd_rate

# 13.1


def _curve(rng: np.random.Generator, points: int, rate: float, psnr: float) -> tuple[np.ndarray, np.ndarray]:
    return rate * np.exp(np.cumsum(rng.uniform(0.2, 0.9, points))), psnr + np.cumsum(rng.uniform(0.8, 3.5, points))


def _pairs_of_curves(rng: np.random.Generator) -> list[tuple]:
    """Curves of several lengths; which one starts lower and which one ends higher varies."""
    return [
        (*_curve(rng, n, rate, psnr), *_curve(rng, m, reference_rate, reference_psnr))
        for n, rate, psnr, m, reference_rate, reference_psnr in (
            (6, 0.05, 26, 6, 0.09, 25),
            (8, 0.1, 27, 5, 0.06, 28),
            (5, 0.08, 25, 9, 0.07, 27),
            (4, 0.2, 30, 7, 0.05, 26),
        )
    ]


def _strips(rates, psnrs, reference_rates, reference_psnrs) -> float:
    """A hundred thousand narrow strips, each taken at its middle."""
    low, high = (math.log(f(rates[k], reference_rates[k])) for f, k in ((max, 0), (min, -1)))
    x = low + (high - low) * (np.arange(100_000) + 0.5) / 100_000
    return float(np.mean(np.interp(x, np.log(rates), psnrs) - np.interp(x, np.log(reference_rates), reference_psnrs)))


def _gain(curves, scale: Callable = np.log, common: bool = True, divide: bool = True) -> float:
    rates, psnrs, reference_rates, reference_psnrs = curves
    x, x_reference = scale(rates), scale(reference_rates)
    low, high = max(x[0], x_reference[0]), min(x[-1], x_reference[-1])
    if not common:
        low, high = min(x[0], x_reference[0]), max(x[-1], x_reference[-1])
    knots = np.clip(np.sort(np.concatenate([x, x_reference, [low, high]])), low, high)
    gain = np.interp(knots, x, psnrs) - np.interp(knots, x_reference, reference_psnrs)
    return float(np.trapezoid(gain, knots)) / ((high - low) if divide else 1.0)


BD_PSNR = Exercise(
    id="13.1",
    title="Decibels at equal rate",
    oracle=_strips,
    cases=_pairs_of_curves,
    rtol=5e-3,
    misconceptions=[
        Misconception(
            "bits are added, so one integrates over bits",
            lambda *curves: _gain(curves, scale=np.asarray),
            "yours is {yours} where {right} is right: you integrate over the rate itself, so the step from 2 to 4 bits per pixel counts "
            "twenty times as much as the one from 0.1 to 0.2. Take logarithms first.",
        ),
        Misconception(
            "a curve goes on where it was not measured",
            lambda *curves: _gain(curves, common=False),
            "yours is {yours} where {right} is right: you compare where only one codec was measured. np.interp goes on flat beyond the last "
            "point and says nothing; keep to the range that both have.",
        ),
        Misconception(
            "an integral is a mean",
            lambda *curves: _gain(curves, divide=False),
            "yours is {yours} where {right} is right: that is the area between the curves. Divide it by the width of the range.",
        ),
        Misconception(
            "the gain is what the reference has more",
            lambda *curves: -_gain(curves),
            "yours is {yours} where {right} is right: the sign is turned around. More decibels than the reference is a positive gain.",
        ),
        Misconception(
            "the mean of the points is the mean of the curve",
            lambda rates, psnrs, reference_rates, reference_psnrs: float(np.mean(psnrs) - np.mean(reference_psnrs)),
            "yours is {yours} where {right} is right: you subtract the means of the measured points. They were measured at other rates: "
            "whoever measures more points at high rates would win.",
        ),
    ],
    notice="one figure for two curves, and the range belongs to it. BD-rate is the same area, read along the other axis.",
)


# 13.2


def _photographs(rng: np.random.Generator) -> list[tuple]:
    """Photographs that cost much and little; in one the curves are such that the two averages disagree in sign."""
    cases: list[tuple] = []
    for count in (2, 3, 5):
        ours, theirs = {}, {}
        for k in range(count):
            rate, psnr = float(rng.uniform(0.03, 0.6)), float(rng.uniform(22, 34))
            x, y = _curve(rng, 7, rate, psnr)
            ours[f"photograph {k}"] = x.tolist(), y.tolist()
            factor, shift = rng.uniform(0.6, 2.5), rng.uniform(-0.5, 2.0)
            other, z = x * factor * np.linspace(1.0, rng.uniform(0.7, 1.6), 7), y + shift
            theirs[f"photograph {k}"] = other.tolist(), z.tolist()
        cases.append((ours, theirs))
    return cases


def _for_each(ours: dict, theirs: dict) -> list[tuple[float, float, float]]:
    return [bd_rate(*ours[name], *theirs[name]) for name in ours]


def _pooled(ours: dict, theirs: dict) -> float:
    """The ratios multiplied, and the root of the product."""
    ratios = [1 + percent / 100 for percent, _, _ in _for_each(ours, theirs)]
    return 100 * (math.prod(ratios) ** (1 / len(ratios)) - 1)


def _of_mean_curves(ours: dict, theirs: dict) -> float:
    curves = [np.mean(list(codec.values()), axis=0) for codec in (ours, theirs)]
    return bd_rate(*curves[0], *curves[1])[0]


def _by_range(ours: dict, theirs: dict) -> float:
    found = np.array(_for_each(ours, theirs))
    return float(100 * np.expm1(np.average(np.log1p(found[:, 0] / 100), weights=found[:, 2] - found[:, 1])))


OVERALL = Exercise(
    id="13.2",
    title="One figure for many photographs",
    oracle=_pooled,
    cases=_photographs,
    rtol=1e-4,
    misconceptions=[
        Misconception(
            "average first, compare then",
            _of_mean_curves,
            "yours is {yours} where {right} is right: that is the BD-rate of the mean curves. A mean of curves compares the first "
            "codec's easy photographs with the second one's hard ones; compare within each photograph first.",
        ),
        Misconception(
            "percents are averaged as they are",
            lambda ours, theirs: float(np.mean([percent for percent, _, _ in _for_each(ours, theirs)])),
            "yours is {yours} where {right} is right: +100 % and -50 % are a doubling and a halving, and should cancel. Average the "
            "logarithms of the ratios.",
        ),
        Misconception(
            "the typical photograph speaks for all",
            lambda ours, theirs: float(np.median([percent for percent, _, _ in _for_each(ours, theirs)])),
            "yours is {yours} where {right} is right: the median. It says how a typical photograph fares, but not what all "
            "of them do together.",
        ),
        Misconception(
            "more decibels, more weight",
            _by_range,
            "yours is {yours} where {right} is right: you weigh a photograph by the width of its range of PSNR. That width says how "
            "far somebody turned the knob, not how much the photograph matters.",
        ),
        Misconception(
            "the reference comes first",
            lambda ours, theirs: _pooled(theirs, ours),
            "yours is {yours} where {right} is right: you measured them against us. bd_rate takes the codec first, then the reference.",
        ),
    ],
    notice="a geometric mean: the reference and the codec may change places and the ratio only turns over.",
)


# 13.3


def _budgets(rng: np.random.Generator) -> list[tuple]:
    """Whole numbers of bytes: ordinary, an exact quotient, never, a model that nobody needs to send."""
    theirs = rng.integers(20_000, 90_000, 7)
    ours = (theirs * rng.uniform(0.5, 0.95, 7)).astype(int)
    return [
        (3_300_000, ours.tolist(), theirs.tolist()),
        (120_000, [30_000, 50_000], [34_000, 58_000]),  # 6,000 saved on average: exactly 20
        (120_001, [30_000, 50_000], [34_000, 58_000]),
        (500, [10_000, 400], [30_000, 300]),  # less than one photograph's saving; the second one costs more
        (3_300_000, theirs.tolist(), ours.tolist()),
        (1_000, [700, 900], [800, 800]),
        (10, [100, 101], [101, 101]),  # half a byte saved
    ]


def _one_by_one(model_bytes: int, ours: list[int], theirs: list[int]) -> float:
    """Whole sums, in units of one over the number of photographs: no fraction is ever rounded."""
    count, saved = len(ours), sum(theirs) - sum(ours)
    n = 0
    while saved > 0 and count * model_bytes + n * sum(ours) > n * sum(theirs):
        n += 1
    return n if saved > 0 else math.inf


def _paid(
    model_bytes: int, ours: list[int], theirs: list[int], whole: Callable = math.ceil, saved: Callable | None = None
) -> float:
    each = float(np.mean(theirs) - np.mean(ours)) if saved is None else float(saved(np.array(ours), np.array(theirs)))
    return whole(model_bytes / each) if each > 0 else math.inf


PAYS_BACK = Exercise(
    id="13.3",
    title="When is the model paid back?",
    oracle=_one_by_one,
    cases=_budgets,
    rtol=0.0,
    atol=1e-9,
    misconceptions=[
        Misconception(
            "a number of photographs is rounded down",
            lambda model, ours, theirs: _paid(model, ours, theirs, whole=math.floor),
            "yours is {yours} where {right} is right: with one photograph fewer than needed, the model is not yet paid back. Round up.",
        ),
        Misconception(
            "the model is worth as many of their files as fit into it",
            lambda model, ours, theirs: _paid(model, ours, theirs, saved=lambda x, y: y.mean()),
            "yours is {yours} where {right} is right: you divide by their bytes, as if our files were free. Only the difference pays.",
        ),
        Misconception(
            "the list is the photograph",
            lambda model, ours, theirs: _paid(model, ours, theirs, saved=lambda x, y: (y - x).sum()),
            "yours is {yours} where {right} is right: you divide by what the whole list saves, and so count lists, not photographs.",
        ),
        Misconception(
            "every codec pays back some day",
            lambda model, ours, theirs: _paid(model, ours, theirs, saved=lambda x, y: abs((y - x).mean()) or math.inf),
            "yours is {yours} where {right} is right: here our files are no smaller, and no number of them pays for anything.",
        ),
        Misconception(
            "a mean of percents times a mean of bytes",
            lambda model, ours, theirs: _paid(model, ours, theirs, saved=lambda x, y: (1 - x / y).mean() * y.mean()),
            "yours is {yours} where {right} is right: the mean of the percents, times the mean file, is not the mean of what is "
            "saved: a large saving on a small file weighs too much. Bytes are paid in bytes.",
        ),
    ],
    notice="a learned codec is a subscription: a price at the door, then less for each picture.",
)


EXERCISES = [BD_PSNR, OVERALL, PAYS_BACK]
