"""Training on many devices: the gradient of one device, and a run that outlives the loss of any of its processes.

Every run is a real one, of fresh processes that meet on 127.0.0.1.
"""

import re
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from vae_lib.commands import main
from vae_lib.training import read_weights
from vae_lib.workshop import parallel

PATIENCE = 120  # seconds until a process that hangs is ended, and its test with it
TOLERANCE = 1e-5  # relative norm: sums of float32 in another order

GRADIENT = """
import sys
import jax
import jax.numpy as jnp
from flax import nnx
from vae_lib.workshop import fashion_vaes, parallel
from vae_lib.images import load_fashion_mnist
from vae_lib.vae import negative_elbo

devices, coordinator, processes, process = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", int(devices))
if coordinator:
    parallel.join(coordinator, int(processes), int(process))
gradient = nnx.jit(nnx.grad(negative_elbo))
fashion_vaes.WIDTH = 64
x_uint8, model = load_fashion_mnist("test")[0][:64], fashion_vaes.new_fashion_vae()
with parallel.together():
    mesh = parallel.data_mesh()
    one = gradient(model, jax.random.key(1), jnp.asarray(x_uint8))
    parallel.replicate(model, mesh)
    batch = parallel.split(x_uint8, mesh)
    assert len(batch.sharding.device_set) == mesh.size and batch.addressable_data(0).shape[0] == 64 // mesh.size
    many = gradient(model, jax.random.key(1), batch)
    flat = [jnp.concatenate([x.addressable_data(0).ravel() for x in jax.tree.leaves(tree)]) for tree in (one, many)]
print("relative norm", mesh.size, float(jnp.linalg.norm(flat[1] - flat[0]) / jnp.linalg.norm(flat[0])))
"""

