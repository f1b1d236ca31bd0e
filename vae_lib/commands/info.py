"""What the bytes of a .vic file were spent on."""

import argparse
import json
from pathlib import Path

from vae_lib.metrics import bits_per_pixel

SUMMARY = "what the bytes of a .vic file were spent on"
HELP = """\
Shows what the bytes of a .vic file were spent on: header, side information (the hyper-latent), the latent by groups of
channels, checksums.

  python -m vae_lib info photo.vic
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a .vic file")
    parser.add_argument("--json", action="store_true", help="as JSON, sizes in bytes")


def run(options: argparse.Namespace) -> None:
    """The ledger of a .vic file."""
    from vae_lib import codec

    weights = codec.load_weights()
    data = codec.load(options.file, weights)
    header, parts = codec.read_header(data, weights), codec.ledger(data, weights)
    if options.json:
        parts = {part: round(size, 2) for part, size in parts.items()}
        print(
            json.dumps(header._asdict() | {"bytes": len(data), "model": weights.model.hex(), "parts": parts}, indent=1)
        )
        return
    rate = bits_per_pixel(len(data), header.height, header.width)
    print(f"{header.width} x {header.height} {'grey' if header.grey else 'RGB'}, quality {header.quality}")
    print(f"{len(data):,} bytes, {rate:.3f} bits per pixel, model {weights.model.hex()}")
    for part, size in parts.items():
        print(f"{part:38s} {size:12,.1f} {size / len(data):6.1%}")
