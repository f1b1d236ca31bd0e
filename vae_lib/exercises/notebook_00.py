"""Checks for notebook 00: sending time, PSNR backwards, a budget for JPEG, the rate at equal quality."""

import functools
import io
import itertools
import math

import numpy as np
from PIL import Image

from vae_lib.exercises.engine import Exercise, Misconception


def _seconds_cases(rng: np.random.Generator) -> list[tuple]:
    sides = rng.integers(100, 5000, size=(4, 2))
    return [(int(h), int(w), float(rng.uniform(0.1, 8)), float(rng.uniform(1, 100))) for h, w in sides]


def _jpeg_bytes(x_uint8: np.ndarray, quality: int) -> int:
    return _jpeg_bytes_of(x_uint8.tobytes(), x_uint8.shape[:2], quality)


@functools.cache
def _jpeg_bytes_of(pixels: bytes, size: tuple[int, int], quality: int) -> int:
    file = io.BytesIO()
    Image.frombytes("RGB", size[::-1], pixels).save(file, "JPEG", quality=quality)
    return file.tell()


def _budget_cases(rng: np.random.Generator) -> list[tuple]:
    """Small pictures with budgets of exactly one file's size, in between, beyond all, and below all."""
    cases = []
    for side in (24, 40, 56):
        ramp = np.linspace(0, 120, side)[:, None, None] + np.linspace(0, 90, side)[None, :, None]
        x_uint8 = np.clip(ramp + rng.normal(0, 12, (side, side, 3)), 0, 255).astype(np.uint8)
        exact = _jpeg_bytes(x_uint8, int(rng.integers(30, 90)))
        cases += [(x_uint8, exact), (x_uint8, exact - 1), (x_uint8, 1_000_000), (x_uint8, 300)]
    cases.append((x_uint8, _jpeg_bytes(x_uint8, 1)))  # only the lowest quality fits
    return cases


def _quality_oracle(x_uint8: np.ndarray, budget: int) -> int:
    return max((quality for quality in range(1, 96) if _jpeg_bytes(x_uint8, quality) <= budget), default=0)


def _strictly_below(x_uint8: np.ndarray, budget: int) -> int:
    return _quality_oracle(x_uint8, budget - 1)


def _first_that_is_too_large(x_uint8: np.ndarray, budget: int) -> int:
    return min(_quality_oracle(x_uint8, budget) + 1, 95)


def _lowest_that_fits(x_uint8: np.ndarray, budget: int) -> int:
    return next((quality for quality in range(1, 96) if _jpeg_bytes(x_uint8, quality) <= budget), 0)


