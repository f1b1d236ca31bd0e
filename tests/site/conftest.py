"""What several test files share: the site, built once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD_SECONDS = 180  # what the README promises of a fresh clone, on two cores


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a web server would serve, built as the README says, into an empty folder."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-M", "html", "site", str(out), "-W", "--keep-going", "--quiet"]
    before = os.times()
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    after = os.times()  # of processor, as others may hold the cores: the build is one process with one thread
    seconds = sum(getattr(after, part) - getattr(before, part) for part in ("children_user", "children_system"))
    assert built.returncode == 0, f"expected a build without warnings, got\n{built.stderr[-3000:]}"
    assert seconds <= BUILD_SECONDS, f"expected a build in {BUILD_SECONDS} s, got {seconds:.0f} s"
    return out / "html"
