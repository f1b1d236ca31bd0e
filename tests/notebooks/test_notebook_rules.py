"""Each rule of notebook_rules.py has been seen to fail: a small good notebook, broken in one way at a time."""

import ast
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_rules import IGNORE, RAISES, ROOT, RULES, violations

from vae_lib.metrics import to_bits

PATH = Path("03_a_small_good_one.ipynb")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

OPENING = """# 03 · A small good one
**Does every rule accept this notebook?**

You will be able to
- break it in one place;
- see which rule notices.

*Needs* notebooks 01 and 02 · *reading* 18 min · *running* 20 s · *exercises* 3 (15 min)"""

TASK = """### Exercise 03.{k} · Twice {k} ●○○ · 5 min
Double a number."""

STUB = '''def twice_{k}(x):
    """Two times x."""
    ...'''

HELP = """<details>
<summary>Hint: if yours is half of it</summary>

Add x once more.

</details>

<details>
<summary>Solution</summary>

Doubling is adding.

```python
# the sum of two equal numbers
def twice_{k}(x):
    return x + x
```

</details>"""

CLOSING = """## Built here, now lives in
| name | lives in |
|---|---|
| `to_bits` | `vae_lib.metrics` |

## The ledger
Nothing yet.

## Further reading
- C. E. Shannon (1948), A mathematical theory of communication, Bell System Technical Journal.
- D. P. Kingma and M. Welling (2014), Auto-encoding variational Bayes, ICLR. arXiv:1312.6114
- J. Duda (2013), Asymmetric numeral systems. arXiv:1311.2540"""


def library_source(name: str) -> str:
    """A definition of vae_lib.metrics, as it stands there."""
    text = (ROOT / "vae_lib" / "metrics.py").read_text(encoding="utf-8")
    node = next(n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == name)
    return ast.get_source_segment(text, node)


def stdout(text: str) -> NotebookNode:
    return new_output("stream", name="stdout", text=text)


def figure() -> NotebookNode:
    return new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure size 640x480 with 1 Axes>"})


def good() -> NotebookNode:
    """The smallest notebook that keeps all rules."""
    words = new_markdown_cell("## Words\n" + "word " * 1600 + "\n\n**Predict.** More?" * 4)
    cells = [new_markdown_cell(OPENING), words, new_code_cell("import math"), new_code_cell(library_source("to_bits"))]
    for k in range(8):
        source = f"nats = math.exp({k})\nprint(f'{{to_bits(nats):.2f}} bits')"
        cells.append(new_code_cell(source, outputs=[stdout(f"{to_bits(math.exp(k)):.2f} bits\n")]))
    for k in range(6):
        metadata = {"mystnb": {"image": {"alt": "A single grey pixel, which stands for a figure."}}}
        cells.append(new_code_cell(f"draw({k})", outputs=[figure()], metadata=metadata))
    for k in (1, 2, 3):
        said = stdout(f"○ 03.{k} not attempted: replace the `...`\n")
        cells += [new_markdown_cell(TASK.format(k=k)), new_code_cell(STUB.format(k=k))]
        cells.append(new_code_cell(f'check("03.{k}", twice_{k})', outputs=[said], metadata={"tags": [IGNORE]}))
        cells.append(new_markdown_cell(HELP.format(k=k)))
    cells += [new_markdown_cell(CLOSING)]
    cells.append(new_code_cell('progress("03")', outputs=[stdout("03 ○○○ 0 of 3\n")], metadata={"tags": [IGNORE]}))
    notebook = new_notebook(cells=cells)
    number_and_time(notebook)
    return notebook


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def number_and_time(notebook: NotebookNode) -> None:
    """Execution counts, and times that add up to 20 seconds."""
    for count, cell in enumerate(code(notebook), start=1):
        cell.execution_count = count
    code(notebook)[0].metadata["execution"] = {"iopub.status.busy": "2030-01-01T00:00:00.000000Z"}
    code(notebook)[-1].metadata["execution"] = {"iopub.status.idle": "2030-01-01T00:00:20.000000Z"}


