"""Exercises of notebook 08: effective latents, the refund, the best model for a beta, a door for strangers.

The oracles are plain loops, or take another road to the same number.
"""

import math
from collections.abc import Callable

import numpy as np

from vae_lib.exercises.engine import Exercise, Misconception

# 08.1


def _effective_oracle(rates: np.ndarray) -> float:
    """The product over the latents of (1 / share) ** share: two to the entropy, without a logarithm."""
    total = math.fsum(rates.tolist())
    return math.prod((total / rate) ** (rate / total) for rate in rates.tolist() if rate > 0)


def _shares(rates: np.ndarray) -> np.ndarray:
    rates = np.asarray(rates, np.float64)
    return rates[rates > 0] / rates.sum()


EFFECTIVE = Exercise(
    id="08.1",
    title="How many latents, really?",
    oracle=_effective_oracle,
    cases=lambda rng: [
        (np.array([4.2, 0.7, 2.5, 0.0, 1.1]),),
        (np.r_[rng.gamma(2.0, 1.5, 9), np.zeros(7)],),
        (np.full(8, 1.5),),
    ],
    misconceptions=[
        Misconception(
            "a latent is used or it is not",
            lambda rates: float(np.count_nonzero(rates)),
            "yours is {yours} where {right} is right: you counted every latent with some rate as one. Here a latent counts by its "
            "share of the rate.",
        ),
        Misconception(
            "the entropy is the count",
            lambda rates: float(-np.sum(_shares(rates) * np.log2(_shares(rates)))),
            "yours is {yours} where {right} is right: that is the entropy in bits. Eight equal latents have an entropy of 3 bits, "
            "and there are eight of them.",
        ),
        Misconception(
            "two to the entropy in nats",
            lambda rates: float(2 ** -np.sum(_shares(rates) * np.log(_shares(rates)))),
            "yours is {yours} where {right} is right: an entropy in nats needs e as the base, one in bits needs 2. Eight equal latents "
            "must give 8.",
        ),
        Misconception(
            "e to the entropy in bits",
            lambda rates: float(np.exp(-np.sum(_shares(rates) * np.log2(_shares(rates))))),
            "yours is {yours} where {right} is right: an entropy in bits needs 2 as the base, one in nats needs e. Eight equal latents "
            "must give 8.",
        ),
        Misconception(
            "one over the sum of the squared shares",
            lambda rates: float(1 / np.sum(_shares(rates) ** 2)),
            "yours is {yours} where {right} is right: that is the participation ratio, an honest count too, but it is not two to the "
            "entropy.",
        ),
        Misconception(
            "the rates are the shares",
            lambda rates: float(2 ** -np.sum(rates[rates > 0] * np.log2(rates[rates > 0]))),
            "yours is {yours} where {right} is right: the shares must sum to 1. Divide the rates by their sum first.",
        ),
    ],
    notice="no threshold had to be chosen. Equal rates count in full; a latent that takes a thousandth of the bits hardly counts.",
)


# 08.2


def _refund_oracle(posterior_log_std: np.ndarray, step: float) -> float:
    """Price under the prior minus KL, each in closed form, with a mean of 0.7: the refund must not depend on it."""
    refunds = []
    for row in np.asarray(posterior_log_std, np.float64).tolist():
        gross = net = 0.0
        for s in row:
            second_moment = 0.7**2 + math.exp(2 * s)
            gross += 0.5 * second_moment + 0.5 * math.log(2 * math.pi) - math.log(step)
            net += 0.5 * (second_moment - 1) - s
        refunds.append((gross - net) / math.log(2))
    return math.fsum(refunds) / len(refunds)


def _refund(
    log_std: np.ndarray, step: float, width: float = math.sqrt(2 * math.pi * math.e), std: Callable = np.exp
) -> np.ndarray:
    """Bits of each latent of each image; what may go wrong is passed in."""
    return np.log2(width * std(np.asarray(log_std, np.float64)) / step)


