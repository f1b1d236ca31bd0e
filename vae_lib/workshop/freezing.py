"""From a trained codec to its weights file and back: integers for the entropy model, counted tables (11, 12)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy.special import expit

from vae_lib import codec
from vae_lib.codec import CodecWeights
from vae_lib.decoder import BLOCK, CHANNELS, GROUPS, SCALES, SYMBOL_MAX
from vae_lib.entropy_coding import PRECISION, integer_table
from vae_lib.rate_distortion import LossyCodec

OCTAVES = 4 / np.log(2)  # tables to the nat of log scale: four to the octave
SMOOTHING = 20
HALF = 1 / 32  # of a step: means are rounded down to sixteenths, so this rounds them to the nearest
ZERO = 18.5  # scale 0 ends at a log2 scale of -4.5; the half rounds


def named_arrays(model: nnx.Module) -> dict[str, np.ndarray]:
    """The arrays of a model by name, as a checkpoint holds them."""
    return {".".join(map(str, path)): np.asarray(value[...]) for path, value in nnx.to_flat_state(nnx.state(model))}


def freeze(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a trained model by name -> those of the weights file, with tables yet to be counted."""
    frozen = {}
    for name, value in arrays.items():
        if name.startswith(("analysis", "synthesis", "gains")):
            whole = value.ndim == 1 or name.endswith("basis") or name.startswith("gains")
            frozen[name] = value.astype(np.float32 if whole else np.float16)
    return frozen | freeze_prior(arrays)


class FixedPoint(NamedTuple):
    """How an array of the prior is stored: the integers nearest to (array * factor + offset) * 2^fraction."""

    file: str  # name in the weights file
    model: str  # name in `ContextPrior`
    fraction: int  # bits after the binary point
    factor: float | np.ndarray = 1.0
    offset: float | np.ndarray = 0.0


def fixed_points() -> list[FixedPoint]:
    """The fixed-point format of the prior: `freeze_prior` and `thaw` both follow from it.

    Kernels have 12 bits of fraction and activations 8, so biases have 20. What meets whole symbols (hyper.one) or the
    whole quality from 0 to 100 has 16 straight away.
    """
    table = [
        FixedPoint("hyper.one.kernel", "hyper_synthesis.one.kernel", 16, 1 / 8),  # the model divides symbols by 8
        FixedPoint("hyper.one.bias", "hyper_synthesis.one.bias", 16),
        FixedPoint("hyper.two.kernel", "hyper_synthesis.two.kernel", 12),
        FixedPoint("hyper.two.bias", "hyper_synthesis.two.bias", 20),
        FixedPoint("quality", "quality", 16, 1 / 100),
        FixedPoint("hyper_scale.base", "hyper_log_scale", 16, OCTAVES, ZERO),
        FixedPoint("hyper_scale.slope", "hyper_slope", 16, OCTAVES / 100),
    ]
    for group, (low, high, _) in enumerate(GROUPS):
        unit = np.repeat([1, OCTAVES], high - low)  # means stay, log scales become numbers of tables
        halves = np.repeat([HALF, ZERO], high - low)
        head = f"heads.{group}"
        table += [
            FixedPoint(f"{head}.one.kernel", f"{head}.one.kernel", 12),
            FixedPoint(f"{head}.one.bias", f"{head}.one.bias", 20),
            FixedPoint(f"{head}.two.kernel", f"{head}.two.kernel", 12, unit),
            FixedPoint(f"{head}.two.bias", f"{head}.two.bias", 20, unit, halves),
            FixedPoint(f"{head}.straight.kernel", f"{head}.straight.kernel", 12, unit),
        ]
        if group + 1 < len(GROUPS):
            table.append(FixedPoint(f"near.{group}.kernel", f"near.{group}.kernel", 12))
    return table


