"""Exercises of notebook 12: salvage, a bound on sums, freezing a layer, the decoder's order, the tiles of a window.

The oracles try everything (subsets, thresholds) or take another road to the same bytes.
"""

import struct
import zlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from vae_lib.decoder import HEADER, SECTION, SYMBOL_MAX
from vae_lib.entropy_coding import EMPTY, encode, integer_table, push, to_bytes
from vae_lib.exercises.engine import Exercise, Misconception

# 12.1


def _file(rng: np.random.Generator, lengths: tuple[int, ...]) -> tuple[bytes, list[int]]:
    """A header and sections of random bytes with chained checksums, and where each section starts."""
    start = HEADER.pack(b"VIC", 1, 0, 50, rng.bytes(4), 512, 768, 0)[:-4]
    data = start + struct.pack("<I", zlib.crc32(start))
    checksum, places = zlib.crc32(data), []
    for length in lengths:
        content = rng.bytes(length)
        checksum = zlib.crc32(content, checksum)
        places.append(len(data))
        data += SECTION.pack(length, checksum) + content
    return data, places


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


def _damaged(rng: np.random.Generator) -> list[tuple]:
    """Whole, cut in a content, cut in a head, a flipped content, a flipped checksum, swapped sections, more after it."""
    data, places = _file(rng, (12, 40, 8, 36))
    ends = [*places[1:], len(data)]
    swapped = data[: places[1]] + data[places[2] : ends[2]] + data[places[1] : ends[1]] + data[ends[2] :]
    return [
        (data, 4),
        (data[: places[2] + SECTION.size + 4], 4),
        (data[: places[3] + 3], 4),
        (_flip(data, places[1] + SECTION.size + 7), 4),
        (_flip(data, places[2] + 5), 4),
        (swapped, 4),
        (data, 2),
        (data[: HEADER.size], 4),
    ]


def _salvage_oracle(data: bytes, count: int) -> list[bytes]:
    """For each number of sections, from the most on, ask whether all of them are whole: each checksum from scratch."""
    places = [HEADER.size]
    while len(places) <= count and len(data) >= places[-1] + SECTION.size:
        places.append(places[-1] + SECTION.size + SECTION.unpack_from(data, places[-1])[0])
    for number in range(len(places) - 1, 0, -1):
        contents = [data[a + SECTION.size : b] for a, b in pairwise(places[: number + 1])]
        checksums = [SECTION.unpack_from(data, place)[1] for place in places[:number]]
        right = [zlib.crc32(data[: HEADER.size] + b"".join(contents[: k + 1])) for k in range(number)]
        if places[number] <= len(data) and checksums == right:
            return contents
    return []


def _salvage(
    data: bytes,
    count: int,
    chained: bool = True,
    verify: bool = True,
    whole: bool = True,
    keep_last: bool = False,
    go_on: bool = False,
) -> list[bytes]:
    place = HEADER.size
    contents: list[bytes] = []
    checksum = zlib.crc32(data[: HEADER.size])
    while len(contents) < count and len(data) >= place + SECTION.size:
        length, expected = SECTION.unpack_from(data, place)
        content = data[place + SECTION.size : place + SECTION.size + length]
        place += SECTION.size + length
        checksum = zlib.crc32(content, checksum) if chained else zlib.crc32(content)
        good = (checksum == expected or not verify) and (len(content) == length or not whole)
        if good or keep_last:
            contents.append(content)
        if not good:
            if not go_on:
                break
            checksum = expected
    return contents


def _put_together(function: Callable, data: bytes, count: int) -> str:
    """How many contents, and all their bytes: so that an answer of any length can be compared."""
    contents = list(function(data, count))
    return f"{len(contents)} contents: " + " ".join(bytes(content).hex() for content in contents)


