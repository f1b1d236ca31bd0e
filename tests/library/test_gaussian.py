"""The Gaussian's log density, its KL divergences and its sample, each against an oracle that shares no formula with it.

Monte Carlo and three standard errors: of 1,000 right closed forms about three miss by more, as a normal deviation
does. So the thousand are drawn from a fixed seed and counted, where 13 or more beyond three would happen once in
10^5 seeds; single pairs are held to five standard errors.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from vae_lib.gaussian import gaussian_log_density, kl_between_gaussians, kl_to_standard_normal, reparameterize
from vae_lib.metrics import to_bits

SAMPLES = 4000
seeds = st.integers(0, 2**32 - 1)
reproducible = settings(max_examples=200, derandomize=True, deadline=None)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def random_gaussian(rng: np.random.Generator, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(0, 1.5, shape), rng.uniform(-2, 1, shape)


def deviation(rng: np.random.Generator, mean_q, log_std_q, mean_p, log_std_p) -> float:
    """Of the closed form from a Monte Carlo estimate by scipy's densities, in standard errors."""
    z = rng.normal(mean_q, np.exp(log_std_q), (SAMPLES, len(mean_q)))
    log_q = stats.norm.logpdf(z, mean_q, np.exp(log_std_q)).sum(axis=1)
    log_p = stats.norm.logpdf(z, mean_p, np.exp(log_std_p)).sum(axis=1)
    log_ratio = log_q - log_p
    closed = float(kl_between_gaussians(mean_q, log_std_q, mean_p, log_std_p))
    return (closed - log_ratio.mean()) / (log_ratio.std() / np.sqrt(SAMPLES))


@settings(reproducible, max_examples=1000)
@given(seeds, st.integers(1, 6))
def test_the_closed_form_is_within_five_standard_errors_of_sampling(seed, dims):
    rng = np.random.default_rng(seed)
    assert abs(deviation(rng, *random_gaussian(rng, dims), *random_gaussian(rng, dims))) < 5


def test_of_a_thousand_pairs_no_more_miss_three_standard_errors_than_chance_allows():
    rng = np.random.default_rng(3)
    deviations = [deviation(rng, *random_gaussian(rng, 4), *random_gaussian(rng, 4)) for _ in range(1000)]
    assert sum(abs(d) > 3 for d in deviations) <= 12
    assert abs(np.mean(deviations)) < 4 / np.sqrt(1000)  # no bias; of a thousand standard normals the mean is this near


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.floats(-3, 3), st.floats(-2, 1), st.floats(-3, 3), st.floats(-2, 1))
def test_one_dimension_agrees_with_numerical_integration(mean_q, log_std_q, mean_p, log_std_p):
    q, p = stats.norm(mean_q, np.exp(log_std_q)), stats.norm(mean_p, np.exp(log_std_p))
    z = np.linspace(mean_q - 12 * q.std(), mean_q + 12 * q.std(), 4001)
    expected = integrate.simpson(q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), x=z)
    parameters = [jnp.array([value]) for value in (mean_q, log_std_q, mean_p, log_std_p)]
    assert float(kl_between_gaussians(*parameters)) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@reproducible
@given(seeds, st.integers(1, 6))
def test_the_kl_is_zero_at_equality_and_only_there(seed, dims):
    rng = np.random.default_rng(seed)
    mean, log_std = random_gaussian(rng, dims)
    assert kl_between_gaussians(mean, log_std, mean, log_std) == 0
    nudge = rng.normal(size=(2, dims)) * 10.0 ** rng.uniform(-4, 0)
    assert kl_between_gaussians(mean, log_std, mean + nudge[0], log_std) > 0
    assert kl_between_gaussians(mean, log_std, mean, log_std + nudge[1]) > 0


@reproducible
@given(seeds, st.integers(1, 6))
def test_the_bits_of_the_dimensions_sum_to_the_whole(seed, dims):
    rng = np.random.default_rng(seed)
    q, p = random_gaussian(rng, 2, dims), random_gaussian(rng, 2, dims)
    each = sum(to_bits(kl_between_gaussians(*(a[:, [i]] for a in (*q, *p)))) for i in range(dims))
    np.testing.assert_allclose(each, to_bits(kl_between_gaussians(*q, *p)), rtol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 1, 4)])
def test_the_standard_normal_is_the_general_case_with_mean_zero_and_std_one(shape):
    mean, log_std = random_gaussian(np.random.default_rng(5), *shape)
    special = kl_to_standard_normal(mean, log_std)
    assert special.shape == shape[:-1]
    np.testing.assert_allclose(special, kl_between_gaussians(mean, log_std, 0 * mean, 0 * mean), rtol=1e-12)


def test_halving_a_narrow_standard_deviation_costs_one_bit():
    wide, narrow = (to_bits(kl_to_standard_normal(jnp.zeros(1), jnp.log(jnp.array([std])))) for std in (2e-4, 1e-4))
    assert float(narrow - wide) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("shape", [(3,), (5, 2), (2, 3, 4)])
def test_the_log_density_is_scipys_summed_over_the_last_axis(shape):
    rng = np.random.default_rng(6)
    x, (mean, log_std) = rng.normal(0, 2, shape), random_gaussian(rng, *shape)
    expected = stats.norm.logpdf(x, mean, np.exp(log_std)).sum(axis=-1)
    np.testing.assert_allclose(gaussian_log_density(x, mean, log_std), expected, rtol=1e-10)


def test_samples_have_the_mean_and_the_standard_deviation_asked_for():
    mean, log_std = jnp.array([-2.0, 0.0, 5.0]), jnp.log(jnp.array([0.1, 1.0, 3.0]))
    n = 20_000
    z = reparameterize(jax.random.key(7), jnp.tile(mean, (n, 1)), jnp.tile(log_std, (n, 1)))
    error = np.exp(log_std) / np.sqrt(n)
    assert np.all(abs(z.mean(axis=0) - mean) < 4 * error)
    assert np.all(abs(z.std(axis=0) - np.exp(log_std)) < 4 * error / np.sqrt(2))
    assert np.all(abs(np.corrcoef(z.T) - np.eye(3)) < 4 / np.sqrt(n))  # no noise is shared between the dimensions


def test_a_sample_passes_gradients_and_depends_on_its_key():
    mean, log_std = jnp.zeros(4), jnp.full(4, 0.5)
    key = jax.random.key(8)
    z, pull_back = jax.vjp(lambda m, s: reparameterize(key, m, s), mean, log_std)
    by_mean, by_log_std = pull_back(jnp.ones(4))
    np.testing.assert_allclose(by_mean, 1)
    np.testing.assert_allclose(by_log_std, z - mean, rtol=1e-12)  # d(std * epsilon)/d(log std) = std * epsilon
    assert not np.array_equal(z, reparameterize(jax.random.key(9), mean, log_std))
