"""The first page and the README: their figures are those of the results; the divider obeys mouse, touch and keys."""

import html
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import Visit, needs_chromium, serve, visit
from notebook_rules import FACTS, load
from PIL import Image
from playwright.sync_api import Request

from vae_lib import benchmark
from vae_lib.images import load_image
from vae_lib.metrics import psnr

ROOT = Path(__file__).parents[2]
KEYS = [("Home", 0), ("ArrowRight", 2), ("ArrowUp", 4), ("ArrowLeft", 2), ("PageUp", 12), ("ArrowDown", 10)]
KEYS += [("PageDown", 0), ("ArrowLeft", 0), ("End", 100), ("ArrowRight", 100)]  # and where the line is afterwards
PAGE_BYTES = 1_500_000  # of the first page, with all that it can show
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
README = (ROOT / "README.md").read_text(encoding="utf-8")

sys.path.insert(0, str(ROOT / "site"))
import landing_data  # noqa: E402


def results(name: str) -> dict:
    return json.loads((ROOT / "data" / "results" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(site: Path) -> str:
    return (site / "index.html").read_text(encoding="utf-8")


def versions(page: str) -> dict[str, tuple[str, int, str]]:
    """{codec: (address, bytes, decibels)} as the page offers them on its left."""
    pattern = r'name="left" value="(.+?)" data-address="(.+?)" data-bytes="(.+?)" data-psnr="(.*?)"'
    return {name: (where, int(size.replace(",", "")), db) for name, where, size, db in re.findall(pattern, page)}


# Figures


def test_the_photographs_figures_are_those_of_the_benchmark_and_of_the_files(site: Path, page: str):
    path = ROOT / "data" / landing_data.PHOTOGRAPH
    x_uint8 = load_image(path)
    rows = results("benchmark")["codecs"]["ours"][path.name]
    (row,) = [row for row in rows if row["quality"] == landing_data.QUALITY]
    shown = versions(page)
    assert list(shown) == ["original", "JPEG", "WebP", "AVIF", "ours"]
    assert shown["ours"][1:] == (row["bytes"], f"{row['psnr']:.1f} dB")
    for name, (address, size, decibels) in shown.items():
        picture = load_image(site / address)
        if name == "original":
            assert np.array_equal(picture, x_uint8) and size == x_uint8.size
            continue
        assert decibels == f"{psnr(x_uint8, picture):.1f} dB"
        if name != "ours":  # a browser opens the codec's own file: its bytes are those that are named
            assert size == (site / address).stat().st_size == benchmark.equal_bytes(x_uint8, name, row["bytes"])[0]


def test_the_ledger_is_that_of_the_results(page: str):
    found = results("bits_back")
    ours = found["ours"]["refined"]
    bits = re.search(r"<table>.*?</table>", page, re.DOTALL)[0]
    numbers = [int(number.replace(",", "")) for number in re.findall(r"<td>(?:\+ )?([\d,]+)</td>", bits)]
    promised, coder, initial, header, file, size = numbers
    assert (promised, initial) == (round(ours["negative_elbo_bits"]), ours["initial_bits"])
    assert (promised + coder, header) == (ours["net_bits"], 8 * ours["header_bytes"])
    assert file == promised + coder + initial + header == 8 * ours["bytes"] and size == ours["bytes"]
    bars = re.findall(r"<dt.*?>(.+?)</dt>.*?width: ([\d.]+)%.*?<span>([\d,]+) bytes", page, re.DOTALL)
    others = {name: found["others"][name] for name in ("PNG", "WebP", "JPEG XL")}
    together = {name: ways["together"]["bytes"] for name, ways in others.items()} | {"ours": ours["bytes"]}
    apart = {name: ways["apart"]["bytes"] for name, ways in others.items()} | {"ours": found["ours, apart"]["bytes"]}
    drawn = [(name, int(size.replace(",", ""))) for name, _, size in bars]
    assert (dict(drawn[:4]), dict(drawn[4:])) == (together, apart)
    longest = max(size for _, size in drawn)
    assert all(
        abs(float(width) / 100 - size / longest) < 1e-3 for (_, width, _), (_, size) in zip(bars, drawn, strict=True)
    )


def test_the_readmes_scoreboard_is_that_of_the_results():
    by_measure = results("benchmark")["bd_rate"]
    for name in ("JPEG", "WebP", "AVIF", "JPEG XL"):
        (row,) = re.findall(rf"^\| {name} \| (.+[+−].+) \|$", README, re.MULTILINE)
        means, wins = zip(*re.findall(r"(\S+) %, (\d) of 7", row), strict=True)
        figures = [by_measure[measure][effort] for measure in by_measure for effort in by_measure[measure]]
        rivals = [name, name, *([f"{name}, default" if name == "AVIF" else name] * 2)]
        found = [f["mean"][rival] for f, rival in zip(figures, rivals, strict=True)]
        assert [float(mean.replace("−", "-")) for mean in means] == pytest.approx(found, abs=0.051)
        fewer = [sum(p["percent"][r] < 0 for p in f["pictures"].values()) for f, r in zip(figures, rivals, strict=True)]
        assert [int(count) for count in wins] == fewer


def test_the_first_page_says_more_or_fewer_as_it_is(page: str):
    mean = results("benchmark")["bd_rate"]["psnr"]["ours"]["mean"]
    said = " ".join(re.sub(r"<[^>]+>", "", page).split())
    for name in ("JPEG", "WebP", "AVIF", "JPEG XL"):
        amount, sign = re.search(rf"(\d+) % (more|fewer)(?: bits)? than {name}\b(?! XL)", said).groups()
        assert float(amount) == pytest.approx(abs(mean[name]), abs=0.51) and (sign == "fewer") == (mean[name] < 0)


def test_the_readmes_lossless_scoreboard_is_that_of_the_results():
    found = results("bits_back")
    wanted = {
        name: [ways.get(way, {}).get("bytes") for way in ("apart", "together")]
        for name, ways in found["others"].items()
    }
    wanted["bits back (ours)"] = [found["ours, apart"]["bytes"], found["ours"]["refined"]["bytes"]]
    for name, sizes in wanted.items():
        (row,) = re.findall(
            rf"^\| {re.escape(name)}(?: \(notebook 01\))? \|([ \d,]*)\| ([\d,]+) \| ([\d.]+) \|$", README, re.M
        )
        assert [int(cell.replace(",", "")) if cell.strip() else None for cell in row[:2]] == sizes
        assert row[2] == f"{8 * sizes[1] / (28 * 28 * found['images']):.3f}"


def test_the_readmes_picture_is_what_its_command_draws():
    drawn = np.asarray(Image.open(io.BytesIO(landing_data.readme_picture())).convert("RGB")).astype(int)
    committed = np.asarray(Image.open(landing_data.README_PICTURE).convert("RGB")).astype(int)
    assert drawn.shape == committed.shape and np.abs(drawn - committed).mean() < 1  # grey levels: WebP's own noise
    assert str(landing_data.README_PICTURE.relative_to(ROOT)) in README


# The page


def test_there_is_a_card_for_each_notebook_that_says_what_the_notebook_says(site: Path, page: str):
    cards = re.findall(r"<li>\s*<a href=\"notebooks/.*?</li>", page, re.DOTALL)
    assert len(cards) == len(NOTEBOOKS) == 15
    for card, path in zip(cards, NOTEBOOKS, strict=True):
        opening = load(path).cells[0].source
        title = opening.partition("\n")[0].partition(" · ")[2].replace("$", "")
        question = re.search(r"^\*\*(.+\?)\*\*$", opening, re.MULTILINE)[1].replace("$", "")
        reading, _, _, exercises = FACTS.search(opening).groups()
        text = " ".join(html.unescape(re.sub(r"<[^>]+>", "", card)).split())
        assert f'href="notebooks/{path.stem}.html"' in card and (site / "notebooks" / f"{path.stem}.html").is_file()
        assert text.startswith(f"{path.name[:2]} {title} {question}")
        assert f"{reading} min to read, {exercises} min of exercises" in text
        builds = re.search(rf"^\| \[{path.name[:2]}\].* \| (.+?) \|$", README, re.MULTILINE)[1]
        assert re.findall(r"<code>(.+?)</code>", card) == re.findall(r"`(.+?)`", builds)
        picture = Image.open(site / re.search(r'src="(.+?)"', card)[1])
        assert min(picture.size) > 150 and max(picture.size) <= landing_data.CARD_WIDTH


def test_the_two_commands_are_the_readmes(page: str):
    shown = [html.unescape(command) for command in re.findall(r"<pre.*?><code>(.+?)</code></pre>", page)]
    assert len(shown) == 2 and all(f"```\n{command}\n```" in README for command in shown)


def show_everything(seen: Visit) -> None:
    """Every version once, and every picture, near or far down the page."""
    for radio in seen.page.locator("input[name=left]").all():
        radio.check()
    seen.page.evaluate("document.querySelectorAll('img').forEach(picture => picture.loading = 'eager')")
    seen.page.wait_for_function("[...document.images].every(picture => picture.complete && picture.naturalWidth)")


@needs_chromium
def test_the_page_is_light_even_when_everything_was_looked_at(site: Path, page: str):
    with serve(site) as address, visit() as seen:
        finished: list[Request] = []
        seen.page.on("requestfinished", lambda request: finished.append(request))
        seen.page.goto(f"{address}/", wait_until="networkidle")
        show_everything(seen)
        seen.page.wait_for_load_state("networkidle")
        assert not seen.errors and seen.hosts <= {"", address.split("/")[2]}
        sizes = {request.url: request.sizes()["responseBodySize"] for request in finished}
        assert all(any(url.endswith(f"/landing/card_{path.name[:2]}.webp") for url in sizes) for path in NOTEBOOKS)
        assert all(f"{address}/{where}" in sizes for where, _, _ in versions(page).values())
        assert sum(sizes.values()) <= PAGE_BYTES, sizes


def at(seen: Visit) -> int:
    return int(seen.page.get_by_role("slider").get_attribute("aria-valuenow"))


def drawn_at(seen: Visit) -> float:
    """Where the right picture begins to be seen, in percent."""
    clip = seen.page.locator(".divider img.right").evaluate("picture => getComputedStyle(picture).clipPath")
    return float(re.search(r"([\d.]+)%\)$", clip)[1])


@needs_chromium
def test_the_divider_obeys_mouse_touch_and_keys(site: Path):
    with serve(site) as address, visit() as seen:
        seen.page.goto(f"{address}/", wait_until="load")
        slider, box = seen.page.get_by_role("slider"), seen.page.locator(".divider").bounding_box()
        assert at(seen) == drawn_at(seen) == 50

        def place(percent: float) -> tuple[float, float]:
            return box["x"] + percent / 100 * box["width"], box["y"] + 100

        seen.page.mouse.move(*place(50))
        seen.page.mouse.down()
        seen.page.mouse.move(*place(20), steps=4)
        assert at(seen) == drawn_at(seen) == pytest.approx(20, abs=1)
        seen.page.mouse.move(box["x"] - 50, box["y"] + 100)  # beyond the edge
        assert at(seen) == drawn_at(seen) == 0
        seen.page.mouse.up()
        seen.page.mouse.move(*place(70))
        assert at(seen) == 0, "expected a released divider to stay"

        touch = seen.page.context.new_cdp_session(seen.page)
        touch.send("Emulation.setTouchEmulationEnabled", {"enabled": True})
        for kind, percent in (("touchStart", 30), ("touchMove", 45), ("touchMove", 80)):
            x, y = place(percent)
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert at(seen) == drawn_at(seen) == pytest.approx(80, abs=1)

        for key, expected in KEYS:
            slider.press(key)
            assert at(seen) == drawn_at(seen) == expected, key
        assert slider.get_attribute("aria-valuetext") == "100 percent JPEG, 0 percent ours"
        assert not seen.errors


@needs_chromium
def test_buttons_choose_what_is_left_and_right(site: Path, page: str):
    with serve(site) as address, visit() as seen:
        seen.page.goto(f"{address}/", wait_until="load")
        for side, name in (("left", "AVIF"), ("right", "original"), ("left", "ours"), ("right", "WebP")):
            seen.page.locator(f"fieldset.{side} label", has_text=name).click()
            where, size, decibels = versions(page)[name]
            assert seen.page.locator(f".divider img.{side}").get_attribute("src") == where
            words = f"{name}: {size:,} bytes" + (f", {decibels}" if decibels else "")
            assert seen.page.locator(f"fieldset.{side} .paid").inner_text() == words
            assert name in seen.page.get_by_role("slider").get_attribute("aria-valuetext")
        radio = seen.page.locator("input[name=left]:checked")
        radio.press("ArrowLeft")
        assert seen.page.locator("input[name=left]:checked").get_attribute("value") == "AVIF"


@needs_chromium
@pytest.mark.parametrize("width, dark", [(360, False), (360, True), (1280, True), (1920, False)])
def test_the_page_is_readable_on_a_phone_and_on_a_wide_screen(site: Path, width: int, dark: bool):
    with serve(site) as address, visit(width=width, dark=dark) as seen:
        seen.page.goto(f"{address}/", wait_until="load")
        assert seen.page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        found = [v for v in Axe().run(seen.page).response["violations"] if v["impact"] in ("serious", "critical")]
        assert not found, [(v["id"], v["nodes"][0]["html"][:200]) for v in found]
        assert not seen.errors
