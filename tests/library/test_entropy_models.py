"""The entropy model as trained, and the integers that it becomes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_lib import codec, decoder, entropy_models
from vae_lib.images import load_photographs
from vae_lib.rate_distortion import LossyCodec
from vae_lib.transforms import klt, space_to_depth
from vae_lib.workshop.freezing import freeze, named_arrays, starting_tables


@pytest.fixture(scope="module")
def photograph():
    return load_photographs("validation")["wine"][:128, :128]


@pytest.fixture(scope="module")
def model(photograph):
    """A codec with random networks large enough to matter."""
    blocks = np.asarray(space_to_depth(jnp.asarray(photograph[None], jnp.float32) - 128, 8)).reshape(-1, 192)
    model = LossyCodec(*klt(blocks), nnx.Rngs(0))
    for number, head in enumerate(model.prior.heads):
        for layer in (head.two, head.straight):
            layer.kernel[...] = 0.005 * jax.random.normal(jax.random.key(number), layer.kernel.shape)
        wider = jnp.repeat(jnp.array([0.0, 2.0]), head.two.bias.shape[0] // 2)
        head.two.bias[...] += wider  # no symbol so improbable that its scale is 0, where the codec would leave it out
    model.prior.hyper_analysis.quarter.kernel[...] *= 20  # a hyper-latent that is not 0 everywhere
    return model


def test_the_passes_visit_every_block_once_and_coarse_ones_first():
    for passes in (1, 2, 3, 5):
        masks = entropy_models.pass_masks((9, 11), passes)
        assert len(masks) == passes and (sum(masks) == 1).all()
        assert (masks[0][::4, ::4] == 1).all() and (masks[-1][::2, 1::2] == 1).all()


def test_a_density_is_one_and_costs_least_at_zero():
    density = entropy_models.Density()
    k = jnp.arange(-3000.0, 3001.0)
    for log_scale in (-3.0, 0.0, 3.0):
        bits = density(k, jnp.full_like(k, log_scale))
        assert jnp.sum(2**-bits) == pytest.approx(1, abs=1e-3)
        assert jnp.argmin(bits) == 3000


def test_a_channel_prior_gives_each_channel_a_density_of_its_own():
    prior, gain = entropy_models.ChannelPrior(np.array([0.5, 8.0, 100.0])), jnp.ones((1, 3))
    k = jnp.arange(-3000.0, 3001.0)[None, :, None, None] + jnp.zeros(3)
    bits = prior(k, gain)
    assert np.allclose(jnp.sum(2**-bits, axis=(0, 1, 2)), 1, atol=1e-3)
    y = jnp.round(jax.random.normal(jax.random.key(0), (1, 200, 20, 3)) * jnp.array([0.5, 8.0, 100.0]))
    mean_bits = prior(y, gain).mean(axis=(0, 1, 2))
    gaussian_bits = 0.5 * np.log2(2 * np.pi * np.e * np.array([8.0, 100.0]) ** 2)
    assert (np.abs(mean_bits[1:] - gaussian_bits) < 0.3).all() and mean_bits[0] < 1.5


def test_a_step_half_as_long_costs_each_symbol_of_a_channel_prior_one_bit_more():
    prior = entropy_models.ChannelPrior(np.array([40.0, 90.0]))
    z = 60 * jax.random.normal(jax.random.key(0), (2, 30, 40, 2))
    coarse, fine = (prior(jnp.round(gain * z), jnp.full((2, 2), gain)).mean(axis=(1, 2)) for gain in (0.5, 1.0))
    assert np.allclose(fine - coarse, 1, atol=0.02)
    prior.power[...] = jnp.array([1.0, 0.0])  # now the second channel's scale takes no notice of the gain
    one, two = (prior(jnp.round(z), jnp.full((2, 2), gain)) for gain in (0.5, 1.0))
    assert (one[..., 1] == two[..., 1]).all() and (one[..., 0] != two[..., 0]).any()


def test_starting_tables_cost_what_the_density_says(model):
    tables = starting_tables(np.asarray(model.prior.density.weight[...]), np.asarray(model.prior.density.ratio[...]))
    k = jnp.arange(-20.0, 21.0)
    for scale in (4, 20, 40):
        bits = model.prior.density(k, jnp.full_like(k, (scale / 4 - 4.5) * np.log(2)))
        counts = np.diff(tables[scale])[decoder.SYMBOL_MAX - 20 : decoder.SYMBOL_MAX + 21]
        common = counts > 1000  # rarer ones feel that counts are whole numbers
        assert common.sum() > 2 and np.abs(24 - np.log2(counts) - np.asarray(bits))[common].max() < 0.02


def test_integers_predict_what_floats_predict(model, photograph):
    """Frozen to integers, the prior gives the same symbols but for a few, and the same bits to two percent."""
    weights = codec.CodecWeights(freeze(named_arrays(model)))
    y = codec.analyse(photograph, (slice(0, 16), slice(0, 16)), 50, weights)
    y_hat, _, bits = nnx.jit(type(model.prior).__call__, static_argnames="noisy")(
        model.prior, jax.random.key(0), jnp.asarray(y[None]), jnp.array([0.5]), noisy=False
    )
    ours = np.zeros(y.shape)
    writer = codec.Writer(weights)

    def visit(blocks, channels, mean, scale):
        symbols = np.rint(y[*blocks, channels] - mean / 16)
        ours[*blocks, channels] = symbols + mean / 16
        writer(symbols, scale)
        return symbols

    h_hat = np.rint(codec.hyper_analyse(y, weights))
    decoder.walk(decoder.hyper_features(h_hat, 50, weights), weights, visit)
    assert np.mean(np.abs(ours - np.asarray(y_hat[0])) > 0.15) < 0.02
    assert sum(writer.bits) == pytest.approx(float(bits.sum()), rel=0.02)


def test_gradients_reach_every_parameter(model, photograph):
    from vae_lib.rate_distortion import rate_distortion_loss

    gradients = nnx.jit(nnx.grad(rate_distortion_loss))(
        model, jax.random.key(0), jnp.asarray(photograph[None]), jnp.array([0.5])
    )
    silent = [
        decoder_name
        for path, gradient in nnx.to_flat_state(gradients)
        if not float(jnp.abs(gradient[...]).max()) > 0 and (decoder_name := ".".join(map(str, path)))
    ]
    # Before training the corrections are multiplied by zeros, so that only their last layer hears anything.
    assert [name for name in silent if "correction" not in name or "last" in name] == []