def edit(find: str, replacement: str) -> Callable[[NotebookNode], None]:
    """A mutation: replace a text in the first cell that holds it."""

    def mutate(notebook: NotebookNode) -> None:
        cell = next(cell for cell in notebook.cells if find in cell.source)
        cell.source = cell.source.replace(find, replacement)

    return mutate


def output(text: str, where: int = 2) -> Callable[[NotebookNode], None]:
    """A mutation: a code cell printed something else."""

    def mutate(notebook: NotebookNode) -> None:
        code(notebook)[where].outputs = [stdout(text)]

    return mutate


def add_code(source: str, outputs=(), tags=()) -> Callable[[NotebookNode], None]:
    """A mutation: one more code cell, the third."""

    def mutate(notebook: NotebookNode) -> None:
        where = notebook.cells.index(code(notebook)[2])
        cell = new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})
        notebook.cells.insert(where, cell)
        number_and_time(notebook)

    return mutate


def drop(find: str) -> Callable[[NotebookNode], None]:
    """A mutation: leave out the cells that hold a text."""

    def mutate(notebook: NotebookNode) -> None:
        notebook.cells = [cell for cell in notebook.cells if find not in cell.source]
        number_and_time(notebook)

    return mutate


def untag(find: str) -> Callable[[NotebookNode], None]:
    def mutate(notebook: NotebookNode) -> None:
        next(cell for cell in notebook.cells if find in cell.source).metadata.pop("tags")

    return mutate


def change(**attributes) -> Callable[[NotebookNode], None]:
    """A mutation: other attributes of the third code cell."""

    def mutate(notebook: NotebookNode) -> None:
        code(notebook)[2].update(attributes)

    return mutate


def recorded(seconds: int) -> Callable[[NotebookNode], None]:
    def mutate(notebook: NotebookNode) -> None:
        end = f"2030-01-01T00:{seconds // 60:02}:{seconds % 60:02}Z"
        code(notebook)[-1].metadata["execution"]["iopub.status.idle"] = end

    return mutate


def unrecorded(notebook: NotebookNode) -> None:
    del code(notebook)[0].metadata["execution"]


def short_alternative_text(notebook: NotebookNode) -> None:
    next(c for c in code(notebook) if "mystnb" in c.metadata).metadata["mystnb"]["image"]["alt"] = "A figure"


def add_cells(count: int, lines: int = 1) -> Callable[[NotebookNode], None]:
    """A mutation: so many more cells of so many lines."""

    def mutate(notebook: NotebookNode) -> None:
        for number in range(count):
            add_code("\n".join(f"y = {number} + {k}" for k in range(lines)))(notebook)

    return mutate


def five_figures(notebook: NotebookNode) -> None:
    next(c for c in code(notebook) if "mystnb" in c.metadata).outputs = []


def two_exercises(notebook: NotebookNode) -> None:
    drop("03.3")(notebook)
    edit("*exercises* 3 (15 min)", "*exercises* 2 (10 min)")(notebook)


def ignored(assertion: str, *, printing: str = "print(to_bits(seconds))") -> Callable[[NotebookNode], None]:
    return add_code(f"seconds = to_bits(3)\n{printing}\n{assertion}", [stdout("1.25\n")], [IGNORE])


def print_only(argument: str, cells: int = 3, before: str = "") -> Callable[[NotebookNode], None]:
    """A mutation: some of the eight strict cells print only this; there are twelve texts, so eight must be strict."""

    def mutate(notebook: NotebookNode) -> None:
        for cell in code(notebook)[2 : 2 + cells]:
            cell.source = f"{before}\nprint({argument})"

    return mutate


def solved(notebook: NotebookNode) -> None:
    """What a learner does: an answer in the stub, a saved verdict, cells run again."""
    stub = next(cell for cell in code(notebook) if "def twice_1" in cell.source)
    stub.source = stub.source.replace("...", "return 2 * x")
    checked = next(cell for cell in code(notebook) if "check(" in cell.source)
    checked.outputs = [stdout("✓ 03.1 correct: notice that it is even.\n")]
    stub.execution_count, checked.execution_count = 51, 52


