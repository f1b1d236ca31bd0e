"""Exercises of notebook 10: the water level, where zero ends, another paper's lambda, prediction.

The oracles search, loop or differentiate numerically where the solutions have a formula.
"""

import math

import numpy as np

from vae_lib.exercises.engine import Exercise, Misconception

LN2 = math.log(2)

# 10.1


def _water_oracle(variances: np.ndarray, distortion: float) -> float:
    """Raise the water until the error is spent."""
    low, high = 0.0, float(max(variances))
    for _ in range(200):
        water = (low + high) / 2
        spent = sum(min(float(v), water) for v in variances)
        low, high = (water, high) if spent < distortion else (low, water)
    return sum(0.5 * math.log2(v / low) for v in variances.tolist() if v > low)


def _bits(variances: np.ndarray, water) -> float:
    return float(np.sum(np.maximum(0, 0.5 * np.log2(variances / water))))


WATER = Exercise(
    id="10.1",
    title="How high is the water?",
    oracle=_water_oracle,
    cases=lambda rng: [
        (variances, float(share * variances.sum()))
        for n, share in ((6, 0.03), (6, 0.3), (20, 0.1), (40, 0.5))
        for variances in [np.exp(rng.normal(3, 2, n))]
    ],
    misconceptions=[
        Misconception(
            "every channel is given the same error, also those that have less to lose",
            lambda v, d: _bits(v, d / len(v)),
            "yours is {yours} where {right} is right (ratio {ratio}): you set the water to distortion / n. A drowned channel cannot lose more than its "
            "variance; what it leaves over raises the water for the others.",
        ),
        Misconception(
            "a channel below the water earns bits back",
            lambda v, d: float(np.sum(0.5 * np.log2(len(v) * v / d))),
            "yours is {yours} where {right} is right: you add negative bits of channels whose variance is below the level. "
            "Such a channel costs nothing; it does not pay.",
        ),
        Misconception(
            "every channel loses the same share of its variance",
            lambda v, d: 0.5 * len(v) * math.log2(v.sum() / d),
            "yours is {yours} where {right} is right (ratio {ratio}): you take from each channel in proportion to its variance. "
            "A squared unit of error saves most bits where it drowns small channels whole.",
        ),
        Misconception(
            "distortion is the water level",
            lambda v, d: _bits(v, d),
            "yours is {yours} where {right} is right (ratio {ratio}): you used the total error as the level. It is the sum of what all channels lose; "
            "find the level that makes min(variance, level) sum to it.",
        ),
        Misconception(
            "a variance is a standard deviation",
            lambda v, d: 2 * _water_oracle(v, d),
            "yours is {yours}, twice {right}: the bits are log2 of a ratio of *standard deviations*, so half of log2 of a ratio of variances.",
        ),
        Misconception(
            "log is log2",
            lambda v, d: LN2 * _water_oracle(v, d),
            "yours is {yours} where {right} is right (ratio {ratio}, ln 2): these are nats; asked for are bits.",
        ),
    ],
    notice="the level falls out of a budget for all channels together. The encoder never decides channel by channel; one number, "
    "water, sigma^2 or lambda, decides for all.",
)


# 10.2


def _zero_oracle(bits_zero: float, bits_one: float, point: float, worth: float) -> float:
    """The size at which both cost the same, by halving."""

    def gain_of_one(size: float) -> float:
        return (bits_zero + worth * size**2) - (bits_one + worth * (size - point) ** 2)

    low, high = -1e4, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if gain_of_one(middle) > 0 else (middle, high)
    return low


