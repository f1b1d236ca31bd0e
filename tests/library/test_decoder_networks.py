"""Decoders: what they return, that every latent reaches the pixels, and what depth_to_space and icnr promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_lib.networks import (
    PIXELS,
    DenseDecoder,
    SubPixelDecoder,
    depth_to_space,
    icnr,
)

DECODERS = {
    "dense": lambda outputs: DenseDecoder(5, 16, outputs, nnx.Rngs(0)),
    "sub-pixel": lambda outputs: SubPixelDecoder(5, 4, outputs, nnx.Rngs(0)),
}
each_decoder = pytest.mark.parametrize("make", DECODERS.values(), ids=list(DECODERS))


@each_decoder
@pytest.mark.parametrize("outputs", [1, 6])
def test_a_decoder_returns_batch_outputs_pixels(make, outputs):
    assert nnx.eval_shape(lambda: make(outputs)(jnp.ones((3, 5)))).shape == (3, outputs, PIXELS)


@each_decoder
def test_images_do_not_mix_and_every_latent_reaches_the_pixels(make):
    jacobian = jax.jit(jax.jacobian(make(1)))(jax.random.normal(jax.random.key(1), (2, 5)))  # (2, 1, pixels, 2, 5)
    influence = np.abs(jacobian).sum(axis=(1, 2))
    assert (influence[[0, 1], [0, 1]] > 0).all() and (influence[[0, 1], [1, 0]] == 0).all()


def test_pixels_are_in_rows_so_a_local_change_stays_local():
    """A change of one place of the 7x7 grid moves pixels around its place, in rows of 28."""
    decoder, grid = DECODERS["sub-pixel"](1), np.zeros((2, 7, 7, 8), np.float32)
    grid[1, 2, 5] = 1

    def after_the_dense_layer(decoder, grid):
        return depth_to_space(decoder.redouble(nnx.silu(depth_to_space(decoder.double(grid), 2))), 2)

    images = np.asarray(after_the_dense_layer(decoder, jnp.asarray(grid)))[..., 0]
    rows, columns = np.nonzero(images[1] != images[0])
    assert 8 - 6 <= rows.min() and rows.max() <= 11 + 6 and 20 - 6 <= columns.min()  # 3x3 twice, in steps of 4 and 2
    decoder.latent = lambda z: jnp.zeros((len(z), 7 * 7 * 8))
    whole = decoder(jnp.zeros((1, 5)))[0, 0].reshape(28, 28)
    np.testing.assert_allclose(whole, images[0], atol=1e-6)


def test_depth_to_space_puts_each_channel_where_the_docstring_says():
    factor, channels = 3, 2
    h = np.random.default_rng(0).normal(size=(2, 4, 5, factor**2 * channels)).astype(np.float32)
    x = np.asarray(depth_to_space(jnp.asarray(h), factor))
    assert x.shape == (2, 12, 15, 2)
    for i, j, row, column, k in np.ndindex(4, 5, factor, factor, channels):
        expected = h[:, i, j, (row * factor + column) * channels + k]
        np.testing.assert_array_equal(x[:, i * factor + row, j * factor + column, k], expected)


def test_icnr_starts_as_a_convolution_whose_pixels_are_copied():
    layer = nnx.Conv(3, 8, (3, 3), kernel_init=icnr, rngs=nnx.Rngs(0))
    h = jax.random.normal(jax.random.key(0), (2, 6, 5, 3))
    x = depth_to_space(layer(h), 2)
    copied = jnp.repeat(jnp.repeat(layer(h)[..., :2], 2, axis=1), 2, axis=2)
    np.testing.assert_allclose(x, copied, atol=1e-6)
    assert float(jnp.std(x)) == pytest.approx(1, rel=0.4)  # not smaller for being shared


def test_a_transposed_convolution_is_a_convolution_and_depth_to_space():
    """Tap by tap from a response to one impulse, so that no formula is shared with the notebook."""
    transposed = nnx.ConvTranspose(2, 3, (4, 4), strides=(2, 2), rngs=nnx.Rngs(0))
    kernel = np.zeros((3, 3, 2, 12), np.float32)
    for channel in range(2):
        impulse = jnp.zeros((1, 5, 5, 2)).at[0, 2, 2, channel].set(1)
        blocks = np.asarray(transposed(impulse))[0].reshape(5, 2, 5, 2, 3).swapaxes(1, 2).reshape(5, 5, 12)
        kernel[:, :, channel] = blocks[1:4, 1:4][::-1, ::-1]
    plain = nnx.Conv(2, 12, (3, 3), use_bias=False, rngs=nnx.Rngs(1))
    plain.kernel[...] = jnp.asarray(kernel)
    h = jax.random.normal(jax.random.key(1), (2, 7, 6, 2))
    np.testing.assert_allclose(depth_to_space(plain(h), 2), transposed(h), atol=1e-5)
