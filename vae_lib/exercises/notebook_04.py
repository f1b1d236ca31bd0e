"""Exercises of notebook 04: gradients through samples."""

import jax
import jax.numpy as jnp
import numpy as np

from vae_lib.exercises.engine import Exercise, Misconception

# 04.1: samples of the logistic distribution by its inverse distribution function


def logistic_by_bisection(uniform, mean, log_scale):
    """Solve F(z) = u by halving an interval, and differentiate the solution by central differences."""

    def solve(m, s):
        low, high = np.full_like(uniform, -200.0), np.full_like(uniform, 200.0)
        for _ in range(80):
            middle = (low + high) / 2
            below = 1 / (1 + np.exp(-(middle - m) / np.exp(s))) < uniform
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return low

    h = 1e-4
    by_mean = (solve(mean + h, log_scale) - solve(mean - h, log_scale)) / (2 * h)
    by_log_scale = (solve(mean, log_scale + h) - solve(mean, log_scale - h)) / (2 * h)
    return solve(mean, log_scale), by_mean, by_log_scale


def logistic_cases(rng):
    return [(rng.uniform(0.05, 0.95, n), rng.normal(), rng.uniform(0.2, 1.2)) for n in (5, 1, 40)]


def logit(uniform):
    return np.log(uniform / (1 - uniform))


def scaled_logistic(uniform, mean, scale):
    return mean + scale * logit(uniform), np.ones_like(uniform), scale * logit(uniform)


# 04.2: leave-one-out baseline


def leave_one_out_by_loops(costs, scores):
    n, total = len(costs), np.zeros(scores.shape[1])
    for i in range(n):
        others = [costs[j] for j in range(n) if j != i]
        total = total + (costs[i] - sum(others) / len(others)) * scores[i]
    return total / n


def costs_and_scores(rng):
    return [(rng.normal(10, 3, n), rng.normal(size=(n, parameters))) for n, parameters in ((5, 3), (2, 1), (16, 4))]


def with_baseline(baseline):
    """Mean of (costs - baseline(costs)) * scores."""
    return lambda costs, scores: np.mean((costs - baseline(costs))[:, None] * scores, axis=0)


def others_mean(costs):
    return (costs.sum() - costs) / (len(costs) - 1)


# 04.3: a sampler with three bugs


def probe_sampler(sample, mean, log_var):
    """What a sampler does over 4,000 keys: moments, and gradients of the average squared sample.

    Returns the variances (batch, dims); the correlation of the first two images and of the first two dimensions;
    and the gradients by mean and log_var, (batch, dims) each.
    """
    keys = jax.random.split(jax.random.key(43), 4000)
    mean, log_var = jnp.asarray(mean, jnp.float32), jnp.asarray(log_var, jnp.float32)

    # Without jit: compiled as a whole, XLA fuses the random bits into every use, which takes minutes for some answers.
    over_keys = jax.vmap(sample, in_axes=(0, None, None))
    z, pull = jax.vjp(lambda *parameters: over_keys(keys, *parameters), mean, log_var)
    by_mean, by_log_var = map(np.asarray, pull(2 * z / len(keys)))  # gradients of the average of the sum of z^2
    z = np.asarray(z)
    if z.shape[1:] != mean.shape:
        return z.var(axis=0), np.zeros(1), np.zeros(1), by_mean, by_log_var
    noise = (z - z.mean(axis=0)) / np.maximum(z.std(axis=0), 1e-6)
    images, dimensions = np.mean(noise[:, 0] * noise[:, 1]), np.mean(noise[:, :, 0] * noise[:, :, 1])
    return z.var(axis=0), images[None], dimensions[None], by_mean, by_log_var


def sample_by_inverse(key, mean, log_var):
    """Gaussian noise from uniform noise, standard deviation as a square root."""
    uniform = jax.random.uniform(key, mean.shape, minval=1e-6, maxval=1 - 1e-6)
    return mean + jnp.sqrt(jnp.exp(log_var)) * jax.scipy.special.ndtri(uniform)