SALVAGE = Exercise(
    id="12.1",
    title="What can be saved?",
    oracle=_salvage_oracle,
    probe=_put_together,
    cases=_damaged,
    misconceptions=[
        Misconception(
            "a checksum is for someone else to look at",
            lambda data, count: _salvage(data, count, verify=False, whole=False),
            "your result holds contents that are damaged: a cut never fails in Python, and nothing but the checksum knows whether bytes "
            "are right.",
        ),
        Misconception(
            "a content that has its length is whole",
            lambda data, count: _salvage(data, count, verify=False),
            "you look at the lengths only. A flipped bit changes no length: compare the checksum too, and stop where it does not match.",
        ),
        Misconception(
            "each checksum is of its own section",
            lambda data, count: _salvage(data, count, chained=False),
            "no section passes. Each checksum goes on from the one before, zlib.crc32(content, checksum), and the first one from that of the "
            "whole header.",
        ),
        Misconception(
            "the damaged section is still worth something",
            lambda data, count: _salvage(data, count, keep_last=True),
            "you keep the section at which you stop. Its bytes cannot be trusted: decide first, then append.",
        ),
        Misconception(
            "after a damaged section the next good one can be used",
            lambda data, count: _salvage(data, count, go_on=True),
            "you go on behind the damage. Take up to the first section that cannot be trusted, and none after it: which tile would the "
            "others belong to?",
        ),
    ],
    notice="the chain protects the order as well: swapped sections, whole as each may be, end the salvage.",
)


# 12.2


def _layers(rng: np.random.Generator) -> list[tuple]:
    cases = []
    for inputs, outputs, low, high in (
        (4, 3, 0, 4095),
        (5, 2, -511, 511),
        (6, 3, 0, 15),
        (4, 2, -3, 100),
        (3, 2, 2, 9),
    ):
        kernel = rng.integers(-4000, 4000, (inputs, outputs))
        cases.append((kernel, rng.integers(-200_000, 200_000, outputs), low, high))
    cases.append((np.array([[300], [-200]]), np.array([-90_000]), 0, 10))  # the bias alone is the worst
    cases.append((np.array([[300], [200]]), np.array([-1000]), 0, 10))  # the bias only helps
    cases.append((np.array([[-300], [0], [-200]]), np.array([7]), 0, 10))  # the worst is below zero, the bias above
    cases.append((np.array([[100], [-90]]), np.array([0]), 2, 9))  # no input can be 0, but its term can come later
    return cases


def _worst_oracle(kernel: np.ndarray, bias: np.ndarray, low: int, high: int) -> int:
    """Every subset of the terms, each input at either end."""
    worst = 0
    for column, b in zip(kernel.T.tolist(), bias.tolist(), strict=True):
        sums = {0, b}
        for w in column:
            sums = {s + term for s in sums for term in (0, low * w, high * w)}
        worst = max(worst, *map(abs, sums))
    return worst


