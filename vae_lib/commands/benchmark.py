"""The codec beside JPEG, WebP, AVIF and JPEG XL."""

import argparse
from pathlib import Path

from vae_lib.commands.compress import search_of
from vae_lib.commands.output import check_output, write

SUMMARY = "measure the codec beside others"
HELP = """\
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder of pictures")
    parser.add_argument(
        "--effort", type=int, default=1, choices=(1, 2), help="2: measure our slower encoder as well (default 1)"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="other weights of ours, measured against the committed ones"
    )
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write all that was measured")
    parser.add_argument("--figure", type=Path, metavar="OUT.png", help="draw curves, and crops at equal bytes")


def run(options: argparse.Namespace) -> None:
    """Our codec beside others."""
    if not options.folder.is_dir():
        raise ValueError(f"expected a folder of pictures, got {options.folder}")
    for target, suffix in ((options.json, ".json"), (options.figure, ".png")):
        if target:
            check_output(options.folder, target, suffix)
    from vae_lib import benchmark, codec
    from vae_lib.workshop import benchmark_report

    weights = codec.load_weights(options.weights or codec.WEIGHTS)
    committed = codec.load_weights() if options.weights else None
    command = f"python -m vae_lib benchmark {options.folder}" + " --effort 2" * (options.effort == 2)
    for name in ("weights", "json"):
        command += f" --{name} {vars(options)[name]}" if vars(options)[name] else ""
    search = search_of(options.effort)
    results = {"command": command} | benchmark.benchmark(options.folder, weights, search, committed)
    if options.json:  # first: what was measured outlives whatever cannot be printed or drawn
        write(options.json, lambda temporary: temporary.write_text(benchmark.to_json(results), encoding="utf-8"))
    print(benchmark_report.table(results))
    if options.figure:
        write(options.figure, lambda temporary: benchmark_report.draw(results, options.folder, weights, temporary))
