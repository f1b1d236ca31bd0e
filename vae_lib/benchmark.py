"""Our codec beside the others: bytes, quality and seconds of each, on any folder of pictures (built in notebook 13).

`python -m vae_lib benchmark FOLDER` runs `benchmark`. A rate is the size of a file, header included. Quality is
measured in two ways, and by each a rival has the settings that aim at it: AVIF's encoder aims at the eye unless it is
told to aim at PSNR.
"""

import hashlib
import json
import math
import mimetypes
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from vae_lib import codec
from vae_lib.images import DataError, decode_image, encode_image, load_image
from vae_lib.metrics import MS_SSIM_SMALLEST, bd_rate, bits_per_pixel, machine, ms_ssim, psnr

# The other encoders as Pillow and its JPEG XL plugin have them. AVIF's bytes depend on its number of threads.
AVIF = {"format": "AVIF", "speed": 4, "subsampling": "4:4:4", "max_threads": 1}
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"format": "JPEG", "optimize": True, "progressive": True, "subsampling": "4:2:0"},
    "WebP": {"format": "WebP", "method": 6},
    "AVIF": AVIF | {"advanced": {"tune": "psnr"}},
    "AVIF, default": AVIF,
    "JPEG XL": {"format": "JXL", "effort": 7},
}
# By each measure of quality, the rivals at their best: with the settings that aim at it.
RIVALS = {
    "psnr": ("JPEG", "WebP", "AVIF", "JPEG XL"),
    "ms_ssim": ("JPEG", "WebP", "AVIF, default", "JPEG XL"),
}
OURS = ("ours", "ours, effort 2")
TITLES = {"psnr": "PSNR", "ms_ssim": "MS-SSIM"}
QUALITIES = {
    "JPEG": (5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95),
    "WebP": (1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100),
    "AVIF": (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95),
    "AVIF, default": (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95),
    "JPEG XL": (5, 15, 30, 45, 60, 70, 80, 90, 95),
    "ours": (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100),
    "ours, effort 2": (0, 20, 40, 60, 80, 100),
    "committed": (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100),
}

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


def decibels(row: dict[str, Any], measure: str = "psnr") -> float:
    """PSNR, or MS-SSIM in decibels of what is missing to 1, of one result of `measure`."""
    return row["psnr"] if measure == "psnr" else -10 * math.log10(max(1 - row["ms_ssim"], 1e-6))


def curve(rows: dict[str, list[dict]], measure: str = "psnr") -> tuple[list[float], list[float]]:
    """Rates and decibels, means over the pictures, from one codec's {picture: [what `measure` found]}."""
    rates = np.mean([[row["bits_per_pixel"] for row in sweep] for sweep in rows.values()], axis=0)
    quality = np.mean([[decibels(row, measure) for row in sweep] for sweep in rows.values()], axis=0)
    return rates.tolist(), quality.tolist()


Curve = tuple[list[float], list[float]]


def comparable(one: Curve, other: Curve) -> bool:
    """Whether both curves are finite and rise with the rate, and share a range of quality."""
    for rates, quality in (one, other):
        ordered = np.array(quality)[np.argsort(rates)]
        if not (np.isfinite(ordered).all() and (np.diff(ordered) > 0).all()):
            return False
    return max(min(one[1]), min(other[1])) < min(max(one[1]), max(other[1]))


def savings(ours: Curve, others: dict[str, Curve], also: Sequence[Curve] = ()) -> dict[str, Any]:
    """BD-rates of one curve against others, all over one range: what all curves cover that can be compared with it.

    Args:
      ours, others: rates and decibels of each.
      also: more curves, which only narrow the range.

    Returns:
      {"percent": {name: BD-rate, or None where there is no comparison}, "range": [from, to] in decibels, or None}.
    """
    fit = [quality for rates, quality in (ours, *others.values(), *also) if comparable(ours, (rates, quality))]
    low, high = max(map(min, fit), default=0), min(map(max, fit), default=0)
    if low >= high:
        return {"percent": dict.fromkeys(others), "range": None}
    percent = {
        name: round(bd_rate(*ours, *other, within=(low, high))[0], 2) if comparable(ours, other) else None
        for name, other in others.items()
    }
    return {"percent": percent, "range": [round(low, 2), round(high, 2)]}


def overall(percents: Sequence[float]) -> float:
    """One percentage for many pictures: the mean of the logarithms of their ratios, so that half and double cancel."""
    return round(100 * math.expm1(np.mean(np.log1p(np.array(percents) / 100))), 2)


def measure_file(path: Path, codes: dict[str, Code]) -> dict[str, list[dict]]:
    """{codec: [what `measure` found, for each quality]} of one picture; DataError if one of them cannot have it."""
    x_uint8 = load_image(path)
    rows = {}
    for name, code in codes.items():
        try:
            rows[name] = [measure(x_uint8, code, quality) for quality in QUALITIES[name]]
        except Exception as error:  # each encoder has limits of its own: WebP's are 16,383 pixels a side
            raise DataError(f"{path}: expected a picture that {name} can encode, got {error!r}") from None
    return rows


