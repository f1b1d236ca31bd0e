"""Other right answers to the exercises of notebook 00."""

import io

import numpy as np
from PIL import Image


def seconds_by_rows(height, width, rate, megabits_per_second):
    bits = sum(rate * width for _ in range(height))
    return np.float32(bits / 1_000_000 / megabits_per_second)


def error_by_halving(decibels):
    """Bisection on the definition of PSNR, without solving it."""
    low, high = 0.0, 255.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if 10 * np.log10(255**2 / middle**2) < decibels else (middle, high)
    return low


def quality_by_all_sizes(x_uint8, budget):
    best = np.int64(0)
    for quality in range(1, 96):
        file = io.BytesIO()
        Image.fromarray(x_uint8).save(file, format="jpeg", quality=quality)
        if not len(file.getvalue()) > budget:
            best = quality
    return best


def rate_change_in_octaves(curve_a, curve_b, decibels):
    octaves = [np.interp(decibels, psnr, np.log2(rate)) for rate, psnr in (curve_a.T, curve_b.T)]
    return (2 ** (octaves[1] - octaves[0]) - 1) * 100


ALSO_RIGHT = {
    "00.1": [seconds_by_rows],
    "00.2": [error_by_halving],
    "00.3": [quality_by_all_sizes],
    "00.4": [rate_change_in_octaves],
}
