"""Exercises of notebook 11: the price of a wrong scale, how precisely to say one, what scales are worth, who may see whom.

The oracles are integrals, a search and plain loops.
"""

import math
from collections.abc import Callable

import numpy as np

from vae_lib.exercises.engine import Exercise, Misconception

# 11.1


def _scale_oracle(std: np.ndarray, assumed: np.ndarray) -> float:
    """The integral of p log2(p / q) over a grid, for each pair."""
    total = 0.0
    for s, a in zip(std.tolist(), assumed.tolist(), strict=True):
        x = np.linspace(-12 * s, 12 * s, 20001)
        log_p = -(x**2) / (2 * s**2) - math.log(s)
        log_q = -(x**2) / (2 * a**2) - math.log(a)
        p = np.exp(log_p) / math.sqrt(2 * math.pi)
        total += float(np.sum(p * (log_p - log_q)) * (x[1] - x[0])) / math.log(2)
    return total / len(std)


def _wrong_scale(ratio: np.ndarray, half: float = 0.5, base: float = 2.0) -> float:
    """Mean price where ratio = std / assumed; what may go wrong is passed in."""
    ratio = np.asarray(ratio, np.float64)
    return float(np.mean(ratio**2 / 2 - half - np.log(ratio)) / math.log(base))


WRONG_SCALE = Exercise(
    id="11.1",
    title="The price of a wrong scale",
    oracle=_scale_oracle,
    cases=lambda rng: [
        (np.array([1.0]), np.array([2.0])),
        (np.array([3.0, 0.5, 1.0]), np.array([1.0, 1.0, 1.0])),
        (rng.uniform(0.3, 3, 6), rng.uniform(0.5, 3, 6)),
    ],
    misconceptions=[
        Misconception(
            "the price is in nats",
            lambda std, assumed: _wrong_scale(std / assumed, base=math.e),
            "yours is {yours} where {right} is right (ratio {ratio}, ln 2): these are nats; asked for are bits.",
        ),
        Misconception(
            "it does not matter which one is true",
            lambda std, assumed: _wrong_scale(assumed / std),
            "yours is {yours} where {right} is right: you swapped the two. Symbols come with `std` and are coded with `assumed`; the "
            "average goes over what comes.",
        ),
        Misconception(
            "the half is a constant that one may drop",
            lambda std, assumed: _wrong_scale(std / assumed, half=0.0),
            "yours is {yours} where {right} is right, half a nat more for each symbol: with the right scale the price must be 0. Is yours?",
        ),
        Misconception(
            "scales are variances",
            lambda std, assumed: _wrong_scale(np.sqrt(std / assumed)),
            "yours is {yours} where {right} is right: you took the scales for variances. They are standard deviations; the ratio of the "
            "variances is the square of theirs.",
        ),
        Misconception(
            "only the logarithm counts",
            lambda std, assumed: float(np.mean(np.log2(assumed / std))),
            "yours is {yours} where {right} is right: that is how much longer the code words of a *typical* symbol get, a gain where the "
            "assumed scale is too small. The rare large symbols, which then cost most, are missing.",
        ),
        Misconception(
            "only the logarithm is in bits",
            lambda std, assumed: float(np.mean((std / assumed) ** 2 / 2 - 0.5 - np.log2(std / assumed))),
            "yours is {yours} where {right} is right: log2 of the ratio is in bits, but the rest of your sum is still in nats. Divide the whole "
            "sum by ln 2.",
        ),
        Misconception(
            "the half of the square is lost",
            lambda std, assumed: 2 * _wrong_scale(std / assumed),
            "yours is {yours}, twice {right}: look for a missing 1/2. It is half the *logarithm of the variances' ratio*, or the logarithm of the "
            "standard deviations'.",
        ),
        Misconception(
            "the whole cost is the extra cost",
            lambda std, assumed: float(
                np.mean(0.5 * np.log2(2 * math.pi * assumed**2) + (std / assumed) ** 2 / (2 * math.log(2)))
            ),
            "yours is {yours} where {right} is right: that is all the bits of a symbol, the cross-entropy. Take off what it costs with the right "
            "scale; with equal scales the price must be 0.",
        ),
        Misconception(
            "sum over the symbols",
            lambda std, assumed: _wrong_scale(std / assumed) * len(std),
            "yours is {yours} where {right} is right (ratio {ratio}, the number of symbols): take the mean over them.",
        ),
    ],
    notice="a scale that is off by an eighth of an octave costs about 0.01 bits a symbol: hence tables at quarter octaves in the codec. And "
    "too small a scale costs more than too large a one: when in doubt, predict wide.",
)


# 11.2


