"""What each technique of the codec buys: a ladder of codecs, each with one thing more, in real bytes (notebook 11).

`python -m vae_lib ablation OUT.json --photos FOLDER... --validation FOLDER` runs `ablation`. On a rung the transforms
stay as they are and an entropy model is trained for their latents, with parts of it switched off; it is then frozen to
integers, its tables are counted, and every validation photograph is encoded to a file, and decoded again.

No part is praised for what is simpler than it. A block's flat channels resemble those of the blocks beside it, and the
median of notebook 10 uses that without any parameter; a few other channels are nearly a constant, and a constant needs
no network. So all rungs have both, the median rule and a centre for each channel, up to the one whose context of places
takes their place.
"""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from safetensors.numpy import save_file
from tqdm import tqdm

from vae_lib import benchmark, codec, decoder
from vae_lib.codec import CodecWeights, Writer
from vae_lib.decoder import BLOCK, SCALES, SYMBOL_MAX, read_arrays
from vae_lib.entropy_models import LOG_SCALE_MIN, ContextPrior
from vae_lib.images import DATA_FOLDER, load_photographs
from vae_lib.metrics import bd_rate, bits_per_pixel, psnr
from vae_lib.rate_distortion import WIDTH, lmbda_of
from vae_lib.workshop import freezing
from vae_lib.workshop.codec_training import new_codec, read_photographs

PARTS = (
    "hyperprior",
    "mean",
    "context of channels",
    "context of places",
)  # of the entropy model, in order of the ladder
STEPS, BATCH, WINDOW = 2500, 4, 16  # of an entropy model: gradient steps, windows a step, blocks a side of a window
LEARNING_RATE = 2e-3
TABLE, MODELS = (DATA_FOLDER / "models" / f"ablation.{suffix}" for suffix in ("json", "safetensors"))
COMMAND = "python -m vae_lib ablation ablation.json --photos train --validation validation"
QUALITIES = (10, 30, 50, 70, 90)
COUNTED = 16  # training photographs from which tables are counted
FLAT = 3  # channels, the first, that the median rule predicts: in whole steps, from the blocks left and above


class Latent(NamedTuple):
    quality: float  # 0 to 1
    y: np.ndarray  # (rows, columns, 192) float32, in steps


