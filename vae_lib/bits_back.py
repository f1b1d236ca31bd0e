"""Bits back: a set of images to a file of the size that the model promises, and back (built in notebook 09).

The decoder must meet the very probabilities that the encoder used; one count that differs turns the rest of the file
into noise. So no symbol depends on a float. Weights and activations are integers that stand for multiples of 2^-12;
matrix products run in float64, where sums of integers are exact below 2^53, so that no order of summation, batch size
or number of threads can change one (the sums here stay below 2^51); what is not linear is integer arithmetic or a
table. Floats only make the tables, once, and none comes near enough to a half to be rounded otherwise elsewhere. A
checksum of all weights and tables stands in each file.

The posterior is the encoder's, improved: both sides take the same few steps uphill on log p(x, z), in integers too.

Sources: Townsend, Bird and Barber (2019), arXiv:1901.04866 (bits back with ANS); Ballé, Johnston and Minnen (2019),
ICLR (integer networks); Hjelm et al. (2016), arXiv:1511.06382 (refining an encoder's posterior).
"""

import functools
import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vae_lib.entropy_coding import (
    PRECISION,
    STATE_MIN,
    CorruptMessage,
    Lanes,
    cdf_table,
    logistic_cdf,
    normal_cdf,
    round_to_integers,
)
from vae_lib.training import read_weights
from vae_lib.workshop.fashion_vaes import COMPONENTS, FASHION_VAE, LATENT_DIM

SIDE = 28
PIXELS = SIDE * SIDE
LANES, STEPS, BATCH_SIZE = 32, 8, 250  # what `encode` takes unless told; chosen where more gained next to nothing


class BitsBackError(Exception):
    """A file is not what this codec wrote, or images are not what it can store; the message is one line."""


# A network of integers. Each function returns its value and a function that pulls a gradient back through it.

FRACTION = 12  # bits: in a network an integer n stands for n / 2^12
ONE = 1 << FRACTION
GRADIENT = 16  # bits of fraction of a gradient
EXACT = 1 << 51  # integers up to here are float64s with room to spare: even one that is off by an ulp rounds right

Pullback = Callable[[np.ndarray], np.ndarray]


class Kernel(NamedTuple):
    """A matrix of integers, and how large the other factor of a product may be for the product to be exact."""

    values: np.ndarray  # (inputs, outputs) integers, held in float64 because products of floats are fast
    limit: int


