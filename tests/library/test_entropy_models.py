"""The codec's entropy models: densities, and the passes in which blocks are visited."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_lib import entropy_models


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
