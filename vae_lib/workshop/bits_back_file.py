"""The lossless file: a set of images to the size that the model promises, and back, one image in each lane.

Files of others are refused in one line. Source: Townsend, Bird and Barber (2019), arXiv:1901.04866.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vae_lib.bits_back import Lanes
from vae_lib.entropy_coding import PRECISION, STATE_MIN, CorruptMessage
from vae_lib.workshop.integer_mixtures import PIXELS, SIDE
from vae_lib.workshop.integer_vae import (
    BATCH_SIZE,
    STEPS,
    Gaussians,
    IntegerVAE,
    integer_vae,
    likelihood,
    posterior,
    prior,
)

LANES = 32  # what `encode` takes unless told; more gained next to nothing


class BitsBackError(Exception):
    """A file is not what this codec wrote, or images are not what it can store; the message is one line."""


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
