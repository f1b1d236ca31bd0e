"""The committed weights are what their metadata says: they load, and their figure is measured again."""

import jax
import numpy as np

from vae_lib.images import load_fashion_mnist
from vae_lib.recipes import FASHION_VAE, evidence_bits, load_fashion_vae
from vae_lib.training import evaluate
from vae_lib.weights import read_weights

# Evaluated with another draw of z, which moves the mean of 10,000 images by a thousandth of a bit or so.
TOLERANCE = 0.004


def test_the_fashion_vae_reaches_its_stated_bits_per_dimension_on_the_official_test_set():
    about, _ = read_weights(FASHION_VAE)
    test_uint8, _ = load_fashion_mnist("test")
    model = load_fashion_vae()
    rate, distortion = evaluate(model, jax.random.key(123), test_uint8)
    assert abs(rate + distortion - float(about["test_negative_elbo_bits_per_dim"])) < TOLERANCE
    assert abs(rate - float(about["test_rate_bits_per_dim"])) < TOLERANCE
    assert rate + distortion <= 3.38, "what the course promises of these weights"


def test_the_importance_weighted_bound_lies_below_the_negative_elbo():
    test_uint8, _ = load_fashion_mnist("test")
    model, some = load_fashion_vae(), test_uint8[:300]
    bound, negative_elbo = evidence_bits(model, jax.random.key(1), some), sum(evaluate(model, jax.random.key(2), some))
    assert 0.005 < negative_elbo - bound < 0.1


def test_the_weights_say_how_they_were_made_and_are_small():
    about, arrays = read_weights(FASHION_VAE)
    assert about["command"].startswith("python -m vae_lib train fashion-vae")
    assert {"data", "steps", "licence", "test_importance_weighted_bits_per_dim"} <= about.keys()
    assert FASHION_VAE.stat().st_size < 11e6 and all(np.isfinite(array).all() for array in arrays.values())
