"""Checks for notebook 02: the gap in bits, a closed-form ELBO, three bugs, the mean-field gap."""

import functools
import math
from collections.abc import Callable

import numpy as np

from vae_lib.exercises.engine import Exercise, Misconception

LOG_2PI = math.log(2 * math.pi)
hermite_nodes = functools.cache(np.polynomial.hermite_e.hermegauss)


# 02.1: bits above the shortest code


def _batches(rng: np.random.Generator) -> list[tuple]:
    cases = []
    for samples, batch in ((5, 3), (8, 8), (40, 2)):
        log_q = rng.normal(-3, 1, (samples, batch))
        log_joint = rng.normal(-60, 2, (samples, batch))
        cases.append((rng.normal(-52, 1, batch), log_joint, log_q))
    return cases


def _gap_oracle(log_evidence, log_joint, log_q):
    gaps = []
    for k in range(len(log_evidence)):
        total = 0.0
        for i in range(len(log_joint)):
            total += log_joint[i, k] - log_q[i, k]
        gaps.append((log_evidence[k] - total / len(log_joint)) / math.log(2))
    return np.array(gaps)


def _gap_in_nats(log_evidence, log_joint, log_q):
    return _gap_oracle(log_evidence, log_joint, log_q) * math.log(2)


def _gap_with_sum(log_evidence, log_joint, log_q):
    return (log_evidence - np.sum(log_joint - log_q, axis=0)) / math.log(2)


def _gap_without_refund(log_evidence, log_joint, log_q):
    return (log_evidence - np.mean(log_joint, axis=0)) / math.log(2)


def _gap_with_log_q_added(log_evidence, log_joint, log_q):
    return (log_evidence - np.mean(log_joint + log_q, axis=0)) / math.log(2)


def _gap_of_importance_weighted(log_evidence, log_joint, log_q):
    return (log_evidence - np.log(np.mean(np.exp(log_joint - log_q), axis=0))) / math.log(2)


def _code_length_of_elbo(log_evidence, log_joint, log_q):
    return -np.mean(log_joint - log_q, axis=0) / math.log(2)


# 02.2: the ELBO of a Poisson pixel


def _photons(rng: np.random.Generator) -> list[tuple]:
    return [(int(rng.integers(2, 20)), float(rng.uniform(-1, 2.5)), float(rng.uniform(-1.5, -0.1))) for _ in range(6)]


def _photon_oracle(count: int, mean: float, log_std: float) -> float:
    """Gauss-Hermite quadrature of E_q[log p(x, z) - log q(z)]."""
    nodes, weights = hermite_nodes(80)
    total = 0.0
    for node, weight in zip(nodes, weights / math.sqrt(2 * math.pi), strict=True):
        z = mean + math.exp(log_std) * node
        log_joint = count * z - math.exp(z) - math.log(math.factorial(count)) - 0.5 * z**2 - 0.5 * LOG_2PI
        total += weight * (log_joint + 0.5 * node**2 + log_std + 0.5 * LOG_2PI)
    return total


def _photon_wrong(change: Callable[[int, float, float], float]) -> Callable:
    """The right value plus the difference that a belief makes."""
    return lambda count, mean, log_std: _photon_oracle(count, mean, log_std) + change(count, mean, log_std)


def _expected_brightness(mean: float, log_std: float) -> float:
    return math.exp(mean + math.exp(2 * log_std) / 2)


# 02.3: three bugs


def _patches(rng: np.random.Generator) -> list[tuple]:
    return [
        (
            rng.uniform(0.1, 0.5, n),
            rng.normal(-0.5, 0.3, (n, 2)),
            rng.uniform(-2, -0.5, (n, 2)),
            rng.normal(size=(n, 2)),
        )
        for n in (2, 3, 7)
    ]


def _patch_oracle(x, mean, log_std, epsilon):
    total = 0.0
    for i in range(len(x)):
        z = [mean[i, j] + math.exp(log_std[i, j]) * epsilon[i, j] for j in range(2)]
        predicted = math.exp(z[0]) / (1 + math.exp(-z[1]))
        total += -0.5 * ((x[i] - predicted) / 0.05) ** 2 - math.log(0.05) - 0.5 * LOG_2PI
        for j in range(2):
            total += -0.5 * z[j] ** 2 - 0.5 * LOG_2PI
            total += 0.5 * epsilon[i, j] ** 2 + log_std[i, j] + 0.5 * LOG_2PI
    return total / len(x)


