"""What every notebook of the course keeps: one small function a rule.

A rule takes a notebook and its path and yields its violations in words: which cell (number and first line), what was
expected, what came. Nothing is executed here, nbval does that; these rules read what is stored. `RULES` lists them,
test_notebooks.py applies them, and test_notebook_rules.py holds for each a notebook that it must reject.

The rules in `AS_SHIPPED` are about the course as it is handed out. Whoever solves exercises and saves the notebook
breaks them, and may: they then look at the committed version (`violations`), so a solved course stays green.
"""

import ast
import builtins
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).parents[2]
IGNORE, RAISES = "nbval-ignore-output", "raises-exception"  # tags of cells
WIDGET = "application/vnd.jupyter.widget-view+json"
MACHINE_PATHS = ("/home/", "/root/", "/tmp/", "/work/", "/Users/", "C:\\", "ipykernel_")
REGISTRIES = ("pypi.org", "files.pythonhosted.org")
SIZE = 2_000_000  # bytes, for the whole file
SHORT_RUN = 10  # seconds: below, a stated running time is too small to be wrong
ALTERNATIVE_TEXT = 30  # characters
CODE_CELLS, WORDS, LINES, FIGURES, PREDICTIONS = (12, 36), (1000, 2600), 300, (6, 9), (4, 6)  # a reader's 40 minutes
MORE_LINES = {"12": 350}  # the decoder is read there, line by line
CELL_LINES = 30
WORDS_A_MINUTE, LINES_A_MINUTE, MINUTES_EACH = 180, 15, 0.5  # for prose; for code; for a figure or a prediction
READING_SLACK = 0.15
STRICT_SHARE = 0.6  # of the cells with text output

Rule = Callable[[NotebookNode, Path], Iterator[str]]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    RULES[function.__name__] = function
    return function


# Reading a notebook


