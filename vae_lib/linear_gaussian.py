"""The linear-Gaussian model, the one latent-variable model whose evidence is known (built in notebook 02).

    z ~ N(0, I),    x given z ~ N(centre + W z, noise_std^2 I)

Its best parameters have a closed form (probabilistic PCA), and with them the columns of W are orthogonal, so the true
posterior is a diagonal Gaussian. It is the referee of notebooks 02 to 06. Images are flat, (..., pixels), in [0, 1].
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from vae_lib.gaussian import gaussian_log_density
from vae_lib.metrics import bits_per_dim

LEVELS = 255  # steps of one grey level from 0 to 1


class LinearModel(NamedTuple):
    """Decoder of the linear-Gaussian model."""

    centre: np.ndarray  # (pixels,) mean image
    weights: np.ndarray  # (pixels, latent_dim), columns orthogonal
    noise_std: float  # of a pixel given z


def fit_linear_model(x: np.ndarray, latent_dim: int) -> LinearModel:
    """The linear-Gaussian model of highest evidence for images x, (n, pixels), in float64.

    Source: Tipping and Bishop (1999), equations 7 and 8.
    """
    variances, directions = np.linalg.eigh(np.cov(x, rowvar=False, bias=True))
    variances, directions = variances[::-1], directions[:, ::-1]  # largest first
    noise_variance = variances[latent_dim:].mean()  # what the latents leave unexplained, per direction
    weights = directions[:, :latent_dim] * np.sqrt(variances[:latent_dim] - noise_variance)
    largest = np.abs(weights).argmax(axis=0)  # a column's sign is free: fix it, so that all machines agree
    weights *= np.sign(weights[largest, np.arange(latent_dim)])
    return LinearModel(x.mean(axis=0), weights, float(np.sqrt(noise_variance)))


def true_posterior(x: np.ndarray, model: LinearModel) -> tuple[np.ndarray, np.ndarray]:
    """Mean and log standard deviation of p(z given x), (..., latent_dim) each; the second is the same for all x."""
    precision = 1 + np.sum(model.weights**2, axis=0) / model.noise_std**2  # (latent_dim,)
    mean = (x - model.centre) @ model.weights / (model.noise_std**2 * precision)
    return mean, np.broadcast_to(-0.5 * np.log(precision), mean.shape)


def log_evidence(x: np.ndarray, model: LinearModel) -> np.ndarray:
    """Exact log p(x) in nats, (...,): the density of N(centre, W W^T + noise_std^2 I), in float64."""
    pixels = len(model.centre)
    covariance = model.weights @ model.weights.T + model.noise_std**2 * np.eye(pixels)
    centred = x - model.centre
    distance = np.sum(centred @ np.linalg.inv(covariance) * centred, axis=-1)
    return -0.5 * (distance + np.linalg.slogdet(covariance)[1] + pixels * np.log(2 * np.pi))


def exact_elbo(x: Array, mean: Array, log_std: Array, model: LinearModel) -> Array:
    """ELBO in closed form, in nats, (...,), of a diagonal Gaussian q for each image.

    Args:
      x: (..., pixels).
      mean, log_std: (..., latent_dim) of q.
    """
    variance = jnp.exp(2 * log_std)
    spread = variance @ jnp.sum(model.weights**2, axis=0)  # mean squared distance of W z from W mean, z from q
    decoded = jnp.asarray(model.centre) + mean @ model.weights.T
    at_mean = gaussian_log_density(x, decoded, jnp.log(model.noise_std))
    expected_likelihood = at_mean - spread / (2 * model.noise_std**2)
    rate = 0.5 * jnp.sum(mean**2 + variance - 1 - 2 * log_std, axis=-1)  # notebook 03: KL to the prior
    return expected_likelihood - rate


def density_bits(log_density: Array | np.ndarray, pixels: int) -> Array | np.ndarray:
    """Ideal bits per pixel of an image from its log density in nats: a grey level is a step of 1/255."""
    return bits_per_dim(pixels * np.log(LEVELS) - log_density, pixels)
