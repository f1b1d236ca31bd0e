"""Files .vic to pictures."""

import argparse
import io
import sys
from pathlib import Path

from vae_lib.commands.many import STANDARD, each, pairs, weights
from vae_lib.commands.output import write

SUMMARY = ".vic -> PNG"
HELP = """\
Turns .vic files into PNG. A file that is damaged, cut off or made by another model is refused, and nothing written.

  python -m vae_lib decompress photo.vic photo.png
  python -m vae_lib decompress compressed/ --out-dir pictures
  python -m vae_lib decompress - - < photo.vic > photo.png

With --out-dir, files and all .vic files of folders are decoded side by side, one for each core; if one cannot be, it is
named at the end and the exit code is 1.
"""
GIGABYTES = 1.0  # of memory for a picture, more or less


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", type=Path, nargs="+", metavar="IN.vic [OUT.png]", help="a file and the PNG to write")
    parser.add_argument("--out-dir", type=Path, metavar="DIR", help="decompress all of IN... into this folder")


def run(options: argparse.Namespace) -> int:
    """Files .vic to PNG."""
    jobs = pairs(options.names, options.out_dir, ".png", lambda path: path.suffix.lower() == ".vic")
    if options.out_dir:
        return each(decompress, jobs, GIGABYTES)
    decompress(*jobs[0])
    return 0


def decompress(source: Path, target: Path) -> tuple[int, int]:
    """.vic file to PNG; bytes of both."""
    from PIL import Image

    from vae_lib import codec

    png = io.BytesIO()
    data = sys.stdin.buffer.read() if source == STANDARD else codec.load(source, weights())
    Image.fromarray(codec.decode(data, weights())).save(png, "PNG")
    write(target, lambda temporary: temporary.write_bytes(png.getbuffer()))
    return len(data), png.tell()
