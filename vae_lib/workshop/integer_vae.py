"""The VAE of the lossless codec in integers: its prior, its likelihood, and its posterior, improved by a few steps.

A checksum of all weights and tables stands in each file. The posterior is the encoder's, improved: both sides take
the same few steps uphill on log p(x, z), in integers too.

Source: Hjelm et al. (2016), arXiv:1511.06382 (refining an encoder's posterior).
"""

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae_lib.bits_back import cdf_table, normal_cdf, round_to_integers
from vae_lib.entropy_coding import CorruptMessage
from vae_lib.training import read_weights
from vae_lib.workshop.fashion_vaes import COMPONENTS, FASHION_VAE, LATENT_DIM
from vae_lib.workshop.integer_mixtures import (
    PIXELS,
    Mixtures,
    exponential_table,
    logistic_counts,
    mixture_gradient,
    mixtures_of,
    slope_table,
)
from vae_lib.workshop.integer_networks import (
    FRACTION,
    GRADIENT,
    ONE,
    Kernel,
    Linear,
    Network,
    Norm,
    integer_network,
    kernel,
    silu_tables,
)

STEPS, BATCH_SIZE = 8, 250  # steps uphill and images in the networks at a time, unless told otherwise

# Latents: discretised Gaussians

LATENT_STEP = 6  # bits: in the file a latent is a multiple of 2^-6
REACH = 8 << LATENT_STEP  # in these steps: a latent lies within 8 of its posterior's mean, and that within 8 of zero
STDS = np.exp(np.arange(-80, 9) / 16)  # a posterior's standard deviation is one of these, from e^-5 to e^0.5


@functools.cache
def prior_table() -> np.ndarray:
    """Standard normal: (1, 4 * REACH + 1) cumulative counts; symbol 0 is the latent at -2 * REACH steps."""
    edges = np.arange(-2 * REACH + 1, 2 * REACH) - 0.5
    return cdf_table(normal_cdf(edges / (1 << LATENT_STEP)))[None]


@functools.cache
def posterior_tables() -> np.ndarray:
    """Gaussians around zero: (STDS, 2 * REACH + 1) cumulative counts; symbol 0 lies REACH steps below the mean."""
    edges = np.arange(-REACH + 1, REACH) - 0.5
    return cdf_table(normal_cdf(edges / (1 << LATENT_STEP) / STDS[:, None]), least=0)


