"""Pages that are not written but collected: from the notebooks' text and from the exercises' checks, as Markdown.

A page says `{generated} NAME`, and `PAGES[NAME]()` gives its text. Nothing is listed here by hand but the routes for
teachers, and their minutes are added up from what the notebooks state.
"""

import ast
import functools
import itertools
import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path += [
    str(ROOT / "tests" / room) for room in ("notebooks", "exercises")
]  # where notebooks and checks are already read for the tests

from misconceptions import all_exercises  # noqa: E402
from notebook_rules import FACTS, Exercise, find_exercises, load, section  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = sorted(path for path in (ROOT / "vae_lib").glob("*.py") if path.stem != "__init__")
SOURCES = [*NOTEBOOKS, *MODULES, *sorted((ROOT / "vae_lib" / "exercises").glob("*.py")), Path(__file__)]


@dataclass(frozen=True)
class Notebook:
    """What a notebook's first cell states about it."""

    path: Path
    title: str
    question: str
    reading: int  # minutes
    running: int  # seconds
    exercises: tuple[Exercise, ...]
    further_reading: tuple[str, ...]

    @property
    def number(self) -> str:
        return self.path.name[:2]

    @property
    def link(self) -> str:
        return f"[{self.title}](notebooks/{self.path.name})"

    def minutes(self, exercises: Iterable[Exercise]) -> int:
        """Reading, running and these exercises, in whole minutes, rounded up."""
        return self.reading + -(-self.running // 60) + sum(exercise.minutes for exercise in exercises)


@functools.cache
def course() -> dict[str, Notebook]:
    """Number -> notebook."""
    notebooks = {}
    for path in NOTEBOOKS:
        content = load(path)
        opening = content.cells[0].source
        facts, question = FACTS.search(opening), re.search(r"^\*\*(.+\?)\*\*$", opening, re.MULTILINE)
        reading = section(content, "Further reading")
        if not facts or not question or not reading:
            raise ValueError(f"expected question, facts and further reading in {path.name}")
        notebooks[path.name[:2]] = Notebook(
            path,
            opening.partition("\n")[0].removeprefix("# "),
            question[1],
            int(facts[1]),
            int(facts[2]),
            tuple(find_exercises(content)),
            tuple(re.findall(r"^- (.+)$", reading[1], re.MULTILINE)),
        )
    return notebooks


def escape(text: str) -> str:
    """Text as Markdown that shows it as it stands; code in backticks stays code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(p if p.startswith("`") else re.sub(r"([\\*_\[\]<>$|{}~#])", r"\\\1", p) for p in parts)


def dots(difficulty: str) -> str:
    """Difficulty as dots that are also read aloud."""
    return f'<span role="img" aria-label="difficulty {difficulty.count("●")} of 3">{difficulty}</span>'


def row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def hours(minutes: int) -> str:
    return f"{minutes // 60} h {minutes % 60:02} min"


# Indexes


def contents() -> str:
    """The notebooks: question, minutes, exercises."""
    lines = [row("notebook", "question", "reading", "exercises"), row("---", "---", "---:", "---:")]
    for notebook in course().values():
        minutes = sum(exercise.minutes for exercise in notebook.exercises)
        lines.append(row(notebook.link, notebook.question, f"{notebook.reading} min", f"{minutes} min"))
    return "\n".join(lines)


def exercises() -> str:
    """All exercises, in order, with links to where they stand and to what their checks say."""
    found = {exercise.id: len(exercise.misconceptions) for exercise in all_exercises()}
    lines = []
    for notebook in course().values():
        lines += [f"## {notebook.title}", "", row("exercise", "difficulty", "minutes", "mistakes caught")]
        lines.append(row("---", "---", "---:", "---:"))
        for e in notebook.exercises:
            link = f"[{e.id} · {escape(e.title)}](#exercise-{e.id})"
            lines.append(row(link, dots(e.difficulty), e.minutes, f"[{found[e.id]}](#check-{e.id})"))
        lines += ["", f"In {notebook.link}.", ""]
    return "\n".join(lines)


def exercises_in_all() -> str:
    everything = [e for notebook in course().values() for e in notebook.exercises]
    return f"{len(everything)} exercises, {hours(sum(e.minutes for e in everything))} in all."


def misconceptions() -> str:
    """All beliefs that checks recognise, in alphabetical order, each with the exercises that meet it."""
    where: dict[str, list[str]] = {}
    for exercise in all_exercises():
        for misconception in exercise.misconceptions:
            belief = misconception.belief.strip().rstrip(".")
            where.setdefault(belief[0].upper() + belief[1:], []).append(exercise.id)
    lines = []
    for letter, beliefs in itertools.groupby(sorted(where, key=without_article), lambda b: without_article(b)[0]):
        lines += [f"## {letter.upper()}", ""]
        for belief in beliefs:
            links = ", ".join(f"[{i}](#check-{i})" for i in dict.fromkeys(where[belief]))
            lines.append(f"- {escape(belief)} · {links}")
        lines.append("")
    return "\n".join(lines)


def without_article(text: str) -> str:
    """Key for sorting: letters and digits, without accents and without a leading article."""
    plain = unicodedata.normalize("NFKD", re.sub(r"^(the|an?) ", "", text, flags=re.IGNORECASE))
    return re.sub(r"[^a-z0-9 ]", "", plain.lower()).strip()


def library() -> str:
    """Each module of `vae_lib`: what it says of itself, its public definitions, its source."""
    lines = []
    for path in MODULES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lines += [f"(module-{path.stem})=", f"## vae_lib.{path.stem}", "", escape(ast.get_docstring(tree)), ""]
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                says = (ast.get_docstring(node) or "").partition("\n\n")[0]
                lines.append(f"- `{node.name}`" + (f": {escape(says)}" if says else ""))
        lines += ["", f"{{download}}`Source <../vae_lib/{path.name}>`", ""]
    return "\n".join(lines)


# References


def address(match: re.Match[str]) -> str:
    """Where a publication named `arXiv:...` or `doi:...` can be read."""
    return f"https://arxiv.org/abs/{match['arxiv']}" if match["arxiv"] else f"https://doi.org/{match['doi']}"


ENTRY = re.compile(r"(?P<authors>.+?) \((?P<year>\d{4})\)[.:] \*(?P<title>.+?)\*(?P<rest>.*)")
IDENTIFIER = re.compile(r"arXiv:(?P<arxiv>\d{4}\.\d{4,5})|doi:(?P<doi>10\.\d+/[\w./-]*\w)")


def references() -> str:
    """Every work of the notebooks' further reading, once, by first author, with the notebooks that name it."""
    works: dict[str, tuple[str, list[Notebook]]] = {}
    for notebook in course().values():
        for entry in notebook.further_reading:
            text = without_remark(entry)
            found = ENTRY.fullmatch(text)
            if not found:
                raise ValueError(f"expected 'Authors (year). *Title.* Venue.' in notebook {notebook.number}: {entry}")
            key = re.sub(r"\W", "", found["title"]).lower() + found["year"]
            known, readers = works.get(key, (text, []))
            fuller = max(known, text, key=lambda t: (IDENTIFIER.search(t) is not None, len(t.partition(" (")[0])))
            works[key] = fuller, [*readers, *([] if notebook in readers else [notebook])]
    lines = []
    for text, readers in sorted(works.values(), key=lambda work: surname(work[0])):
        linked = IDENTIFIER.sub(lambda m: f"[{m[0]}]({address(m)})", text)
        where = ", ".join(f"[{n.number}](notebooks/{n.path.name})" for n in readers)
        lines.append(f"- {linked} · {where}")
    return "\n".join(lines)


def without_remark(entry: str) -> str:
    """A reference without what a notebook says about it: after the identifier, or in brackets at the end."""
    identifier = IDENTIFIER.search(entry)
    if identifier:
        return entry[: identifier.end()] + "."
    return re.sub(r" \([A-Z][^()]*\)\.?$", "", entry)


def surname(entry: str) -> tuple[str, str]:
    """Key for sorting: the first author's name without initials and accents, then the year."""
    first = re.split(r", | and | et al\.| \(", entry)[0]
    name = re.sub(r"^((?:\w\.-?)+ )+", "", first)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return plain, ENTRY.fullmatch(entry)["year"]


# For teachers

TWO_HOURS = ("01", "13")  # why a probability is a file size, and what learning buys
ONE_DAY = ("00", "01", "02", "03", "07", "10", "12", "13")  # the shortest path from pixels to the file format
WEEKS = 6


def easiest(notebook: Notebook) -> tuple[Exercise, ...]:
    return tuple(e for e in notebook.exercises if e.difficulty.count("●") == 1)


def route(numbers: Sequence[str], budget: int) -> str:
    """A table of notebooks read whole, each with its exercises of one dot; ValueError if the minutes do not fit."""
    lines = [row("notebook", "reading and running", "exercises", "minutes"), row("---", "---:", "---", "---:")]
    total = 0
    for notebook in (course()[number] for number in numbers):
        chosen = easiest(notebook)
        links = ", ".join(f"[{e.id}](#exercise-{e.id}) ({e.minutes} min)" for e in chosen) or "none"
        minutes = notebook.minutes(chosen)
        lines.append(row(notebook.link, f"{notebook.minutes(())} min", links, minutes))
        total += minutes
    if total > budget:
        raise ValueError(f"expected a route of at most {budget} minutes, got {total}")
    return "\n".join([*lines, row("**together**", "", "", f"**{total}**"), "", f"{budget - total} minutes are spare."])


def six_weeks() -> str:
    """All notebooks in order with all exercises, cut into weeks so that the longest week is as short as it can be."""
    notebooks = list(course().values())
    minutes = [notebook.minutes(notebook.exercises) for notebook in notebooks]
    cuts = min(
        itertools.combinations(range(1, len(minutes)), WEEKS - 1),
        key=lambda c: max(sum(minutes[a:b]) for a, b in itertools.pairwise((0, *c, len(minutes)))),
    )
    lines = [row("week", "notebooks", "time"), row("---:", "---", "---:")]
    for week, (start, end) in enumerate(itertools.pairwise((0, *cuts, len(minutes))), start=1):
        names = "<br>".join(notebook.link for notebook in notebooks[start:end])
        lines.append(row(week, names, hours(sum(minutes[start:end]))))
    return "\n".join([*lines, row("", "**together**", f"**{hours(sum(minutes))}**")])


def checks() -> str:
    """For each exercise: what its check recognises, and the words that the learner reads."""
    judged = {exercise.id: exercise for exercise in all_exercises()}
    lines = []
    for notebook in course().values():
        lines += [f"### {notebook.title}", ""]
        for e in notebook.exercises:
            check = judged[e.id]
            lines += [f"(check-{e.id})=", f"#### {e.id} · {escape(e.title)}", ""]
            lines += [f"[The exercise](#exercise-{e.id}): {dots(e.difficulty)} {e.minutes} min. Who is right reads:"]
            lines += [words(check.notice), ""]
            lines += ["<details>", f"<summary>{len(check.misconceptions)} misconceptions</summary>", ""]
            for misconception in check.misconceptions:
                lines += [f"- **{escape(misconception.belief)}**", "", f"  {words(misconception.words)}", ""]
            lines += ["</details>", ""]
    return "\n".join(lines)


def words(template: str) -> str:
    """A check's words, with names in the place of the learner's numbers."""
    names = {name: f"\0{name}\0" for name in ("yours", "right", "ratio")}
    return re.sub("\0(.+?)\0", r"*\1*", escape(template.format(**names)))


PAGES = {
    "contents": contents,
    "exercises": exercises,
    "exercises-in-all": exercises_in_all,
    "library": library,
    "misconceptions": misconceptions,
    "references": references,
    "two-hours": lambda: route(TWO_HOURS, 2 * 60),
    "one-day": lambda: route(ONE_DAY, 6 * 60),
    "six-weeks": six_weeks,
    "checks": checks,
}
