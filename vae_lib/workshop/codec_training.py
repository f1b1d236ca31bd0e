"""How the codec's weights were made: data, schedule, and the command that repeats it (notebooks 11 and 12).

`python -m vae_lib train codec --photos FOLDER --validation FOLDER --out codec.safetensors` runs `train_codec`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from PIL import Image
from safetensors.numpy import save_file

from vae_lib import benchmark, codec
from vae_lib.decoder import BLOCK, CHANNELS
from vae_lib.images import load_image, load_photographs, patches
from vae_lib.metrics import bd_rate
from vae_lib.rate_distortion import LossyCodec, lmbda_of, rate_and_distortion, train_step
from vae_lib.training import Checkpoint, run
from vae_lib.transforms import klt
from vae_lib.workshop import freezing

STEPS = 50_000
LEARNING_RATE, BASIS_LEARNING_RATE, WARM_UP = 1e-3, 5e-5, 500
DECAY = 0.7  # of the run: from here on the learning rate falls to 0, on larger crops
EARLY_CROPS, LATE_CROPS = (4, 128), (2, 256)  # how many, pixels a side
QUALITIES = np.linspace(0, 1, 5)  # watched on the validation photographs
WATCHED = 4  # during the run, every fourth of the validation photographs
RIVALS = ("JPEG", "WebP")  # compared with at the end
EVERY = 1000  # steps from one record, and checkpoint, to the next
COUNTED, COUNTED_QUALITIES, COUNTING_ROUNDS = 70, range(0, 101, 20), 3  # photographs, qualities, rounds of the tables


def read_photographs(folder: Path) -> dict[str, np.ndarray]:
    """All pictures of a folder by name, (height, width, 3) uint8; ValueError if there is none."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".png", ".webp", ".jpg", ".jpeg"))
    if not paths:
        raise ValueError(f"expected photographs (.png, .webp, .jpg) in {folder}, got none")
    return {path.name: load_image(path) for path in paths}


def with_halves(photographs: list[np.ndarray], smallest: int) -> list[np.ndarray]:
    """The photographs, and each of them at half its size unless that is smaller than `smallest` pixels a side."""
    halves = [np.asarray(Image.fromarray(x).reduce(2)) for x in photographs if min(x.shape[:2]) >= 2 * smallest]
    return photographs + halves