ERROR = new_output("error", ename="ValueError", evalue="no", traceback=["ValueError: no"])
STDERR = new_output("stream", name="stderr", text="something\n")
TO_BITS_OTHERWISE = edit("return nats / math.log(2)", "return nats / math.log(10)")
TABLE_ROW = "| `to_bits` | `vae_lib.metrics` |"
THIRTY_ONE_LINES = "\n".join(f"x = {k}" for k in range(31))
READING = "*reading* 18 min"

# (rule, how the notebook is broken, the mutation, words that the violation says)
BROKEN = [
    ("plain_python", "a magic", add_code("%timeit to_bits(1)"), "%timeit"),
    ("plain_python", "a semicolon at the end", edit("draw(0)", "draw(0);"), "draw(0);"),
    ("executed_in_order", "run twice", change(execution_count=40), "count 3, got 40"),
    ("executed_in_order", "not run", change(execution_count=None), "got None"),
    ("no_error", "an error", add_code("to_bits()", [ERROR]), "to_bits()"),
    ("no_error", "a planted error that does not come", add_code("to_bits(2)", [], [RAISES]), RAISES),
    ("nothing_on_stderr", "something on stderr", add_code("to_bits(3)", [STDERR]), "something"),
    ("no_warning", "a warning", output("UserWarning: slow\n"), "UserWarning"),
    ("no_progress_bar", "a bar", add_code("fit()", [stdout("\r 50%|##  |\r      \r")], [IGNORE]), "fit()"),
    ("no_machine_path", "a home", output("saved in /home/ada/course\n"), "/home/"),
    ("no_machine_path", "a kernel's file", output("in ipykernel_12/3.py\n"), "ipykernel_"),
    ("no_machine_path", "a registry in the text", edit("Nothing yet.", "See pypi.org."), "pypi.org"),
    ("size", "two megabytes", output("bits\n" * 400_001), "2000000"),
    ("alternative_text", "too short", short_alternative_text, "A figure"),
    ("alternative_text", "none in Markdown", edit("## Words", "## Words\n![](figure.png)"), "Words"),
    ("first_cell", "another number", edit("# 03 · A", "# 04 · A"), "03"),
    ("first_cell", "no question", edit("**Does", "Does"), "question"),
    ("first_cell", "one objective", edit("- see which rule notices.", ""), "two lines"),
    ("first_cell", "no facts", edit("*reading* 18 min · ", ""), "*Needs*"),
    ("first_cell", "miscounted", edit("*exercises* 3 (15 min)", "*exercises* 4 (15 min)"), "*exercises* 3 (15 min)"),
    ("first_cell", "other minutes", edit("●○○ · 5 min", "●○○ · 9 min"), "(19 min)"),
    ("running_time", "three times longer", recorded(61), "61 s"),
    ("running_time", "three times shorter", recorded(7), "7 s"),
    ("running_time", "never recorded", unrecorded, "jupyter execute"),
    ("extent", "many cells", add_cells(40), "12 to 36"),
    ("extent", "few words", edit("word " * 1600, "word " * 900), "1000 to 2600"),
    ("extent", "many words", edit("word " * 1600, "word " * 4000), "1000 to 2600"),
    ("extent", "five figures", five_figures, "6 to 9"),
    ("extent", "many predictions", edit("More?", "More?" + "\n\n**Predict.** And now?"), "4 to 6"),
    ("extent", "no prediction", edit("**Predict.** More?", "More?"), "4 to 6"),
    ("extent", "a long cell", add_code(THIRTY_ONE_LINES), "at most 30 lines"),
    ("extent", "many lines", add_cells(10, lines=29), "0 to 300"),
    ("reading_time", "an hour as half of one", edit(READING, "*reading* 9 min"), "got 9"),
    ("reading_time", "half an hour as an hour", edit(READING, "*reading* 36 min"), "got 36"),
    ("closing", "no ledger", edit("## The ledger", "## Something else"), "ledger"),
    ("closing", "two references", edit("(2013)", ""), "three references"),
    ("closing", "no progress", drop("progress("), 'progress("03")'),
    ("closing", "progress of another", edit('progress("03")', 'progress("04")'), 'progress("03")'),
    ("closing", "progress compared", untag("progress("), IGNORE),
    ("built_here", "another body", TO_BITS_OTHERWISE, "def to_bits(nats)"),
    ("built_here", "decorated", edit("def to_bits", "@staticmethod\ndef to_bits"), "@staticmethod"),
    ("built_here", "not defined here", edit(TABLE_ROW, "| `psnr` | `vae_lib.metrics` |"), "psnr in this notebook"),
    ("built_here", "not in that module", edit(TABLE_ROW, "| `to_bits` | `vae_lib.entropy_coding` |"), "entropy_coding"),
    ("built_here", "in no module", edit(TABLE_ROW, "| `to_bits` | `vae_lib.nowhere` |"), "vae_lib.nowhere"),
    ("built_here", "a row without code", edit(TABLE_ROW, "| to_bits | vae_lib.metrics |"), "rows"),
    ("built_here", "no table", edit(f"| name | lives in |\n|---|---|\n{TABLE_ROW}", "Nothing."), "table"),
    ("exercises", "numbered wrongly", edit("Exercise 03.2", "Exercise 03.5"), "03.5"),
    ("exercises", "without difficulty", edit("Exercise 03.2 · Twice 2 ●○○", "Exercise 03.2 · Twice 2"), "●○○"),
    ("exercises", "no check", drop('check("03.2"'), "03.2"),
    ("exercises", "check of another", edit('check("03.2"', 'check("03.1"'), 'check("03.2", twice_2)'),
    ("exercises", "check of two lines", edit('3.2", twice_2)', '3.2", twice_2)\nx = 1'), "03.2"),
    ("exercises", "check compared", untag('check("03.2"'), IGNORE),
    ("exercises", "stub apart from its check", edit("def twice_2", "def thrice_2"), "thrice_2"),
    ("exercises", "no hint", edit("<summary>Hint", "<summary>Remark"), "Hint"),
    ("exercises", "solution of another", edit("def twice_1(x):\n    return", "def twice_2(x):\n    return"), "twice_1"),
    (
        "exercises",
        "solution not rendered",
        edit("<summary>Solution</summary>\n\n", "<summary>Solution</summary>\n"),
        "folded",
    ),
    ("exercises", "two exercises only", two_exercises, "three to five"),
    (
        "ships_unsolved",
        "solved",
        edit('"""Two times x."""\n    ...', '"""Two times x."""\n    return 2 * x'),
        "twice_1",
    ),
    ("ships_unsolved", "solved and saved", solved, "not attempted"),
    ("stub_not_used", "called", add_code("y = twice_1(2)"), "twice_1"),
    ("stub_not_used", "called before", edit("import math", "import math\ntwice_3 = math.exp"), "twice_3"),
    ("stub_not_used", "answers imported", add_code("from vae_lib.exercises import notebook_03"), "notebook_03"),
    ("stub_not_used", "answers imported by name", add_code("import vae_lib.exercises.notebook_03"), "notebook_03"),
    ("ignored_cells_assert", "no bound", ignored(""), "assert"),
    ("ignored_cells_assert", "no reason", ignored("assert seconds < 9"), "reason"),
    ("ignored_cells_assert", "nothing asserted", ignored('assert True, "always"'), "assert"),
    ("ignored_cells_assert", "never called", ignored('def f():\n    assert seconds < 9, "fast"'), "assert"),
    ("compared_strictly", "constants printed", print_only("'twelve', 3"), "expected at least 60%"),
    (
        "compared_strictly",
        "names of constants",
        print_only("f'{n} of {m}', len(m)", before="n = 3\nm = 'x' * n"),
        "60%",
    ),
    ("compared_strictly", "ignored", print_only("1", cells=1), "60%"),
]

