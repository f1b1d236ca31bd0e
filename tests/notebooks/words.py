"""Words before use: no term of the glossary stands in the course before the cell that introduces it.

A term is introduced where it first stands in bold. The course is read in its order, cell by cell; what a notebook
announces in its first cell, references and code do not count as use.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from course import GLOSSARY, glossary_terms, mention
from notebook_rules import is_code, load, without_fences


def prose_of(path: Path) -> Iterator[tuple[str, str]]:
    """Where, and what a reader reads there: the Markdown cells after the first, without code, formulas, references."""
    for number, cell in enumerate(load(path).cells[1:], start=2):
        if not is_code(cell):
            text = re.sub(
                r"^##+ [^\n]*Further reading.*", "", without_fences(cell.source), flags=re.DOTALL | re.MULTILINE
            )
            text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$|`[^`\n]*`|\]\([^)]*\)", " ", text, flags=re.DOTALL)
            yield f"{path.stem}, cell {number}", text


def used_before_said(paths: Sequence[Path], entries: Sequence[Sequence[str]]) -> list[str]:
    """For each glossary entry (its spellings) the uses before its introduction; also entries never introduced."""
    texts = [place for path in paths for place in prose_of(path)]
    found = []
    for spellings in entries:
        anywhere = re.compile("|".join(map(mention, spellings)))
        bold = re.compile("|".join(rf"\*\*[^*\n]*{mention(s)}[^*\n]*\*\*" for s in spellings))
        said = next((number for number, (_, text) in enumerate(texts) if bold.search(text)), None)
        if said is None:
            found.append(f"{spellings[0]}: expected to be introduced, in bold, got no such place")
        for where, text in texts[:said]:
            if match := anywhere.search(text):
                said_at = texts[said][0] if said is not None else "nowhere"
                found.append(f"{where}: {match[0]!r} is used before it is said ({said_at})")
    return found


def glossary() -> list[list[str]]:
    """The entries of the course's glossary, each with its spellings."""
    return glossary_terms(GLOSSARY.read_text(encoding="utf-8"))
