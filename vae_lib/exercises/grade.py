"""Grading: the checks over a folder of submitted notebooks, each in a process of its own, into a table.

Cells are read as IPython reads them. Of a submission only those statements are run that give what is handed in, and
what these need in turn: it takes seconds, and a cell that fails or never ends, and that no exercise needs, does no
harm. Names that it lacks come from the course's own notebook.
"""

import ast
import asyncio
import inspect
import json
import linecache
import os
import re
import signal
import subprocess
import symtable
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

from IPython.core.inputtransformer2 import TransformerManager

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
    command = [sys.executable, "-X", "utf8", "-m", "vae_lib.exercises.grade", str(path.resolve())]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            cwd=NOTEBOOKS,
            stdout=output,  # files, as pipes stay open while a grandchild lives
            stderr=errors,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # so that it can be ended with all that it started
        )
        RUNNING.add(process)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            trouble = f"no end after {seconds:g} s"
        else:
            trouble = f"exit code {process.returncode}" if process.returncode else ""
        finally:
            end_all(process)
            RUNNING.discard(process)
        said, words = (whole(file) for file in (output, errors))
    if trouble.startswith("exit code"):
        trouble = words.strip().split("\n")[-1] or trouble
    verdicts: dict[str, dict[str, str]] = {}
    for line in said.split("\n"):
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
    process.wait()


def whole(file: IO[bytes]) -> str:
    """A file from its beginning."""
    file.seek(0)
    return file.read().decode("utf-8", "replace")


RUNNING: set[subprocess.Popen] = set()
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
        try:
            for path, result in zip(paths, results, strict=True):
                name = str(path.relative_to(folder))
                yield os.fsencode(name).decode("utf-8", "backslashreplace"), result  # some names are no UTF-8
        finally:  # also when interrupted: a session of its own does not hear Ctrl-C
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(RUNNING):
                end_all(process)


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
    file: str  # the name of the cell in tracebacks
    node: ast.stmt
    gives: frozenset[str]  # names that it binds or changes, and "check NN.K" if it calls that check
    uses: frozenset[str]  # names that it, or a function in it, looks up
    uses_later: frozenset[str]  # of these, those that a function in it looks up: when it is called


