"""Right answers to the exercises of notebook 03 that look nothing like the solutions there."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from vae_lib.gaussian import kl_between_gaussians, kl_to_standard_normal
from vae_lib.metrics import to_bits


def gradient_by_autodiff(mean, log_std):
    return jax.grad(lambda q: jnp.sum(kl_to_standard_normal(*q)))((jnp.asarray(mean), jnp.asarray(log_std)))


def gradient_in_variances(mean, log_std):
    variance = np.exp(log_std) ** 2
    return np.array(mean), variance * (1 - 1 / variance)


def laplace_by_loop(mean_q, scale_q, mean_p, scale_p):
    kl = []
    for m, b, m_p, b_p in zip(*(np.ravel(a).tolist() for a in (mean_q, scale_q, mean_p, scale_p)), strict=True):
        right = m - m_p if m > m_p else m_p - m
        cross = math.log(2 * b_p) + (right - b * math.expm1(-right / b) * -1 + b) / b_p
        kl.append(cross - math.log(2 * b) - 1)  # cross-entropy minus entropy
    return np.reshape(kl, np.shape(mean_q))


def rate_by_general_formula(mean, log_std, prior_log_std):
    images, channels = len(mean), np.shape(mean)[-1]
    flat_mean, flat_log_std = (jnp.reshape(a, (images, -1)) for a in (mean, log_std))
    prior = jnp.tile(jnp.asarray(prior_log_std), flat_mean.shape[1] // channels)
    return to_bits(kl_between_gaussians(flat_mean, flat_log_std, jnp.zeros_like(prior), prior))


def returned_by_entropy_power(log_std, width):
    """All dimensions are one Gaussian: half the log of (2 pi e)^n times the determinant, over the bin's volume."""
    n = np.shape(log_std)[-1]
    determinant = np.prod(np.exp(2 * np.asarray(log_std, dtype=np.float64)), axis=-1)
    return 0.5 * np.log2((2 * np.pi * np.e) ** n * determinant) - n * np.log2(width)


def prior_by_moments(mean, log_std):
    """Law of total variance through the second moment."""
    mean, log_std = np.asarray(mean, dtype=np.float64), np.asarray(log_std, dtype=np.float64)
    first = mean.sum(axis=0) / len(mean)
    second = (mean**2 + np.exp(log_std) ** 2).sum(axis=0) / len(mean)
    return first, np.log(np.sqrt(second - first**2))


ALSO_RIGHT = {
    "03.1": [gradient_by_autodiff, gradient_in_variances],
    "03.2": [laplace_by_loop],
    "03.3": [rate_by_general_formula],
    "03.4": [returned_by_entropy_power],
    "03.5": [prior_by_moments],
}
