"""The command line: `python -m vae_lib --help` lists what it does."""

import argparse
import functools
import io
import json
import os
import sys
from pathlib import Path

from vae_lib.exercises.progress import NOTEBOOKS, summary
from vae_lib.metrics import bits_per_pixel

COMPRESS_HELP = """\
Turns a picture into a .vic file, the format of notebook 12.

  python -m vae_lib compress photo.png photo.vic --quality 40
  python -m vae_lib compress photo.png photo.vic --quality 40 --effort 2

Effort 1 takes seconds. Effort 2 searches for symbols that cost less for this very picture: about 5 % fewer bytes at
equal quality, for some minutes and 1.5 gigabytes of memory for each megapixel. Both are decoded alike, and as fast.

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

fashion-vae can be trained on several machines. Start the same command on each, with its own number; process 0 waits at
HOST:PORT for the others, and alone writes. Where one is lost, all end: start all again, with the same checkpoint (on a
shared file system, or copied to each). --devices splits one machine's CPU into several devices, to try it out.

  python -m vae_lib train fashion-vae --out OUT --coordinator 10.0.0.1:1234 --processes 2 --process 0
  python -m vae_lib train fashion-vae --out OUT --coordinator 10.0.0.1:1234 --processes 2 --process 1
"""

ABLATION_HELP = """\
Measures what each technique of the codec buys, on validation photographs, in real bytes: the table of notebook 11.

  python -m vae_lib ablation ablation.json --photos FOLDER... --validation FOLDER

From a plain KLT to the committed codec, one thing is added at a time; seven entropy models are trained for it, which
takes an hour or two.
"""

BENCHMARK_HELP = """\
Measures our codec beside JPEG, WebP, AVIF and JPEG XL, on every picture of a folder, at a sweep of qualities: bytes
with headers, PSNR, MS-SSIM, seconds. Prints the BD-rates: by how many percent our files are smaller at equal PSNR, and
at equal MS-SSIM, each against AVIF as it does best by that measure.

  python -m vae_lib benchmark data/photographs/test
  python -m vae_lib benchmark FOLDER --json results.json --figure results.png
  python -m vae_lib benchmark FOLDER --effort 2
  python -m vae_lib benchmark FOLDER --weights mine.safetensors

A picture that cannot be read is named and left out. In the results a PSNR of null means that nothing was lost (JSON
knows no infinity), an MS-SSIM of null that the picture is too small for it. About a minute for a picture of half a
megapixel, most of it AVIF's; with --effort 2, which measures our slower encoder as well, some minutes more. --weights
measures a codec with other weights, beside the committed one.
"""

PROGRESS_HELP = """\
Reads the saved outputs of the check cells and shows which exercises are done: ✓ correct, ✗ not yet, ○ not attempted.
Save the notebook first; there is no other state.
"""

GRADE_HELP = """\
For teachers: runs the checks over a folder of submitted notebooks, each in a process of its own, and prints a table.

  python -m vae_lib grade SUBMISSIONS
  python -m vae_lib grade SUBMISSIONS --words --json grades.json

✓ correct, ✗ not yet, ○ not attempted, - missing. A notebook that is broken, or runs past its time, is named, and the
rest goes on. What a learner saw is among the words. Submissions are programs: run them where strangers' programs may.
"""

