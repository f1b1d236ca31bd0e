"""A picture to a .vic file."""

import argparse
from collections.abc import Callable
from pathlib import Path

from vae_lib.commands.output import check_output, write

SUMMARY = "picture -> .vic"
HELP = """\
Turns a picture into a .vic file, the format of notebook 12.

  python -m vae_lib compress photo.png photo.vic --quality 40
  python -m vae_lib compress photo.png photo.vic --quality 40 --effort 2

Effort 1 takes seconds. Effort 2 searches for symbols that cost less for this very picture: about 5 % fewer bytes at
equal quality, for some minutes and 1.5 gigabytes of memory for each megapixel. Both are decoded alike, and as fast.

Any format that Pillow reads, and JPEG XL; grey or RGB, at most 67 megapixels; EXIF orientation is applied, and of an
animation the first frame is taken. Transparency is refused, since the file could not hold it. For a photograph, quality
0 is about 0.1 bits per pixel and quality 100 about 2; ten more are about 1.7 dB more.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("picture", type=Path, metavar="IN", help="a picture")
    parser.add_argument("file", type=Path, metavar="OUT.vic", help="the file to write")
    parser.add_argument("--quality", type=int, default=50, metavar="0..100", help="small .. good (default 50)")
    parser.add_argument("--effort", type=int, default=1, choices=(1, 2), help="quick, or smaller files (default 1)")


def run(options: argparse.Namespace) -> None:
    """Picture to .vic file."""
    from vae_lib import codec
    from vae_lib.images import load_image

    check_output(options.picture, options.file, ".vic")
    x_uint8 = load_image(options.picture)
    data = codec.encode(x_uint8, codec.load_weights(), options.quality, search=search_of(options.effort))
    write(options.file, lambda temporary: temporary.write_bytes(data))


def search_of(effort: int) -> Callable | None:
    """What `codec.encode` searches with at this effort."""
    if effort == 1:
        return None
    from vae_lib.workshop.search import encode_tile

    return encode_tile
