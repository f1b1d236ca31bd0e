"""Diagonal Gaussians: log density, KL divergences, and a sample that gradients pass (built in notebooks 02 to 04).

A Gaussian is its mean and its natural log standard deviation, everywhere; all results are in nats and are sums over
the last axis.
"""

import jax
import jax.numpy as jnp
from jax import Array


def gaussian_log_density(x: Array, mean: Array, log_std: Array) -> Array:
    """Log density of a diagonal Gaussian.

    Args:
      x: (..., dims) where to evaluate it.
      mean: (..., dims).
      log_std: (..., dims) natural logarithm of the standard deviation.

    Returns:
      (...,) nats, summed over the dimensions.
    """
    standardised = (x - mean) * jnp.exp(-log_std)
    return -jnp.sum(0.5 * standardised**2 + log_std + 0.5 * jnp.log(2 * jnp.pi), axis=-1)


def kl_to_standard_normal(mean: Array, log_std: Array) -> Array:
    """KL divergence from a diagonal Gaussian to the standard normal.

    Args:
      mean: (..., latent_dim) mean of q.
      log_std: (..., latent_dim) natural logarithm of the standard deviation of q.

    Returns:
      (...,) KL in nats, summed over the latent dimensions.

    Source: Kingma and Welling (2014), appendix B.
    """
    variance = jnp.exp(2 * log_std)
    return 0.5 * jnp.sum(mean**2 + variance - 1 - 2 * log_std, axis=-1)


def kl_between_gaussians(mean_q: Array, log_std_q: Array, mean_p: Array, log_std_p: Array) -> Array:
    """KL divergence KL(q, p) between two diagonal Gaussians.

    Args:
      mean_q, log_std_q: (..., dims) of q, which the expectation is taken over.
      mean_p, log_std_p: (..., dims) of p.

    Returns:
      (...,) KL in nats, summed over the dimensions.
    """
    variance_ratio = jnp.exp(2 * (log_std_q - log_std_p))
    distance = (mean_q - mean_p) ** 2 * jnp.exp(-2 * log_std_p)
    return 0.5 * jnp.sum(variance_ratio + distance - 1 - 2 * (log_std_q - log_std_p), axis=-1)


def reparameterize(key: Array, mean: Array, log_std: Array) -> Array:
    """A sample of a diagonal Gaussian through which gradients reach its mean and log standard deviation.

    Args:
      key: a JAX random key; a fresh one for each call.
      mean: (..., latent_dim).
      log_std: (..., latent_dim), of mean's shape.

    Returns:
      (..., latent_dim) z = mean + std * epsilon, with epsilon standard normal and independent in every entry.

    Source: Kingma and Welling (2014), section 2.4.
    """
    epsilon = jax.random.normal(key, mean.shape, mean.dtype)
    return mean + jnp.exp(log_std) * epsilon