def latents_of(photographs: Sequence[np.ndarray], weights: CodecWeights, qualities: Sequence[int]) -> list[Latent]:
    """The latents of the photographs: the first at the first quality, the second at the second, and around again."""
    latents = []
    for number, x_uint8 in enumerate(photographs):
        quality = qualities[number % len(qualities)]
        rows, columns = (slice(0, side // BLOCK) for side in x_uint8.shape[:2])
        latents.append(Latent(quality / 100, codec.analyse(x_uint8, (rows, columns), quality, weights)))
    return latents


def median(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """The median of left, above and left + above - corner: what the rule expects of a block's flat channels."""
    return np.clip(left + above - corner, np.minimum(left, above), np.maximum(left, above))


def centre_of(latents: Sequence[Latent], weights: CodecWeights) -> np.ndarray:
    """Mean of each channel that is not flat, (192,) float32, before the gain."""
    centre = np.mean(
        [y.mean(axis=(0, 1)) / decoder.gain(round(100 * quality), weights) for quality, y in latents], axis=0
    )
    return np.where(np.arange(len(centre)) < FLAT, 0, centre).astype(np.float32)


def differences(y: np.ndarray, quality: int, weights: CodecWeights) -> np.ndarray:
    """A latent (rows, columns, 192) without what is simple: flat channels in whole steps less what the median rule
    expects, the others less their centre; quality: 0 to 100."""
    y = y - decoder.gain(quality, weights) * weights["centre"]
    levels = np.pad(np.rint(y[..., :FLAT]), ((1, 0), (1, 0), (0, 0)))
    expected = median(levels[1:, :-1], levels[:-1, 1:], levels[:-1, :-1])
    return np.concatenate([levels[1:, 1:] - expected, y[..., FLAT:]], axis=-1)


def undone(found: np.ndarray) -> np.ndarray:
    """From differences (rows, columns, FLAT) to whole steps again, block by block, as each needs those before it."""
    levels = np.pad(found, ((1, 0), (1, 0), (0, 0)))
    for row, column in np.ndindex(*found.shape[:2]):
        left, above, corner = levels[row + 1, column], levels[row, column + 1], levels[row, column]
        levels[row + 1, column + 1] += median(left, above, corner)
    return levels[1:, 1:]


def windows(latents: Sequence[Latent], count: int, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Random windows of random latents: (count, size, size, 192), and their qualities (count,)."""
    y, qualities = [], []
    for which in rng.integers(len(latents), size=count):
        quality, whole = latents[which]
        top, left = (rng.integers(side - size + 1) for side in whole.shape[:2])
        y.append(whole[top : top + size, left : left + size])
        qualities.append(quality)
    return jnp.asarray(np.stack(y)), jnp.asarray(qualities)


def switch(name: str, value: Array, parts: Sequence[str]) -> Array | float:
    """1 where a parameter of `ContextPrior` may differ from 0, and 0 where it belongs to a part that is off."""
    if name.startswith(("hyper_synthesis", "hyper_analysis.quarter")):
        return float("hyperprior" in parts)
    if name.startswith("near"):
        centre = np.zeros(value.shape)
        centre[value.shape[0] // 2, value.shape[1] // 2] = "context of channels" in parts
        return jnp.asarray(np.maximum(centre, "context of places" in parts))
    if name.startswith("heads") and ".one." not in name:  # outputs: first the means, then the scales
        return jnp.asarray((np.arange(value.shape[-1]) >= value.shape[-1] // 2) | ("mean" in parts), jnp.float32)
    return 1.0


@functools.cache
def adam(steps: int) -> optax.GradientTransformation:
    """Adam with a learning rate that rises, and falls along a cosine; one object a length, so that it compiles once."""
    schedule = optax.warmup_cosine_decay_schedule(0, LEARNING_RATE, steps // 20, steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))


@nnx.jit
def prior_step(
    prior: ContextPrior, optimizer: nnx.Optimizer, switches: nnx.State, key: Array, y: Array, quality: Array
) -> Array:
    """One gradient step on the rate of latents; returns their bits per pixel, mean over the batch.

    Each latent's rate is divided by sqrt(lambda) so that all qualities weigh alike, as in `rate_distortion`.
    """

    def loss(prior: ContextPrior) -> tuple[Array, Array]:
        _, hyper_bits, bits = prior(key, y, quality)
        rate = (hyper_bits + bits.sum(axis=-1)) / (y.shape[1] * y.shape[2] * BLOCK**2)
        return jnp.mean(rate / jnp.sqrt(lmbda_of(quality))), jnp.mean(rate)

    (_, rate), gradients = nnx.value_and_grad(loss, has_aux=True)(prior)
    optimizer.update(prior, jax.tree.map(jnp.multiply, gradients, switches))
    return rate


def train_prior(
    latents: Sequence[Latent], parts: Sequence[str], steps: int = STEPS, seed: int = 0
) -> tuple[ContextPrior, list[float]]:
    """An entropy model with only these of PARTS, fitted to latents; and its bits per pixel, step by step."""
    std = np.sqrt(np.mean([np.mean(y**2, axis=(0, 1)) for _, y in latents], axis=0)) + 0.02
    prior = ContextPrior(std, WIDTH, nnx.Rngs(seed))
    if "hyperprior" not in parts:
        prior.hyper_log_scale[...] = jnp.full_like(prior.hyper_log_scale[...], 2 * LOG_SCALE_MIN)  # nothing is stored
    parameters = nnx.state(prior, nnx.Param)
    switches = jax.tree.map_with_path(lambda path, value: switch(name_of(path), value, parts), parameters)
    nnx.update(prior, jax.tree.map(jnp.multiply, parameters, switches))
    optimizer = nnx.Optimizer(prior, adam(steps), wrt=nnx.Param)
    key, rates = jax.random.key(seed), []
    for step in tqdm(range(steps), desc=", ".join(parts) or "one scale a channel", leave=False):
        batch = windows(latents, BATCH, WINDOW, np.random.default_rng([seed, step]))
        rates.append(prior_step(prior, optimizer, switches, jax.random.fold_in(key, step), *batch))
    return prior, [float(rate) for rate in rates]


def name_of(path: tuple) -> str:
    """The dotted name of a parameter."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def with_prior(arrays: dict[str, np.ndarray], prior: ContextPrior) -> dict[str, np.ndarray]:
    """The arrays of a weights file with another entropy model, in integers; its tables are yet to be counted."""
    trained = {f"prior.{name}": value for name, value in freezing.named_arrays(prior).items()}
    return arrays | freezing.freeze_prior(trained)


def load_table() -> dict:
    """The committed table: what was trained on, and its rows."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def load_rung(count: int) -> CodecWeights:
    """The committed codec with the entropy model that has the first `count` of PARTS."""
    models = read_arrays(MODELS)
    chosen = {name.partition(".")[2]: value for name, value in models.items() if name.startswith(f"{count}.")}
    return CodecWeights(read_arrays(codec.WEIGHTS) | chosen)


# Encoders and decoders with less


def nearest(residual: np.ndarray, scale: np.ndarray, worth: np.ndarray, weights: CodecWeights) -> np.ndarray:
    """The quantiser that only rounds, in place of `codec.quantise`."""
    return np.clip(np.rint(residual), -SYMBOL_MAX, SYMBOL_MAX) * (scale > 0)


def has_median_rule(parts: Sequence[str]) -> bool:
    """Whether an entropy model is given `differences`: where no context of places predicts what they are."""
    return "context of places" not in parts


def keeping_differences(quantiser: Callable) -> Callable:
    """The quantiser, but for flat channels, which are whole steps already: mean + symbol then rounds to just these."""

    def keeping(residual: np.ndarray, scale: np.ndarray, worth: np.ndarray, weights: CodecWeights) -> np.ndarray:
        symbols = quantiser(residual, scale, worth, weights)
        if len(worth) == decoder.GROUPS[0][1]:  # the group that begins with the flat channels
            symbols[:, :FLAT] = np.ceil(residual[:, :FLAT] - 0.5) * (scale[:, :FLAT] > 0)
        return symbols

    return keeping


def encode_tile(
    y: np.ndarray, quality: int, weights: CodecWeights, parts: Sequence[str], quantiser: Callable = codec.quantise
) -> tuple[Writer, Writer]:
    """The writers of a tile's hyper-latent and latent under an entropy model with these of PARTS."""
    if not has_median_rule(parts):
        return codec.encode_tile(y, quality, weights, quantiser)
    stored = differences(y, quality, weights)
    h_hat = codec.hyper_latent(stored, quality, weights)
    state = decoder.hyper_features(h_hat, quality, weights)[: y.shape[0], : y.shape[1]]
    mean, scale = decoder.predict(state.reshape(-1, state.shape[-1]), 0, weights)
    mean, scale = (a[:, :FLAT].reshape(*y.shape[:2], FLAT) for a in (mean, scale))
    expected = np.floor(mean / 16 + 0.5)
    if ((scale == 0) & (stored[..., :FLAT] != expected)).any():  # what is not stored must not be missed further on
        levels, wanted = np.zeros((y.shape[0] + 1, y.shape[1] + 1, FLAT)), np.rint(y[..., :FLAT])
        for row, column in np.ndindex(*y.shape[:2]):
            guess = median(levels[row + 1, column], levels[row, column + 1], levels[row, column])
            found = np.where(scale[row, column] > 0, wanted[row, column] - guess, expected[row, column])
            stored[row, column, :FLAT], levels[row + 1, column + 1] = found, guess + found
    return codec.encode_tile(stored, quality, weights, keeping_differences(quantiser), h_hat)


def decode(data: bytes, weights: CodecWeights) -> np.ndarray:
    """The image of a file whose flat channels are differences: (height, width, 3) uint8, or (height, width) if grey."""
    header = decoder.read_header(data, weights)
    places = list(decoder.tiles(header))
    contents = decoder.sections(data, 2 * len(places))
    latent = np.empty((-(-header.height // BLOCK), -(-header.width // BLOCK), decoder.CHANNELS), np.int16)
    for place, *pair in zip(places, contents[::2], contents[1::2], strict=True):
        tile, found = latent[place], np.empty((*latent[place].shape[:2], FLAT))
        hyper, reader = (codec.FastReader(section, weights) for section in pair)

        def visit(blocks, channels, mean, scale, tile=tile, found=found, reader=reader) -> np.ndarray:
            symbols = decoder.read(reader, scale)
            tile[*blocks, channels] = 2 * (16 * symbols + mean) - decoder.inward(symbols, scale, weights)
            if channels.start == 0:
                found[*blocks] = np.floor(symbols + mean / 16 + 0.5)[:, :FLAT]
            return symbols

        h_hat = decoder.read(hyper, decoder.hyper_scale(tile.shape[:2], header.quality, weights))
        state = decoder.hyper_features(h_hat, header.quality, weights)[: tile.shape[0], : tile.shape[1]]
        decoder.walk(state, weights, visit)
        tile[..., :FLAT] = 32 * undone(found)
    latent += np.rint(32 * decoder.gain(header.quality, weights) * weights["centre"]).astype(np.int16)
    x_uint8 = decoder.synthesise(latent, header, weights)
    return x_uint8[..., 1] if header.grey else x_uint8


def coder(weights: CodecWeights, parts: Sequence[str], quantiser: Callable = codec.quantise) -> benchmark.Code:
    """Encoder and decoder of a codec whose entropy model has these of PARTS."""
    if not has_median_rule(parts):
        return benchmark.ours(weights, quantiser)

    def search(x_uint8: np.ndarray, place: tuple[slice, slice], quality: int, weights: CodecWeights):
        return encode_tile(codec.analyse(x_uint8, place, quality, weights), quality, weights, parts, quantiser)

    def to_image(data: bytes) -> np.ndarray:
        x_uint8 = decode(data, weights)
        return x_uint8 if x_uint8.ndim == 3 else np.stack([x_uint8] * 3, axis=-1)

    return lambda x_uint8, quality: codec.encode(x_uint8, weights, quality, search=search), to_image


def measure(
    photographs: dict[str, np.ndarray], code: benchmark.Code, qualities: Sequence[int]
) -> dict[str, dict[str, list[float]]]:
    """Size of the file in bytes and PSNR of each photograph at each quality: {"bytes": {name: [...]}, "psnr": ...}."""
    sizes: dict[str, list[float]] = {name: [] for name in photographs}
    psnrs: dict[str, list[float]] = {name: [] for name in photographs}
    encode, decode = code
    for name, x_uint8 in tqdm(photographs.items(), leave=False):
        for quality in qualities:
            data = encode(x_uint8, quality)
            sizes[name].append(len(data))
            psnrs[name].append(round(psnr(x_uint8, decode(data)), 4))
    return {"bytes": sizes, "psnr": psnrs}


def curve(row: dict, photographs: dict[str, np.ndarray]) -> tuple[list[float], list[float]]:
    """Bits per pixel and PSNR of a row of the table, means over the photographs."""
    rates = [
        [bits_per_pixel(size, *photographs[name].shape[:2]) for size in sizes] for name, sizes in row["bytes"].items()
    ]
    return np.mean(rates, axis=0).tolist(), np.mean(list(row["psnr"].values()), axis=0).tolist()


def ablation(folders: list[Path], validation_folder: Path, out: Path, steps: int = STEPS) -> None:
    """Climb the ladder, then take single things away again; write the table as JSON, and print it.

    Args:
      folders: of photographs to train on, beside the bundled training photographs.
      validation_folder: of photographs to measure, beside the bundled validation photographs.
      out: file of the table, with the sizes of all files, so that anybody can encode one again and compare. The entropy
        models fitted to the committed transforms are put beside it, with .safetensors, for `load_rung`.
    """
    photographs = [x for folder in folders for x in read_photographs(folder).values()]
    photographs += load_photographs("train").values()
    validation = read_photographs(validation_folder) | load_photographs("validation")
    committed = read_arrays(codec.WEIGHTS)
    untrained = freezing.freeze(freezing.named_arrays(new_codec(photographs, seed=0)))
    jpeg = measure(validation, benchmark.rival("JPEG"), benchmark.QUALITIES["JPEG"])
    rows: list[dict] = []

    def add(
        name: str,
        arrays: dict,
        quantiser: Callable = codec.quantise,
        against: str | None = None,
        parts: Sequence[str] = PARTS,
    ) -> None:
        """Measure a codec; it is compared with the row before, or with the one that is named."""
        row: dict = {"name": name, "against": against or (rows[-1]["name"] if rows else None)}
        row |= measure(validation, coder(CodecWeights(arrays), parts, quantiser), QUALITIES)
        row["against_JPEG"] = bd_rate(*curve(row, validation), *curve(jpeg, validation))[0]
        base = next((other for other in rows if other["name"] == row["against"]), row)
        row["gain"] = bd_rate(*curve(row, validation), *curve(base, validation))[0]
        print(f"{name:60} {row['gain']:7.2f} % against {row['against']}; {row['against_JPEG']:7.2f} % against JPEG")
        rows.append(row)
        about = {"command": COMMAND, "photographs": len(photographs), "steps": steps, "qualities": QUALITIES}
        out.write_text(json.dumps(about | {"rows": rows}, indent=1))  # what is measured is kept, should the rest fail

    def fit(arrays: dict[str, np.ndarray], parts: Sequence[str]) -> dict[str, np.ndarray]:
        latents = latents_of(photographs, CodecWeights(arrays), range(0, 101, 5))
        if has_median_rule(parts):
            weights = CodecWeights(arrays | {"centre": centre_of(latents, CodecWeights(arrays))})
            latents = [Latent(quality, differences(y, round(100 * quality), weights)) for quality, y in latents]
            arrays = arrays | {"centre": weights["centre"]}
        return with_prior(arrays, train_prior(latents, parts, steps)[0])

    def counted(
        arrays: dict[str, np.ndarray], quantiser: Callable = codec.quantise, parts: Sequence[str] = PARTS
    ) -> dict[str, np.ndarray]:
        arrays = dict(arrays)
        encode = functools.partial(encode_tile, parts=parts)
        freezing.count(arrays, photographs[:: max(1, len(photographs) // COUNTED)], QUALITIES, 2, quantiser, encode)
        return arrays

    fitted = fit(untrained, ())
    add("KLT, one scale a channel, nearest symbols", counted(fitted, nearest, ()), nearest, parts=())
    add("symbols chosen by bits and error", counted(fitted, parts=()), parts=())
    models: dict[str, np.ndarray] = {}
    for count, name in enumerate(["trained transforms", *PARTS]):
        fitted = fit(committed, PARTS[:count])
        ready = counted(fitted, parts=PARTS[:count])
        add(name, ready, parts=PARTS[:count])
        models |= {f"{count}.{key}": value for key, value in ready.items() if value is not committed.get(key)}
    save_file(models, out.with_suffix(".safetensors"), metadata={"command": COMMAND, "licence": "CC BY-SA 4.0"})
    add("all trained together, and for longer", committed)
    whole = rows[-1]["name"]
    add("without tables and points counted", fitted, against=rows[-2]["name"])
    add("without symbols chosen by bits and error", counted(committed, nearest), nearest, against=whole)
    add("without reconstruction points", committed | {"inward": np.zeros((SCALES, 4), np.int16)}, against=whole)
