"""Our codec beside the others: what each needs for how good a picture, in real bytes (built in notebook 13)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vae_lib import codec
from vae_lib.images import decode_image, encode_image
from vae_lib.metrics import bits_per_pixel, psnr

# The other encoders at their best, as Pillow has them, and the qualities of a sweep.
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"optimize": True, "progressive": True, "subsampling": "4:2:0"},
    "WebP": {"method": 6},
}
QUALITIES = {
    "JPEG": (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95),
    "WebP": (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100),
}
OUR_QUALITIES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)

Code = Callable[[np.ndarray, int], tuple[int, np.ndarray]]  # (x_uint8, quality) -> bytes of the file, decoded picture


def sweep(
    photographs: Sequence[np.ndarray],
    code: Callable[[np.ndarray, int], tuple[int, np.ndarray]],
    qualities: Sequence[int],
) -> tuple[list[float], list[float]]:
    """Rates in bits per pixel and PSNRs in decibels, means over the photographs, one for each quality."""
    results = np.empty((len(qualities), len(photographs), 2))
    for i, quality in enumerate(qualities):
        for j, x_uint8 in enumerate(photographs):
            size, decoded = code(x_uint8, quality)
            results[i, j] = bits_per_pixel(size, *x_uint8.shape[:2]), psnr(x_uint8, decoded)
    rates, psnrs = results.mean(axis=1).T.round(5).tolist()
    return rates, psnrs


def rival(name: str) -> Code:
    """One of OPTIONS as `sweep` takes it."""

    def code(x_uint8: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
        data = encode_image(x_uint8, name, quality=quality, **OPTIONS[name])
        return len(data), decode_image(data)

    return code


def ours(weights: codec.CodecWeights) -> Code:
    """Our codec as `sweep` takes it."""

    def code(x_uint8: np.ndarray, quality: int) -> tuple[int, np.ndarray]:
        data = codec.encode(x_uint8, weights, quality)
        decoded = codec.decode(data, weights)
        return len(data), decoded if decoded.ndim == 3 else np.stack([decoded] * 3, axis=-1)

    return code