BITS_BACK_HELP = """\
Stores 28x28 grey images without loss, with bits back and the committed VAE, and gives them back bit for bit.

  python -m vae_lib bits-back encode test.bb                 the official Fashion-MNIST test set
  python -m vae_lib bits-back encode mine.bb FOLDER          the pictures of a folder, in the order of their names
  python -m vae_lib bits-back decode mine.bb OUT             a new folder OUT with 00000.png, 00001.png ...
  python -m vae_lib bits-back decode mine.bb OUT.npy         or one NumPy array (n, 28, 28, 1)
  python -m vae_lib bits-back report results.json            measure the test set beside PNG, WebP, JPEG XL and xz

A file holds pixels, not names. It can be read with the very weights it was made with, which it names by checksum.
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
    compress.add_argument("--effort", type=int, default=1, choices=(1, 2), help="quick, or smaller files (default 1)")

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
    train.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 can be reached by the others")
    train.add_argument("--processes", type=int, metavar="N", help="how many processes train together")
    train.add_argument("--process", type=int, metavar="I", help="number of this one, from 0 to N - 1")
    train.add_argument("--devices", type=int, metavar="K", help="train on K simulated devices of this CPU")

    ablation = commands.add_parser(
        "ablation", help="what each technique buys", description=ABLATION_HELP, formatter_class=style
    )
    ablation.add_argument("out", type=Path, metavar="OUT.json", help="the file to write")
    ablation.add_argument("--photos", type=Path, nargs="+", default=[], help="more photographs to train on")
    ablation.add_argument("--validation", type=Path, required=True, help="more photographs to measure")

    benchmark = commands.add_parser(
        "benchmark", help="measure the codec beside others", description=BENCHMARK_HELP, formatter_class=style
    )
    benchmark.add_argument("folder", type=Path, metavar="FOLDER", help="a folder of pictures")
    benchmark.add_argument(
        "--effort", type=int, default=1, choices=(1, 2), help="2: measure our slower encoder as well (default 1)"
    )
    benchmark.add_argument(
        "--weights", type=Path, metavar="FILE", help="other weights of ours, measured against the committed ones"
    )
    benchmark.add_argument("--json", type=Path, metavar="OUT.json", help="write all that was measured")
    benchmark.add_argument("--figure", type=Path, metavar="OUT.png", help="draw curves, and crops at equal bytes")

    progress = commands.add_parser(
        "progress", help="show which exercises are done", description=PROGRESS_HELP, formatter_class=style
    )
    progress.add_argument(
        "--notebooks", type=Path, default=NOTEBOOKS, help="folder of the notebooks (default: the course's)"
    )

    grade = commands.add_parser(
        "grade", help="check a folder of submitted notebooks", description=GRADE_HELP, formatter_class=style
    )
    grade.add_argument("folder", type=Path, metavar="FOLDER", help="submitted notebooks, also in folders of learners")
    grade.add_argument("--words", action="store_true", help="below each line, the words for what is not correct")
    grade.add_argument("--json", type=Path, metavar="OUT.json", help="write all verdicts and their words")
    grade.add_argument("--seconds", type=float, default=600, help="time limit for a submission (default 600)")
    grade.add_argument("--workers", type=int, default=2, help="submissions at a time (default 2)")

    bits_back = commands.add_parser(
        "bits-back", help="store images without loss", description=BITS_BACK_HELP, formatter_class=style
    )
    actions = bits_back.add_subparsers(dest="action", required=True, metavar="ACTION")
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
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; 0 when it worked, 2 with one line on stderr when it could not."""
    options = parser().parse_args(arguments)
    code = _run(options)
    if code and getattr(options, "coordinator", None):
        from jax import distributed

        if distributed.is_initialized():  # an ordinary exit would wait for the other processes, which may be gone
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    return code


def _run(options: argparse.Namespace) -> int:
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
    x_uint8 = load_image(options.picture)
    search = None
    if options.effort == 2:
        from vae_lib import refinement

        search = refinement.encode_tile
    data = codec.encode(x_uint8, codec.load_weights(), options.quality, search=search)
    _write(options.file, lambda temporary: temporary.write_bytes(data))


def decompress(options: argparse.Namespace) -> None:
    """.vic file to PNG."""
    from PIL import Image

    from vae_lib import codec

    check_output(options.file, options.picture, ".png")
    weights, png = codec.load_weights(), io.BytesIO()
    Image.fromarray(codec.decode(codec.load(options.file, weights), weights)).save(png, "PNG")
    _write(options.picture, lambda temporary: temporary.write_bytes(png.getbuffer()))


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


def check_folder(target: Path) -> None:
    """ValueError unless the folder that `target` is to be written into exists."""
    if not target.parent.is_dir():
        raise ValueError(f"expected an existing folder for {target.name}, got {target.parent}")


