"""PSNR and MS-SSIM against independent values, and the edges of their domain."""

import json
import math
from pathlib import Path

import bjontegaard
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_lib import metrics
from vae_lib.images import decode_image, encode_image, load_photographs

REFERENCE = json.loads((Path(__file__).parent / "ms_ssim_reference.json").read_text())


@pytest.mark.parametrize(
    "case", REFERENCE, ids=lambda c: f"{c['photograph']}-{c['height']}x{c['width']}-q{c['quality']}"
)
def test_ms_ssim_is_that_of_pytorch_msssim(case):
    x = load_photographs("validation")[case["photograph"]][: case["height"], : case["width"]]
    y = decode_image(encode_image(x, "JPEG", quality=case["quality"]))
    assert metrics.ms_ssim(x, y) == pytest.approx(case["ms_ssim"], abs=1e-5)


def test_ms_ssim_of_equal_images_is_one_and_of_negatives_near_zero():
    x = load_photographs("validation")["wine"][:200, :200]
    assert metrics.ms_ssim(x, x) == pytest.approx(1)
    assert metrics.ms_ssim(x, 255 - x) < 0.1


@pytest.mark.parametrize("shape", [(160, 300, 3), (300, 160, 3)])
def test_ms_ssim_below_161_pixels_says_that_it_is_undefined(shape):
    with pytest.raises(ValueError, match="undefined below 161 pixels"):
        metrics.ms_ssim(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9))
def test_psnr_agrees_with_a_loop_over_pixels(seed, height, width):
    x, y = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    total = sum((int(a) - int(b)) ** 2 for a, b in zip(x.ravel(), y.ravel(), strict=True))
    assert metrics.mse(x, y) == pytest.approx(total / x.size)
    expected = math.inf if total == 0 else 20 * math.log10(255) - 10 * math.log10(total / x.size)
    assert metrics.psnr(x, y) == pytest.approx(expected)


def test_psnr_of_equal_images_is_infinite_and_of_black_against_white_zero():
    black, white = np.zeros((2, 3, 3), np.uint8), np.full((2, 3, 3), 255, np.uint8)
    assert metrics.psnr(black, black) == math.inf
    assert metrics.psnr(black, white) == pytest.approx(0)


def test_a_raw_colour_image_costs_24_bits_per_pixel():
    assert metrics.bits_per_pixel(np.zeros((5, 7, 3), np.uint8).nbytes, 5, 7) == 24


def test_a_halving_of_probability_is_one_bit():
    assert metrics.to_bits(math.log(2)) == pytest.approx(1)
    assert metrics.bits_per_dim(784 * math.log(256), 784) == pytest.approx(8)


CURVES = json.loads((Path(__file__).parent / "kodak_curves.json").read_text())["curves"]


@pytest.mark.parametrize("name", [name for name in CURVES if name != "WebP"])
def test_bd_rate_agrees_with_the_public_package(name):
    """On published curves; bjontegaard integrates in logarithms of base 10, over the same piecewise cubics."""
    ours, reference = CURVES[name], CURVES["WebP"]
    arguments = reference["bits_per_pixel"], reference["psnr"], ours["bits_per_pixel"], ours["psnr"]
    public = bjontegaard.bd_rate(*arguments, method="pchip", require_matching_points=False, min_overlap=0)
    percent, low, high = metrics.bd_rate(*arguments[2:], *arguments[:2])
    assert percent == pytest.approx(public, abs=0.1)
    assert low == max(min(ours["psnr"]), min(reference["psnr"])) and high == min(
        max(ours["psnr"]), max(reference["psnr"])
    )


def test_bd_rate_of_half_the_bits_is_minus_fifty():
    rates, psnrs = np.array([0.1, 0.3, 0.9, 2.0]), [25.0, 30.0, 35.0, 40.0]
    assert metrics.bd_rate(rates / 2, psnrs, rates, psnrs) == pytest.approx((-50, 25, 40))


def test_bd_rate_refuses_curves_that_it_cannot_compare():
    with pytest.raises(ValueError, match="share a range"):
        metrics.bd_rate([1, 2], [20, 25], [1, 2], [30, 35])
    with pytest.raises(ValueError, match="rises"):
        metrics.bd_rate([1, 2], [25, 20], [1, 2], [20, 25])
