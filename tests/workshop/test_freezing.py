"""The codec's model as trained, and the integers that it becomes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_lib import codec, decoder
from vae_lib.images import load_photographs
from vae_lib.rate_distortion import LossyCodec, rate_distortion_loss
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
