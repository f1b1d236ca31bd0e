"""The codec: image -> bytes of a `.vic` file -> image, and what the bytes were spent on (built in notebook 12).

The encoder walks through the latent exactly as the decoder does, quantises what it finds against what is predicted, and
weighs each bit against the error that it saves. Neither side needs JAX. constriction does the entropy coding: faster
than `decoder.PythonReader`, and to the same bytes.
"""

import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import constriction
import numpy as np
from tqdm import tqdm

from vae_lib import decoder
from vae_lib.decoder import (
    BLOCK,
    GROUPS,
    HALO,
    HEADER,
    MAGIC,
    MAX_PIXELS,
    REACH,
    SCALES,
    SECTION,
    SYMBOL_MAX,
    VERSION,
    CodecError,
    Header,
    Weights,
    inward,
    read_header,
)
from vae_lib.entropy_coding import PRECISION, CorruptMessage
from vae_lib.images import DATA_FOLDER

MAX_BYTES_PER_BLOCK = 768  # of any file: a symbol costs at most 24 bits, and a block has 192 and at most 32 more
WEIGHTS = DATA_FOLDER / "models" / "codec.safetensors"
LMBDA_LOW, LMBDA_HIGH = 0.0007, 0.35  # of quality 0 and quality 100


class CodecWeights(Weights):
    """Weights with what only the fast path needs: the tables as constriction takes them, and what each symbol costs."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        super().__init__(arrays)
        counts = np.diff(self.tables)
        self.models = [
            constriction.stream.model.Categorical((row - 1).astype(np.float32), perfect=False) for row in counts
        ]
        self.bits = (PRECISION - np.log2(counts[:, SYMBOL_MAX:])).astype(np.float32)  # (scales, size of a symbol)


def load_weights(path: str | Path = WEIGHTS) -> CodecWeights:
    """The committed weights, or those of another file; CodecError if there are none."""
    return CodecWeights(decoder.read_arrays(path))


class FastReader:
    """`decoder.PythonReader` in Rust."""

    def __init__(self, section: bytes, weights: CodecWeights):
        self.coder = constriction.stream.stack.AnsCoder(np.frombuffer(section, "<u4")[::-1].astype(np.uint32))
        self.models = weights.models

    def __call__(self, scale: int, count: int) -> np.ndarray:
        symbols = self.coder.decode(self.models[scale], count) - SYMBOL_MAX
        if self.coder.num_words() < 2:  # the state fell below 2^32, and there was no word left to raise it
            raise CorruptMessage("the section ended before its last symbol")
        return symbols

    def finish(self) -> None:
        if self.coder.get_compressed().tolist() != [0, 1]:  # the words of `entropy_coding.EMPTY`
            raise CorruptMessage("expected the section to end with its last symbol, got more")


class Writer:
    """Takes symbols in the order in which the decoder will read them; their bits are counted group by group."""

    def __init__(self, weights: CodecWeights):
        self.weights = weights
        self.runs: list[tuple[int, np.ndarray]] = []
        self.bits: list[float] = []

    def __call__(self, symbols: np.ndarray, scale: np.ndarray) -> None:
        """Append symbols of those scales, in the order of `decoder.read`."""
        order, counts = np.argsort(scale, axis=None, kind="stable"), np.bincount(scale.ravel(), minlength=SCALES)
        symbols = symbols.ravel()[order].astype(np.int32)
        self.bits.append(0.0)
        for number, end in enumerate(np.cumsum(counts)[1:], start=1):
            if counts[number]:
                run = symbols[end - counts[number] : end]
                self.runs.append((number, run))
                self.bits[-1] += float(self.weights.bits[number, np.abs(run)].sum())

    def section(self) -> bytes:
        """The bytes: written backwards, since ANS is a stack."""
        coder = constriction.stream.stack.AnsCoder(np.array([0, 1], np.uint32))
        for scale, run in reversed(self.runs):
            coder.encode_reverse(run + SYMBOL_MAX, self.weights.models[scale])
        return coder.get_compressed()[::-1].astype("<u4").tobytes()


def lmbda_of(quality: float) -> float:
    """Lambda for a quality from 0 to 100, in bits per pixel per squared grey level."""
    return LMBDA_LOW * (LMBDA_HIGH / LMBDA_LOW) ** (quality / 100)


def encode(
    x_uint8: np.ndarray,
    weights: CodecWeights,
    quality: int = 50,
    quantiser: Callable | None = None,
    search: Callable | None = None,
) -> bytes:
    """The bytes of a `.vic` file.

    Args:
      x_uint8: (height, width, 3) RGB; stored as grey where the three channels are equal everywhere.
      quality: from 0 (small) to 100 (good).
      quantiser: chooses the symbols; `quantise` if None.
      search: encodes a tile in its own way, (x_uint8, place, quality, weights) -> writers, as effort 2 does it.

    Raises:
      CodecError: an image or a quality that the format cannot hold.
    """
    height, width = x_uint8.shape[:2]
    if not 0 < height * width <= MAX_PIXELS or max(height, width) >= 1 << 16:
        raise CodecError(f"expected 1 to {MAX_PIXELS:,} pixels, at most 65,535 a side, got {height} x {width}")
    if not 0 <= quality <= 100:
        raise CodecError(f"expected a quality from 0 to 100, got {quality}")
    header = Header(height, width, bool((x_uint8 == x_uint8[..., :1]).all()), quality)
    start = HEADER.pack(MAGIC, VERSION, header.grey, quality, weights.model, height, width, 0)[:-4]
    start += struct.pack("<I", zlib.crc32(start))
    data, checksum = [start], zlib.crc32(start)
    for place in progress(list(decoder.tiles(header)), "encoding"):
        if search:
            writers = search(x_uint8, place, quality, weights)
        else:
            writers = encode_tile(analyse(x_uint8, place, quality, weights), quality, weights, quantiser or quantise)
        for writer in writers:
            content = writer.section()
            checksum = zlib.crc32(content, checksum)
            data += [SECTION.pack(len(content), checksum), content]
    return b"".join(data)


def decode(data: bytes, weights: CodecWeights) -> np.ndarray:
    """The image in a `.vic` file: (height, width, 3) uint8, or (height, width) if grey; CodecError as `decoder`."""
    with progress(list(decoder.tiles(read_header(data, weights))), "decoding") as bar:

        class WatchedReader(FastReader):
            def __init__(self, section: bytes, weights: CodecWeights):
                bar.update(0.5)  # a tile has two sections
                super().__init__(section, weights)

        return decoder.decode(data, weights, WatchedReader)


def progress(items: list, what: str, unit: str = "tile"):
    """The items with a progress bar, shown in a terminal when the work takes longer than two seconds."""
    return tqdm(items, desc=what, unit=unit, file=sys.stderr, leave=False, delay=2, disable=None)


def analyse(x_uint8: np.ndarray, place: tuple[slice, slice], quality: int, weights: Weights) -> np.ndarray:
    """The latent of a tile, (rows, columns, 192) float32, in steps; beyond the image its last pixels are repeated."""
    rows, columns = place
    top, left = max(rows.start - HALO, 0), max(columns.start - HALO, 0)
    x = x_uint8[BLOCK * top : BLOCK * (rows.stop + HALO), BLOCK * left : BLOCK * (columns.stop + HALO)]
    x = np.pad(x, ((0, -x.shape[0] % BLOCK), (0, -x.shape[1] % BLOCK), (0, 0)), mode="edge")
    z = space_to_depth(x.astype(np.float32) - 128, BLOCK) @ weights["analysis.basis"]
    z += REACH * decoder.correct(z / weights["analysis.spread"], quality, "analysis", weights)
    inside = z[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return inside * decoder.gain(quality, weights).astype(np.float32)


def space_to_depth(x: np.ndarray, factor: int) -> np.ndarray:
    """Places into channels, the inverse of `decoder.depth_to_space`."""
    rows, columns = x.shape[0] // factor, x.shape[1] // factor
    return x.reshape(rows, factor, columns, factor, -1).swapaxes(1, 2).reshape(rows, columns, -1)


def hyper_analyse(y: np.ndarray, weights: Weights) -> np.ndarray:
    """Latent in steps to hyper-latent, before rounding: (rows, columns, 192) -> (rows / 4, columns / 4, channels)."""
    h = np.pad(y, ((0, -y.shape[0] % 4), (0, -y.shape[1] % 4), (0, 0)))
    h = np.sign(h) * np.log1p(np.abs(h))
    for name, stride in (("near", 1), ("half", 2), ("quarter", 2)):
        h = (
            decoder.convolve(h, weights[f"hyper_analysis.{name}.kernel"], stride)
            + weights[f"hyper_analysis.{name}.bias"]
        )
        h = np.maximum(h, 0) if name != "quarter" else h
    return h


def hyper_latent(y: np.ndarray, quality: int, weights: Weights) -> np.ndarray:
    """Latent in steps to the hyper-latent's symbols, (rows / 4, columns / 4, channels)."""
    scale = decoder.hyper_scale(y.shape[:2], quality, weights)
    return np.clip(np.rint(hyper_analyse(y, weights)), -SYMBOL_MAX, SYMBOL_MAX) * (scale > 0)