def crops(photographs: list[np.ndarray], count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Random windows, every pixel as likely as another, at random mirrored and turned: (count, size, size, 3) uint8."""
    area = np.array([x.shape[0] * x.shape[1] for x in photographs])
    batch = np.empty((count, size, size, 3), np.uint8)
    for window, which in zip(batch, rng.choice(len(area), count, p=area / area.sum()), strict=True):
        x = photographs[which]
        top, left = rng.integers(x.shape[0] - size + 1), rng.integers(x.shape[1] - size + 1)
        x = x[top : top + size, left : left + size]
        x = x[:, ::-1] if rng.random() < 0.5 else x
        window[:] = x.swapaxes(0, 1) if rng.random() < 0.5 else x
    return batch


def new_codec(photographs: list[np.ndarray], seed: int) -> LossyCodec:
    """The codec before training: its transforms are the KLT of the photographs."""
    blocks = np.concatenate([patches(x, BLOCK)[::4].reshape(-1, CHANNELS) for x in photographs])
    return LossyCodec(*klt(blocks.astype(np.float32) - 128), nnx.Rngs(seed))


def optimizer_for(model: LossyCodec, steps: int) -> nnx.Optimizer:
    """Adam; the bases, which are right from the start, move more slowly than the rest."""
    decay = steps - int(DECAY * steps)
    parts = [optax.linear_schedule(0, 1, WARM_UP), optax.constant_schedule(1), optax.linear_schedule(1, 0, decay)]
    schedule = optax.join_schedules(parts, [WARM_UP, steps - decay])

    def scale(updates, parameters):
        def by_name(path, update):
            return update * -(BASIS_LEARNING_RATE if "basis" in jax.tree_util.keystr(path) else LEARNING_RATE)

        return jax.tree.map_with_path(by_name, updates)

    adam = [
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(),
        optax.stateless(scale),
        optax.scale_by_schedule(schedule),
    ]
    return nnx.Optimizer(model, optax.chain(*adam), wrt=nnx.Param)


def fit_codec(
    model: LossyCodec,
    photographs: list[np.ndarray],
    validation: list[np.ndarray],
    steps: int,
    seed: int,
    every: int,
    checkpoint: Path,
) -> list[dict]:
    """Train; the same command goes on from the checkpoint. Returns the records: loss, and what `watch` measures."""
    optimizer = optimizer_for(model, steps)
    photographs = with_halves(photographs, LATE_CROPS[1])
    key = jax.random.key(seed)

    def take_steps(start: int) -> Iterator[Array]:
        for step in range(start, steps):
            batch = crops(
                photographs, *(EARLY_CROPS if step < DECAY * steps else LATE_CROPS), np.random.default_rng([seed, step])
            )
            yield train_step(model, optimizer, jax.random.fold_in(key, step), jnp.asarray(batch))

    def measure(loss: float) -> dict:
        return {"loss": loss} | watch(model, validation)

    return run(
        Checkpoint(model, optimizer),
        take_steps,
        measure,
        "loss {:.3f}".format,
        steps=steps,
        every=every,
        checkpoint=checkpoint,
    )


@nnx.jit
def validation_terms(model: LossyCodec, x_uint8: Array) -> tuple[Array, Array, Array]:
    """Rates and distortion of one photograph (height, width, 3) at each of QUALITIES, latents rounded."""
    batch = jnp.broadcast_to(x_uint8, (len(QUALITIES), *x_uint8.shape))
    return rate_and_distortion(model, jax.random.key(0), batch, jnp.asarray(QUALITIES), noisy=False)


def watch(model: LossyCodec, photographs: list[np.ndarray]) -> dict:
    """Means over photographs (cut to multiples of 32): validation loss, bits per pixel and PSNR at each quality."""
    cut = [x[: x.shape[0] // 32 * 32, : x.shape[1] // 32 * 32] for x in photographs]
    hyper_rate, rate, distortion = np.mean([validation_terms(model, jnp.asarray(x)) for x in cut], axis=0)
    loss = (hyper_rate + rate + lmbda_of(QUALITIES) * distortion) / np.sqrt(lmbda_of(QUALITIES))
    psnr = 10 * np.log10(255**2 / distortion)
    numbers = {"hyper_rate": hyper_rate, "rate": hyper_rate + rate, "psnr": psnr}
    return {"validation_loss": float(loss.mean())} | {
        name: np.round(value, 4).tolist() for name, value in numbers.items()
    }


def train_codec(
    folders: list[Path], validation_folder: Path, out: Path, steps: int | None = None, seed: int = 0
) -> None:
    """Train, freeze, count tables, measure the validation photographs in real bytes; write weights, log and figure.

    Args:
      folders: of photographs to train on, beside the bundled training photographs.
      validation_folder: of photographs to watch and to choose by.
      out: weights file; the log and the figure get its name, with .json and .png.
    """
    steps = steps or STEPS
    own = [x for folder in folders for x in read_photographs(folder).values()]
    photographs = own + list(load_photographs("train").values())
    validation = list(read_photographs(validation_folder).values())
    model = new_codec(photographs, seed)
    checkpoint = out.with_name(out.name + ".checkpoint")
    records = fit_codec(model, photographs, validation[::WATCHED], steps, seed, EVERY, checkpoint)
    arrays = freezing.freeze(freezing.named_arrays(model))
    freezing.count(arrays, photographs[:: max(1, len(photographs) // COUNTED)], COUNTED_QUALITIES, COUNTING_ROUNDS)
    codes = {name: benchmark.rival(name) for name in RIVALS} | {"ours": benchmark.ours(codec.CodecWeights(arrays))}
    curves = {name: benchmark.sweep(validation, code, benchmark.QUALITIES[name]) for name, code in codes.items()}
    gains = {name: bd_rate(*curves["ours"], *curves[name])[0] for name in RIVALS}
    about = {
        "command": f"python -m vae_lib train codec --photos {' '.join(f.name for f in folders)} "
        f"--validation {validation_folder.name} --out {out.name} --steps {steps} --seed {seed}",
        "photographs": f"{len(own)} and the {len(photographs) - len(own)} bundled; {len(validation)} for validation",
        "steps": str(steps),
        "licence": "CC BY-SA 4.0",
    } | {f"validation_bd_rate_against_{name}": f"{gain:.2f} %" for name, gain in gains.items()}
    save_file(arrays, out, metadata=about)
    log = about | {"records": records, "validation_curves": curves}
    out.with_suffix(".json").write_text(json.dumps(log, indent=1))
    draw_report(records, curves, out.with_suffix(".png"))
    print("\n".join(f"{name}: {value}" for name, value in about.items()))


def draw_report(records: list[dict], curves: dict[str, tuple[list[float], list[float]]], path: Path) -> None:
    """The run in a picture: validation loss over the steps, and the curve of rate and distortion that it ended with."""
    import matplotlib.pyplot as plt

    from vae_lib.plotting import COLOURS, MARKERS, rate_distortion_axes, use_course_style

    use_course_style()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
    left.plot([r["step"] for r in records], [r["validation_loss"] for r in records], color=COLOURS["ours"])
    left.set(title="Validation photographs during training", xlabel="step", ylabel="(R + λD) / √λ, mean over qualities")
    for name, (rates, psnrs) in curves.items():
        right.plot(rates, psnrs, color=COLOURS[name], marker=MARKERS[name], label=name)
    rate_distortion_axes(right, "Validation photographs, real bytes").legend()
    figure.savefig(path)
    plt.close(figure)