def _budget_in_bits(x_uint8: np.ndarray, budget: int) -> int:
    return _quality_oracle(x_uint8, budget // 8)


def _curves(rng: np.random.Generator) -> list[tuple]:
    cases = []
    for _ in range(4):
        quality = np.sort(rng.uniform(26, 42, size=(2, 6)), axis=1)
        quality[:, 0], quality[:, -1] = 25, 43
        rate = np.sort(np.exp(rng.uniform(-2, 1.5, size=(2, 6))), axis=1)
        cases.append(
            (np.stack([rate[0], quality[0]], 1), np.stack([rate[1], quality[1]], 1), float(rng.uniform(28, 40)))
        )
    return cases


def _log_rate(curve: np.ndarray, decibels: float) -> float:
    """Linear interpolation by hand, segment by segment, of the logarithm of the rate."""
    for (rate_0, psnr_0), (rate_1, psnr_1) in itertools.pairwise(curve):
        if psnr_0 <= decibels <= psnr_1:
            share = (decibels - psnr_0) / (psnr_1 - psnr_0)
            return (1 - share) * math.log(rate_0) + share * math.log(rate_1)
    raise ValueError("the curve does not reach this quality")


def _linear_rates(a: np.ndarray, b: np.ndarray, decibels: float) -> float:
    return 100 * (np.interp(decibels, b[:, 1], b[:, 0]) / np.interp(decibels, a[:, 1], a[:, 0]) - 1)


EXERCISES = [
    Exercise(
        id="00.1",
        title="How long does it take?",
        cases=_seconds_cases,
        oracle=lambda height, width, rate, speed: (height * rate / 1000) * (width / 1000) / speed,
        misconceptions=[
            Misconception(
                "A rate in bits per pixel must be multiplied by the three channels.",
                lambda h, w, rate, speed: 3 * h * w * rate / (speed * 1e6),
                "yours is {yours} s where {right} s is right, three times as long: bits per pixel count all channels of a "
                "place together.",
            ),
            Misconception(
                "The rate is in bytes, or the line's speed is: somewhere bytes and bits meet.",
                lambda h, w, rate, speed: 8 * h * w * rate / (speed * 1e6),
                "yours is {yours} s where {right} s is right, eight times as long: the rate is in bits already, nothing here "
                "is in bytes.",
            ),
            Misconception(
                "Bits must become bytes before they are sent.",
                lambda h, w, rate, speed: h * w * rate / 8 / (speed * 1e6),
                "yours is {yours} s where {right} s is right, an eighth: file and line are both in bits, so no 8 appears.",
            ),
            Misconception(
                "A megabit is 2^20 bits.",
                lambda h, w, rate, speed: h * w * rate / (speed * 2**20),
                "yours is {yours} s where {right} s is right, about 5 % less: you took 2^20 bits for a megabit; network "
                "speeds use 1,000,000.",
            ),
            Misconception(
                "Mega is a word that may be left out.",
                lambda h, w, rate, speed: h * w * rate / speed,
                "yours is {yours} s where {right} s is right, a million times as long: the speed is in *mega*bits per second.",
            ),
        ],
        notice="a rate is a size once you know the pixels, and a time once you know the line. A 12-megapixel photograph at "
        "1 bit per pixel takes 1.2 s at 10 Mbit/s; raw it would take half a minute.",
    ),
    Exercise(
        id="00.2",
        title="How wrong may a pixel be?",
        cases=lambda rng: [(20.0,), *((float(d),) for d in rng.uniform(15, 50, 5))],
        oracle=lambda decibels: math.sqrt(math.exp(2 * math.log(255) - decibels * math.log(10) / 10)),
        misconceptions=[
            Misconception(
                "The mean squared error is itself in grey levels.",
                lambda d: 255**2 * 10 ** (-d / 10),
                "yours is {yours} where {right} is right: that is the *squared* error; take its root to get grey levels.",
            ),
            Misconception(
                "The peak is 1, as for floats.",
                lambda d: 10 ** (-d / 20),
                "yours is {yours} where {right} is right, 255 times too small: the answer is wanted on the 0..255 scale.",
            ),
            Misconception(
                "Decibels divide by ten whether the ratio is of amplitudes or of squares.",
                lambda d: 255 * 10 ** (-d / 10),
                "yours is {yours} where {right} is right: ten belongs to a ratio of squares; the root turns it into twenty.",
            ),
            Misconception(
                "More decibels are more error.",
                lambda d: 255 * 10 ** (d / 20),
                "yours is {yours} where {right} is right: it grows with PSNR, but more decibels mean less error; look at a sign.",
            ),
            Misconception(
                "PSNR uses the natural logarithm.",
                lambda d: 255 * math.exp(-d / 20),
                "yours is {yours} where {right} is right: you inverted a natural logarithm; decibels use base ten.",
            ),
        ],
        notice="at 30 dB a typical pixel is off by 8 grey levels, at 40 dB by 2.6, and 6 dB more always halve the error.",
    ),
    Exercise(
        id="00.3",
        title="The best JPEG for a budget",
        cases=_budget_cases,
        oracle=_quality_oracle,
        misconceptions=[
            Misconception(
                "At most means below.",
                _strictly_below,
                "yours is {yours} where {right} is right: a file of exactly `budget` bytes fits as well; is there a < for a <=?",
            ),
            Misconception(
                "The loop's last value is the answer.",
                _first_that_is_too_large,
                "yours is {yours} where {right} is right, one step too far: you return the first quality that does not fit any "
                "more.",
            ),
            Misconception(
                "The first quality that fits, counted from 1, is the best.",
                _lowest_that_fits,
                "yours is {yours} where {right} is right: quality {yours} is the first that fits, counted from below; the "
                "highest was asked for.",
            ),
            Misconception(
                "A budget in bytes must be compared with bits.",
                _budget_in_bits,
                "yours is {yours} where {right} is right: it looks as if you compared bits with bytes; len() of a file counts "
                "bytes, and so does the budget.",
            ),
        ],
        notice="sizes nearly always rise with quality, but nobody promises it. Encoders that must hit a size search like this, "
        "which is why they are slow; in notebook 12 our codec does it too.",
    ),
    Exercise(
        id="00.4",
        title="The rate at equal quality",
        cases=_curves,
        oracle=lambda a, b, decibels: 100 * math.expm1(_log_rate(b, decibels) - _log_rate(a, decibels)),
        misconceptions=[
            Misconception(
                "Rates may be interpolated as they are.",
                _linear_rates,
                "yours is {yours} % where {right} % is right: you interpolated the rate itself; interpolate its logarithm.",
            ),
            Misconception(
                "The change is measured against the new codec.",
                lambda a, b, d: 100 * math.expm1(_log_rate(a, d) - _log_rate(b, d)),
                "yours is {yours} % where {right} % is right: A and B are exchanged; the reference, below the fraction "
                "line, is A.",
            ),
            Misconception(
                "Fewer bits are a positive number.",
                lambda a, b, d: -100 * math.expm1(_log_rate(b, d) - _log_rate(a, d)),
                "yours is {yours} % where {right} % is right, the sign reversed: fewer bits are a negative percentage.",
            ),
            Misconception(
                "The ratio of the rates is the change.",
                lambda a, b, d: 100 * math.exp(_log_rate(b, d) - _log_rate(a, d)),
                "yours is {yours} % where {right} % is right, 100 too many: you return the rate of B in percent of A's; "
                "subtract the 100.",
            ),
            Misconception(
                "A difference of logarithms is already a percentage.",
                lambda a, b, d: 100 * (_log_rate(b, d) - _log_rate(a, d)),
                "yours is {yours} % where {right} % is right: a difference of logarithms is only about the percentage, for "
                "small differences; take the exponential.",
            ),
        ],
        notice="averaging this over a range of qualities gives the BD-rate, the figure by which codecs are compared.",
    ),
]
