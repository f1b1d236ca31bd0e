"""The lossy codec as it is trained: R + lambda D of analysis, gains, prior and synthesis (built in notebooks 10, 11).

Units: bits per pixel, squared grey levels (0..255, mean over pixels and channels); everything per image, mean over the
batch last.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from vae_lib.codec import LMBDA_HIGH, LMBDA_LOW
from vae_lib.decoder import BLOCK, CHANNELS
from vae_lib.entropy_models import ContextPrior
from vae_lib.transforms import Analysis, Synthesis

ANCHORS = 6  # qualities whose gains are learned
WIDTH = 96  # channels of all hidden layers


def lmbda_of(quality):
    """Lambda for a quality from 0 to 1 (number or array), in bits per pixel per squared grey level."""
    return LMBDA_LOW * (LMBDA_HIGH / LMBDA_LOW) ** quality


def best_step(lmbda):
    """The step with which R + lambda D is least where bits are many: D = step^2 / 12 = 3 / (2 ln 2 lambda)."""
    return np.sqrt(18 / (np.log(2) * lmbda))


class Gains(nnx.Module):
    """Steps per grey level, for each channel; one model, all qualities. Logarithms are linear between the anchors.

    Source: Cui et al. (2021), asymmetric gained deep image compression, arXiv:2003.02012.
    """

    def __init__(self):
        steps = 0.9 * best_step(lmbda_of(np.linspace(0, 1, ANCHORS)))
        self.log_gain = nnx.Param(jnp.tile(-jnp.log(steps)[:, None], (1, CHANNELS)))

    def __call__(self, quality: Array) -> Array:
        """(batch,) from 0 to 1 -> (batch, 192)."""
        distance = jnp.abs((ANCHORS - 1) * quality[:, None] - jnp.arange(ANCHORS))
        return jnp.exp(jnp.maximum(0, 1 - distance) @ self.log_gain[...])


class LossyCodec(nnx.Module):
    """Everything that is trained."""

    def __init__(self, basis: np.ndarray, variances: np.ndarray, rngs: nnx.Rngs):
        """
        Args:
          basis, variances: the KLT of blocks, from which the transforms start.
        """
        std = np.sqrt(variances)
        self.analysis = Analysis(basis, std + BLOCK, WIDTH, 1, rngs)
        self.synthesis = Synthesis(basis, std + BLOCK, WIDTH, 2, rngs)
        self.gains = Gains()
        self.prior = ContextPrior(std / best_step(lmbda_of(0.5)), WIDTH, rngs)


def rate_and_distortion(
    model: LossyCodec, key: Array, x_uint8: Array, quality: Array, noisy: bool = True
) -> tuple[Array, Array, Array]:
    """What each image costs and loses.

    Args:
      x_uint8: (batch, height, width, 3), sides multiples of 32.
      quality: (batch,) from 0 to 1.
      noisy: as `ContextPrior` says.

    Returns:
      hyper_rate: (batch,) bits per pixel of the hyper-latent.
      rate: (batch,) bits per pixel of the latent.
      distortion: (batch,) squared grey levels.
    """
    x = x_uint8.astype(jnp.float32) - 128
    gain = model.gains(quality)[:, None, None]
    y_hat, hyper_bits, bits = model.prior(key, model.analysis(x, quality) * gain, quality, noisy)
    x_hat = model.synthesis(y_hat / gain, quality)
    pixels = x.shape[1] * x.shape[2]
    return hyper_bits / pixels, bits.sum(axis=-1) / pixels, jnp.mean((x - x_hat) ** 2, axis=(1, 2, 3))


def rate_distortion_loss(model: LossyCodec, key: Array, x_uint8: Array, quality: Array) -> Array:
    """R + lambda D, each image's divided by sqrt(lambda) so that all qualities weigh alike; mean over the batch."""
    hyper_rate, rate, distortion = rate_and_distortion(model, key, x_uint8, quality)
    lmbda = lmbda_of(quality)
    return jnp.mean((hyper_rate + rate + lmbda * distortion) / jnp.sqrt(lmbda))


@nnx.jit
def train_step(model: LossyCodec, optimizer: nnx.Optimizer, key: Array, x_uint8: Array) -> Array:
    """One gradient step, the batch spread evenly over the qualities; changes model and optimizer, returns the loss."""
    key, quality_key = jax.random.split(key)
    quality = (jnp.arange(len(x_uint8)) + jax.random.uniform(quality_key, (len(x_uint8),))) / len(x_uint8)
    loss, gradients = nnx.value_and_grad(rate_distortion_loss)(model, key, x_uint8, quality)
    optimizer.update(model, gradients)
    return loss
