"""`reparameterize`: the right distribution, fresh noise everywhere, and gradients that pass."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lib.gaussian import gaussian_log_density, kl_to_standard_normal, reparameterize

KEY = jax.random.key(4)
seeds = st.integers(0, 2**31 - 1)


@pytest.fixture(scope="module")
def parameters():
    rng = np.random.default_rng(4)
    return jnp.array(rng.normal(size=(3, 2))), jnp.array(rng.uniform(-1, 1, (3, 2)))


@pytest.fixture(scope="module")
def samples(parameters):
    keys = jax.random.split(KEY, 20_000)
    return np.asarray(jax.vmap(reparameterize, in_axes=(0, None, None))(keys, *parameters), np.float64)


def test_its_moments_are_those_of_q(samples, parameters):
    mean, std = np.asarray(parameters[0]), np.exp(np.asarray(parameters[1]))
    assert np.all(np.abs(samples.mean(axis=0) - mean) < 4 * std / np.sqrt(len(samples)))
    assert np.all(np.abs(samples.var(axis=0) / std**2 - 1) < 4 * np.sqrt(2 / len(samples)))


def test_its_noise_is_standard_normal_beyond_two_moments(samples, parameters):
    epsilon = (samples - np.asarray(parameters[0])) / np.exp(np.asarray(parameters[1]))
    assert np.all(np.abs((epsilon**4).mean(axis=0) - 3) < 4 * np.sqrt(96 / len(samples)))  # Var[e^4] = 105 - 9


def test_no_two_entries_share_their_noise(samples):
    correlation = np.corrcoef(samples.reshape(len(samples), -1), rowvar=False)
    assert np.abs(correlation - np.eye(6)).max() < 4.5 / np.sqrt(len(samples))


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_its_derivatives_are_one_and_the_distance_to_the_mean(seed):
    rng = np.random.default_rng(seed)
    mean, log_std = jnp.array(rng.normal(size=4)), jnp.array(rng.uniform(-2, 1, 4))
    key = jax.random.key(seed)
    by_mean, by_log_std = jax.jacrev(lambda m, s: reparameterize(key, m, s), argnums=(0, 1))(mean, log_std)
    np.testing.assert_allclose(by_mean, np.eye(4))
    np.testing.assert_allclose(by_log_std, np.diag(reparameterize(key, mean, log_std) - mean), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_the_same_key_gives_the_same_noise_and_another_key_another(seed):
    zeros, key = jnp.zeros((2, 3)), jax.random.key(seed)
    first, other = jax.random.split(key)
    np.testing.assert_array_equal(reparameterize(key, zeros, zeros), reparameterize(key, zeros, zeros))
    assert np.all(np.asarray(reparameterize(first, zeros, zeros) != reparameterize(other, zeros, zeros)))


def test_its_gradient_of_an_average_cost_is_unbiased(parameters):
    """Against the closed form of the KL: its gradient, estimated from samples of log q - log p."""
    mean, log_std = (p[0] for p in parameters)

    def one_sample(key):
        def loss(mean, log_std):
            z = reparameterize(key, mean, log_std)
            return gaussian_log_density(z, mean, log_std) - gaussian_log_density(z, 0 * mean, 0 * mean)

        return jnp.concatenate(jax.grad(loss, argnums=(0, 1))(mean, log_std))

    estimates = np.asarray(jax.vmap(one_sample)(jax.random.split(KEY, 20_000)), np.float64)
    exact = np.concatenate(jax.grad(kl_to_standard_normal, argnums=(0, 1))(mean, log_std))
    assert np.all(np.abs(estimates.mean(axis=0) - exact) < 4 * estimates.std(axis=0) / np.sqrt(len(estimates)))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_sample_has_shape_and_type_of_the_mean(dtype):
    z = reparameterize(KEY, jnp.zeros((5, 4, 3), dtype), jnp.zeros((5, 4, 3), dtype))
    assert (z.shape, z.dtype) == ((5, 4, 3), dtype)
