"""From a trained codec to its weights file: integers for the entropy model, counted tables (notebooks 11, 12)."""

from collections.abc import Callable, Sequence

import numpy as np
from flax import nnx
from scipy.special import expit

from vae_lib import codec
from vae_lib.codec import CodecWeights
from vae_lib.decoder import BLOCK, GROUPS, SCALES, SYMBOL_MAX
from vae_lib.entropy_coding import PRECISION, integer_table

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


def freeze_prior(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a trained entropy model, "prior. ...", in integers, but for the encoder's part of it."""
    frozen = {
        "hyper.one.kernel": integers(arrays["prior.hyper_synthesis.one.kernel"] / 8, 16),
        "hyper.one.bias": integers(arrays["prior.hyper_synthesis.one.bias"], 16),
        "hyper.two.kernel": integers(arrays["prior.hyper_synthesis.two.kernel"], 12),
        "hyper.two.bias": integers(arrays["prior.hyper_synthesis.two.bias"], 20),
        "quality": integers(arrays["prior.quality"] / 100, 16),
        "hyper_scale.base": integers(arrays["prior.hyper_log_scale"] * OCTAVES + ZERO, 16),
        "hyper_scale.slope": integers(arrays["prior.hyper_slope"] * OCTAVES / 100, 16),
    }
    for group, (low, high, _) in enumerate(GROUPS):
        unit = np.repeat([1, OCTAVES], high - low)  # means stay, log scales become numbers of tables
        head = f"prior.heads.{group}"
        frozen |= {
            f"heads.{group}.one.kernel": integers(arrays[f"{head}.one.kernel"], 12),
            f"heads.{group}.one.bias": integers(arrays[f"{head}.one.bias"], 20),
            f"heads.{group}.two.kernel": integers(arrays[f"{head}.two.kernel"] * unit, 12),
            f"heads.{group}.two.bias": integers(
                arrays[f"{head}.two.bias"] * unit + np.repeat([HALF, ZERO], high - low), 20
            ),
            f"heads.{group}.straight.kernel": integers(arrays[f"{head}.straight.kernel"] * unit, 12),
        }
        if group + 1 < len(GROUPS):
            frozen[f"near.{group}.kernel"] = integers(arrays[f"prior.near.{group}.kernel"], 12)
    for name, value in arrays.items():
        if name.startswith("prior.hyper_analysis"):
            frozen[name.removeprefix("prior.")] = value.astype(np.float16 if value.ndim > 1 else np.float32)
    frozen["inward"] = np.zeros((SCALES, 4), np.int16)
    frozen["tables"] = starting_tables(arrays["prior.density.weight"], arrays["prior.density.ratio"])
    return frozen


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
                hyper_writer, _ = codec.encode_tile(y, quality, weights, counter)
                for scale, symbols in hyper_writer.runs:
                    counter.count(symbols, scale)
        counts = counter.counts + counter.counts[:, ::-1] + SMOOTHING * assumed
        arrays["tables"] = np.array([integer_table(row) for row in counts], np.int32)
        arrays["inward"] = np.rint(32 * counter.inside / np.maximum(counter.seen, 1)).astype(np.int16)
