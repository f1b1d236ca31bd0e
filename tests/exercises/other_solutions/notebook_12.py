"""Right answers to the exercises of notebook 12 that look nothing like the solutions there."""

import struct
import zlib
from fractions import Fraction
from itertools import product
from unittest.mock import patch

import numpy as np

from vae_lib import decoder
from vae_lib.entropy_coding import EMPTY, push, to_bytes


def salvage_by_asking_the_decoder(data, count):
    """The largest number of sections that the decoder's own parser accepts, the rest cut off."""
    for number in range(count, 0, -1):
        place = decoder.HEADER.size
        for _ in range(number):
            if len(data) < place + decoder.SECTION.size:
                break
            place += decoder.SECTION.size + struct.unpack_from("<I", data, place)[0]
        else:
            try:
                return decoder.sections(data[:place], number)
            except decoder.CodecError:
                pass
    return ()


def salvage_as_a_generator(data, count):
    checksum, rest = zlib.crc32(data[:18]), memoryview(data)[18:]
    while count and len(rest) >= 8:
        length, expected = struct.unpack("<II", rest[:8])
        content, rest, count = bytes(rest[8 : 8 + length]), rest[8 + length :], count - 1
        checksum = zlib.crc32(content, checksum)
        if len(content) != length or checksum != expected:
            return
        yield content


def worst_sum_by_trying_all_inputs(kernel, bias, low, high):
    """Every corner of the inputs, terms sorted: the positive ones first, then the negative ones first."""
    worst = 0
    for x in product((low, high), repeat=len(kernel)):
        terms = np.vstack([np.array(x)[:, None] * kernel, bias])
        worst = max(worst, np.maximum(terms, 0).sum(axis=0).max(), np.maximum(-terms, 0).sum(axis=0).max())
    return worst


def freeze_in_fractions(kernel, bias, in_bits, weight_bits, out_bits):
    def whole(x, bits):
        return round(Fraction(float(x)) * 2**bits)

    frozen = np.array([[whole(w, weight_bits) for w in row] for row in kernel])
    shift = in_bits + weight_bits - out_bits
    biases = [round(Fraction(float(b)) * 2 ** (in_bits + weight_bits) + Fraction(2**shift, 2)) for b in bias]
    return frozen, np.array(biases, np.int64), shift


def section_by_a_sorted_list(symbols, scale, tables):
    """A list of what the decoder will ask for, sorted by scale and place, popped from its end."""
    asked = sorted((s, place) for place, s in enumerate(scale.ravel().tolist()) if s)
    message = EMPTY
    while asked:
        number, place = asked.pop()
        first, last = tables[number][int(symbols.ravel()[place]) + 511 :][:2]
        message = push(message, first, last - first)
    return to_bytes(message)


def tiles_by_the_decoder_s_own_list(size, window, tile=1024, halo=4):
    """Each tile of `decoder.tiles`, grown by the halo: does it touch the window's blocks?"""
    header = decoder.Header(*size, False, 50)
    top, left, height, width = window
    found = []
    with patch.object(decoder, "TILE", tile):
        for number, (rows, columns) in enumerate(decoder.tiles(header)):
            below = (top + height - 1) // 8 >= rows.start - halo and top // 8 < rows.stop + halo
            beside = (left + width - 1) // 8 >= columns.start - halo and left // 8 < columns.stop + halo
            found += [number] * (below and beside)
    return found


ALSO_RIGHT = {
    "12.1": [salvage_by_asking_the_decoder, salvage_as_a_generator],
    "12.2": [worst_sum_by_trying_all_inputs],
    "12.3": [freeze_in_fractions],
    "12.4": [section_by_a_sorted_list],
    "12.5": [tiles_by_the_decoder_s_own_list],
}
