"""What a benchmark found, for people: a table in letters, and a sheet with curves and crops at equal bytes."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from vae_lib import codec
from vae_lib.benchmark import OPTIONS, RIVALS, TITLES, counted, curve, equal_bytes, ours, printable
from vae_lib.images import load_image
from vae_lib.metrics import psnr

CROP = 192  # pixels a side, of the sheet


def table(results: dict[str, Any]) -> str:
    """The results in words: BD-rates by each measure, for each picture and over all, seconds, and what was left out.

    A line has at most 78 letters, which is what a page of the site shows (more where committed weights are a rival).
    """
    codecs, lines, blank = results["codecs"], [], False
    for measure, found in results["bd_rate"].items():
        if not found:
            continue
        first, slow = found["ours"], found.get("ours, effort 2")
        names = list(next(iter(first["pictures"].values()))["percent"])
        titles = "".join(f"{name.replace(', default', '*'):>10}" for name in names)
        lines.append(f"{'by ' + TITLES[measure] + ', ours against':24}{titles}  range")

        def row(title: str, percent: dict, span: list | None = None, names: list[str] = names) -> str:
            figures = "".join(f"{'-':>10}" if percent[n] is None else f"{percent[n]:+9.1f}%" for n in names)
            return f"{printable(title):24.24}{figures}" + (f"  {span[0]:.1f}-{span[1]:.1f} dB" if span else "")

        for picture, saved in first["pictures"].items():
            lines.append(row(picture, saved["percent"], saved["range"]))
            blank |= None in saved["percent"].values()
        whole = [picture for picture, saved in first["pictures"].items() if None not in saved["percent"].values()]
        for what in ("mean", "mean curves"):
            for effort, figures in (("", first), ("  at effort 2", slow)):
                if whole and figures:
                    title = effort or (f"mean of {counted(whole)}" if what == "mean" else "their mean curves")
                    lines.append(row(title, *([figures[what]] if what == "mean" else figures[what].values())))
        wins = {n: sum((s["percent"][n] or 0) < 0 for s in first["pictures"].values()) for n in names}
        lines.append(f"{'pictures with fewer bits':24}" + "".join(f"{wins[name]:>10}" for name in names))
        if whole and slow:
            lines.append(f"effort 2 against effort 1: {slow['mean']['ours']:+.1f}%, mean of {counted(whole)}")
        lines.append("")
    if found:  # by MS-SSIM, the last of the measures
        lines += ["* by default AVIF aims at the eye; above it is told to aim at PSNR", ""]
    if blank:
        lines += [
            "- where a curve does not rise, or shares no range with ours;",
            "  such a picture is not in the means",
            "",
        ]
    lines.append(f"{'seconds per megapixel, median':30}{'encode':>8}{'decode':>10}")
    for name, pictures in codecs.items():
        rows = list(chain(*pictures.values()))
        megapixels = [8e-6 * row["bytes"] / row["bits_per_pixel"] for row in rows]
        seconds = [
            np.median([row[f"{side}_seconds"] / size for row, size in zip(rows, megapixels, strict=True)])
            for side in ("encode", "decode")
        ]
        lines.append(f"{name:28}" + "".join(f"{s:10.2f}" for s in seconds))
    lines.append(f"\n{counted(codecs['ours'])}, real bytes, headers included; model {results['model']}")
    return "\n".join(lines + [f"skipped: {printable(why)}" for why in results["failed"].values()])


def draw(results: dict[str, Any], folder: Path, weights: codec.CodecWeights, path: Path, quality: int = 30) -> None:
    """Curves of PSNR and MS-SSIM, and below them crops of up to three pictures at equal bytes."""
    import matplotlib.pyplot as plt

    from vae_lib.plotting import COLOURS, MARKERS, rate_distortion_axes, use_course_style

    use_course_style()
    pictures = list(results["codecs"]["ours"])[:3]
    figure = plt.figure(figsize=(14, 5 + 2.6 * len(pictures)))
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[5, 2.6 * len(pictures)])[:, 0]
    left, right = upper.subplots(1, 2)
    for axis, measure in ((left, "psnr"), (right, "ms_ssim")):
        rows = results["codecs"]["ours"]
        whole = [p for p in rows if measure == "psnr" or rows[p][0]["ms_ssim"] is not None]
        whole = [
            p for p in whole if all(np.isfinite(curve({p: c[p]}, measure)[1]).all() for c in results["codecs"].values())
        ]
        for name in [*RIVALS[measure], *(n for n in results["codecs"] if n not in OPTIONS)] if whole else []:
            style = {"color": COLOURS[name], "marker": MARKERS[name], "markersize": 4, "label": name}
            axis.plot(*curve({p: results["codecs"][name][p] for p in whole}, measure), **style)
        rate_distortion_axes(axis, f"mean curves of {counted(whole)}, by {TITLES[measure]}").set_xlim(0, 2)
        if whole:
            axis.legend()
    right.set(ylabel="MS-SSIM (dB: -10 log10(1 - x))")
    shown_rivals = RIVALS["psnr"]  # each crop has its PSNR in its title
    axes = np.atleast_2d(lower.subplots(len(pictures), 2 + len(shown_rivals), squeeze=False))
    for line, picture in zip(axes, pictures, strict=True):
        x_uint8 = load_image(folder / picture)
        encode, decode = ours(weights)
        data = encode(x_uint8, quality)
        shown = {"original": (x_uint8.size, x_uint8)} | {n: equal_bytes(x_uint8, n, len(data)) for n in shown_rivals}
        shown["ours"] = (len(data), decode(data))
        top, start = (max(0, (side - CROP) // 2) for side in x_uint8.shape[:2])
        for axis, (name, (size, decoded)) in zip(line, shown.items(), strict=True):
            axis.imshow(decoded[top : top + CROP, start : start + CROP])
            fit = "" if name == "original" else f", {psnr(x_uint8, decoded):.1f} dB"
            axis.set_title(f"{name}: {size:,} B{fit}", fontsize=9)
            axis.axis("off")
    figure.savefig(path, format="png")
    plt.close(figure)
