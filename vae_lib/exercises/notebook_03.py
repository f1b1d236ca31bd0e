"""Exercises of notebook 03: the KL's gradient, a Laplace KL, a rate with four bugs, bits that come back, the best prior.

The oracles integrate on grids and search step by step; none uses the closed form that the learner derives.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import combinations, pairwise

import numpy as np

from vae_lib.exercises.engine import Exercise, Misconception

LN2 = math.log(2)


def _gaussians(rng: np.random.Generator, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and log standard deviations, of this shape; no mean near 0, no deviation near 1."""
    mean = rng.uniform(0.3, 2, shape) * rng.choice([-1, 1], shape)
    log_std = rng.uniform(0.2, 1.2, shape) * rng.choice([-1, 1], shape, p=[0.8, 0.2])
    return mean.astype(np.float32), log_std.astype(np.float32)


# 03.1


def _kl_by_integration(mean: float, log_std: float) -> float:
    """KL to the standard normal in nats, as a sum over a fine grid."""
    std = math.exp(log_std)
    step = std / 100
    z = mean + step * np.arange(-1000, 1001)
    log_q = -0.5 * ((z - mean) / std) ** 2 - log_std
    return float(np.sum(np.exp(log_q) * (log_q + 0.5 * z**2)) * step / math.sqrt(2 * math.pi))


