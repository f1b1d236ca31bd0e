"""Our codec beside the others: bytes, quality and seconds of each, on any folder of pictures (built in notebook 13).

`python -m vae_lib benchmark FOLDER` runs `benchmark`. A rate is the size of a file, header included.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vae_lib import codec
from vae_lib.images import DataError, decode_image, encode_image, load_image
from vae_lib.metrics import MS_SSIM_SMALLEST, bd_rate, bits_per_pixel, machine, ms_ssim, psnr

# The other encoders as Pillow and its JPEG XL plugin have them, and the qualities of a sweep.
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"format": "JPEG", "optimize": True, "progressive": True, "subsampling": "4:2:0"},
    "WebP": {"format": "WebP", "method": 6},
    "AVIF": {"format": "AVIF", "speed": 6, "subsampling": "4:4:4"},
    "JPEG XL": {"format": "JXL", "effort": 7},
}
QUALITIES = {
    "JPEG": (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95),
    "WebP": (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100),
    "AVIF": (10, 20, 30, 40, 50, 60, 70, 80, 90, 95),
    "JPEG XL": (5, 15, 30, 45, 60, 70, 80, 90, 95),
    "ours": (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100),
    "ours, effort 2": (10, 30, 50, 70, 90),
}
CROP = 192  # pixels a side, of the sheet
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".jxl", ".bmp", ".tif", ".tiff", ".gif", ".ppm")

Encode = Callable[[np.ndarray, int], bytes]
Decode = Callable[[bytes], np.ndarray]
Code = tuple[Encode, Decode]


def rival(name: str) -> Code:
    """Encoder and decoder of one of OPTIONS."""
    return lambda x_uint8, quality: encode_image(x_uint8, quality=quality, **OPTIONS[name]), decode_image


def ours(weights: codec.CodecWeights, quantiser: Callable = codec.quantise, search: Callable | None = None) -> Code:
    """Encoder and decoder of our codec."""

    def decode(data: bytes) -> np.ndarray:
        x_uint8 = codec.decode(data, weights)
        return x_uint8 if x_uint8.ndim == 3 else np.stack([x_uint8] * 3, axis=-1)

    return lambda x_uint8, quality: codec.encode(x_uint8, weights, quality, quantiser, search), decode


def measure(x_uint8: np.ndarray, code: Code, quality: int) -> dict[str, float | None]:
    """What one picture costs and loses at one quality, and how long it takes; MS-SSIM is None where undefined."""
    encode, decode = code
    start = time.perf_counter()
    data = encode(x_uint8, quality)
    middle = time.perf_counter()
    decoded = decode(data)
    end = time.perf_counter()
    return {
        "quality": quality,
        "bytes": len(data),
        "bits_per_pixel": round(bits_per_pixel(len(data), *x_uint8.shape[:2]), 5),
        "psnr": round(psnr(x_uint8, decoded), 4),
        "ms_ssim": round(ms_ssim(x_uint8, decoded), 6) if min(x_uint8.shape[:2]) >= MS_SSIM_SMALLEST else None,
        "encode_seconds": round(middle - start, 4),
        "decode_seconds": round(end - middle, 4),
    }


def sweep(photographs: Sequence[np.ndarray], code: Code, qualities: Sequence[int]) -> tuple[list[float], list[float]]:
    """Rates in bits per pixel and PSNRs in decibels, means over the photographs, one for each quality."""
    encode, decode = code
    results = np.empty((len(qualities), len(photographs), 2))
    for i, quality in enumerate(qualities):
        for j, x_uint8 in enumerate(photographs):
            data = encode(x_uint8, quality)
            results[i, j] = bits_per_pixel(len(data), *x_uint8.shape[:2]), psnr(x_uint8, decode(data))
    rates, psnrs = results.mean(axis=1).T.round(5).tolist()
    return rates, psnrs


def curve(rows: dict[str, list[dict]], of: str = "psnr") -> tuple[list[float], list[float]]:
    """Rates, and PSNR or MS-SSIM, means over the pictures, from one codec's {picture: [what `measure` found]}."""
    rates = np.mean([[row["bits_per_pixel"] for row in sweep] for sweep in rows.values()], axis=0)
    qualities = np.mean([[row[of] for row in sweep if row[of] is not None] for sweep in rows.values()], axis=0)
    return rates.tolist(), qualities.tolist()


