"""The site's first page: everything that it shows is read from the repository or measured while it is built.

`build(folder)` writes the pictures into the folder and the page, index.html, beside it: it takes the place of the list
of contents that Sphinx makes of index.md. Run as a program it renews the README's picture:

    uv run python site/landing_data.py
"""

import base64
import io
import json
import re
import sys
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from PIL import Image

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from generated import ROOT, course  # noqa: E402
from notebook_rules import load  # noqa: E402

from vae_lib import benchmark, codec  # noqa: E402
from vae_lib.images import load_image  # noqa: E402
from vae_lib.metrics import psnr  # noqa: E402

PHOTOGRAPH = "photographs/test/friends.webp"  # faces: what is lost in them, one sees at once
QUALITY = 30  # of ours, as in notebook 13's crops at equal bytes; the others get its bytes
SHOWN_AS = {"JPEG": "jpg", "WebP": "webp", "AVIF": "avif"}  # what browsers open themselves: the real files
README = ROOT / "README.md"
SCOREBOARD = re.compile(r"(?<=landing_data.py` -->\n).*?(?=<!-- end of scoreboard -->)", re.DOTALL)  # its place there
README_PICTURE = HERE / "landing" / "equal_bytes.webp"
README_CROP = (slice(150, 390), slice(130, 370))  # the two dogs

# One figure of each notebook for its card, by the first words of its alternative text, and the part that is shown:
# left, top, right, bottom, as fractions.
CARD_WIDTH = 640  # pixels, twice what a card shows
CARDS = {
    "00": ("The flower's centre", (0, 0, 1, 1)),
    "01": ("Four clothes images in the top row", (0, 0, 0.85, 1)),
    "02": ("Four frames of the plane", (0.5, 0, 1, 1)),
    "03": ("Filled contours of the KL", (0, 0, 1, 1)),
    "04": ("Two panels with the same twelve sample points", (0.51, 0, 1, 1)),
    "05": ("Three panels of 28 by 28 pixels", (0, 0, 0.66, 1)),
    "06": ("Six rows of eight garments", (0, 0, 1, 1)),
    "07": ("Five rows of ten garments", (0, 0, 1, 1)),
    "08": ("Six rows of eleven pictures", (0, 0, 1, 1)),
    "09": ("Top row, four garments", (0, 0, 1, 1)),
    "10": ("The same crop three times", (0.33, 0, 1, 1)),
    "11": ("Three panels: a photograph of a yellow flower", (0, 0, 0.68, 1)),
    "12": ("Left, a photograph as the encoder's ow", (0, 0, 0.62, 1)),
    "13": ("Two panels of rising curves", (0, 0, 0.5, 1)),
    "14": ("The same fir tree before autumn trees", (0.33, 0, 1, 1)),
}


@dataclass(frozen=True)
class Version:
    """The photograph as one codec gives it back: its file's size, and what a browser shows."""

    name: str
    size: int  # bytes of the codec's own file
    psnr: float | None  # dB; None for the original
    decoded: np.ndarray
    shown: bytes
    suffix: str

    @property
    def address(self) -> str:
        return f"landing/{self.name.lower()}.{self.suffix}"


def lossless(x_uint8: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(x_uint8).save(file, "WebP", lossless=True, quality=100, method=6)
    return file.getvalue()


def versions() -> list[Version]:
    """Original, JPEG, WebP, AVIF and ours: ours at QUALITY, the others as good as they are within its bytes."""
    path = ROOT / "data" / PHOTOGRAPH
    x_uint8 = load_image(path)
    encode, decode = benchmark.ours(codec.load_weights())
    data = encode(x_uint8, QUALITY)
    x_hat = decode(data)
    ours = Version("ours", len(data), psnr(x_uint8, x_hat), x_hat, lossless(x_hat), "webp")
    found = [Version("original", x_uint8.size, None, x_uint8, path.read_bytes(), "webp")]
    for name, suffix in SHOWN_AS.items():
        file = largest_within(x_uint8, name, ours.size)
        decoded = benchmark.rival(name)[1](file)
        found.append(Version(name, len(file), psnr(x_uint8, decoded), decoded, file, suffix))
    return [*found, ours]


def largest_within(x_uint8: np.ndarray, name: str, size: int) -> bytes:
    """The file behind `benchmark.equal_bytes`: sizes rise with quality, so the last one within `size` is bisected."""
    encode, _ = benchmark.rival(name)
    quality = bisect_right(range(1, 100), size, key=lambda quality: len(encode(x_uint8, quality)))
    return encode(x_uint8, max(quality, 1))


def credit() -> dict[str, str]:
    """Photographer and licence, from the table in data/README.md."""
    for line in (ROOT / "data" / "README.md").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"| `{PHOTOGRAPH}`"):
            author, licence = [cell.strip() for cell in line.split("|")][4:6]
            return {"author": author, "licence": licence}
    raise ValueError(f"expected {PHOTOGRAPH} in data/README.md, got no row")


def card_picture(number: str) -> bytes:
    """A part of a notebook's committed figure, scaled down, as WebP."""
    start, (left, top, right, bottom) = CARDS[number]
    for cell in load(course()[number].path).cells:
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if alt.startswith(start):
            png = next(o.data["image/png"] for o in cell.outputs if "image/png" in o.get("data", {}))
            figure = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
            width, height = figure.size
            part = figure.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))
            part.thumbnail((CARD_WIDTH, CARD_WIDTH), Image.Resampling.LANCZOS)
            file = io.BytesIO()
            part.save(file, "WebP", quality=70, method=6)
            return file.getvalue()
    raise ValueError(f"expected a figure in notebook {number} whose alternative text starts with {start!r}, got none")


