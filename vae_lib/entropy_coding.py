"""From probabilities to bytes: entropy, integer tables, and rANS, a stack that stores symbols (built in notebook 01).

NumPy only. A message is a value, `(state, words)`: an integer in [2^32, 2^64) on top of 32-bit words, the words as
nested pairs `(word, rest)`. `push` and `pop` return a new message and never change the one they were given, so a
codec is a pair of pure functions, of which `vae_lib.bits_back` makes bigger ones.

Sources: Duda (2013), arXiv:1311.2540; for messages as values, Townsend, Bird and Barber (2019), arXiv:1901.04866.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

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
