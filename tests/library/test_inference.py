"""The bounds of notebook 02, beside models whose evidence is known by another road."""

import math

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vae_lib.gaussian import gaussian_log_density
from vae_lib.inference import elbo, importance_weighted_bound

seeds = st.integers(0, 2**32 - 1)
shapes = st.sampled_from([(1,), (5,), (3, 1), (6, 4), (2, 3, 5), (4, 1, 2)])  # few, as JAX compiles for each anew


def log_weights(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(-40, 5, shape), rng.normal(-2, 2, shape)


@settings(max_examples=50, deadline=None)
@given(seeds, shapes)
def test_both_bounds_agree_with_plain_loops_over_the_first_axis(seed, shape):
    log_joint, log_q = log_weights(seed, shape)
    averages, bounds = elbo(log_joint, log_q), importance_weighted_bound(log_joint, log_q)
    assert averages.shape == bounds.shape == log_joint.shape[1:]
    for place in np.ndindex(*log_joint.shape[1:]):
        ratios = [float(log_joint[(i, *place)] - log_q[(i, *place)]) for i in range(len(log_joint))]
        assert averages[place] == pytest.approx(sum(ratios) / len(ratios), rel=1e-5)
        assert bounds[place] == pytest.approx(math.log(sum(map(math.exp, ratios)) / len(ratios)), rel=1e-5)


@settings(max_examples=50, deadline=None)
@given(seeds, st.sampled_from([2, 3, 20]))
def test_the_importance_weighted_bound_is_above_the_elbo_and_below_the_largest_weight(seed, samples):
    log_joint, log_q = log_weights(seed, (samples,))
    bound = importance_weighted_bound(log_joint, log_q)
    assert elbo(log_joint, log_q) - 1e-3 <= bound <= np.max(log_joint - log_q) + 1e-3


def test_one_sample_makes_the_two_bounds_equal():
    log_joint, log_q = log_weights(1, (1, 7))
    np.testing.assert_allclose(importance_weighted_bound(log_joint, log_q), elbo(log_joint, log_q), rtol=1e-6)


@pytest.mark.parametrize("level", [-1e5, 1e5])
def test_weights_beyond_the_range_of_floats_do_not_overflow(level):
    log_joint = np.array([level, level + math.log(3)])
    assert importance_weighted_bound(log_joint, np.zeros(2)) == pytest.approx(level + math.log(2), rel=1e-6)


@settings(max_examples=100, deadline=None)
@given(seeds, shapes)
def test_the_log_density_is_that_of_the_normal_distribution_summed_over_the_last_axis(seed, shape):
    rng = np.random.default_rng(seed)
    x, mean = rng.normal(0, 2, (2, *shape))
    log_std = rng.uniform(-1, 1, shape)
    expected = stats.norm.logpdf(x, mean, np.exp(log_std)).sum(axis=-1)
    np.testing.assert_allclose(gaussian_log_density(x, mean, log_std), expected, rtol=1e-4, atol=1e-4)


def test_the_log_density_integrates_to_one():
    x = np.linspace(-8, 12, 20_001)[:, None]
    density = np.exp(gaussian_log_density(x, 1.5, math.log(0.7)))
    assert np.sum(density) * 1e-3 == pytest.approx(1, abs=1e-4)


# A model small enough for pencil and paper: z ~ N(0, 1), x given z ~ N(w z, s^2), so that x ~ N(0, w^2 + s^2) and
# the posterior is N(w x / (w^2 + s^2), s^2 / (w^2 + s^2)).


def scalar_model(x: float, w: float, s: float) -> tuple[float, float, float]:
    """Log evidence in nats, posterior mean and posterior standard deviation."""
    variance = w**2 + s**2
    log_evidence = -0.5 * (x**2 / variance + math.log(2 * math.pi * variance))
    return log_evidence, w * x / variance, s / math.sqrt(variance)


def samples_of(x: float, w: float, s: float, mean: float, std: float, samples: int, seed: int):
    """log p(x, z_i) and log q(z_i) for z_i from N(mean, std^2)."""
    z = mean + std * jax.random.normal(jax.random.key(seed), (samples, 1))
    log_joint = gaussian_log_density(z, 0.0, 0.0) + gaussian_log_density(x, w * z, math.log(s))
    return log_joint, gaussian_log_density(z, mean, math.log(std))


@settings(max_examples=30, deadline=None)
@given(st.floats(-2, 2), st.floats(0.1, 2), st.floats(0.2, 1), seeds)
def test_at_the_true_posterior_every_sample_gives_the_evidence(x, w, s, seed):
    log_evidence, mean, std = scalar_model(x, w, s)
    log_joint, log_q = samples_of(x, w, s, mean, std, 10, seed)
    np.testing.assert_allclose(log_joint - log_q, log_evidence, atol=2e-3)


@pytest.mark.parametrize(("shift", "factor"), [(0.0, 2.0), (0.0, 0.5), (1.0, 1.0), (-0.5, 1.5)])
def test_evidence_minus_elbo_is_the_kl_to_the_true_posterior_within_three_standard_errors(shift, factor):
    log_evidence, mean, std = scalar_model(0.8, 1.2, 0.5)
    log_joint, log_q = samples_of(0.8, 1.2, 0.5, mean + shift * std, factor * std, 200_000, 3)
    kl = 0.5 * (factor**2 + shift**2 - 1) - math.log(factor)
    error = float(np.std(log_joint - log_q)) / math.sqrt(200_000)
    assert abs(log_evidence - float(elbo(log_joint, log_q)) - kl) < 3 * error + 1e-4


def test_the_importance_weighted_bound_rises_with_samples_to_the_evidence():
    log_evidence, mean, std = scalar_model(0.8, 1.2, 0.5)
    log_joint, log_q = samples_of(0.8, 1.2, 0.5, mean, 2 * std, 2**16, 4)
    bound = jax.jit(importance_weighted_bound)
    groups = [(log_joint.reshape(k, -1), log_q.reshape(k, -1)) for k in (1, 4, 64, 1024)]
    bounds = [float(bound(*group).mean()) for group in groups]
    assert bounds == sorted(bounds)
    assert abs(bounds[-1] - log_evidence) < 0.005
    assert log_evidence - bounds[0] > 0.5