def results(name: str) -> dict:
    return json.loads((ROOT / "data" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def ledger() -> dict:
    """From what the VAE's bound promises to the bytes of a file, and the files of others, from bits_back.json."""
    found = results("bits_back")
    ours, others = found["ours"]["refined"], found["others"]
    promised = round(ours["negative_elbo_bits"])
    parts = [
        ("the coder’s losses", ours["net_bits"] - promised),
        ("initial bits", ours["initial_bits"]),
        ("header", 8 * ours["header_bytes"]),
    ]
    together = {name: others[name]["together"]["bytes"] for name in ("PNG", "WebP", "JPEG XL")}
    apart = {name: others[name]["apart"]["bytes"] for name in ("PNG", "WebP", "JPEG XL")}
    together["ours"], apart["ours"] = ours["bytes"], found["ours, apart"]["bytes"]
    if promised + sum(bits for _, bits in parts) != 8 * ours["bytes"]:
        raise ValueError("expected a ledger that adds up to the file, got another sum")
    return {
        "images": found["images"],
        "promised": promised,
        "parts": parts,
        "bytes": ours["bytes"],
        "excess": 800 * ours["bytes"] / promised - 100,  # percent
        "model_bytes": (ROOT / "data" / "models" / "fashion_vae.safetensors").stat().st_size,
        "groups": {"all in one file": by_size(together), "a file for each image": by_size(apart)},
        "largest": max(*together.values(), *apart.values()),
    }


def scoreboard() -> str:
    """The README's table of lossy codecs, from benchmark.json."""
    found = results("benchmark")["bd_rate"]

    def cells(measure: str, effort: str, name: str) -> str:
        figures = found[measure][effort]
        percents = [saved["percent"][name] for saved in figures["pictures"].values()]
        mean = f"{figures['mean'][name]:+.1f} %".replace("-", "−")
        return f"{mean}, {sum(percent < 0 for percent in percents)} of {len(percents)}"

    lines = ["| ours against | at equal PSNR | effort 2 | at equal MS-SSIM | effort 2 |", "|---|---:|---:|---:|---:|"]
    for name, by_eye in zip(*benchmark.RIVALS.values(), strict=True):
        row = [cells(m, effort, n) for m, n in (("psnr", name), ("ms_ssim", by_eye)) for effort in benchmark.OURS]
        lines.append("| " + " | ".join([name, *row]) + " |")
    return "\n".join(lines) + "\n"


def by_size(files: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(files.items(), key=lambda file: -file[1])


def readme() -> dict:
    """What the first page takes from the README: the two commands, what a reader will be able to do, what is built."""
    text = README.read_text(encoding="utf-8")
    commands = re.findall(r"^```\n(.+?)\n```$", text, re.MULTILINE | re.DOTALL)[:2]
    able = re.search(r"^You will be able to\n\n((?:- .+\n(?:  .+\n)*)+)", text, re.MULTILINE)
    builds = dict(re.findall(r"^\| \[(\d\d)\]\(.+?\) \| .+? \| (.+?) \|$", text, re.MULTILINE))
    if len(commands) != 2 or not able or set(builds) != set(course()):
        raise ValueError("expected two commands, 'You will be able to' and all notebooks in README.md")
    goals = [" ".join(goal.split()) for goal in re.split(r"^- ", able[1], flags=re.MULTILINE)[1:]]
    return {"commands": commands, "goals": goals, "builds": {n: re.findall(r"`(.+?)`", b) for n, b in builds.items()}}


def build(folder: Path) -> None:
    """Write the page's pictures into `folder`, and index.html beside it."""
    shown = versions()
    for version in shown:
        (folder.parent / version.address).write_bytes(version.shown)
    text = readme()
    cards = []
    for number, notebook in course().items():
        picture = card_picture(number)
        (folder / f"card_{number}.webp").write_bytes(picture)
        cards.append(
            {
                "number": number,
                "title": notebook.title.partition(" · ")[2].replace("$", ""),
                "question": re.sub(r"\$(.+?)\$", r"\1", notebook.question),
                "page": f"notebooks/{notebook.path.stem}.html",
                "builds": text["builds"][number],
                "reading": notebook.reading,
                "exercises": sum(exercise.minutes for exercise in notebook.exercises),
                "size": Image.open(io.BytesIO(picture)).size,
            }
        )
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template("landing.jinja").render(
        versions=shown,
        credit=credit(),
        savings=results("benchmark")["bd_rate"]["psnr"]["ours"]["mean"],
        ledger=ledger(),
        cards=cards,
        playground=(HERE / "playground").is_dir(),
        **text,
    )
    (folder.parent / "index.html").write_text(page + "\n", encoding="utf-8")


def readme_picture() -> bytes:
    """The photograph's most telling part in all versions, side by side, as WebP."""
    import matplotlib.pyplot as plt

    from vae_lib.plotting import use_course_style

    use_course_style()
    shown = versions()
    figure, axes = plt.subplots(1, len(shown), figsize=(12.5, 3.15), dpi=100)
    for axis, version in zip(axes, shown, strict=True):
        axis.imshow(version.decoded[README_CROP])
        fit = "" if version.psnr is None else f", {version.psnr:.1f} dB"
        axis.set_title(f"{version.name}\n{version.size:,} bytes{fit}", fontsize=11)
        axis.axis("off")
    figure.canvas.draw()
    drawn = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    plt.close(figure)
    file = io.BytesIO()
    Image.fromarray(drawn).save(file, "WebP", quality=90, method=6)
    return file.getvalue()


if __name__ == "__main__":
    README_PICTURE.write_bytes(readme_picture())
    README.write_text(SCOREBOARD.sub(scoreboard(), README.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {README_PICTURE.relative_to(ROOT)}: {README_PICTURE.stat().st_size:,} bytes")
