"""The committed weights are what their metadata says: they load, and their figure is measured again."""

import json

import jax
import numpy as np
import pytest

from vae_lib.images import load_fashion_mnist
from vae_lib.training import evaluate, read_weights
from vae_lib.workshop.fashion_vaes import (
    FASHION_VAE,
    HELD_OUT,
    LATENT_SWEEP,
    SWEEP,
    evidence_bits,
    load_fashion_vae,
    load_latent_sweep,
    sweep_name,
)

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


def test_the_vaes_of_the_latent_sweep_reach_their_stated_rates_and_distortions_on_held_out_images():
    about, _ = read_weights(LATENT_SWEEP)
    stated = json.loads(about["held_out_rate_and_distortion_bits_per_dim"])
    held_out = load_fashion_mnist("train")[0][-HELD_OUT:]
    models = load_latent_sweep()
    assert list(models) == SWEEP and stated.keys() == {sweep_name(*point) for point in SWEEP}
    for point, model in models.items():
        measured = evaluate(model, jax.random.key(123), held_out)
        assert measured == pytest.approx(stated[sweep_name(*point)], abs=TOLERANCE), point


@pytest.mark.parametrize(
    ("path", "model", "figures"),
    [
        (FASHION_VAE, "fashion-vae", "test_importance_weighted_bits_per_dim"),
        (LATENT_SWEEP, "latent-sweep", "held_out_rate_and_distortion_bits_per_dim"),
    ],
)
def test_the_weights_say_how_they_were_made_and_are_small(path, model, figures):
    about, arrays = read_weights(path)
    assert about["command"].startswith(f"python -m vae_lib train {model} --out {path.name}")
    assert {"data", "steps", "licence", figures} <= about.keys()
    assert path.stat().st_size < 11e6 and all(np.isfinite(array).all() for array in arrays.values())