def _bits_of_step(step: float, symbols: int, share: float = 1.0) -> float:
    """Side information and wrong scales: -log2 of the step, and the mean of delta^2 / ln 2 for each symbol."""
    delta = np.linspace(-0.5, 0.5, 2001) * step
    return share * -math.log2(step) + symbols * float(np.trapezoid(delta**2, delta) / step) / math.log(2)


def _step_oracle(symbols: int) -> float:
    """The least of the sum, by narrowing an interval of log steps to a third and a third."""
    low, high = math.log(1e-4), math.log(1e2)
    for _ in range(120):
        third = (high - low) / 3
        if _bits_of_step(math.exp(low + third), symbols) < _bits_of_step(math.exp(high - third), symbols):
            high -= third
        else:
            low += third
    return math.exp((low + high) / 2)


STEP = Exercise(
    id="11.2",
    title="How precisely must one say it?",
    oracle=_step_oracle,
    cases=lambda rng: [(1,), (6,), (192,), (int(rng.integers(20, 5000)),)],
    misconceptions=[
        Misconception(
            "the error is always the largest one",
            lambda symbols: math.sqrt(2 / symbols),
            "yours is {yours} where {right} is right (ratio {ratio}): you took (step / 2)^2 for the error. That is the worst case; the mean "
            "of a uniform error's square is step^2 / 12.",
        ),
        Misconception(
            "the error squared is the step squared",
            lambda symbols: math.sqrt(1 / (2 * symbols)),
            "yours is {yours} where {right} is right (ratio {ratio}): you took step^2 for the mean of delta^2. A uniform error of width step has "
            "the mean square step^2 / 12.",
        ),
        Misconception(
            "log2 and ln are the same",
            lambda symbols: math.sqrt(6 / (symbols * math.log(2))),
            "yours is {yours} where {right} is right (ratio {ratio}): side information in nats, wrong scales with 1 as delta^2's factor. Both "
            "terms are bits: ln(step) / ln 2 and delta^2 / ln 2, and ln 2 falls out.",
        ),
        Misconception(
            "bits beside nats",
            lambda symbols: math.sqrt(6 * math.log(2) / symbols),
            "yours is {yours} where {right} is right (ratio {ratio}): one of your two terms is in nats, the other in bits. log2(step) is "
            "ln(step) / ln 2: the same ln 2 as below delta^2.",
        ),
        Misconception(
            "one symbol uses the scale",
            lambda symbols: math.sqrt(6),
            "yours is {yours} where {right} is right: it does not depend on `symbols`. All symbols that use the scale pay for its error; the "
            "side information is paid once.",
        ),
        Misconception(
            "the step squared is the step",
            lambda symbols: 6 / symbols,
            "yours is {yours} where {right} is right: that is the square of the step. Take the root.",
        ),
        Misconception(
            "many symbols need a coarse scale",
            lambda symbols: math.sqrt(symbols / 6),
            "yours is {yours} where {right} is right: upside down. The more symbols use a scale, the more precisely it pays to say it.",
        ),
    ],
    notice="a scale that serves hundreds of symbols is worth saying to within a tenth or two, one that serves a single symbol is not worth "
    "saying at all. A hyperprior finds this balance by itself: both costs stand in its loss.",
)


# 11.3


def _worth_oracle(std: np.ndarray) -> float:
    """Integrals of p log2(p / q) for each number, q the common Gaussian of its channel."""
    total = 0.0
    for column in std.T.tolist():
        common = math.sqrt(sum(s**2 for s in column) / len(column))
        for s in column:
            x = np.linspace(-12 * s, 12 * s, 20001)
            p = np.exp(-(x**2) / (2 * s**2)) / (s * math.sqrt(2 * math.pi))
            log_ratio = -(x**2) / (2 * s**2) - math.log(s) + x**2 / (2 * common**2) + math.log(common)
            total += float(np.sum(p * log_ratio) * (x[1] - x[0])) / math.log(2) / len(column)
    return total


def _worth(std: np.ndarray, common: Callable = lambda s: np.sqrt(np.mean(s**2, axis=0))) -> float:
    """Bits per block; the single standard deviation of each channel is passed in."""
    return float(np.sum(np.log2(common(std)) - np.mean(np.log2(std), axis=0)))


