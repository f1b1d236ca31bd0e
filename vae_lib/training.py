"""The training loop, held-out evaluation, checkpoints that resume exactly, models on disk (built in notebook 07).

Everything random is a function of the key and the step, so a run that was interrupted and resumed is the same run. A
model on disk is a safetensors file, which holds arrays and text and nothing that runs, with what produced it.
"""

import itertools
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from vae_lib.metrics import bits_per_dim
from vae_lib.vae import VAE, negative_elbo, rate_and_distortion

CHECK_EVERY = 20  # steps between looks at the loss; looking waits for the computation, so not every step


class Diverged(ArithmeticError):
    """The loss stopped being a number; the message says at which step and what to look at."""


@nnx.jit
def train_step(model: VAE, optimizer: nnx.Optimizer, key: Array, x_uint8: Array, beta: Array) -> Array:
    """One gradient step on the negative ELBO; changes model and optimizer, returns the loss in nats per image."""
    loss, gradients = nnx.value_and_grad(lambda model: negative_elbo(model, key, x_uint8, beta))(model)
    optimizer.update(model, gradients)
    return loss


jitted_rate_and_distortion = nnx.jit(rate_and_distortion)


def evaluate(model: VAE, key: Array, x_uint8: np.ndarray, batch_size: int = 500) -> tuple[float, float]:
    """Rate and distortion in bits per dimension, one sample of z for each image, mean over all images.

    Args:
      x_uint8: (n, height, width, channels); n need not be a multiple of the batch size.
    """
    totals = np.zeros(2)
    for start in range(0, len(x_uint8), batch_size):
        batch = x_uint8[start : start + batch_size]
        terms = jitted_rate_and_distortion(model, jax.random.fold_in(key, start), jnp.asarray(batch))
        totals += [float(term.sum()) for term in terms]
    rate, distortion = bits_per_dim(totals / len(x_uint8), math.prod(x_uint8.shape[1:]))
    return float(rate), float(distortion)


def batches(x: np.ndarray, batch_size: int, key: Array, start: int = 0) -> Iterator[np.ndarray]:
    """Endless batches from step `start` on, each epoch in a new order that depends on key and epoch only."""
    per_epoch = len(x) // batch_size
    for step in itertools.count(start):
        epoch, i = divmod(step, per_epoch)
        if i == 0 or step == start:
            order = np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), len(x)))
        yield x[order[i * batch_size : (i + 1) * batch_size]]


class Checkpoint(nnx.Module):
    """What a run must remember besides its step: the model and the optimizer's state."""

    def __init__(self, model: nnx.Module, optimizer: nnx.Optimizer):
        self.model = model
        self.optimizer = optimizer


def fit(
    model: VAE,
    optimizer: nnx.Optimizer,
    x_uint8: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    key: Array,
    held_out: np.ndarray | None = None,
    beta: Callable[[int], float] = lambda step: 1.0,
    step_function: Callable[..., Array] = train_step,
    every: int = 500,
    checkpoint: str | Path | None = None,
) -> list[dict[str, float]]:
    """Train for a fixed number of steps, with a progress bar; with a checkpoint, go on where it stopped.

    Args:
      model, optimizer: changed in place.
      x_uint8: (n, height, width, channels) training images.
      steps: in all, those of a resumed checkpoint included.
      key: order of the images and all samples of z follow from it.
      held_out: images to evaluate on.
      beta: weight of the rate at each step.
      step_function: (model, optimizer, key, batch, beta) -> loss in nats per image.
      every: steps from one record to the next; then the model is evaluated and the checkpoint written.
      checkpoint: a file to resume from where it exists; each record replaces it.

    Returns:
      The records: step, train_bits (the loss in bits per dimension, mean since the last record), and with held_out
      rate_bits and distortion_bits, whose sum is the negative ELBO.

    Raises:
      Diverged: the loss is NaN or infinite. The checkpoint on disk is from before.
      WeightsError: the checkpoint is damaged or of another model.
    """
    dims = math.prod(x_uint8.shape[1:])
    order_key, sample_key, held_out_key = jax.random.split(key, 3)

    def take_steps(start: int) -> Iterator[Array]:
        for step, batch in enumerate(batches(x_uint8, batch_size, order_key, start), start):
            yield step_function(model, optimizer, jax.random.fold_in(sample_key, step), batch, beta(step))

    def measure(loss: float) -> dict[str, float]:
        record = {"train_bits": float(bits_per_dim(loss, dims))}
        if held_out is not None:
            rate, distortion = evaluate(model, held_out_key, held_out)
            record |= {"rate_bits": rate, "distortion_bits": distortion}
        return record

    def show(loss: float) -> str:
        return f"{bits_per_dim(loss, dims):.3f} bits/dim"

    return run(Checkpoint(model, optimizer), take_steps, measure, show, steps=steps, every=every, checkpoint=checkpoint)


