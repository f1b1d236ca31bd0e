"""The counting model of two neighbours."""

import itertools

import numpy as np

from vae_lib.entropy_coding import EMPTY, PRECISION, decode, encode
from vae_lib.images import load_fashion_mnist
from vae_lib.neighbours import CLASSES, context, contexts, neighbour_bits, neighbour_tables


def test_a_pixel_has_the_class_that_a_plain_loop_over_its_neighbours_gives():
    x_uint8 = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 1), dtype=np.uint8)
    for image, classes in zip(x_uint8[..., 0].astype(int), contexts(x_uint8), strict=True):
        for row, column in itertools.product(range(5), range(7)):
            left = image[row, column - 1] if column else 0
            upper = image[row - 1, column] if row else 0
            assert classes[row, column] == context(left, upper) == -(-left // 16) * 17 + -(-upper // 16)


def test_black_is_a_group_of_its_own_and_the_last_class_is_the_last():
    assert context(0, 0) == 0
    assert context(1, 0) == context(16, 0) == 17
    assert context(17, 0) == 2 * 17
    assert context(255, 255) == CLASSES - 1


def test_the_bits_are_those_of_a_message_coded_with_the_tables():
    train_uint8, _ = load_fashion_mnist("train")
    tables, x_uint8 = neighbour_tables(train_uint8[:2000]), train_uint8[2000:2003]
    rows = tables.tolist()
    chosen = [rows[c] for c in contexts(x_uint8).ravel().tolist()]
    pixels = x_uint8.ravel().tolist()
    message = encode(pixels, chosen)
    assert decode(message, chosen) == (pixels, EMPTY)
    words, state, rest = 0, *message
    while rest:
        words, rest = words + 1, rest[1]
    grown = np.log2(state) + 32 * words - 32
    assert abs(grown - neighbour_bits(tables, x_uint8).sum()) < 0.01
    assert (np.diff(tables) > 0).all() and (tables[:, -1] == 1 << PRECISION).all()
