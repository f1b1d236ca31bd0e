"""Where a command writes: checked before the work begins, and written whole or not at all."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def check_folder(target: Path) -> None:
    """ValueError unless the folder that `target` is to be written into exists."""
    if not target.parent.is_dir():
        raise ValueError(f"expected an existing folder for {target.name}, got {target.parent}")


def check_output(source: Path, target: Path, suffix: str) -> None:
    """ValueError unless `target` is a new name with that suffix in a folder that exists."""
    if target.suffix.lower() != suffix:
        raise ValueError(f"expected a name that ends in {suffix}, got {target}")
    check_folder(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"expected two different files, got {target} twice")


def check_new(path: Path) -> None:
    """Before a long computation: whether its result can be written."""
    if path.exists():
        raise ValueError(f"expected a new name, got {path}, which exists")
    check_folder(path)


def write(path: Path, make: Callable[[Path], object]) -> None:
    """Write under a temporary name, then rename: nobody meets half a file, or half a folder. "-": standard output."""
    if path == Path("-"):
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder) / "whole")
            sys.stdout.buffer.write((Path(folder) / "whole").read_bytes())
        return
    temporary = path.with_name(f".vae_lib.{os.getpid()}.part")  # short, so that it fits wherever the name does
    try:
        make(temporary)
        temporary.replace(path)
    except OSError as error:
        raise OSError(f"{path}: not written: {error.strerror}") from None
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)
