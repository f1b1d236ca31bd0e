"""Likelihoods are code lengths: they sum to one over the levels, agree with float64, and keep finite gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vae_lib.likelihoods import (
    discretized_logistic_log_prob,
    logistic_mixture_log_likelihood,
)

LEVELS = np.arange(256, dtype=np.uint8)
BIN_WIDTH = 2 / 255  # of a grey level on the axis from -1 to 1
reproducible = settings(max_examples=60, derandomize=True, deadline=None)
means, log_scales = st.floats(-3, 3), st.floats(-9, 4)


@reproducible
@given(means, log_scales)
def test_a_logistics_levels_sum_to_one_also_when_its_mean_is_off_the_axis(mean, log_scale):
    log_p = discretized_logistic_log_prob(LEVELS, mean, log_scale)
    assert float(jnp.sum(jnp.exp(log_p))) == pytest.approx(1, abs=2e-4)


@reproducible
@given(means, log_scales)
def test_every_level_has_a_finite_price_and_a_finite_gradient(mean, log_scale):
    def total(mean, log_scale):
        return discretized_logistic_log_prob(LEVELS, mean, log_scale).sum()

    value, gradients = jax.value_and_grad(total, argnums=(0, 1))(mean, log_scale)
    assert np.isfinite([value, *gradients]).all()


def test_the_stable_form_is_the_difference_of_the_distribution_function_in_float64():
    rng = np.random.default_rng(0)
    level = rng.integers(0, 256, 500).astype(np.uint8)
    mean, log_scale = rng.uniform(-1, 1, 500), rng.uniform(-2.5, 0, 500)
    lower, upper = level * BIN_WIDTH - 1 - BIN_WIDTH / 2, level * BIN_WIDTH - 1 + BIN_WIDTH / 2
    lower, upper = np.where(level == 0, -np.inf, lower), np.where(level == 255, np.inf, upper)
    scale = np.exp(log_scale)
    sign = np.where(level * BIN_WIDTH - 1 > mean, -1, 1)  # the side on which the function is small
    exact = np.log(
        np.abs(stats.logistic.cdf(sign * (upper - mean) / scale) - stats.logistic.cdf(sign * (lower - mean) / scale))
    )
    np.testing.assert_allclose(discretized_logistic_log_prob(level, mean, log_scale), exact, rtol=1e-4, atol=1e-4)


@reproducible
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0, 6))
def test_a_mixtures_levels_sum_to_one(seed, components, size):
    parameters = size * np.random.default_rng(seed).normal(size=(1, 3 * components, 1)).astype(np.float32)
    log_p = logistic_mixture_log_likelihood(LEVELS.reshape(256, 1, 1, 1), np.repeat(parameters, 256, axis=0))
    assert float(jnp.sum(jnp.exp(log_p))) == pytest.approx(1, abs=3e-4)


def test_equal_components_are_one_component_and_the_pixels_add_up():
    rng = np.random.default_rng(1)
    x_uint8 = rng.integers(0, 256, (3, 4, 5, 1)).astype(np.uint8)
    mean, log_scale = rng.uniform(-0.5, 0.5, (2, 3, 1, 20)).astype(np.float32)
    offsets = np.linspace(-1, 1, 7)[1::2, None]  # what the function adds to the means of three components
    parameters = np.concatenate([rng.normal(size=(3, 3, 20)), mean - offsets, np.repeat(log_scale + 2, 3, 1)], axis=1)
    alone = discretized_logistic_log_prob(x_uint8.reshape(3, 20), mean[:, 0], log_scale[:, 0]).sum(axis=1)
    np.testing.assert_allclose(logistic_mixture_log_likelihood(x_uint8, parameters), alone, rtol=1e-5)


def test_zeros_as_parameters_already_cover_all_levels():
    log_p = logistic_mixture_log_likelihood(LEVELS.reshape(256, 1, 1, 1), np.zeros((256, 15, 1), np.float32))
    assert -float(log_p.min()) / np.log(2) < 10
