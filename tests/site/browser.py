"""A real browser for tests: Chromium driven by Playwright, a folder served on the loopback address, what went wrong."""

import contextlib
import dataclasses
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the PATH (Debian: apt-get install chromium)"
)


@dataclasses.dataclass
class Visit:
    """A browser's page and all that a reader's console would have shown."""

    page: Page
    errors: list[str] = dataclasses.field(default_factory=list)  # console errors, uncaught exceptions, failed requests
    hosts: set[str] = dataclasses.field(default_factory=set)  # every host that was asked for anything


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve `folder` on the loopback address, as `python -m http.server` does; yields the address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def visit(width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Visit]:
    """A fresh browser with one empty page, `width` x `height` pixels; nothing is remembered between visits."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
        seen = Visit(page)
        page.on("console", lambda message: message.type == "error" and seen.errors.append(message.text))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("requestfailed", lambda request: seen.errors.append(f"{request.url}: {request.failure}"))
        page.on(
            "response",
            lambda answer: answer.status >= 400 and seen.errors.append(f"{answer.url}: {answer.status}"),
        )
        page.on("request", lambda request: seen.hosts.add(request.url.split("/")[2] if "://" in request.url else ""))
        try:
            yield seen
        finally:
            browser.close()