COMMAND = """
import os, signal, sys
from vae_lib import commands
from vae_lib.workshop import fashion_vaes

load, fit, step = fashion_vaes.load_fashion_mnist, fashion_vaes.fit, fashion_vaes.train_step_with_flips
dies_before, calls = int(sys.argv.pop(1)), 0


def small(split):
    x_uint8, labels = load("test")
    return (x_uint8[:420], labels[:420]) if split == "train" else (x_uint8[420:440], labels[420:440])


def mortal_step(*arguments):
    global calls
    calls += 1
    if calls == dies_before:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments)


fashion_vaes.load_fashion_mnist, fashion_vaes.train_step_with_flips = small, mortal_step
fashion_vaes.fit = lambda *arguments, **options: fit(*arguments, **options | {"every": 3})
fashion_vaes.HELD_OUT, fashion_vaes.BOUND_SAMPLES, fashion_vaes.WIDTH = 20, 2, 32
sys.exit(commands.main(sys.argv[1:]))
"""


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """The processes of one test share what XLA compiled, which takes most of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
        yield


def together(*commands):
    """(exit code, stdout, stderr) of processes that run side by side; none outlives the test."""
    start = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running = [subprocess.Popen([sys.executable, "-c", *command], **start) for command in commands]
    try:
        outputs = [process.communicate(timeout=PATIENCE) for process in running]
    finally:
        for process in running:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(running, outputs, strict=True)]


def gradients(devices, processes):
    coordinator = f"127.0.0.1:{free_port()}" if processes > 1 else ""
    numbers = range(processes)
    return together(*([GRADIENT, str(devices), coordinator, str(processes), str(number)] for number in numbers))


@pytest.mark.parametrize(("devices", "processes"), [(8, 1), (1, 2)])
def test_many_devices_compute_the_gradient_of_one(devices, processes):
    for code, said, errors in gradients(devices, processes):
        assert code == 0, errors
        *_, size, norm = said.split()
        assert int(size) == devices * processes
        print(f"{size} devices, {processes} processes: relative norm {norm}")
        assert 0 < float(norm) < TOLERANCE, "0 would mean that nothing was computed in another way"


def train(out, dies_before=(0, 0)):
    """Two processes that train nine steps and keep a checkpoint every three; each may be killed before a step."""
    meet = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", "2", "--devices", "1", "--process"]
    command = ["train", "fashion-vae", "--out", str(out), "--steps", "9", *meet]
    return together(*([COMMAND, str(step), *command, str(number)] for number, step in enumerate(dies_before)))


def step_of(checkpoint):
    return int(read_weights(checkpoint)[0]["step"])


def test_a_run_that_loses_its_worker_then_its_coordinator_ends_with_the_weights_of_one_that_loses_none(tmp_path):
    whole, interrupted = tmp_path / "whole.safetensors", tmp_path / "interrupted.safetensors"
    (code, said, errors), (worker_code, worker_said, worker_errors) = train(whole)
    assert (code, worker_code) == (0, 0), errors + worker_errors
    assert "test_negative_elbo_bits_per_dim" in said and "bits/dim" in said
    assert "bits" not in worker_said + worker_errors, "process 0 alone shows progress and evaluates"
    command = r"python -m vae_lib train fashion-vae --out whole.safetensors --steps 9 --seed 0"
    together = r" --coordinator 127\.0\.0\.1:\d+ --processes 2 --process 0 --devices 1"
    assert re.fullmatch(command + together, read_weights(whole)[0]["command"])

    checkpoint = tmp_path / "interrupted.safetensors.checkpoint"
    (code, _, errors), (worker_code, _, _) = train(interrupted, dies_before=(0, 5))
    ours = [line for line in errors.splitlines() if line.startswith("vae_lib train: ")]
    assert (code, worker_code) == (2, -9) and "Traceback" not in errors
    assert len(ours) == 1 and "another process was lost; start all again" in ours[0]
    assert step_of(checkpoint) == 3 and not interrupted.exists()

    (code, _, _), (worker_code, _, _) = train(interrupted, dies_before=(5, 0))  # from step 3 on, so before step 8
    assert code == -9 and worker_code != 0
    assert step_of(checkpoint) == 6 and not interrupted.exists()

    (code, _, errors), (worker_code, _, _) = train(interrupted)
    assert (code, worker_code) == (0, 0), errors
    for expected, found in ((whole, interrupted), (whole.with_name("whole.safetensors.checkpoint"), checkpoint)):
        (_, expected_arrays), (_, found_arrays) = read_weights(expected), read_weights(found)
        assert expected_arrays.keys() == found_arrays.keys()
        assert all(np.array_equal(expected_arrays[name], found_arrays[name]) for name in expected_arrays)


def test_a_batch_that_does_not_divide_is_refused():
    mesh = jax.sharding.AbstractMesh((3,), ("data",))
    with pytest.raises(ValueError, match="expected a batch that 3 devices can share equally, got 64 images"):
        parallel.split(np.zeros((64, 28, 28, 1), np.uint8), mesh)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fashion-vae", "--coordinator", "127.0.0.1:1234"], "--coordinator, --processes and --process together"),
        (["fashion-vae", "--process", "0"], "--coordinator, --processes and --process together"),
        (["fashion-vae", "--coordinator", "here", "--processes", "2", "--process", "0"], "HOST:PORT"),
        (["fashion-vae", "--coordinator", "a:1", "--processes", "2", "--process", "2"], "process from 0 to 1 for 2"),
        (["fashion-vae", "--coordinator", "a:1", "--processes", "0", "--process", "0"], "at least one process"),
        (["fashion-vae", "--devices", "0"], "at least one device"),
        (["latent-sweep", "--devices", "2"], "only fashion-vae"),
    ],
)
def test_what_cannot_work_is_one_line_and_exit_code_2(tmp_path, capsys, arguments, expected):
    assert main(["train", *arguments, "--out", str(tmp_path / "x.safetensors")]) == 2
    errors = capsys.readouterr().err
    assert expected in errors and errors.count("\n") == 1
