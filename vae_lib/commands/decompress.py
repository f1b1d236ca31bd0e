"""A .vic file to a picture."""

import argparse
import io
from pathlib import Path

from vae_lib.commands.output import check_output, write

SUMMARY = ".vic -> PNG"
HELP = """\
Turns a .vic file into a PNG. A file that is damaged, cut off or made by another model is refused, and nothing written.

  python -m vae_lib decompress photo.vic photo.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="IN.vic", help="a .vic file")
    parser.add_argument("picture", type=Path, metavar="OUT.png", help="the picture to write")


def run(options: argparse.Namespace) -> None:
    """.vic file to PNG."""
    from PIL import Image

    from vae_lib import codec

    check_output(options.file, options.picture, ".png")
    weights, png = codec.load_weights(), io.BytesIO()
    Image.fromarray(codec.decode(codec.load(options.file, weights), weights)).save(png, "PNG")
    write(options.picture, lambda temporary: temporary.write_bytes(png.getbuffer()))
