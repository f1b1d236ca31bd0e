"""Many files in one call of `compress` or `decompress`: what becomes what, a worker for each core, what went wrong."""

import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from vae_lib.commands.output import check_folder, check_output

if TYPE_CHECKING:
    from vae_lib.codec import CodecWeights

STANDARD = Path("-")  # standard input or output

Job = Callable[[Path, Path], tuple[int, int]]  # reads the one, writes the other: bytes read and written


def pairs(names: list[Path], folder: Path | None, suffix: str, wanted: Callable[[Path], bool]) -> list:
    """What becomes what, judged before the work begins: [(source, target)].

    Args:
      names: IN and OUT; or, with a folder to write to, files, and folders of files.
      suffix: of what is written.
      wanted: whether a file in a folder is to be read; the others are named on stderr.

    Raises:
      ValueError: the names do not make sense together.
    """
    if folder is None:
        if len(names) != 2:
            raise ValueError(f"expected IN and OUT, or any number of inputs with --out-dir, got {len(names)} names")
        if names[1] != STANDARD:
            check_output(names[0], names[1], suffix)
        return [tuple(names)]
    found: dict[Path, Path] = {}
    for name in names:
        if name == STANDARD:
            raise ValueError("expected files with --out-dir, got standard input, which has no name")
        for source in sorted(name.iterdir()) if name.is_dir() else [name]:
            if name.is_dir() and not wanted(source):
                print(f"left out: {source}", file=sys.stderr)
                continue
            target = folder / f"{source.stem}{suffix}"
            if found.setdefault(target, source) != source:
                raise ValueError(f"expected one input for {target}, got {found[target]} and {source}")
    if not found:
        raise ValueError(f"expected files to read, got none in {', '.join(map(str, names))}")
    check_folder(folder)
    folder.mkdir(exist_ok=True)
    return [(source, target) for target, source in found.items()]


@functools.cache
def weights() -> "CodecWeights":
    """The codec's, loaded once a process."""
    from vae_lib import codec

    return codec.load_weights()


def workers(files: int, gigabytes: float) -> int:
    """Processes for so many files that each need so much memory: at most one for each core."""
    import psutil

    room = psutil.virtual_memory().available / 1e9 / gigabytes
    return max(
        1, min(files, len(psutil.Process().cpu_affinity()) if hasattr(os, "sched_getaffinity") else 1, int(room))
    )


def each(do: Job, jobs: list[tuple[Path, Path]], gigabytes: float) -> int:
    """Do all jobs and show progress; in the end, seconds and what failed. The exit code: 1 where anything failed.

    Args:
      gigabytes: of memory that a job needs.
    """
    from tqdm import tqdm

    began = time.perf_counter()
    failed, sizes = [], []
    count = workers(len(jobs), gigabytes)
    # Each worker has a core for itself, and leaves progress to this process.
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    with ProcessPoolExecutor(count, get_context("spawn"), start) as pool:
        for ready in [pool.submit(time.perf_counter) for _ in range(count)]:
            ready.result()
        started = time.perf_counter()
        sources = {pool.submit(do, *job): job[0] for job in jobs}
        try:
            for future in tqdm(as_completed(sources), total=len(jobs), unit="file", leave=False, disable=None):
                try:
                    sizes.append(future.result())
                except Exception as error:  # the other files go on
                    failed.append(
                        f"{sources[future]}: {str(error).removeprefix(f'{sources[future]}: ') or repr(error)}"
                    )
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    ended = time.perf_counter()
    read, written = (sum(part) for part in zip((0, 0), *sizes, strict=True))
    print(f"{len(sizes)} of {len(jobs)} files: {read:,} bytes became {written:,}", file=sys.stderr)
    print(
        f"{started - began:.1f} s to start, {ended - started:.1f} s for the files, {count} at a time", file=sys.stderr
    )
    for line in sorted(failed):
        print(f"failed: {line}", file=sys.stderr)
    return 1 if failed else 0


def start() -> None:
    """In a worker: Ctrl-C is for the process that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    weights()
