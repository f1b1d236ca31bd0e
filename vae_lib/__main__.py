"""The command line: `python -m vae_lib --help` lists what it does."""

import argparse
import io
import json
import sys
from pathlib import Path

from vae_lib.exercises.progress import NOTEBOOKS, summary
from vae_lib.metrics import bits_per_pixel

COMPRESS_HELP = """\
Turns a picture into a .vic file, the format of notebook 12.

  python -m vae_lib compress photo.png photo.vic --quality 40

Any format that Pillow reads, and JPEG XL; grey or RGB, at most 67 megapixels; EXIF orientation is applied, and of an
animation the first frame is taken. Transparency is refused, since the file could not hold it. For a photograph, quality
0 is about 0.1 bits per pixel and quality 100 about 2; ten more are about 1.7 dB more.
"""

DECOMPRESS_HELP = """\
Turns a .vic file into a PNG. A file that is damaged, cut off or made by another model is refused, and nothing written.

  python -m vae_lib decompress photo.vic photo.png
"""

INFO_HELP = """\
Shows what the bytes of a .vic file were spent on: header, side information (the hyper-latent), the latent by groups of
channels, checksums.

  python -m vae_lib info photo.vic
"""

TRAIN_HELP = """\
Trains the models whose weights the later notebooks load, and writes them with what produced them.

  python -m vae_lib train fashion-vae --out fashion_vae.safetensors
  python -m vae_lib train latent-sweep --out latent_sweep.safetensors
  python -m vae_lib train codec --photos FOLDER... --validation FOLDER --out codec.safetensors

fashion-vae is the course's VAE for Fashion-MNIST; its official test set is measured once, at the end. latent-sweep are
the small VAEs that notebook 08 compares. Their loss is the negative ELBO in bits per dimension: what a pixel of an
image costs. codec is the codec for photographs; its loss is R + lambda D over all qualities. Beside its weights, a log
(.json) and a figure (.png) are written, with the validation curves in real bytes; data/README.md says which photographs
the committed weights were trained on.

A run can be stopped at any time (Ctrl-C); the same command goes on from the last checkpoint (OUT.checkpoint; one for
each model of the sweep), and ends with the same weights as if it had never stopped.
"""

PROGRESS_HELP = """\
Reads the saved outputs of the check cells and shows which exercises are done: ✓ correct, ✗ not yet, ○ not attempted.
Save the notebook first; there is no other state.
"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m vae_lib", description="Image compression with variational autoencoders."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    style = argparse.RawDescriptionHelpFormatter

    compress = commands.add_parser("compress", help="picture -> .vic", description=COMPRESS_HELP, formatter_class=style)
    compress.add_argument("picture", type=Path, metavar="IN", help="a picture")
    compress.add_argument("file", type=Path, metavar="OUT.vic", help="the file to write")
    compress.add_argument("--quality", type=int, default=50, metavar="0..100", help="small .. good (default 50)")

    decompress = commands.add_parser(
        "decompress", help=".vic -> PNG", description=DECOMPRESS_HELP, formatter_class=style
    )
    decompress.add_argument("file", type=Path, metavar="IN.vic", help="a .vic file")
    decompress.add_argument("picture", type=Path, metavar="OUT.png", help="the picture to write")

    info = commands.add_parser(
        "info", help="what the bytes of a .vic file were spent on", description=INFO_HELP, formatter_class=style
    )
    info.add_argument("file", type=Path, metavar="FILE", help="a .vic file")
    info.add_argument("--json", action="store_true", help="as JSON, sizes in bytes")

    train = commands.add_parser(
        "train", help="train a model and write its weights", description=TRAIN_HELP, formatter_class=style
    )
    train.add_argument("model", choices=["fashion-vae", "latent-sweep", "codec"], help="which model")
    train.add_argument("--photos", type=Path, nargs="+", default=[], help="codec: folders of photographs to train on")
    train.add_argument("--validation", type=Path, help="codec: folder of photographs to watch")
    train.add_argument("--out", type=Path, required=True, help="weights file to write (.safetensors)")
    train.add_argument(
        "--steps", type=int, default=None, help="gradient steps (default: those of the committed weights)"
    )
    train.add_argument("--seed", type=int, default=0, help="seed of weights, order and samples (default 0)")

    progress = commands.add_parser(
        "progress", help="show which exercises are done", description=PROGRESS_HELP, formatter_class=style
    )
    progress.add_argument(
        "--notebooks", type=Path, default=NOTEBOOKS, help="folder of the notebooks (default: the course's)"
    )
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 when it worked, 2 with one line on stderr when it could not."""
    options = parser().parse_args(arguments)
    try:
        COMMANDS[options.command](options)
    except KeyboardInterrupt:
        print(f"vae_lib {options.command}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if type(error).__module__.startswith("vae_lib") or isinstance(error, (ValueError, OSError, MemoryError)):
            print(f"vae_lib {options.command}: {error}", file=sys.stderr)
            return 2
        raise
    return 0


def compress(options: argparse.Namespace) -> None:
    """Picture to .vic file."""
    from vae_lib import codec
    from vae_lib.images import load_image

    check_output(options.picture, options.file, ".vic")
    data = codec.encode(load_image(options.picture), codec.load_weights(), options.quality)
    codec.save(options.file, data)


def decompress(options: argparse.Namespace) -> None:
    """.vic file to PNG."""
    from PIL import Image

    from vae_lib import codec

    check_output(options.file, options.picture, ".png")
    weights, png = codec.load_weights(), io.BytesIO()
    Image.fromarray(codec.decode(codec.load(options.file, weights), weights)).save(png, "PNG")
    codec.save(options.picture, png.getbuffer())


def info(options: argparse.Namespace) -> None:
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


def check_output(source: Path, target: Path, suffix: str) -> None:
    """ValueError unless `target` is a new name with that suffix in a folder that exists."""
    if target.suffix.lower() != suffix:
        raise ValueError(f"expected a name that ends in {suffix}, got {target}")
    if not target.parent.is_dir():
        raise ValueError(f"expected an existing folder for {target.name}, got {target.parent}")
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"expected two different files, got {target} twice")


def progress(options: argparse.Namespace) -> None:
    """Which exercises are done."""
    print(summary(options.notebooks))


def train(options: argparse.Namespace) -> None:
    """Train the named model; imports JAX, which the other commands do without."""
    if options.steps is not None and options.steps < 1:
        raise ValueError(f"expected at least one step, got {options.steps}")
    if options.out.suffix != ".safetensors":
        raise ValueError(f"expected a name that ends in .safetensors, got {options.out}")
    if not options.out.parent.is_dir():
        raise ValueError(f"expected an existing folder for {options.out.name}, got {options.out.parent}")
    if options.model == "codec":
        if not options.photos or options.validation is None:
            raise ValueError("train codec: expected --photos FOLDER... and --validation FOLDER")
        from vae_lib.codec_recipe import train_codec

        train_codec(options.photos, options.validation, options.out, steps=options.steps, seed=options.seed)
    else:
        from vae_lib.recipes import train_fashion_vae, train_latent_sweep

        recipe = {"fashion-vae": train_fashion_vae, "latent-sweep": train_latent_sweep}[options.model]
        recipe(options.out, steps=options.steps, seed=options.seed)


COMMANDS = {"compress": compress, "decompress": decompress, "info": info, "train": train, "progress": progress}

if __name__ == "__main__":
    sys.exit(main())