def check_output(source: Path, target: Path, suffix: str) -> None:
    """ValueError unless `target` is a new name with that suffix in a folder that exists."""
    if target.suffix.lower() != suffix:
        raise ValueError(f"expected a name that ends in {suffix}, got {target}")
    check_folder(target)
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"expected two different files, got {target} twice")


def progress(options: argparse.Namespace) -> None:
    """Which exercises are done."""
    print(summary(options.notebooks))


def grade(options: argparse.Namespace) -> None:
    """The checks over submitted notebooks."""
    from vae_lib.exercises.grade import grade_folder, row

    if not options.folder.is_dir():
        raise ValueError(f"expected a folder of submitted notebooks, got {options.folder}")
    if options.seconds <= 0 or options.workers < 1:
        raise ValueError(f"expected some seconds and workers, got {options.seconds:g} and {options.workers}")
    if options.json:
        check_output(options.folder, options.json, ".json")
    results = {}
    for name, result in grade_folder(options.folder, options.seconds, options.workers):
        results[name] = result
        print(row(name, result), flush=True)
        for exercise, verdict in result["verdicts"].items() if options.words else ():
            if verdict["status"] in ("not yet", "missing"):
                print(f"    {exercise} {verdict['text']}")
    if options.json:
        _write(options.json, lambda temporary: temporary.write_text(json.dumps(results, indent=1), encoding="utf-8"))


def train(options: argparse.Namespace) -> None:
    """Train the named model; imports JAX, which the other commands do without."""
    if options.steps is not None and options.steps < 1:
        raise ValueError(f"expected at least one step, got {options.steps}")
    if options.out.suffix != ".safetensors":
        raise ValueError(f"expected a name that ends in .safetensors, got {options.out}")
    check_folder(options.out)
    together = (options.coordinator, options.processes, options.process)
    if None in together and any(option is not None for option in together):
        raise ValueError("expected --coordinator, --processes and --process together")
    parallel = options.coordinator is not None or options.devices is not None
    if parallel and options.model != "fashion-vae":
        raise ValueError(
            f"expected one process and device for {options.model}: only fashion-vae is split among several"
        )
    if options.devices is not None and options.devices < 1:
        raise ValueError(f"expected at least one device, got {options.devices}")
    if options.model == "codec":
        if not options.photos or options.validation is None:
            raise ValueError("train codec: expected --photos FOLDER... and --validation FOLDER")
        from vae_lib.codec_recipe import train_codec

        train_codec(options.photos, options.validation, options.out, steps=options.steps, seed=options.seed)
    elif options.model == "latent-sweep":
        from vae_lib.recipes import train_latent_sweep

        train_latent_sweep(options.out, steps=options.steps, seed=options.seed)
    else:
        from vae_lib.recipes import train_fashion_vae

        mesh = _mesh(options) if parallel else None
        given = {name: getattr(options, name) for name in ("coordinator", "processes", "process", "devices")}
        where = "".join(f" --{name} {value}" for name, value in given.items() if value is not None)
        train_fashion_vae(options.out, steps=options.steps, seed=options.seed, mesh=mesh, where=where)


def _mesh(options: argparse.Namespace):
    """The devices that train together, after all processes have met."""
    import jax

    from vae_lib import parallel

    if options.devices is not None:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", options.devices)
    if options.coordinator is not None:
        parallel.join(options.coordinator, options.processes, options.process)
    return parallel.data_mesh()


def bits_back(options: argparse.Namespace) -> None:
    """Encode, decode or report."""
    {"encode": encode, "decode": decode, "report": report}[options.action](options)


