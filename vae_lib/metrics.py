"""What an image costs and what it lost: bits per pixel, PSNR, MS-SSIM (built in notebook 00), BD-rate (13).

The one place where nats become bits is here as well, so that no notebook divides by ln 2 on its own.
"""

import math
import os
import platform

import numpy as np

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang, Simoncelli and Bovik (2003), section 3.2
MS_SSIM_WINDOW = 11  # pixels; with the sigma below: Wang, Bovik, Sheikh and Simoncelli (2004), section III-C
MS_SSIM_SIGMA = 1.5  # pixels
MS_SSIM_SMALLEST = (MS_SSIM_WINDOW - 1) * 2 ** (len(MS_SSIM_WEIGHTS) - 1) + 1  # 161: the window fits five times


def to_bits(nats):
    """Nats to bits: log2(e) bits to the nat. Works on numbers and on arrays of any shape."""
    return nats / math.log(2)


def bits_per_dim(nats, dims: int):
    """Nats per image to bits per dimension, for an image of `dims` numbers (height x width x channels)."""
    return to_bits(nats) / dims


def bits_per_pixel(num_bytes: int, height: int, width: int) -> float:
    """Size of a file in bits per pixel; a pixel is one place of the image, whatever its channels."""
    return 8 * num_bytes / (height * width)


def mse(x_uint8: np.ndarray, y_uint8: np.ndarray) -> float:
    """Mean squared error on the 0..255 scale, over all pixels and channels of two images of one shape."""
    difference = x_uint8.astype(np.float64) - y_uint8.astype(np.float64)
    return float(np.mean(difference**2))


def psnr(x_uint8: np.ndarray, y_uint8: np.ndarray) -> float:
    """Peak signal-to-noise ratio in decibels, for images on the 0..255 scale; infinite for equal images."""
    error = mse(x_uint8, y_uint8)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def bd_rate(rates, psnrs, reference_rates, reference_psnrs, within=(-math.inf, math.inf)) -> tuple[float, float, float]:
    """Bjontegaard's delta rate: how many percent fewer (negative) or more bits a codec needs than a reference.

    The mean difference of log rate at equal PSNR, over the range of PSNR that both curves cover; between the measured
    points log rate is a piecewise cubic (PCHIP), which never overshoots.

    Args:
      rates, psnrs: (n,) of the codec, n >= 2, PSNR rising with rate.
      reference_rates, reference_psnrs: (m,) of the reference.
      within: the range of PSNR, or what both curves cover of it; so that several figures can be over one range.

    Returns:
      percent of bits, and the lower and upper end of the range of PSNR.

    Raises:
      ValueError: fewer than two points, a PSNR that does not rise with the rate, or curves without a common range.

    Sources: Bjontegaard (2001), ITU-T VCEG-M33; for the piecewise interpolation, Bjontegaard (2008), VCEG-AI11.
    """
    from scipy.interpolate import PchipInterpolator  # a third of a second, which only who calls this should pay

    curves = []
    for rate, psnr_ in ((rates, psnrs), (reference_rates, reference_psnrs)):
        order = np.argsort(rate)
        rate, psnr_ = np.asarray(rate, float)[order], np.asarray(psnr_, float)[order]
        if len(rate) < 2 or not (psnr_[1:] > psnr_[:-1]).all():
            raise ValueError(f"expected at least two points whose PSNR rises with the rate, got {psnr_.tolist()} dB")
        curves.append(PchipInterpolator(psnr_, np.log(rate)))
    low, high = max(within[0], *(curve.x[0] for curve in curves)), min(within[1], *(curve.x[-1] for curve in curves))
    if low >= high:
        raise ValueError(f"expected curves that share a range of PSNR, got one from {low:.2f} and one to {high:.2f} dB")
    ours, reference = (curve.integrate(low, high) / (high - low) for curve in curves)
    return 100 * math.expm1(ours - reference), low, high


def gaussian_window() -> np.ndarray:
    """The 11 weights, summing to one, with which SSIM averages in each direction."""
    offsets = np.arange(MS_SSIM_WINDOW) - MS_SSIM_WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * MS_SSIM_SIGMA**2))
    return weights / weights.sum()


def blur(x: np.ndarray) -> np.ndarray:
    """Gaussian average of (height, width, channels), kept where the window fits: 10 rows and columns fewer."""
    window = gaussian_window()
    height, width = x.shape[0] - MS_SSIM_WINDOW + 1, x.shape[1] - MS_SSIM_WINDOW + 1
    x = sum(weight * x[i : i + height] for i, weight in enumerate(window))
    return sum(weight * x[:, i : i + width] for i, weight in enumerate(window))


def ssim_terms(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM and its contrast-structure factor, (channels,) each, of (height, width, channels) on the 0..255 scale.

    Source: Wang, Bovik, Sheikh and Simoncelli (2004), equations 6 to 13.
    """
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_x, mean_y = blur(x), blur(y)
    variance_x, variance_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    contrast_structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return (luminance * contrast_structure).mean(axis=(0, 1)), contrast_structure.mean(axis=(0, 1))


def halve(x: np.ndarray) -> np.ndarray:
    """Means of 2x2 pixels of (height, width, channels); an odd side gets a row of zeros first, as in pytorch-msssim."""
    x = np.pad(x, ((x.shape[0] % 2, 0), (x.shape[1] % 2, 0), (0, 0)))
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def ms_ssim(x_uint8: np.ndarray, y_uint8: np.ndarray) -> float:
    """Multi-scale structural similarity of two images (height, width, channels), 0..255; 1 for equal images.

    The mean over the channels of a product over five scales. Undefined below 161 pixels a side: ValueError.
    Source: Wang, Simoncelli and Bovik (2003), equation 7.
    """
    if min(x_uint8.shape[:2]) < MS_SSIM_SMALLEST:
        raise ValueError(f"MS-SSIM is undefined below {MS_SSIM_SMALLEST} pixels a side, got {x_uint8.shape[:2]}")
    x, y = x_uint8.astype(np.float64), y_uint8.astype(np.float64)
    factors = []
    for _ in MS_SSIM_WEIGHTS:
        ssim, contrast_structure = ssim_terms(x, y)
        factors.append(contrast_structure)
        x, y = halve(x), halve(y)
    factors[-1] = ssim  # the coarsest scale alone keeps its luminance factor
    product = np.prod([np.maximum(f, 0) ** w for f, w in zip(factors, MS_SSIM_WEIGHTS, strict=True)], axis=0)
    return float(product.mean())


def machine() -> str:
    """What seconds are measured on, for a file of results."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
