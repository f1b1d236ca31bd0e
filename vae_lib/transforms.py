"""From pixels to latents and back: the KLT, and an analysis and a synthesis that start as it (built in notebook 10).

Images enter centred: grey levels 0..255 minus 128. A transform works on blocks of 8x8 pixels; the latent of a block is
its 192 numbers in another basis, in grey levels too, so that before training an error in z is an error in x.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from vae_lib.decoder import BLOCK, CHANNELS, REACH
from vae_lib.networks import depth_to_space


def space_to_depth(x: Array, factor: int) -> Array:
    """Pixels into channels, the inverse of depth_to_space: (b, height, width, c) to (b, rows, columns, f^2 c)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // factor, factor, width // factor, factor, channels)
    return x.swapaxes(2, 3).reshape(batch, height // factor, width // factor, factor**2 * channels)


def klt(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Karhunen-Loeve transform: the orthonormal basis in which the numbers of a block are uncorrelated.

    Args:
      blocks: (n, dims), centred.

    Returns:
      basis: (dims, dims), column k the direction of the k-th largest variance; z = x @ basis, x = z @ basis.T.
      variances: (dims,) of z, largest first.
    """
    variances, basis = np.linalg.eigh(blocks.T @ blocks / len(blocks))
    return basis[:, ::-1].astype(np.float32), variances[::-1].astype(np.float32)


class ResidualConv(nnx.Module):
    """h plus what a 3x3 and a 1x1 convolution make of it: (batch, height, width, width_) -> the same shape."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.near = nnx.Conv(width, width, (3, 3), rngs=rngs)
        self.mix = nnx.Conv(width, width, (1, 1), rngs=rngs)

    def __call__(self, h: Array) -> Array:
        return h + self.mix(leaky(self.near(h)))


def leaky(h: Array) -> Array:
    """Leaky rectifier, slope 1/8 below zero: cheap in NumPy, and no unit dies."""
    return jnp.maximum(h, h / 8)


class Correction(nnx.Module):
    """What a small convolutional network adds to a linear transform: zero before training.

    Args of the call:
      h: (batch, rows, columns, 192), about unit size.
      quality: (batch,) from 0 to 1.
    """

    def __init__(self, width: int, blocks: int, reach: int, rngs: nnx.Rngs):
        self.first = nnx.Conv(CHANNELS, width, (3, 3), rngs=rngs)
        self.quality = nnx.Linear(1, width, use_bias=False, rngs=rngs)
        self.blocks = nnx.List([ResidualConv(width, rngs) for _ in range(blocks)])
        self.last = nnx.Conv(width, CHANNELS, (reach, reach), kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, h: Array, quality: Array) -> Array:
        h = leaky(self.first(h) + self.quality(quality[:, None])[:, None, None])
        for block in self.blocks:
            h = block(h)
        return self.last(leaky(h))


class Analysis(nnx.Module):
    """Image to latent: the KLT plus a correction. (batch, 8h, 8w, 3) centred grey levels -> (batch, h, w, 192)."""

    def __init__(self, basis: np.ndarray, spread: np.ndarray, width: int, blocks: int, rngs: nnx.Rngs):
        self.basis = nnx.Param(jnp.asarray(basis))
        self.spread = nnx.Variable(jnp.asarray(spread))  # (192,) what a latent channel is divided by for the network
        self.correction = Correction(width, blocks, 1, rngs)

    def __call__(self, x: Array, quality: Array) -> Array:
        z = space_to_depth(x, BLOCK) @ self.basis[...]
        return z + REACH * self.correction(z / self.spread[...], quality)


class Synthesis(nnx.Module):
    """Latent to image: the transposed KLT plus a correction; (batch, h, w, 192) -> (batch, 8h, 8w, 3)."""

    def __init__(self, basis: np.ndarray, spread: np.ndarray, width: int, blocks: int, rngs: nnx.Rngs):
        self.basis = nnx.Param(jnp.asarray(basis.T))
        self.spread = nnx.Variable(jnp.asarray(spread))
        self.correction = Correction(width, blocks, 3, rngs)

    def __call__(self, z: Array, quality: Array) -> Array:
        z = z + REACH * self.correction(z / self.spread[...], quality)
        return depth_to_space(z @ self.basis[...], BLOCK)