# What breaks two rules at once, whichever way it is done: the other rules, by (rule, how the notebook is broken).
ALSO = {
    **{("extent", how): {"reading_time"} for how in ("few words", "many words", "many lines", "no prediction")},
    ("exercises", "numbered wrongly"): {"ships_unsolved"},
    ("exercises", "without difficulty"): {"first_cell"},
    ("ships_unsolved", "solved and saved"): {"executed_in_order"},
}


def broken_rules(notebook: NotebookNode) -> dict[str, list[str]]:
    found = {name: list(rule(notebook, PATH)) for name, rule in RULES.items()}
    return {name: words for name, words in found.items() if words}


def test_the_good_notebook_keeps_every_rule():
    nbformat.validate(good())
    assert broken_rules(good()) == {}


@pytest.mark.parametrize(("rule", "how", "mutate", "words"), BROKEN, ids=[f"{b[0]}-{b[1]}" for b in BROKEN])
def test_a_broken_notebook_is_rejected_by_its_rule_alone(rule, how, mutate, words):
    notebook = good()
    mutate(notebook)
    found = broken_rules(notebook)
    assert set(found) == {rule} | ALSO.get((rule, how), set())
    assert words in "\n".join(found[rule])


def test_every_rule_has_been_seen_to_fail():
    assert {rule for rule, *_ in BROKEN} == set(RULES)


