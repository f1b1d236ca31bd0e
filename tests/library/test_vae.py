"""The VAE's losses against a model whose evidence is known, and the reductions that they promise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from scipy import stats

from vae_lib.gaussian import gaussian_log_density, kl_between_gaussians
from vae_lib.training import train_step
from vae_lib.vae import VAE, importance_weighted, negative_elbo, rate_and_distortion

NOISE_STD = 0.5
WEIGHTS = np.array([[1.0, 0.0], [1.0, 2.0], [-1.0, 2.0], [0.5, 0.0]])  # orthogonal columns: a diagonal posterior
X = np.random.default_rng(0).normal(0, 1.5, (5, 4)).astype(np.float32)


class LinearEncoder(nnx.Module):
    """The true posterior of the linear-Gaussian model, its mean moved and its width changed on request."""

    def __init__(self, move=0.0, widen=0.0):
        precision = 1 + np.sum(WEIGHTS**2, axis=0) / NOISE_STD**2
        self.matrix = nnx.Param(jnp.array(WEIGHTS / NOISE_STD**2 / precision, jnp.float32))
        self.log_std = nnx.Param(jnp.array(-0.5 * np.log(precision) + widen, jnp.float32))
        self.move = move

    def __call__(self, x):
        mean = x @ self.matrix[...] + self.move
        return mean, jnp.broadcast_to(self.log_std[...], mean.shape)


class LinearDecoder(nnx.Module):
    def __init__(self):
        self.matrix = nnx.Param(jnp.array(WEIGHTS.T, jnp.float32))

    def __call__(self, z):
        return z @ self.matrix[...]


def linear_vae(**options):
    def log_likelihood(x, mean):
        return gaussian_log_density(x, mean, jnp.log(NOISE_STD))

    return VAE(LinearEncoder(**options), LinearDecoder(), log_likelihood)


def log_evidence():
    covariance = WEIGHTS @ WEIGHTS.T + NOISE_STD**2 * np.eye(4)
    return stats.multivariate_normal(np.zeros(4), covariance).logpdf(X)


def gap(model):
    """KL from the model's q to the true posterior: (batch,) nats."""
    return np.asarray(kl_between_gaussians(*model.encoder(X), *LinearEncoder()(X)))


def many(function, count=4000):
    """Mean over many keys of a function of a key."""
    return np.mean(jax.jit(jax.vmap(function))(jax.random.split(jax.random.key(0), count)), axis=0)


def test_with_the_true_posterior_every_single_sample_gives_the_evidence():
    for samples in (1, 3):
        bound = nnx.jit(importance_weighted, static_argnames="samples")(linear_vae(), jax.random.key(1), X, samples)
        np.testing.assert_allclose(bound, log_evidence(), atol=2e-4)


@pytest.mark.parametrize("options", [{}, {"move": 0.2}, {"widen": 0.4}, {"move": -0.1, "widen": -0.5}])
def test_the_negative_elbo_is_the_evidence_and_the_gap_to_the_true_posterior(options):
    model = linear_vae(**options)
    measured = many(lambda key: sum(rate_and_distortion(model, key, X)))
    np.testing.assert_allclose(measured, -log_evidence() + gap(model), atol=0.15)


def test_the_importance_weighted_bound_lies_between_elbo_and_evidence_and_rises():
    model = linear_vae(move=0.15, widen=0.3)
    elbo = -(-log_evidence() + gap(model))
    bounds = [many(lambda key, k=k: importance_weighted(model, key, X, k), 2000) for k in (1, 4, 32)]
    np.testing.assert_allclose(bounds[0], elbo, atol=0.15)
    for lower, upper in zip([*bounds], [*bounds[1:], log_evidence() + 0.02], strict=True):
        assert np.all(lower < upper)


def test_the_rate_is_zero_when_the_posterior_is_the_prior_and_the_latent_then_says_nothing():
    model = linear_vae()
    model.encoder.matrix[...] = jnp.zeros((4, 2))
    model.encoder.log_std[...] = jnp.zeros(2)
    rate, _ = rate_and_distortion(model, jax.random.key(0), X)
    np.testing.assert_array_equal(rate, np.zeros(5))


def test_prices_are_per_image_and_the_loss_is_their_mean_whatever_the_batch():
    model = linear_vae(widen=-30.0)  # no noise to speak of, so that a copied batch draws the same z
    rate, distortion = rate_and_distortion(model, jax.random.key(0), X)
    assert rate.shape == distortion.shape == (5,)
    once = negative_elbo(model, jax.random.key(0), X)
    assert once == pytest.approx(float(negative_elbo(model, jax.random.key(1), np.tile(X, (3, 1)))), rel=1e-5)
    assert once == pytest.approx(float(np.mean(rate) + np.mean(distortion)), rel=1e-5)


def test_beta_weighs_the_rate_and_nothing_else():
    model, key = linear_vae(move=0.3), jax.random.key(2)
    rate, distortion = rate_and_distortion(model, key, X)
    for beta in (0.0, 1.0, 784.0):
        expected = float(distortion.mean() + beta * rate.mean())
        assert negative_elbo(model, key, X, beta) == pytest.approx(expected, rel=1e-5)


def test_the_pixels_send_a_gradient_through_the_sample_to_both_outputs_of_the_encoder():
    gradients = nnx.grad(lambda model: negative_elbo(model, jax.random.key(0), X, 0.0))(linear_vae(move=0.3))
    for parameter in (gradients.encoder.matrix, gradients.encoder.log_std):
        assert np.all(np.asarray(parameter[...]) != 0)


def test_a_step_returns_the_loss_before_it_and_lowers_it():
    model = linear_vae(move=0.3)
    optimizer = nnx.Optimizer(model, optax.sgd(1e-3), wrt=nnx.Param)
    key = jax.random.key(0)
    before = float(negative_elbo(model, key, X))
    assert train_step(model, optimizer, key, X, 1.0) == pytest.approx(before, rel=1e-5)
    assert negative_elbo(model, key, X) < before
    assert optimizer.step[...] == 1
