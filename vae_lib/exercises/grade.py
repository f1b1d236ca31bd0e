"""Grading: the checks over a folder of submitted notebooks, each in a process of its own, into a table.

Cells are read as IPython reads them. Of a submission only those statements are run that give what is handed in, and
what these need in turn: it takes seconds, and a cell that fails or never ends, and that no exercise needs, does no
harm. Names that it lacks come from the course's own notebook.
"""

import ast
import json
import linecache
import os
import re
import signal
import subprocess
import symtable
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell

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
        start_new_session=True,  # so that it can be ended with all that it started
    )
    try:
        output, errors = process.communicate(timeout=seconds)
        trouble = (
            "" if process.returncode == 0 else (errors.strip().split("\n")[-1] or f"exit code {process.returncode}")
        )
    except subprocess.TimeoutExpired:
        end_all(process)
        output, _ = process.communicate()
        trouble = f"no end after {seconds:g} s"
    end_all(process)
    verdicts: dict[str, dict[str, str]] = {}
    for line in output.split("\n"):
        if line.startswith(SIGNAL):
            verdict = json.loads(line.removeprefix(SIGNAL))
            verdicts[verdict.pop("id")] = verdict
    in_order = dict(sorted(verdicts.items(), key=lambda item: int(item[0].partition(".")[2])))
    return {"verdicts": in_order, "trouble": trouble}


def end_all(process: subprocess.Popen) -> None:
    """End a process and, where the system knows groups of processes, all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
    except ProcessLookupError:
        pass  # none is left


SIGNAL = "\x1everdict "  # starts the lines of the process that are meant for `grade`; a submission may print others


def grade_folder(folder: Path, seconds: float = SECONDS, workers: int = 2) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and `grade` of each notebook in the folder and the folders in it, as they are done, in their order.

    Raises:
      ValueError: there is none.
    """
    paths = sorted(notebooks_in(folder))
    if not paths:
        raise ValueError(f"expected submitted notebooks (*.ipynb) in {folder}, got none")
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda path: grade(path, seconds), paths)
        for path, result in zip(paths, results, strict=True):
            yield str(path.relative_to(folder)), result


