"""The codec: exact symbols, honest sizes, every image size, and files that survive nothing but themselves."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lib import codec, decoder
from vae_lib.images import load_photographs
from vae_lib.metrics import psnr


@pytest.fixture(scope="module")
def weights():
    return codec.load_weights()


@pytest.fixture(scope="module")
def photograph():
    return load_photographs("validation")["wine"]


@pytest.fixture(scope="module")
def files(weights, photograph):
    """The photograph at a few qualities."""
    return {quality: codec.encode(photograph, weights, quality) for quality in (0, 35, 70, 100)}


def latent(data, weights, reader=codec.FastReader):
    return decoder.decode_latent(data, decoder.read_header(data, weights), weights, reader)


def test_more_quality_is_more_bytes_and_a_better_picture(files, weights, photograph):
    sizes = [len(data) for data in files.values()]
    decibels = [psnr(photograph, codec.decode(data, weights)) for data in files.values()]
    assert sizes == sorted(sizes) and decibels == sorted(decibels)
    assert 24 < decibels[0] < 32 and decibels[-1] > 38


def test_a_file_is_as_long_as_its_symbols_are_improbable(files, weights, photograph):
    """Within 1.5 % plus 96 bytes of the entropy model's estimate: -log2 of the tables' probabilities, nothing else."""
    for quality, data in files.items():
        writers = codec.encode_tile(codec.analyse(photograph, whole(photograph), quality, weights), quality, weights)
        estimate = sum(sum(writer.bits) for writer in writers) / 8
        assert estimate <= len(data) <= 1.015 * estimate + 96
        assert len(data) - estimate < 60  # 18 + 16 bytes around two sections, up to 8 for the state of each coder


def whole(x_uint8):
    return slice(0, -(-x_uint8.shape[0] // 8)), slice(0, -(-x_uint8.shape[1] // 8))


def test_the_ledger_adds_up_to_the_file(files, weights):
    for data in files.values():
        parts = codec.ledger(data, weights)
        assert sum(parts.values()) == pytest.approx(len(data))
        assert 0 <= parts["entropy coder"] <= 16


def test_the_reference_reads_the_same_symbols_as_the_fast_path(files, weights):
    data = files[35]
    assert (latent(data, weights, decoder.PythonReader) == latent(data, weights)).all()
    assert (decoder.decode(data, weights) == codec.decode(data, weights)).all()


DIGEST = """
import hashlib, sys
from vae_lib import codec, decoder
weights = codec.load_weights()
data = open(sys.argv[1], "rb").read()
latent = decoder.decode_latent(data, decoder.read_header(data, weights), weights, codec.FastReader)
print(hashlib.sha256(latent.tobytes()).hexdigest())
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_fresh_process_reads_the_same_symbols_with_any_number_of_threads(files, weights, tmp_path, threads):
    import hashlib

    (tmp_path / "photo.vic").write_bytes(files[35])
    environment = os.environ | {
        "OPENBLAS_NUM_THREADS": threads,
        "OPENBLAS_CORETYPE": "Haswell" if threads == "1" else "SkylakeX",  # other instructions, other order of sums
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    }
    command = [sys.executable, "-c", DIGEST, str(tmp_path / "photo.vic")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == hashlib.sha256(latent(files[35], weights).tobytes()).hexdigest()


def test_floats_that_differ_by_one_ulp_read_the_same_symbols_and_a_picture_within_a_grey_level(files, weights):
    other = codec.load_weights()
    rng = np.random.default_rng(0)
    for name, array in other.arrays.items():
        if array.dtype == np.float32:
            other.arrays[name] = np.nextafter(
                array, np.where(rng.random(array.shape) < 0.5, -np.inf, np.inf), dtype="f4"
            )
    for data in files.values():
        assert (latent(data, weights) == latent(data, other)).all()
        difference = codec.decode(data, weights).astype(int) - codec.decode(data, other)
        assert np.abs(difference).max() <= 1


def test_integers_in_floats_stay_exact(weights):
    """No sum in the entropy networks can reach 2^53, whatever symbols a file holds."""
    most = decoder.ACTIVATION_MAX
    reach = {
        name: np.abs(weights[name]).reshape(-1, weights[name].shape[-1]).sum(axis=0).max() for name in weights.arrays
    }

    def bias(name):
        return np.abs(weights[name]).max()

    sums = [decoder.SYMBOL_MAX * reach["hyper.one.kernel"] + bias("hyper.one.bias")]
    sums.append(most * reach["hyper.two.kernel"] + bias("hyper.two.bias"))
    state = sums[-1] / 2**4 + 100 * bias("quality")
    for number, (_, _, passes) in enumerate(decoder.GROUPS):
        head = f"heads.{number}"
        sums.append(most * reach[f"{head}.one.kernel"] + bias(f"{head}.one.bias"))
        if number + 1 < len(decoder.GROUPS):  # the state that the last pass of this group sees, and more
            state += passes * (16 * decoder.SYMBOL_MAX + decoder.MEAN_MAX) * reach[f"near.{number}.kernel"]
        straight = state * reach[f"{head}.straight.kernel"]
        sums += [straight, straight / 2**8 + most * reach[f"{head}.two.kernel"] + bias(f"{head}.two.bias")]
    assert max(*sums, state) < 2**53
    assert all((array == np.rint(array)).all() for array in weights.arrays.values() if array.dtype == np.float64)


def test_the_walk_in_python_integers_is_the_walk_in_floats(weights):
    """Everything that decides on tables, repeated in 64-bit integers, for a small tile with wild symbols."""
    rng = np.random.default_rng(1)
    h_hat = rng.integers(-20, 20, (2, 2, len(weights["hyper_scale.base"]))).astype(float)
    symbols = rng.integers(-60, 60, (7, 6, decoder.CHANNELS)).astype(float)

    def run(of):
        class Arrays:
            def __getitem__(self, name):
                return of(weights[name])

        seen = []

        def visit(blocks, channels, mean, scale):
            seen.append((np.asarray(mean, np.int64), np.asarray(scale, np.int64)))
            return of(symbols[*blocks, channels])

        features = decoder.hyper_features(of(h_hat), 40, Arrays())[:7, :6]
        decoder.walk(features, Arrays(), visit)
        return seen

    floats = run(lambda x: x)
    original = decoder.shift, decoder.np.zeros
    decoder.shift = lambda x, bits: x >> bits
    decoder.np = IntegerNumPy()
    try:
        integers = run(lambda x: x.astype(np.int64))
    finally:
        decoder.shift, decoder.np = original[0], np
    assert len(floats) == sum(passes for _, _, passes in decoder.GROUPS)
    for (mean, scale), (other_mean, other_scale) in zip(floats, integers, strict=True):
        assert (mean == other_mean).all() and (scale == other_scale).all()


class IntegerNumPy:
    """NumPy whose zeros are integers."""

    def __getattr__(self, name):
        return getattr(np, name)

    def zeros(self, shape):
        return np.zeros(shape, np.int64)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 100), st.booleans(), st.integers(0, 2**32 - 1))