def freeze_prior(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a trained entropy model, "prior. ...", in integers, but for the encoder's part of it."""
    frozen = {f.file: integers(arrays[f"prior.{f.model}"] * f.factor + f.offset, f.fraction) for f in fixed_points()}
    for name, value in arrays.items():
        if name.startswith("prior.hyper_analysis"):
            frozen[name.removeprefix("prior.")] = value.astype(np.float16 if value.ndim > 1 else np.float32)
    frozen["inward"] = np.zeros((SCALES, 4), np.int16)
    frozen["tables"] = starting_tables(arrays["prior.density.weight"], arrays["prior.density.ratio"])
    return frozen


def thaw(arrays: dict[str, np.ndarray]) -> LossyCodec:
    """The codec of a weights file as it was trained, in floats; its density, which tables replaced, is not in there."""
    thawed = {f"prior.{f.model}": (arrays[f.file] / 2.0**f.fraction - f.offset) / f.factor for f in fixed_points()}
    thawed |= {f"prior.{name}": value for name, value in arrays.items() if name.startswith("hyper_analysis")}
    thawed |= {name: value for name, value in arrays.items() if name.startswith(("analysis", "synthesis", "gains"))}
    model = nnx.eval_shape(lambda: LossyCodec(np.eye(CHANNELS, dtype=np.float32), np.ones(CHANNELS), nnx.Rngs(0)))
    state = nnx.to_flat_state(nnx.state(model))
    filled = [
        (path, v.replace(jnp.asarray(thawed.get(".".join(map(str, path)), np.zeros(v.shape)), jnp.float32)))
        for path, v in state
    ]
    nnx.update(model, nnx.from_flat_state(filled))
    return model


def integers(x: np.ndarray, bits: int) -> np.ndarray:
    """x in units of 2^-bits, as the smallest integer type that holds it."""
    x = np.rint(x.astype(np.float64) * 2.0**bits)
    return x.astype(np.int16 if np.abs(x).max() < 2**15 else np.int32)


def starting_tables(weight: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Tables of the density that the training assumed: (SCALES, symbols + 1) cumulative counts."""
    k = np.abs(np.arange(-SYMBOL_MAX, SYMBOL_MAX + 1))
    share = np.exp(weight - weight.max()) / np.exp(weight - weight.max()).sum()
    tables = []
    for scale in range(SCALES):
        p = 1e-4 * (expit((0.5 - k) / 32) - expit((-0.5 - k) / 32))
        for w, r in zip(share, ratio, strict=True):
            s = 2 ** (scale / 4 - 4.5) * np.exp(r)
            p = p + w * (expit((0.5 - k) / s) - expit((-0.5 - k) / s))
        tables.append(integer_table(p))
    return np.array(tables, np.int32)


class Counter:
    """A quantiser, the encoder's own, that counts how often each symbol came with each scale, and where latents lay."""

    def __init__(self, quantiser: Callable = codec.quantise):
        self.quantiser = quantiser
        self.counts = np.zeros((SCALES, 2 * SYMBOL_MAX + 1))
        self.inside, self.seen = np.zeros((SCALES, 4)), np.zeros((SCALES, 4))

    def __call__(self, residual: np.ndarray, scale: np.ndarray, worth: np.ndarray, weights: CodecWeights) -> np.ndarray:
        symbols = self.quantiser(residual, scale, worth, weights)
        self.count(symbols, scale)
        busy = symbols != 0
        size = np.abs(symbols[busy]).astype(int)
        place = scale[busy], np.minimum(size, 3)
        np.add.at(self.inside, place, size - np.abs(residual[busy]))
        np.add.at(self.seen, place, 1)
        return symbols

    def count(self, symbols: np.ndarray, scale: np.ndarray | int) -> None:
        np.add.at(self.counts, (np.asarray(scale), np.asarray(symbols, np.int64) + SYMBOL_MAX), 1)


def count(
    arrays: dict[str, np.ndarray],
    photographs: list[np.ndarray],
    qualities: Sequence[int],
    rounds: int,
    quantiser: Callable = codec.quantise,
    encode_tile: Callable = codec.encode_tile,
) -> None:
    """Replace tables and reconstruction points by what the encoder itself does on photographs; changes `arrays`.

    Tables decide what the quantiser chooses, and its choices the tables: hence the rounds. A table is symmetric;
    the density that the training assumed counts in it as much as SMOOTHING symbols, for those that are never seen.
    """
    assumed = np.diff(arrays["tables"]) / 2**PRECISION
    for _ in range(rounds):
        weights, counter = CodecWeights(arrays), Counter(quantiser)
        for x_uint8 in photographs:
            for quality in qualities:
                whole = slice(0, -(-x_uint8.shape[0] // BLOCK)), slice(0, -(-x_uint8.shape[1] // BLOCK))
                y = codec.analyse(x_uint8, whole, quality, weights)
                hyper_writer, _ = encode_tile(y, quality, weights, quantiser=counter)
                for scale, symbols in hyper_writer.runs:
                    counter.count(symbols, scale)
        counts = counter.counts + counter.counts[:, ::-1] + SMOOTHING * assumed
        arrays["tables"] = np.array([integer_table(row) for row in counts], np.int32)
        arrays["inward"] = np.rint(32 * counter.inside / np.maximum(counter.seen, 1)).astype(np.int16)
