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
    x_uint8, weights = load_photographs("validation")["wine"], ablation.load_rung(rung)
    at = ablation.QUALITIES.index(30)
    data = codec.encode(x_uint8, weights, 30)
    assert len(data) == row["bytes"]["wine"][at]
    assert np.isclose(psnr(x_uint8, codec.decode(data, weights)), row["psnr"]["wine"][at], atol=1e-3)


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