def load(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def label(notebook: NotebookNode, index: int) -> str:
    """How a violation names a cell: its place, counted from 1, and its first line."""
    first_line = notebook.cells[index].source.strip().partition("\n")[0]
    return f"cell {index + 1} ({first_line[:60]!r})"


def of_type(notebook: NotebookNode, cell_type: str) -> Iterator[tuple[int, NotebookNode]]:
    return ((index, cell) for index, cell in enumerate(notebook.cells) if cell.cell_type == cell_type)


def is_code(cell: NotebookNode) -> bool:
    return cell.cell_type == "code"


def without_fences(markdown: str) -> str:
    return re.sub(r"^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE)


def tagged(cell: NotebookNode, tag: str) -> bool:
    return tag in cell.metadata.get("tags", [])


def parse(source: str) -> ast.Module:
    """The syntax tree; empty for what is no Python, which `plain_python` reports."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module([], [])


def all_text(cell: NotebookNode) -> str:
    """Everything that the outputs of a cell say in letters, stand-ins and errors included."""
    parts = []
    for output in cell.get("outputs", []):
        parts += [output.get("text", ""), output.get("evalue", ""), *output.get("traceback", [])]
        parts += [data for kind, data in output.get("data", {}).items() if kind.startswith("text/")]
    return "\n".join(parts)


def printed(cell: NotebookNode) -> str:
    """What a cell prints or displays as text: no pictures, no widgets, no `<Figure ...>`, no erased progress bar."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            parts += [line.rstrip("\r").rpartition("\r")[2] for line in output.text.split("\n")]
        elif output.output_type in ("execute_result", "display_data"):
            text = output.data.get("text/plain", "")
            parts += [] if WIDGET in output.data or re.fullmatch(r"<.*>", text, re.DOTALL) else [text]
    return "\n".join(parts).strip()


def images(cell: NotebookNode) -> int:
    return sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in cell.get("outputs", []))


def is_check(cell: NotebookNode) -> bool:
    return bool(re.match(r"check\(", cell.source))


def is_progress(cell: NotebookNode) -> bool:
    return bool(re.fullmatch(r'progress\("\d\d"\)', cell.source))


@dataclass
class Exercise:
    """An exercise as it stands in a notebook; what is not there, or not in its place, is None or empty."""

    id: str
    title: str
    difficulty: str
    minutes: int
    heading: int  # index of the cell
    check: int | None = None  # index of the cell, the stub is the one before it
    stub: str | None = None  # the function's name
    help: str = ""  # the Markdown between the check and the next code or section

    def folded(self, summary: str) -> list[str]:
        """Contents of the folded parts whose summary starts with this word."""
        return re.findall(rf"<details>\s*<summary>{summary}[^\n]*</summary>\n\n(.*?)\n</details>", self.help, re.DOTALL)

    @property
    def solution(self) -> str | None:
        """Source of the first folded Python fence that defines the stub's function."""
        for fence in re.findall(r"^```python\n(.*?)^```", "\n".join(self.folded("Solution")), re.DOTALL | re.MULTILINE):
            if any(isinstance(node, ast.FunctionDef) and node.name == self.stub for node in parse(fence).body):
                return fence
        return None


EXERCISE = re.compile(r"^### Exercise (\d\d\.\d+) · (.+?) ((?=[●○]{3} )●+○*) · (\d+) min$", re.MULTILINE)


def find_exercises(notebook: NotebookNode) -> list[Exercise]:
    """The exercises of a notebook, each from its heading to the next heading of its level or above."""
    found = []
    for index, cell in of_type(notebook, "markdown"):
        for match in EXERCISE.finditer(cell.source):
            found.append(Exercise(match[1], match[2], match[3], int(match[4]), index))
    for exercise in found:
        for index in range(exercise.heading + 1, len(notebook.cells)):
            cell = notebook.cells[index]
            if not is_code(cell) and re.search(r"^#{1,3} ", without_fences(cell.source), re.MULTILINE):
                break
            if exercise.check is None and is_code(cell) and is_check(cell):
                exercise.check, exercise.stub = index, stub_name(notebook.cells[index - 1], cell)
            elif exercise.check is not None and is_code(cell):
                break
            elif exercise.check is not None:
                exercise.help += cell.source + "\n\n"
    return found


def stub_name(cell: NotebookNode, check: NotebookNode) -> str | None:
    """The function that a check is given, if the cell before it defines that function, solved or not."""
    asked = re.match(r"check\([^,]*,\s*(\w+)\)", check.source)
    defined = [n.name for n in parse(cell.source).body if isinstance(n, ast.FunctionDef)] if is_code(cell) else []
    return asked[1] if asked and asked[1] in defined else None


def is_untouched(cell: NotebookNode) -> bool:
    """Whether a cell is an empty stub: imports, then one function of a docstring and `...`."""
    body = [n for n in parse(cell.source).body if not isinstance(n, (ast.Import, ast.ImportFrom))]
    match body:
        case [ast.FunctionDef(body=[ast.Expr(ast.Constant(str())), ast.Expr(ast.Constant(value))])]:
            return value is ...
    return False


def section(notebook: NotebookNode, heading: str) -> tuple[int, str] | None:
    """Index of the cell with the last such heading, and the text from there to the next heading; None if absent."""
    for index, cell in reversed(list(of_type(notebook, "markdown"))):
        match = re.search(
            rf"^##+ [^\n]*{re.escape(heading)}[^\n]*\n(.*?)(?=^#+ |\Z)", cell.source + "\n", re.DOTALL | re.MULTILINE
        )
        if match:
            return index, match[1]
    return None


# Executed, and nothing wrong with what came out


@rule
def plain_python(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Every code cell is Python, without magics, and without the `;` at its end that nbval cannot compare."""
    for index, cell in of_type(notebook, "code"):
        try:
            ast.parse(cell.source)
        except SyntaxError as error:
            yield f"{label(notebook, index)}: expected Python, got a syntax error in line {error.lineno}"
        if cell.source.rstrip().endswith(";"):
            yield f"{label(notebook, index)}: expected no `;` at the end, write `plt.show()`"


@rule
def executed_in_order(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Execution counts run 1, 2, 3 ... over all code cells."""
    for count, (index, cell) in enumerate(of_type(notebook, "code"), start=1):
        if cell.execution_count != count:
            yield f"{label(notebook, index)}: expected execution count {count}, got {cell.execution_count}"


@rule
def no_error(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """An error stands only where the tag `raises-exception` announces it, and does stand there."""
    for index, cell in of_type(notebook, "code"):
        errors = [output.ename for output in cell.outputs if output.output_type == "error"]
        if errors and not tagged(cell, RAISES):
            yield f"{label(notebook, index)}: expected no error, got {errors[0]}"
        if tagged(cell, RAISES) and not errors:
            yield f"{label(notebook, index)}: expected the error that its tag `{RAISES}` announces, got none"


@rule
def nothing_on_stderr(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for index, cell in of_type(notebook, "code"):
        for output in cell.outputs:
            if output.get("name") == "stderr":
                yield f"{label(notebook, index)}: expected nothing on stderr, got {output.text[:60]!r}"


@rule
def no_warning(notebook: NotebookNode, path: Path) -> Iterator[str]:
    for index, cell in of_type(notebook, "code"):
        for line in re.findall(r".*Warning:.*", all_text(cell)):
            yield f"{label(notebook, index)}: expected no warning, got {line[:60]!r}"


@rule
def no_progress_bar(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """A page shows every stage of a bar that a terminal overwrites, so the committed file holds none."""
    for index, cell in of_type(notebook, "code"):
        if any("\r" in output.get("text", "").rstrip("\r ") for output in cell.outputs):
            cure = "`jupyter nbconvert --inplace --coalesce-streams` wipes it"
            yield f"{label(notebook, index)}: expected no overwritten progress bar; {cure}"


@rule
def no_machine_path(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """No path of a machine in an output, no package registry anywhere."""
    for index, cell in enumerate(notebook.cells):
        output = all_text(cell)
        for found in [p for p in MACHINE_PATHS if p in output] + [r for r in REGISTRIES if r in output + cell.source]:
            yield f"{label(notebook, index)}: expected no path of a machine and no registry, got {found!r}"


@rule
def size(notebook: NotebookNode, path: Path) -> Iterator[str]:
    got = len(nbformat.writes(notebook).encode())
    if got > SIZE:
        yield f"the file: expected at most {SIZE} bytes, got {got}"


@rule
def alternative_text(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """A cell that shows a picture says in its metadata (`mystnb.image.alt`) what there is to see."""
    for index, cell in enumerate(notebook.cells):
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if images(cell) and len(alt) < ALTERNATIVE_TEXT:
            yield f"{label(notebook, index)}: expected alternative text of {ALTERNATIVE_TEXT} characters, got {alt!r}"
        if cell.cell_type == "markdown" and re.search(r"!\[\s*\]\(|<img(?![^>]*alt=)", cell.source):
            yield f"{label(notebook, index)}: expected alternative text for the picture in the Markdown, got none"


# Opening, extent, closing

FACTS = re.compile(
    r"^\*Needs\* .+ · \*reading\* (\d+) min · \*running\* (\d+) s · \*exercises\* (\d+) \((\d+) min\)$", re.MULTILINE
)


@rule
def first_cell(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Title with the file's number, a question, at least two objectives, and what it needs and takes."""
    opening, where = notebook.cells[0].source, label(notebook, 0)
    number, exercises = path.name[:2], find_exercises(notebook)
    if not re.match(rf"# {number} · \S", opening):
        yield f"{where}: expected '# {number} · Title' in its first line"
    if not re.search(r"^\*\*.+\?\*\*$", opening, re.MULTILINE):
        yield f"{where}: expected the notebook's question in bold, on a line of its own"
    _, _, objectives = opening.partition("You will be able to")
    if len(re.findall(r"^- ", objectives, re.MULTILINE)) < 2:
        yield f"{where}: expected 'You will be able to' and at least two lines that start with '- '"
    facts = FACTS.search(opening)
    if not facts:
        yield f"{where}: expected '*Needs* ... · *reading* N min · *running* N s · *exercises* N (N min)'"
    elif (int(facts[3]), int(facts[4])) != (len(exercises), sum(e.minutes for e in exercises)):
        total = sum(e.minutes for e in exercises)
        yield f"{where}: expected '*exercises* {len(exercises)} ({total} min)', got {facts[3]} ({facts[4]} min)"


@rule
def running_time(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """The stated running time is within a factor of two of the recorded one.

    Recorded is from the start of the first code cell to the end of the last, as `jupyter execute` notes in the cells'
    metadata. Stated and recorded times below ten seconds agree, whatever they are.
    """
    facts = FACTS.search(notebook.cells[0].source)
    cells = [cell for _, cell in of_type(notebook, "code")]
    try:
        start = datetime.fromisoformat(cells[0].metadata.execution["iopub.status.busy"])
        end = datetime.fromisoformat(cells[-1].metadata.execution["iopub.status.idle"])
    except (AttributeError, KeyError, IndexError):
        yield "first and last code cell: expected the times that `jupyter execute --inplace` records, got none"
        return
    stated, recorded = float(facts[2]) if facts else 0.0, (end - start).total_seconds()
    if facts and not recorded / 2 <= stated <= recorded * 2 and max(stated, recorded) >= SHORT_RUN:
        where = label(notebook, 0)
        yield f"{where}: expected a running time within 2x of the recorded {recorded:.0f} s, got {stated:.0f} s"


@rule
def extent(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """What a reader gets through: words, lines and cells of code, figures, predictions."""
    bounds = {
        "code cells": CODE_CELLS,
        "words outside folds and references": WORDS,
        "lines of code": (0, MORE_LINES.get(path.name[:2], LINES)),
        "figures": FIGURES,
        "predictions": PREDICTIONS,
    }
    for (name, (least, most)), count in zip(bounds.items(), load_of_reading(notebook), strict=True):
        if not least <= count <= most:
            yield f"{name}: expected {least} to {most}, got {count}"
    for index, cell in of_type(notebook, "code"):
        if code_lines(cell.source) > CELL_LINES:
            lines = code_lines(cell.source)
            yield f"{label(notebook, index)}: expected at most {CELL_LINES} lines without blank ones, got {lines}"


@rule
def reading_time(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """The stated minutes are what words, lines, figures and predictions make of them."""
    facts = FACTS.search(notebook.cells[0].source)
    _, words, lines, figures, predictions = load_of_reading(notebook)
    minutes = words / WORDS_A_MINUTE + lines / LINES_A_MINUTE + MINUTES_EACH * (figures + predictions)
    if facts and abs(int(facts[1]) - minutes) > READING_SLACK * minutes:
        yield f"{label(notebook, 0)}: expected about {minutes:.0f} minutes of reading, got {facts[1]}"


def load_of_reading(notebook: NotebookNode) -> tuple[int, int, int, int, int]:
    """Code cells, words, lines of code, figures, predictions."""
    code = [cell for _, cell in of_type(notebook, "code")]
    prose = "\n".join(cell.source for _, cell in of_type(notebook, "markdown"))
    lines, figures = sum(code_lines(cell.source) for cell in code), sum(map(images, code))
    return len(code), count_words(notebook), lines, figures, len(re.findall(r"\*\*Predict", prose))


def count_words(notebook: NotebookNode) -> int:
    """Words a reader reads on the way: a formula is one, folded parts, fences and references are none."""
    text = "\n\n".join(cell.source for _, cell in of_type(notebook, "markdown"))
    text = re.sub(r"<details>.*?</details>", "", without_fences(text), flags=re.DOTALL)
    text = re.sub(r"^##+ [^\n]*Further reading.*?(?=^#+ |\Z)", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$", "formula", text, flags=re.DOTALL)
    return sum(bool(re.search(r"\w", word)) for word in text.split())


def code_lines(source: str) -> int:
    """Lines of a cell without blank ones."""
    return sum(bool(line.strip()) for line in source.split("\n"))


@rule
def closing(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """After the exercises: what was built, the ledger, further reading with years; and the progress as last code."""
    last_exercise = max((e.heading for e in find_exercises(notebook)), default=0)
    for heading in ("Built here, now lives in", "The ledger", "Further reading"):
        found = section(notebook, heading)
        if found is None:
            yield f"the closing: expected a heading '## {heading}', got none"
        elif found[0] < last_exercise:
            yield f"{label(notebook, found[0])}: expected '{heading}' after the last exercise"
        elif heading == "Further reading" and len(re.findall(r"^- .*\b(?:19|20)\d\d\b", found[1], re.MULTILINE)) < 3:
            yield f"{label(notebook, found[0])}: expected at least three references, each a line '- ...' with a year"
    index, cell = list(of_type(notebook, "code"))[-1]
    expected = f'progress("{path.name[:2]}")'
    if cell.source != expected or not tagged(cell, IGNORE):
        yield f"{label(notebook, index)}: expected {expected}, tagged {IGNORE}, as the last code cell"


# The library is what the notebooks built


class _Bare(ast.NodeTransformer):
    """Takes docstrings and annotations out of a syntax tree."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                if ast.get_docstring(node) is not None:
                    node.body = node.body[1:] or [ast.Pass()]
                if hasattr(node, "returns"):
                    node.returns = None
            case ast.arg():
                node.annotation = None
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                return ast.Assign([target], value)
            case ast.AnnAssign():
                node.annotation = ast.Constant(...)
        return node


def definitions(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Name and tree, as text and without docstrings and annotations, of what a module defines at its top level."""
    for node in module.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                pass
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                pass
            case _:
                continue
        yield name, ast.dump(_Bare().visit(node))


@rule
def built_here(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """What the closing list names is the same code here and in the library, docstrings and annotations aside."""
    found = section(notebook, "Built here, now lives in")
    if found is None or "|---|---|" not in found[1].replace(" ", ""):
        yield "the closing: expected under 'Built here, now lives in' a table of names and modules, if empty, got none"
        return
    where, here = label(notebook, found[0]), {}
    for index, cell in of_type(notebook, "code"):
        for name, tree in definitions(parse(cell.source)):
            here.setdefault(name, []).append((index, tree))
    for row in re.findall(r"^\|(?![ :]*-)(.*\|.*)\|[ ]*$", found[1], re.MULTILINE)[1:]:
        match = re.fullmatch(r"\s*`(\w+)`\s*\|\s*`(vae_lib\.\w+)`\s*", row)
        if not match:
            yield f"{where}: expected rows '| `name` | `vae_lib.module` |', got {row!r}"
            continue
        name, module = match.groups()
        source = ROOT / f"{module.replace('.', '/')}.py"
        there = dict(definitions(parse(source.read_text(encoding="utf-8")))) if source.exists() else {}
        if name not in here:
            yield f"{where}: expected a definition of {name} in this notebook, got none"
        elif name not in there:
            yield f"{where}: expected {name} in {module}, got none"
        else:
            for index, tree in here[name]:
                if tree != there[name]:
                    yield f"{label(notebook, index)}: expected {name} as in {module}, got another definition"


# Exercises


@rule
def exercises(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Three to five; each a heading, a stub, its check in one line, a folded hint and a folded solution."""
    found = find_exercises(notebook)
    ids, expected = [e.id for e in found], [f"{path.name[:2]}.{k}" for k in range(1, len(found) + 1)]
    if ids != expected:
        yield f"exercises: expected {expected}, got {ids}"
    if not 3 <= len(found) <= 5:
        yield f"exercises: expected three to five, got {len(found)}"
    for index, cell in of_type(notebook, "markdown"):
        for line in re.findall(r"^#+ Exercise \d.*$", cell.source, re.MULTILINE):
            if not EXERCISE.fullmatch(line):
                yield f"{label(notebook, index)}: expected '### Exercise NN.K · Title ●○○ · 5 min', got {line!r}"
    for index, cell in of_type(notebook, "code"):
        if is_check(cell) and index not in [e.check for e in found]:
            yield f"{label(notebook, index)}: expected one check under each exercise's heading, got another"
    for exercise in found:
        where = label(notebook, exercise.heading)
        if exercise.check is None:
            yield f'{where}: expected a stub cell and a cell check("{exercise.id}", name), got none'
            continue
        if exercise.stub is None:
            stub = label(notebook, exercise.check - 1)
            yield f"{stub}: expected the stub, which defines the function that is checked, right before its check"
        check, at = notebook.cells[exercise.check], label(notebook, exercise.check)
        if exercise.stub and check.source != f'check("{exercise.id}", {exercise.stub})':
            yield f'{at}: expected check("{exercise.id}", {exercise.stub}) and nothing else'
        if not tagged(check, IGNORE):
            yield f"{at}: expected the tag {IGNORE}"
        if not exercise.folded("Hint"):
            yield f"{where}: expected <details>, <summary>Hint ...</summary>, blank line, text, </details>"
        if exercise.stub and exercise.solution is None:
            yield f"{where}: expected a folded Solution with a ```python fence that defines {exercise.stub}"


@rule
def ships_unsolved(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Each stub is one function of a docstring and `...`, and its check says so."""
    for exercise in find_exercises(notebook):
        if exercise.check is None:
            continue
        stub, check = notebook.cells[exercise.check - 1], notebook.cells[exercise.check]
        if not is_untouched(stub):
            yield f"{label(notebook, exercise.check - 1)}: expected a stub, one function of a docstring and `...`"
        expected, got = f"○ {exercise.id} not attempted", printed(check)[:40]
        if not got.startswith(expected):
            yield f"{label(notebook, exercise.check)}: expected {expected!r}, got {got!r}"


@rule
def stub_not_used(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """No cell but the stub's and its check says the stub's name; no cell imports the answers."""
    found = find_exercises(notebook)
    for index, cell in of_type(notebook, "code"):
        if re.search(r"exercises(\.|\s+import\s+.*)(notebook_|engine)", cell.source):
            yield f"{label(notebook, index)}: expected from vae_lib.exercises only check and progress"
        names = set()
        for node in ast.walk(parse(cell.source)):
            names |= {getattr(node, "id", None), getattr(node, "name", None), getattr(node, "asname", None)}
        for exercise in found:
            if exercise.check is None or index in (exercise.check - 1, exercise.check):
                continue
            if exercise.stub in names - {None}:
                yield f"{label(notebook, index)}: expected no {exercise.stub}, the stub of exercise {exercise.id}"


# Compared by nbval, or bounded


@rule
def ignored_cells_assert(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """Text that nbval is told to ignore is bounded, by `assert condition, "reason"` in the cell, in no function."""
    for index, cell in of_type(notebook, "code"):
        if not tagged(cell, IGNORE) or is_check(cell) or is_progress(cell) or not printed(cell):
            continue
        asserts = [node for node in outside_functions(parse(cell.source)) if isinstance(node, ast.Assert)]
        if not any(isinstance(a.msg, (ast.Constant, ast.JoinedStr)) and not_constant(a.test, set()) for a in asserts):
            yield f'{label(notebook, index)}: expected an `assert condition, "reason"`, as its output is ignored'


def outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda)):
            yield node
            yield from outside_functions(node)


@rule
def compared_strictly(notebook: NotebookNode, path: Path) -> Iterator[str]:
    """At least 60 % of the cells with text output are compared by nbval and print something computed.

    Checks and the progress cell have text and are ignored, so they count against the share.
    """
    stubs = [exercise.check - 1 for exercise in find_exercises(notebook) if exercise.check is not None]
    with_text = [(i, cell) for i, cell in of_type(notebook, "code") if printed(cell) and i not in stubs]
    constants = constant_names(notebook)
    loose = [index for index, cell in with_text if tagged(cell, IGNORE) or not prints_computed(cell, constants)]
    if len(loose) > (1 - STRICT_SHARE) * len(with_text):
        others = [i + 1 for i in loose if not is_check(notebook.cells[i]) and not is_progress(notebook.cells[i])]
        strict, share = len(with_text) - len(loose), f"{STRICT_SHARE:.0%}"
        yield (
            f"text outputs: expected at least {share} compared strictly, got {strict} of {len(with_text)}; "
            f"beside checks and progress, cells {others} are ignored or print only constants"
        )


def prints_computed(cell: NotebookNode, constants: set[str]) -> bool:
    """Whether an argument of a print (without prints: an expression that stands alone) is more than constants."""
    nodes = list(ast.walk(parse(cell.source)))
    prints = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "print"]
    shown = [a for call in prints for a in call.args] if prints else [n.value for n in nodes if isinstance(n, ast.Expr)]
    return any(not_constant(expression, constants) for expression in shown)


def not_constant(expression: ast.AST, constants: set[str]) -> bool:
    """Whether an expression says a name that is no built-in and no constant of the notebook."""
    known = constants | set(dir(builtins))
    return any(isinstance(node, ast.Name) and node.id not in known for node in ast.walk(expression))


def constant_names(notebook: NotebookNode) -> set[str]:
    """Names that a notebook binds to literals only, or to expressions of such names and built-ins."""
    values: dict[str, list[ast.AST | None]] = {}
    for node in chain.from_iterable(ast.walk(parse(cell.source)) for _, cell in of_type(notebook, "code")):
        match node:
            case ast.Assign(targets=targets, value=value):
                pass
            case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
                targets = [target]
            case ast.AugAssign(target=target, value=value) | ast.NamedExpr(target=target, value=value):
                targets = [target]
            case ast.AnnAssign(target=target, value=value):
                targets = [target]
            case ast.Expr(ast.Call(func=ast.Attribute(value=ast.Name() as target), args=arguments)):  # rows.append(...)
                targets, value = [target], ast.Tuple(arguments)
            case ast.withitem(optional_vars=ast.expr() as target):
                targets, value = [target], None
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                targets, value = [ast.Name(name)], None
            case ast.alias(name=name, asname=asname):
                targets, value = [ast.Name(asname or name.partition(".")[0])], None
            case ast.ExceptHandler(name=str() as name):
                targets, value = [ast.Name(name)], None
            case _:
                continue
        for target in chain.from_iterable(map(ast.walk, targets)):
            if isinstance(target, ast.Name):
                values.setdefault(target.id, []).append(value)
    constants: set[str] = set()
    while True:
        more = {n for n, vs in values.items() if all(v is not None and not not_constant(v, constants) for v in vs)}
        if more == constants:
            return constants
        constants = more


# Applying the rules

AS_SHIPPED = ("executed_in_order", "no_progress_bar", "running_time", "ships_unsolved", "extent", "reading_time")


def as_shipped(path: Path) -> NotebookNode:
    """The notebook as git has it; as it lies on the disk where git has none."""
    command = ["git", "show", f"HEAD:./{path.name}"]
    shown = subprocess.run(command, cwd=path.parent, capture_output=True, encoding="utf-8", check=False)
    return nbformat.reads(shown.stdout, as_version=4) if shown.returncode == 0 else load(path)


def violations(name: str, path: Path) -> list[str]:
    """What a rule has against the notebook on the disk (and, if it is one of AS_SHIPPED, against the one in git)."""
    found = list(RULES[name](load(path), path))
    return list(RULES[name](as_shipped(path), path)) if found and name in AS_SHIPPED else found
