"""The linear-Gaussian model: its evidence against SciPy's, and evidence = ELBO + KL(q, posterior) for any q."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from vae_lib.gaussian import kl_between_gaussians
from vae_lib.linear_gaussian import density_bits, exact_elbo, fit_linear_model, log_evidence, true_posterior


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 3)) @ rng.normal(size=(3, 12)) + 0.3 * rng.normal(size=(300, 12))


@pytest.fixture(scope="module")
def model(images):
    return fit_linear_model(images, 3)


def test_the_evidence_is_that_of_a_gaussian_with_this_covariance(images, model):
    covariance = model.weights @ model.weights.T + model.noise_std**2 * np.eye(12)
    expected = multivariate_normal(model.centre, covariance).logpdf(images)
    np.testing.assert_allclose(log_evidence(images, model), expected, rtol=1e-10)
    np.testing.assert_allclose(log_evidence(images[0], model), expected[0], rtol=1e-10)


def test_no_other_weights_or_noise_have_a_higher_evidence(images, model):
    best = log_evidence(images, model).mean()
    rng = np.random.default_rng(1)
    for _ in range(20):
        moved = model._replace(weights=model.weights + 0.05 * rng.normal(size=model.weights.shape))
        assert log_evidence(images, moved).mean() < best
    for factor in (0.9, 1.1):
        assert log_evidence(images, model._replace(noise_std=factor * model.noise_std)).mean() < best


def test_evidence_is_elbo_plus_kl_to_the_true_posterior_for_any_q(images, model):
    rng = np.random.default_rng(2)
    mean, log_std = rng.normal(size=(2, 300, 3)) * 0.5
    bound = np.asarray(exact_elbo(images, mean, log_std, model))
    gap = np.asarray(kl_between_gaussians(mean, log_std, *true_posterior(images, model)))
    np.testing.assert_allclose(bound + gap, log_evidence(images, model), rtol=2e-4, atol=1e-3)  # float32 in JAX
    assert (gap > 0).all()


def test_at_the_true_posterior_the_bound_is_the_evidence(images, model):
    bound = np.asarray(exact_elbo(images, *true_posterior(images, model), model))
    np.testing.assert_allclose(bound, log_evidence(images, model), rtol=2e-4, atol=1e-3)


def test_a_density_of_one_costs_the_bits_of_255_levels():
    assert density_bits(0.0, 784) == pytest.approx(np.log2(255))
