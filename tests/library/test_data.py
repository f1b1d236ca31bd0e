"""The bundled data: the lists tell the truth, the splits share no photograph, prepare.py explains itself."""

import hashlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vae_lib.images import PHOTOGRAPHS, load_fashion_mnist, load_photographs

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data"
PREPARE = DATA / "prepare.py"

spec = importlib.util.spec_from_file_location("prepare", PREPARE)
assert spec is not None and spec.loader is not None
prepare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prepare)


def listed_checksums() -> dict[str, str]:
    lines = (DATA / "SHA256SUMS").read_text().splitlines()
    return {path: digest for digest, path in (line.split("  ") for line in lines)}


def readme_rows() -> dict[str, list[str]]:
    """{path: the row's other cells} of the tables in data/README.md."""
    rows = re.findall(
        r"^\| `((?:fashion_mnist|photographs|drawn)/\S+)` \| (.*) \|$",
        (DATA / "README.md").read_text(encoding="utf-8"),
        re.M,
    )
    return {path: cells.split(" | ") for path, cells in rows}


def test_every_data_file_is_listed_with_its_checksum() -> None:
    files = [
        path
        for folder in ("drawn", "fashion_mnist", "photographs")
        for path in (DATA / folder).rglob("*")
        if path.is_file()
    ]
    actual = {path.relative_to(DATA).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert actual == listed_checksums()


def test_readme_gives_source_author_licence_and_checksum_of_every_file() -> None:
    rows = readme_rows()
    assert {path: cells[-1].strip("`") for path, cells in rows.items()} == listed_checksums()
    for path, cells in rows.items():
        if path.startswith("drawn/"):
            assert cells[-2] in ("MIT", "BSD-2-Clause")
            continue
        original, package, author, licence, _ = cells
        target = prepare.TARGETS[original.strip("`")]
        assert (path, package.strip("`") in prepare.PACKAGES) == (target, True)
        assert author.strip() and re.search(r"^(BSD-2-Clause|MIT|CC BY 4\.0|CC BY-SA [34]\.0|CC0 1\.0)$", licence)


def test_readme_names_the_pinned_packages() -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    for package, (version, _) in prepare.PACKAGES.items():
        assert f"| `{package}` | {version} |" in readme


def test_every_results_file_is_listed_with_the_command_that_it_names() -> None:
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `results/(\S+)` \| .* \| `(.*)` \|$", readme, re.M))
    files = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (DATA / "results").iterdir()}
    assert {name: results["command"] for name, results in files.items()} == listed
    assert all(results[fact] for results in files.values() for fact in ("data", "machine", "model"))


def test_the_drawn_pictures_are_those_that_prepare_draws() -> None:
    drawn = prepare.draw_all(DATA / "photographs")
    assert sorted(f"{name}.png" for name in drawn) == sorted(path.name for path in (DATA / "drawn").iterdir())
    for name, picture in drawn.items():
        assert np.array_equal(np.asarray(Image.open(DATA / "drawn" / f"{name}.png")), np.asarray(picture)), name


def test_fashion_mnist_has_its_official_sizes_and_balance() -> None:
    for split, per_class in (("train", 6000), ("test", 1000)):
        x_uint8, labels = load_fashion_mnist(split)  # type: ignore[arg-type]
        assert x_uint8.shape == (10 * per_class, 28, 28, 1) and x_uint8.dtype == labels.dtype == np.uint8
        assert np.bincount(labels).tolist() == [per_class] * 10
    # Labels belong to their images: sandals (5), the sparsest things here, are the darkest class on average.
    brightness = [x_uint8[labels == label].mean() for label in range(10)]
    assert int(np.argmin(brightness)) == 5


@pytest.fixture(scope="module")
def photographs() -> dict[str, dict[str, np.ndarray]]:
    return {split: load_photographs(split) for split in PHOTOGRAPHS}  # type: ignore[arg-type]


def test_photographs_have_the_sizes_of_their_split(photographs: dict[str, dict[str, np.ndarray]]) -> None:
    assert {split: len(pictures) for split, pictures in photographs.items()} == {
        "train": 17,
        "validation": 3,
        "test": 7,
    }
    for split, pictures in photographs.items():
        assert list(pictures) == sorted(pictures)
        for name, x_uint8 in pictures.items():
            assert re.fullmatch(r"[a-z0-9_]+", name) and x_uint8.dtype == np.uint8 and x_uint8.shape[2] == 3
            short, long = sorted(x_uint8.shape[:2])
            assert 3 * short == 2 * long and long <= prepare.LONG_SIDE[split]
            if split != "train":
                assert (short, long) == (512, 768)


def test_photographs_are_lossless_webp_of_at_most_25_megabytes() -> None:
    files = list((DATA / "photographs").rglob("*.webp"))
    assert all(path.read_bytes()[8:16] == b"WEBPVP8L" for path in files)
    assert sum(path.stat().st_size for path in files) <= 25e6


def thumbnail(x_uint8: np.ndarray) -> np.ndarray:
    """(768,) a 16x16 thumbnail with mean 0 and norm 1, so that a product of two is their correlation."""
    small = np.asarray(Image.fromarray(x_uint8).resize((16, 16), Image.Resampling.BOX), np.float64).ravel()
    return (small - small.mean()) / np.linalg.norm(small - small.mean())