REFUND = Exercise(
    id="08.2",
    title="What comes back",
    oracle=_refund_oracle,
    cases=lambda rng: [
        (rng.uniform(-2.5, -0.2, (6, 3)).astype(np.float32), 2.0**-6),
        (rng.uniform(-3.0, 0.0, (4, 5)).astype(np.float32), 0.1),
    ],
    misconceptions=[
        Misconception(
            "the refund is in nats",
            lambda log_std, step: float(_refund(log_std, step).sum(axis=1).mean() * math.log(2)),
            "yours is {yours} where {right} is right (ratio {ratio}, ln 2): these are nats; asked for are bits.",
        ),
        Misconception(
            "a mean over the latents",
            lambda log_std, step: float(_refund(log_std, step).mean()),
            "yours is {yours} where {right} is right (ratio {ratio}): you averaged over the latents. An image holds all of them: sum over "
            "the latents, mean over the images.",
        ),
        Misconception(
            "a sum over the images",
            lambda log_std, step: float(_refund(log_std, step).sum()),
            "yours is {yours} where {right} is right (ratio {ratio}, the number of images): that is the refund of all images together; "
            "take the mean over them.",
        ),
        Misconception(
            "log_std is a log variance",
            lambda log_std, step: float(
                _refund(log_std, step, std=lambda log_std: np.exp(log_std / 2)).sum(axis=1).mean()
            ),
            "yours is {yours} where {right} is right: you took the root of the standard deviation. log_std is its logarithm already: no "
            "division by 2.",
        ),
        Misconception(
            "the step does not matter",
            lambda log_std, step: float(_refund(log_std, 1.0).sum(axis=1).mean()),
            "yours is {yours} where {right} is right: that is the entropy of a density. A number rounded to `step` has log2(1 / step) bits "
            "more, for each latent.",
        ),
        Misconception(
            "a Gaussian is as wide as its peak is low",
            lambda log_std, step: float(_refund(log_std, step, width=math.sqrt(2 * math.pi)).sum(axis=1).mean()),
            "yours is {yours} where {right} is right: half a nat is missing for each latent. The mean of -log q is taken over all z that q "
            "draws, not at its peak.",
        ),
        Misconception(
            "a Gaussian is a uniform of the same variance",
            lambda log_std, step: float(_refund(log_std, step, width=math.sqrt(12)).sum(axis=1).mean()),
            "yours is {yours} where {right} is right: you counted the steps in a uniform of the same variance. The entropy of a Gaussian is "
            "larger: of all densities with that variance it is the most spread out.",
        ),
        Misconception(
            "what is left is what is refunded",
            lambda log_std, step: float(-np.sum(_refund(log_std, step), axis=1).mean()),
            "yours is {yours} where {right} is right: the size is right, the sign is not. The gross price is the larger one, so the refund "
            "is positive when the step is fine.",
        ),
        Misconception(
            "a finer step takes bits away",
            lambda log_std, step: float((_refund(log_std, 1.0) + np.log2(step)).sum(axis=1).mean()),
            "yours is {yours} where {right} is right: the sign of the step's logarithm is wrong. A finer step leaves more multiples to choose from, so more comes back.",
        ),
    ],
    notice="the mean of q has dropped out: where z lies costs what the prior says, and what comes back is how freely z was drawn. A finer "
    "step raises gross and refund alike, so the net price needs no step at all. Notebook 09 collects this refund, in bytes.",
)


# 08.3


def _hull_oracle(rates: np.ndarray, distortions: np.ndarray) -> np.ndarray:
    """For each model the interval of betas at which it beats each other one; kept if something is left above 0."""
    kept = []
    for i in range(len(rates)):
        lowest, highest = 0.0, math.inf
        for j in range(len(rates)):
            if i == j:
                continue
            beta = (distortions[j] - distortions[i]) / (rates[i] - rates[j])  # where the two cost the same
            if rates[i] > rates[j]:
                highest = min(highest, beta)
            else:
                lowest = max(lowest, beta)
        kept.append(lowest <= highest)
    return np.array(kept)