def notebooks_in(folder: Path) -> Iterator[Path]:
    """Notebooks in a folder and the folders in it, links to folders included, each folder once."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name != ".ipynb_checkpoints"]
        if (real := os.path.realpath(place)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(place, name) for name in files if name.lower().endswith(".ipynb"))


def row(name: str, result: dict[str, Any]) -> str:
    """A line of the table."""
    statuses = [verdict["status"] for verdict in result["verdicts"].values()]
    marks = "".join(MARKS[status] for status in statuses)
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")  # a name that is no UTF-8 can be printed, too
    return f"{name:44} {marks:7} {statuses.count('correct')} of {len(statuses)}  {result['trouble']}".rstrip()


def sources(path: Path) -> list[str]:
    """The code cells of a notebook, as IPython turns them into Python; ValueError if it is none."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8-sig"))["cells"]
        transform = TransformerManager().transform_cell
        return [transform("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"expected a Jupyter notebook, got {path.name} ({type(error).__name__})") from None


def asked(cells: list[str]) -> dict[str, str]:
    """Exercise -> name of the function that the check cell hands in."""
    return {match[1]: match[2] for match in map(CHECK.match, cells) if match}


class Statement(NamedTuple):
    """A statement at the top level of a cell, and what it has to do with names there."""

    cell: int
    node: ast.stmt
    gives: frozenset[str]  # names that it binds or changes
    uses: frozenset[str]  # names that it, or a function defined in it, looks up


def statements(cells: list[str]) -> tuple[list[Statement], dict[str, str]]:
    """All statements of the cells, and {function or class: why it is not there} of cells that are no Python."""
    found, broken = [], {}
    for number, cell in enumerate(cells, start=1):
        file = f"code cell {number}"
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        try:
            found += [Statement(number, node, *names_of(node)) for node in ast.parse(cell).body]
        except (SyntaxError, ValueError) as error:
            for name in re.findall(r"^\s*(?:def|class)\s+(\w+)", cell, re.MULTILINE):
                broken[name] = f"{file} is no Python: {error}"
    return found, broken


def names_of(node: ast.stmt) -> tuple[frozenset[str], frozenset[str]]:
    """Names that a statement binds or changes, and names that it uses."""
    tables = [symtable.symtable(ast.unparse(node), "statement", "exec")]
    gives = {symbol.get_name() for symbol in tables[0].get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    uses = {symbol.get_name() for symbol in tables[0].get_symbols() if symbol.is_referenced()}
    for table in tables:  # which grows: functions in functions
        tables += table.get_children()
        uses |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    for part in ast.walk(node):
        if isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.ctx, (ast.Store, ast.Del)):
            gives.add(root(part))
        match part:
            case ast.Expr(ast.Call(ast.Attribute(attr=attr), [ast.Constant(magic), *_, ast.Constant(str(code))])) if (
                attr in ("run_cell_magic", "run_line_magic") and magic in RUNS_PYTHON
            ):
                for inner in map(names_of, ast.parse(TransformerManager().transform_cell(code)).body):
                    gives, uses = gives | inner[0], uses | inner[1]
            case ast.Expr(ast.Call(ast.Attribute() as function)):
                gives.add(root(function))  # counts.update(...)
            case ast.ImportFrom(names=[ast.alias("*")]):
                gives.add("*")
    return frozenset(gives - {"", "get_ipython"}), frozenset(uses)


RUNS_PYTHON = {"time", "capture", "prun"}  # magics that run what follows as if it stood in the cell


def root(node: ast.expr) -> str:
    """The name with which an expression such as name.part[0].part begins; "" if there is none."""
    while isinstance(node, (ast.Subscript, ast.Attribute, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def needed(
    program: list[Statement], names: set[str], chosen: list[Statement] | None = None
) -> tuple[list[Statement], set[str]]:
    """The statements that give these names, with all that they use in turn; and the names that none gives.

    Args:
      chosen: statements that are needed in any case.
    """
    modules = {name for s in program if isinstance(s.node, (ast.Import, ast.ImportFrom)) for name in s.gives}
    chosen = chosen or []
    wanted, before = {"*", *names}.union(*(s.uses for s in chosen)), 0
    while len(wanted) > before:
        before = len(wanted)
        chosen = [s for s in program if s in chosen or (s.gives & wanted and not is_show(s, modules))]
        wanted = wanted.union(*(s.uses for s in chosen))
    return chosen, wanted.difference("*", *(s.gives for s in chosen))


def in_front(program: list[Statement], names: set[str]) -> list[Statement]:
    """What stands in a cell before one of the names is given: if it raises, a kernel gives no name any more."""
    last = {s.cell: s.node.lineno for s in program if s.gives & names}
    return [s for s in program if s.node.lineno <= last.get(s.cell, 0) and "get_ipython" not in s.uses]


def is_show(statement: Statement, modules: set[str]) -> bool:
    """Whether it only calls a module's function, as plt.show(); np.random.seed(0) sets something in one."""
    match statement.node:
        case ast.Expr(ast.Call(ast.Attribute(ast.Name(name)))):
            return name in modules
    return False


def run(part: list[Statement], names: dict[str, Any], failed: dict[str, str]) -> None:
    """Run statements of one cell in `names`; where one raises the rest is not run, as in a learner's kernel.

    Args:
      failed: {name: why it is not there}, brought up to date.
    """
    for statement in part:
        try:
            exec(compile(ast.Module([statement.node], []), f"code cell {statement.cell}", "exec"), names)
        except Exception as error:
            failed |= dict.fromkeys(statement.gives, f"its definition raised {type(error).__name__}: {error}")
            return
        for name in statement.gives:
            failed.pop(name, None)


def _judge_file(path: Path) -> None:
    """Judge a submission and print a line for each exercise: what the fresh process does."""
    from vae_lib.exercises.engine import Verdict, find, judge

    cells = sources(path)
    handed_in = asked(cells)
    number = min(handed_in, default=path.name)[:2]
    course = [own for own in NOTEBOOKS.glob("*.ipynb") if own.name.startswith(f"{number}_")]
    if not course:
        raise ValueError(f"expected a notebook of the course with its check cells, got {path.name}")
    own_cells = sources(course[0])
    stubs = asked(own_cells)
    wanted = {exercise: handed_in.get(exercise, stub) for exercise, stub in stubs.items()}

    names = InteractiveShell.instance(colors="nocolor").user_ns  # with get_ipython, which magics call
    names["__name__"] = "submission"
    lent = [s for s in statements(own_cells)[0] if not s.gives & set(stubs.values())]  # an answer is not lent
    program, failed = statements(cells)
    answers = set(wanted.values())
    chosen, lacking = needed(program, answers, in_front(program, answers))
    run(needed(lent, lacking - answers)[0], names, {})

    def tell(exercise: str, verdict: Verdict) -> None:
        line = json.dumps({"id": exercise, "status": verdict.status, "text": verdict.text})
        print(f"\n{SIGNAL}{line}", flush=True)

    open_ones = dict(wanted)
    for cell, source in enumerate(cells, start=1):
        run([statement for statement in chosen if statement.cell == cell], names, failed)
        for exercise in asked([source]):
            if (name := open_ones.get(exercise)) in names:
                tell(exercise, judge(find(exercise), names[name]))
                del open_ones[exercise]
    for exercise, name in open_ones.items():  # defined after its check, or without one, or not at all
        lost = Verdict(exercise, "missing", failed.get(name, f"expected a function {name}, got a notebook without it"))
        tell(exercise, judge(find(exercise), names[name]) if name in names else lost)


if __name__ == "__main__":
    try:
        _judge_file(Path(sys.argv[1]))
    except ValueError as error:
        sys.exit(str(error))
