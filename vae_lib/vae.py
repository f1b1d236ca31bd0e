"""The variational autoencoder and its two prices, rate and distortion (built in notebook 07).

Reductions, everywhere: sum over latent dimensions and over pixels, mean over the batch. Units: nats per image.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from vae_lib.gaussian import gaussian_log_density, kl_to_standard_normal, reparameterize
from vae_lib.inference import importance_weighted_bound
from vae_lib.metrics import to_bits


class VAE(nnx.Module):
    """An encoder for q(z | x), a decoder for p(x | z), and the likelihood that reads the decoder's output.

    Source: Kingma and Welling (2014), arXiv:1312.6114.
    """

    def __init__(self, encoder: nnx.Module, decoder: nnx.Module, log_likelihood: Callable[[Array, Array], Array]):
        """
        Args:
          encoder: (batch, height, width, channels) uint8 -> posterior mean and log_std, (batch, latent_dim) each.
          decoder: (batch, latent_dim) -> parameters of the likelihood, any shape.
          log_likelihood: (x_uint8, parameters) -> (batch,) log p(x | z) in nats, summed over pixels.
        """
        self.encoder = encoder
        self.decoder = decoder
        self.log_likelihood = log_likelihood


def rate_and_distortion(model: VAE, key: Array, x_uint8: Array) -> tuple[Array, Array]:
    """The two terms of the negative ELBO with one sample of z.

    Args:
      key: for the sample.
      x_uint8: (batch, height, width, channels).

    Returns:
      rate: (batch,) KL(q(z | x), p(z)) in nats, summed over the latent dimensions.
      distortion: (batch,) -log p(x | z) in nats, summed over the pixels.
    """
    posterior_mean, posterior_log_std = model.encoder(x_uint8)
    z = reparameterize(key, posterior_mean, posterior_log_std)
    rate = kl_to_standard_normal(posterior_mean, posterior_log_std)
    distortion = -model.log_likelihood(x_uint8, model.decoder(z))
    return rate, distortion


def negative_elbo(model: VAE, key: Array, x_uint8: Array, beta: float | Array = 1.0) -> Array:
    """The loss: distortion + beta * rate in nats per image, mean over the batch; with beta = 1 a code length.

    Source for beta: Higgins et al. (2017), beta-VAE, ICLR.
    """
    rate, distortion = rate_and_distortion(model, key, x_uint8)
    return jnp.mean(distortion + beta * rate)


def importance_weighted(model: VAE, key: Array, x_uint8: Array, samples: int) -> Array:
    """Importance-weighted bound on log p(x): (batch,) nats, from `samples` draws of z for each image.

    Source: Burda, Grosse and Salakhutdinov (2016), arXiv:1509.00519.
    """
    posterior_mean, posterior_log_std = model.encoder(x_uint8)
    zeros = jnp.zeros_like(posterior_mean)

    def draw(key: Array) -> tuple[Array, Array]:
        z = reparameterize(key, posterior_mean, posterior_log_std)
        log_joint = model.log_likelihood(x_uint8, model.decoder(z)) + gaussian_log_density(z, zeros, zeros)
        return log_joint, gaussian_log_density(z, posterior_mean, posterior_log_std)

    log_joint, log_q = jax.lax.map(draw, jax.random.split(key, samples))  # one draw at a time, to save memory
    return importance_weighted_bound(log_joint, log_q)


def bits_per_latent(posterior_mean: Array, posterior_log_std: Array) -> Array:
    """Rate of each latent dimension: its KL to the standard normal in bits, mean over the batch (notebook 08).

    Args:
      posterior_mean, posterior_log_std: (batch, latent_dim).

    Returns:
      (latent_dim,) bits per image; their sum is the rate.
    """
    nats = kl_to_standard_normal(posterior_mean[..., None], posterior_log_std[..., None])  # (batch, latent_dim)
    return to_bits(jnp.mean(nats, axis=0))


def active_units(posterior_mean: Array, posterior_log_std: Array, threshold: float = 0.1) -> int:
    """How many latent dimensions carry more than `threshold` bits per image (notebook 08).

    Burda, Grosse and Salakhutdinov (2016), arXiv:1509.00519, count those whose posterior mean varies over
    the data by more than 0.01; where the posteriors together fill the prior, that is 0.007 bits.
    """
    return int(jnp.sum(bits_per_latent(posterior_mean, posterior_log_std) > threshold))


def traverse(z: Array, dimension: int, values: Array) -> Array:
    """Copies of one latent (latent_dim,), differing in one number: (n,) values -> (n, latent_dim) (notebook 08)."""
    return jnp.tile(z, (len(values), 1)).at[:, dimension].set(values)
