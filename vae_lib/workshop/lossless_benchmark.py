"""Our lossless files beside the others', of the same images, in bytes and seconds (notebook 09)."""

import functools
import hashlib
import itertools
import lzma
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter

import jax
import numpy as np

from vae_lib.bits_back import Lanes
from vae_lib.entropy_coding import PRECISION, STATE_MIN
from vae_lib.images import decode_image, encode_image, load_fashion_mnist
from vae_lib.metrics import machine
from vae_lib.neighbours import context, contexts, neighbour_tables
from vae_lib.training import evaluate
from vae_lib.workshop import bits_back_file, integer_vae
from vae_lib.workshop.fashion_vaes import load_fashion_vae

DRAWS = 16  # of z for each image, in an ELBO with its standard error
SAMPLE = 100  # images, the first of the test set, of which a test makes every file again
# Each format at its smallest: of several settings the one that gives the fewest bytes.
FORMATS: dict[str, tuple[str, list[dict]]] = {
    "PNG": ("PNG", [{"optimize": True}]),
    "WebP": ("WebP", [{"lossless": True, "quality": 100, "method": 6}]),
    "JPEG XL": ("JXL", [{"lossless": True, "effort": effort} for effort in (5, 10)]),
}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def lossless_report() -> dict:
    """What notebook 09 says about the whole official test set."""
    x_uint8, _ = load_fashion_mnist("test")
    posteriors = {"encoder": 0, "refined": integer_vae.STEPS}
    return {
        "command": "python -m vae_lib bits-back report data/results/bits_back.json",
        "data": f"Fashion-MNIST test images, SHA-256: {hashlib.sha256(x_uint8.tobytes()).hexdigest()}",
        "machine": machine(),
        "images": len(x_uint8),
        "model": integer_vae.integer_vae().id.hex(),
        "negative_elbo": {
            "float model": of_draws(float_negative_elbos(x_uint8)),
            **{name: of_draws(integer_negative_elbos(x_uint8, steps)) for name, steps in posteriors.items()},
        },
        "ours": {name: our_file(x_uint8, steps) for name, steps in posteriors.items()},
        "ours, apart": measured_at_once(x_uint8, our_files, our_images),
        "others": others(x_uint8),
        "sample": sample(),
    }


def of_draws(bits_per_dim: list[float]) -> dict[str, float]:
    """Mean over draws of z for the whole set, and how far the draws let it be wrong."""
    return {"bits_per_dim": float(np.mean(bits_per_dim)), "error": float(np.std(bits_per_dim, ddof=1) / DRAWS**0.5)}


def float_negative_elbos(x_uint8: np.ndarray) -> list[float]:
    """Negative ELBO of the VAE as it was trained, in bits per dimension, one for each draw of all latents."""
    model = load_fashion_vae()
    return [sum(evaluate(model, jax.random.key(seed), x_uint8)) for seed in range(DRAWS)]


def integer_negative_elbos(x_uint8: np.ndarray, steps: int) -> list[float]:
    """The same under the codec's integer tables, its posterior refined by so many steps."""
    model, x = integer_vae.integer_vae(), x_uint8.reshape(len(x_uint8), -1).astype(np.int64)
    rng, totals = np.random.default_rng(0), np.zeros(DRAWS)
    for i in range(0, len(x), integer_vae.BATCH_SIZE):
        batch = slice(i, i + integer_vae.BATCH_SIZE)
        q = integer_vae.posterior(model, x_uint8[batch], steps)
        p = integer_vae.prior(len(q.rows))
        for draw in range(DRAWS):
            z = draw_latents(rng, q)
            pixels = bits_back_file.bits(integer_vae.likelihood(model, z).intervals(x[batch]))
            latents = bits_back_file.bits(p.intervals(z)) - bits_back_file.bits(q.intervals(z))
            totals[draw] += pixels.sum() + latents.sum()
    return list(totals / x.size)


def draw_latents(rng: np.random.Generator, q: integer_vae.Gaussians) -> np.ndarray:
    """A sample of each latent (n, latent_dim), in steps: what a pop from random bits gives."""
    slots = rng.integers(0, 1 << PRECISION, q.rows.shape)
    z = [(q.tables[rows] <= slot[:, None]).sum(axis=1) - 1 for rows, slot in zip(q.rows, slots, strict=True)]
    return np.array(z) + q.first


