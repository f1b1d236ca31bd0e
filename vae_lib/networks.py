"""Encoders and decoders: dense, convolutional, sub-pixel (built in notebooks 05 and 06).

Images are (batch, 28, 28, 1) uint8. An encoder returns the posterior's mean and log standard deviation; a decoder
returns the parameters of the likelihood, (batch, outputs, pixels).
"""

import math

import jax.numpy as jnp
from flax import nnx
from jax import Array

PIXELS = 28 * 28


def centred(x_uint8: Array) -> Array:
    """Grey levels 0..255 as floats from -1 to 1."""
    return x_uint8.astype(jnp.float32) / 127.5 - 1


class ResidualBlock(nnx.Module):
    """h + what a two-layer network makes of the normalised h: (..., width) -> (..., width)."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.widen = nnx.Linear(width, width, rngs=rngs)
        self.back = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, h: Array) -> Array:
        return h + self.back(nnx.silu(self.widen(self.norm(h))))


class DenseEncoder(nnx.Module):
    """Posterior of each image from all its pixels at once."""

    def __init__(self, latent_dim: int, width: int, rngs: nnx.Rngs):
        self.pixels = nnx.Linear(PIXELS, width, rngs=rngs)
        self.block = ResidualBlock(width, rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.heads = nnx.Linear(width, 2 * latent_dim, rngs=rngs)

    def __call__(self, x_uint8: Array) -> tuple[Array, Array]:
        h = self.pixels(centred(x_uint8).reshape(len(x_uint8), PIXELS))
        h = nnx.silu(self.norm(self.block(h)))
        posterior_mean, posterior_log_std = jnp.split(self.heads(h), 2, axis=-1)
        return posterior_mean, posterior_log_std


class ConvEncoder(nnx.Module):
    """Posterior of each image through two strided convolutions and a dense layer."""

    def __init__(self, latent_dim: int, features: int, rngs: nnx.Rngs):
        self.halve = nnx.Conv(1, features, (4, 4), strides=2, rngs=rngs)
        self.quarter = nnx.Conv(features, 2 * features, (4, 4), strides=2, rngs=rngs)
        self.heads = nnx.Linear(7 * 7 * 2 * features, 2 * latent_dim, rngs=rngs)

    def __call__(self, x_uint8: Array) -> tuple[Array, Array]:
        h = nnx.silu(self.halve(centred(x_uint8)))  # (batch, 14, 14, features)
        h = nnx.silu(self.quarter(h))  # (batch, 7, 7, 2 * features)
        posterior_mean, posterior_log_std = jnp.split(self.heads(h.reshape(len(h), -1)), 2, axis=-1)
        return posterior_mean, posterior_log_std


class DenseDecoder(nnx.Module):
    """Parameters of the likelihood of all pixels from z."""

    def __init__(self, latent_dim: int, width: int, outputs: int, rngs: nnx.Rngs):
        self.latent = nnx.Linear(latent_dim, width, rngs=rngs)
        self.block = ResidualBlock(width, rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.pixels = nnx.Linear(width, outputs * PIXELS, rngs=rngs)

    def __call__(self, z: Array) -> Array:
        h = nnx.silu(self.norm(self.block(self.latent(z))))
        return self.pixels(h).reshape(len(z), -1, PIXELS)


def depth_to_space(h: Array, factor: int) -> Array:
    """Channels into pixels: (batch, height, width, factor^2 * c) -> (batch, factor * height, factor * width, c).

    Channel (row * factor + column) * c + k becomes channel k of the pixel (row, column) in each factor x factor block.

    Source: Shi et al. (2016), arXiv:1609.05158, section 3.2.
    """
    batch, height, width, channels = h.shape
    h = h.reshape(batch, height, width, factor, factor, channels // factor**2)
    return h.swapaxes(2, 3).reshape(batch, factor * height, factor * width, channels // factor**2)


def icnr(key: Array, shape: tuple[int, ...], dtype=jnp.float32, out_sharding=None) -> Array:
    """First weights of a convolution before depth_to_space with factor 2: the four pixels of a block start out equal.

    Source: Aitken et al. (2017), arXiv:1707.02937.
    """
    one_pixel = nnx.initializers.lecun_normal()(key, (math.prod(shape[:-1]), shape[-1] // 4), dtype)
    return jnp.tile(one_pixel.reshape(*shape[:-1], -1), 4)


class SubPixelDecoder(nnx.Module):
    """Parameters of the likelihood through a dense layer and two 3x3 convolutions, each followed by depth_to_space."""

    def __init__(self, latent_dim: int, features: int, outputs: int, rngs: nnx.Rngs):
        self.latent = nnx.Linear(latent_dim, 7 * 7 * 2 * features, rngs=rngs)
        self.double = nnx.Conv(2 * features, 4 * features, (3, 3), kernel_init=icnr, rngs=rngs)
        self.redouble = nnx.Conv(features, 4 * outputs, (3, 3), kernel_init=icnr, rngs=rngs)

    def __call__(self, z: Array) -> Array:
        h = nnx.silu(self.latent(z)).reshape(len(z), 7, 7, -1)
        h = nnx.silu(depth_to_space(self.double(h), 2))  # (batch, 14, 14, features)
        return depth_to_space(self.redouble(h), 2).reshape(len(z), PIXELS, -1).swapaxes(1, 2)