def run(
    state: Checkpoint,
    take_steps: Callable[[int], Iterator[Array]],
    measure: Callable[[float], dict[str, float]],
    show: Callable[[float], str],
    *,
    steps: int,
    every: int,
    checkpoint: str | Path | None,
) -> list[dict[str, float]]:
    """The loop around a gradient step: progress bar, records, checkpoints, resume, a stop where the loss is no number.

    Args:
      state: what the steps change, resumed from the checkpoint where there is one.
      take_steps: from a step on, an endless iterator that takes a step and gives its loss.
      measure: mean loss since the last record -> what to record besides the step.
      show: a loss as the progress bar writes it.
      steps, every, checkpoint: as for `fit`, which also says what is raised.

    Returns:
      The records, those of a resumed checkpoint included.
    """
    start, history = _resume(checkpoint, state, steps)
    leads = jax.process_index() == 0  # of several processes that train together, one shows progress and writes
    losses: list[Array] = []
    bar = tqdm(total=steps, initial=start, file=sys.stdout, leave=False, unit="step", disable=not leads)
    try:
        for done, loss in zip(range(start + 1, steps + 1), take_steps(start), strict=False):
            losses.append(loss)
            record = done % every == 0 or done == steps
            if record or done % CHECK_EVERY == 0:
                values = _finite(losses, done)
                bar.update(done - bar.n)
                bar.set_postfix_str(show(values[-CHECK_EVERY:].mean()))
            if record:
                history.append({"step": done} | measure(values.mean()))
                losses.clear()
                if checkpoint is not None and leads:
                    save_weights(checkpoint, state, {"step": str(done), "history": json.dumps(history)})
    except KeyboardInterrupt:
        bar.close()
        kept = checkpoint is not None and history
        where = (
            f"{checkpoint} holds step {history[-1]['step']}, and the same call resumes there"
            if kept
            else "nothing kept"
        )
        print(f"stopped after step {bar.n}: {where}")
        raise
    finally:
        bar.close()
    return history


def _finite(losses: list[Array], done: int) -> np.ndarray:
    """The losses of the last steps as an array; Diverged names the first that is no finite number."""
    values = np.array([float(loss) for loss in losses])
    if not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values)))
        raise Diverged(
            f"expected a finite loss, got {values[first]} at step {done - len(values) + first}: look at the learning "
            "rate, at logarithms of 0 in the likelihood, and at exp() of a large log standard deviation"
        )
    return values


def _resume(checkpoint: str | Path | None, state: Checkpoint, steps: int) -> tuple[int, list[dict[str, float]]]:
    """Step and history of the checkpoint, whose arrays are put in place; (0, []) where there is none."""
    if checkpoint is None or not Path(checkpoint).exists():
        return 0, []
    metadata, _ = read_weights(checkpoint)
    if "step" not in metadata or int(metadata["step"]) > steps:
        found = f"one of {metadata['step']}" if "step" in metadata else "weights without a step"
        raise WeightsError(f"{checkpoint}: expected a checkpoint of at most {steps} steps, got {found}")
    load_weights(checkpoint, state)
    return int(metadata["step"]), json.loads(metadata["history"])


# Models on disk


class WeightsError(Exception):
    """A weights file is missing, damaged, or made for another model; the message is one line."""


def save_weights(path: str | Path, module: nnx.Module, metadata: Mapping[str, str], half: bool = False) -> None:
    """Write all arrays of a module (or optimizer), and text about them, to `path`.

    Args:
      module: a Flax NNX module; every variable in it is stored, random keys excepted.
      metadata: such as the training command, the data's checksum and the final figures.
      half: store 16-bit floats, which halves the file; `load_weights` gives them back in the module's own type.
    """
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    arrays = {name: np.asarray(value, np.float16 if half else None) for name, value in _flat(module).items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(arrays, temporary, metadata=dict(metadata))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_weights(path: str | Path, module: nnx.Module) -> dict[str, str]:
    """Set a module's arrays to those in `path`; the module is only changed once everything fits.

    Args:
      module: with arrays, or with their shapes only, as `nnx.eval_shape(new_model)` makes it without drawing weights.

    Returns:
      The file's metadata.

    Raises:
      WeightsError: no such file, not a safetensors file, or arrays of other names or shapes than the module's.
    """
    metadata, stored = read_weights(path)
    expected = _flat(module)
    for name in sorted(expected.keys() | stored.keys()):
        if name not in stored or name not in expected:
            where = "the file lacks it" if name in expected else "the model has no such array"
            raise WeightsError(f"{path}: made for another model: {name}: {where}")
        if expected[name].shape != stored[name].shape:
            expectation = f"expected shape {expected[name].shape}, got {stored[name].shape}"
            raise WeightsError(f"{path}: made for another model: {name}: {expectation}")
    state = nnx.state(module)
    flat = nnx.to_flat_state(state)
    values = [variable.replace(jnp.asarray(stored[_name(path)], variable.dtype)) for path, variable in flat]
    nnx.update(module, nnx.from_flat_state([(path, value) for (path, _), value in zip(flat, values, strict=True)]))
    return metadata


def read_weights(path: str | Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and arrays of a safetensors file; WeightsError if it is missing or damaged."""
    if not Path(path).is_file():
        raise WeightsError(f"{path}: expected a weights file, got no such file")
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: expected a safetensors file, got a damaged or foreign one ({error})") from None


def _flat(module: nnx.Module) -> dict[str, jax.Array]:
    return {_name(path): variable.get_value() for path, variable in nnx.to_flat_state(nnx.state(module))}


def _name(path: tuple) -> str:
    return ".".join(map(str, path))