def quantise(residual: np.ndarray, scale: np.ndarray, worth: np.ndarray, weights: CodecWeights) -> np.ndarray:
    """The symbols that cost least: bits plus `worth` times squared error, over the nearest, the next smaller and 0.

    Args:
      residual: (n, channels) latent minus mean, in steps.
      scale: (n, channels) numbers of tables.
      worth: (channels,) bits per squared step.
    """
    symbols = np.minimum(np.rint(np.abs(residual)), SYMBOL_MAX) * (scale > 0)
    busy = np.nonzero(symbols)  # a latent that rounds to 0 stays there
    nearest, table, size = symbols[busy].astype(int), scale[busy], np.abs(residual[busy])
    best, least = nearest, np.inf
    for candidate in (nearest, nearest - 1, np.zeros_like(nearest)):
        error = size - candidate + inward(candidate, table, weights) / 32
        cost = weights.bits[table, candidate] + worth[busy[1]] * error**2
        best, least = np.where(cost < least, candidate, best), np.minimum(cost, least)
    symbols[busy] = best
    return symbols * np.sign(residual)


def encode_tile(
    y: np.ndarray,
    quality: int,
    weights: CodecWeights,
    quantiser: Callable = quantise,
    h_hat: np.ndarray | None = None,
) -> tuple[Writer, Writer]:
    """The writers of a tile's hyper-latent and latent, from its latent in steps; of another hyper-latent, if given."""
    hyper_writer, latent_writer = Writer(weights), Writer(weights)
    h_hat = hyper_latent(y, quality, weights) if h_hat is None else h_hat
    hyper_writer(h_hat, decoder.hyper_scale(y.shape[:2], quality, weights))
    worth = lmbda_of(quality) / 3 / decoder.gain(quality, weights) ** 2  # bits per squared step, for each channel

    def visit(blocks: tuple, channels: slice, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
        symbols = quantiser(y[*blocks, channels] - mean / 16, scale, worth[channels], weights)
        latent_writer(symbols, scale)
        return symbols

    decoder.walk(decoder.hyper_features(h_hat, quality, weights)[: y.shape[0], : y.shape[1]], weights, visit)
    return hyper_writer, latent_writer


def ledger(data: bytes, weights: CodecWeights) -> dict[str, float]:
    """What the bytes of a file were spent on, part by part: {part: bytes}, which sum to the size of the file.

    The shares of the groups of channels are -log2 p of their symbols; what is left of the sections is the coder's own:
    a state of 8 bytes in each, of which the last symbols fill about half.
    """
    header = read_header(data, weights)
    places = list(decoder.tiles(header))
    contents = decoder.sections(data, 2 * len(places))
    group_of_pass = [number for number, (_, _, passes) in enumerate(GROUPS) for _ in range(passes)]
    hyper_bits, bits = 0.0, np.zeros(len(GROUPS))
    try:
        for (rows, columns), *pair in zip(progress(places, "reading"), contents[::2], contents[1::2], strict=True):
            size = rows.stop - rows.start, columns.stop - columns.start
            hyper, latent = (Copier(section, weights) for section in pair)
            h_hat = hyper.visit(None, None, None, decoder.hyper_scale(size, header.quality, weights))
            state = decoder.hyper_features(h_hat, header.quality, weights)[: size[0], : size[1]]
            decoder.walk(state, weights, latent.visit)
            hyper.reader.finish()
            latent.reader.finish()
            hyper_bits += sum(hyper.writer.bits)
            bits += np.bincount(group_of_pass, latent.writer.bits)
    except CorruptMessage as error:
        raise CodecError(f"damaged: {error}") from None
    spent = {"header": float(HEADER.size), "lengths and checksums of the sections": float(SECTION.size * len(contents))}
    spent["hyper-latent"] = hyper_bits / 8
    spent |= {f"latent, channels {low} to {high - 1}": b / 8 for (low, high, _), b in zip(GROUPS, bits, strict=True)}
    return spent | {"entropy coder": len(data) - sum(spent.values())}


class Copier:
    """Visits to read, and writes what it reads, so that its bits are counted."""

    def __init__(self, section: bytes, weights: CodecWeights):
        self.reader, self.writer = FastReader(section, weights), Writer(weights)

    def visit(self, blocks, channels, mean, scale: np.ndarray) -> np.ndarray:
        symbols = decoder.read(self.reader, scale)
        self.writer(symbols, scale)
        return symbols


def load(path: Path, weights: Weights) -> bytes:
    """The bytes of a `.vic` file: the header is judged before the rest is read, and no more read than can be right."""
    with path.open("rb") as file:
        start = file.read(HEADER.size)
        header = read_header(start, weights)
        blocks = -(-header.height // BLOCK) * -(-header.width // BLOCK)
        return start + file.read(MAX_BYTES_PER_BLOCK * blocks)
