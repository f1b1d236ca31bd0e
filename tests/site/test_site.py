"""The site: built without a warning; every page whole, quiet and readable in a real browser; nothing from another host.

What needs no browser (links, alternative texts, the collected indexes) is read from the HTML and always tested.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import Visit, needs_chromium, serve, visit
from misconceptions import all_exercises
from notebook_rules import find_exercises

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

sys.path.insert(0, str(ROOT / "site"))
import generated  # noqa: E402
from course import glossary_terms  # noqa: E402

OPEN_ALL = "document.querySelectorAll('details').forEach(fold => fold.open = true)"
RAW_TEX = r"""() => {
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    const inside = (places) => text.parentElement.closest(places);
    const prose = inside("article") && !inside("pre, code, script, mjx-container");
    if (prose && /\\\(|\\\[|\$[^\s$][^$]*\$|\\[a-z]{3,}/.test(text.data)) found.push(text.data.trim().slice(0, 80));
  }
  for (const math of document.querySelectorAll(".math"))
    if (!math.querySelector("mjx-container")) found.push("not typeset: " + math.textContent.slice(0, 80));
  for (const error of document.querySelectorAll("mjx-merror")) found.push("error: " + error.outerHTML.slice(0, 200));
  return found;
}"""


class Html(HTMLParser):
    """What a page offers and asks for: its anchors, links and pictures, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.alts: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.anchors |= {values["id"]} if "id" in values else set()
        self.links += [values[name] for name in ("href", "src") if values.get(name)]
        if tag == "img":
            self.alts.append(values.get("alt", ""))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Html]:
    """Name -> page, of all pages that Sphinx wrote."""
    found = [*site.glob("*.html"), *site.glob("notebooks/*.html")]
    return {str(path.relative_to(site)): Html(path) for path in sorted(found)}


def squeezed(text: str) -> str:
    return re.sub(r"\W+", "", text).lower()


def test_every_notebook_is_a_page_and_says_how_to_run_it(site: Path, pages: dict[str, Html]):
    for notebook in NOTEBOOKS:
        page = pages[f"notebooks/{notebook.stem}.html"]
        assert f"uv run jupyter lab notebooks/{notebook.name}" in page.text
        assert f"../_sources/notebooks/{notebook.name}" in page.links
        assert (site / "_sources" / "notebooks" / notebook.name).read_bytes() == notebook.read_bytes()


def test_every_picture_of_a_notebook_arrives_with_its_alternative_text(pages: dict[str, Html]):
    for notebook in NOTEBOOKS:
        cells = nbformat.read(notebook, as_version=4).cells
        wanted = [c.metadata.mystnb.image.alt for c in cells if "mystnb" in c.metadata]
        got = pages[f"notebooks/{notebook.stem}.html"].alts
        missing = [alt for alt in wanted if alt not in got]
        assert wanted and not missing, f"{notebook.name}: expected the alternative text {missing[0]!r}"


def test_every_link_leads_to_a_file_and_an_anchor(site: Path, pages: dict[str, Html]):
    broken = []
    for name, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = ((site / name).parent / unquote(parts.path)).resolve() if parts.path else site / name
            target = target / "index.html" if target.is_dir() else target
            known = (
                pages.get(str(target.relative_to(site.resolve()))) if target.is_relative_to(site.resolve()) else None
            )
            if not target.is_file():
                broken.append(f"{name}: {link} (no file)")
            elif parts.fragment and known and unquote(parts.fragment) not in known.anchors:
                broken.append(f"{name}: {link} (no anchor)")
    assert not broken, "\n".join(broken[:20])


def test_every_term_of_the_glossary_is_linked_once_a_page_from_a_notebook(pages: dict[str, Html]):
    entries = glossary_terms((ROOT / "site" / "notation.md").read_text(encoding="utf-8"))
    linked: set[str] = set()
    for notebook in NOTEBOOKS:
        page = pages[f"notebooks/{notebook.stem}.html"]
        terms = [link.partition("#")[2] for link in page.links if "notation.html#term-" in link]
        assert terms and len(terms) == len(set(terms)), f"{notebook.name}: expected each term once, got {terms}"
        linked |= {squeezed(term.removeprefix("term-")) for term in terms}
    unused = [entry[0] for entry in entries if not linked & {squeezed(spelling) for spelling in entry}]
    assert not unused, f"expected terms that the notebooks use, got {unused}"


def test_the_indexes_hold_all_exercises_beliefs_words_and_references(pages: dict[str, Html]):
    exercises = [e for path in NOTEBOOKS for e in find_exercises(nbformat.read(path, as_version=4))]
    listed, said = squeezed(pages["exercises.html"].text), squeezed(pages["teachers.html"].text)
    beliefs, works = squeezed(pages["misconceptions.html"].text), squeezed(pages["references.html"].text)
    for exercise in exercises:
        assert squeezed(f"{exercise.id} {exercise.title}") in listed
    for check in all_exercises():
        assert squeezed(check.notice) in said
        for misconception in check.misconceptions:
            words = misconception.words.format(yours="yours", right="right", ratio="ratio")
            assert squeezed(misconception.belief) in beliefs and squeezed(words) in said, (
                check.id,
                misconception.belief,
            )
    for notebook in generated.course().values():
        for entry in notebook.further_reading:
            title, number = re.search(r"\*(.+?)\*", entry)[1], re.search(r"arXiv:\S+\d", entry)
            assert squeezed(title) in works, title
            assert not number or f"https://arxiv.org/abs/{number[0][6:]}" in pages["references.html"].links


