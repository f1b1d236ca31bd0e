"""Rebuild the course's data sets from four Debian packages.

The data are committed, so nobody needs this script to take the course. It is here so that anybody can see, and
repeat, how each file came about.

  fashion_mnist/   the four original files, copied out of the package unchanged
  photographs/     one lossless WebP per photograph: the largest version in the package, cropped in the centre to
                   3:2 (or 2:3) and downscaled at least 2x with a Lanczos filter, so that what JPEG left behind in
                   the original averages out
  drawn/           five small pictures of the kind that a codec for photographs is not made for: drawn by this script,
                   and a crop of one test photograph
  SHA256SUMS       the checksum of every file above

README.md beside it (authors, licences, a copy of the checksums) is written by hand.
"""

import argparse
import hashlib
import io
import random
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import PIL
    from PIL import Image, ImageDraw, ImageFont
except ImportError:
    raise SystemExit("expected Pillow, got none: run this as `uv run python data/prepare.py`") from None

DATA_FOLDER = Path(__file__).resolve().parent
PILLOW_VERSION = "13.0.0"  # made the committed files; another one may encode the same pixels in other bytes

# Debian 12 (bookworm): package -> (version, SHA-256 of the .deb)
PACKAGES = {
    "dataset-fashion-mnist": (
        "0.0~git20200523.55506a9-1",
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    ),
    "enlightenment-data": (
        "0.25.4-2",
        "205df83b80b3a999757b07d7ad1908332c96c6edae559548346bc8af4f292bef",
    ),
    "lomiri-wallpapers-16.04": (
        "20.04.0-2",
        "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
    ),
    "lomiri-wallpapers-20.04": (
        "20.04.0-2",
        "d44e89b8473aafe64a5b678f014862dc31335aaaf18665c544d985d854f1a709",
    ),
}

FASHION_MNIST = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

PHOTOGRAPHS = {
    "train": (
        "Bamboo.edj",
        "God-Rays.edj",
        "Green-Maple.edj",
        "Lichen-Branches.edj",
        "Mountain.edj",
        "Peaks.edj",
        "Sea-of-Lanterns.edj",
        "Spruce-Needles.edj",
        "White-Flower.edj",
        "Bridge_by_Sander_Klootwijk.jpg",
        "Dragonfly_by_Bolly.jpg",
        "Picture_1A_by_freespace.jpg",
        "free_by_Peter_Nerlich.jpg",
        "greentock_by_Peter_Nerlich.jpg",
        "life_by_Aitzol_Berasategi.jpg",
        "seeding_by_Clements_Engelhardt.jpg",
        "sunset_by_Aitzol_Berasategi.jpg",
    ),
    "validation": (
        "Yellow-Flower.edj",
        "Wine_by_Jakkub_Mede.jpg",
        "aitzgorri_by_Aitzol_Berasategi.jpg",
    ),
    "test": (
        "Red-Maple.edj",
        "Snow-Trees.edj",
        "Sunset-Clouds.edj",
        "Picture_0B_by_freespace.jpg",
        "friends_by_Aitzol_Berasategi.jpg",
        "picosdeeuropa_by_Aitzol_Berasategi.jpg",
        "Kleiber_by_Lukas_Baubkus.jpg",
    ),
}
# Pixels on the long side, at most. 768x512 is the size of the Kodak photographs, on which the field reports.
LONG_SIDE = {"train": 1152, "validation": 768, "test": 768}

TARGETS = {name: f"fashion_mnist/{name}" for name in FASHION_MNIST} | {
    name: f"photographs/{split}/{Path(name).stem.split('_by_')[0].lower().replace('-', '_')}.webp"
    for split, names in PHOTOGRAPHS.items()
    for name in names
}


def deb_name(package: str) -> str:
    return f"{package}_{PACKAGES[package][0]}_all.deb"


def download(package: str, folder: Path) -> None:
    """Fetch the pinned version of `package` into `folder` with apt-get; no root needed, nothing is installed."""
    version = PACKAGES[package][0]
    by_hand = (
        "fetch these files of Debian 12 (bookworm) by hand, for example from Debian's snapshot archive, and pass their "
        f"folder with --packages: {', '.join(map(deb_name, PACKAGES))}"
    )
    if shutil.which("apt-get") is None:
        raise SystemExit(f"expected apt-get (Debian or Ubuntu), got none on this machine: {by_hand}")
    if subprocess.run(["apt-get", "download", f"{package}={version}"], cwd=folder).returncode != 0:
        raise SystemExit(
            f"apt-get could not download {package} {version} (its own message is above): if its lists are old, run "
            f"`apt-get update`; if this is not Debian 12, {by_hand}"
        )


