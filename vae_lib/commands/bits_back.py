"""Images without loss, by bits back."""

import argparse
import functools
import json
import sys
from pathlib import Path

from vae_lib.commands.output import check_new, write

SUMMARY = "store images without loss"
HELP = """\
Stores 28x28 grey images without loss, with bits back and the committed VAE, and gives them back bit for bit.

  python -m vae_lib bits-back encode test.bb                 the official Fashion-MNIST test set
  python -m vae_lib bits-back encode mine.bb FOLDER          the pictures of a folder, in the order of their names
  python -m vae_lib bits-back decode mine.bb OUT             a new folder OUT with 00000.png, 00001.png ...
  python -m vae_lib bits-back decode mine.bb OUT.npy         or one NumPy array (n, 28, 28, 1)
  python -m vae_lib bits-back report results.json            measure the test set beside PNG, WebP, JPEG XL and xz

A file holds pixels, not names. It can be read with the very weights it was made with, which it names by checksum.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    encode = actions.add_parser("encode", help="images to a file")
    encode.add_argument("file", type=Path, help="file to write")
    encode.add_argument("folder", type=Path, nargs="?", help="folder of pictures (default: the bundled test set)")
    encode.add_argument("--count", type=int, default=None, help="the first so many images only")
    encode.add_argument("--steps", type=int, default=None, help="improve the posterior by so many steps (default 8)")
    encode.add_argument("--lanes", type=int, default=None, help="messages side by side (default 32)")
    decode = actions.add_parser("decode", help="a file to images")
    decode.add_argument("file", type=Path, help="file that encode wrote")
    decode.add_argument("out", type=Path, help="folder to make, or a name that ends in .npy")
    report = actions.add_parser("report", help="measure the whole test set; takes 20 minutes")
    report.add_argument("out", type=Path, help="file to write (.json)")


def run(options: argparse.Namespace) -> None:
    """Encode, decode or report."""
    {"encode": encode, "decode": decode, "report": report}[options.action](options)


def encode(options: argparse.Namespace) -> None:
    """Write a bits-back file and say where its bytes went."""
    from vae_lib.images import load_fashion_mnist, load_grey_folder
    from vae_lib.workshop import bits_back_file as codec

    check_new(options.file)
    x_uint8 = load_fashion_mnist("test")[0] if options.folder is None else load_grey_folder(options.folder)
    if options.count is not None and not 1 <= options.count <= len(x_uint8):
        raise ValueError(f"expected a count from 1 to {len(x_uint8):,}, got {options.count}")
    given = {name: getattr(options, name) for name in ("steps", "lanes") if getattr(options, name) is not None}
    data, ledger = codec.encode(x_uint8[: options.count], **given, track=progress_bar("encoding"))
    write(options.file, lambda temporary: temporary.write_bytes(data))
    print(ledger)


def decode(options: argparse.Namespace) -> None:
    """Write the images of a bits-back file; nothing is written unless all came back as they were."""
    import numpy as np

    from vae_lib.images import encode_image
    from vae_lib.workshop import bits_back_file as codec

    check_new(options.out)
    x_uint8 = codec.decode(options.file.read_bytes(), track=progress_bar("decoding"))

    def make(temporary: Path) -> None:
        if options.out.suffix == ".npy":
            with temporary.open("wb") as file:
                np.save(file, x_uint8)
        else:
            temporary.mkdir()
            for i, image in enumerate(x_uint8):
                (temporary / f"{i:05}.png").write_bytes(encode_image(image, "PNG"))

    write(options.out, make)
    print(f"{len(x_uint8):,} images of 28x28, equal to their checksum")


def report(options: argparse.Namespace) -> None:
    """Measure our files and the others' on the official test set; write what was measured."""
    from vae_lib.workshop.lossless_benchmark import lossless_report

    if options.out.suffix != ".json" or not options.out.parent.is_dir():
        raise ValueError(f"expected a name that ends in .json in an existing folder, got {options.out}")
    figures = json.dumps(lossless_report(), indent=2) + "\n"
    write(options.out, lambda temporary: temporary.write_text(figures, encoding="utf-8"))


def progress_bar(what: str):
    from tqdm import tqdm

    return functools.partial(tqdm, desc=what, file=sys.stdout, leave=False, unit="round", disable=None)
