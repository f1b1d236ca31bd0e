"""The ladder of notebook 11: a part that is off stays off, and the committed table is what the encoder does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_lib import codec
from vae_lib.decoder import CHANNELS
from vae_lib.images import load_photographs
from vae_lib.metrics import bd_rate, psnr
from vae_lib.workshop import ablation, freezing

STEPS = 30  # the same in all tests, so that the step compiles once


@pytest.fixture(scope="module")
def latents() -> list[ablation.Latent]:
    x_uint8 = load_photographs("validation")["wine"][:256, :256]
    return ablation.latents_of([x_uint8, x_uint8], codec.load_weights(), (30, 70))


def test_windows_are_cut_from_the_latents(latents):
    y, qualities = ablation.windows(latents, 5, 16, np.random.default_rng(0))
    assert y.shape == (5, 16, 16, CHANNELS)
    for window, quality in zip(y, qualities, strict=True):
        whole = latents[0 if np.isclose(quality, 0.3) else 1].y
        places = np.argwhere(np.isclose(whole[:17, :17], window[0, 0]).all(axis=-1))
        assert any(np.array_equal(whole[r : r + 16, c : c + 16], window) for r, c in places)


def test_a_part_that_is_off_stays_off_and_the_rest_moves(latents):
    prior, rates = ablation.train_prior(latents, ("hyperprior", "context of channels"), STEPS)
    trained = freezing.named_arrays(prior)
    assert np.isfinite(rates).all()
    for group in range(5):
        kernel = trained[f"heads.{group}.two.kernel"]
        means = kernel[:, : kernel.shape[1] // 2]
        assert not means.any() and kernel[:, kernel.shape[1] // 2 :].any()
    near = trained["near.1.kernel"].copy()
    assert near[1, 1].any()
    near[1, 1] = 0
    assert not near.any()  # places are off
    assert trained["hyper_synthesis.one.kernel"].any()


def test_without_the_hyperprior_nothing_is_stored_for_it(latents):
    prior, _ = ablation.train_prior(latents, (), STEPS)
    weights = codec.CodecWeights(ablation.with_prior(dict(codec.decoder.read_arrays(codec.WEIGHTS)), prior))
    hyper, _ = codec.encode_tile(latents[0].y, 30, weights)
    assert sum(hyper.bits) == 0


def test_a_longer_fit_costs_fewer_bits(latents):
    _, rates = ablation.train_prior(latents, ablation.PARTS, STEPS)
    assert np.mean(rates[-5:]) < 0.9 * np.mean(rates[:5])


@pytest.mark.parametrize("rung", range(len(ablation.PARTS) + 1))
def test_a_rung_of_the_committed_ladder_writes_the_bytes_of_the_table(rung):
    names = ["trained transforms", *ablation.PARTS]
    (row,) = [row for row in ablation.load_table()["rows"] if row["name"] == names[rung]]
    x_uint8, at = load_photographs("validation")["wine"], ablation.QUALITIES.index(30)
    encode, decode = ablation.coder(ablation.load_rung(rung), ablation.PARTS[:rung])
    data = encode(x_uint8, 30)
    assert len(data) == row["bytes"]["wine"][at]
    assert np.isclose(psnr(x_uint8, decode(data)), row["psnr"]["wine"][at], atol=1e-3)


def test_the_median_rule_is_undone_block_by_block(latents):
    y, weights = latents[0].y, ablation.load_rung(0)
    stored = ablation.differences(y, 30, weights)
    assert np.array_equal(ablation.undone(stored[..., : ablation.FLAT]), np.rint(y[..., : ablation.FLAT]))
    centre = (codec.decoder.gain(30, weights) * weights["centre"])[ablation.FLAT :]
    assert np.allclose(stored[..., ablation.FLAT :] + centre, y[..., ablation.FLAT :], atol=1e-4)
    assert 0 < np.sum(np.abs(weights["centre"]) > 2) < 10  # a few channels are nearly a constant
    assert np.abs(stored[..., : ablation.FLAT]).mean() < 0.6 * np.abs(y[..., : ablation.FLAT]).mean()


@pytest.mark.parametrize("quality", [0, 60])
def test_a_file_with_differences_comes_back_as_its_flat_channels_were_rounded(latents, quality):
    """Also where the prior's scale is 0, so that a difference is not stored: then later blocks allow for it."""
    x_uint8, weights = load_photographs("validation")["wine"][:200, :264], ablation.load_rung(2)
    whole = slice(0, 25), slice(0, 33)
    encode, decode = ablation.coder(weights, ablation.PARTS[:2])
    y = codec.analyse(x_uint8, whole, quality, weights)
    found = np.empty((25, 33, ablation.FLAT))
    plain_psnr = psnr(x_uint8, codec.decode(codec.encode(x_uint8, weights, quality), weights))
    data = encode(x_uint8, quality)
    assert psnr(x_uint8, decode(data)) > plain_psnr - 0.1

    def visit(blocks, channels, mean, scale, reader):
        symbols = codec.decoder.read(reader, scale)
        if channels.start == 0:
            found[*blocks] = np.floor(symbols + mean / 16 + 0.5)[:, : ablation.FLAT]
        return symbols

    hyper, reader = (codec.FastReader(section, weights) for section in codec.decoder.sections(data, 2))
    h_hat = codec.decoder.read(hyper, codec.decoder.hyper_scale((25, 33), quality, weights))
    state = codec.decoder.hyper_features(h_hat, quality, weights)[:25, :33]
    codec.decoder.walk(state, weights, lambda *given: visit(*given, reader))
    wrong = ablation.undone(found) != np.rint(y[..., : ablation.FLAT])
    assert wrong.mean() < 0.01  # only where nothing may be stored