def measure_file(path: Path, codes: dict[str, Code]) -> dict[str, list[dict]]:
    """{codec: [what `measure` found, for each quality]} of one picture; DataError if one of them cannot have it."""
    x_uint8 = load_image(path)
    rows = {}
    for name, code in codes.items():
        try:
            rows[name] = [measure(x_uint8, code, quality) for quality in QUALITIES[name]]
        except (
            Exception
        ) as error:  # each encoder has limits of its own, and exceptions: WebP's are 16,383 pixels a side
            raise DataError(f"{path}: expected a picture that {name} can encode, got {error!r}") from None
    return rows


def benchmark(folder: Path, weights: codec.CodecWeights, search: Callable | None = None) -> dict[str, Any]:
    """Measure every picture of a folder with every codec at every quality; with `search`, ours at effort 2 as well.

    Returns:
      data, machine: how many pictures were measured and the checksum of their files; what the seconds were measured on.
      model: id of our weights.
      failed: {picture: why}, those that could not be read, or not by every codec.
      codecs: {codec: {picture: [what `measure` found, for each quality]}}.
      bd_rate: {codec: {"percent", "from_db", "to_db"}}, ours against each, on the mean curves.
      bd_rate_effort_2: the same for ours at effort 2, and against effort 1, "ours"; only if it was measured.

    Raises:
      ValueError: there is no picture in the folder, or none that could be measured.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise ValueError(f"expected pictures ({', '.join(SUFFIXES)}) in {folder}, got none")
    codes = {name: rival(name) for name in OPTIONS} | {"ours": ours(weights)}
    if search:
        codes["ours, effort 2"] = ours(weights, search=search)
    codecs: dict[str, dict[str, list[dict]]] = {name: {} for name in codes}
    failed = {}
    bar = tqdm(paths, unit="picture", leave=False)
    for path in bar:
        bar.set_description(path.name)
        try:
            rows = measure_file(path, codes)
        except DataError as error:
            failed[path.name] = str(error)
            continue
        for name in codes:
            codecs[name][path.name] = rows[name]
    if not codecs["ours"]:
        why = next(iter(failed.values()))
        raise ValueError(f"expected pictures that can be read, got {len(failed)} that cannot, the first: {why}")
    digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in codecs["ours"])).hexdigest()
    results: dict[str, Any] = {
        "data": f"{counted(codecs['ours'])}, SHA-256 of their files one after the other: {digest}",
        "machine": machine(),
        "model": weights.model.hex(),
        "failed": failed,
        "codecs": codecs,
        "bd_rate": {name: saving(codecs["ours"], codecs[name]) for name in OPTIONS},
    }
    if search:
        slow = codecs["ours, effort 2"]
        results["bd_rate_effort_2"] = {name: saving(slow, codecs[name]) for name in (*OPTIONS, "ours")}
    return results


def counted(pictures: dict) -> str:
    return "1 picture" if len(pictures) == 1 else f"{len(pictures)} pictures"


def to_json(results: dict[str, Any]) -> str:
    """What `benchmark` found as strict JSON, which knows no infinity: a PSNR of null says that nothing was lost."""

    def finite(row: dict) -> dict:
        return row | {"psnr": row["psnr"] if math.isfinite(row["psnr"]) else None}

    codecs = {
        name: {picture: [finite(row) for row in sweep] for picture, sweep in rows.items()}
        for name, rows in results["codecs"].items()
    }
    return json.dumps(results | {"codecs": codecs}, indent=1, allow_nan=False)


def from_json(text: str) -> dict[str, Any]:
    """What `to_json` wrote: a PSNR of null is infinite again."""
    results = json.loads(text)
    for row in chain(*(sweep for rows in results["codecs"].values() for sweep in rows.values())):
        row["psnr"] = math.inf if row["psnr"] is None else row["psnr"]
    return results


def saving(ours: dict[str, list[dict]], other: dict[str, list[dict]]) -> dict[str, float] | None:
    """BD-rate of ours against another codec's curve, and the range of PSNR that both have; None if there is none."""
    try:
        percent, low, high = bd_rate(*curve(ours), *curve(other))
    except ValueError:
        return None
    return {"percent": round(percent, 2), "from_db": round(low, 2), "to_db": round(high, 2)}