ZERO = Exercise(
    id="10.2",
    title="Where does zero end?",
    oracle=_zero_oracle,
    cases=lambda rng: [
        (
            float(rng.uniform(0.02, 1)),
            float(rng.uniform(2, 9)),
            float(rng.uniform(0.85, 1.3)),
            float(rng.uniform(4, 40)),
        )
        for _ in range(6)
    ],
    misconceptions=[
        Misconception(
            "the border is half-way",
            lambda b0, b1, point, worth: point / 2,
            "yours is {yours} where {right} is right: half-way to the point is where the *errors* are equal. The bits are not: a "
            "one costs more than a zero, and must save that much error.",
        ),
        Misconception(
            "the dead zone does not depend on the point",
            lambda b0, b1, point, worth: point / 2 + (b1 - b0) / (2 * worth),
            "yours is {yours} where {right} is right: close. Expand worth * (t - point)^2: the term in t carries 2 * point, "
            "so you must divide by that.",
        ),
        Misconception(
            "the 2 of the square is lost",
            lambda b0, b1, point, worth: point / 2 + (b1 - b0) / (worth * point),
            "yours is {yours} where {right} is right: your dead zone is twice too wide. (t - point)^2 = t^2 - 2 point t + point^2.",
        ),
        Misconception(
            "dear symbols are used sooner",
            lambda b0, b1, point, worth: point / 2 - (b1 - b0) / (2 * worth * point),
            "yours is {yours} where {right} is right: on the wrong side of the middle. If a one is dearer, zero reaches further.",
        ),
        Misconception(
            "a zero is free",
            lambda b0, b1, point, worth: point / 2 + b1 / (2 * worth * point),
            "yours is {yours} where {right} is right: a little too far out. A zero costs bits as well; only the difference counts.",
        ),
        Misconception(
            "worth is bits, not bits per squared step",
            lambda b0, b1, point, worth: point / 2 + worth * (b1 - b0) / (2 * point),
            "yours is {yours} where {right} is right: you multiplied by worth. The more error is worth, the *narrower* the dead zone.",
        ),
        Misconception(
            "zero ends where rounding ends",
            lambda b0, b1, point, worth: 0.5,
            "yours is {yours} where {right} is right: half a step is where plain rounding changes over. Here bits count as well, and a one comes back as `point`.",
        ),
        Misconception(
            "a one comes back as one",
            lambda b0, b1, point, worth: 0.5 + (b1 - b0) / (2 * worth),
            "yours is {yours} where {right} is right: you let a one come back as 1. It comes back as `point`, in both terms of the formula.",
        ),
    ],
    notice="the dead zone is not a trick beside rate and distortion, it follows from them; and rare ones (large bits) "
    "make it wide in just those channels that are almost always zero.",
)


# 10.3


def _lmbda_oracle(their_lmbda: float, height: int, width: int) -> float:
    """Ratio of two slopes of their loss: by our D and by our R, each nudged."""
    pixels = height * width

    def their_loss(rate: float, distortion: float) -> float:
        nats = rate * pixels * LN2
        squared = distortion / 255**2 * pixels * 3
        return nats + their_lmbda * squared

    here = their_loss(0.5, 40.0)
    return (their_loss(0.5, 41.0) - here) / (their_loss(1.5, 40.0) - here)


