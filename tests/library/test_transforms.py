"""The KLT and the transforms that start as it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vae_lib import decoder
from vae_lib.images import load_photographs, patches
from vae_lib.networks import depth_to_space
from vae_lib.transforms import BLOCK, CHANNELS, Analysis, Synthesis, klt, space_to_depth
from vae_lib.workshop.freezing import named_arrays


@pytest.fixture(scope="module")
def blocks():
    photograph = load_photographs("validation")["wine"]
    return patches(photograph, BLOCK).reshape(-1, CHANNELS).astype(np.float32) - 128


def test_space_to_depth_undoes_depth_to_space():
    x = jnp.arange(2 * 3 * 4 * 12.0).reshape(2, 3, 4, 12)
    assert (space_to_depth(depth_to_space(x, 2), 2) == x).all()


def test_a_block_of_pixels_becomes_the_channels_of_one_place_row_by_row():
    x = np.arange(16 * 8 * 3.0).reshape(1, 16, 8, 3)
    assert (space_to_depth(x, 8)[0, 1, 0] == x[0, 8:].reshape(-1)).all()


def test_the_klt_is_orthonormal_and_decorrelates_largest_variance_first(blocks):
    basis, variances = klt(blocks)
    assert np.abs(basis.T @ basis - np.eye(CHANNELS)).max() < 1e-5
    z = blocks.astype(np.float64) @ basis
    moments = z.T @ z / len(z)
    assert np.abs(moments - np.diag(np.diag(moments))).max() < 1e-4 * variances[0]
    assert np.allclose(np.diag(moments), variances, rtol=1e-3, atol=1e-2)
    assert (np.diff(variances) <= 0).all()


def test_before_training_the_synthesis_undoes_the_analysis(blocks):
    basis, variances = klt(blocks)
    analysis, synthesis = (
        kind(basis, np.sqrt(variances) + 8, 16, 1, nnx.Rngs(seed)) for seed, kind in enumerate((Analysis, Synthesis))
    )
    x = jax.random.uniform(jax.random.key(0), (2, 16, 24, 3), minval=-128, maxval=127)
    quality = jnp.array([0.2, 0.9])
    z = analysis(x, quality)
    assert z.shape == (2, 2, 3, CHANNELS)
    assert jnp.abs(synthesis(z, quality) - x).max() < 1e-2  # grey levels, in float32
    assert jnp.sum(z**2) == pytest.approx(float(jnp.sum(x**2)), rel=1e-4)


def test_numpy_and_jax_correct_alike(blocks):
    """The decoder's NumPy is the network that was trained, to float32's rounding."""
    model = Synthesis(*klt(blocks), 16, 2, nnx.Rngs(0))
    last = model.correction.last.kernel
    last[...] = jax.random.normal(jax.random.key(0), last.shape) * 0.1
    h = np.random.default_rng(0).normal(size=(5, 7, CHANNELS)).astype(np.float32)

    class Arrays(dict):
        arrays = property(lambda self: self)

    arrays = Arrays({f"synthesis.{name}": array for name, array in named_arrays(model).items()})
    ours = decoder.correct(h, 30, "synthesis", arrays)
    theirs = np.asarray(model.correction(jnp.asarray(h)[None], jnp.array([0.3])))[0]
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()