def buggy_sampler(power=0.5, shape=lambda s: s, block=lambda z: z, block_std=lambda s: s, fixed=False):
    def sample(key, mean, log_var):
        key = jax.random.key(0) if fixed else key
        epsilon = jax.random.normal(key, shape(mean.shape))
        return block(mean + block_std(jnp.exp(power * log_var)) * epsilon)

    return sample


def no_batch(shape):
    return shape[-1:]


STOP = jax.lax.stop_gradient
VARIANCE = "exp(log_var) is the variance, and the noise must be multiplied by its square root"
SHARED = "two images of a batch get the same noise: epsilon has no batch axis, and broadcasting hides it"
BLOCKED = "the gradient by mean and log_var is zero: the sample leaves the function cut off from its parameters"


def sampler_cases(rng):
    return [(rng.uniform(0.5, 2.0, (3, 2)), rng.uniform(0.5, 1.0, (3, 2)))]


# 04.4: bits of a noisy logistic latent


def noisy_bits_by_quadrature(z_noisy, mean, log_scale):
    """Average the logistic density over the bin, by Simpson's rule."""
    offsets = np.linspace(-0.5, 0.5, 401)
    weights = np.array([1] + [4, 2] * 199 + [4, 1]) / 1200
    x = (z_noisy[..., None] + offsets - mean[:, None]) / np.exp(log_scale)[:, None]
    density = 1 / (4 * np.cosh(x / 2) ** 2 * np.exp(log_scale)[:, None])
    return -np.log2(density @ weights).sum(axis=-1)


def logistic_bin(z_noisy, mean, scale, half=0.5):
    def cdf(x):
        return 1 / (1 + np.exp(-(x - mean) / scale))

    return cdf(z_noisy + half) - cdf(z_noisy - half)


def logistic_density(z, mean, scale):
    return 1 / (4 * np.cosh((z - mean) / scale / 2) ** 2 * scale)


def noisy_cases(rng):
    near = [
        (rng.normal(0, 2, (batch, dims)), rng.normal(size=dims), rng.uniform(-0.6, 0.8, dims))
        for batch, dims in ((3, 2), (1, 1), (5, 8))
    ]
    mean, log_scale = rng.normal(size=2), rng.uniform(0.0, 0.8, 2)
    far = np.array([[-14.0, 14.0], [-25.0, 25.0]]) * np.exp(log_scale) + mean
    return [*near, (far, mean, log_scale)]


def bits_by_sigmoids(z_noisy, mean, log_scale):
    """As most would write it, in JAX's float32."""
    upper, lower = (jax.nn.sigmoid((z_noisy + h - mean) * jnp.exp(-log_scale)) for h in (0.5, -0.5))
    return -jnp.log2(upper - lower).sum(axis=-1)


