"""Bits back: codecs made of codecs, tables of continuous distributions, many messages at once (built in notebook 09).

NumPy only. `bits_back_codec` stores x with a model that has a latent; `Lanes` are many messages coded side by side,
fast because they are arrays, changed in place.

Source: Townsend, Bird and Barber (2019), arXiv:1901.04866.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from vae_lib.entropy_coding import PRECISION, STATE_MIN, CorruptMessage, Message, pop, push

# Tables of distributions on bins


def cdf_table(cdf: np.ndarray, least: int = 1) -> np.ndarray:
    """Cumulative counts, (..., bins + 1) int64, from a distribution function at the inner edges, (..., bins - 1).

    Each bin gets `least` slots and its share of the others. With `least` = 0 a bin may be empty, which suits tables
    that are only popped from before they are pushed to.
    """
    bins = cdf.shape[-1] + 1
    inner = round_to_integers(cdf * ((1 << PRECISION) - least * bins)) + least * np.arange(1, bins)
    ends = np.zeros((*cdf.shape[:-1], 1), np.int64)
    return np.concatenate([ends, inner, ends + (1 << PRECISION)], axis=-1)


def round_to_integers(x: np.ndarray) -> np.ndarray:
    """To the nearest int64. Every float from which a table is made passes through here, once."""
    return np.rint(x).astype(np.int64)


def normal_cdf(x: np.ndarray) -> np.ndarray:
    """Distribution function of the standard normal, any shape."""
    return 0.5 * np.vectorize(math.erfc, otypes=[np.float64])(-x / math.sqrt(2))


def logistic_cdf(x: np.ndarray) -> np.ndarray:
    """Distribution function of the standard logistic distribution, any shape."""
    return 1 / (1 + np.exp(-x))


def gaussian_table(edges: np.ndarray, mean: float, std: float, least: int = 1) -> np.ndarray:
    """Gaussian in bins: (bins - 1,) inner edges -> (bins + 1,) cumulative counts; the outer bins reach to infinity."""
    return cdf_table(normal_cdf((edges - mean) / std), least)


def logistic_table(edges: np.ndarray, mean: float, scale: float, least: int = 1) -> np.ndarray:
    """Logistic distribution in bins: (bins - 1,) inner edges -> (bins + 1,) cumulative counts."""
    return cdf_table(logistic_cdf((edges - mean) / scale), least)


def bernoulli_table(p: float) -> np.ndarray:
    """Symbol 1 with probability p, symbol 0 otherwise: (3,) cumulative counts."""
    return cdf_table(np.array([1 - p]))


# Codecs made of codecs


class Codec(NamedTuple):
    """Two functions that undo each other: push(message, symbol) -> message, and pop(message) -> (symbol, message)."""

    push: Callable[[Any, Any], Any]
    pop: Callable[[Any], tuple[Any, Any]]


def table_codec(table: Sequence[int] | np.ndarray) -> Codec:
    """One symbol with one table of cumulative counts."""
    table = [int(count) for count in table]  # Python's integers: a state of 64 bits is too large for int64

    def push_symbol(message: Message, symbol: int) -> Message:
        return push(message, table[symbol], table[symbol + 1] - table[symbol])

    return Codec(push_symbol, lambda message: pop(message, table))


def serial_codec(codecs: Sequence[Codec]) -> Codec:
    """A list of symbols, each with its own codec; the last is pushed first, so that they come off in order."""

    def push_all(message: Any, symbols: Sequence) -> Any:
        for codec, symbol in zip(reversed(codecs), reversed(symbols), strict=True):
            message = codec.push(message, symbol)
        return message

    def pop_all(message: Any) -> tuple[list, Any]:
        symbols = []
        for codec in codecs:
            symbol, message = codec.pop(message)
            symbols.append(symbol)
        return symbols, message

    return Codec(push_all, pop_all)


def bits_back_codec(prior: Codec, likelihood: Callable[[Any], Codec], posterior: Callable[[Any], Codec]) -> Codec:
    """A codec for x from a model with a latent: costs -log p(z) - log p(x | z) + log q(z | x) in all.

    Args:
      prior: codec of z.
      likelihood: z -> codec of x.
      posterior: x -> codec of z.

    Source: Townsend, Bird and Barber (2019), arXiv:1901.04866.
    """

    def push_x(message: Any, x: Any) -> Any:
        z, message = posterior(x).pop(message)  # the bits that are already there choose z
        message = likelihood(z).push(message, x)
        return prior.push(message, z)

    def pop_x(message: Any) -> tuple[Any, Any]:
        z, message = prior.pop(message)
        x, message = likelihood(z).pop(message)
        return x, posterior(x).push(message, z)  # and here those bits come back

    return Codec(push_x, pop_x)


# Many messages at once


class Lanes:
    """Many messages side by side, coded at once: lane i holds exactly the message that `push` and `pop` make.

    Unlike a message, lanes are changed in place. Symbols, starts and counts are int64 arrays, (n,), for the first n
    lanes. `lowest` remembers how low each pile of words has been: what lies beneath was never needed.
    """

    def __init__(self, heads: Sequence[int] | np.ndarray, piles: Sequence[np.ndarray]):
        """
        Args:
          heads: (lanes,) states in [2^32, 2^64).
          piles: for each lane its 32-bit words, the bottom first.
        """
        self.heads = np.array(heads, np.uint64)
        self.sizes = np.array([len(pile) for pile in piles])
        self.lowest = self.sizes.copy()
        self.words = np.zeros((len(piles), int(self.sizes.max()) + 1), np.uint32)
        for words, pile in zip(self.words, piles, strict=True):
            words[: len(pile)] = pile

    def push(self, starts: np.ndarray, counts: np.ndarray) -> None:
        """`push`, in each of the first n lanes."""
        heads, counts = self.heads[: len(counts)], counts.astype(np.uint64)
        full = np.flatnonzero(heads >> (64 - PRECISION) >= counts)
        if full.size:
            if self.sizes.max() == self.words.shape[1]:
                self.words = np.concatenate([self.words, np.zeros_like(self.words)], axis=1)
            self.words[full, self.sizes[full]] = heads[full] & 0xFFFFFFFF
            self.sizes[full] += 1
            heads[full] >>= 32
        quotient, remainder = np.divmod(heads, counts)
        heads[:] = (quotient << PRECISION) + starts.astype(np.uint64) + remainder

    def pop(self, cumulative: Callable[[np.ndarray], np.ndarray], lanes: int, digits: int) -> np.ndarray:
        """`pop`, in each of the first n lanes, with a table that is a function.

        Args:
          cumulative: symbols (n, k), from 0 to 16^digits, to their cumulative counts (n, k): 0 at symbol 0, and 2^24
            from the size of the alphabet on.
          digits: of a symbol, in base 16; it is found digit by digit.

        Returns:
          (n,) symbols.
        """
        heads = self.heads[:lanes]
        slots = (heads & ((1 << PRECISION) - 1)).astype(np.int64)[:, None]
        symbols = np.zeros_like(slots)
        for place in range(digits - 1, -1, -1):
            candidates = symbols + (np.arange(16) << 4 * place)
            symbols += (np.sum(cumulative(candidates) <= slots, axis=1, keepdims=True) - 1) << 4 * place
        bounds = cumulative(symbols + np.arange(2))
        starts, counts = bounds[:, 0], bounds[:, 1] - bounds[:, 0]
        heads[:] = (heads >> PRECISION) * counts.astype(np.uint64) + (slots[:, 0] - starts).astype(np.uint64)
        empty = np.flatnonzero(heads < STATE_MIN)
        if empty.size:
            if not self.sizes[empty].all():
                raise CorruptMessage("a message ended before its last symbol: expected another 32-bit word")
            self.sizes[empty] -= 1
            self.lowest[empty] = np.minimum(self.lowest[empty], self.sizes[empty])
            heads[empty] = heads[empty] << 32 | self.words[empty, self.sizes[empty]]
        return symbols[:, 0]

    def to_bytes(self, lane: int) -> bytes:
        """What `to_bytes` makes of a lane's message; words that its pile never got down to are left out."""
        pile = self.words[lane, self.lowest[lane] : self.sizes[lane]]
        head = np.uint64(self.heads[lane])
        return np.array([head >> 32, head & 0xFFFFFFFF, *pile[::-1]], dtype="<u4").tobytes()

    @classmethod
    def from_bytes(cls, messages: Sequence[bytes]) -> "Lanes":
        """A lane for each message that `to_bytes` wrote."""
        units = [np.frombuffer(data, dtype="<u4", count=len(data) // 4) for data in messages]
        if any(len(u) < 2 or u[0] == 0 for u in units):
            raise CorruptMessage("a message has at least 8 bytes and starts with a state of at least 2^32: got another")
        return cls([int(u[0]) << 32 | int(u[1]) for u in units], [u[:1:-1] for u in units])