# Measured: two of these photographs correlate by at most 0.80, each with its own shifted crop by at least 0.92.
SAME_PHOTOGRAPH = 0.88


def test_no_photograph_is_in_two_splits(photographs: dict[str, dict[str, np.ndarray]]) -> None:
    for one, other in combinations(photographs.values(), 2):
        assert not set(one) & set(other)
        thumbnails, others = (np.stack([thumbnail(x_uint8) for x_uint8 in split.values()]) for split in (one, other))
        assert (thumbnails @ others.T).max() < SAME_PHOTOGRAPH


def test_the_comparison_would_notice_a_shifted_and_brightened_copy(
    photographs: dict[str, dict[str, np.ndarray]],
) -> None:
    for name, x_uint8 in photographs["test"].items():
        copy = np.clip(x_uint8[16:, 24:].astype(int) + 10, 0, 255).astype(np.uint8)
        assert thumbnail(x_uint8) @ thumbnail(copy) > SAME_PHOTOGRAPH, name


@given(st.integers(200, 700), st.integers(200, 700), st.sampled_from([192, 768]))
def test_downscaling_is_at_least_twofold_and_ends_at_3_to_2(width: int, height: int, long_side: int) -> None:
    result = prepare.downscale(Image.new("RGB", (width, height)), long_side)
    short, long = sorted(result.size)
    assert 3 * short == 2 * long and long <= long_side and long % 96 == 0
    assert 2 * result.width <= width and 2 * result.height <= height
    assert (result.height > result.width) == (height > width)


def test_downscaling_keeps_the_centre_and_the_aspect() -> None:
    # A disc in the middle of a wide picture stays a disc in the middle: no stretching, no shift.
    y, x = np.mgrid[:800, :1600]
    disc = np.where((x - 799.5) ** 2 + (y - 399.5) ** 2 < 200**2, 255, 0).astype(np.uint8)
    result = np.asarray(prepare.downscale(Image.fromarray(disc).convert("RGB"), 1152))[..., 0] > 127
    rows, columns = np.nonzero(result)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1
    assert abs(rows.mean() - (result.shape[0] - 1) / 2) < 0.5 and abs(columns.mean() - (result.shape[1] - 1) / 2) < 0.5


def jpeg(mode: str, size: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "JPEG")
    return buffer.getvalue()


def test_the_largest_rgb_jpeg_of_a_theme_is_found() -> None:
    theme = (
        b"theme\xff\xd8\xff" + jpeg("RGB", (8, 8)) + b"\0" * 99 + jpeg("RGB", (30, 20)) + jpeg("L", (90, 90)) + b"end"
    )
    assert prepare.largest_jpeg(theme).size == (30, 20)


def test_a_debian_package_is_unpacked(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz") as archive:
        for name in (
            "./usr/share/backgrounds/Bamboo.edj",
            "./usr/share/doc/Bamboo.edj",
            "./usr/share/backgrounds/other",
        ):
            member = tarfile.TarInfo(name)
            member.size = 5
            archive.addfile(member, io.BytesIO(b"hello"))

    def ar_member(name: str, content: bytes) -> bytes:
        return (
            f"{name:16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
            + content
            + b"\n" * (len(content) % 2)
        )

    package = tmp_path / "package.deb"
    members = (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", buffer.getvalue()))
    package.write_bytes(b"!<arch>\n" + b"".join(ar_member(*member) for member in members))
    assert list(prepare.unpack(package)) == [("Bamboo.edj", b"hello")]


def run_prepare(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ if path is None else os.environ | {"PATH": path}
    return subprocess.run([sys.executable, PREPARE, *arguments], capture_output=True, text=True, env=environment)


def test_prepare_says_which_package_is_missing_or_damaged(tmp_path: Path) -> None:
    arguments = ("--packages", str(tmp_path), "--output", str(tmp_path / "output"))
    package = "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb"
    missing = run_prepare(*arguments)
    assert missing.returncode == 1 and missing.stderr == f"expected {package} in {tmp_path}, got no such file\n"
    (tmp_path / package).write_bytes(b"not a package")
    damaged = run_prepare(*arguments)
    assert damaged.returncode == 1 and re.search(
        r": expected SHA-256 39e172fe32dd\.\.\., got \w{12}\.\.\.\n$", damaged.stderr
    )
    assert len(damaged.stderr.splitlines()) == 1 and not (tmp_path / "output").exists()


def test_prepare_says_what_to_do_without_apt(tmp_path: Path) -> None:
    result = run_prepare("--output", str(tmp_path), path=str(tmp_path))
    assert result.returncode == 1 and result.stderr.startswith("expected apt-get")
    assert "--packages" in result.stderr and all(
        prepare.deb_name(package) in result.stderr for package in prepare.PACKAGES
    )
    assert len(result.stderr.splitlines()) == 1 and not any(tmp_path.iterdir())


def test_prepare_expects_the_pinned_pillow() -> None:
    pins = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
    assert f"pillow=={prepare.PILLOW_VERSION}" in pins
