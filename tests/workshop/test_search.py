"""The patient encoder: what it differentiates is the decoder, what it writes is smaller, and any decoder reads it."""

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from vae_lib import codec, decoder
from vae_lib.commands import main
from vae_lib.images import load_image, load_photographs
from vae_lib.metrics import bd_rate, bits_per_pixel, psnr
from vae_lib.workshop import search

QUALITIES = (15, 45, 75)


@pytest.fixture(scope="module")
def weights():
    return codec.load_weights()


@pytest.fixture(scope="module")
def crop():
    return load_photographs("test")["kleiber"][128:288, 128:288]


@pytest.fixture(scope="module")
def tile(crop, weights):
    return search.Tile(crop, place(crop), 45, weights)


@pytest.fixture(scope="module")
def found(tile, crop, weights):
    y = codec.analyse(crop, place(crop), 45, weights)
    return tile.measure(y, codec.hyper_latent(y, 45, weights))


def place(x_uint8):
    return slice(0, -(-x_uint8.shape[0] // 8)), slice(0, -(-x_uint8.shape[1] // 8))


def header(x_uint8):
    return decoder.Header(x_uint8.shape[0], x_uint8.shape[1], False, 45)


def short(*given):
    return search.encode_tile(*given, rounds=4)


def test_a_slower_effort_buys_at_least_four_percent(crop, weights):
    """On a crop of a photograph of the test split, over which nothing was tuned; BD-rate of real bytes."""
    curves = []
    for encode_tile in (None, search.encode_tile):
        files = [codec.encode(crop, weights, quality, search=encode_tile) for quality in QUALITIES]
        rates = [bits_per_pixel(len(data), *crop.shape[:2]) for data in files]
        curves.append((rates, [psnr(crop, codec.decode(data, weights)) for data in files]))
    percent, _, _ = bd_rate(*curves[1], *curves[0])
    assert percent < -4


def test_the_picture_that_is_differentiated_is_the_decoder_s(tile, found, crop, weights):
    latent, steps = jnp.asarray(found.latent, jnp.float32), jnp.asarray(tile.gain, jnp.float32)
    shown = search.picture(tile.model, latent, steps, jnp.asarray(0.45))
    decoded = decoder.synthesise((32 * found.latent).astype(np.int16), header(crop), weights)
    assert np.abs(np.clip(np.asarray(shown) + 128, 0, 255) - decoded).max() < 0.51


def test_the_bits_that_are_differentiated_are_those_of_the_file(tile, found, crop, weights):
    y = codec.analyse(crop, place(crop), 45, weights)
    _, writer = codec.encode_tile(y, 45, weights, search.patient)
    learned, state = jnp.asarray(found.learned, jnp.float32), jnp.asarray(found.state, jnp.float32)
    smooth = search.bits(tile.model, learned, state[None], tile.table)
    assert float(smooth) == pytest.approx(sum(writer.bits), rel=0.01)


def test_the_hyper_features_that_are_differentiated_are_the_decoder_s(tile, crop, weights):
    h_hat = codec.hyper_latent(codec.analyse(crop, place(crop), 45, weights), 45, weights)
    smooth = tile.model.prior.features(jnp.asarray(h_hat, jnp.float32)[None], jnp.asarray([0.45]))[0]
    exact = decoder.hyper_features(h_hat, 45, weights) / 2**16
    np.testing.assert_allclose(smooth, exact, atol=0.05)


def test_the_cost_of_a_tile_is_its_bits_and_its_error(found, crop, weights):
    y = codec.analyse(crop, place(crop), 45, weights)
    hyper, latent = codec.encode_tile(y, 45, weights, search.patient)
    data = codec.encode(crop, weights, 45, search.patient)
    error = np.mean((crop - codec.decode(data, weights).astype(float)) ** 2, axis=2).sum()
    assert found.cost.sum() == pytest.approx(sum(hyper.bits) + sum(latent.bits) + codec.lmbda_of(45) * error)


def test_at_a_seam_nothing_moves(monkeypatch, crop, weights):
    """The neighbours of a tile were not asked, so what they see stays."""
    monkeypatch.setattr(decoder, "TILE", 96)
    x_uint8 = crop[:, :96]  # two tiles, one above the other
    upper, lower = (search.Tile(x_uint8, place, 45, weights) for place in decoder.tiles(header(x_uint8)))
    assert upper.free[:8].all() and not upper.free[8:].any()
    assert lower.free[4:].all() and not lower.free[:4].any()
    data = codec.encode(x_uint8, weights, 45, search=short)
    latents = [
        decoder.decode_latent(d, header(x_uint8), weights, codec.FastReader)
        for d in (data, codec.encode(x_uint8, weights, 45))
    ]
    assert (latents[0] != latents[1]).any()


@pytest.mark.parametrize(("size", "grey"), [((1, 1), False), ((9, 17), True), ((33, 40), False)])
def test_any_size(size, grey, weights):
    x_uint8 = load_photographs("test")["kleiber"][200 : 200 + size[0], 200 : 200 + size[1]]
    x_uint8 = x_uint8[..., :1].repeat(3, axis=2) if grey else x_uint8

    decoded = codec.decode(codec.encode(x_uint8, weights, 60, search=short), weights)
    assert decoded.shape == (size if grey else (*size, 3))
    decoded = decoded if decoded.ndim == 3 else np.stack([decoded] * 3, axis=-1)
    assert psnr(x_uint8, decoded) > 26


def test_the_command(crop, tmp_path, capsys):
    Image.fromarray(crop[:64, :64]).save(tmp_path / "crop.png")
    for effort in (1, 2):
        arguments = ["compress", str(tmp_path / "crop.png"), str(tmp_path / f"{effort}.vic"), "--effort", str(effort)]
        assert main(arguments) == 0
        assert main(["decompress", str(tmp_path / f"{effort}.vic"), str(tmp_path / f"{effort}.png")]) == 0
    assert (tmp_path / "1.vic").read_bytes() != (tmp_path / "2.vic").read_bytes()
    assert psnr(load_image(tmp_path / "2.png"), crop[:64, :64]) > 26
    with pytest.raises(SystemExit):
        main(["compress", str(tmp_path / "crop.png"), str(tmp_path / "3.vic"), "--effort", "3"])
    assert "--effort" in capsys.readouterr().err and not (tmp_path / "3.vic").exists()
