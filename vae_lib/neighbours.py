"""The counting model of two neighbours: a table of grey levels for what lies to the left and above (built in 01).

It counts the training set and learns nothing else; the course measures its other models of small images against it.
NumPy only.
"""

import numpy as np

from vae_lib.entropy_coding import PRECISION, integer_table

CLASSES = 17 * 17  # the left and the upper neighbour, each cut into 17 groups of grey levels: 0, 1 to 16, 17 to 32, ...


def context(left: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Class 0 .. 288 of pixels, from the grey levels (integers, any shape) to their left and above."""
    left_group = (left + 15) // 16
    upper_group = (upper + 15) // 16
    return 17 * left_group + upper_group


def contexts(x_uint8: np.ndarray) -> np.ndarray:
    """Class of each pixel, (n, height, width), of images (n, height, width, 1); outside an image is black."""
    padded = np.pad(x_uint8[..., 0].astype(np.int64), ((0, 0), (1, 0), (1, 0)))
    return context(left=padded[:, 1:, :-1], upper=padded[:, :-1, 1:])


def neighbour_tables(train_uint8: np.ndarray) -> np.ndarray:
    """Cumulative counts (289, 257) of the grey levels that each class has in images (n, height, width, 1)."""
    pairs = contexts(train_uint8) * 256 + train_uint8[..., 0]
    counts = np.bincount(pairs.ravel(), minlength=CLASSES * 256).reshape(CLASSES, 256)
    return np.array([integer_table(row + 0.02) for row in counts])  # 0.02 for what these images never showed


def neighbour_bits(tables: np.ndarray, x_uint8: np.ndarray) -> np.ndarray:
    """Bits of each pixel, (n, height, width), of images (n, height, width, 1): -log2 of its share of the slots."""
    counts = np.diff(tables)[contexts(x_uint8), x_uint8[..., 0]]
    return PRECISION - np.log2(counts)
