"""Exercises of notebook 11: the price of a wrong scale, side information, rounding the surprise, who may see whom.

The oracles are integrals and plain loops.
"""

import math
from collections import Counter
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
            "sum over the symbols",
            lambda std, assumed: _wrong_scale(std / assumed) * len(std),
            "yours is {yours} where {right} is right (ratio {ratio}, the number of symbols): take the mean over them.",
        ),
    ],
    notice="a scale that is off by an eighth of an octave costs about 0.01 bits a symbol: hence tables at quarter octaves in the codec. And "
    "too small a scale costs more than too large a one: when in doubt, predict wide.",
)


# 11.2


def _classes_oracle(classes: np.ndarray, symbols: np.ndarray) -> float:
    """Bits per block, symbol by symbol, from counts in dictionaries."""
    side = Counter(classes.tolist())
    tables: dict[tuple[int, int], Counter] = {}
    for c, row in zip(classes.tolist(), symbols.tolist(), strict=True):
        for channel, k in enumerate(row):
            tables.setdefault((c, channel), Counter())[k] += 1
    bits = 0.0
    for c, row in zip(classes.tolist(), symbols.tolist(), strict=True):
        bits += math.log2(len(classes) / side[c])
        for channel, k in enumerate(row):
            bits += math.log2(side[c] / tables[c, channel][k])
    return bits / len(classes)


def _empirical_bits(values: np.ndarray) -> float:
    """Bits of all values under the table of their own frequencies."""
    counts = np.unique(values, return_counts=True)[1]
    return float(-np.sum(counts * np.log2(counts / counts.sum())))


def _class_bits(
    classes: np.ndarray, symbols: np.ndarray, side: Callable = _empirical_bits, latent: Callable = _empirical_bits
) -> float:
    """Bits per block; what may go wrong is passed in."""
    bits = side(classes)
    for c in np.unique(classes):
        bits += sum(latent(column) for column in symbols[classes == c].T)
    return bits / len(classes)


SIDE = Exercise(
    id="11.2",
    title="Everything has to be sent",
    oracle=_classes_oracle,
    cases=lambda rng: [
        (np.array([0, 0, 0, 1]), np.array([[1, 0], [1, 0], [0, 0], [5, 3]])),
        _class_case(rng, 40, 3, 4),
        _class_case(rng, 60, 5, 3),
    ],
    misconceptions=[
        Misconception(
            "side information is free",
            lambda classes, symbols: _class_bits(classes, symbols, side=lambda classes: 0.0),
            "yours is {yours} where {right} is right: the decoder cannot choose a table before it knows the class. The classes have to be "
            "sent, too.",
        ),
        Misconception(
            "a class costs log2 of their number",
            lambda classes, symbols: _class_bits(
                classes, symbols, side=lambda classes: len(classes) * math.log2(len(np.unique(classes)))
            ),
            "yours is {yours} where {right} is right: classes are not equally frequent. Give them a table of their own frequencies, as any "
            "other symbol.",
        ),
        Misconception(
            "one table for all classes",
            lambda classes, symbols: (
                _class_bits(np.zeros_like(classes), symbols) + _empirical_bits(classes) / len(classes)
            ),
            "yours is {yours} where {right} is right: you paid for the classes and then did not use them. Count a table for each class and "
            "channel.",
        ),
        Misconception(
            "one table for all channels",
            lambda classes, symbols: (
                (_empirical_bits(classes) + sum(_empirical_bits(symbols[classes == c]) for c in np.unique(classes)))
                / len(classes)
            ),
            "yours is {yours} where {right} is right: you pooled the channels of a class in one table. Each channel has a table of its own.",
        ),
        Misconception(
            "every class weighs the same",
            lambda classes, symbols: float(
                _empirical_bits(classes) / len(classes)
                + np.mean(
                    [
                        sum(_empirical_bits(column) for column in symbols[classes == c].T) / np.sum(classes == c)
                        for c in np.unique(classes)
                    ]
                )
            ),
            "yours is {yours} where {right} is right: you averaged over the classes. Sum the bits of all blocks, then divide by the number "
            "of blocks: frequent classes weigh more.",
        ),
        Misconception(
            "the answer is in nats",
            lambda classes, symbols: _class_bits(classes, symbols) * math.log(2),
            "yours is {yours} where {right} is right (ratio {ratio}, ln 2): these are nats; asked for are bits.",
        ),
        Misconception(
            "the total of the image",
            lambda classes, symbols: _class_bits(classes, symbols) * len(classes),
            "yours is {yours} where {right} is right (ratio {ratio}, the number of blocks): that is the whole image; asked for are bits per block.",
        ),
    ],
    notice="one term fell and one rose, and only their sum is a file. A hyperprior is these classes made continuous, predicted by a network, "
    "and trained on exactly this sum.",
)