def test_a_centre_is_the_mean_before_the_gain(latents):
    weights = codec.load_weights()
    centre = ablation.centre_of(latents, weights)
    left = [y - codec.decoder.gain(round(100 * quality), weights) * centre for quality, y in latents]
    means = [
        y.mean(axis=(0, 1)) / codec.decoder.gain(round(100 * q), weights)
        for (q, _), y in zip(latents, left, strict=True)
    ]
    assert np.allclose(np.mean(means, axis=0)[ablation.FLAT :], 0, atol=1e-3) and not centre[: ablation.FLAT].any()


def test_gains_in_the_table_follow_from_its_bytes():
    table = ablation.load_table()
    rows = {row["name"]: row for row in table["rows"]}
    photographs = load_photographs("validation")
    for row in table["rows"]:
        assert set(photographs) < set(row["bytes"]) and len(row["bytes"]) > 40
    last = rows["all trained together, and for longer"]
    assert last["against_JPEG"] < -50
    sizes = {name: x.shape[:2] for name, x in photographs.items()}

    def curve(row):
        rates = [[8 * b / (h * w) for b in row["bytes"][name]] for name, (h, w) in sizes.items()]
        return np.mean(rates, axis=0), np.mean([row["psnr"][name] for name in sizes], axis=0)

    before = rows[last["against"]]
    gain = bd_rate(*curve(last), *curve(before))[0]  # of three photographs; the table's is of all
    assert abs(gain - last["gain"]) < 8


def test_switches_are_zeros_and_ones():
    prior = nnx.eval_shape(lambda: ablation.ContextPrior(np.ones(CHANNELS), 96, nnx.Rngs(0)))
    for path, value in jax.tree_util.tree_leaves_with_path(nnx.state(prior, nnx.Param)):
        for parts in ((), ablation.PARTS[:2], ablation.PARTS):
            values = np.unique(np.asarray(ablation.switch(ablation.name_of(path), jnp.zeros(value.shape), parts)))
            assert set(values.tolist()) <= {0.0, 1.0}
            assert parts != ablation.PARTS or values.tolist() == [1.0]
