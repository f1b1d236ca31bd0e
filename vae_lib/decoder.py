"""The reference decoder: bytes of a `.vic` file -> image, in NumPy alone, one file to be read from top to bottom (12).

A file is a header and, for each tile of the image, two sections: the hyper-latent, then the latent. Which table a
symbol is read with is decided by arithmetic of integers, so every machine reads the same symbols. The integers are kept
in float64 arrays, where sums below 2^53 are exact in any order, because that is how NumPy multiplies matrices fast.
Only the synthesis, which turns symbols into pixels, rounds: a machine that rounds differently is off by a grey level,
and still in step.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from safetensors import SafetensorError
from safetensors.numpy import load_file

from vae_lib.entropy_coding import EMPTY, CorruptMessage, from_bytes, pop

MAGIC, VERSION = b"VIC", 1
HEADER = struct.Struct("<3sBBB4sHHI")  # magic, version, 1 if grey, quality, model, height, width, checksum of these
SECTION = struct.Struct("<II")  # length of the content, checksum; the content follows
MAX_PIXELS = 1 << 26
BLOCK = 8  # pixels a side that share a latent
TILE = 1024  # pixels a side; the symbols of a tile can be read without those of any other
HALO = 4  # blocks around a tile that its synthesis looks at

CHANNELS = 3 * BLOCK**2  # of the latent: as many as a block has numbers
GROUPS = ((0, 4, 5), (4, 16, 3), (16, 40, 2), (40, 88, 2), (88, 192, 1))  # channels from, to; passes over the blocks
PASSES = np.array(
    [[0, 4, 2, 4], [4, 3, 4, 3], [2, 4, 1, 4], [4, 3, 4, 3]]
)  # pass of each of 4x4 blocks, coarse to fine
SYMBOL_MAX = 511  # symbols are -511 .. 511
ACTIVATION_MAX = 4095  # activations are 0 .. 4095, in units of 2^-8
MEAN_MAX = 4095  # means are -4095 .. 4095, in units of 2^-4 of a step
SCALES = 49  # one table for each quarter octave of predicted scale; with scale 0 a symbol is 0 and not stored
REACH = 16.0  # grey levels: what an output of 1 of the correcting networks means


class CodecError(ValueError):
    """The bytes are no .vic file, a damaged one, or one of another model; the message is one line."""


class Header(NamedTuple):
    height: int
    width: int
    grey: bool
    quality: int  # 0 .. 100


class Weights:
    """The arrays of a weights file by name, its tables as lists of cumulative counts, and its id of four bytes."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.model = hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).digest()[:4]
        self.tables = arrays["tables"].tolist()  # tables[scale][symbol + SYMBOL_MAX]
        self.arrays = {name: array.astype("f8" if array.dtype.kind == "i" else "f4") for name, array in arrays.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of a weights file; CodecError if there is none."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CodecError(f"{path}: expected the codec's weights, got {error}") from None


class PythonReader:
    """Takes symbols off a section, by the rANS of notebook 01."""

    def __init__(self, section: bytes, weights: Weights):
        self.message, self.tables = from_bytes(section), weights.tables

    def __call__(self, scale: int, count: int) -> list[int]:
        """The next symbols, all of one scale."""
        symbols = []
        for _ in range(count):
            symbol, self.message = pop(self.message, self.tables[scale])
            symbols.append(symbol - SYMBOL_MAX)
        return symbols

    def finish(self) -> None:
        if self.message != EMPTY:
            raise CorruptMessage("expected the section to end with its last symbol, got more")


def decode(data: bytes, weights: Weights, reader: type = PythonReader) -> np.ndarray:
    """The image in a `.vic` file: (height, width, 3) uint8, or (height, width) if it is grey.

    Raises:
      CodecError: what is wrong with the file, or that it needs other weights.
    """
    header = read_header(data, weights)
    x_uint8 = synthesise(decode_latent(data, header, weights, reader), header, weights)
    return x_uint8[..., 1] if header.grey else x_uint8


def read_header(data: bytes, weights: Weights) -> Header:
    """The header, once its checksum and all its fields have been found good."""
    if data[: len(MAGIC)] != MAGIC:
        raise CodecError(f"expected a .vic file, which starts with {MAGIC!r}, got {data[: len(MAGIC)]!r}")
    if len(data) < HEADER.size:
        raise CodecError(f"truncated: expected a header of {HEADER.size} bytes, got a file of {len(data)}")
    _, version, grey, quality, model, height, width, checksum = HEADER.unpack_from(data)
    if version != VERSION:
        raise CodecError(f"expected version {VERSION} of the format, got {version}")
    if zlib.crc32(data[: HEADER.size - 4]) != checksum:
        raise CodecError("damaged: the checksum of the header does not match")
    if grey > 1 or quality > 100 or not 0 < height * width <= MAX_PIXELS:
        raise CodecError(
            f"expected 1 to {MAX_PIXELS:,} pixels and a quality of 0 to 100, got {height} x {width} and {quality}"
        )
    if model != weights.model:
        raise CodecError(f"expected a file made with model {weights.model.hex()}, got one made with {model.hex()}")
    return Header(height, width, bool(grey), quality)


def sections(data: bytes, count: int) -> list[bytes]:
    """The contents of all sections. Each checksum goes on from the one before, so none can be swapped or dropped."""
    place, checksum, contents = HEADER.size, zlib.crc32(data[: HEADER.size]), []
    for number in range(1, count + 1):
        if len(data) < place + SECTION.size:
            raise CodecError(f"truncated: expected {count} sections, the file ends in section {number}")
        length, expected = SECTION.unpack_from(data, place)
        content = data[place + SECTION.size : place + SECTION.size + length]
        if len(content) < length:
            raise CodecError(f"truncated: expected {length} bytes in section {number} of {count}, got {len(content)}")
        checksum = zlib.crc32(content, checksum)
        if checksum != expected:
            raise CodecError(f"damaged: the checksum of section {number} of {count} does not match")
        if length < 8 or length % 4 or not any(content[:4]):
            raise CodecError(f"damaged: section {number} of {count} does not hold whole words that start with a state")
        contents.append(content)
        place += SECTION.size + length
    if place != len(data):
        raise CodecError(f"expected the file to end after {place} bytes, got {len(data) - place} more")
    return contents


def tiles(header: Header) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of blocks of each tile, in the order of the file."""
    rows, columns, step = -(-header.height // BLOCK), -(-header.width // BLOCK), TILE // BLOCK
    for top in range(0, rows, step):
        for left in range(0, columns, step):
            yield slice(top, min(top + step, rows)), slice(left, min(left + step, columns))


def decode_latent(data: bytes, header: Header, weights: Weights, reader: type = PythonReader) -> np.ndarray:
    """The latent of the whole image, (rows, columns, 192) int16, in units of 2^-5 of a step."""
    places = list(tiles(header))
    contents = sections(data, 2 * len(places))
    latent = np.empty((-(-header.height // BLOCK), -(-header.width // BLOCK), CHANNELS), np.int16)
    try:
        for place, *pair in zip(places, contents[::2], contents[1::2], strict=True):
            readers = [reader(section, weights) for section in pair]
            latent[place] = decode_tile(latent[place].shape[:2], header.quality, readers, weights)
    except CorruptMessage as error:
        raise CodecError(f"damaged: {error}") from None
    return latent


def decode_tile(size: tuple[int, int], quality: int, readers: list, weights: Weights) -> np.ndarray:
    """The latent of a tile of size blocks, from the readers of its hyper-latent and its latent."""
    latent = np.empty((*size, CHANNELS), np.int16)

    def visit(blocks: tuple, channels: slice, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
        symbols = read(readers[1], scale)
        latent[*blocks, channels] = 2 * (16 * symbols + mean) - inward(symbols, scale, weights)
        return symbols

    h_hat = read(readers[0], hyper_scale(size, quality, weights))
    walk(hyper_features(h_hat, quality, weights)[: size[0], : size[1]], weights, visit)
    for reader in readers:
        reader.finish()
    return latent


def read(reader: Callable, scale: np.ndarray) -> np.ndarray:
    """A symbol for each of the scales, of any shape: all those of scale 1 first, then those of scale 2, and so on."""
    symbols = np.zeros(scale.size)
    order, counts = np.argsort(scale, axis=None, kind="stable"), np.bincount(scale.ravel(), minlength=SCALES)
    for number, end in enumerate(np.cumsum(counts)[1:], start=1):
        if counts[number]:
            symbols[order[end - counts[number] : end]] = reader(number, int(counts[number]))
    return symbols.reshape(scale.shape)


def inward(symbols: np.ndarray, scale: np.ndarray, weights: Weights) -> np.ndarray:
    """How much nearer to the mean than the symbol says the latent lies on average, in units of 2^-5 of a step."""
    return np.sign(symbols) * weights["inward"][scale, np.minimum(np.abs(symbols), 3).astype(int)]


def walk(state: np.ndarray, weights: Weights, visit: Callable) -> None:
    """Go through the latent of a tile in the order of the file: predict, let `visit` find the symbols, learn from them.

    Encoder and decoder both walk here, one visiting to write, the other to read: so they cannot disagree.

    Args:
      state: (rows, columns, width) what is known of each block; at first, what the hyper-latent says.
      visit: (blocks, channels, mean, scale) -> symbols, of the shape of mean and scale, (blocks, channels).
    """
    for number, (low, high, passes) in enumerate(GROUPS):
        pass_of_block = pass_map(state.shape[:2], passes)
        for turn in range(passes):
            blocks = np.nonzero(pass_of_block == turn)
            mean, scale = predict(state[blocks], number, weights)
            found = np.zeros((*state.shape[:2], high - low))
            found[blocks] = 16 * visit(blocks, slice(low, high), mean, scale) + mean
            if number + 1 < len(GROUPS):
                state = state + convolve(found, weights[f"near.{number}.kernel"])


def pass_map(size: tuple[int, ...], passes: int) -> np.ndarray:
    """In which of the passes each block is decoded, (rows, columns): with fewer than five, the first ones are one."""
    row, column = np.indices(size) % 4
    return np.maximum(PASSES[row, column] - (5 - passes), 0)


def predict(state: np.ndarray, group: int, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
    """Mean, in units of 2^-4 of a step, and scale, the number of a table, of a group's channels: (n, channels) each."""
    h = activate(state, 8) @ weights[f"heads.{group}.one.kernel"] + weights[f"heads.{group}.one.bias"]
    out = activate(h, 12) @ weights[f"heads.{group}.two.kernel"] + weights[f"heads.{group}.two.bias"]
    mean, scale = np.split(out + shift(state @ weights[f"heads.{group}.straight.kernel"], 8), 2, axis=1)
    return np.clip(shift(mean, 16), -MEAN_MAX, MEAN_MAX), np.clip(shift(scale, 20), 0, SCALES - 1).astype(int)


def hyper_scale(size: tuple[int, int], quality: int, weights: Weights) -> np.ndarray:
    """The scale of each hyper-latent, which depends on channel and quality alone: (rows / 4, columns / 4, channels)."""
    scale = np.clip(shift(weights["hyper_scale.base"] + quality * weights["hyper_scale.slope"], 16), 0, SCALES - 1)
    return np.broadcast_to(scale.astype(int), (-(-size[0] // 4), -(-size[1] // 4), len(scale)))


def hyper_features(h_hat: np.ndarray, quality: int, weights: Weights) -> np.ndarray:
    """What the hyper-latent says of each block, in units of 2^-16: a quarter of the rows and columns in, all out."""
    h = activate(convolve(h_hat, weights["hyper.one.kernel"]) + weights["hyper.one.bias"], 8)
    h = convolve(depth_to_space(h, 2), weights["hyper.two.kernel"]) + weights["hyper.two.bias"]
    return depth_to_space(shift(h, 4), 2) + quality * weights["quality"]


def activate(x: np.ndarray, bits: int) -> np.ndarray:
    """The non-linearity of the integer networks: a shift and a clip."""
    return np.clip(shift(x, bits), 0, ACTIVATION_MAX)


def shift(x: np.ndarray, bits: int) -> np.ndarray:
    """x / 2^bits rounded down: exact, since x holds integers below 2^53."""
    return np.floor(x * 0.5**bits)


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """Convolution of (rows, columns, channels) with (n, n, channels, out), zeros outside; every stride-th place."""
    size = kernel.shape[0]
    x = np.pad(x, (((size - 1) // 2, (size - 1) // 2), ((size - 1) // 2, (size - 1) // 2), (0, 0)))
    windows = sliding_window_view(x, (size, size), (0, 1))[::stride, ::stride].transpose(0, 1, 3, 4, 2)
    rows, columns = windows.shape[:2]
    return (windows.reshape(rows * columns, -1) @ kernel.reshape(-1, kernel.shape[-1])).reshape(rows, columns, -1)


def depth_to_space(x: np.ndarray, factor: int) -> np.ndarray:
    """Channels into places, as in notebook 06: (rows, columns, factor^2 c) -> (factor rows, factor columns, c)."""
    rows, columns, _ = x.shape
    x = x.reshape(rows, columns, factor, factor, -1).swapaxes(1, 2)
    return x.reshape(factor * rows, factor * columns, -1)


def synthesise(latent: np.ndarray, header: Header, weights: Weights) -> np.ndarray:
    """The image, (height, width, 3) uint8. A tile is computed with the blocks around it, so that no seam shows."""
    x_uint8 = np.empty((header.height, header.width, 3), np.uint8)
    steps = (32 * gain(header.quality, weights)).astype(np.float32)
    for rows, columns in tiles(header):
        top, left = max(rows.start - HALO, 0), max(columns.start - HALO, 0)
        z_hat = latent[top : rows.stop + HALO, left : columns.stop + HALO] / steps
        z_hat += REACH * correct(z_hat / weights["synthesis.spread"], header.quality, "synthesis", weights)
        x = depth_to_space(z_hat[rows.start - top :, columns.start - left :] @ weights["synthesis.basis"], BLOCK)
        place = x_uint8[BLOCK * rows.start : BLOCK * rows.stop, BLOCK * columns.start : BLOCK * columns.stop]
        place[:] = np.clip(np.rint(x[: place.shape[0], : place.shape[1]] + 128), 0, 255)
    return x_uint8


def gain(quality: int, weights: Weights) -> np.ndarray:
    """Steps per grey level, (192,): the logarithms are linear in the quality between those that were learned."""
    learned = weights["gains.log_gain"]  # (qualities, 192)
    qualities = np.linspace(0, 100, len(learned))
    return np.exp([np.interp(quality, qualities, log_gain) for log_gain in learned.T])


def correct(h: np.ndarray, quality: int, name: str, weights: Weights) -> np.ndarray:
    """What a network adds to the linear transform of that name (`transforms.Correction`)."""

    def layer(h: np.ndarray, part: str) -> np.ndarray:
        return convolve(h, weights[f"{name}.correction.{part}.kernel"]) + weights[f"{name}.correction.{part}.bias"]

    h = leaky(layer(h, "first") + np.float32(quality / 100) * weights[f"{name}.correction.quality.kernel"][0])
    block = 0
    while f"{name}.correction.blocks.{block}.near.kernel" in weights.arrays:
        h = h + layer(leaky(layer(h, f"blocks.{block}.near")), f"blocks.{block}.mix")
        block += 1
    return layer(leaky(h), "last")


def leaky(h: np.ndarray) -> np.ndarray:
    """Leaky rectifier, slope 1/8 below zero."""
    return np.maximum(h, h / 8)