def _not_dominated(rates: np.ndarray, distortions: np.ndarray) -> np.ndarray:
    return np.array(
        [not np.any((rates < r) & (distortions < d)) for r, d in zip(rates, distortions, strict=True)], dtype=bool
    )


def _lower_hull(rates: np.ndarray, distortions: np.ndarray) -> np.ndarray:
    """Best for some beta of either sign."""
    return _hull_oracle(rates, distortions - 1e6 * rates)  # shear: every slope becomes steep and falling


def _below_the_neighbours(rates: np.ndarray, distortions: np.ndarray) -> np.ndarray:
    """Not above the line between the next model on either side."""
    order = np.argsort(rates)
    kept = _not_dominated(rates, distortions)
    for left, here, right in zip(order, order[1:], order[2:], strict=False):
        share = (rates[here] - rates[left]) / (rates[right] - rates[left])
        kept[here] &= distortions[here] <= (1 - share) * distortions[left] + share * distortions[right]
    return kept


def _for_betas(*betas: float) -> Callable:
    def wrong(rates, distortions):
        kept = np.zeros(len(rates), dtype=bool)
        for beta in betas:
            kept[np.argmin(distortions + beta * rates)] = True
        return kept

    return wrong


# A rate-distortion curve at ten betas from 1/16 to 32 with two models beside it: one above the curve that nothing
# dominates, and one that pays more and is worse. Then two neighbours above the hull, one of which hides the other.
CURVE = (
    np.array([70.0, 66.0, 61.0, 55.0, 48.0, 40.0, 31.0, 21.0, 10.0, 1.0, 35.0, 75.0]),
    np.array([2500.0, 2500.5, 2502.0, 2506.0, 2515.0, 2532.0, 2570.0, 2650.0, 2830.0, 3200.0, 2556.0, 2501.0]),
)
HIDDEN = (np.array([0.0, 10.0, 20.0, 30.0, 40.0]), np.array([100.0, 76.0, 53.0, 28.0, 0.0]))


