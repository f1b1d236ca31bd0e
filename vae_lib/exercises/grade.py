"""Grading: the checks over a folder of submitted notebooks, each in a process of its own, into a table.

Of a submission only imports, functions, classes and constants are run, as the checks need no more: it takes seconds,
and a cell that fails or never ends does no harm. What it lacks of these comes from the course's own notebook.
"""

import ast
import json
import linecache
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vae_lib.exercises.progress import CHECK, NOTEBOOKS

SECONDS = 600  # for all exercises of a submission together; each check has a limit of its own
MARKS = {"correct": "✓", "not attempted": "○", "not yet": "✗", "missing": "-"}


def grade(path: Path, seconds: float = SECONDS) -> dict[str, Any]:
    """One submission, judged in a fresh process.

    Returns:
      verdicts: {exercise: {"status": "correct" | "not attempted" | "not yet" | "missing", "text": words}}, those that
        were reached.
      trouble: why the rest was not, or "".
    """
    command = [sys.executable, "-m", "vae_lib.exercises.grade", str(path.resolve())]
    process = subprocess.Popen(
        command,
        cwd=NOTEBOOKS,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    try:
        output, errors = process.communicate(timeout=seconds)
        trouble = (
            "" if process.returncode == 0 else (errors.strip().split("\n")[-1] or f"exit code {process.returncode}")
        )
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        trouble = f"no end after {seconds:g} s"
    verdicts = {}
    for line in output.split("\n"):
        if line.startswith(SIGNAL):
            verdict = json.loads(line.removeprefix(SIGNAL))
            verdicts[verdict.pop("id")] = verdict
    return {"verdicts": verdicts, "trouble": trouble}


SIGNAL = "\x1everdict "  # starts the lines of the process that are meant for `grade`; a submission may print others


def grade_folder(folder: Path, seconds: float = SECONDS, workers: int = 2) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and `grade` of each notebook in the folder and the folders in it, as they are done, in their order.

    Raises:
      ValueError: there is none.
    """
    paths = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not paths:
        raise ValueError(f"expected submitted notebooks (*.ipynb) in {folder}, got none")
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda path: grade(path, seconds), paths)
        for path, result in zip(paths, results, strict=True):
            yield str(path.relative_to(folder)), result


def row(name: str, result: dict[str, Any]) -> str:
    """A line of the table."""
    statuses = [verdict["status"] for verdict in result["verdicts"].values()]
    marks = "".join(MARKS[status] for status in statuses)
    return f"{name:44} {marks:7} {statuses.count('correct')} of {len(statuses)}  {result['trouble']}".rstrip()


def sources(path: Path) -> list[str]:
    """The code cells of a notebook; ValueError if it is none."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"expected a Jupyter notebook, got {path.name} ({type(error).__name__})") from None


def asked(cells: list[str]) -> dict[str, str]:
    """Exercise -> name of the function that the check cell hands in."""
    return {match[1]: match[2] for match in map(CHECK.match, cells) if match}


def define(cells: list[str], names: dict[str, Any], wanted: frozenset[str] = frozenset()) -> dict[str, str]:
    """Run the definitions of the cells in `names`, and what is assigned to a wanted name; leave out what fails.

    Returns:
      {function or class: why it is not there}.
    """
    failed = {}
    for number, cell in enumerate(cells, start=1):
        file = f"code cell {number}"
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        try:
            body = ast.parse(cell).body
        except (SyntaxError, ValueError) as error:
            for name in re.findall(r"^\s*(?:def|class)\s+(\w+)", cell, re.MULTILINE):
                failed[name] = f"{file} is no Python: {error}"
            continue
        for node in body:
            name = _defines(node, wanted)
            if name is None:
                continue
            try:
                exec(compile(ast.Module([node], []), file, "exec"), names)
                failed.pop(name, None)
            except Exception as error:
                failed[name] = f"its definition raised {type(error).__name__}: {error}"
    return failed


def _defines(node: ast.AST, wanted: frozenset[str]) -> str | None:
    """The name of a function, class, wanted name or number that a line defines; "" for an import, None for the rest."""
    match node:
        case ast.Import() | ast.ImportFrom():
            return ""
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case (
            ast.Assign(targets=[ast.Name(id=name)], value=value)
            | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
        ):
            works = any(isinstance(part, (ast.Call, ast.comprehension)) for part in ast.walk(value))
            return name if name in wanted or name.isupper() or not works else None
    return None


def _judge_file(path: Path) -> None:
    """Judge a submission and print a line for each exercise: what the fresh process does."""
    from vae_lib.exercises.engine import find, judge

    cells = sources(path)
    handed_in = asked(cells)
    number = min(handed_in, default=path.name)[:2]
    course = [own for own in NOTEBOOKS.glob("*.ipynb") if own.name.startswith(f"{number}_")]
    if not course:
        raise ValueError(f"expected a notebook of the course with its check cells, got {path.name}")
    own = sources(course[0])
    names: dict[str, Any] = {"__name__": "submission"}
    define(own, names)
    for name in asked(own).values():
        names.pop(name, None)  # the stub: what is handed in must come from the submission
    failed = define(cells, names, frozenset(handed_in.values()))
    for exercise, stub in asked(own).items():
        name = handed_in.get(exercise, stub)
        if name in names:
            verdict = judge(find(exercise), names[name])
            status, text = verdict.status, verdict.text
        else:
            status, text = "missing", failed.get(name, f"expected a function {name}, got a notebook without it")
        line = json.dumps({"id": exercise, "status": status, "text": text})
        print(f"\n{SIGNAL}{line}", flush=True)


if __name__ == "__main__":
    try:
        _judge_file(Path(sys.argv[1]))
    except ValueError as error:
        sys.exit(str(error))
