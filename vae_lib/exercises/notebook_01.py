"""Checks for notebook 01: the price of a belief, whole bits, pushing a uniform number, an adaptive model."""

import math

import numpy as np

from vae_lib.entropy_coding import PRECISION, Message, encode, integer_table, push, to_bytes
from vae_lib.exercises.engine import Exercise, Misconception


def _pairs(rng: np.random.Generator) -> list[tuple]:
    """Pairs of distributions; the last has zeros in p."""
    cases = [(rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n))) for n in (2, 3, 8, 20)]
    return [*cases, (np.array([0.25, 0.0, 0.75, 0.0]), np.array([0.1, 0.4, 0.2, 0.3]))]


def _kl(p: np.ndarray, q: np.ndarray, log=math.log2) -> float:
    return sum(a * log(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True) if a > 0)


def _cross(p: np.ndarray, q: np.ndarray) -> float:
    return -sum(a * math.log2(b) for a, b in zip(p.tolist(), q.tolist(), strict=True) if a > 0)


def _swapped(p: np.ndarray, q: np.ndarray) -> float:
    """KL(q, p), infinite where p is zero."""
    return math.inf if np.any(p == 0) else _kl(q, p)


def _masked_swapped(p: np.ndarray, q: np.ndarray) -> float:
    """KL(q, p) over the symbols that p has."""
    return float(np.sum((q * np.log2(q / np.where(p > 0, p, 1)))[p > 0]))


def _entropy(p: np.ndarray) -> float:
    return _cross(p, p)


def _messages(rng: np.random.Generator) -> list[tuple]:
    table = integer_table(np.ones(200))
    cases = []
    for bits in (1, 4, 12, 20, 24):
        symbols = rng.integers(0, 200, size=int(rng.integers(0, 40))).tolist()
        cases.append((encode(symbols, [table] * len(symbols)), int(rng.integers(2 ** (bits - 1), 2**bits)), bits))
    return cases


def _push_by_table(message: Message, value: int, bits: int) -> Message:
    """Through a table of 2^bits equal counts where that is small, else slot by slot arithmetic."""
    first = value << PRECISION >> bits
    last = (value + 1) << PRECISION >> bits
    return push(message, first, last - first)


def _sequences(rng: np.random.Generator) -> list[tuple]:
    return [(rng.choice(n, size=length, p=rng.dirichlet(np.ones(n))), n) for n, length in ((2, 30), (4, 50), (10, 25))]


def _adaptive(symbols: np.ndarray, alphabet: int) -> float:
    """The closed form: products of counts are factorials."""
    counts = np.bincount(symbols, minlength=alphabet).tolist()
    log_p = sum(math.lgamma(c + 1) for c in counts) + math.lgamma(alphabet) - math.lgamma(len(symbols) + alphabet)
    return -log_p / math.log(2)


def _counted_first(symbols: np.ndarray, alphabet: int) -> float:
    counts, bits = np.ones(alphabet), 0.0
    for symbol in symbols:
        counts[symbol] += 1
        bits -= np.log2(counts[symbol] / counts.sum())
    return bits


def _final_histogram(symbols: np.ndarray, alphabet: int) -> float:
    p = np.bincount(symbols, minlength=alphabet) / len(symbols)
    return float(-np.sum(np.log2(p[symbols])))


def _final_histogram_and_ones(symbols: np.ndarray, alphabet: int) -> float:
    counts = np.bincount(symbols, minlength=alphabet) + 1
    return float(-np.sum(np.log2(counts[symbols] / counts.sum())))


def _total_not_updated(symbols: np.ndarray, alphabet: int) -> float:
    counts, bits = np.ones(alphabet), 0.0
    for symbol in symbols:
        bits -= np.log2(counts[symbol] / alphabet)
        counts[symbol] += 1
    return bits


def _from_zero(symbols: np.ndarray, alphabet: int) -> float:
    """The first symbol, and every new one, has probability zero."""
    return math.inf