def _class_case(rng: np.random.Generator, blocks: int, count: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks whose class sets the scale of their symbols; the first class is the most frequent."""
    classes = np.minimum(rng.geometric(0.5, blocks) - 1, count - 1)
    return classes, np.rint(rng.normal(size=(blocks, channels)) * (1 + 2 * classes[:, None])).astype(int)


# 11.3


def _mean_oracle(y: np.ndarray, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each latent try all symbols and keep the one that comes nearest."""
    symbols, y_hat = np.empty(y.shape), np.empty(y.shape)
    for place in np.ndindex(y.shape):
        symbols[place] = min(range(-60, 61), key=lambda k: abs(y[place] - (mean[place] + k)))
        y_hat[place] = mean[place] + symbols[place]
    return symbols, y_hat


def _about(y: np.ndarray, mean: np.ndarray, rounding: Callable = np.rint) -> tuple[np.ndarray, np.ndarray]:
    symbols = rounding(y - mean)
    return symbols, mean + symbols


ABOUT_MEAN = Exercise(
    id="11.3",
    title="Round the surprise",
    oracle=_mean_oracle,
    cases=lambda rng: [
        (np.array([2.4, -0.7, 10.2]), np.array([0.3, -0.6, 9.6])),
        (3 * rng.normal(size=(4, 5)), 2 * rng.normal(size=(4, 5))),
    ],
    misconceptions=[
        Misconception(
            "round first, then subtract the mean",
            lambda y, mean: (np.rint(y) - mean, np.rint(y)),
            "yours is {yours} where {right} is right: rounding minus a mean is no integer. Subtract the mean first, then round what is left.",
        ),
        Misconception(
            "means are rounded, too",
            lambda y, mean: (np.rint(y) - np.rint(mean), np.rint(y)),
            "yours is {yours} where {right} is right: you rounded the mean. The decoder knows it exactly; keep it, and the grid of what can be "
            "said moves to where the latent is expected.",
        ),
        Misconception(
            "the symbol is the latent",
            lambda y, mean: (np.rint(y - mean), np.rint(y - mean)),
            "yours is {yours} where {right} is right: the decoder has to add the mean again.",
        ),
        Misconception(
            "integers are cut off, not rounded",
            lambda y, mean: _about(y, mean, np.trunc),
            "yours is {yours} where {right} is right: you cut off towards 0 (`astype(int)` does that). It makes a wide dead zone and errors "
            "of up to a whole step.",
        ),
        Misconception(
            "down is as good as nearest",
            lambda y, mean: _about(y, mean, np.floor),
            "yours is {yours} where {right} is right: you rounded down, which shifts every latent by half a step on average.",
        ),
        Misconception(
            "the latent is an integer in the end",
            lambda y, mean: (np.rint(y - mean), np.rint(mean + np.rint(y - mean))),
            "yours is {yours} where {right} is right: you rounded the sum. Only the symbol is an integer; mean plus symbol may lie anywhere.",
        ),
    ],
    notice="where the mean is right, the symbol is 0, which is almost free, *and* the error is small: a mean saves bits and error at once.",
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

EXERCISES = [WRONG_SCALE, SIDE, ABOUT_MEAN, CONTEXT]