def encode(options: argparse.Namespace) -> None:
    """Write a bits-back file and say where its bytes went."""
    from vae_lib import bits_back as codec
    from vae_lib.images import load_fashion_mnist, load_grey_folder

    _check_new(options.file)
    x_uint8 = load_fashion_mnist("test")[0] if options.folder is None else load_grey_folder(options.folder)
    if options.count is not None and not 1 <= options.count <= len(x_uint8):
        raise ValueError(f"expected a count from 1 to {len(x_uint8):,}, got {options.count}")
    given = {name: getattr(options, name) for name in ("steps", "lanes") if getattr(options, name) is not None}
    data, ledger = codec.encode(x_uint8[: options.count], **given, track=_progress_bar("encoding"))
    _write(options.file, lambda temporary: temporary.write_bytes(data))
    print(ledger)


def decode(options: argparse.Namespace) -> None:
    """Write the images of a bits-back file; nothing is written unless all came back as they were."""
    import numpy as np

    from vae_lib import bits_back as codec
    from vae_lib.images import encode_image

    _check_new(options.out)
    x_uint8 = codec.decode(options.file.read_bytes(), track=_progress_bar("decoding"))

    def write(temporary: Path) -> None:
        if options.out.suffix == ".npy":
            with temporary.open("wb") as file:
                np.save(file, x_uint8)
        else:
            temporary.mkdir()
            for i, image in enumerate(x_uint8):
                (temporary / f"{i:05}.png").write_bytes(encode_image(image, "PNG"))

    _write(options.out, write)
    print(f"{len(x_uint8):,} images of 28x28, equal to their checksum")


def report(options: argparse.Namespace) -> None:
    """Measure our files and the others' on the official test set; write what was measured."""
    from vae_lib.lossless_benchmark import lossless_report

    if options.out.suffix != ".json" or not options.out.parent.is_dir():
        raise ValueError(f"expected a name that ends in .json in an existing folder, got {options.out}")
    figures = json.dumps(lossless_report(), indent=2) + "\n"
    _write(options.out, lambda temporary: temporary.write_text(figures, encoding="utf-8"))


def _progress_bar(what: str):
    from tqdm import tqdm

    return functools.partial(tqdm, desc=what, file=sys.stdout, leave=False, unit="round", disable=None)


def _check_new(path: Path) -> None:
    """Before a long computation: whether its result can be written."""
    if path.exists():
        raise ValueError(f"expected a new name, got {path}, which exists")
    check_folder(path)


def _write(path: Path, write) -> None:
    """Write under a temporary name, then rename: nobody meets half a file, or half a folder."""
    import shutil

    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise OSError(f"{path}: not written: {error.strerror}") from None
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def ablation(options: argparse.Namespace) -> None:
    """The table of what each technique buys."""
    check_output(options.validation, options.out, ".json")
    from vae_lib.ablation import ablation

    ablation(options.photos, options.validation, options.out)


def benchmark(options: argparse.Namespace) -> None:
    """Our codec beside others."""
    if not options.folder.is_dir():
        raise ValueError(f"expected a folder of pictures, got {options.folder}")
    for target, suffix in ((options.json, ".json"), (options.figure, ".png")):
        if target:
            check_output(options.folder, target, suffix)
    from vae_lib import benchmark, codec

    weights = codec.load_weights(options.weights or codec.WEIGHTS)
    committed = codec.load_weights() if options.weights else None
    command = f"python -m vae_lib benchmark {options.folder}" + " --effort 2" * (options.effort == 2)
    for name in ("weights", "json"):
        command += f" --{name} {vars(options)[name]}" if vars(options)[name] else ""
    results = {"command": command} | benchmark.benchmark(options.folder, weights, options.effort, committed)
    if options.json:  # first: what was measured outlives whatever cannot be printed or drawn
        _write(options.json, lambda temporary: temporary.write_text(benchmark.to_json(results), encoding="utf-8"))
    print(benchmark.table(results))
    if options.figure:
        _write(options.figure, lambda temporary: benchmark.draw(results, options.folder, weights, temporary))


COMMANDS = {
    "compress": compress,
    "decompress": decompress,
    "info": info,
    "benchmark": benchmark,
    "bits-back": bits_back,
    "train": train,
    "ablation": ablation,
    "progress": progress,
    "grade": grade,
}

if __name__ == "__main__":
    sys.exit(main())