def statements(cells: list[str], title: str = "code cell") -> tuple[list[Statement], dict[str, str]]:
    """All statements of the cells, and {function or class: why it is not there} of cells that are no Python."""
    found, broken = [], {}
    for number, cell in enumerate(cells, start=1):
        file = f"{title} {number}"
        linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        try:
            found += [Statement(number, file, node, *names_of(node)) for node in ast.parse(cell).body]
        except (SyntaxError, ValueError) as error:
            for name in re.findall(r"^\s*(?:def|class)\s+(\w+)", cell, re.MULTILINE):
                broken[name] = f"{file} is no Python: {error}"
    modules = {name for s in found if isinstance(s.node, (ast.Import, ast.ImportFrom)) for name in s.gives}
    for _ in range(3):  # functions that call functions that change a global name
        changes = {s.node.name: s.gives - modules - {s.node.name} for s in found if isinstance(s.node, FUNCTIONS)}
        found = [s._replace(gives=s.gives.union(*(changes[f] for f in s.uses & set(changes)))) for s in found]
    return found, broken


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def names_of(node: ast.stmt) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Names that a statement binds or changes, names that it uses, and of these those that functions in it use."""
    tables = [symtable.symtable(ast.unparse(node), "statement", "exec")]
    gives = {symbol.get_name() for symbol in tables[0].get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    uses = {symbol.get_name() for symbol in tables[0].get_symbols() if symbol.is_referenced()}
    later: set[str] = set()
    for table in tables:  # which grows: functions in functions
        tables += table.get_children()
        global_ones = [symbol for symbol in table.get_symbols() if symbol.is_global()]
        later |= {symbol.get_name() for symbol in global_ones if table is not tables[0]}
        gives |= {symbol.get_name() for symbol in global_ones if symbol.is_declared_global() and symbol.is_assigned()}
    uses |= later
    changed, checks = set(), set()
    for part in ast.walk(node):
        if isinstance(part, (ast.Subscript, ast.Attribute)) and isinstance(part.ctx, (ast.Store, ast.Del)):
            changed.add(root(part))
        match part:
            case ast.Expr(ast.Call(ast.Attribute(attr=attr), [ast.Constant(magic), *_, ast.Constant(str(code))])) if (
                attr in ("run_cell_magic", "run_line_magic") and magic in RUNS_PYTHON
            ):
                for inner in map(names_of, ast.parse(TransformerManager().transform_cell(code)).body):
                    gives, uses, later = gives | inner[0], uses | inner[1], later | inner[2]
            case ast.Call(ast.Name("check"), [ast.Constant(str(exercise)), *_]):
                checks.add(f"check {exercise}")
            case ast.Call(ast.Name("check")):
                checks.add("check ")  # of what, the run will show
            case ast.Call(ast.Name("exec" | "globals")) | ast.ImportFrom(names=[ast.alias("*")]):
                gives.add("*")
            case ast.Expr(ast.Call(function, arguments)) if not (
                isinstance(function, ast.Name) and function.id in SHOW
            ):
                changed |= {root(function)} if isinstance(function, ast.Attribute) else set()  # counts.update(...)
                changed |= {argument.id for argument in arguments if isinstance(argument, ast.Name)}  # fill(table)
    return frozenset(gives | (changed & uses) | checks) - {"get_ipython"}, frozenset(uses), frozenset(later)


RUNS_PYTHON = {"time", "capture", "prun"}  # magics that run what follows as if it stood in the cell
SHOW = {"print", "display", "len", "type", "help", "check", "progress"}  # functions that change nothing


def root(node: ast.expr) -> str:
    """The name with which an expression such as name.part[0].part begins; "" if there is none."""
    while isinstance(node, (ast.Subscript, ast.Attribute, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def needed(
    program: list[Statement], names: set[str], sound: frozenset[int] = frozenset()
) -> tuple[list[Statement], set[str]]:
    """The statements that give these names, with all that they use in turn; and the names that none gives.

    What stands before one of them in its own cell is needed as well: if it raises, a kernel stops there.

    Args:
      sound: cells that are known to raise nothing.
    """
    drawing = {name for s in program if "matplotlib" in imported_from(s.node) for name in s.gives}
    chosen: set[int] = set()
    lacking: set[str] = set()
    # a name, looked for from this place upwards, by the statement at that place, on behalf of a check at that place
    open_ones = [(name, len(program), -1, len(program)) for name in sorted({"*", *names})]
    known = set(open_ones)
    while open_ones:
        name, start, user, check = open_ones.pop()
        found, taken = False, set()
        for place in reversed(range(start)):
            s = program[place]
            if name not in s.gives or calls_one_of(s.node, drawing):
                continue
            found = True
            taken.add(place)
            in_front = place < user and s.cell == program[user].cell  # if it raises, the user is not reached either
            if binds(s.node, name) and (s.cell in sound or in_front):
                break
        if not found:
            lacking.add(name)
        cells = {program[place].cell: place for place in sorted(taken) if program[place].cell not in sound}
        taken |= {p for p, s in enumerate(program) if p < cells.get(s.cell, 0) and not is_magic(s)}
        for place in taken:
            s = program[place]
            end = place if any(given.startswith("check ") for given in s.gives) else check
            new = {(used, place, place, end) for used in s.uses} | {(used, end, place, end) for used in s.uses_later}
            chosen.add(place)
            open_ones += new - known
            known |= new
    return [program[place] for place in sorted(chosen)], lacking - {"*"}


def binds(node: ast.stmt, name: str) -> bool:
    """Whether nothing that the name stood for before matters any more."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.name == name
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.Assign(targets):
            return any(isinstance(part, ast.Name) and part.id == name for t in targets for part in elements(t))
    return False


def elements(target: ast.expr) -> list[ast.expr]:
    """What an assignment to this binds: of (a, *b) both."""
    if isinstance(target, (ast.Tuple, ast.List)):
        return [part for element in target.elts for part in elements(element)]
    return [target.value if isinstance(target, ast.Starred) else target]


