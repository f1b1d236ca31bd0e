"""Networks of integers, whose outputs are the same on every machine and in every batch, for bits back.

The decoder must meet the very probabilities that the encoder used; one count that differs turns the rest of the file
into noise. So no symbol depends on a float. Weights and activations are integers that stand for multiples of 2^-12;
matrix products run in float64, where sums of integers are exact below 2^53, so that no order of summation, batch size
or number of threads can change one (the sums here stay below 2^51); what is not linear is integer arithmetic or a
table. Each function returns its value and a function that pulls a gradient back through it.

Source: Ballé, Johnston and Minnen (2019), ICLR.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vae_lib.bits_back import logistic_cdf, round_to_integers

FRACTION = 12  # bits: in a network an integer n stands for n / 2^12
ONE = 1 << FRACTION
GRADIENT = 16  # bits of fraction of a gradient
EXACT = 1 << 51  # integers up to here are float64s with room to spare: even one that is off by an ulp rounds right

Pullback = Callable[[np.ndarray], np.ndarray]


class Kernel(NamedTuple):
    """A matrix of integers, and how large the other factor of a product may be for the product to be exact."""

    values: np.ndarray  # (inputs, outputs) integers, held in float64 because products of floats are fast
    limit: int


def kernel(values: np.ndarray) -> Kernel:
    return Kernel(values, EXACT // int(np.abs(values).sum(axis=0).max()))


def exact_product(h: np.ndarray, matrix: Kernel) -> np.ndarray:
    """Integers (n, inputs) times a kernel: (n, outputs) int64, the same whatever adds up the products in which order.

    Clipping at the limit keeps every sum of absolute products within 2^51, for any input; no image reaches it.
    """
    h = np.clip(h, -matrix.limit, matrix.limit)
    return np.rint(float_product(h.astype(np.float64), matrix.values)).astype(np.int64)


def float_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The one place where floats are added up."""
    return a @ b


class Linear(NamedTuple):
    kernel: Kernel
    transposed: Kernel
    bias: np.ndarray


class Norm(NamedTuple):
    scale: np.ndarray
    bias: np.ndarray


class Network(NamedTuple):
    """The dense encoder or decoder of `vae_lib.networks` in integers."""

    first: Linear
    inner: Norm
    widen: Linear
    back: Linear
    outer: Norm
    last: Linear


def integer_linear(layer: Linear, h: np.ndarray) -> tuple[np.ndarray, Pullback]:
    out = exact_product(h, layer.kernel) + (layer.bias << FRACTION) + ONE // 2 >> FRACTION
    return out, lambda g: exact_product(g, layer.transposed) >> FRACTION


def integer_sqrt(n: np.ndarray) -> np.ndarray:
    """The largest integers whose squares do not exceed n: a float guess, put right in integers."""
    root = np.sqrt(n.astype(np.float64)).astype(np.int64)
    root -= root * root > n
    return root + ((root + 1) ** 2 <= n)


def integer_layer_norm(norm: Norm, h: np.ndarray) -> tuple[np.ndarray, Pullback]:
    """Layer normalisation over the last axis."""
    h = np.clip(h, -ONE * ONE, ONE * ONE)  # so that no square overflows
    centred = h - mean(h)
    std = integer_sqrt(mean(centred**2) + round(1e-6 * ONE**2) << 8)  # in units of 2^-16
    normed = (centred << 16) // std

    def pullback(g: np.ndarray) -> np.ndarray:
        g = g * norm.scale >> FRACTION
        return (g - mean(g) - (normed * (mean(g * normed) >> FRACTION) >> FRACTION) << 16) // std

    return (normed * norm.scale >> FRACTION) + norm.bias, pullback


def mean(h: np.ndarray) -> np.ndarray:
    """Over the last axis, rounded down."""
    return h.sum(axis=-1, keepdims=True) // h.shape[-1]


def integer_silu(h: np.ndarray) -> tuple[np.ndarray, Pullback]:
    """x times the logistic function of x, from a table; above 16 it is x to all 12 bits."""
    value, derivative = (table.take(h + 16 * ONE, mode="clip") for table in silu_tables())
    return np.where(h < 16 * ONE, value, h), lambda g: g * derivative >> FRACTION


@functools.cache
def silu_tables() -> tuple[np.ndarray, np.ndarray]:
    """Value and derivative for inputs from -16 up to 16."""
    x = np.arange(-16 * ONE, 16 * ONE) / ONE
    gate = logistic_cdf(x)
    return round_to_integers(ONE * x * gate), round_to_integers(ONE * gate * (1 + x * (1 - gate)))


def integer_network(net: Network, h: np.ndarray) -> tuple[np.ndarray, Pullback]:
    """(n, inputs) int64 -> (n, outputs) int64, and the way back for a gradient."""
    h, through_first = integer_linear(net.first, h)
    wide, through_inner = integer_layer_norm(net.inner, h)
    wide, through_widen = integer_linear(net.widen, wide)
    wide, through_silu = integer_silu(wide)
    wide, through_back = integer_linear(net.back, wide)
    h, through_outer = integer_layer_norm(net.outer, h + wide)
    h, through_outer_silu = integer_silu(h)
    out, through_last = integer_linear(net.last, h)

    def pullback(g: np.ndarray) -> np.ndarray:
        g = through_outer(through_outer_silu(through_last(g)))
        return through_first(g + through_inner(through_widen(through_silu(through_back(g)))))

    return out, pullback