class Clock:
    """Seconds on the wall since it was made, and seconds of processor time, all threads and subprocesses together."""

    def __init__(self) -> None:
        self.wall, self.processor = perf_counter(), sum(os.times()[:4])

    def read(self) -> dict[str, float]:
        processor = sum(os.times()[:4]) - self.processor
        return {"seconds": round(perf_counter() - self.wall, 2), "processor_seconds": round(processor, 2)}


def our_file(x_uint8: np.ndarray, steps: int) -> dict:
    """Encode here; decode in fresh processes through the command line, with one thread and with two; compare."""
    clock = Clock()
    data, ledger = bits_back_file.encode(x_uint8, steps)
    figures = {
        "bytes": len(data),
        "header_bytes": ledger.header_bytes,
        "initial_bits": ledger.initial_bits,
        "net_bits": ledger.net_bits,
        "negative_elbo_bits": ledger.negative_elbo_bits,
        "pixel_bits": float(ledger.bits.pixels.sum()),
        "prior_bits": float(ledger.bits.prior.sum()),
        "posterior_bits": float(ledger.bits.posterior.sum()),
        "sha256": hashlib.sha256(data).hexdigest(),
        "encode": clock.read(),
    }
    for name, threads in (("decode", "1"), ("decode with two threads", "2")):
        with tempfile.TemporaryDirectory() as folder:
            file, out = Path(folder, "test.bb"), Path(folder, "test.npy")
            file.write_bytes(data)
            clock = Clock()
            command = [sys.executable, "-m", "vae_lib", "bits-back", "decode", str(file), str(out)]
            subprocess.run(command, check=True, capture_output=True, env=os.environ | dict.fromkeys(THREADS, threads))
            figures[name] = clock.read()
            if not np.array_equal(np.load(out), x_uint8):
                raise ArithmeticError(f"expected the images back, got others ({name})")
    return figures


def our_files(x_uint8: np.ndarray) -> list[bytes]:
    """Each image in a file of its own, as `bits_back_file.encode` makes it; many at a time, which changes no byte."""
    model, files = integer_vae.integer_vae(), []
    for batch in np.split(x_uint8, range(integer_vae.BATCH_SIZE, len(x_uint8), integer_vae.BATCH_SIZE)):
        stack = bits_back_file.seeded_lanes([0] * len(batch))
        bits_back_file.push_images(stack, model, batch, integer_vae.STEPS, integer_vae.BATCH_SIZE)
        messages = [stack.to_bytes(lane) for lane in range(len(batch))]
        files += [bits_back_file.file_of(x[None], integer_vae.STEPS, [m]) for x, m in zip(batch, messages, strict=True)]
    return files


def our_images(files: list[bytes]) -> np.ndarray:
    """The images of files that hold one each."""
    model, found = integer_vae.integer_vae(), []
    for batch in (files[i : i + integer_vae.BATCH_SIZE] for i in range(0, len(files), integer_vae.BATCH_SIZE)):
        stack = Lanes.from_bytes([bits_back_file.parse(data)[-1][0] for data in batch])
        found.append(bits_back_file.pop_images(stack, model, len(batch), integer_vae.STEPS, integer_vae.BATCH_SIZE))
    return np.concatenate(found)


def others(x_uint8: np.ndarray) -> dict:
    """For each format: each image a file of its own ("apart"), and all as one mosaic or stream ("together")."""
    side = math.isqrt(len(x_uint8))
    mosaic = x_uint8.reshape(side, side, 28, 28).swapaxes(1, 2).reshape(1, side * 28, side * 28, 1)
    found: dict[str, dict] = {}
    for name in FORMATS:
        for how, images in (("apart", x_uint8), ("together", mosaic)):
            found.setdefault(name, {})[how] = measured(images, functools.partial(to_picture, name), from_picture)
    for how, images in (("apart", x_uint8), ("together", x_uint8[None])):
        found.setdefault("xz", {})[how] = measured(images, to_xz, from_xz)
    tables = neighbour_tables(load_fashion_mnist("train")[0])
    to_file, from_file = functools.partial(encode_neighbours, tables), functools.partial(decode_neighbours, tables)
    found["two neighbours"] = {"together": measured(x_uint8[None], to_file, from_file)}
    return found