def _never_updated(symbols: np.ndarray, alphabet: int) -> float:
    return len(symbols) * math.log2(alphabet)


EXERCISES = [
    Exercise(
        id="01.1",
        title="The price of a belief",
        cases=_pairs,
        oracle=_kl,
        misconceptions=[
            Misconception(
                "What is paid is what is overpaid.",
                _cross,
                "yours is {yours} bits where {right} is right: that is the whole cross-entropy; subtract what the best code would "
                "have cost.",
            ),
            Misconception(
                "The KL divergence is symmetric.",
                _swapped,
                "yours is {yours} bits where {right} is right: you took the average over q; things come from p, so p weighs.",
            ),
            Misconception(
                "The average may be taken over q, without what never happens.",
                _masked_swapped,
                "yours is {yours} bits where {right} is right: p and q have changed places, as weight and in the fraction; things "
                "come from p, so p weighs and stands on top.",
            ),
            Misconception(
                "The excess is a difference of two entropies.",
                lambda p, q: _entropy(q) - _entropy(p),
                "yours is {yours} bits where {right} is right: that is the entropy of q minus the entropy of p; what is paid is "
                "the average over p of -log2 q, the cross-entropy.",
            ),
            Misconception(
                "The logarithm is the natural one.",
                lambda p, q: _kl(p, q, math.log),
                "yours is {yours} where {right} is right, 0.693 of it: those are nats; take log2.",
            ),
            Misconception(
                "The logarithm's sign does not matter.",
                lambda p, q: -_kl(p, q),
                "yours is {yours} bits where {right} is right: nobody is paid for being wrong; the fraction is upside down.",
            ),
            Misconception(
                "An average is a mean over the symbols.",
                lambda p, q: _kl(p, q) / len(p),
                "yours is {yours} bits where {right} is right: you took a mean over the alphabet; p is the weight already, so sum.",
            ),
        ],
        notice="it is never negative, and zero only when q = p.",
    ),
    Exercise(
        id="01.2",
        title="Whole bits",
        cases=lambda rng: [
            (np.array([0.99, 0.01]),),
            (np.array([0.5, 0.25, 0.125, 0.125]),),
            *((rng.dirichlet(np.ones(n)),) for n in (3, 7, 30)),
        ],
        oracle=lambda p: sum(x * next(n for n in range(1, 99) if 2.0**-n <= x) for x in p.tolist()),
        misconceptions=[
            Misconception(
                "Fractions of bits can be written with a string per symbol.",
                lambda p: -np.sum(p * np.log2(p)),
                "yours is {yours} bits where {right} is right: that is the entropy; the length of each string is a whole number.",
            ),
            Misconception(
                "Rounding up is rounding down and adding one.",
                lambda p: np.sum(p * (np.floor(-np.log2(p)) + 1)),
                "yours is {yours} bits where {right} is right: for p = 1/2 or 1/4 the length is a whole number already; rounding down "
                "and adding one makes it a bit too long. Take np.ceil.",
            ),
            Misconception(
                "Round the average.",
                lambda p: math.ceil(-np.sum(p * np.log2(p))),
                "yours is {yours} bits where {right} is right: you rounded the average; round each symbol's length, then average.",
            ),
            Misconception(
                "Round to the nearest.",
                lambda p: np.sum(p * np.rint(-np.log2(p))),
                "yours is {yours} bits where {right} is right: rounding to the nearest makes some strings too short for Kraft's "
                "inequality; round up.",
            ),
            Misconception(
                "Round down.",
                lambda p: np.sum(p * np.floor(-np.log2(p))),
                "yours is {yours} bits where {right} is right: strings shorter than -log2 p break Kraft's inequality; round up, "
                "not down.",
            ),
            Misconception(
                "All symbols count the same.",
                lambda p: np.mean(np.ceil(-np.log2(p))),
                "yours is {yours} bits where {right} is right: you took a plain mean; a symbol counts as often as it occurs.",
            ),
        ],
        notice="for the first case, a model that is 99 % sure, whole bits cost more than twelve times the entropy. That is why "
        "ANS exists.",
    ),
    Exercise(
        id="01.3",
        title="Push a number",
        cases=_messages,
        oracle=_push_by_table,
        probe=lambda function, message, value, bits: to_bytes(function(message, value, bits)),
        misconceptions=[
            Misconception(
                "A value owns one slot.",
                lambda message, value, bits: push(message, value, 1),
                "the message grew by 24 bits whatever `bits` was: with count = 1 the value owns a single slot of 2^24.",
            ),
            Misconception(
                "A value owns 2^bits slots.",
                lambda message, value, bits: push(message, value << bits, 1 << bits),
                "the message is not the right one: you gave the value 2^bits slots, but there are 2^bits *values*; they share 2^24.",
            ),
            Misconception(
                "A value owns 2^bits slots, from the value on.",
                lambda message, value, bits: push(message, value, 1 << bits),
                "the message is not the right one: there are 2^bits *values*, which share 2^24 slots, so that is not the count; and "
                "the slots of `value` begin after those of all smaller values.",
            ),
            Misconception(
                "Slots begin at the value itself.",
                lambda message, value, bits: push(message, value, 1 << (PRECISION - bits)),
                "the count is right, but the ranges overlap: those of `value` begin after those of all smaller values, each "
                "`count` long.",
            ),
            Misconception(
                "Values are counted from one.",
                lambda message, value, bits: push(
                    message, (value + 1 << PRECISION - bits) % (1 << PRECISION), 1 << (PRECISION - bits)
                ),
                "you begin one range too far: value 0 owns the slots from 0 on.",
            ),
        ],
        notice="it costs exactly `bits` bits. Popping such a number from a message is how a decoder *samples*: notebook 09 "
        "lives on that.",
    ),
    Exercise(
        id="01.4",
        title="A model that learns while it codes",
        cases=_sequences,
        oracle=_adaptive,
        misconceptions=[
            Misconception(
                "The symbol may be counted before it is paid.",
                _counted_first,
                "yours is {yours} bits where {right} is right, too cheap: you count the symbol before you pay for it; the decoder "
                "does not know it yet.",
            ),
            Misconception(
                "The final histogram may be used from the start.",
                _final_histogram,
                "yours is {yours} bits where {right} is right: that is the price under the final histogram, which the decoder "
                "does not have.",
            ),
            Misconception(
                "The final histogram may be used, if it starts from ones.",
                _final_histogram_and_ones,
                "yours is {yours} bits where {right} is right: you used the counts at the end for all symbols; the decoder has at "
                "each moment only the counts of what came before.",
            ),
            Misconception(
                "The total of the counts is the alphabet's size.",
                _total_not_updated,
                "yours is {yours} bits where {right} is right: the total grows by one with each symbol; divided by `alphabet` your "
                "probabilities pass 1, and a length below zero is no length.",
            ),
            Misconception(
                "Counts start at zero.",
                _from_zero,
                "yours is infinite where {right} is right: a symbol that was not seen yet has probability zero with you; start with "
                "a count of one for each.",
            ),
            Misconception(
                "The counts stay as they are.",
                _never_updated,
                "yours is {yours} bits where {right} is right: every symbol costs log2 of the alphabet, so the counts never change; add "
                "one after each symbol.",
            ),
            Misconception(
                "The logarithm is the natural one.",
                lambda symbols, alphabet: _adaptive(symbols, alphabet) * math.log(2),
                "yours is {yours} where {right} is right, 0.693 of it: those are nats; take log2.",
            ),
            Misconception(
                "The answer is an average.",
                lambda symbols, alphabet: _adaptive(symbols, alphabet) / len(symbols),
                "yours is {yours} where {right} is right: that is per symbol; the whole sequence was asked for.",
            ),
        ],
        notice="the order of the symbols does not matter for the total, only how often each occurs: the oracle computes it from "
        "factorials.",
    ),
]