def table(results: dict[str, Any]) -> str:
    """The results in words: BD-rates for each picture and on the mean curves, seconds, and what was skipped."""
    codecs = results["codecs"]
    lines = [f"{'BD-rate of ours against':32}" + "".join(f"{name:>10}" for name in OPTIONS)]
    overall = [results["bd_rate"][name] for name in OPTIONS]
    missing = None in overall
    for picture, rows in codecs["ours"].items():
        savings = [saving({picture: rows}, {picture: codecs[name][picture]}) for name in OPTIONS]
        lines.append(f"{picture:32.32}" + "".join(f"{s['percent']:+9.1f}%" if s else f"{'-':>10}" for s in savings))
        missing |= None in savings
    slow = results.get("bd_rate_effort_2", {})
    for title, found in (
        ("mean curves", overall),
        ("at effort 2", [slow.get(name) for name in OPTIONS] if slow else []),
    ):
        if found:
            lines.append(f"{title:32}" + "".join(f"{s['percent']:+9.1f}%" if s else f"{'-':>10}" for s in found))
            ranges = [f"{s['from_db']:.0f}-{s['to_db']:.0f} dB" if s else "-" for s in found]
            lines.append(f"{'over':32}" + "".join(f"{text:>10}" for text in ranges))
    if missing:
        lines.append("- where two curves do not rise over a common range of PSNR")
    if slow.get("ours"):
        percent, low, high = slow["ours"].values()
        lines.append(f"effort 2 against effort 1: {percent:+.1f}% over {low:.0f}-{high:.0f} dB")
    names = [name.removeprefix("ours, ") for name in codecs]
    lines.append(f"\n{'seconds per megapixel, median':32}" + "".join(f"{name:>10}" for name in names))
    for side in ("encode", "decode"):
        seconds = [
            np.median(
                [
                    row[f"{side}_seconds"] * row["bits_per_pixel"] / (8e-6 * row["bytes"])
                    for row in chain(*pictures.values())
                ]
            )
            for pictures in codecs.values()
        ]
        lines.append(f"{side:32}" + "".join(f"{s:10.2f}" for s in seconds))
    lines.append(f"\n{counted(codecs['ours'])}, real bytes, headers included; model {results['model']}")
    return "\n".join(lines + [f"skipped: {why}" for why in results["failed"].values()])


def equal_bytes(x_uint8: np.ndarray, name: str, size: int) -> tuple[int, np.ndarray]:
    """The picture as another codec gives it back from at most `size` bytes, and its bytes; at its worst if none is."""
    encode, decode = rival(name)
    low, high = 1, 99  # 100 is another mode in JPEG XL: lossless
    while low < high:  # sizes rise with quality
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(encode(x_uint8, middle)) <= size else (low, middle - 1)
    data = encode(x_uint8, low)
    return len(data), decode(data)


def draw(results: dict[str, Any], folder: Path, weights: codec.CodecWeights, path: Path, quality: int = 30) -> None:
    """Curves of PSNR and MS-SSIM, and below them crops of up to three pictures at equal bytes."""
    import matplotlib.pyplot as plt

    from vae_lib.plotting import COLOURS, MARKERS, rate_distortion_axes, use_course_style

    use_course_style()
    pictures = list(results["codecs"]["ours"])[:3]
    figure = plt.figure(figsize=(14, 5 + 2.6 * len(pictures)))
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[5, 2.6 * len(pictures)])[:, 0]
    left, right = upper.subplots(1, 2)
    for name, rows in results["codecs"].items():
        style = {"color": COLOURS[name], "marker": MARKERS[name], "markersize": 4, "label": name}
        left.plot(*curve(rows), **style)
        large = {picture: sweep for picture, sweep in rows.items() if sweep[0]["ms_ssim"] is not None}
        if large:
            rates, similarities = curve(large, "ms_ssim")
            right.plot(rates, -10 * np.log10(np.maximum(1 - np.array(similarities), 1e-6)), **style)
    rate_distortion_axes(left, f"{counted(results['codecs']['ours'])}, mean curves").legend()
    rate_distortion_axes(right, "the same, by MS-SSIM").set(ylabel="MS-SSIM (dB: -10 log10(1 - x))")
    for axis in (left, right):
        axis.set_xlim(0, 2)
    axes = np.atleast_2d(lower.subplots(len(pictures), 2 + len(OPTIONS), squeeze=False))
    for line, picture in zip(axes, pictures, strict=True):
        x_uint8 = load_image(folder / picture)
        encode, decode = ours(weights)
        data = encode(x_uint8, quality)
        shown = {"original": (x_uint8.size, x_uint8)} | {n: equal_bytes(x_uint8, n, len(data)) for n in OPTIONS}
        shown["ours"] = (len(data), decode(data))
        top, start = (max(0, (side - CROP) // 2) for side in x_uint8.shape[:2])
        for axis, (name, (size, decoded)) in zip(line, shown.items(), strict=True):
            axis.imshow(decoded[top : top + CROP, start : start + CROP])
            fit = "" if name == "original" else f", {psnr(x_uint8, decoded):.1f} dB"
            axis.set_title(f"{name}: {size:,} B{fit}", fontsize=9)
            axis.axis("off")
    figure.savefig(path, format="png")
    plt.close(figure)
