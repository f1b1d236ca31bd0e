"""Pictures to .vic files."""

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path

from vae_lib.commands.many import STANDARD, each, pairs, weights
from vae_lib.commands.output import write

SUMMARY = "picture -> .vic"
HELP = """\
Turns pictures into .vic files, the format of notebook 12.

  python -m vae_lib compress photo.png photo.vic --quality 40
  python -m vae_lib compress photo.png photo.vic --quality 40 --effort 2
  python -m vae_lib compress holiday/ more.jpg --out-dir compressed
  python -m vae_lib compress - - < photo.png > photo.vic

Effort 1 takes seconds. Effort 2 searches for symbols that cost less for this very picture: about 5 % fewer bytes at
equal quality, for some minutes and 1.5 gigabytes of memory for each megapixel. Both are decoded alike, and as fast.

With --out-dir, files and all pictures of folders are compressed side by side, one for each core; if one cannot be, it
is named at the end and the exit code is 1.

Any format that Pillow reads, and JPEG XL; grey or RGB, at most 67 megapixels. The orientation is applied, colours with
an ICC profile are converted to sRGB, 16 bits are reduced to 8 (a line says so), and of an animation the first frame is
taken. Transparency is refused, since the file could not hold it, unless --background says what lies behind. For a
photograph, quality 0 is about 0.1 bits per pixel and quality 100 about 2; ten more are about 1.7 dB more.
"""
GIGABYTES = {1: 1.0, 2: 4.0}  # of memory for a picture at each effort, more or less


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", type=Path, nargs="+", metavar="IN [OUT.vic]", help="a picture and the file to write")
    parser.add_argument("--out-dir", type=Path, metavar="DIR", help="compress all of IN... into this folder")
    parser.add_argument("--quality", type=int, default=50, metavar="0..100", help="small .. good (default 50)")
    parser.add_argument("--effort", type=int, default=1, choices=(1, 2), help="quick, or smaller files (default 1)")
    parser.add_argument("--background", metavar="COLOUR", help="what lies behind transparency: white, '#ff8000', ...")


def run(options: argparse.Namespace) -> int:
    """Pictures to .vic files."""
    from PIL import ImageColor

    try:
        ImageColor.getrgb(options.background or "white")
    except ValueError:
        raise ValueError(f"expected a colour such as white or #ff8000, got {options.background}") from None
    from vae_lib.benchmark import is_picture

    jobs = pairs(options.names, options.out_dir, ".vic", is_picture)
    do = functools.partial(compress, quality=options.quality, effort=options.effort, background=options.background)
    if options.out_dir:
        return each(do, jobs, GIGABYTES[options.effort])
    do(*jobs[0])
    return 0


def compress(source: Path, target: Path, quality: int, effort: int, background: str | None) -> tuple[int, int]:
    """Picture to .vic file; bytes of both."""
    from vae_lib import codec
    from vae_lib.images import load_image

    x_uint8 = load_image(sys.stdin.buffer if source == STANDARD else source, background)
    data = codec.encode(x_uint8, weights(), quality, search=search_of(effort))
    write(target, lambda temporary: temporary.write_bytes(data))
    return x_uint8.size if source == STANDARD else source.stat().st_size, len(data)


def search_of(effort: int) -> Callable | None:
    """What `codec.encode` searches with at this effort."""
    if effort == 1:
        return None
    from vae_lib.workshop.search import encode_tile

    return encode_tile