def test_any_size_comes_back_in_its_size_and_close(weights, height, width, quality, grey, seed):
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, 256, (-(-height // 16), -(-width // 16), 1 if grey else 3), np.uint8)
    x_uint8 = np.broadcast_to(levels.repeat(16, 0).repeat(16, 1)[:height, :width], (height, width, 3))
    data = codec.encode(x_uint8, weights, quality)
    decoded = codec.decode(data, weights)
    assert decoded.shape == (x_uint8.shape[:2] if (x_uint8 == x_uint8[..., :1]).all() else x_uint8.shape)
    assert (decoded == decoder.decode(data, weights)).all()


def test_tiles_leave_no_seam(weights, files, photograph, monkeypatch):
    """Cut into small tiles, both transforms compute what they compute on the whole."""
    whole_latent = codec.analyse(photograph, whole(photograph), 35, weights)
    header, symbols = decoder.read_header(files[35], weights), latent(files[35], weights)
    at_once = decoder.synthesise(symbols, header, weights)
    monkeypatch.setattr(decoder, "TILE", 128)
    for rows, columns in decoder.tiles(header):
        tile = codec.analyse(photograph, (rows, columns), 35, weights)
        assert np.abs(tile - whole_latent[rows, columns]).max() < 1e-2  # steps
    assert np.abs(decoder.synthesise(symbols, header, weights).astype(int) - at_once).max() <= 1


def test_many_tiles_come_back(weights, photograph, monkeypatch):
    monkeypatch.setattr(decoder, "TILE", 128)
    data = codec.encode(photograph[:300, :200], weights, 50)
    assert (decoder.decode(data, weights) == codec.decode(data, weights)).all()
    assert psnr(photograph[:300, :200], codec.decode(data, weights)) > 30


def test_what_the_format_cannot_hold_is_refused(weights):
    for shape in ((0, 5, 3), (1, 65536, 3)):
        with pytest.raises(codec.CodecError, match="expected 1 to"):
            codec.encode(np.zeros(shape, np.uint8), weights)
    with pytest.raises(codec.CodecError, match="quality from 0 to 100, got 101"):
        codec.encode(np.zeros((8, 8, 3), np.uint8), weights, 101)
