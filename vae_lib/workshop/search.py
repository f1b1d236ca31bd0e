"""The patient encoder: symbols found by a search over what this very picture costs, for a decoder that does not change.

`codec.quantise` decides for one symbol at a time. The search knows what a symbol does to the predictions of others and
to the pixels around it: it follows the gradient of R + lambda D through the networks as they were trained, and keeps
what it tries where the cost in whole symbols falls. Of the codec, only this module needs JAX.

Sources: Campos, Meierhans, Djelouah and Schroers (2019), arXiv:1906.01223; Yang, Bamler and Mandt (2020),
  arXiv:2006.04240. Both descend on latents that are not yet rounded; here each round is measured on rounded ones.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.lax import stop_gradient
from scipy.ndimage import uniform_filter

from vae_lib import codec, decoder
from vae_lib.codec import CodecWeights, Writer
from vae_lib.decoder import BLOCK, GROUPS, HALO, SCALES, SYMBOL_MAX, Header
from vae_lib.rate_distortion import LossyCodec
from vae_lib.workshop.freezing import OCTAVES, ZERO, thaw

ROUNDS = 32
SHARE = 0.2  # of the blocks, tried in a round
HYPER_EVERY, HYPER_SHARE = 3, 0.15  # every so many rounds it is the hyper-latent that is tried, at this share of places
NEAR, HYPER_NEAR = 5, 15  # blocks a side of the surroundings whose cost decides
WORTH = 1.3  # of a squared error, where a symbol is weighed on its own: predictions suffer from it too


class Found(NamedTuple):
    """What a tile costs with certain symbols, and what the decoder then has; latents in steps."""

    cost: np.ndarray  # (rows, columns) of each block: bits plus lambda times squared error, mean over the colours
    learned: np.ndarray  # (rows, columns, 192) the latent that the decoder predicts from
    latent: np.ndarray  # (rows, columns, 192) the latent that it makes the picture from, pulled inward
    state: np.ndarray  # (rows, columns, width) what the hyper-latent says of each block


def encode_tile(
    x_uint8: np.ndarray, place: tuple[slice, slice], quality: int, weights: CodecWeights, rounds: int = ROUNDS
) -> tuple[Writer, Writer]:
    """The writers of a tile's hyper-latent and latent, as `codec.encode_tile`, after a search of so many rounds.

    Args:
      x_uint8: (height, width, 3) the whole image.
      place: rows and columns of blocks of the tile.
    """
    tile = Tile(x_uint8, place, quality, weights)
    y = codec.analyse(x_uint8, place, quality, weights)  # where symbols should come close to: this is what moves
    h_hat = codec.hyper_latent(y, quality, weights)
    best, rng = tile.measure(y, h_hat), np.random.default_rng(0)
    for number in codec.progress(list(range(rounds)), "searching", "round"):
        if number % HYPER_EVERY == HYPER_EVERY - 1:
            tried, near = (y, tile.move_hyper(h_hat, best, rng)), HYPER_NEAR
        else:
            tried, near = (tile.move(y, best, rng), h_hat), NEAR
        found = tile.measure(*tried)
        fell = uniform_filter(found.cost - best.cost, near, mode="constant")[..., None] < 0
        kept = np.where(fell, tried[0], y), np.where(fell[::4, ::4], tried[1], h_hat)
        for trial, result in ((tried, found), (kept, tile.measure(*kept))):
            if result.cost.sum() < best.cost.sum():
                (y, h_hat), best = trial, result
    return codec.encode_tile(y, quality, weights, patient, h_hat)


def patient(residual: np.ndarray, scale: np.ndarray, worth: np.ndarray, weights: CodecWeights) -> np.ndarray:
    """`codec.quantise`, errors weighing more."""
    return codec.quantise(residual, scale, WORTH * worth, weights)


class Tile:
    """A tile of an image: measures what symbols cost, and proposes others."""

    def __init__(self, x_uint8: np.ndarray, place: tuple[slice, slice], quality: int, weights: CodecWeights):
        rows, columns = place
        self.x = x_uint8[BLOCK * rows.start : BLOCK * rows.stop, BLOCK * columns.start : BLOCK * columns.stop]
        self.size = rows.stop - rows.start, columns.stop - columns.start
        self.pad = [(0, BLOCK * blocks - pixels) for blocks, pixels in zip(self.size, self.x.shape, strict=False)]
        self.quality, self.weights = quality, weights
        self.lmbda, self.gain = codec.lmbda_of(quality), decoder.gain(quality, weights)
        whole = (-(-side // BLOCK) for side in x_uint8.shape)
        free = [alone(side, blocks) for side, blocks in zip(place, whole, strict=False)]
        self.free = free[0][:, None] & free[1]
        self.hyper_scale = decoder.hyper_scale(self.size, quality, weights)
        self.model = as_it_rounds(thaw(weights.arrays))
        self.bits = np.concatenate([np.zeros_like(weights.bits[:1]), weights.bits[1:]])  # scale 0: nothing is stored
        self.table = jnp.asarray(self.bits)
        self.centred = jnp.asarray(np.pad(self.x, [*self.pad, (0, 0)], mode="edge"), jnp.float32) - 128
        self.inside = jnp.asarray(np.pad(np.ones(self.x.shape[:2]), self.pad), jnp.float32)[..., None]

    def measure(self, y: np.ndarray, h_hat: np.ndarray) -> Found:
        """Code y with this hyper-latent, decode it, and count: the true cost, if the tile had no neighbours."""
        bits, learned, pulled = np.zeros(self.size), np.empty(y.shape), np.empty(y.shape, np.int16)
        worth = self.lmbda / 3 / self.gain**2

        def visit(blocks: tuple, channels: slice, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
            symbols = patient(y[*blocks, channels] - mean / 16, scale, worth[channels], self.weights)
            bits[blocks] += self.bits[scale, np.abs(symbols).astype(int)].sum(axis=1)
            learned[*blocks, channels] = symbols + mean / 16
            pulled[*blocks, channels] = 2 * (16 * symbols + mean) - decoder.inward(symbols, scale, self.weights)
            return symbols

        rows, columns = self.size
        state = decoder.hyper_features(h_hat, self.quality, self.weights)[:rows, :columns]
        decoder.walk(state, self.weights, visit)
        bits += np.kron(self.hyper_bits(h_hat).sum(axis=2), np.ones((4, 4)) / 16)[:rows, :columns]
        header = Header(self.x.shape[0], self.x.shape[1], False, self.quality)
        decoded = decoder.synthesise(pulled, header, self.weights)
        error = np.pad(np.mean((self.x - decoded.astype(np.float64)) ** 2, axis=2), self.pad)
        error = error.reshape(rows, BLOCK, columns, BLOCK).sum(axis=(1, 3))
        return Found(bits + self.lmbda * error, learned, pulled / 32, state / 2**16)

    def hyper_bits(self, h_hat: np.ndarray) -> np.ndarray:
        return self.bits[self.hyper_scale, np.minimum(np.abs(h_hat), SYMBOL_MAX).astype(int)]

    def move(self, y: np.ndarray, found: Found, rng: np.random.Generator) -> np.ndarray:
        """At some blocks, a Newton step from the latent found, as if squared errors were all of the curvature."""
        steps = jnp.asarray(self.gain, jnp.float32)
        latent, learned, state = (jnp.asarray(a, jnp.float32) for a in (found.latent, found.learned, found.state))
        of_error = error_gradient(self.model, latent, self.centred, self.inside, steps, jnp.asarray(self.quality / 100))
        of_bits = bits_gradient(self.model, learned, state[None], self.table)
        gradient = self.lmbda / 3 * np.asarray(of_error) + np.asarray(of_bits)
        step = np.clip(gradient / (2 * self.lmbda / 3 / self.gain**2), -1, 1)
        some = self.free & (rng.random(self.size) < SHARE)
        return np.where(some[..., None], found.latent - step, y)

    def move_hyper(self, h_hat: np.ndarray, found: Found, rng: np.random.Generator) -> np.ndarray:
        """At some places, one number up or down: one of those that promise most, by their bits and the gradient."""
        gradient = np.asarray(
            hyper_gradient(
                self.model,
                jnp.asarray(h_hat, jnp.float32),
                jnp.asarray(found.learned, jnp.float32),
                jnp.asarray(self.quality / 100),
                self.table,
            )
        )
        change, promise = np.zeros(h_hat.shape), np.zeros(h_hat.shape)
        for by in (-1, 1):
            cost = self.hyper_bits(h_hat + by) - self.hyper_bits(h_hat) + by * gradient
            better = (self.hyper_scale > 0) & (np.abs(h_hat + by) <= SYMBOL_MAX) & (cost < promise)
            change, promise = np.where(better, by, change), np.where(better, cost, promise)
        chosen = np.argmin(promise * rng.random(promise.shape), axis=2)[..., None]
        some = self.free[::4, ::4] & (rng.random(h_hat.shape[:2]) < HYPER_SHARE)
        moved = h_hat.copy()
        np.put_along_axis(moved, chosen, np.take_along_axis(h_hat + some[..., None] * change, chosen, 2), 2)
        return moved


def alone(side: slice, blocks: int) -> np.ndarray:
    """Along one side of an image: the blocks of a tile of whose pixels no other tile knows, True or False each."""
    index = np.arange(side.start, side.stop)
    return ((index >= side.start + HALO) | (side.start == 0)) & ((index < side.stop - HALO) | (side.stop == blocks))


# What the gradients are of: the codec as it was trained, thawed, with the tables in place of its density


def as_it_rounds(model: LossyCodec) -> LossyCodec:
    """The same codec, with activations as the decoder has them: rounded down, by half a unit of 2^-8 in the mean."""
    layers: list[Any] = [model.prior.hyper_synthesis.one, *(head.one for head in model.prior.heads)]
    for layer in layers:
        layer.bias[...] -= 1 / 512
    return model


def bits(model: LossyCodec, latent: Array, state: Array, table: Array) -> Array:
    """Bits of a tile as a function of what its latents teach about each other; what each is itself stays as it is."""
    total = jnp.zeros(())

    def visit(number: int, mask: Array, mean: Array, log_scale: Array) -> Array:
        nonlocal total
        low, high, _ = GROUPS[number]
        residual = stop_gradient(latent[None, ..., low:high]) - mean
        total += jnp.sum(mask * symbol_bits(residual, log_scale * OCTAVES + ZERO - 0.5, table))
        return latent[None, ..., low:high]

    model.prior.walk(state, visit)
    return total


def symbol_bits(residual: Array, scale: Array, table: Array) -> Array:
    """What the tables charge, made smooth: linear between scales, and from one symbol to the next."""
    size, scale = jnp.abs(residual), jnp.clip(scale, 0, SCALES - 1)
    symbol = jnp.clip(jnp.rint(stop_gradient(size)), 0, SYMBOL_MAX).astype(int)
    below = jnp.minimum(jnp.floor(stop_gradient(scale)), SCALES - 2).astype(int)
    slope = jnp.pad((table[:, 2:] - table[:, :-2]) / 2, ((0, 0), (1, 1)))  # bits to the step; none at 0
    part = scale - below
    cost = (1 - part) * table[below, symbol] + part * table[below + 1, symbol]
    return cost + stop_gradient(slope[below, symbol]) * (size - stop_gradient(size))


def picture(model: LossyCodec, latent: Array, steps: Array, quality: Array) -> Array:
    """`decoder.synthesise`, centred: (rows, columns, 192) in steps -> (8 rows, 8 columns, 3)."""
    return model.synthesis(latent[None] / steps, quality[None])[0]


@nnx.jit
def error_gradient(model: LossyCodec, latent: Array, x: Array, inside: Array, steps: Array, quality: Array) -> Array:
    """Of the squared error, summed over pixels and colours, by the latent in steps."""

    def error(latent: Array) -> Array:
        return jnp.sum(inside * (x - jnp.clip(picture(model, latent, steps, quality), -128, 127)) ** 2)

    return jax.grad(error)(latent)


@nnx.jit
def bits_gradient(model: LossyCodec, latent: Array, state: Array, table: Array) -> Array:
    """Of the latent's bits, by the latent."""
    return jax.grad(lambda latent: bits(model, latent, state, table))(latent)


@nnx.jit
def hyper_gradient(model: LossyCodec, h_hat: Array, latent: Array, quality: Array, table: Array) -> Array:
    """Of the latent's bits, by the hyper-latent."""
    rows, columns, _ = latent.shape

    def cost(h_hat: Array) -> Array:
        state = model.prior.features(h_hat[None], quality[None])[:, :rows, :columns]
        return bits(model, latent, state, table)

    return jax.grad(cost)(h_hat)
