"""The coder's promises: round trip, exact stop, length near -log2 p, the same bytes as an independent coder."""

import statistics
from itertools import pairwise

import constriction
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vae_lib import bits_back
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


# Tables of distributions on bins


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-2.5, 0.1), (7.0, 3.0)])
def test_a_gaussian_table_holds_the_mass_of_each_bin(mean, std):
    edges = np.arange(-8, 8.25, 0.25)
    cdf = [0.0, *map(statistics.NormalDist(mean, std).cdf, edges), 1.0]
    assert np.diff(bits_back.gaussian_table(edges, mean, std)) / 2**24 == pytest.approx(
        np.diff(cdf), abs=len(edges) / 2**24
    )


def test_a_logistic_table_holds_the_mass_of_each_bin():
    edges = np.arange(1, 256) - 0.5
    mass = [0.5 * (np.tanh((b - 99.3) / 8) - np.tanh((a - 99.3) / 8)) for a, b in pairwise(edges)]
    assert np.diff(bits_back.logistic_table(edges, 99.3, 4.0))[1:-1] / 2**24 == pytest.approx(mass, abs=300 / 2**24)


def test_tables_leave_no_bin_empty_unless_told_to():
    edges = np.linspace(-100, 100, 401)
    assert np.diff(bits_back.gaussian_table(edges, 0, 0.1)).min() == 1
    empty = np.diff(bits_back.gaussian_table(edges, 0, 0.1, least=0))
    assert empty.min() == 0 and empty.sum() == 2**24
    assert bits_back.bernoulli_table(1e-12).tolist() == [0, 2**24 - 1, 2**24]
    assert abs(bits_back.bernoulli_table(0.25) - [0, 3 << 22, 1 << 24]).max() <= 1


# Codecs made of codecs


def random_message(rng):
    return ec.from_bytes(bytes([0, 0, 0, 1]) + rng.bytes(400))


@settings(max_examples=60, deadline=None)
@given(tables_and_symbols(), st.integers(0, 2**32))
def test_a_serial_codec_puts_symbols_on_any_message_and_takes_them_off_again(case, seed):
    tables, symbols = case
    codec = bits_back.serial_codec([bits_back.table_codec(table) for table in tables])
    beneath = random_message(np.random.default_rng(seed))
    message = codec.push(beneath, symbols)
    assert codec.pop(message) == (symbols, beneath)
    assert codec.push(*reversed(codec.pop(message))) == message
    assert message == ec.encode(symbols, tables, beneath)


@settings(max_examples=60, deadline=None)
@example(1409861, 2, 38)  # a symbol that owns few slots
@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(2, 40))
def test_bits_back_undoes_itself_and_costs_the_negative_elbo_of_its_latents(seed, latents, levels):
    """With any posterior; and with the true one, which makes that -log2 p(x) whatever the latents."""
    rng = np.random.default_rng(seed)
    p_z, p_x = rng.dirichlet(np.ones(latents)), rng.dirichlet(np.ones(levels), size=latents)
    joint = p_z[:, None] * p_x
    q_wrong = rng.dirichlet(np.ones(latents), size=levels)
    for q in (q_wrong, (joint / joint.sum(axis=0)).T):
        prior = ec.integer_table(p_z)
        likelihood, posterior = [ec.integer_table(p) for p in p_x], [ec.integer_table(p) for p in q]
        codec = bits_back.bits_back_codec(
            bits_back.table_codec(prior),
            lambda z, tables=likelihood: bits_back.table_codec(tables[z]),
            lambda x, tables=posterior: bits_back.table_codec(tables[x]),
        )
        beneath = random_message(rng)
        x = rng.choice(levels, size=100, p=joint.sum(axis=0)).tolist()
        message, elbo, paid = beneath, 0.0, 0.0
        for symbol in x:
            z, _ = ec.pop(message, posterior[symbol])
            elbo += np.log2(p_z[z] * p_x[z, symbol] / q[symbol, z])
            paid += ideal_bits([prior, likelihood[z]], [z, symbol]) - ideal_bits([posterior[symbol]], [z])
            message = codec.push(message, symbol)
        assert size(message) - size(beneath) == pytest.approx(paid, abs=0.1)
        assert paid == pytest.approx(-elbo, abs=2)  # a symbol that owns few slots has not quite its share
        if q is not q_wrong:
            assert -elbo == pytest.approx(-np.log2(joint.sum(axis=0)[x]).sum())
        for symbol in reversed(x):
            found, message = codec.pop(message)
            assert found == symbol
        assert message == beneath


def size(message):
    """Bits of a message, fractions included."""
    state, _ = message
    return np.log2(state) + 8 * (len(ec.to_bytes(message)) - 8)


# Many messages at once


