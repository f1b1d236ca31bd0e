"""Weights on disk: a model's parameters as safetensors, with what produced them (used from notebook 07 on).

Safetensors hold arrays and text and nothing that runs, so a stranger's file is safe to open. A file is written under
a temporary name and renamed, so that no one ever meets half of one.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file


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