WORTH = Exercise(
    id="11.3",
    title="What are scales worth?",
    oracle=_worth_oracle,
    cases=lambda rng: [
        (np.array([[8.0], [2.0]]),),
        (np.exp(rng.normal(2, 1, (12, 3))),),
        (np.exp(rng.normal(3, 0.5, (7, 5)) + np.arange(5)),),
    ],
    misconceptions=[
        Misconception(
            "the best common Gaussian has the mean standard deviation",
            lambda std: _worth(std, lambda s: np.mean(s, axis=0)),
            "yours is {yours} where {right} is right: the cost of a Gaussian has the *square* of what comes in it, so the best common variance "
            "is the mean of the variances.",
        ),
        Misconception(
            "the answer is in nats",
            lambda std: math.log(2) * _worth(std),
            "yours is {yours} where {right} is right (ratio {ratio}, ln 2): these are nats; asked for are bits.",
        ),
        Misconception(
            "a variance is a standard deviation",
            lambda std: 2 * _worth(std),
            "yours is {yours}, twice {right}: bits are log2 of a *standard deviation*, half of log2 of a variance.",
        ),
        Misconception(
            "mean over the channels",
            lambda std: _worth(std) / std.shape[1],
            "yours is {yours} where {right} is right (ratio {ratio}): you took the mean over the channels. A block has a number in each of them: sum.",
        ),
        Misconception(
            "sum over the blocks",
            lambda std: _worth(std) * len(std),
            "yours is {yours} where {right} is right (ratio {ratio}, the number of blocks): that is for all blocks; asked for is the mean over blocks.",
        ),
        Misconception(
            "one Gaussian for all channels",
            lambda std: _worth(std, lambda s: np.full(s.shape[1], np.sqrt(np.mean(s**2)))),
            "yours is {yours} where {right} is right: your common Gaussian is that of all channels together. Each channel has a table of its own.",
        ),
        Misconception(
            "scales cost instead of saving",
            lambda std: -_worth(std),
            "yours is {yours} where {right} is right: the sign. To know more cannot cost more bits (what it costs to be told is another account).",
        ),
    ],
    notice="this is the logarithm of a root mean square over a geometric mean: it is large where a channel is almost silent in many blocks "
    "and loud in a few, and that is what photographs are like.",
)


# 11.4

_OFFSETS = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]


def _seen(pass_map: np.ndarray, earlier: Callable, outside: bool = False) -> np.ndarray:
    """(rows, columns, 3, 3): whether the neighbour is inside and `earlier`; what may go wrong is passed in."""
    rows, columns = pass_map.shape
    seen = np.full((rows, columns, 3, 3), outside)
    for r in range(rows):
        for c in range(columns):
            for dr, dc in _OFFSETS:
                if 0 <= r + dr < rows and 0 <= c + dc < columns:
                    seen[r, c, dr + 1, dc + 1] = earlier(pass_map[r + dr, c + dc], pass_map[r, c], dr, dc)
    return seen


CONTEXT = Exercise(
    id="11.4",
    title="Who may see whom",
    oracle=lambda pass_map: _seen(pass_map, lambda there, here, dr, dc: there < here),
    cases=lambda rng: [
        (np.array([[0, 1], [1, 0]]),),
        (rng.permutation(20).reshape(4, 5) // 4,),
        (np.arange(12).reshape(3, 4),),
    ],
    misconceptions=[
        Misconception(
            "blocks of one pass see each other",
            lambda pass_map: _seen(pass_map, lambda there, here, dr, dc: there <= here),
            "yours is {yours} where {right} is right: you let blocks of one pass see each other, and themselves. They are decoded at the same "
            "time, so none of them is known yet.",
        ),
        Misconception(
            "what comes later is known",
            lambda pass_map: _seen(pass_map, lambda there, here, dr, dc: there > here),
            "yours is {yours} where {right} is right: you look at what is decoded *later*. The encoder has it, and its bits would be "
            "wonderful; no decoder could read them.",
        ),
        Misconception(
            "outside the image is known",
            lambda pass_map: _seen(pass_map, lambda there, here, dr, dc: there < here, outside=True),
            "yours is {yours} where {right} is right: outside the image there is nothing to see. (A convolution pads with zeros, which is the "
            "same as not seeing.)",
        ),
        Misconception(
            "the order is that of reading",
            lambda pass_map: _seen(pass_map, lambda there, here, dr, dc: (dr, dc) < (0, 0)),
            "yours is {yours} where {right} is right: you used the order of reading, row by row. The order is the one in `pass_map`.",
        ),
        Misconception(
            "rows and columns are swapped",
            lambda pass_map: _seen(pass_map, lambda there, here, dr, dc: there < here).swapaxes(2, 3),
            "yours is {yours} where {right} is right: rows and columns of the neighbourhood are swapped. seen[r, c, 0, 1] is the block "
            "above.",
        ),
    ],
    notice="the first pass sees nothing and lives on the hyperprior alone. In the order of reading, row by row, each block sees four others, "
    "but a photograph then needs thousands of passes, one after the other.",
)

EXERCISES = [WRONG_SCALE, STEP, WORTH, CONTEXT]