def _with_bugs(variance: bool, broadcast: bool, mean_over_latents: bool) -> Callable:
    """The notebook's broken function with some of its three bugs left in."""

    def mean_elbo(x, mean, log_std, epsilon):
        z = mean + np.exp((2 if variance else 1) * log_std) * epsilon
        predicted = np.exp(z[:, :1]) / (1 + np.exp(-z[:, 1:]))
        error = x - predicted if broadcast else x[:, None] - predicted
        log_likelihood = -0.5 * (error / 0.05) ** 2 - math.log(0.05) - 0.5 * LOG_2PI
        log_prior = np.sum(-0.5 * z**2 - 0.5 * LOG_2PI, axis=1) / (2 if mean_over_latents else 1)
        log_q = np.sum(-0.5 * ((z - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * LOG_2PI, axis=1)
        return np.mean(log_likelihood) + np.mean(log_prior - log_q)

    return mean_elbo


def _with_batch_in_one_density(x, mean, log_std, epsilon):
    """The likelihoods of all patches added up, as gaussian_log_density does with arrays of shape (batch,)."""
    z = mean + np.exp(log_std) * epsilon
    error = (x - np.exp(z[:, 0]) / (1 + np.exp(-z[:, 1]))) / 0.05
    log_likelihood = -0.5 * error**2 - math.log(0.05) - 0.5 * LOG_2PI
    return _patch_oracle(x, mean, log_std, epsilon) - np.mean(log_likelihood) + np.sum(log_likelihood)


def _with_prior_of_whole_batch(x, mean, log_std, epsilon):
    z = mean + np.exp(log_std) * epsilon
    log_prior = np.sum(-0.5 * z**2 - 0.5 * LOG_2PI)
    return _patch_oracle(x, mean, log_std, epsilon) - log_prior / len(x) + log_prior


def _with_half_log_std(x, mean, log_std, epsilon):
    """z drawn with exp(log_std / 2), and log q evaluated at that z with exp(log_std)."""
    half = _patch_oracle(x, mean, log_std / 2, epsilon)  # its log q is that of the narrower q
    shrunk = np.exp(-log_std / 2) * epsilon
    own = np.sum(-0.5 * epsilon**2 - log_std / 2, axis=1)
    given = np.sum(-0.5 * shrunk**2 - log_std, axis=1)
    return half + np.mean(own - given)


# 02.4: the mean-field gap


def _covariances(rng: np.random.Generator) -> list[tuple]:
    """Latents with much in common, and a last case with nothing in common."""
    cases = []
    for dims in (2, 3, 5):
        common = rng.uniform(0.8, 1.6, dims) * rng.choice([-1, 1], dims)
        cases.append((np.outer(common, common) + np.diag(rng.uniform(0.2, 0.6, dims)),))
    return [*cases, (np.diag(rng.uniform(0.1, 2, 4)),)]


def _gap_by_search(covariance: np.ndarray) -> float:
    """KL(q, p) with each log variance found by golden-section search; eigenvalues instead of determinants."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    ratio = (math.sqrt(5) - 1) / 2
    total = sum(math.log(v) for v in eigenvalues) - len(covariance)
    for j in range(len(covariance)):
        curvature = sum(vectors[j, k] ** 2 / eigenvalues[k] for k in range(len(covariance)))

        def price(log_variance, curvature=curvature):
            return curvature * math.exp(log_variance) - log_variance

        low, high = -20.0, 20.0
        for _ in range(80):
            a, b = high - ratio * (high - low), low + ratio * (high - low)
            low, high = (low, b) if price(a) < price(b) else (a, high)
        total += price((low + high) / 2)
    return 0.5 * total


def _kl_of_diagonal(variances: np.ndarray, covariance: np.ndarray) -> float:
    precision = np.linalg.inv(covariance)
    log_determinant = np.linalg.slogdet(covariance)[1]
    return 0.5 * (np.diag(precision) @ variances - len(variances) + log_determinant - np.sum(np.log(variances)))


def _with_marginal_widths(covariance):
    return _kl_of_diagonal(np.diag(covariance), covariance)


def _total_correlation(covariance):
    return 0.5 * (np.sum(np.log(np.diag(covariance))) - np.linalg.slogdet(covariance)[1])


def _with_precisions(covariance):
    return _kl_of_diagonal(np.diag(np.linalg.inv(covariance)), covariance)


def _without_determinant(covariance):
    return 0.5 * np.sum(np.log(np.diag(np.linalg.inv(covariance))))


def _with_log_variances_added(covariance):
    return 0.5 * (np.linalg.slogdet(covariance)[1] - np.sum(np.log(np.diag(np.linalg.inv(covariance)))))


def _with_latents_subtracted(covariance):
    return _gap_by_search(covariance) - len(covariance) / 2


def _with_standard_deviations(covariance):
    return _kl_of_diagonal(1 / np.sqrt(np.diag(np.linalg.inv(covariance))), covariance)


EXERCISES = [
    Exercise(
        id="02.1",
        title="What do we overpay?",
        oracle=_gap_oracle,
        cases=_batches,
        misconceptions=[
            Misconception(
                "nats are bits",
                _gap_in_nats,
                "yours is {yours}, the right one {right}: a factor of ln 2 = 0.693. The logarithms came in nats, the "
                "question is in bits.",
            ),
            Misconception(
                "the gap is ELBO minus evidence",
                lambda *arguments: -_gap_oracle(*arguments),
                "yours is {yours} where {right} is right: the sign. The ELBO is the lower one, so overpaying is evidence "
                "minus ELBO.",
            ),
            Misconception(
                "the ELBO is a sum over samples",
                _gap_with_sum,
                "yours is {yours} where {right} is right: you added the samples up. The ELBO is an expectation, so it is "
                "their mean.",
            ),
            Misconception(
                "log q does not belong to the price",
                _gap_without_refund,
                "yours is {yours} where {right} is right: log q is missing. The ELBO is the mean of log p(x, z) - log q(z).",
            ),
            Misconception(
                "log q is added",
                _gap_with_log_q_added,
                "yours is {yours} where {right} is right: the sign of log q. The ELBO is the mean of log p(x, z) - log q(z), "
                "for q stands in the denominator.",
            ),
            Misconception(
                "average first, then the logarithm",
                _gap_of_importance_weighted,
                "yours is {yours}, below {right}: you averaged the ratios and then took the logarithm. That estimates a "
                "tighter bound; the ELBO averages the logarithms.",
            ),
            Misconception(
                "overpaid is the whole code",
                _code_length_of_elbo,
                "yours is {yours} where {right} is right: that is minus the ELBO in bits, the whole code. What is "
                "overpaid is how much it exceeds minus the log evidence.",
            ),
        ],
        notice="From a few samples the estimate may come out negative, though the gap itself never is: the mean of the "
        "samples scatters around the ELBO.",
    ),
    Exercise(
        id="02.2",
        title="Counting photons",
        oracle=_photon_oracle,
        cases=_photons,
        misconceptions=[
            Misconception(
                "E[exp z] = exp E[z]",
                _photon_wrong(lambda x, m, t: _expected_brightness(m, t) - math.exp(m)),
                "yours is {yours}, above the right {right}: you put the mean into the exponential. The average of "
                "exp(z) is larger than exp of the average, by Jensen: exp(m + s^2/2).",
            ),
            Misconception(
                "E[exp z] = exp(m + s^2)",
                _photon_wrong(lambda x, m, t: _expected_brightness(m, t) - math.exp(m + math.exp(2 * t))),
                "yours is {yours}, below the right {right}: in exp(m + s^2/2) the 1/2 is missing.",
            ),
            Misconception(
                "standard deviation for variance",
                _photon_wrong(lambda x, m, t: _expected_brightness(m, t) - math.exp(m + math.exp(t) / 2)),
                "yours is {yours} where {right} is right: in exp(m + s^2/2) stands the variance exp(2 log_std), and you "
                "used the standard deviation.",
            ),
            Misconception(
                "exp(log_std) is the variance",
                _photon_wrong(
                    lambda x, m, t: (
                        _expected_brightness(m, t)
                        - math.exp(m + math.exp(t) / 2)
                        + 0.5 * (math.exp(2 * t) - math.exp(t))
                    )
                ),
                "yours is {yours} where {right} is right: you used exp(log_std) as the variance, in both places. It is the "
                "standard deviation; the variance is exp(2 log_std).",
            ),
            Misconception(
                "log x! is a constant, leave it out",
                _photon_wrong(lambda x, m, t: math.lgamma(x + 1)),
                "yours is {yours}, too large by log x!: the right one is {right}. It does not depend on q, so the fit "
                "would not notice. The file size would.",
            ),
            Misconception(
                "E[z^2] = m^2",
                _photon_wrong(lambda x, m, t: 0.5 * math.exp(2 * t)),
                "yours is {yours}, above the right {right} by s^2/2: in the prior's term the mean of z^2 is m^2 + s^2.",
            ),
            Misconception(
                "an average is the value at the mean",
                _photon_wrong(lambda x, m, t: _expected_brightness(m, t) - math.exp(m) + 0.5 * math.exp(2 * t)),
                "yours is {yours}, above the right {right}: you put the mean into exp(z) and into z^2. Their averages under "
                "q are exp(m + s^2/2) and m^2 + s^2.",
            ),
            Misconception(
                "no entropy",
                _photon_wrong(lambda x, m, t: -(t + 0.5 * LOG_2PI + 0.5)),
                "yours is {yours} where {right} is right: that is E[log p(x, z)] alone. The ELBO also has -E[log q], "
                "q's entropy.",
            ),
            Misconception(
                "q's entropy is subtracted",
                _photon_wrong(lambda x, m, t: -2 * (t + 0.5 * LOG_2PI + 0.5)),
                "yours is {yours} where {right} is right: the sign of q's entropy log(s) + log(2 pi e)/2. The ELBO has "
                "-E[log q], and that is the entropy with a plus.",
            ),
            Misconception(
                "lgamma(x) is log x!",
                _photon_wrong(lambda x, m, t: math.log(x)),
                "yours is {yours}, too large by log x: the right one is {right}. log x! is lgamma(x + 1), not lgamma(x).",
            ),
            Misconception(
                "no prior",
                _photon_wrong(lambda x, m, t: 0.5 * (m**2 + math.exp(2 * t)) + 0.5 * LOG_2PI),
                "yours is {yours}, above the right {right}: the prior is missing. log p(x, z) is the likelihood's logarithm "
                "plus log p(z), and z is standard normal.",
            ),
            Misconception(
                "the prior's log(2 pi) stays",
                _photon_wrong(lambda x, m, t: -0.5 * LOG_2PI),
                "yours is {yours}, below {right} by log(2 pi)/2 = 0.919: the prior's density has that constant, but the "
                "entropy log(s) + log(2 pi e)/2 has it too, and the two cancel.",
            ),
            Misconception(
                "in bits",
                lambda count, mean, log_std: _photon_oracle(count, mean, log_std) / math.log(2),
                "yours is {yours}, {ratio} times {right}: that is 1/ln 2, so you answer in bits. The question is in nats.",
            ),
            Misconception(
                "the entropy is log(s) + log(2 pi)/2",
                _photon_wrong(lambda x, m, t: -0.5),
                "yours is {yours}, exactly 1/2 below {right}: the mean of (z - m)^2 / (2 s^2) under q is 1/2, so the "
                "entropy ends in log(2 pi e)/2.",
            ),
        ],
        notice="The posterior is no Gaussian, and yet nothing had to be sampled: the ELBO asks for averages under q, and "
        "q is ours to choose.",
    ),
    Exercise(
        id="02.3",
        title="Find the bugs",
        oracle=_patch_oracle,
        cases=_patches,
        misconceptions=[
            Misconception(
                "it runs, so it is right",
                _with_bugs(True, True, True),
                "yours is {yours}, the broken function's own number; {right} is right. All three bugs are still in.",
            ),
            Misconception(
                "exp(2 log_std) is the standard deviation",
                _with_bugs(True, False, False),
                "yours is {yours} where {right} is right. Two bugs are gone; the one left is in the line that makes z: "
                "exp(2 log_std) is a variance.",
            ),
            Misconception(
                "(batch,) minus (batch, 1) is (batch,)",
                _with_bugs(False, True, False),
                "yours is {yours} where {right} is right. Two bugs are gone; the one left is a shape: (batch,) minus "
                "(batch, 1) is (batch, batch), each patch against each prediction.",
            ),
            Misconception(
                "a mean over latents is as good as a sum",
                _with_bugs(False, False, True),
                "yours is {yours} where {right} is right. Two bugs are gone; the one left is in the prior: a density of "
                "two independent coordinates is a product, its logarithm a sum.",
            ),
            Misconception(
                "only the mean over latents was wrong",
                _with_bugs(True, True, False),
                "yours is {yours} where {right} is right. The prior is a sum now; two bugs are left, one about a width "
                "and one about a shape.",
            ),
            Misconception(
                "only the broadcast was wrong",
                _with_bugs(True, False, True),
                "yours is {yours} where {right} is right. The shapes agree now; two bugs are left, one about a width and "
                "one about a mean.",
            ),
            Misconception(
                "only the width was wrong",
                _with_bugs(False, True, True),
                "yours is {yours} where {right} is right. z has the right width now; two bugs are left, one about a "
                "shape and one about a mean.",
            ),
            Misconception(
                "the width is exp(2 log_std) in z and in log q",
                lambda x, mean, log_std, epsilon: _patch_oracle(x, mean, 2 * log_std, epsilon),
                "yours is {yours} where {right} is right: z and log q agree, but both use exp(2 log_std), the variance, as "
                "the width. The standard deviation is exp(log_std).",
            ),
            Misconception(
                "log_std is the logarithm of a variance",
                _with_half_log_std,
                "yours is {yours} where {right} is right: z is drawn with exp(log_std / 2). log_std is the logarithm of the "
                "standard deviation itself, so nothing is halved.",
            ),
            Misconception(
                "gaussian_log_density keeps the batch",
                _with_batch_in_one_density,
                "yours is {yours} where {right} is right: the likelihoods of all patches are added up. "
                "`gaussian_log_density` sums over the last axis, and in an array of shape (batch,) that is the batch.",
            ),
            Misconception(
                "the prior's sum goes over everything",
                _with_prior_of_whole_batch,
                "yours is {yours} where {right} is right: the prior is summed over the batch too. Sum over the latents "
                "only, axis=1.",
            ),
            Misconception(
                "the batch is added up",
                lambda x, *arguments: len(x) * _patch_oracle(x, *arguments),
                "yours is {yours}, {ratio} times {right}: you added the batch up. The question is the mean ELBO.",
            ),
        ],
        notice="None of the three raises an error, and each gives a number that looks like an ELBO. Only a case with a "
        "known answer tells.",
    ),
    Exercise(
        id="02.4",
        title="The mean-field gap",
        oracle=_gap_by_search,
        cases=_covariances,
        misconceptions=[
            Misconception(
                "the best widths are those of the marginals",
                _with_marginal_widths,
                "yours is {yours}, more than the smallest, {right}: you gave q the variances on the diagonal of the "
                "covariance. Differentiate: it is the precision's diagonal that appears.",
            ),
            Misconception(
                "KL(q, p) and KL(p, q) have the same minimum",
                _total_correlation,
                "yours is {yours} where {right} is right. You found the smallest KL(p, q), with the arguments the other "
                "way round; with two latents the two agree, from three on they differ.",
            ),
            Misconception(
                "no 1/2",
                lambda covariance: 2 * _gap_by_search(covariance),
                "yours is {yours}, twice {right}: look for the missing 1/2.",
            ),
            Misconception(
                "in bits",
                lambda covariance: _gap_by_search(covariance) / math.log(2),
                "yours is {yours}, {ratio} times {right}: that is 1/ln 2, so you answer in bits. The question is in nats.",
            ),
            Misconception(
                "the gap is negative",
                lambda covariance: -_gap_by_search(covariance),
                "yours is {yours}: a KL is never negative. The right one is {right}; check which determinant is "
                "subtracted from which.",
            ),
            Misconception(
                "1/sqrt(precision) is a variance",
                _with_standard_deviations,
                "yours is {yours}, more than the smallest, {right}: 1/sqrt of the precision's diagonal is a standard "
                "deviation, and you used it as a variance.",
            ),
            Misconception(
                "the best variance is the precision",
                _with_precisions,
                "yours is {yours}, more than the smallest, {right}: you used the precision's diagonal itself as the "
                "variances. Set the derivative to zero: each variance is one over it.",
            ),
            Misconception(
                "log det of the covariance is a constant, leave it out",
                _without_determinant,
                "yours is {yours} where {right} is right: log det of the covariance is missing. It does not move the best "
                "variances, but it belongs to the KL.",
            ),
            Misconception(
                "the log variances are added",
                _with_log_variances_added,
                "yours is {yours} where {right} is right: a sign. The KL has minus the sum of log s^2, and log s^2 is minus "
                "the logarithm of the precision's entry.",
            ),
            Misconception(
                "the latents are subtracted, and nothing cancels them",
                _with_latents_subtracted,
                "yours is {yours}, half the number of latents below {right}: at the best variances the first sum is that "
                "number, and the two cancel.",
            ),
        ],
        notice="Each width is that of the posterior along one axis with the other latents held fixed, and never wider "
        "than its marginal. Independent latents leave no gap.",
        rtol=1e-3,
        atol=1e-4,
    ),
]