def check_package(path: Path, package: str) -> None:
    """Stop unless `path` is, bit for bit, the package that this script was written for."""
    if not path.is_file():
        raise SystemExit(f"expected {path.name} in {path.parent}, got no such file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != PACKAGES[package][1]:
        raise SystemExit(f"{path}: expected SHA-256 {PACKAGES[package][1][:12]}..., got {digest[:12]}...")


def unpack(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each file of a Debian package that we want.

    A .deb is an `ar` archive: 8 bytes of magic, then members, each with a header of 60 bytes that holds its name
    (bytes 0 to 15) and size (48 to 57), padded to an even length. The member data.tar.xz holds the files.
    """
    with path.open("rb") as file:
        file.seek(8)
        while not (header := file.read(60)).startswith(b"data.tar"):
            size = int(header[48:58])
            file.seek(size + size % 2, io.SEEK_CUR)
        with tarfile.open(fileobj=file, mode="r|*") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                if name in TARGETS and folder.endswith(("/backgrounds", "/fashion-mnist")):
                    content = archive.extractfile(member)
                    assert content is not None  # a wanted name is a regular file
                    yield name, content.read()


def largest_jpeg(content: bytes) -> Image.Image:
    """The largest RGB picture among the JPEGs in `content`: an .edj theme holds one photograph at many sizes."""
    pictures = []
    start = content.find(b"\xff\xd8\xff")  # start of image, and the first byte of the next marker
    while start >= 0:
        try:
            pictures.append(Image.open(io.BytesIO(content[start:]), formats=["JPEG"]))
        except OSError:
            pass  # three bytes that only look like a start
        start = content.find(b"\xff\xd8\xff", start + 3)
    return max((p for p in pictures if p.mode == "RGB"), key=lambda p: p.width * p.height)


def downscale(picture: Image.Image, long_side: int) -> Image.Image:
    """Crop the centre to 3:2 (2:3 if upright) and scale it down, at least 2x, to at most `long_side` pixels.

    Sides are multiples of 64 (the long one of 96), which suits every codec and network of the course.
    """
    unit = min(picture.width // 3, picture.height // 2)
    wide, high = (3 * unit, 2 * unit)
    if picture.height > picture.width:
        unit = min(picture.width // 2, picture.height // 3)
        wide, high = (2 * unit, 3 * unit)
    left, top = (picture.width - wide) // 2, (picture.height - high) // 2
    steps = min(long_side, 3 * unit // 2) // 96
    size = (96 * steps, 64 * steps) if wide > high else (64 * steps, 96 * steps)
    return picture.resize(size, Image.Resampling.LANCZOS, box=(left, top, left + wide, top + high))


TEXT = (
    "A picture is worth as many words as its file is long. This page holds some three hundred of them, and its "
    "file would be a few kilobytes if it were sent as letters: the shape of an e is the same wherever it stands. "
    "A codec for photographs does not know that. It sees edges, thousands of them, each from black to white "
    "within a pixel, none of them blurred by a lens, none of them hidden in grain. What it has learned of leaves "
    "and clouds is of no use here, and every edge that it does not pay for comes back with a halo. "
)
CODE = """def average(curves):
    total = 0.0
    for rate, psnr in curves:
        total += psnr / rate
    # is this fair?
    return total / len(curves)

print(average(results))"""


def draw_text() -> Image.Image:
    """A page of prose in black on white, letters smoothed as on a screen."""
    page = Image.new("L", (512, 768), 255)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(15)
    line, top = "", 32
    for word in (TEXT * 4).split():
        if pen.textlength(f"{line} {word}", font) > 440:
            pen.text((36, top), line, 0, font)
            line, top = "", top + 22
        line = f"{line} {word}".strip()
    pen.text((36, top), line, 0, font)
    return page


def draw_lines() -> Image.Image:
    """Line art: straight lines, circles and polygons, two grey levels only."""
    page = Image.new("L", (768, 512), 255)
    pen, chance = ImageDraw.Draw(page), random.Random(13)
    for k in range(24):
        pen.line((0, 21 * k, 767, 511 - 21 * k), 0)
        pen.ellipse((384 - 15 * k, 256 - 10 * k, 384 + 15 * k, 256 + 10 * k), outline=0)
    for _ in range(12):
        corners = [(chance.randrange(768), chance.randrange(512)) for _ in range(3)]
        pen.polygon(corners, outline=0, width=2)
    return page


def draw_noise() -> Image.Image:
    """Every byte uniform and independent: nothing to predict."""
    return Image.frombytes("RGB", (176, 176), random.Random(13).randbytes(3 * 176**2))


def draw_screenshot() -> Image.Image:
    """A desktop with two windows: flat colours, one-pixel lines, small coloured text."""
    screen = Image.new("RGB", (768, 512), (38, 70, 83))
    pen, font, small = ImageDraw.Draw(screen), ImageFont.load_default(14), ImageFont.load_default(12)
    pen.rectangle((0, 0, 767, 23), (240, 240, 240))
    pen.text((10, 3), "Files   Edit   View   Windows   Help", (20, 20, 20), small)
    for left, top, right, bottom, title in ((30, 50, 470, 400, "average.py"), (330, 210, 740, 480, "results")):
        pen.rectangle((left, top, right, bottom), (253, 253, 253), (120, 120, 120))
        pen.rectangle((left, top, right, top + 22), (0, 114, 178))
        pen.text((left + 8, top + 3), title, (255, 255, 255), small)
        pen.rectangle((right - 18, top + 5, right - 6, top + 17), (213, 94, 0), (255, 255, 255))
    colours = (
        (0, 92, 197),
        (36, 41, 46),
        (215, 58, 73),
        (36, 41, 46),
        (106, 115, 125),
        (215, 58, 73),
        (0, 0, 0),
        (111, 66, 193),
    )
    for number, (text, colour) in enumerate(zip(CODE.splitlines(), colours, strict=True)):
        pen.text((44, 84 + 19 * number), f"{number + 1}", (170, 170, 170), font)
        pen.text((66 + 8 * (len(text) - len(text.lstrip())), 84 + 19 * number), text.strip(), colour, font)
    for number, colour in enumerate(((230, 159, 0), (86, 180, 233), (204, 121, 167), (139, 101, 8), (0, 158, 115))):
        pen.rectangle((350, 250 + 42 * number, 420 + 53 * number, 276 + 42 * number), colour)
        pen.text((426 + 53 * number, 254 + 42 * number), f"{70 + 53 * number} kB", (30, 30, 30), small)
    return screen


def draw_all(photographs: Path) -> dict[str, Image.Image]:
    """{name: picture}; `tiny` is cut out of a test photograph in the folder."""
    with Image.open(photographs / "test" / "red_maple.webp") as photograph:
        tiny = photograph.crop((292, 268, 316, 292))
    return {
        "lines": draw_lines(),
        "noise": draw_noise(),
        "screenshot": draw_screenshot(),
        "text": draw_text(),
        "tiny": tiny,
    }


def rebuild(packages: Path | None, output: Path) -> dict[str, str]:
    """Write the data sets under `output` and return {relative path: SHA-256}."""
    checksums: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for package in PACKAGES:
            if packages is None:
                download(package, Path(temporary))
            deb = (packages or Path(temporary)) / deb_name(package)
            print(f"{deb.name}: checking")
            check_package(deb, package)
            for name, content in unpack(deb):
                target = TARGETS[name]
                note = "unchanged"
                if target.startswith("photographs/"):
                    original = largest_jpeg(content)
                    picture = downscale(original, LONG_SIDE[target.split("/")[1]])
                    buffer = io.BytesIO()
                    picture.save(buffer, "WEBP", lossless=True, quality=100, method=6)
                    content = buffer.getvalue()
                    note = f"{original.width}x{original.height} -> {picture.width}x{picture.height}"
                (output / target).parent.mkdir(parents=True, exist_ok=True)
                (output / target).write_bytes(content)
                checksums[target] = hashlib.sha256(content).hexdigest()
                print(f"[{len(checksums):2}/{len(TARGETS)}] {target}  {note}, {len(content) / 1e6:.2f} MB", flush=True)
            if packages is None:
                deb.unlink()
    return checksums | write_drawn(output)


def write_drawn(output: Path) -> dict[str, str]:
    """Write the drawn pictures under `output` and return {relative path: SHA-256}; the photographs must be there."""
    checksums = {}
    (output / "drawn").mkdir(parents=True, exist_ok=True)
    for name, picture in draw_all(output / "photographs").items():
        picture.save(output / "drawn" / f"{name}.png", optimize=True)
        checksums[f"drawn/{name}.png"] = hashlib.sha256((output / "drawn" / f"{name}.png").read_bytes()).hexdigest()
        print(f"drawn/{name}.png  {picture.width}x{picture.height}")
    return checksums


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            "It takes about five minutes, most of it in the search for the smallest lossless WebP.\n\n"
            "examples:\n"
            "  python data/prepare.py                            download 460 MB with apt-get, rebuild in place\n"
            "  python data/prepare.py --packages ~/debs          use .deb files that you have\n"
            "  python data/prepare.py --output /tmp/again        rebuild elsewhere, compare with the committed files\n"
            "\nThe packages, which --packages expects under these names:\n  " + "\n  ".join(map(deb_name, PACKAGES))
        ),
    )
    parser.add_argument("--packages", metavar="FOLDER", type=Path, help="folder with the four .deb files")
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        default=DATA_FOLDER,
        help="where to write (default: beside this script)",
    )
    arguments = parser.parse_args()
    if PIL.__version__ != PILLOW_VERSION:
        print(f"warning: expected Pillow {PILLOW_VERSION}, got {PIL.__version__}: files may differ in their bytes")

    committed = DATA_FOLDER / "SHA256SUMS"
    before = committed.read_text() if committed.is_file() else ""
    try:
        checksums = rebuild(arguments.packages, arguments.output)
    except OSError as error:
        raise SystemExit(f"could not read or write: {error}") from None
    after = "".join(f"{checksums[path]}  {path}\n" for path in sorted(checksums))
    (arguments.output / "SHA256SUMS").write_text(after)

    changed = sorted(set(after.splitlines()) - set(before.splitlines()))
    if not before:
        print("wrote SHA256SUMS; there was none to compare with")
    elif changed:
        print("these files are not the ones that SHA256SUMS listed before:")
        print("\n".join(f"  {line.split('  ')[1]}" for line in changed))
    else:
        print(f"all {len(checksums)} files have the checksums that SHA256SUMS listed before")


if __name__ == "__main__":
    main()
