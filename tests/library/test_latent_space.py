"""What notebook 08 adds to the VAE: bits of each latent, active units, traversals and arcs between latents."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from vae_lib.gaussian import kl_to_standard_normal
from vae_lib.metrics import to_bits
from vae_lib.vae import active_units, bits_per_latent, traverse

reproducible = settings(max_examples=60, derandomize=True, deadline=None)
seeds = st.integers(0, 2**32 - 1)
shapes = st.sampled_from([(1, 1), (1, 6), (4, 1), (6, 3), (2, 5)])  # few, as JAX compiles for each anew


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def posteriors(rng: np.random.Generator, batch: int, latent_dim: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(0, 1.5, (batch, latent_dim)), rng.uniform(-2, 0.5, (batch, latent_dim))


@reproducible
@given(seeds, shapes)
def test_the_bits_of_the_latents_sum_to_the_rate(seed, shape):
    mean, log_std = posteriors(np.random.default_rng(seed), *shape)
    bits = bits_per_latent(mean, log_std)
    assert bits.shape == shape[1:]
    np.testing.assert_allclose(bits.sum(), to_bits(kl_to_standard_normal(mean, log_std).mean()), rtol=1e-12)


def test_the_bits_of_one_latent_are_its_integral_averaged_over_the_images():
    mean, log_std = posteriors(np.random.default_rng(0), 3, 2)
    for j, bits in enumerate(bits_per_latent(mean, log_std)):
        integrals = []
        for m, std in zip(mean[:, j], np.exp(log_std[:, j]), strict=True):
            q = stats.norm(m, std)
            ends = m - 12 * std, m + 12 * std
            integrals.append(
                integrate.quad(lambda z, q=q: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)), *ends, limit=200)[0]
            )
        assert float(bits) == pytest.approx(np.mean(integrals) / np.log(2), rel=1e-8)


def test_a_latent_that_says_nothing_is_idle_and_one_that_speaks_is_active():
    speaks, silent = np.linspace(-2, 2, 50), np.zeros(50)
    mean, log_std = np.stack([speaks, silent], axis=1), np.stack([silent - 1, silent], axis=1)
    assert active_units(mean, log_std) == 1
    assert bits_per_latent(mean, log_std)[1] == 0


def test_a_latent_that_is_precise_but_never_moves_counts_as_active_because_it_costs_bits():
    assert active_units(np.zeros((5, 1)), np.full((5, 1), -2.0)) == 1


def test_the_threshold_is_in_bits():
    mean, log_std = np.sqrt(2 * np.log(2) * np.array([[0.5, 1.5, 2.5]])), np.zeros((1, 3))  # 0.5, 1.5 and 2.5 bits
    assert [active_units(mean, log_std, threshold) for threshold in (0.1, 1, 2, 3)] == [3, 2, 1, 0]


def test_a_traversal_changes_one_number_and_leaves_the_start_alone():
    start, values = np.arange(4.0), np.array([-1.0, 0.0, 5.0])
    z = traverse(start, 2, values)
    assert z.shape == (3, 4)
    np.testing.assert_array_equal(z[:, 2], values)
    np.testing.assert_array_equal(np.delete(z, 2, axis=1), np.tile(np.delete(start, 2), (3, 1)))
    np.testing.assert_array_equal(start, np.arange(4.0))