EXERCISES = [
    Exercise(
        id="04.1",
        title="A logistic sample and its derivatives",
        oracle=logistic_by_bisection,
        cases=logistic_cases,
        rtol=1e-3,
        atol=1e-4,
        misconceptions=[
            Misconception(
                "the parameter is the scale",
                lambda u, m, s: (m + np.exp(s) * logit(u), np.ones_like(u), logit(u)),
                "z is right, but its last derivative is {yours} where {right} is right (ratio {ratio}): that is the "
                "derivative by the scale s. The parameter is log s, and ds / d(log s) = s.",
            ),
            Misconception(
                "ln((1 - u) / u) is as good",
                lambda u, m, s: scaled_logistic(1 - u, m, np.exp(s)),
                "your z is {yours} where F(z) = u gives {right}: you have 1 - u in the place of u. By symmetry that "
                "has the right distribution too, but it is not the solution of F(z) = u: yours falls when u grows.",
            ),
            Misconception(
                "the mean comes first in the results",
                lambda u, m, s: (np.ones_like(u), m + np.exp(s) * logit(u), np.exp(s) * logit(u)),
                "the first result is {yours} where {right} is right: z comes first, then its derivative by the mean, "
                "then by log_scale.",
            ),
            Misconception(
                "the derivative by the mean is a derivative of the noise",
                lambda u, m, s: (m + np.exp(s) * logit(u), 1 / (u * (1 - u)), np.exp(s) * logit(u)),
                "z is right, but its derivative by the mean is {yours} where {right} is right: yours is the derivative "
                "of ln(u / (1 - u)) by u. The noise does not depend on the parameters.",
            ),
            Misconception(
                "log_scale is the scale",
                lambda u, m, s: (m + s * logit(u), np.ones_like(u), logit(u)),
                "your z is {yours} where {right} is right: it looks as if log_scale had been used as the scale. "
                "The scale is exp(log_scale), which is positive whatever the network says.",
            ),
            Misconception(
                "log_scale is a log variance",
                lambda u, m, s: (m + np.exp(s / 2) * logit(u), np.ones_like(u), np.exp(s / 2) * logit(u) / 2),
                "your z is {yours} where {right} is right: yours has the scale exp(log_scale / 2), as if log_scale "
                "were the logarithm of a square. It is the logarithm of the scale itself.",
            ),
            Misconception(
                "the scale is the standard deviation",
                lambda u, m, s: scaled_logistic(u, m, np.exp(s) * np.sqrt(3) / np.pi),
                "your z is {yours} where {right} is right: yours has the standard deviation exp(log_scale). The "
                "logistic distribution's s is no standard deviation (that is s pi / sqrt(3)); invert F as given.",
            ),
            Misconception(
                "the derivative by the scale is z",
                lambda u, m, s: (
                    m + np.exp(s) * logit(u),
                    np.ones_like(u),
                    m + np.exp(s) * logit(u),
                ),
                "z is right, but its last derivative is {yours} where {right} is right: yours is z itself. The mean "
                "is added after scaling and does not depend on s.",
            ),
            Misconception(
                "F is exp of half a step",
                lambda u, m, s: (m + np.exp(s) * np.log(u), np.ones_like(u), np.exp(s) * np.log(u)),
                "your z is {yours} where {right} is right: yours takes log u. From F(z) = u follows exp(-(z - mean) / s) = (1 - u) / u, so the logarithm is that of u / (1 - u).",
            ),
        ],
        notice="dz / d(log s) = z - mean, just as for the Gaussian: every family that shifts and stretches one fixed "
        "noise (location and scale) has these two derivatives; only the noise differs.",
    ),
    Exercise(
        id="04.2",
        title="A baseline from the other samples",
        oracle=leave_one_out_by_loops,
        cases=costs_and_scores,
        misconceptions=[
            Misconception(
                "the batch mean is a fair baseline",
                with_baseline(np.mean),
                "{yours} is {ratio} of {right}, which is (n - 1) / n for these n = 5 samples: your baseline contains "
                "the sample's own cost, so it depends on what it is subtracted from and shrinks the gradient.",
            ),
            Misconception(
                "no baseline",
                with_baseline(lambda costs: 0.0),
                "{yours} where {right} is right: that is the plain mean of costs times scores. Unbiased, but no "
                "baseline has been subtracted.",
            ),
            Misconception(
                "everybody's baseline is the first cost",
                with_baseline(lambda costs: costs[0]),
                "{yours} where {right} is right: the first cost has been subtracted from all. The baseline of sample i is "
                "the mean of all the other costs.",
            ),
            Misconception(
                "a sum instead of a mean",
                lambda costs, scores: np.sum((costs - others_mean(costs))[:, None] * scores, axis=0),
                "{yours} is {ratio} times {right}: a sum over the n = 5 samples where their mean is asked for.",
            ),
            Misconception(
                "a mean over n - 1 of n others",
                with_baseline(lambda costs: (costs.sum() - costs) / len(costs)),
                "{yours} where {right} is right: the sum over the others was divided by n. There are n - 1 others, "
                "and a baseline that is a little too low leaves a part of the noise.",
            ),
            Misconception(
                "baseline minus cost",
                with_baseline(lambda costs: 2 * costs - others_mean(costs)),
                "{yours} is {right} with its sign turned: (b - f) where (f - b) is asked for. Descending along it "
                "would make the code longer.",
            ),
            Misconception(
                "the baseline is added",
                with_baseline(lambda costs: -others_mean(costs)),
                "{yours} where {right} is right: the baseline has been added to the cost. The mean over many batches "
                "stays right, and the variance is larger than without any baseline.",
            ),
        ],
        notice="cost minus the mean of the others is n / (n - 1) times cost minus the mean of all: the unbiased "
        "baseline is free, as long as there are at least two samples.",
    ),
    Exercise(
        id="04.3",
        title="Find the bugs",
        oracle=sample_by_inverse,
        cases=sampler_cases,
        probe=probe_sampler,
        rtol=0.12,
        atol=0.12,
        misconceptions=[
            Misconception(
                "exp(log_var) is the standard deviation",
                buggy_sampler(power=1.0),
                f"your samples have variance {{yours}} where {{right}} is right, its square: {VARIANCE}.",
            ),
            Misconception(
                "one noise for the whole batch",
                buggy_sampler(shape=no_batch),
                f"the correlation of two images is {{yours}} where it should be near zero: {SHARED}.",
            ),
            Misconception(
                "a sample is data",
                buggy_sampler(block=STOP),
                f"you are down to one fault. A derivative by the mean is {{yours}}, and {{right}} is right; {BLOCKED}.",
            ),
            Misconception(
                "two left: variance, shared noise",
                buggy_sampler(power=1.0, shape=no_batch),
                f"two faults are left. Your variance is {{yours}} where {{right}} is right: {VARIANCE}. And {SHARED}.",
            ),
            Misconception(
                "two left: variance, blocked",
                buggy_sampler(power=1.0, block=STOP),
                f"two faults are left. Your variance is {{yours}} where {{right}} is right: {VARIANCE}. And {BLOCKED}.",
            ),
            Misconception(
                "two left: shared noise, blocked",
                buggy_sampler(shape=no_batch, block=STOP),
                f"two faults are left. The correlation of two images is {{yours}}: {SHARED}. And {BLOCKED}.",
            ),
            Misconception(
                "all three left",
                buggy_sampler(power=1.0, shape=no_batch, block=STOP),
                "all three faults are still there. Begin with the scale of the noise: your variance is {yours} where "
                "{right} is right.",
            ),
            Misconception(
                "one noise for all dimensions",
                buggy_sampler(shape=lambda shape: (*shape[:-1], 1)),
                "your images are independent now, but the correlation of two dimensions of one image is {yours}: "
                "epsilon has one number an image. It needs one for every image and every dimension.",
            ),
            Misconception(
                "the noise's scale needs no gradient",
                buggy_sampler(block_std=STOP),
                "the mean gets its gradient, but a derivative by log_var is {yours} where {right} is right: the "
                "standard deviation has been cut off, so q could never learn how sure it is.",
            ),
            Misconception(
                "any key will do",
                buggy_sampler(fixed=True),
                "over 4,000 keys your sample has variance {yours} where {right} is right: it never changes. Use the "
                "key that comes in.",
            ),
        ],
        notice="none of the three faults crashes, and each leaves a loss that goes down. Test a sampler for what it "
        "promises: variance, independence and gradient.",
    ),
    Exercise(
        id="04.4",
        title="Bits of a noisy logistic latent",
        oracle=noisy_bits_by_quadrature,
        cases=noisy_cases,
        rtol=1e-3,
        atol=1e-4,
        misconceptions=[
            Misconception(
                "the density at the point",
                lambda z, m, s: -np.log2(logistic_density(z, m, np.exp(s))).sum(axis=-1),
                "{yours} where {right} is right: that is the density of z at the point. z + u has that density "
                "averaged over the bin from z_noisy - 1/2 to z_noisy + 1/2, a difference of two values of F.",
            ),
            Misconception(
                "a difference of two sigmoids is exact everywhere",
                bits_by_sigmoids,
                "right near the mean, but {yours} where {right} is right, far out on the right: there both values of F "
                "are nearly 1 and float32 loses their difference. The density is symmetric: put -|z_noisy - mean| in, "
                "where both are small.",
            ),
            Misconception(
                "bits are log2 of the probability",
                lambda z, m, s: np.log2(logistic_bin(z, m, np.exp(s))).sum(axis=-1),
                "{yours} is {right} with its sign turned: a code length is minus the logarithm.",
            ),
            Misconception(
                "dividing by exp(log_scale) is multiplying by it",
                lambda z, m, s: -np.log2(np.maximum(logistic_bin(z, m, np.exp(-s)), 1e-300)).sum(axis=-1),
                "{yours} where {right} is right: yours has the scale exp(-log_scale). F divides by the scale.",
            ),
            Misconception(
                "the bin is one scale wide",
                lambda z, m, s: (
                    -np.log2(
                        1 / (1 + np.exp(-(z - m) / np.exp(s) - 0.5)) - 1 / (1 + np.exp(-(z - m) / np.exp(s) + 0.5))
                    ).sum(axis=-1)
                ),
                "{yours} where {right} is right: you added 1/2 after dividing by the scale, so your bin is one scale "
                "wide. The noise is one wide whatever the scale: add 1/2 to z_noisy.",
            ),
            Misconception(
                "nats",
                lambda z, m, s: -np.log(logistic_bin(z, m, np.exp(s))).sum(axis=-1),
                "{yours} is {ratio} of {right}, which is ln 2: these are nats, and bits are asked for.",
            ),
            Misconception(
                "the bin reaches one to each side",
                lambda z, m, s: -np.log2(logistic_bin(z, m, np.exp(s), half=1.0)).sum(axis=-1),
                "{yours} is less than {right}: your bin is two wide. It reaches 1/2 to each side.",
            ),
            Misconception(
                "a mean over the latent dimensions",
                lambda z, m, s: -np.log2(logistic_bin(z, m, np.exp(s))).mean(axis=-1),
                "{yours} is {ratio} of {right}, for 2 latent dimensions: a mean over the dimensions, where their bits "
                "add up.",
            ),
            Misconception(
                "round first",
                lambda z, m, s: -np.log2(logistic_bin(np.round(z), m, np.exp(s))).sum(axis=-1),
                "{yours} where {right} is right: you rounded first. Those are the bits of the rounded latent, and "
                "their gradient is zero; here the noisy latent itself goes into F.",
            ),
            Misconception(
                "log_scale is a log variance",
                lambda z, m, s: -np.log2(logistic_bin(z, m, np.exp(s / 2))).sum(axis=-1),
                "{yours} where {right} is right: yours has the scale exp(log_scale / 2). log_scale is the logarithm "
                "of the scale itself.",
            ),
            Misconception(
                "probabilities of the dimensions add",
                lambda z, m, s: -np.log2(logistic_bin(z, m, np.exp(s)).sum(axis=-1)),
                "{yours} where {right} is right: you summed the densities before the logarithm. Independent "
                "dimensions multiply their densities, so it is the bits that add.",
            ),
        ],
        notice="at whole numbers these are the exact bits of the rounded latent; between them the function is smooth "
        "and has a gradient. With sigmoids this is the discretised logistic that notebook 06 uses for pixels.",
    ),
]
