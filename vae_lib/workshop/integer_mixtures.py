"""Mixtures of discretised logistics in integers: the tables of pixels, and the gradient of their logarithm.

Floats only make the tables, once, and none comes near enough to a half to be rounded otherwise elsewhere.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vae_lib.bits_back import logistic_cdf, round_to_integers
from vae_lib.entropy_coding import PRECISION
from vae_lib.workshop.fashion_vaes import COMPONENTS
from vae_lib.workshop.integer_networks import FRACTION, GRADIENT, ONE

SIDE = 28
PIXELS = SIDE * SIDE

EDGES = 2 * np.arange(257) - 1  # lower edge of each grey level, in half levels; a level 256 would begin above the last
EDGES[0], EDGES[256] = -(1 << 20), 1 << 20  # as good as infinite
SLOPE = 20  # bits of fraction of one over a scale
WEIGHT = 16  # bits: the weights of a mixture sum to 2^16
TOP = (1 << PRECISION) - 256  # slots that the mixture shares out; each grey level has one of its own besides


@functools.cache
def logistic_counts() -> np.ndarray:
    """TOP times the logistic function, from -16 to 16 in steps of 2^-12."""
    counts = round_to_integers(TOP * logistic_cdf(np.arange(-16 * ONE, 16 * ONE + 1) / ONE))
    counts[0], counts[-1] = 0, TOP
    return counts


@functools.cache
def exponential_table() -> np.ndarray:
    """e^-x for x = 0, 1/64, 2/64 ... in units of 2^-20, down to zero."""
    return round_to_integers(2.0**20 * np.exp(-np.arange(15 * 64) / 64))


@functools.cache
def slope_table() -> np.ndarray:
    """One over the scale in half levels, in units of 2^-20, for log scales from -7 to 5 in steps of 1/64.

    The decoder says them plus 2, on an axis from -1 to 1, which is 510 half levels.
    """
    return round_to_integers(2.0**SLOPE / 255 * np.exp(2 - np.arange(-7 * 64, 5 * 64) / 64))


class Mixtures(NamedTuple):
    """The distribution of each pixel: (components, n, pixels) each."""

    weights: np.ndarray  # of sum 2^16
    slopes: np.ndarray  # one over the scale
    offsets: np.ndarray  # minus the mean times the slope

    def places(self, levels: np.ndarray) -> np.ndarray:
        """Where the lower edges of grey levels 0 .. 256 lie in the table of the logistic function."""
        places = EDGES[levels] * self.slopes + self.offsets >> SLOPE - FRACTION
        return np.minimum(np.maximum(places, 0), 32 * ONE)

    def cumulative(self, levels: np.ndarray) -> np.ndarray:
        """Cumulative counts of grey levels 0 .. 256, an array that broadcasts with (n, pixels)."""
        return ((self.weights * logistic_counts()[self.places(levels)]).sum(axis=0) >> WEIGHT) + levels

    def intervals(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starts and counts, (n, pixels) each, of grey levels (n, pixels)."""
        starts = self.cumulative(x)
        return starts, self.cumulative(x + 1) - starts

    def of_pixel(self, i: int) -> Callable[[np.ndarray], np.ndarray]:
        """Cumulative counts of pixel i of each image, as a function of levels (n, k)."""
        mixtures = Mixtures(*(part[:, :, i, None] for part in self))
        return lambda levels: mixtures.cumulative(np.minimum(levels, 256))


def mixtures_of(out: np.ndarray) -> Mixtures:
    """The mixtures that a decoder's outputs (n, 3 * components * pixels) stand for."""
    logits, means, log_scales = out.reshape(-1, 3, COMPONENTS, PIXELS).transpose(1, 2, 0, 3)
    shares = exponential_table().take(logits.max(axis=0) - logits >> FRACTION - 6, mode="clip")
    weights = (shares << WEIGHT) // shares.sum(axis=0)
    weights[0] += (1 << WEIGHT) - weights.sum(axis=0)
    slopes = slope_table().take((log_scales >> FRACTION - 6) + 7 * 64, mode="clip")
    means = np.clip(means, -ONE * ONE, ONE * ONE)
    return Mixtures(weights, slopes, (16 << SLOPE) - (means * slopes >> FRACTION))


def mixture_gradient(mixtures: Mixtures, x: np.ndarray) -> np.ndarray:
    """Gradient of log p(x) with respect to a decoder's outputs: (n, pixels) -> (n, 3 * components * pixels).

    With F and F' the logistic function at a level's lower and upper edge, d log(F' - F) / d mean is slope (F + F' - 1):
    the difference cancels. A component counts as much as its share of the pixel's probability.
    """
    lower, upper = mixtures.places(x), mixtures.places(x + 1)
    below, above = logistic_counts()[lower], logistic_counts()[upper]
    mass = above - below
    parts = mixtures.weights * mass
    shares = (parts << GRADIENT) // np.maximum(parts.sum(axis=0), 1)
    balance = below + above - TOP >> PRECISION - GRADIENT
    means = (shares * balance >> GRADIENT) * mixtures.slopes >> SLOPE
    widths = (upper - lower) * (above * (TOP - above) // TOP) // np.maximum(mass, 1) << GRADIENT - FRACTION
    log_scales = shares * (((lower - 16 * ONE) * balance >> FRACTION) - widths) >> GRADIENT
    gradient = np.stack([shares - mixtures.weights, means, log_scales])
    return gradient.transpose(2, 0, 1, 3).reshape(len(x), -1)