def kernel(values: np.ndarray) -> Kernel:
    return Kernel(values, EXACT // int(np.abs(values).sum(axis=0).max()))


def exact_product(h: np.ndarray, matrix: Kernel) -> np.ndarray:
    """Integers (n, inputs) times a kernel: (n, outputs) int64, the same whatever adds up the products in which order.

    Clipping at the limit keeps every sum of absolute products within 2^51, for any input; no image reaches it.
    """
    h = np.clip(h, -matrix.limit, matrix.limit)
    return np.rint(float_product(h.astype(np.float64), matrix.values)).astype(np.int64)


def float_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The one place where floats are added up."""
    return a @ b


class Linear(NamedTuple):
    kernel: Kernel
    transposed: Kernel
    bias: np.ndarray


class Norm(NamedTuple):
    scale: np.ndarray
    bias: np.ndarray


class Network(NamedTuple):
    """The dense encoder or decoder of `vae_lib.networks` in integers."""

    first: Linear
    inner: Norm
    widen: Linear
    back: Linear
    outer: Norm
    last: Linear


def integer_linear(layer: Linear, h: np.ndarray) -> tuple[np.ndarray, Pullback]:
    out = exact_product(h, layer.kernel) + (layer.bias << FRACTION) + ONE // 2 >> FRACTION
    return out, lambda g: exact_product(g, layer.transposed) >> FRACTION


def integer_sqrt(n: np.ndarray) -> np.ndarray:
    """The largest integers whose squares do not exceed n: a float guess, put right in integers."""
    root = np.sqrt(n.astype(np.float64)).astype(np.int64)
    root -= root * root > n
    return root + ((root + 1) ** 2 <= n)


def integer_layer_norm(norm: Norm, h: np.ndarray) -> tuple[np.ndarray, Pullback]:
    """Layer normalisation over the last axis."""
    h = np.clip(h, -ONE * ONE, ONE * ONE)  # so that no square overflows
    centred = h - mean(h)
    std = integer_sqrt(mean(centred**2) + round(1e-6 * ONE**2) << 8)  # in units of 2^-16
    normed = (centred << 16) // std

    def pullback(g: np.ndarray) -> np.ndarray:
        g = g * norm.scale >> FRACTION
        return (g - mean(g) - (normed * (mean(g * normed) >> FRACTION) >> FRACTION) << 16) // std

    return (normed * norm.scale >> FRACTION) + norm.bias, pullback


def mean(h: np.ndarray) -> np.ndarray:
    """Over the last axis, rounded down."""
    return h.sum(axis=-1, keepdims=True) // h.shape[-1]


def integer_silu(h: np.ndarray) -> tuple[np.ndarray, Pullback]:
    """x times the logistic function of x, from a table; above 16 it is x to all 12 bits."""
    value, derivative = (table.take(h + 16 * ONE, mode="clip") for table in silu_tables())
    return np.where(h < 16 * ONE, value, h), lambda g: g * derivative >> FRACTION


@functools.cache
def silu_tables() -> tuple[np.ndarray, np.ndarray]:
    """Value and derivative for inputs from -16 up to 16."""
    x = np.arange(-16 * ONE, 16 * ONE) / ONE
    gate = logistic_cdf(x)
    return round_to_integers(ONE * x * gate), round_to_integers(ONE * gate * (1 + x * (1 - gate)))


def integer_network(net: Network, h: np.ndarray) -> tuple[np.ndarray, Pullback]:
    """(n, inputs) int64 -> (n, outputs) int64, and the way back for a gradient."""
    h, through_first = integer_linear(net.first, h)
    wide, through_inner = integer_layer_norm(net.inner, h)
    wide, through_widen = integer_linear(net.widen, wide)
    wide, through_silu = integer_silu(wide)
    wide, through_back = integer_linear(net.back, wide)
    h, through_outer = integer_layer_norm(net.outer, h + wide)
    h, through_outer_silu = integer_silu(h)
    out, through_last = integer_linear(net.last, h)

    def pullback(g: np.ndarray) -> np.ndarray:
        g = through_outer(through_outer_silu(through_last(g)))
        return through_first(g + through_inner(through_widen(through_silu(through_back(g)))))

    return out, pullback


# Pixels: mixtures of discretised logistics

EDGES = 2 * np.arange(257) - 1  # lower edge of each grey level, in half levels; a level 256 would begin above the last
EDGES[0], EDGES[256] = -(1 << 20), 1 << 20  # as good as infinite
SLOPE = 20  # bits of fraction of one over a scale
WEIGHT = 16  # bits: the weights of a mixture sum to 2^16
TOP = (1 << PRECISION) - 256  # slots that the mixture shares out; each grey level has one of its own besides


@functools.cache
def logistic_counts() -> np.ndarray:
    """TOP times the logistic function, from -16 to 16 in steps of 2^-12."""
    counts = round_to_integers(TOP * logistic_cdf(np.arange(-16 * ONE, 16 * ONE + 1) / ONE))
    counts[0], counts[-1] = 0, TOP
    return counts


@functools.cache
def exponential_table() -> np.ndarray:
    """e^-x for x = 0, 1/64, 2/64 ... in units of 2^-20, down to zero."""
    return round_to_integers(2.0**20 * np.exp(-np.arange(15 * 64) / 64))


@functools.cache
def slope_table() -> np.ndarray:
    """One over the scale in half levels, in units of 2^-20, for log scales from -7 to 5 in steps of 1/64.

    The decoder says them plus 2, on an axis from -1 to 1, which is 510 half levels.
    """
    return round_to_integers(2.0**SLOPE / 255 * np.exp(2 - np.arange(-7 * 64, 5 * 64) / 64))


class Mixtures(NamedTuple):
    """The distribution of each pixel: (components, n, pixels) each."""

    weights: np.ndarray  # of sum 2^16
    slopes: np.ndarray  # one over the scale
    offsets: np.ndarray  # minus the mean times the slope

    def places(self, levels: np.ndarray) -> np.ndarray:
        """Where the lower edges of grey levels 0 .. 256 lie in the table of the logistic function."""
        places = EDGES[levels] * self.slopes + self.offsets >> SLOPE - FRACTION
        return np.minimum(np.maximum(places, 0), 32 * ONE)

    def cumulative(self, levels: np.ndarray) -> np.ndarray:
        """Cumulative counts of grey levels 0 .. 256, an array that broadcasts with (n, pixels)."""
        return ((self.weights * logistic_counts()[self.places(levels)]).sum(axis=0) >> WEIGHT) + levels

    def intervals(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starts and counts, (n, pixels) each, of grey levels (n, pixels)."""
        starts = self.cumulative(x)
        return starts, self.cumulative(x + 1) - starts

    def of_pixel(self, i: int) -> Callable[[np.ndarray], np.ndarray]:
        """Cumulative counts of pixel i of each image, as a function of levels (n, k)."""
        mixtures = Mixtures(*(part[:, :, i, None] for part in self))
        return lambda levels: mixtures.cumulative(np.minimum(levels, 256))


def mixtures_of(out: np.ndarray) -> Mixtures:
    """The mixtures that a decoder's outputs (n, 3 * components * pixels) stand for."""
    logits, means, log_scales = out.reshape(-1, 3, COMPONENTS, PIXELS).transpose(1, 2, 0, 3)
    shares = exponential_table().take(logits.max(axis=0) - logits >> FRACTION - 6, mode="clip")
    weights = (shares << WEIGHT) // shares.sum(axis=0)
    weights[0] += (1 << WEIGHT) - weights.sum(axis=0)
    slopes = slope_table().take((log_scales >> FRACTION - 6) + 7 * 64, mode="clip")
    means = np.clip(means, -ONE * ONE, ONE * ONE)
    return Mixtures(weights, slopes, (16 << SLOPE) - (means * slopes >> FRACTION))


def mixture_gradient(mixtures: Mixtures, x: np.ndarray) -> np.ndarray:
    """Gradient of log p(x) with respect to a decoder's outputs: (n, pixels) -> (n, 3 * components * pixels).

    With F and F' the logistic function at a level's lower and upper edge, d log(F' - F) / d mean is slope (F + F' - 1):
    the difference cancels. A component counts as much as its share of the pixel's probability.
    """
    lower, upper = mixtures.places(x), mixtures.places(x + 1)
    below, above = logistic_counts()[lower], logistic_counts()[upper]
    mass = above - below
    parts = mixtures.weights * mass
    shares = (parts << GRADIENT) // np.maximum(parts.sum(axis=0), 1)
    balance = below + above - TOP >> PRECISION - GRADIENT
    means = (shares * balance >> GRADIENT) * mixtures.slopes >> SLOPE
    widths = (upper - lower) * (above * (TOP - above) // TOP) // np.maximum(mass, 1) << GRADIENT - FRACTION
    log_scales = shares * (((lower - 16 * ONE) * balance >> FRACTION) - widths) >> GRADIENT
    gradient = np.stack([shares - mixtures.weights, means, log_scales])
    return gradient.transpose(2, 0, 1, 3).reshape(len(x), -1)


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


# One image in each lane


class Bits(NamedTuple):
    """What images cost, in bits: -log2 of what the tables say. Net of what comes back: pixels + prior - posterior."""

    pixels: np.ndarray  # (n, 784) -log2 p(x | z)
    prior: np.ndarray  # (n, latent_dim) -log2 p(z)
    posterior: np.ndarray  # (n, latent_dim) -log2 q(z | x)
    z: np.ndarray  # (n, latent_dim) the latents that stand in the file, in steps of 2^-6


def push_images(stack: Lanes, model: IntegerVAE, x_uint8: np.ndarray, steps: int, batch_size: int) -> Bits:
    """Push an image on each of the first n lanes: pop z with q(z | x), push x with p(x | z), push z with p(z)."""
    q, p = posterior(model, x_uint8, steps, batch_size), prior(len(x_uint8))
    z = pop_latents(stack, q)
    pixels = likelihood(model, z, batch_size).intervals(x_uint8.reshape(-1, PIXELS).astype(np.int64))
    push_all(stack, pixels)
    push_all(stack, p.intervals(z))
    return Bits(bits(pixels), bits(p.intervals(z)), bits(q.intervals(z)), z)


def bits(intervals: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """-log2 of the probabilities that starts and counts stand for."""
    return PRECISION - np.log2(intervals[1])


def pop_images(stack: Lanes, model: IntegerVAE, n: int, steps: int, batch_size: int) -> np.ndarray:
    """Undo `push_images`, the last step first: (n, 28, 28, 1) uint8."""
    z = pop_latents(stack, prior(n))
    mixtures = likelihood(model, z, batch_size)
    x = np.stack([stack.pop(mixtures.of_pixel(i), n, digits=2) for i in range(PIXELS)], axis=1)
    x_uint8 = x.astype(np.uint8).reshape(n, SIDE, SIDE, 1)
    push_all(stack, posterior(model, x_uint8, steps, batch_size).intervals(z))
    return x_uint8


def push_all(stack: Lanes, intervals: tuple[np.ndarray, np.ndarray]) -> None:
    """Starts and counts (n, symbols), the last symbol first."""
    starts, counts = intervals
    for i in range(starts.shape[1] - 1, -1, -1):
        stack.push(starts[:, i], counts[:, i])


def pop_latents(stack: Lanes, gaussians: Gaussians) -> np.ndarray:
    n, latent_dim = gaussians.rows.shape
    symbols = [stack.pop(gaussians.of_latent(j), n, digits=3) for j in range(latent_dim)]
    return np.stack(symbols, axis=1) + gaussians.first


# The file

MAGIC, VERSION = b"BBVA", 1
HEADER = struct.Struct("<4sBBHHHI8sI")  # MAGIC, VERSION, steps, lanes, height, width, count, id, CRC
CRC = struct.Struct("<I")
MOST_IMAGES = 1_000_000  # more is not believed: a header must not make anyone reserve memory
SEED = "bits back"  # of the initial bits
INITIAL_WORDS = 256  # for each lane, of which an image takes about 7


@dataclass(frozen=True)
class Ledger:
    """Where the bytes of a file went."""

    bits: Bits  # of each image
    header_bytes: int  # with the lanes' lengths and the checksums
    initial_bits: int  # of the seed, without which the first images could not have drawn their z
    lane_bytes: int  # all lanes' messages, initial bits included

    @property
    def gross_bits(self) -> int:
        return 8 * (self.header_bytes + self.lane_bytes)

    @property
    def net_bits(self) -> int:
        """What the images added to the initial bits."""
        return 8 * self.lane_bytes - self.initial_bits

    @property
    def negative_elbo_bits(self) -> float:
        """-log2 p(x | z) - log2 p(z) + log2 q(z | x), with the z that stand in the file; sum over all images."""
        return float(self.bits.pixels.sum() + self.bits.prior.sum() - self.bits.posterior.sum())

    def __str__(self) -> str:
        """The lines of a bill, in bytes and in bits per dimension."""
        pixels, prior, posterior, _ = (float(part.sum()) for part in self.bits)
        lines = {
            "pixels, -log2 p(x | z)": pixels,
            "+ latents, -log2 p(z)": prior,
            "- bits back, -log2 q(z | x)": -posterior,
            "= negative ELBO of these z": self.negative_elbo_bits,
            "+ coder and last states": self.net_bits - self.negative_elbo_bits,
            "= net": self.net_bits,
            "+ initial bits": self.initial_bits,
            "+ header and checksums": 8 * self.header_bytes,
            "= the file": self.gross_bits,
        }
        dims = self.bits.pixels.size
        return "\n".join(f"{name:28} {b / 8:12,.0f} bytes {b / dims:9.4f} bits/dim" for name, b in lines.items())


def encode(
    x_uint8: np.ndarray,
    steps: int = STEPS,
    lanes: int = LANES,
    batch_size: int = BATCH_SIZE,
    track: Callable[[list[slice]], Iterable[slice]] = iter,
) -> tuple[bytes, Ledger]:
    """A file that holds images, and where its bytes went.

    Args:
      x_uint8: (n, 28, 28, 1) grey levels.
      steps: how often the posterior's mean is moved uphill; 0 leaves it as the encoder says.
      lanes: messages side by side; more are faster, and each costs some 40 bytes.
      batch_size: images in the networks at a time; of no influence on the file.
      track: is given the rounds and yields them, such as a progress bar.

    Raises:
      BitsBackError: images of another size or type, none, or too many.
    """
    if x_uint8.dtype != np.uint8 or x_uint8.shape[1:] != (SIDE, SIDE, 1):
        raise BitsBackError(f"expected uint8 images (n, 28, 28, 1), got {x_uint8.dtype} of shape {x_uint8.shape}")
    if not 1 <= len(x_uint8) <= MOST_IMAGES:
        raise BitsBackError(f"expected 1 to {MOST_IMAGES:,} images, got {len(x_uint8):,}")
    if not (0 <= steps <= 255 and 1 <= lanes <= 65535):
        raise BitsBackError(f"expected 0 to 255 steps and 1 to 65,535 lanes, got {steps} and {lanes}")
    model, lanes = integer_vae(), min(lanes, len(x_uint8))
    stack = seeded_lanes(range(lanes))
    found = []
    for images in track(rounds(len(x_uint8), lanes)[::-1]):
        found.append(push_images(stack, model, x_uint8[images], steps, batch_size))
    messages = [stack.to_bytes(lane) for lane in range(lanes)]
    data, lane_bytes = file_of(x_uint8, steps, messages), sum(map(len, messages))
    bits = Bits(*(np.concatenate(part[::-1]) for part in zip(*found, strict=True)))
    initial_bits = 32 * int(lanes + np.sum(INITIAL_WORDS - 1 - stack.lowest))
    return data, Ledger(bits, len(data) - lane_bytes, initial_bits, lane_bytes)


def file_of(x_uint8: np.ndarray, steps: int, messages: Sequence[bytes]) -> bytes:
    """The file of images whose lanes hold these messages: header, lengths, checksum, lanes, checksum."""
    checksum = zlib.crc32(x_uint8.tobytes())
    header = HEADER.pack(MAGIC, VERSION, steps, len(messages), SIDE, SIDE, len(x_uint8), integer_vae().id, checksum)
    header += np.array([len(message) // 4 for message in messages], "<u4").tobytes()
    payload = b"".join(messages)
    return header + CRC.pack(zlib.crc32(header)) + payload + CRC.pack(zlib.crc32(payload))


def decode(
    data: bytes, batch_size: int = BATCH_SIZE, track: Callable[[list[slice]], Iterable[slice]] = iter
) -> np.ndarray:
    """The images (n, 28, 28, 1) uint8 of a file; BitsBackError if it is not exactly what `encode` wrote."""
    steps, count, model_id, checksum, messages = parse(data)
    model = integer_vae()
    if model_id != model.id:
        raise BitsBackError(f"made with the model {model_id.hex()}: this is {model.id.hex()}")
    found = []
    try:
        stack = Lanes.from_bytes(messages)
        for images in track(rounds(count, len(messages))):
            found.append(pop_images(stack, model, images.stop - images.start, steps, batch_size))
    except CorruptMessage as error:
        raise BitsBackError(f"damaged: {error}") from None
    for lane, message in enumerate(stack.to_bytes(lane) for lane in range(len(messages))):
        words = initial_words(lane)[: len(message) // 4 - 1]
        if message != np.array([1, *words], "<u4").tobytes():
            raise BitsBackError(f"damaged: lane {lane} does not end in the initial bits")
    x_uint8 = np.concatenate(found)
    if zlib.crc32(x_uint8.tobytes()) != checksum:
        raise BitsBackError("damaged: the images differ from their checksum")
    return x_uint8


def rounds(count: int, lanes: int) -> list[slice]:
    """Images that are coded together, one in each lane, in the order of the images; only the first may be short."""
    first = (count - 1) % lanes + 1
    return [slice(max(0, stop - lanes), stop) for stop in range(first, count + 1, lanes)]


def seeded_lanes(seeds: Iterable[int]) -> Lanes:
    """For each seed a lane with its initial bits and nothing else."""
    piles = [initial_words(seed) for seed in seeds]
    return Lanes([STATE_MIN | int(words[0]) for words in piles], [words[:0:-1] for words in piles])


def initial_words(lane: int) -> np.ndarray:
    """Random bits that lie in a lane before anything is pushed: 32 in its state, then words in the order of use."""
    return np.frombuffer(hashlib.shake_128(f"{SEED} {lane}".encode()).digest(4 * INITIAL_WORDS), "<u4")


def parse(data: bytes) -> tuple[int, int, bytes, int, list[bytes]]:
    """Steps, number of images, model id, checksum of the pixels, and each lane's message of a file."""
    if data[: len(MAGIC)] != MAGIC:
        raise BitsBackError(f"expected a file that begins with {MAGIC!r}, got {data[: len(MAGIC)]!r}")
    if len(data) < HEADER.size:
        raise BitsBackError(f"truncated: expected a header of {HEADER.size} bytes, got {len(data)}")
    _, version, steps, lanes, height, width, count, model_id, checksum = HEADER.unpack_from(data)
    if version != VERSION:
        raise BitsBackError(f"expected format version {VERSION}, got {version}")
    start = HEADER.size + 4 * lanes + CRC.size
    if len(data) < start:
        raise BitsBackError(f"truncated: expected a header of {start} bytes, got {len(data)}")
    if CRC.unpack_from(data, start - CRC.size)[0] != zlib.crc32(data[: start - CRC.size]):
        raise BitsBackError("damaged: the header differs from its checksum")
    if (height, width) != (SIDE, SIDE) or not 1 <= lanes <= count <= MOST_IMAGES:
        raise BitsBackError(f"expected images of 28x28, got {count:,} of {height}x{width} in {lanes} lanes")
    sizes = 4 * np.frombuffer(data, "<u4", lanes, HEADER.size).astype(np.int64)
    end = start + int(sizes.sum())
    if len(data) != end + CRC.size:
        raise BitsBackError(f"truncated or prolonged: expected {end + CRC.size:,} bytes, got {len(data):,}")
    if CRC.unpack_from(data, end)[0] != zlib.crc32(data[start:end]):
        raise BitsBackError("damaged: the lanes differ from their checksum")
    stops = start + np.cumsum(sizes)
    return steps, count, model_id, checksum, [data[stop - size : stop] for stop, size in zip(stops, sizes, strict=True)]