def test_what_a_notebook_built_is_linked_to_the_module_where_it_lives(pages: dict[str, Html]):
    for notebook in NOTEBOOKS:
        built = set(re.findall(r"\| `vae_lib\.(\w+)` \|", notebook.read_text(encoding="utf-8")))
        links = pages[f"notebooks/{notebook.stem}.html"].links
        missing = [name for name in built if f"../library.html#module-{name.replace('_', '-')}" not in links]
        assert not missing, f"{notebook.name}: expected a link to {missing}"


def test_a_route_for_teachers_that_does_not_fit_its_time_is_refused():
    assert "minutes are spare" in generated.route(generated.TWO_HOURS, 120)
    with pytest.raises(ValueError, match="at most 60 minutes"):
        generated.route(generated.TWO_HOURS, 60)


# In the browser


def quiet(seen: Visit, host: str) -> list[str]:
    """What was wrong since the last look: errors, and hosts other than ours."""
    wrong = [*seen.errors, *(f"asked {other}" for other in seen.hosts - {"", host})]
    seen.errors.clear()
    seen.hosts.clear()
    return wrong


def settled(seen: Visit, address: str) -> None:
    """Open a page and wait until its formulae are set."""
    seen.page.goto(address, wait_until="load")
    seen.page.evaluate("window.MathJax?.startup?.promise")


@needs_chromium
def test_every_page_is_quiet_typeset_and_fits_a_phone(site: Path, pages: dict[str, Html]):
    wrong = []
    with serve(site) as address, visit(width=360, height=740) as seen:
        for name in pages:
            settled(seen, f"{address}/{name}")
            seen.page.evaluate(OPEN_ALL)
            wrong += [f"{name}: {fault}" for fault in quiet(seen, address.split("/")[2])]
            wrong += [f"{name}: {tex}" for tex in seen.page.evaluate(RAW_TEX)]
            width = seen.page.evaluate("document.documentElement.scrollWidth")
            wrong += [f"{name}: expected 360 pixels, got {width}"] if width > 360 else []
            if name.startswith("notebooks/") and not seen.page.locator("mjx-container").count():
                wrong.append(f"{name}: expected formulae, got none")
    assert not wrong, "\n".join(wrong[:20])


@needs_chromium
def test_folds_open_and_close_by_mouse_and_keyboard(site: Path):
    with serve(site) as address, visit() as seen:
        settled(seen, f"{address}/notebooks/03_the_kl_term.html")
        fold = seen.page.locator("details", has=seen.page.locator("summary", has_text="Solution")).first
        code = fold.locator("pre").first
        assert not code.is_visible()
        fold.locator("summary").click()
        assert code.is_visible() and "def " in code.inner_text()
        fold.locator("summary").press("Enter")
        assert not code.is_visible()


@needs_chromium
@pytest.mark.parametrize("width, bar", [(360, "primary"), (360, "secondary"), (1280, "secondary")])
def test_the_buttons_above_a_page_open_the_course_and_what_the_page_holds(site: Path, width: int, bar: str):
    with serve(site) as address, visit(width=width) as seen:
        settled(seen, f"{address}/notebooks/03_the_kl_term.html")
        opened = seen.page.locator(f"#pst-{bar}-sidebar-modal")
        assert not opened.is_visible()
        seen.page.locator(f"button.{bar}-toggle:visible").click()
        opened.get_by_role("link").first.wait_for()
        seen.page.keyboard.press("Escape")
        assert not opened.is_visible()


@needs_chromium
def test_search_finds_a_term(site: Path):
    with serve(site) as address, visit() as seen:
        seen.page.goto(f"{address}/search.html?q=hyperprior")
        results = seen.page.locator("#search-results a[href*='11_hyperprior.html']")
        results.first.wait_for(timeout=20_000)
        seen.page.wait_for_load_state("networkidle")  # each result's page has been read for its summary
        assert seen.page.locator("#search-results li:not(:has(p))").count() == 0
        assert not quiet(seen, address.split("/")[2])


@needs_chromium
@pytest.mark.parametrize("dark, width", [(False, 360), (True, 1280)], ids=["light, a phone", "dark, a desk"])
def test_pages_are_accessible(site: Path, dark: bool, width: int):
    """axe-core finds nothing serious or critical; formulae are left to MathJax, which has MathML for screen readers."""
    names = ["index", "notebooks/01_bits_and_bytes", "notation", "exercises", "teachers", "library", "data", "search"]
    wrong = []
    with serve(site) as address, visit(width=width, dark=dark) as seen:
        for name in names:
            settled(seen, f"{address}/{name}.html")
            assert seen.page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
            for found in Axe().run(seen.page, context={"exclude": ["mjx-container"]}).response["violations"]:
                if found["impact"] in ("serious", "critical"):
                    where = "; ".join(node["html"][:120] for node in found["nodes"][:3])
                    wrong.append(f"{name}: {found['id']}: {found['help']}: {where}")
    assert not wrong, "\n".join(wrong)