def widget(notebook: NotebookNode) -> None:
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "IntSlider(value=0)"}
    add_code("slider(0)", [new_output("display_data", view)], [IGNORE])(notebook)


ACCEPTED = {
    "another docstring": edit('"""Nats to bits: log2(e) bits to the nat.', '"""In bits.'),
    "annotations": edit("def to_bits(nats)", "def to_bits(nats: float) -> float"),
    "a bound with a reason": ignored('assert seconds < 9, "a division takes no longer"'),
    "widgets": widget,
    "a planted error": add_code("to_bits()", [ERROR], [RAISES]),
    "a list that grew": print_only("rows", before="rows = []\nrows.append(to_bits(2))"),
    "a call that prints": print_only("to_bits(2)", before="x = [f'{y}' for y in range(3)]"),
    "a short running time": edit("*running* 20 s", "*running* 11 s"),
    "an empty table of what was built": edit(f"{TABLE_ROW}\n", ""),
    "thirty lines": add_code("\n\n".join(f"x = {k}" for k in range(30))),
}


@pytest.mark.parametrize("mutate", ACCEPTED.values(), ids=ACCEPTED)
def test_a_notebook_that_is_good_in_another_way_is_accepted(mutate):
    notebook = good()
    mutate(notebook)
    assert broken_rules(notebook) == {}


def test_a_drifted_definition_is_reported_with_its_cell():
    notebook = good()
    TO_BITS_OTHERWISE(notebook)
    (words,) = RULES["built_here"](notebook, PATH)
    assert words.startswith("cell 4 ('def to_bits(nats):')")


def test_a_solved_and_saved_course_stays_green(tmp_path):
    path = tmp_path / PATH
    learners = good()
    solved(learners)
    nbformat.write(learners, path)
    assert violations("ships_unsolved", path) and violations("executed_in_order", path)  # nobody ships it like this
    nbformat.write(good(), path)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(tmp_path)]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "as shipped"]):
        subprocess.run([*git, *arguments], check=True)
    nbformat.write(learners, path)
    assert {name: violations(name, path) for name in RULES if violations(name, path)} == {}


# (a cell, what is stored as its output, its tags, whether nbval accepts it)
NBVAL = [
    ("def f(x):\n    return x + 1\n\nprint(f(1))", "2\n", [], True),
    ("def f(x):\n    return x + 2\n\nprint(f(1))", "2\n", [], False),  # another definition than when it was stored
    ("print(f(1))", "4\n", [], False),  # another output
    ("print(f(1))", "4\n", [IGNORE], True),
    ("print(f(1))\nassert f(1) > 5, 'bounded'", "4\n", [IGNORE], False),
]


def test_nbval_rejects_another_output_and_another_definition(tmp_path):
    """The machinery beneath the rules: strict mode compares what a cell prints with what is stored."""
    notebook = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    for source, text, tags, _ in NBVAL:
        notebook.cells.append(new_code_cell(source, outputs=[stdout(text)], metadata={"tags": tags}))
    number_and_time(notebook)
    nbformat.write(notebook, tmp_path / "small.ipynb")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "-rA"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    verdicts = {f"{'PASSED' if accepted else 'FAILED'} small.ipynb::Cell {k}" for k, (*_, accepted) in enumerate(NBVAL)}
    assert verdicts == set(re.findall(r"(?:PASSED|FAILED) small.ipynb::Cell \d", run.stdout))
