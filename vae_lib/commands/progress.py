"""Which exercises are done."""

import argparse
from pathlib import Path

from vae_lib.exercises.progress import NOTEBOOKS, summary

SUMMARY = "show which exercises are done"
HELP = """\
Reads the saved outputs of the check cells and shows which exercises are done: ✓ correct, ✗ not yet, ○ not attempted.
Save the notebook first; there is no other state.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--notebooks", type=Path, default=NOTEBOOKS, help="folder of the notebooks (default: the course's)"
    )


def run(options: argparse.Namespace) -> None:
    """Which exercises are done."""
    print(summary(options.notebooks))