LMBDA = Exercise(
    id="10.3",
    title="Somebody else's lambda",
    oracle=_lmbda_oracle,
    cases=lambda rng: [
        (float(t), int(h), int(w)) for t, h, w in ((200.0, 512, 768), (900.0, 256, 256), (55.5, 768, 512))
    ],
    misconceptions=[
        Misconception(
            "a loss per image has a larger lambda",
            lambda t, h, w: 3 * t / (255**2 * LN2 * h * w),
            "yours is {yours} where {right} is right: you divided by the number of pixels. Both of their terms are sums over the "
            "image, so dividing the loss by the pixels changes nothing between them.",
        ),
        Misconception(
            "a mean over colours is a sum",
            lambda t, h, w: t / (255**2 * LN2),
            "yours is {yours} where {right} is right (ratio {ratio}): their error is a sum over three colours, our D a mean over them.",
        ),
        Misconception(
            "bits are nats",
            lambda t, h, w: 3 * t / 255**2,
            "yours is {yours} where {right} is right (ratio {ratio}, ln 2): their rate is in nats. Divide the *whole* loss by ln 2, "
            "so that its rate becomes bits.",
        ),
        Misconception(
            "nats are more than bits",
            lambda t, h, w: 3 * t * LN2 / 255**2,
            "yours is {yours} where {right} is right (ratio {ratio}, ln 2 squared): the factor ln 2 on the wrong side. R bits are R ln 2 nats.",
        ),
        Misconception(
            "a square scales like its root",
            lambda t, h, w: 3 * t / (255 * LN2),
            "yours is {yours} where {right} is right (ratio {ratio}): *squared* errors shrink by 255 squared.",
        ),
        Misconception(
            "a smaller unit needs a smaller lambda",
            lambda t, h, w: 3 * t * 255**2 / LN2,
            "yours is {yours} where {right} is right: turned around. One squared grey level is only 1 / 255^2 of their unit, so it is "
            "worth that much less.",
        ),
        Misconception(
            "a sum over pixels must be divided by them",
            lambda t, h, w: 3 * t * h * w / (255**2 * LN2),
            "yours is {yours} where {right} is right: height and width cancel. Their rate is a sum over the image as well, so both terms are divided by the pixels.",
        ),
        Misconception(
            "pixels are pixels",
            lambda t, h, w: 3 * t / LN2,
            "yours is {yours} where {right} is right: their pixels go from 0 to 1, ours from 0 to 255, and the error is squared.",
        ),
    ],
    notice="a lambda without its units says nothing. Compare R and D, never lambdas, across papers.",
)


# 10.4


def _prediction_oracle(z: np.ndarray, step: float) -> np.ndarray:
    """Sender and receiver in lockstep: the prediction is what the receiver has."""
    receiver, symbols = 0, []
    for value in z.tolist():
        symbols.append(round(value / step) - receiver)
        receiver += symbols[-1]
    return np.array(symbols)


PREDICTION = Exercise(
    id="10.4",
    title="Predict from what?",
    oracle=_prediction_oracle,
    cases=lambda rng: [
        (np.cumsum(rng.normal(0, 9, n)) + 50, float(step)) for n, step in ((6, 10.0), (40, 25.0), (60, 7.5))
    ],
    misconceptions=[
        Misconception(
            "predict from the sender's own latent",
            lambda z, step: np.rint(np.diff(z, prepend=0.0) / step),
            "you send {yours} where {right} is right: you predict from the *unrounded* neighbour, which the receiver does not have. "
            "Its errors add up along the row, without bound.",
        ),
        Misconception(
            "no prediction",
            lambda z, step: np.rint(z / step),
            "you send {yours} where {right} is right: these are the levels themselves. The receiver sums what it gets.",
        ),
        Misconception(
            "the first one has no neighbour, so nothing is sent",
            lambda z, step: np.diff(np.rint(z / step)),
            "your result is {yours}, asked for is {right}: one symbol short. The receiver starts from 0, so the first level has to be sent too.",
        ),
        Misconception(
            "rounding is cutting off",
            lambda z, step: np.diff(np.floor(z / step), prepend=0.0),
            "you send {yours} where {right} is right: you round down, so that errors reach a whole step. Round to the nearest.",
        ),
        Misconception(
            "the receiver multiplies later, so send grey levels",
            lambda z, step: step * np.diff(np.rint(z / step), prepend=0.0),
            "you send {yours} where {right} is right (ratio {ratio}, the step): send whole numbers of steps; the receiver multiplies.",
        ),
        Misconception(
            "the neighbour is the one to the right",
            lambda z, step: -np.diff(np.rint(z / step), append=0.0),
            "you send {yours} where {right} is right: you predict from the next number, which the receiver has not read yet.",
        ),
    ],
    notice="round first, then predict: the levels are the same as without prediction, so the picture is the same to the last bit. "
    "Prediction changes only what the levels cost.",
)


EXERCISES = [WATER, ZERO, LMBDA, PREDICTION]