def imported_from(node: ast.stmt) -> str:
    """The modules of an import statement, else ""."""
    match node:
        case ast.Import(names):
            return " ".join(name.name for name in names)
        case ast.ImportFrom(module=str(module)):
            return module
    return ""


def calls_one_of(node: ast.stmt, names: set[str]) -> bool:
    """Whether it only calls a function of one of these modules, as plt.plot(x)."""
    match node:
        case ast.Expr(ast.Call(function)):
            return root(function) in names
    return False


def is_magic(statement: Statement) -> bool:
    """Whether it calls IPython and gives no name: %matplotlib inline, !pip install, name?"""
    return "get_ipython" in statement.uses and not statement.gives


def run(part: list[Statement], names: dict[str, Any], failed: dict[str, str]) -> None:
    """Run statements of one cell in `names`; where one raises the rest is not run, as in a learner's kernel.

    Args:
      failed: {name: why it is not there}, brought up to date.
    """
    for number, statement in enumerate(part):
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        try:
            code = compile(ast.Module([statement.node], []), statement.file, "exec", flags)
            result = eval(code, names)
            if inspect.iscoroutine(result):
                asyncio.run(result)
        except (Exception, SystemExit) as error:
            for name in frozenset().union(*(left.gives for left in part[number:])):
                failed[name] = f"its cell raised {type(error).__name__}: {error}"
            return
        for name in statement.gives:
            failed.pop(name, None)


def _judge_file(path: Path) -> None:
    """Judge a submission and print a line for each exercise: what the fresh process does."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    from vae_lib.exercises.engine import VERDICTS, Verdict, find, judge

    cells = sources(path)
    program, failed = statements(cells)
    checks = {name for s in program for name in s.gives if name.startswith("check ")}
    numbers = Counter(name.removeprefix("check ")[:2] for name in checks if name != "check ")
    number = numbers.most_common(1)[0][0] if numbers else path.name[:2]
    course = [own for own in NOTEBOOKS.glob("*.ipynb") if own.name.startswith(f"{number}_")]
    if not course:
        raise ValueError(f"expected a notebook of the course with its check cells, got {path.name}")
    own_cells = sources(course[0])
    stubs = asked(own_cells)

    config = Config({"HistoryManager": {"enabled": False}})
    shell = InteractiveShell.instance(colors="nocolor", config=config)
    names = shell.user_ns  # with get_ipython, which magics call; its __name__ is "__main__"
    lent = [
        s for s in statements(own_cells, "cell of the course")[0] if not s.gives & set(stubs.values())
    ]  # an answer is not lent
    handed_in = asked(cells)
    answers = {*stubs.values(), *handed_in.values()}
    sound = frozenset(number for number, cell in enumerate(cells, start=1) if cell in own_cells)
    chosen, lacking = needed(program, answers | checks, sound)
    run(needed(lent, lacking - answers - set(failed), frozenset(s.cell for s in lent))[0], names, {})

    told: dict[str, Verdict] = {}

    def tell(verdicts: dict[str, Verdict]) -> None:
        for exercise, verdict in verdicts.items():
            if exercise in stubs and told.get(exercise) is not verdict:
                told[exercise] = verdict
                line = json.dumps({"id": exercise, "status": verdict.status, "text": verdict.text})
                print(f"\n{SIGNAL}{line}", flush=True)

    for cell in sorted({statement.cell for statement in chosen}):
        run([statement for statement in chosen if statement.cell == cell], names, failed)
        tell(VERDICTS)
    for exercise, stub in stubs.items():
        name = handed_in.get(exercise, stub)
        if exercise in told:
            continue
        if name in names and f"check {exercise}" not in checks:  # its check cell is gone
            tell({exercise: judge(find(exercise), names[name])})
        else:
            why = failed.get(name if name not in names else f"check {exercise}")
            text = why or f"expected a function {name}, got a notebook without it"
            tell({exercise: Verdict(exercise, "missing", text)})


if __name__ == "__main__":
    try:
        _judge_file(Path(sys.argv[1]))
    except ValueError as error:
        sys.exit(str(error))
