"""Writes misconceptions.md, exercise by misconception: `uv run python tests/exercises/misconceptions.py`."""

import importlib
import pkgutil
from pathlib import Path

import vae_lib.exercises
from vae_lib.exercises.engine import Exercise

TABLE = Path(__file__).with_suffix(".md")


def all_exercises() -> list[Exercise]:
    """The exercises of all notebooks that have some, in order."""
    modules = sorted(m.name for m in pkgutil.iter_modules(vae_lib.exercises.__path__) if m.name.startswith("notebook_"))
    return [e for name in modules for e in importlib.import_module(f"vae_lib.exercises.{name}").EXERCISES]


def table() -> str:
    """Markdown: a row for each misconception that a check recognises, with the words for whoever holds it."""
    lines = [
        "# Exercise by misconception",
        "",
        "Made by `uv run python tests/exercises/misconceptions.py`. {yours}, {right}, {ratio}: the learner's numbers.",
        "",
        "| exercise | title | belief | words |",
        "|---|---|---|---|",
    ]
    for exercise in all_exercises():
        for misconception in exercise.misconceptions:
            cells = (exercise.id, exercise.title, misconception.belief, misconception.words)
            lines.append("| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
