"""From probabilities to bytes: entropy, integer tables, and rANS, a stack that stores symbols (built in notebook 01).

NumPy only. A message is a value, `(state, words)`: an integer in [2^32, 2^64) on top of 32-bit words, the words as
nested pairs `(word, rest)`. `push` and `pop` return a new message and never change the one they were given, so a
codec is a pair of pure functions and big codecs are made of small ones: `Codec` and what follows it, of notebook 09.
`Lanes` are many messages coded at once; they are fast because they are arrays, changed in place.

Sources: Duda (2013), arXiv:1311.2540; for messages as values, Townsend, Bird and Barber (2019), arXiv:1901.04866.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

PRECISION = 24  # bits: the counts of a table sum to 2^24
STATE_MIN = 1 << 32  # the state stays in [2^32, 2^64): it spills, or takes in, one 32-bit word at a time

Message = tuple[int, tuple]
EMPTY: Message = (STATE_MIN, ())


class CorruptMessage(ValueError):
    """The bytes at hand cannot be what the encoder wrote."""


def entropy(p: np.ndarray) -> float:
    """Entropy in bits of a distribution (alphabet,); 0 log 0 counts as 0."""
    p = p[p > 0]
    return float(np.sum(p * np.log2(1 / p)))


def cross_entropy(p: np.ndarray, q: np.ndarray) -> float:
    """Mean bits for symbols from p when the code was made for q; both (alphabet,). Infinite where q = 0 < p."""
    with np.errstate(divide="ignore"):
        return float(-np.sum(p[p > 0] * np.log2(q[p > 0])))


def integer_table(weights: np.ndarray) -> list[int]:
    """Cumulative counts, (alphabet + 1,), from 0 to 2^24: one slot for each symbol, the others in proportion.

    Shares are rounded down; what is left over goes to the likeliest symbol. It is less than a slot for each symbol,
    so this is for small alphabets.

    Args:
      weights: (alphabet,) probabilities or counts, not negative, with a positive sum.
    """
    weights = np.asarray(weights, dtype=np.float64)
    spare = (1 << PRECISION) - len(weights)  # what is left after each symbol got one
    counts = 1 + np.floor(weights / weights.sum() * spare).astype(np.int64)
    counts[np.argmax(counts)] += (1 << PRECISION) - counts.sum()  # the likeliest symbol notices it least
    return [0, *accumulate(counts.tolist())]


def push(message: Message, start: int, count: int) -> Message:
    """Put a symbol, which owns the slots start .. start + count - 1 of 2^24, on the message."""
    state, words = message
    if state >= count << (64 - PRECISION):  # or the new state would pass 64 bits
        state, words = state >> 32, (state & 0xFFFFFFFF, words)
    return ((state // count) << PRECISION) + start + state % count, words


def pop(message: Message, table: Sequence[int]) -> tuple[int, Message]:
    """Take the symbol that was pushed last off the message; `table` holds cumulative counts."""
    state, words = message
    slot = state & ((1 << PRECISION) - 1)
    symbol = bisect_right(table, slot) - 1
    start, count = table[symbol], table[symbol + 1] - table[symbol]
    state = (state >> PRECISION) * count + slot - start
    if state < STATE_MIN:
        if not words:
            raise CorruptMessage("the message ended before its last symbol: expected another 32-bit word")
        word, words = words
        state = state << 32 | word
    return symbol, (state, words)


def encode(symbols: Sequence[int], tables: Sequence[Sequence[int]], message: Message = EMPTY) -> Message:
    """Push all symbols, symbol i with tables[i], the last one first: a stack gives them back in order."""
    for symbol, table in zip(reversed(symbols), reversed(tables), strict=True):
        message = push(message, table[symbol], table[symbol + 1] - table[symbol])
    return message


def decode(message: Message, tables: Iterable[Sequence[int]]) -> tuple[list[int], Message]:
    """Pop a symbol with each of the tables; returns the symbols and what lay beneath them."""
    symbols = []
    for table in tables:
        symbol, message = pop(message, table)
        symbols.append(symbol)
    return symbols, message


def to_bytes(message: Message) -> bytes:
    """The message from its top: eight bytes of state, then each word, little-endian 32-bit units."""
    state, words = message
    units = [state >> 32, state & 0xFFFFFFFF]
    while words:
        word, words = words
        units.append(word)
    return np.array(units, dtype="<u4").tobytes()


def from_bytes(data: bytes) -> Message:
    """The message that `to_bytes` wrote; whole words that follow it in `data` become the bottom of the stack."""
    if len(data) < 8:
        raise CorruptMessage(f"a message has at least 8 bytes: got {len(data)}")
    high, low, *rest = np.frombuffer(data, dtype="<u4", count=len(data) // 4).tolist()
    if high == 0:
        raise CorruptMessage("a message starts with a state of at least 2^32: got a smaller one")
    words: tuple = ()
    for word in reversed(rest):
        words = (word, words)
    return high << 32 | low, words


# Tables of distributions on bins (notebook 09)


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


# Codecs made of codecs (notebook 09)


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
