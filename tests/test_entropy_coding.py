"""The coder's promises: round trip, exact stop, length near -log2 p, the same bytes as an independent coder."""

import constriction
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lib import entropy_coding as ec


@st.composite
def tables_and_symbols(draw):
    """Up to four random tables, a random choice of table for each symbol, and symbols drawn from their tables."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sharpness = draw(st.sampled_from([0.5, 1, 4, 20]))
    weights = [rng.random(draw(st.integers(1, 300))) ** sharpness + 1e-12 for _ in range(draw(st.integers(1, 4)))]
    choice = rng.integers(0, len(weights), draw(st.integers(0, 400)))
    symbols = [int(rng.choice(len(weights[c]), p=weights[c] / weights[c].sum())) for c in choice]
    tables = [ec.integer_table(w) for w in weights]
    return [tables[c] for c in choice], symbols


def ideal_bits(tables, symbols):
    counts = [table[symbol + 1] - table[symbol] for table, symbol in zip(tables, symbols, strict=True)]
    return -sum(np.log2(count / 2**ec.PRECISION) for count in counts)


@settings(max_examples=150, deadline=None)
@given(tables_and_symbols())
def test_symbols_come_back_and_the_message_ends_where_it_began(case):
    tables, symbols = case
    decoded, message = ec.decode(ec.from_bytes(ec.to_bytes(ec.encode(symbols, tables))), tables)
    assert decoded == symbols
    assert message == ec.EMPTY


@settings(max_examples=100, deadline=None)
@given(tables_and_symbols(), st.binary(max_size=41))
def test_the_decoder_stops_where_it_should_with_rubbish_appended(case, rubbish):
    tables, symbols = case
    decoded, beneath = ec.decode(ec.from_bytes(ec.to_bytes(ec.encode(symbols, tables)) + rubbish), tables)
    assert decoded == symbols
    assert beneath[0] == ec.STATE_MIN
    assert ec.to_bytes(beneath)[8:] == rubbish[: len(rubbish) // 4 * 4]


@settings(max_examples=100, deadline=None)
@given(tables_and_symbols())
def test_length_is_within_64_bits_and_a_thousandth_of_the_ideal(case):
    tables, symbols = case
    ideal = ideal_bits(tables, symbols)
    bits = 8 * len(ec.to_bytes(ec.encode(symbols, tables)))
    assert ideal <= bits <= 1.001 * ideal + 64


@settings(max_examples=100, deadline=None)
@given(tables_and_symbols())
def test_bytes_are_those_of_constriction(case):
    tables, symbols = case
    coder = constriction.stream.stack.AnsCoder(np.array([0, 1], np.uint32))  # the state 2^32, from which ours starts
    for table, symbol in zip(reversed(tables), reversed(symbols), strict=True):
        if len(table) > 2:  # constriction has no alphabet of one symbol; coding it changes nothing
            model = constriction.stream.model.Categorical((np.diff(table) - 1).astype(np.float32), perfect=False)
            coder.encode_reverse(np.array([symbol], np.int32), model)
    theirs = coder.get_compressed()[::-1].astype("<u4").tobytes()  # constriction lists the bottom of the stack first
    assert ec.to_bytes(ec.encode(symbols, tables)) == theirs


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=1000).filter(lambda w: sum(w) > 0))
def test_a_table_sums_to_its_precision_and_leaves_no_symbol_without_a_slot(weights):
    table = ec.integer_table(np.array(weights))
    assert table[0] == 0 and table[-1] == 2**ec.PRECISION
    assert min(np.diff(table)) >= 1
    share = np.array(weights) / sum(weights)
    assert np.abs(np.diff(table) / 2**ec.PRECISION - share).max() <= (len(weights) + 1) / 2**ec.PRECISION


def test_push_leaves_the_old_message_as_it_was():
    table = ec.integer_table(np.ones(7))
    old = ec.encode([1, 2, 3] * 50, [table] * 150)
    before = ec.to_bytes(old)
    ec.push(old, table[3], table[4] - table[3])
    ec.pop(old, table)
    assert ec.to_bytes(old) == before


@pytest.mark.parametrize("data", [b"", b"1234567", bytes(8)])
def test_what_is_no_message_is_refused_with_what_was_expected(data):
    with pytest.raises(ec.CorruptMessage, match=r"8 bytes|2\^32"):
        ec.from_bytes(data)


def test_a_truncated_message_says_that_it_ended():
    table = ec.integer_table(np.ones(256))
    data = ec.to_bytes(ec.encode([7] * 100, [table] * 100))
    for kept in (8, len(data) // 2, len(data) - 1):
        with pytest.raises(ec.CorruptMessage, match="ended before its last symbol"):
            ec.decode(ec.from_bytes(data[:kept]), [table] * 100)


@given(st.integers(0, 2**32), st.integers(2, 50))
def test_cross_entropy_exceeds_entropy_by_the_divergence_and_equals_it_for_the_right_model(seed, alphabet):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(alphabet), size=2)
    divergence = sum(a * np.log2(a / b) for a, b in zip(p, q, strict=True) if a > 0)
    assert ec.cross_entropy(p, q) - ec.entropy(p) == pytest.approx(divergence, abs=1e-9)
    assert ec.cross_entropy(p, p) == pytest.approx(ec.entropy(p))
    assert ec.entropy(np.full(alphabet, 1 / alphabet)) == pytest.approx(np.log2(alphabet))


def test_what_the_model_called_impossible_costs_infinitely_many_bits():
    assert ec.cross_entropy(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == np.inf
