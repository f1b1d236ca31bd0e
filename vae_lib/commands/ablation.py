"""What each technique of the codec buys."""

import argparse
from pathlib import Path

from vae_lib.commands.output import check_output

SUMMARY = "what each technique buys"
HELP = """\
Measures what each technique of the codec buys, on validation photographs, in real bytes: the table of notebook 11.

  python -m vae_lib ablation ablation.json --photos FOLDER... --validation FOLDER

From a plain KLT to the committed codec, one thing is added at a time; seven entropy models are trained for it, which
takes an hour or two.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT.json", help="the file to write")
    parser.add_argument("--photos", type=Path, nargs="+", default=[], help="more photographs to train on")
    parser.add_argument("--validation", type=Path, required=True, help="more photographs to measure")


def run(options: argparse.Namespace) -> None:
    """The table of what each technique buys."""
    check_output(options.validation, options.out, ".json")
    from vae_lib.workshop.ablation import ablation

    ablation(options.photos, options.validation, options.out)