def _gradient_oracle(mean: np.ndarray, log_std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    h = 1e-4
    by_mean, by_log_std = np.empty(mean.shape), np.empty(mean.shape)
    for i in np.ndindex(mean.shape):
        m, s = float(mean[i]), float(log_std[i])
        by_mean[i] = (_kl_by_integration(m + h, s) - _kl_by_integration(m - h, s)) / (2 * h)
        by_log_std[i] = (_kl_by_integration(m, s + h) - _kl_by_integration(m, s - h)) / (2 * h)
    return by_mean, by_log_std


GRADIENT = Exercise(
    id="03.1",
    title="Which way does the term push?",
    oracle=_gradient_oracle,
    cases=lambda rng: [_gaussians(rng, 3), _gaussians(rng, 2, 4)],
    misconceptions=[
        Misconception(
            "the second parameter is the log variance",
            lambda mean, log_std: (mean, (np.exp(2 * log_std) - 1) / 2),
            "by mean you are right; by log_std yours is {yours} where {right} is right, half of it. That is the "
            "derivative by the log variance; one step of log_std is two steps of that.",
        ),
        Misconception(
            "the derivative by the standard deviation is the one by its logarithm",
            lambda mean, log_std: (mean, np.exp(log_std) - np.exp(-log_std)),
            "by mean you are right; by log_std yours is {yours} where {right} is right. Yours is s - 1/s, the derivative "
            "by s itself: the chain rule still owes a factor ds/d(log s) = s.",
        ),
        Misconception(
            "exp(log_std) is the variance",
            lambda mean, log_std: (mean, np.exp(log_std) - 1),
            "by mean you are right; by log_std yours is {yours} where {right} is right. Yours is s - 1: exp(log_std) is "
            "the standard deviation, and the formula wants the variance.",
        ),
        Misconception(
            "the 1/2 belongs to one of the two terms",
            lambda mean, log_std: (mean, 0.5 * np.exp(2 * log_std) - 1),
            "by mean you are right; by log_std yours is {yours} where {right} is right: the 1/2 stands in front of all terms, "
            "and the derivatives of exp(2 log_std) and of 2 log_std both bring a 2 that takes it away.",
        ),
        Misconception(
            "the derivative by log_std comes first",
            lambda mean, log_std: (np.exp(2 * log_std) - 1, mean),
            "yours is {yours} where {right} is right: your two results are in the other order. First by mean, then by log_std.",
        ),
        Misconception(
            "the gradient is the direction of descent",
            lambda mean, log_std: (-mean, 1 - np.exp(2 * log_std)),
            "yours is {yours} where {right} is right: the sign is turned around. You return the direction in which "
            "descent walks; the gradient is the opposite one.",
        ),
        Misconception(
            "the 1/2 in front can be left out",
            lambda mean, log_std: (2 * mean, 2 * (np.exp(2 * log_std) - 1)),
            "yours is {yours}, exactly twice {right}: look for the missing 1/2.",
        ),
    ],
    notice="a mean is pulled home like a spring, but a narrow posterior is pushed with a force that never exceeds one "
    "nat per unit of log_std: precision has a flat price, about one bit for each halving.",
)


# 03.2


def _laplace_oracle(mean_q, scale_q, mean_p, scale_p) -> np.ndarray:
    """Simpson's rule between the kinks, entry by entry."""
    kl = np.empty(np.shape(mean_q))
    for i in np.ndindex(kl.shape):
        m, b, m_p, b_p = (float(a[i]) for a in (mean_q, scale_q, mean_p, scale_p))
        kinks = [m - 40 * b, min(m, m_p), max(m, m_p), m + 40 * b]
        kl[i] = sum(_simpson(partial(_laplace_term, m=m, b=b, m_p=m_p, b_p=b_p), *ends) for ends in pairwise(kinks))
    return kl


def _laplace_term(z: np.ndarray, m: float, b: float, m_p: float, b_p: float) -> np.ndarray:
    log_q, log_p = -np.abs(z - m) / b - math.log(2 * b), -np.abs(z - m_p) / b_p - math.log(2 * b_p)
    return np.exp(log_q) * (log_q - log_p)


def _simpson(function: Callable, low: float, high: float, pieces: int = 4000) -> float:
    values = function(np.linspace(low, high, pieces + 1))
    return float(values[0] + 4 * values[1::2].sum() + 2 * values[2:-1:2].sum() + values[-1]) * (high - low) / pieces / 3


def _laplace(mean_q, scale_q, mean_p, scale_p):
    d = np.abs(mean_q - mean_p)
    return np.log(scale_p / scale_q) - 1 + (d + scale_q * np.exp(-d / scale_q)) / scale_p


def _laplace_cases(rng: np.random.Generator) -> list[tuple]:
    def draw(*shape):
        locations = rng.uniform(-1.5, 1.5, (2, *shape)).astype(np.float32)
        scales = rng.uniform(0.3, 2, (2, *shape)).astype(np.float32)
        return locations[0], scales[0], locations[1], scales[1]

    return [draw(4), draw(2, 3)]


LAPLACE = Exercise(
    id="03.2",
    title="Another family",
    oracle=_laplace_oracle,
    cases=_laplace_cases,
    misconceptions=[
        Misconception(
            "the expectation is over p",
            lambda mean_q, scale_q, mean_p, scale_p: _laplace(mean_p, scale_p, mean_q, scale_q),
            "yours is {yours} where {right} is right: yours is KL(p, q). The expectation is over q, the first pair of arguments.",
        ),
        Misconception(
            "E|z - m_p| is the distance plus the scale",
            lambda mean_q, scale_q, mean_p, scale_p: (
                np.log(scale_p / scale_q) - 1 + (np.abs(mean_q - mean_p) + scale_q) / scale_p
            ),
            "yours is {yours} where {right} is right. You took E|z - m_p| = d + b_q, the triangle inequality as if it were an "
            "equality: on one side of m_p the two parts work against each other.",
        ),
        Misconception(
            "E|z - m_p| is the distance of the locations",
            lambda mean_q, scale_q, mean_p, scale_p: np.log(scale_p / scale_q) - 1 + np.abs(mean_q - mean_p) / scale_p,
            "yours is {yours} where {right} is right. You took E|z - m_p| = d, as if z always sat at m_q: with equal locations "
            "it would be 0, but it is b_q.",
        ),
        Misconception(
            "d is the difference, not the distance",
            lambda mean_q, scale_q, mean_p, scale_p: (
                np.log(scale_p / scale_q)
                - 1
                + (mean_q - mean_p + scale_q * np.exp(-(mean_q - mean_p) / scale_q)) / scale_p
            ),
            "yours is {yours} where {right} is right: you are off where m_q lies left of m_p. d is a distance, so take the "
            "absolute value of m_q - m_p.",
        ),
        Misconception(
            "the logarithm has the scale of q on top",
            lambda mean_q, scale_q, mean_p, scale_p: (
                _laplace(mean_q, scale_q, mean_p, scale_p) - 2 * np.log(scale_p / scale_q)
            ),
            "yours is {yours} where {right} is right: the logarithm is upside down. log q - log p contains "
            "-log b_q + log b_p, so b_p stands on top.",
        ),
        Misconception(
            "the second integral counts once",
            lambda mean_q, scale_q, mean_p, scale_p: (
                np.log(scale_p / scale_q)
                - 1
                + (np.abs(mean_q - mean_p) + 0.5 * scale_q * np.exp(-np.abs(mean_q - mean_p) / scale_q)) / scale_p
            ),
            "yours is {yours} where {right} is right: of E|z - m_p| you have d and half of b_q exp(-d/b_q). Beyond m_p the sign "
            "turns from minus to plus, so that integral counts twice.",
        ),
        Misconception(
            "E|z - m_q| / b_q vanishes",
            lambda mean_q, scale_q, mean_p, scale_p: _laplace(mean_q, scale_q, mean_p, scale_p) + 1,
            "yours is {yours}, one nat above {right}: E|z - m_q| / b_q is not 0 but 1, and it is subtracted. Test: KL(q, q) "
            "must be 0.",
        ),
        Misconception(
            "the result is in bits",
            lambda mean_q, scale_q, mean_p, scale_p: _laplace(mean_q, scale_q, mean_p, scale_p) / LN2,
            "yours is {yours} where {right} is right (ratio {ratio}): these are bits, asked for are nats.",
        ),
        Misconception(
            "the Gaussian's formula holds, with the scale as standard deviation",
            lambda mean_q, scale_q, mean_p, scale_p: (
                0.5 * ((scale_q / scale_p) ** 2 + ((mean_q - mean_p) / scale_p) ** 2 - 1) - np.log(scale_q / scale_p)
            ),
            "yours is {yours} where {right} is right: yours is the KL of two Gaussians with these scales as standard "
            "deviations. A Laplace density has |z - m| in its exponent, no square.",
        ),
    ],
    notice="far apart, the price grows with the distance itself, not with its square: a heavy tail is a belief that "
    "forgives surprises, which is why codecs like it.",
)


# 03.3: each subset of the four bugs is a misconception of its own

BUGS = {
    "half": ("the factor 1/2 is dropped", "the factor 1/2 in front"),
    "mean": (
        "latents are averaged, not summed",
        "an average over the latents, where an image pays for all of them",
    ),
    "std": (
        "exp of the log standard deviation is the variance",
        "a ratio of standard deviations where variances belong",
    ),
    "nats": ("bits are nats times ln 2", "the conversion from nats, which are larger than bits"),
}


def _rate_with(*bugs: str) -> Callable:
    def rate(mean, log_std, prior_log_std):
        difference = log_std - prior_log_std
        variance_ratio = np.exp(difference if "std" in bugs else 2 * difference)
        terms = variance_ratio + mean**2 * np.exp(-2 * prior_log_std) - 1 - 2 * difference
        nats = (1 if "half" in bugs else 0.5) * (np.mean if "mean" in bugs else np.sum)(terms, axis=(1, 2, 3))
        return nats * LN2 if "nats" in bugs else nats / LN2

    return rate


def _rate_as_log_variances(mean, log_std, prior_log_std):
    difference = log_std - prior_log_std
    terms = np.exp(difference) + mean**2 * np.exp(-prior_log_std) - 1 - difference
    return 0.5 * np.sum(terms, axis=(1, 2, 3)) / LN2


def _rate_oracle(mean, log_std, prior_log_std) -> np.ndarray:
    """A plain loop over the latents: the integral of each, for z measured in standard deviations of its prior."""
    bits = np.zeros(len(mean))
    for i in np.ndindex(mean.shape):
        prior = float(prior_log_std[i[-1]])
        bits[i[0]] += _kl_by_integration(float(mean[i]) * math.exp(-prior), float(log_std[i]) - prior) / LN2
    return bits


def _rate_cases(rng: np.random.Generator) -> list[tuple]:
    return [
        (*_gaussians(rng, batch, height, width, channels), rng.uniform(-0.8, 0.8, channels).astype(np.float32))
        for batch, height, width, channels in [(3, 2, 2, 2), (2, 3, 1, 4)]
    ]


FIND_THE_BUGS = Exercise(
    id="03.3",
    title="Find the bugs",
    oracle=_rate_oracle,
    cases=_rate_cases,
    misconceptions=[
        Misconception(
            "log_std is a log variance, in all terms",
            _rate_as_log_variances,
            "yours is {yours} where {right} is right: you read log_std as a log variance, now in all terms. It is the logarithm "
            "of a standard deviation: leave the other terms, and give the ratio of variances its 2.",
        ),
        *[
            Misconception(
                "; ".join(BUGS[bug][0] for bug in left),
                _rate_with(*left),
                f"yours is {{yours}} where {{right}} is right (ratio {{ratio}}). {how_many} left; look at "
                + ", and at ".join(BUGS[bug][1] for bug in left)
                + ".",
            )
            for how_many, count in {
                "One bug is": 1,
                "Two bugs are": 2,
                "Three bugs are": 3,
                "All four bugs are": 4,
            }.items()
            for left in combinations(BUGS, count)
        ],
    ],
    notice="not one of the four raised an error or gave a negative rate. A rate is only trusted once a case with a known "
    "price, a sampler or a file has confirmed it.",
)


# 03.4


def _returned_oracle(log_std: np.ndarray, width: float) -> np.ndarray:
    """Entropy in bits of each latent's bins, summed in a plain loop."""
    bits = np.zeros(log_std.shape[:-1])
    for i in np.ndindex(log_std.shape):
        std = math.exp(float(log_std[i]))
        z = width * np.arange(-math.ceil(10 * std / width), math.ceil(10 * std / width) + 1)
        probability = np.exp(-0.5 * (z / std) ** 2) / (std * math.sqrt(2 * math.pi)) * width
        bits[i[:-1]] -= np.sum(probability * np.log2(np.maximum(probability, 1e-300)))
    return bits


HALF_LOG_2PI, HALF_LOG_2PIE = math.log(2 * math.pi) / 2, math.log(2 * math.pi * math.e) / 2


def _returned(log_std, width, constant=HALF_LOG_2PIE):
    return np.sum(log_std + constant - np.log(width), axis=-1) / LN2


RETURNED = Exercise(
    id="03.4",
    title="What comes back",
    oracle=_returned_oracle,
    cases=lambda rng: [(_gaussians(rng, 3)[1], 1 / 16), (_gaussians(rng, 2, 5)[1], 1 / 50)],
    misconceptions=[
        Misconception(
            "q is taken at its peak",
            lambda log_std, width: _returned(log_std, width, HALF_LOG_2PI),
            "yours is {yours}, too small against {right} by 0.72 bits for each dimension: you took log q at the mean, but z lies beside "
            "it, and on average (z - m)²/2s² is one half nat.",
        ),
        Misconception(
            "the width is subtracted once for the whole vector",
            lambda log_std, width: _returned(log_std, 1.0) - np.log2(width),
            "yours is {yours} where {right} is right: -log2 of the width counts once for each dimension, a bin in five "
            "dimensions has volume width^5.",
        ),
        Misconception(
            "a finer grid returns less",
            lambda log_std, width: _returned(log_std, 1 / width),
            "yours is {yours} where {right} is right: the sign of log2(width) is turned around. On a finer grid there are "
            "more bins to choose from, so more comes back.",
        ),
        Misconception(
            "the result is in nats",
            lambda log_std, width: _returned(log_std, width) * LN2,
            "yours is {yours} where {right} is right (ratio {ratio}): these are nats, asked for are bits.",
        ),
        Misconception(
            "the log standard deviation is already in bits",
            lambda log_std, width: np.sum(log_std, axis=-1) + _returned(np.zeros_like(log_std), width),
            "yours is {yours} where {right} is right: log_std is a natural logarithm; it has to be turned into bits with the rest.",
        ),
        Misconception(
            "the mean over the dimensions",
            lambda log_std, width: _returned(log_std, width) / log_std.shape[-1],
            "yours is {yours} where {right} is right (ratio {ratio}, one over the number of dimensions): the bits of the "
            "dimensions add up.",
        ),
    ],
    notice="what is stored minus what comes back is the KL, whatever the grid. In the codec's training the posterior will "
    "be a box of the grid's width: it has no choice of bin, and this number becomes zero.",
)


# 03.5


def _golden(function: Callable, low: float, high: float) -> float:
    """Where a function with one valley is smallest, by golden section search."""
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(80):
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if function(a) < function(b) else (a, high)
    return (low + high) / 2


def _mean_rate(means: np.ndarray, log_stds: np.ndarray, mean_p: float, log_std_p: float) -> float:
    """Mean KL in nats of one latent, from _kl_by_integration, in units of the prior."""
    scale = math.exp(-log_std_p)
    kls = [_kl_by_integration((m - mean_p) * scale, s - log_std_p) for m, s in zip(means, log_stds, strict=True)]
    return sum(kls) / len(kls)


def _prior_oracle(mean: np.ndarray, log_std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Search, dimension by dimension: the best mean does not depend on the deviation, so one after the other."""
    means, log_stds = [], []
    for m, s in zip(mean.T.astype(np.float64), log_std.T.astype(np.float64), strict=True):
        means.append(_golden(partial(_mean_rate, m, s, log_std_p=0.0), -4, 4))
        log_stds.append(_golden(partial(_mean_rate, m, s, means[-1]), -3, 3))
    return np.array(means), np.array(log_stds)


def _half_log(variance: np.ndarray) -> np.ndarray:
    return 0.5 * np.log(variance)


BEST_PRIOR = Exercise(
    id="03.5",
    title="The best prior",
    oracle=_prior_oracle,
    cases=lambda rng: [_gaussians(rng, 4, 2), _gaussians(rng, 6, 1)],
    misconceptions=[
        Misconception(
            "only the means of the posteriors spread",
            lambda mean, log_std: (mean.mean(axis=0), np.log(mean.std(axis=0))),
            "your mean is right; your log_std is {yours} where {right} is right, too small: you took the spread of the "
            "means alone, but each posterior has a width of its own, and the variances add.",
        ),
        Misconception(
            "only the widths of the posteriors count",
            lambda mean, log_std: (mean.mean(axis=0), _half_log(np.exp(2 * log_std).mean(axis=0))),
            "your mean is right; your log_std is {yours} where {right} is right, too small: you averaged the variances, "
            "but the posteriors also lie in different places, and the prior has to cover all of them.",
        ),
        Misconception(
            "standard deviations add",
            lambda mean, log_std: (mean.mean(axis=0), np.log(np.exp(log_std).mean(axis=0) + mean.std(axis=0))),
            "your mean is right; your log_std is {yours} where {right} is right: you added standard deviations. It is variances "
            "that add; take the root afterwards.",
        ),
        Misconception(
            "the spread of the means is divided by n - 1",
            lambda mean, log_std: (
                mean.mean(axis=0),
                _half_log(np.exp(2 * log_std).mean(axis=0) + mean.var(axis=0, ddof=1)),
            ),
            "your mean is right; your log_std is {yours} where {right} is right: you divided by n - 1 (ddof=1). The mean rate is "
            "a mean over just these images, so divide by n.",
        ),
        Misconception(
            "parameters can be averaged",
            lambda mean, log_std: (mean.mean(axis=0), log_std.mean(axis=0)),
            "your mean is right; your log_std is {yours} where {right} is right. An average of log standard deviations is not "
            "the answer to any derivative here: set the derivative of the mean rate by log s_p to zero.",
        ),
        Misconception(
            "the result is the log variance",
            lambda mean, log_std: (
                mean.mean(axis=0),
                2 * _half_log(np.exp(2 * log_std).mean(axis=0) + mean.var(axis=0)),
            ),
            "your mean is right; your log_std is {yours}, twice {right}: that is the log variance.",
        ),
        Misconception(
            "the result is the standard deviation",
            lambda mean, log_std: (mean.mean(axis=0), np.sqrt(np.exp(2 * log_std).mean(axis=0) + mean.var(axis=0))),
            "your mean is right; where log_std should be {right} stands {yours}: that is the standard deviation itself, "
            "its logarithm is asked for.",
        ),
        Misconception(
            "the spread is measured from zero",
            lambda mean, log_std: (mean.mean(axis=0), _half_log((np.exp(2 * log_std) + mean**2).mean(axis=0))),
            "your mean is right; your log_std is {yours} where {right} is right, too large: measure the spread of the means "
            "from the prior's mean, not from zero.",
        ),
        Misconception(
            "precise posteriors count more",
            lambda mean, log_std: (
                np.average(mean, axis=0, weights=np.exp(-2 * log_std)),
                _half_log(np.exp(2 * log_std).mean(axis=0) + mean.var(axis=0)),
            ),
            "your mean is {yours} where {right} is right: you weighted the images by their precision. In the mean rate, "
            "the distance to the prior's mean is divided by the prior's variance, the same for all.",
        ),
    ],
    notice="the best Gaussian prior has the mean and variance of all posteriors mixed together: the forward KL again, "
    "mass-covering, as befits a code. A codec learns its prior for this reason.",
)


EXERCISES = [GRADIENT, LAPLACE, FIND_THE_BUGS, RETURNED, BEST_PRIOR]