def is_picture(path: Path) -> bool:
    """Whether a file's name says that it is a picture."""
    Image.init()
    known = {suffix for suffix, name in Image.registered_extensions().items() if name in Image.OPEN}
    kind = mimetypes.guess_type(path.name, strict=False)[0] or ""
    return path.is_file() and (path.suffix.lower() in known or kind.startswith("image/"))


def benchmark(
    folder: Path,
    weights: codec.CodecWeights,
    search: Callable | None = None,
    committed: codec.CodecWeights | None = None,
) -> dict[str, Any]:
    """Measure every picture of a folder with every codec at every quality; with `search`, ours at effort 2 as well.

    Args:
      committed: weights to measure ours against as well, as if they were one more rival.

    Returns:
      data, machine: how many pictures were measured and the checksum of their files; what the seconds were measured on.
      model: id of our weights.
      failed: {picture: why}, those that could not be read, or not by every codec.
      codecs: {codec: {picture: [what `measure` found, for each quality]}}.
      bd_rate: what `bd_rates` makes of them.

    Raises:
      ValueError: there is no picture in the folder, or none that could be measured.
    """
    paths = sorted(path for path in folder.iterdir() if is_picture(path))
    if not paths:
        raise ValueError(f"expected pictures in {folder}, got none")
    codes = {name: rival(name) for name in OPTIONS}
    codes |= {"committed": ours(committed)} if committed else {}
    codes |= {"ours": ours(weights)}
    if search:
        codes["ours, effort 2"] = ours(weights, search=search)
    codecs: dict[str, dict[str, list[dict]]] = {name: {} for name in codes}
    failed = {}
    bar = tqdm(paths, unit="picture", leave=False)
    for path in bar:
        bar.set_description(printable(path.name))
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
    return {
        "data": f"{counted(codecs['ours'])}, SHA-256 of their files one after the other: {digest}",
        "machine": machine(),
        "model": weights.model.hex(),
        "failed": failed,
        "codecs": codecs,
        "bd_rate": bd_rates(codecs),
    }


def bd_rates(codecs: dict[str, dict[str, list[dict]]]) -> dict[str, dict[str, dict[str, Any]]]:
    """BD-rates of ours, by each measure of quality: {measure: {"ours" or "ours, effort 2": figures}}.

    The figures are {"pictures": {picture: what `savings` finds}, "mean": {rival: percent, as `overall` takes it over
    the pictures that have a figure against every rival}, "mean curves": what `savings` finds for the mean curves of
    the same pictures}; the last two are None if there is no such picture. Efforts 1 and 2 share their range, and
    effort 2 has effort 1, "ours", among its rivals.
    """
    mine, reference = ([name for name in names if name in codecs] for names in (OURS, ("committed",)))
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for measure, rivals in RIVALS.items():
        able = [p for p, sweep in codecs["ours"].items() if measure == "psnr" or sweep[0]["ms_ssim"] is not None]
        found[measure] = {}
        for one in mine if able else []:
            others = [*rivals, *reference, *mine[: mine.index(one)]]
            pictures = {picture: compare(codecs, [picture], one, others, measure) for picture in able}
            whole = [picture for picture, saved in pictures.items() if None not in saved["percent"].values()]
            means = {name: [pictures[picture]["percent"][name] for picture in whole] for name in others}
            found[measure][one] = {
                "pictures": pictures,
                "mean": {name: overall(percents) for name, percents in means.items()} if whole else None,
                "mean curves": compare(codecs, whole, one, others, measure) if whole else None,
            }
    return found


def compare(codecs: dict, pictures: list[str], one: str, others: list[str], measure: str) -> dict[str, Any]:
    """What `savings` finds for one of our codecs against others, on the mean curves of these pictures."""
    curves = {name: curve({p: rows[p] for p in pictures}, measure) for name, rows in codecs.items()}
    ours = [curves[name] for name in OURS if name in curves]
    return savings(curves[one], {name: curves[name] for name in others}, ours)


def counted(pictures: Sequence | dict) -> str:
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


def printable(name: str) -> str:
    """A file's name in letters that every terminal can print, also where it is no UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def equal_bytes(x_uint8: np.ndarray, name: str, size: int) -> tuple[int, np.ndarray]:
    """The picture as another codec gives it back from at most `size` bytes, and its bytes; at its worst if none is."""
    encode, decode = rival(name)
    low, high = 1, 99  # 100 is another mode in JPEG XL: lossless
    while low < high:  # sizes rise with quality
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(encode(x_uint8, middle)) <= size else (low, middle - 1)
    data = encode(x_uint8, low)
    return len(data), decode(data)