def _clouds(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    clouds = []
    for _ in range(4):
        rates = rng.permutation(np.linspace(2, 70, 14)) + rng.uniform(0, 3, 14)
        clouds.append((rates, 2400 + 1500 / (1 + rates / 9) + rng.uniform(0, 60, 14)))
    return clouds


HULL = Exercise(
    id="08.3",
    title="Best for some beta",
    oracle=_hull_oracle,
    cases=lambda rng: [CURVE, HIDDEN, *_clouds(rng)],
    misconceptions=[
        Misconception(
            "nobody is better in both",
            _not_dominated,
            "you answer {yours} for a model where {right} is right: no other model is better in *both* prices, but for every beta some other "
            "one has the smaller sum. Such a model lies above a line between two others.",
        ),
        Misconception(
            "beta is 1",
            _for_betas(1.0),
            "you answer {yours} for a model where {right} is right: you kept the best one for beta = 1 alone. Every beta from 0 up may ask "
            "for another.",
        ),
        Misconception(
            "a handful of betas is enough",
            _for_betas(0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
            "you answer {yours} for a model where {right} is right: you tried a handful of betas, and some models are best only in between. "
            "Two models cost the same at one beta, which you can compute.",
        ),
        Misconception(
            "beta may be negative",
            _lower_hull,
            "you answer {yours} for a model where {right} is right: it pays more rate for *more* distortion, so it is best only for a "
            "negative beta. Beta starts at 0.",
        ),
        Misconception(
            "a model is only compared with the next ones",
            _below_the_neighbours,
            "you answer {yours} for a model where {right} is right: you compared it with the next model on either side. If that one falls "
            "out, the model has other neighbours: compare with all.",
        ),
        Misconception(
            "best for every beta",
            lambda rates, distortions: (rates == rates.min()) & (distortions == distortions.min()),
            "you answer {yours} for a model where {right} is right: no model is best for *every* beta; one is enough.",
        ),
    ],
    notice="the models that remain form a convex curve, and its slope between two of them is minus the beta at which one takes over from the "
    "other. Minimising D + beta R can find no other points, however many models one trains.",
)


# 08.4


def _door_oracle(model_bits: np.ndarray, raw_bits: float, strangers: float) -> float:
    total = 0.0
    for bits in np.asarray(model_bits, np.float64).tolist():
        known, strange = bits - math.log2(1 - strangers), raw_bits - math.log2(strangers)
        total += known if known < strange else strange
    return total / len(model_bits)


def _door(
    flags: Callable[[float], tuple[float, float]], choose_with_flag: bool = True
) -> Callable[[np.ndarray, float, float], float]:
    """A wrong answer whose flags cost something else."""

    def wrong(model_bits, raw_bits, strangers):
        of_model, of_raw = flags(strangers)
        bits = np.asarray(model_bits, np.float64)
        if choose_with_flag:
            return float(np.mean(np.minimum(bits + of_model, raw_bits + of_raw)))
        return float(np.mean(np.where(bits < raw_bits, bits + of_model, raw_bits + of_raw)))

    return wrong


DOOR = Exercise(
    id="08.4",
    title="A door for strangers",
    oracle=_door_oracle,
    cases=lambda rng: [
        (np.array([2600.0, 6270.0, 6274.0, 14000.0, 2900.0]), 6272.0, 0.01),
        (np.r_[rng.uniform(1000, 7000, 20), rng.uniform(60, 70, 3)], 64.0, 0.125),
        (rng.uniform(56, 72, 12), 64.0, 0.02),
    ],
    misconceptions=[
        Misconception(
            "the flag is free",
            _door(lambda strangers: (0.0, 0.0)),
            "yours is {yours} where {right} is right: you take the cheaper of the two and do not tell the decoder which. It cannot know: pay "
            "for the flag.",
        ),
        Misconception(
            "a flag is a bit",
            _door(lambda strangers: (1.0, 1.0)),
            "yours is {yours} where {right} is right: you pay one bit for the flag, right only if strangers are as frequent as the others. A "
            "flag of probability p costs -log2 p.",
        ),
        Misconception(
            "only strangers need a flag",
            _door(lambda strangers: (0.0, -math.log2(strangers))),
            "yours is {yours} where {right} is right: the images that the model codes carry a flag too, the cheap one of -log2(1 - strangers) "
            "bits.",
        ),
        Misconception(
            "the two flags are swapped",
            _door(lambda strangers: (-math.log2(strangers), -math.log2(1 - strangers))),
            "yours is {yours} where {right} is right: you charge the rare flag to the images that the model codes. `strangers` is the "
            "probability of the raw flag.",
        ),
        Misconception(
            "flags are counted in nats",
            _door(lambda strangers: (-math.log(1 - strangers), -math.log(strangers))),
            "yours is {yours} where {right} is right: your flags are in nats, the images in bits.",
        ),
        Misconception(
            "every flag costs the entropy",
            _door(lambda p: (-p * math.log2(p) - (1 - p) * math.log2(1 - p),) * 2),
            "yours is {yours} where {right} is right: you charge each image the entropy of the flag, which is its *mean* price if exactly the "
            "assumed share were strangers. Each image pays for the flag that it has.",
        ),
        Misconception(
            "choose first, pay later",
            _door(lambda strangers: (-math.log2(1 - strangers), -math.log2(strangers)), choose_with_flag=False),
            "yours is {yours} where {right} is right, a little less: an image that is only just cheaper raw loses that when it pays for the rare "
            "flag. Compare the sums.",
        ),
    ],
    notice="with the door a stranger costs at most the raw bits and its flag, and everybody else hardly anything: insurance against a wrong "
    "model for a hundredth of a bit an image. A file format should have such a door.",
)


EXERCISES = [EFFECTIVE, REFUND, HULL, DOOR]
