"""fit: a resumed run is the uninterrupted run, NaN stops it, Ctrl-C keeps what there was."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from vae_lib import training
from vae_lib.likelihoods import logistic_mixture_log_likelihood
from vae_lib.networks import DenseDecoder, DenseEncoder
from vae_lib.training import Diverged, WeightsError, evaluate, fit, load_weights, save_weights, train_step
from vae_lib.vae import VAE, negative_elbo

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 28, 28, 1)).astype(np.uint8)
ADAM = optax.adam(1e-3)  # one object for all runs: another one, though equal, would compile train_step anew


def new_run(latent_dim=2):
    encoder, decoder = DenseEncoder(latent_dim, 8, nnx.Rngs(0)), DenseDecoder(latent_dim, 8, 3, nnx.Rngs(1))
    model = VAE(encoder, decoder, logistic_mixture_log_likelihood)
    return model, nnx.Optimizer(model, ADAM, wrt=nnx.Param)


def run(model, optimizer, **options):
    settings = dict(steps=23, batch_size=8, key=jax.random.key(3), held_out=IMAGES[:10], every=5)
    return fit(model, optimizer, IMAGES, **settings | options)


def arrays(model):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model))]


def killer(at_step):
    """A step function that is killed at a step, as a power cut would."""
    count = 0

    def step(*arguments):
        nonlocal count
        count += 1
        if count > at_step:
            raise RuntimeError("killed")
        return train_step(*arguments)

    return step


@pytest.fixture(scope="module")
def uninterrupted():
    model, optimizer = new_run()
    return run(model, optimizer), arrays(model)


@pytest.mark.parametrize("killed_after", [0, 1, 5, 7, 15, 22])
def test_a_run_killed_at_any_step_and_resumed_ends_with_the_same_weights(uninterrupted, tmp_path, killed_after):
    history, expected = uninterrupted
    checkpoint = tmp_path / "run.safetensors"
    with pytest.raises(RuntimeError, match="killed"):
        run(*new_run(), checkpoint=checkpoint, step_function=killer(killed_after))
    model, optimizer = new_run()
    resumed = run(model, optimizer, checkpoint=checkpoint)
    assert resumed == history
    for mine, theirs in zip(arrays(model), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_resuming_does_not_repeat_the_steps_that_were_kept(tmp_path):
    checkpoint = tmp_path / "run.safetensors"
    with pytest.raises(RuntimeError):
        run(*new_run(), checkpoint=checkpoint, step_function=killer(12))
    with pytest.raises(RuntimeError):
        run(*new_run(), checkpoint=checkpoint, step_function=killer(12))  # 10 were kept, so this one ends at 22
    assert int(training.read_weights(checkpoint)[0]["step"]) == 20


def test_a_finished_run_is_not_trained_further(tmp_path):
    checkpoint = tmp_path / "run.safetensors"
    history = run(*new_run(), checkpoint=checkpoint)
    assert run(*new_run(), checkpoint=checkpoint, step_function=killer(0)) == history


def test_nan_stops_the_run_names_the_step_and_leaves_the_checkpoint_before_it(tmp_path):
    def poisoned(model, optimizer, key, batch, beta):
        loss = train_step(model, optimizer, key, batch, beta)
        poisoned.step += 1
        return loss * jnp.nan if poisoned.step > 8 else loss

    poisoned.step = 0
    checkpoint = tmp_path / "run.safetensors"
    with pytest.raises(Diverged, match="got nan at step 8: look at the learning rate"):
        run(*new_run(), checkpoint=checkpoint, step_function=poisoned)
    assert int(training.read_weights(checkpoint)[0]["step"]) == 5


def test_ctrl_c_keeps_the_last_checkpoint_and_says_where(tmp_path, capsys):
    def interrupted(*arguments):
        interrupted.step += 1
        if interrupted.step > 12:
            raise KeyboardInterrupt
        return train_step(*arguments)

    interrupted.step = 0
    checkpoint = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        run(*new_run(), checkpoint=checkpoint, step_function=interrupted)
    assert "run.safetensors holds step 10, and the same call resumes there" in capsys.readouterr().out
    assert int(training.read_weights(checkpoint)[0]["step"]) == 10


def test_the_progress_bar_shows_bits_per_dimension(capsys):
    run(*new_run())
    assert "bits/dim" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"not a weights file", "expected a safetensors file"),
        (None, "expected a checkpoint of at most 10 steps, got one of 23"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, content, expected):
    checkpoint = tmp_path / "run.safetensors"
    if content is None:
        run(*new_run(), checkpoint=checkpoint)
    else:
        checkpoint.write_bytes(content)
    with pytest.raises(WeightsError, match=expected):
        run(*new_run(), checkpoint=checkpoint, steps=10)


def test_weights_come_back_and_a_model_of_another_shape_is_left_alone(tmp_path):
    path = tmp_path / "weights.safetensors"
    model, _ = new_run()
    save_weights(path, model, {"steps": "7"})
    other, _ = new_run()
    other.decoder.pixels.bias[...] += 1
    assert load_weights(path, other) == {"steps": "7"}
    for mine, theirs in zip(arrays(other), arrays(model), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    wider, _ = new_run(latent_dim=3)
    before = arrays(wider)
    with pytest.raises(WeightsError, match=r"expected shape \(3, 8\), got \(2, 8\)"):
        load_weights(path, wider)
    for mine, theirs in zip(arrays(wider), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_failed_save_leaves_the_old_file_and_no_half_of_a_new_one(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    model, _ = new_run()
    save_weights(path, model, {"run": "first"})
    monkeypatch.setattr("vae_lib.training.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_weights(path, model, {"run": "second"})
    assert training.read_weights(path)[0] == {"run": "first"}
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]


def test_the_loss_is_the_sum_over_pixels_and_latents_and_the_mean_over_images():
    model, _ = new_run()
    key = jax.random.key(0)
    rate, distortion = training.jitted_rate_and_distortion(model, key, jnp.asarray(IMAGES))
    assert rate.shape == distortion.shape == (50,)
    loss = nnx.jit(negative_elbo)
    for beta in (0.0, 1.0, 4.0):
        assert loss(model, key, jnp.asarray(IMAGES), beta) == pytest.approx(
            float(np.mean(distortion) + beta * np.mean(rate)), rel=1e-6
        )


def test_evaluation_does_not_depend_on_how_the_images_divide_into_batches_but_for_the_sample():
    model, _ = new_run()
    model.encoder.heads.bias[...] = jnp.array([0.3, -0.2, -20.0, -20.0])  # a posterior without noise to speak of
    whole = evaluate(model, jax.random.key(0), IMAGES, batch_size=50)
    pieces = evaluate(model, jax.random.key(0), IMAGES, batch_size=40)  # 40, and the 10 that are left
    assert pieces == pytest.approx(whole, rel=1e-5)


def test_each_epoch_shows_every_image_once_in_a_new_order():
    shown = training.batches(np.arange(40), 8, jax.random.key(0))
    epochs = [np.concatenate([next(shown) for _ in range(5)]) for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(40))
    assert list(epochs[0]) != list(epochs[1])