def measured(
    images: np.ndarray, to_file: Callable[[np.ndarray], bytes], from_file: Callable[[bytes], np.ndarray]
) -> dict:
    """Bytes of a file for each image, time both ways; the images must come back."""
    return measured_at_once(images, lambda images: list(map(to_file, images)), lambda files: map(from_file, files))


def measured_at_once(
    images: np.ndarray,
    to_files: Callable[[np.ndarray], list[bytes]],
    from_files: Callable[[list[bytes]], Iterable[np.ndarray]],
) -> dict:
    """The same of functions that make, and read, all files in one call."""
    clock = Clock()
    files = to_files(images)
    encode, clock = clock.read(), Clock()
    decoded = list(from_files(files))
    decode = clock.read()
    if not all(np.array_equal(image.ravel(), back.ravel()) for image, back in zip(images, decoded, strict=True)):
        raise ArithmeticError("expected the images back, got others")
    return {"bytes": sum(map(len, files)), "encode": encode, "decode": decode}


def to_picture(name: str, x_uint8: np.ndarray) -> bytes:
    format, settings = FORMATS[name]
    return min((encode_image(x_uint8, format, **options) for options in settings), key=len)


def from_picture(data: bytes) -> np.ndarray:
    return decode_image(data)[..., :1]


def to_xz(x_uint8: np.ndarray) -> bytes:
    preset = 9 if x_uint8.size > 1 << 20 else 6  # 9 adds a dictionary of 64 MB, which takes its time to clear
    return lzma.compress(x_uint8.tobytes(), preset=preset)


def from_xz(data: bytes) -> np.ndarray:
    return np.frombuffer(lzma.decompress(data), np.uint8)


# The counting model of notebook 01, with as many lanes as our files have


def encode_neighbours(tables: np.ndarray, x_uint8: np.ndarray) -> bytes:
    lanes = min(bits_back_file.LANES, len(x_uint8))
    stack = Lanes([STATE_MIN] * lanes, [np.zeros(0)] * lanes)
    classes, x = contexts(x_uint8).reshape(len(x_uint8), -1), x_uint8.reshape(len(x_uint8), -1).astype(np.int64)
    starts = tables[classes, x]
    counts = tables[classes, x + 1] - starts
    for images in bits_back_file.rounds(len(x), lanes)[::-1]:
        bits_back_file.push_all(stack, (starts[images], counts[images]))
    messages = [stack.to_bytes(lane) for lane in range(lanes)]
    return np.array([len(x), lanes, *map(len, messages)], "<u4").tobytes() + b"".join(messages)


def decode_neighbours(tables: np.ndarray, data: bytes) -> np.ndarray:
    count, lanes = np.frombuffer(data, "<u4", 2).tolist()
    stops = itertools.accumulate(np.frombuffer(data, "<u4", lanes, 8).tolist(), initial=8 + 4 * lanes)
    stack = Lanes.from_bytes([data[start:stop] for start, stop in itertools.pairwise(stops)])
    padded = np.zeros((count, 29, 29), np.int64)  # row 0 and column 0 stay black
    for images in bits_back_file.rounds(count, lanes):
        for row, column in itertools.product(range(1, 29), range(1, 29)):
            classes = context(padded[images, row, column - 1], padded[images, row - 1, column])
            of_class = functools.partial(cumulative, tables, classes)
            padded[images, row, column] = stack.pop(of_class, len(classes), digits=2)
    return padded[:, 1:, 1:].astype(np.uint8)


def cumulative(tables: np.ndarray, classes: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Cumulative counts (n, k) of levels (n, k), with the table of each pixel's class (n,)."""
    return tables[classes[:, None], np.minimum(levels, 256)]


def sample() -> dict:
    """The first images of the test set: our file and the sizes of the others', few enough for a test to repeat."""
    x_uint8 = load_fashion_mnist("test")[0][:SAMPLE]
    data, _ = bits_back_file.encode(x_uint8)
    apart = sum(map(len, our_files(x_uint8)))
    sizes = {name: {how: size["bytes"] for how, size in ways.items()} for name, ways in others(x_uint8).items()}
    digest = hashlib.sha256(data).hexdigest()
    return {"images": SAMPLE, "bytes": len(data), "sha256": digest, "bytes apart": apart, "others": sizes}
