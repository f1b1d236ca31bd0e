"""What the playground's pages load, made from the committed weights and photographs when the site is built."""

import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vae_lib import codec
from vae_lib.images import crop, encode_image, load_photographs

QUALITIES = range(0, 101, 10)
SAMPLES = {  # name: photograph, (top, left, height, width), what is seen, whose it is
    "fig": ("picture_0b", (112, 208, 256, 384), "A halved fig in a red bowl", "Trevor “Freespace”, 2018"),
    "dogs": ("friends", (144, 96, 384, 320), "Two dogs at a window", "Aitzol Berasategi, 2018"),
    "mountains": ("picosdeeuropa", (0, 0, 512, 768), "A path towards mountains", "Aitzol Berasategi, 2018"),
}  # all CC BY 4.0


def build(out: Path) -> None:
    """Write into the folder `out` all data that the pages load."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(codec.WEIGHTS, out / "codec.safetensors")
    build_samples(out)


def build_samples(out: Path) -> None:
    """Each sample without loss, and as `.vic` at each quality."""
    weights, photographs, samples = codec.load_weights(), load_photographs("test"), []
    for name, (photograph, window, title, author) in SAMPLES.items():
        x_uint8 = crop(photographs[photograph], *window)
        (out / f"{name}.webp").write_bytes(encode_image(x_uint8, "WebP", lossless=True, quality=60))
        for quality in QUALITIES:
            (out / f"{name}_{quality}.vic").write_bytes(codec.encode(x_uint8, weights, quality))
        samples.append({"name": name, "title": title, "author": author, "height": window[2], "width": window[3]})
    (out / "samples.json").write_text(json.dumps({"qualities": list(QUALITIES), "samples": samples}))


if __name__ == "__main__":
    build(Path(sys.argv[1]))