def _ends(kernel: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    kernel = np.asarray(kernel, np.int64)
    return np.maximum(low * kernel, high * kernel), np.minimum(low * kernel, high * kernel)


def _final_sum(kernel: np.ndarray, bias: np.ndarray, low: int, high: int) -> int:
    most, least = _ends(kernel, low, high)
    return int(max((most.sum(axis=0) + bias).max(), -(least.sum(axis=0) + bias).min()))


def _without_bias(kernel: np.ndarray, bias: np.ndarray, low: int, high: int) -> int:
    most, least = _ends(kernel, low, high)
    return int(max(np.maximum(most, 0).sum(axis=0).max(), -np.minimum(least, 0).sum(axis=0).min()))


def _bias_at_the_end(kernel: np.ndarray, bias: np.ndarray, low: int, high: int) -> int:
    most, least = _ends(kernel, low, high)
    return int(max((np.maximum(most, 0).sum(axis=0) + bias).max(), -(np.minimum(least, 0).sum(axis=0) + bias).min()))


def _over_outputs(kernel: np.ndarray, bias: np.ndarray, low: int, high: int) -> int:
    most, least = _ends(kernel, low, high)
    most, least = np.maximum(most, 0).sum(axis=1), np.minimum(least, 0).sum(axis=1)
    return int(max(most.max() + max(bias.max(), 0), -(least.min() + min(bias.min(), 0))))


WORST_SUM = Exercise(
    id="12.2",
    title="A sharper bound",
    oracle=_worst_oracle,
    cases=_layers,
    rtol=1e-9,
    misconceptions=[
        Misconception(
            "only the finished sum has to fit",
            _final_sum,
            "yours is {yours} where {right} is right: that is the largest *finished* sum. The terms may come in any order, and on its way "
            "the sum may leave some for later.",
        ),
        Misconception(
            "all products can be at their worst together",
            lambda kernel, bias, low, high: int(
                (np.abs(kernel).sum(axis=0) * max(abs(low), abs(high)) + np.abs(bias)).max()
            ),
            "yours is {yours} where {right} is right: a bound, but not the smallest. It adds positive and negative terms as if all had "
            "one sign.",
        ),
        Misconception(
            "the bias is no product, so it does not count",
            _without_bias,
            "yours is {yours} where {right} is right: the bias is missing; it is a term like any other.",
        ),
        Misconception(
            "the bias is always there",
            _bias_at_the_end,
            "yours is {yours} where {right} is right: you let the bias pull back from the worst. In another order it comes last, so "
            "it counts only where it makes things worse.",
        ),
        Misconception(
            "the sum runs over the outputs",
            _over_outputs,
            "yours is {yours} where {right} is right: you added over the outputs. x @ kernel adds over the inputs, axis 0.",
        ),
        Misconception(
            "positive and negative weights cancel",
            lambda kernel, bias, low, high: int(
                (np.abs(kernel.sum(axis=0)) * max(abs(low), abs(high)) + np.abs(bias)).max()
            ),
            "yours is {yours} where {right} is right: you added the weights with their signs. The inputs are not all equal, and the "
            "enemy chooses them.",
        ),
    ],
    notice="a proof by addition. For inputs from 0 on it is the larger half of the weights, positive or negative; so it can be up to a bit "
    "sharper than the sum of all magnitudes.",
)


# 12.3


def _float_layers(rng: np.random.Generator) -> list[tuple]:
    cases = []
    for inputs, outputs, *bits in ((6, 4, 8, 12, 8), (5, 3, 4, 10, 2), (8, 5, 8, 14, 4), (7, 2, 6, 9, 0)):
        kernel, bias = rng.normal(0, 0.7, (inputs, outputs)), rng.normal(0, 1, outputs)
        cases.append((kernel, bias, *bits))
    return cases


def _freeze_oracle(kernel, bias, in_bits: int, weight_bits: int, out_bits: int):
    """Number by number, in Python's own arithmetic."""
    frozen = [[round(w * 2**weight_bits) for w in row] for row in kernel.tolist()]
    half = 1 / 2 ** (out_bits + 1)
    return (
        frozen,
        [round((b + half) * 2 ** (in_bits + weight_bits)) for b in bias.tolist()],
        in_bits + weight_bits - out_bits,
    )


def _as_arrays(function: Callable, *arguments) -> tuple:
    """The three results, and how they compute: integers may come in any type."""
    kernel, bias, bits = function(*arguments)
    return np.asarray(kernel, np.float64), np.asarray(bias, np.float64), float(bits)


def _freeze(kernel, bias, in_bits, weight_bits, out_bits, half=0.5, bias_places=None, bits=None, integer=np.rint):
    places = in_bits + weight_bits
    bias_places = places if bias_places is None else bias_places
    scaled = np.asarray(bias, np.float64) * 2.0**bias_places + half * 2.0 ** (bias_places - out_bits)
    kernel = integer(np.asarray(kernel, np.float64) * 2.0**weight_bits)
    return kernel, integer(scaled), places - out_bits if bits is None else bits


FREEZE = Exercise(
    id="12.3",
    title="From floats to integers",
    oracle=_freeze_oracle,
    probe=_as_arrays,
    cases=_float_layers,
    rtol=0.0,
    atol=1e-9,
    misconceptions=[
        Misconception(
            "shifting rounds to the nearest",
            lambda k, b, i, w, o: _freeze(k, b, i, w, o, half=0.0),
            "yours is {yours} where {right} is right: the bias lacks half an output unit. `shift` rounds down, so without it every output is "
            "half a unit too small on average.",
        ),
        Misconception(
            "the bias has the unit of the weights",
            lambda k, b, i, w, o: _freeze(k, b, i, w, o, bias_places=w),
            "yours is {yours} where {right} is right: the bias is in the unit of the weights. It is added to *products*, whose unit is input "
            "times weight.",
        ),
        Misconception(
            "the bias has the unit of the output",
            lambda k, b, i, w, o: _freeze(k, b, i, w, o, bias_places=o),
            "yours is {yours} where {right} is right: the bias is in the unit of the output, but it is added before the shift.",
        ),
        Misconception(
            "half a unit is one half",
            lambda k, b, i, w, o: _freeze(k, b, i, w, o, half=2.0 ** (o - i - w - 1)),
            "yours is {yours} where {right} is right: you added half of a unit of the *sum*. The half that is meant is one of the output, "
            "which is 2^s times larger.",
        ),
        Misconception(
            "the shift takes away the places of the weights",
            lambda k, b, i, w, o: _freeze(k, b, i, w, o, bits=w),
            "yours is {yours} where {right} is right: s is wrong. The sum has in_bits + weight_bits places, and out_bits of them shall be "
            "left.",
        ),
        Misconception(
            "cutting off makes integers",
            lambda k, b, i, w, o: _freeze(k, b, i, w, o, integer=np.trunc),
            "yours is {yours} where {right} is right: you cut the fraction off. Round the weights to the nearest integer: half the error, and "
            "none on average.",
        ),
        Misconception(
            "the input has no places",
            lambda k, b, i, w, o: _freeze(k, b, i, w, o, bits=w - o),
            "yours is {yours} where {right} is right: you left out the places of the input. The sum has in_bits + weight_bits of them.",
        ),
    ],
    notice="the network is rounded once, when it is frozen, and never again: from here on all machines compute the same function, which is "
    "a little different from the one that was trained.",
)


# 12.4


def _sections(rng: np.random.Generator) -> list[tuple]:
    """Symbols, their scales, and tables that widen with the scale; scale 0 always comes with symbol 0."""
    k = np.abs(np.arange(-SYMBOL_MAX, SYMBOL_MAX + 1))
    tables = [integer_table(np.exp(-k / (0.1 + 0.4 * scale))) for scale in range(6)]
    cases = []
    for shape in ((5, 4), (40, 3), (9, 1)):
        scale = rng.integers(0, 6, shape)
        symbols = np.rint(rng.laplace(0, 0.3 + 0.4 * scale)) * (scale > 0)
        cases.append((symbols, scale, tables))
    return cases


def _section_oracle(symbols: np.ndarray, scale: np.ndarray, tables: list) -> bytes:
    """Run by run, as the decoder asks, through notebook 01's `encode`, which knows that it is a stack."""
    found = [
        (int(symbol) + SYMBOL_MAX, tables[number])
        for number in range(1, len(tables))
        for symbol, s in zip(symbols.ravel(), scale.ravel(), strict=True)
        if s == number
    ]
    return to_bytes(encode([symbol for symbol, _ in found], [table for _, table in found]))


def _written(symbols: np.ndarray, scale: np.ndarray, tables: list, order: np.ndarray, skip: bool = True) -> bytes:
    message = EMPTY
    for place in order:
        number, k = int(scale.flat[place]), int(symbols.flat[place]) + SYMBOL_MAX
        if number > 0 or not skip:
            message = push(message, tables[number][k], tables[number][k + 1] - tables[number][k])
    return to_bytes(message)


def _by_scale(scale: np.ndarray) -> np.ndarray:
    return np.argsort(scale, axis=None, kind="stable")


SECTION_OF = Exercise(
    id="12.4",
    title="An order that the decoder can follow",
    oracle=_section_oracle,
    cases=_sections,
    misconceptions=[
        Misconception(
            "what is written first is read first",
            lambda symbols, scale, tables: _written(symbols, scale, tables, _by_scale(scale)),
            "your symbols are in the order of reading, but a message is a stack: what goes on last comes off first. Push from the last "
            "one to the first.",
        ),
        Misconception(
            "symbols are read in the order of the array",
            lambda symbols, scale, tables: _written(symbols, scale, tables, np.arange(scale.size)[::-1]),
            "you push backwards, as a stack wants it, but in the order of the array. `read` asks for all symbols of scale 1 first, then "
            "for those of scale 2.",
        ),
        Misconception(
            "the colleague is right",
            lambda symbols, scale, tables: _written(symbols, scale, tables, np.arange(scale.size), skip=False),
            "these are the colleague's bytes, with all three faults: not sorted by scale, not backwards, and the symbols of scale 0 written.",
        ),
        Misconception(
            "every symbol is written",
            lambda symbols, scale, tables: _written(symbols, scale, tables, _by_scale(scale)[::-1], skip=False),
            "the order is right, but you also write the symbols of scale 0. The decoder knows that they are 0 and never asks: after them it "
            "is out of step.",
        ),
        Misconception(
            "backwards among the scales, forwards among equals",
            lambda symbols, scale, tables: _written(symbols, scale, tables, _by_scale(-scale)),
            "the scales come in the right order, but among equal ones yours are forwards. Turn the whole order around, not only the sort.",
        ),
        Misconception(
            "the widest table comes first",
            lambda symbols, scale, tables: _written(symbols, scale, tables, _by_scale(-scale)[::-1]),
            "your order of scales is upside down.",
        ),
    ],
    notice="encoder and decoder share no variable, only an order. Whatever the decoder uses to choose a table must come before the symbol "
    "in that order.",
)


# 12.5


def _windows(rng: np.random.Generator) -> list[tuple]:
    """Inside one tile, near a border, at the picture's corners, beyond one tile each way, a whole picture of one tile."""
    cases: list[tuple] = [
        ((3000, 2500), (1100, 1100, 200, 300)),
        ((3000, 2500), (1024, 1500, 64, 64)),  # the first row of its tile: the halo reaches up
        ((3000, 2500), (900, 900, 92, 92)),  # ends 32 pixels before the border: the last block that stays inside
        ((3000, 2500), (900, 900, 93, 93)),
        ((3000, 2500), (0, 0, 1, 1)),
        ((3000, 2500), (2999, 2499, 1, 1)),
        ((2048, 2048), (2000, 1000, 48, 100)),  # no tile below the last
        ((500, 700), (0, 0, 500, 700)),
        ((3000, 2050), (100, 2040, 10, 10)),  # a last tile of two pixels
        ((640, 640), (200, 300, 100, 30), 128, 4),
        ((640, 640), (200, 300, 100, 30), 128, 0),
        ((640, 500), (128, 127, 1, 1), 64, 8),
        ((641, 641), (600, 600, 41, 41), 128, 4),  # the last tile is one pixel wide
        ((64, 64), (0, 0, 4, 4), 8, 0),  # a tile of one block
    ]
    for _ in range(6):
        height, width = (int(side) for side in rng.integers(200, 900, 2))
        top, left = int(rng.integers(height)), int(rng.integers(width))
        window = (top, left, int(rng.integers(1, height - top + 1)), int(rng.integers(1, width - left + 1)))
        cases.append(((height, width), window, 128, int(rng.integers(0, 6))))
    return cases


def _tiles_oracle(size: tuple, window: tuple, tile: int = 1024, halo: int = 4) -> list[int]:
    """A picture of blocks, each with the number of its tile; those near the window's blocks are collected."""
    rows, columns = (-(-side // 8) for side in size)
    blocks = np.arange(rows)[:, None] * 8 // tile * -(-size[1] // tile) + np.arange(columns) * 8 // tile
    top, left, height, width = window
    near_row = {r + d for r in {y // 8 for y in range(top, top + height)} for d in range(-halo, halo + 1)}
    near_column = {c + d for c in {x // 8 for x in range(left, left + width)} for d in range(-halo, halo + 1)}
    return np.unique(
        blocks[np.ix_(sorted(near_row & {*range(rows)}), sorted(near_column & {*range(columns)}))]
    ).tolist()


def _tiles(
    size: tuple,
    window: tuple,
    tile: int = 1024,
    halo: int = 4,
    ahead: int = 1,
    clip: bool = True,
    columns: Callable = lambda width, tile: -(-width // tile),
    unit: int = 8,
    corners: bool = False,
    transposed: bool = False,
) -> list[int]:
    places = []
    for side, start, length in zip(size, window[:2], window[2:], strict=True):
        first, last = start // 8 - halo * unit // 8, (start + length - ahead) // 8 + halo * unit // 8
        if clip:
            first, last = max(first, 0), min(last, (side - 1) // 8)
        low, high = first * 8 // tile, last * 8 // tile
        places.append(sorted({low, high}) if corners else list(range(low, high + 1)))
    count = columns(size[1], tile)
    if transposed:
        return [column * -(-size[0] // tile) + row for column in places[1] for row in places[0]]
    return [row * count + column for row in places[0] for column in places[1]]


def _as_list(function: Callable, *arguments) -> str:
    return " ".join(str(int(number)) for number in function(*arguments))


TILES_NEEDED = Exercise(
    id="12.5",
    title="A window of a large picture",
    oracle=_tiles_oracle,
    probe=_as_list,
    cases=_windows,
    misconceptions=[
        Misconception(
            "a pixel needs its own tile",
            lambda size, window, tile=1024, halo=4: _tiles(size, window, tile, 0),
            "a tile is missing: the synthesis looks `halo` blocks around a block, so a window near a border needs the tile beyond it.",
        ),
        Misconception(
            "the halo is in pixels",
            lambda size, window, tile=1024, halo=4: _tiles(size, window, tile, halo, unit=1),
            "you count the halo in pixels. It is in blocks, 8 pixels each.",
        ),
        Misconception(
            "a window ends at top + height",
            lambda size, window, tile=1024, halo=4: _tiles(size, window, tile, halo, ahead=0),
            "there is a tile too many in one case: the last pixel of the window is top + height - 1, not top + height.",
        ),
        Misconception(
            "there are blocks around every picture",
            lambda size, window, tile=1024, halo=4: _tiles(size, window, tile, halo, clip=False),
            "you ask for tiles outside the picture, or for the wrong ones at its edges: first cut the range of blocks to the picture.",
        ),
        Misconception(
            "a tile that is not whole is none",
            lambda size, window, tile=1024, halo=4: _tiles(
                size, window, tile, halo, columns=lambda w, t: max(w // t, 1)
            ),
            "your numbers are off where the last tile of a row is narrower: it counts as a tile, so round up.",
        ),
        Misconception(
            "the corners are enough",
            lambda size, window, tile=1024, halo=4: _tiles(size, window, tile, halo, corners=True),
            "a window may span more than two tiles in a direction; you left out those between its ends.",
        ),
        Misconception(
            "tiles are numbered column by column",
            lambda size, window, tile=1024, halo=4: _tiles(size, window, tile, halo, transposed=True),
            "you number the tiles column by column. The file has them row by row: row times the tiles in a row, plus column.",
        ),
    ],
    notice="four blocks of neighbours are the whole price of looking at a part of a picture, since the symbols of tiles know nothing of "
    "each other.",
)


EXERCISES = [SALVAGE, WORST_SUM, FREEZE, SECTION_OF, TILES_NEEDED]
