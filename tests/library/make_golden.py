"""Make `golden/`: small `.vic` files, with checksums of their bytes and of the symbols in them.

    python tests/library/make_golden.py

Run it when the weights or the format change on purpose; otherwise `test_golden.py` must find the files as they are.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from vae_lib import codec, decoder
from vae_lib.images import load_photographs
from vae_lib.metrics import psnr

GOLDEN = Path(__file__).parent / "golden"
PICTURES = {  # name: photograph, rows, columns, channels, quality
    "colour_0": ("sea_of_lanterns", slice(416, 512), slice(384, 528), slice(0, 3), 0),
    "colour_50": ("sea_of_lanterns", slice(416, 512), slice(384, 528), slice(0, 3), 50),
    "colour_100": ("sea_of_lanterns", slice(416, 512), slice(384, 528), slice(0, 3), 100),
    "grey_70": ("lichen_branches", slice(480, 557), slice(480, 533), slice(1, 2), 70),
    "pixel_37": ("sunset", slice(0, 1), slice(0, 1), slice(0, 3), 37),
    "two_tiles_20": ("life", slice(300, 331), slice(0, 1051), slice(0, 3), 20),
}


def picture(name: str) -> np.ndarray:
    """(height, width, 3), or (height, width) if it is grey."""
    photograph, rows, columns, channels, _ = PICTURES[name]
    return np.squeeze(load_photographs("train")[photograph][rows, columns, channels], 2 if channels.stop == 2 else ())


def digests(data: bytes, weights: codec.CodecWeights, reader: type) -> dict[str, str]:
    """SHA-256 of a file and of the symbols in it, the latter as the latent, little-endian."""
    latent = decoder.decode_latent(data, decoder.read_header(data, weights), weights, reader)
    return {what: hashlib.sha256(x).hexdigest() for what, x in (("file", data), ("latent", latent.astype("<i2")))}


def main() -> None:
    weights, contents = codec.load_weights(), {}
    GOLDEN.mkdir(exist_ok=True)
    for name, (*_, quality) in PICTURES.items():
        x_uint8 = picture(name)
        data = codec.encode(np.dstack([x_uint8] * 3) if x_uint8.ndim == 2 else x_uint8, weights, quality)
        (GOLDEN / f"{name}.vic").write_bytes(data)
        decibels = round(float(psnr(x_uint8, codec.decode(data, weights))), 2)
        contents[name] = {**digests(data, weights, codec.FastReader), "psnr": decibels}
    (GOLDEN / "contents.json").write_text(json.dumps(contents, indent=1) + "\n")


if __name__ == "__main__":
    main()