def as_function(tables):
    """Tables (n, symbols + 1) as `Lanes.pop` wants them."""
    return lambda symbols: tables[np.arange(len(tables))[:, None], np.minimum(symbols, tables.shape[1] - 1)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 256))
def test_lanes_hold_the_very_messages_of_push_and_pop_and_of_constriction(seed, lanes, alphabet):
    """Pushes and pops in any order, on messages that already hold random words, in all lanes or in the first few."""
    rng = np.random.default_rng(seed)
    piles = [rng.integers(0, 2**32, 60, dtype=np.uint64).astype(np.uint32) for _ in range(lanes)]
    heads = rng.integers(2**32, 2**64, lanes, dtype=np.uint64)
    many = bits_back.Lanes(heads, piles)
    one_by_one = [ec.from_bytes(many.to_bytes(lane)) for lane in range(lanes)]
    one_by_one = [(head, as_pairs(pile)) for (head, _), pile in zip(one_by_one, piles, strict=True)]
    theirs = [
        constriction.stream.stack.AnsCoder(np.array([*pile, int(head) & 0xFFFFFFFF, int(head) >> 32], np.uint32))
        for head, pile in zip(heads, piles, strict=True)
    ]
    for _ in range(60):
        n = int(rng.integers(1, lanes + 1))
        tables = np.array([ec.integer_table(rng.random(alphabet) ** 8 + 1e-9) for _ in range(n)])
        models = [
            constriction.stream.model.Categorical((np.diff(table) - 1).astype(np.float32), perfect=False)
            for table in (tables if alphabet > 1 else [])
        ]
        if rng.random() < 0.5:
            symbols = rng.integers(0, alphabet, n)
            starts = tables[np.arange(n), symbols]
            many.push(starts, tables[np.arange(n), symbols + 1] - starts)
            for lane, symbol in enumerate(symbols.tolist()):
                start, stop = tables[lane, symbol : symbol + 2].tolist()
                one_by_one[lane] = ec.push(one_by_one[lane], start, stop - start)
                if models:
                    theirs[lane].encode_reverse(np.array([symbol], np.int32), models[lane])
        else:
            found = many.pop(as_function(tables), n, digits=3)
            for lane in range(n):
                symbol, one_by_one[lane] = ec.pop(one_by_one[lane], tables[lane].tolist())
                assert found[lane] == symbol
                assert not models or theirs[lane].decode(models[lane]) == symbol
    for lane in range(lanes):
        head, words = one_by_one[lane]
        assert int(many.heads[lane]) == head
        ours = as_pairs(many.words[lane, : many.sizes[lane]])
        assert ours == words
        assert theirs[lane].get_compressed().tolist()[-2:] == [head & 0xFFFFFFFF, head >> 32]
        assert as_pairs(theirs[lane].get_compressed()[:-2]) == words


def as_pairs(pile):
    """Words, the bottom first, as the nested pairs of a message."""
    words = ()
    for word in pile.tolist():
        words = (word, words)
    return words


def test_lanes_leave_out_the_words_that_no_pop_reached_and_come_back_from_bytes():
    rng = np.random.default_rng(0)
    piles = [rng.integers(0, 2**32, 50, dtype=np.uint64).astype(np.uint32) for _ in range(3)]
    lanes = bits_back.Lanes([2**33] * 3, piles)
    table = np.tile(ec.integer_table(np.ones(200)), (3, 1))
    for _ in range(20):
        lanes.pop(as_function(table), 3, digits=2)
    assert 0 < lanes.lowest.min() and lanes.lowest.max() < 50
    assert lanes.to_bytes(1) == ec.to_bytes((int(lanes.heads[1]), ()))
    for _ in range(300):
        lanes.push(np.full(3, 5), np.full(3, 77))
    messages = [lanes.to_bytes(lane) for lane in range(3)]
    again = bits_back.Lanes.from_bytes(messages)
    assert [again.to_bytes(lane)[:8] for lane in range(3)] == [message[:8] for message in messages]
    assert [(again.sizes == [len(m) // 4 - 2 for m in messages]).all()]
    for lane, message in enumerate(messages):
        assert ec.from_bytes(message) == (int(again.heads[lane]), as_pairs(again.words[lane, : again.sizes[lane]]))


@pytest.mark.parametrize("data", [b"", b"1234567", bytes(8)])
def test_lanes_refuse_what_is_no_message(data):
    with pytest.raises(ec.CorruptMessage, match="8 bytes"):
        bits_back.Lanes.from_bytes([ec.to_bytes(ec.EMPTY), data])


def test_a_lane_that_runs_empty_says_so():
    lanes = bits_back.Lanes.from_bytes([ec.to_bytes(ec.EMPTY)] * 2)
    with pytest.raises(ec.CorruptMessage, match="ended before its last symbol"):
        for _ in range(9):
            lanes.pop(as_function(np.tile(ec.integer_table(np.ones(256)), (2, 1))), 2, digits=2)
