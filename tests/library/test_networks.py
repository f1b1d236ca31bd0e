"""Encoders: shapes, what a unit sees, and that training reaches the posterior mean of a known model."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from vae_lib.networks import PIXELS, ConvEncoder, DenseEncoder, ResidualBlock, centred

ENCODERS = {"dense": lambda: DenseEncoder(5, 32, nnx.Rngs(0)), "convolutional": lambda: ConvEncoder(5, 4, nnx.Rngs(0))}


@pytest.fixture(params=ENCODERS)
def encoder(request):
    return ENCODERS[request.param]()


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)


def test_encoder_input_runs_from_minus_one_to_one():
    x = centred(jnp.array([0, 255], jnp.uint8))
    assert x.dtype == jnp.float32
    np.testing.assert_allclose(x, [-1, 1])


def test_encoder_returns_mean_and_log_std_of_each_image(encoder):
    mean, log_std = encoder(images(3))
    assert mean.shape == log_std.shape == (3, 5)
    assert not np.allclose(mean, log_std)


def test_encoder_treats_the_images_of_a_batch_apart(encoder):
    x = images(4)
    alone = np.concatenate([np.concatenate(encoder(x[i : i + 1]), axis=-1) for i in range(4)])
    np.testing.assert_allclose(np.concatenate(encoder(x), axis=-1), alone, atol=1e-5)


def test_encoder_log_std_may_be_negative_and_positive(encoder):
    """No softplus, no exponential at the end: the head is a logarithm."""
    _, log_std = encoder(images(64))
    assert log_std.min() < 0 < log_std.max()


@pytest.mark.parametrize(("layers", "width"), [(1, 4), (2, 10)])
def test_encoder_convolution_sees_a_block_of(layers, width):
    encoder = ENCODERS["convolutional"]()

    def unit(x):
        h = encoder.halve(x)
        return h[0, 7, 7, 0] if layers == 1 else encoder.quarter(h)[0, 3, 3, 0]

    rows, columns = np.nonzero(np.asarray(jax.grad(unit)(jnp.ones((1, 28, 28, 1))))[0, :, :, 0])
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == width


def test_encoder_residual_block_passes_its_input_on():
    block = ResidualBlock(8, nnx.Rngs(0))
    block.back.kernel[...] = jnp.zeros((8, 8))
    h = jax.random.normal(jax.random.key(0), (2, 8))
    np.testing.assert_array_equal(block(h), h)


def test_encoder_learns_from_every_pixel(encoder):
    gradients = jax.grad(lambda x: jnp.sum(encoder_on_floats(encoder, x)))(jnp.asarray(images(1), jnp.float32))
    assert np.count_nonzero(gradients) == PIXELS


def encoder_on_floats(encoder, x):
    """Both outputs; floats stand in for uint8, which has no gradient."""
    return jnp.concatenate(encoder(x), axis=-1)


def test_encoder_can_be_trained_on_which_half_is_bright(encoder):
    """A known answer: z is the difference of two halves' mean grey, log_std is log 0.1."""
    x = np.clip(images(256) // 4 + np.random.default_rng(1).integers(0, 160, (256, 1, 2, 1)).repeat(14, 2), 0, 255)
    x = x.astype(np.uint8)
    target = (x[:, :, 14:].mean(axis=(1, 2, 3)) - x[:, :, :14].mean(axis=(1, 2, 3)))[:, None] / 50
    optimizer = nnx.Optimizer(encoder, optax.adam(3e-3), wrt=nnx.Param)

    @nnx.jit
    def step(encoder, optimizer):
        def loss(encoder):
            mean, log_std = encoder(x)
            return jnp.mean((mean[:, :1] - target) ** 2) + jnp.mean((log_std - jnp.log(0.1)) ** 2)

        value, gradients = nnx.value_and_grad(loss)(encoder)
        optimizer.update(encoder, gradients)
        return value

    losses = [float(step(encoder, optimizer)) for _ in range(60)]
    assert losses[-1] < 0.1 * losses[0], "a linear function of the image is learned in sixty steps"