class Gaussians(NamedTuple):
    """The distributions of the latents of n images, as rows of a table of cumulative counts."""

    tables: np.ndarray  # (rows, bins + 1)
    rows: np.ndarray  # (n, latent_dim) which row belongs to which latent
    first: np.ndarray  # (n, latent_dim) the latent that is symbol 0, in steps

    def of_latent(self, j: int) -> Callable[[np.ndarray], np.ndarray]:
        """Cumulative counts of latent j of each image, as a function of symbols (n, k)."""
        rows, bins = self.rows[:, j, None], self.tables.shape[1] - 1
        return lambda symbols: self.tables[rows, np.minimum(symbols, bins)]

    def intervals(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starts and counts, (n, latent_dim) each, of latents (n, latent_dim) in steps."""
        symbols = z - self.first
        if symbols.min() < 0 or symbols.max() > self.tables.shape[1] - 2:
            raise CorruptMessage("a latent is out of reach")
        starts = self.tables[self.rows, symbols]
        counts = self.tables[self.rows, symbols + 1] - starts
        if not counts.all():
            raise CorruptMessage("a latent is one that its posterior cannot give")
        return starts, counts

    def of_images(self, images: slice) -> "Gaussians":
        return Gaussians(self.tables, self.rows[images], self.first[images])


# The model


class IntegerVAE(NamedTuple):
    """A VAE in integers, and the checksum of everything that a file's symbols depend on."""

    encoder: Network
    decoder: Network
    id: bytes


@functools.cache
def integer_vae(path: Path = FASHION_VAE) -> IntegerVAE:
    """The VAE of a weights file; WeightsError if the file is missing or damaged."""
    _, arrays = read_weights(path)
    encoder = _network(arrays, "encoder", "pixels", "heads")
    decoder = _network(arrays | _in_half_levels(arrays), "decoder", "latent", "pixels")
    digest = hashlib.sha256()
    tables = [prior_table(), posterior_tables(), logistic_counts(), exponential_table(), slope_table(), strides()]
    for part in [*encoder, *decoder, silu_tables(), tables]:
        for array in part:
            digest.update(np.asarray(array.values if isinstance(array, Kernel) else array).astype("<i8").tobytes())
    return IntegerVAE(encoder, decoder, digest.digest()[:8])


def _network(arrays: Mapping[str, np.ndarray], part: str, first: str, last: str) -> Network:
    def integers(name: str) -> np.ndarray:
        return np.rint(arrays[f"{part}.{name}"].astype(np.float64) * ONE)

    def linear(name: str) -> Linear:
        values = integers(f"{name}.kernel")
        return Linear(kernel(values), kernel(values.T), integers(f"{name}.bias").astype(np.int64))

    def norm(name: str) -> Norm:
        return Norm(integers(f"{name}.scale").astype(np.int64), integers(f"{name}.bias").astype(np.int64))

    widen, back = linear("block.widen"), linear("block.back")
    return Network(linear(first), norm("block.norm"), widen, back, norm("norm"), linear(last))


def _in_half_levels(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The decoder's last layer, its means in half grey levels above level 0 instead of on an axis from -1 to 1."""
    scaled = {}
    for name in ("decoder.pixels.kernel", "decoder.pixels.bias"):
        array = arrays[name].astype(np.float64).reshape(-1, 3, COMPONENTS, PIXELS)
        array[:, 1] *= 255
        scaled[name] = array
    centres = np.linspace(-1, 1, 2 * COMPONENTS + 1)[1::2]  # as in vae_lib.likelihoods
    scaled["decoder.pixels.bias"][:, 1] += np.rint(255 * (centres + 1))[:, None]
    return {name: array.reshape(arrays[name].shape) for name, array in scaled.items()}


@functools.cache
def strides() -> np.ndarray:
    """How far to go along a gradient, for each of STDS: a fifth of the variance, in units of 2^-24."""
    return round_to_integers(2.0**24 / 5 * STDS**2)


def likelihood(model: IntegerVAE, z: np.ndarray, batch_size: int = BATCH_SIZE) -> Mixtures:
    """p(x | z) of latents (n, latent_dim), in steps of 2^-6."""
    z = z << FRACTION - LATENT_STEP
    outs = [integer_network(model.decoder, z[i : i + batch_size])[0] for i in range(0, len(z), batch_size)]
    return mixtures_of(np.concatenate(outs))


def prior(n: int) -> Gaussians:
    zeros = np.zeros((n, LATENT_DIM), np.int64)
    return Gaussians(prior_table(), zeros, zeros - 2 * REACH)


def posterior(model: IntegerVAE, x_uint8: np.ndarray, steps: int = STEPS, batch_size: int = BATCH_SIZE) -> Gaussians:
    """q(z | x) of images (n, 28, 28, 1): the encoder's, its mean moved uphill on log p(x, z).

    Each step goes along the gradient times a fifth of the variance, plus half of the step before.
    """
    grey = round_to_integers((2 * np.arange(256) - 255) / 255 * ONE)
    x = x_uint8.reshape(-1, PIXELS).astype(np.int64)
    means, rows = [], []
    for batch in (x[i : i + batch_size] for i in range(0, len(x), batch_size)):
        out, _ = integer_network(model.encoder, grey[batch])
        z, log_std = np.clip(out[:, :LATENT_DIM], -8 * ONE, 8 * ONE), out[:, LATENT_DIM:]
        row = np.clip(log_std + 5 * ONE + ONE // 32 >> FRACTION - 4, 0, len(STDS) - 1)
        velocity = np.zeros_like(z)
        for _ in range(steps):
            uphill = log_joint_gradient(model, batch, z)
            velocity = (velocity >> 1) + (uphill * strides()[row] >> 24 + GRADIENT - FRACTION)
            z = np.clip(z + velocity, -8 * ONE, 8 * ONE)
        means.append(z)
        rows.append(row)
    half = ONE >> LATENT_STEP + 1
    centres = np.clip(np.concatenate(means) + half >> FRACTION - LATENT_STEP, -REACH, REACH - 1)
    return Gaussians(posterior_tables(), np.concatenate(rows), centres - REACH)


def log_joint_gradient(model: IntegerVAE, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Gradient of log p(x, z) with respect to z, (n, latent_dim), in units of 2^-16; z in units of 2^-12."""
    out, pullback = integer_network(model.decoder, z)
    return pullback(mixture_gradient(mixtures_of(out), x)) - (z << GRADIENT - FRACTION)
