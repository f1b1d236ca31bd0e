"""The checks of the exercises over submitted notebooks."""

import argparse
import json
from pathlib import Path

from vae_lib.commands.output import check_output, write

SUMMARY = "check a folder of submitted notebooks"
HELP = """\
For teachers: runs the checks over a folder of submitted notebooks, each in a process of its own, and prints a table.

  python -m vae_lib grade SUBMISSIONS
  python -m vae_lib grade SUBMISSIONS --words --json grades.json

✓ correct, ✗ not yet, ○ not attempted, - missing. A notebook that is broken, or runs past its time, is named, the rest
goes on, and the exit code is 1. What a learner saw is among the words. Submissions are programs: run them where
strangers' programs may.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="submitted notebooks, also in folders of learners")
    parser.add_argument("--words", action="store_true", help="below each line, the words for what is not correct")
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write all verdicts and their words")
    parser.add_argument("--seconds", type=float, default=600, help="time limit for a submission (default 600)")
    parser.add_argument("--workers", type=int, default=2, help="submissions at a time (default 2)")


def run(options: argparse.Namespace) -> int:
    """The checks over submitted notebooks."""
    from vae_lib.exercises.grade import grade_folder, row

    if not options.folder.is_dir():
        raise ValueError(f"expected a folder of submitted notebooks, got {options.folder}")
    if options.seconds <= 0 or options.workers < 1:
        raise ValueError(f"expected some seconds and workers, got {options.seconds:g} and {options.workers}")
    if options.json:
        check_output(options.folder, options.json, ".json")
    results = {}
    for name, result in grade_folder(options.folder, options.seconds, options.workers):
        results[name] = result
        print(row(name, result), flush=True)
        for exercise, verdict in result["verdicts"].items() if options.words else ():
            if verdict["status"] in ("not yet", "missing"):
                print(f"    {exercise} {verdict['text']}")
    if options.json:
        write(options.json, lambda temporary: temporary.write_text(json.dumps(results, indent=1), encoding="utf-8"))
    return int(any(result["trouble"] for result in results.values()))
