"""Training on many devices: every device has the whole model and a part of the batch (used in notebook 14).

Nothing of `train_step` changes. Model and optimizer are copied to all devices, the batch is split among them, and the
compiler does the rest: the loss is a mean over the batch, so its gradient is the mean of the devices' gradients, which
XLA computes with one exchange among them (an all-reduce). Devices may be those of one machine or of several.

Where there are several processes, each runs the same program with the same key: all draw the same batches, and each
hands only its own part to its devices. Samples of z do not depend on how the batch is split.
"""

import contextlib
from collections.abc import Callable, Iterator

import jax
import numpy as np
from flax import nnx
from jax import Array
from jax.experimental.multihost_utils import assert_equal
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

START_SECONDS, HEARTBEAT_SECONDS, STOP_SECONDS = 120, 20, 600  # to wait for all; for a sign of life; for the slowest


class ProcessLost(RuntimeError):
    """The processes cannot work together, or no longer; the message is one line."""


def join(coordinator: str, processes: int, process: int, start_seconds: int = START_SECONDS) -> None:
    """Make this process one of several that train together; before anything else is computed with JAX.

    Args:
      coordinator: HOST:PORT of process 0, where the others can reach it.
      processes: how many there are; each calls this with its own number.
      process: from 0 to processes - 1.
      start_seconds: how long to wait for the others.

    Raises:
      ValueError: arguments that cannot be.
      ProcessLost: it cannot start, as on a port in use. Where the others do not come in time, JAX ends
        the process itself, with a fatal line.
    """
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(f"expected a coordinator HOST:PORT such as 10.0.0.1:1234, got {coordinator}")
    if processes < 1:
        raise ValueError(f"expected at least one process, got {processes}")
    if not 0 <= process < processes:
        raise ValueError(f"expected a process from 0 to {processes - 1} for {processes} processes, got {process}")
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            initialization_timeout=start_seconds,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
            shutdown_timeout_seconds=STOP_SECONDS,
        )
    except jax.errors.JaxRuntimeError as error:
        raise ProcessLost(f"{processes} processes cannot meet at {coordinator}: {_first_line(error)}") from None


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Around what processes compute together; in the end they wait for each other, and each goes its own way.

    Raises:
      ProcessLost: another process is gone. End this one with `os._exit`: an ordinary exit would wait for the lost one.
    """
    try:
        yield
        if jax.distributed.is_initialized():
            jax.distributed.shutdown()
    except jax.errors.JaxRuntimeError as error:
        if not jax.distributed.is_initialized():
            raise
        advice = "start all again, and they go on from the last checkpoint"
        raise ProcessLost(f"another process was lost; {advice} ({_first_line(error)})") from None


def data_mesh() -> Mesh:
    """All devices of all processes, in one row."""
    return jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))


def replicate(module: nnx.Pytree, mesh: Mesh) -> None:
    """Give every device a copy of the arrays of a model or optimizer, in place.

    Raises:
      ValueError: this process has other arrays than process 0.
    """
    state = nnx.state(module)
    try:
        assert_equal(state)
    except AssertionError:
        raise ValueError("expected the weights of process 0, got others: is it the same seed and checkpoint?") from None
    everywhere = NamedSharding(mesh, PartitionSpec())
    nnx.update(module, jax.tree.map(lambda x: jax.make_array_from_process_local_data(everywhere, np.asarray(x)), state))


def split(x_uint8: np.ndarray, mesh: Mesh) -> Array:
    """A batch (batch, ...), the same in all processes, with an equal part on each device.

    Raises:
      ValueError: the batch does not divide into equal parts.
    """
    if len(x_uint8) % mesh.size:
        raise ValueError(f"expected a batch that {mesh.size} devices can share equally, got {len(x_uint8)} images")
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    return jax.make_array_from_callback(x_uint8.shape, sharding, lambda part: x_uint8[part])


def data_parallel(step_function: Callable[..., Array], mesh: Mesh) -> Callable[..., Array]:
    """A gradient step for `fit` that does what `step_function` does, on all devices.

    The first call copies model and optimizer to the devices. `fit` sees the copy on this process's first device, so it
    can evaluate and write checkpoints as ever, without the others.
    """
    everywhere: list[nnx.Pytree] = []

    def step(model: nnx.Pytree, optimizer: nnx.Pytree, key: Array, x_uint8: np.ndarray, beta: float) -> Array:
        batch = split(x_uint8, mesh)
        if not everywhere:
            everywhere.extend(nnx.clone(module) for module in (model, optimizer))
            for module in everywhere:
                replicate(module, mesh)
        loss = step_function(*everywhere, key, batch, beta)
        for module, copies in zip((model, optimizer), everywhere, strict=True):
            nnx.update(module, jax.tree.map(lambda x: x.addressable_data(0), nnx.state(copies)))
        return loss

    return step


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
