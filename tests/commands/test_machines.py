"""Machines that are set up in another way: no home to write to, other defaults of JAX or Matplotlib."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from vae_lib.images import DATA_FOLDER


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    """Python in a fresh process, whose environment is this one's but for some names."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "XDG_", "JAX_"))}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=own | environment)


@pytest.fixture(params=["/proc/no-home", ""], ids=["no home", "an empty name"])
def homeless(request) -> dict[str, str]:
    return {"HOME": request.param}


def test_without_a_home_pictures_are_compressed_and_drawn(tmp_path: Path, homeless: dict[str, str]):
    source, target = DATA_FOLDER / "photographs" / "validation" / "wine.webp", tmp_path / "wine.vic"
    done = run(
        f"from vae_lib.commands import main; raise SystemExit(main(['compress', {str(source)!r}, {str(target)!r}]))",
        **homeless,
    )
    assert (done.returncode, done.stderr) == (0, "") and target.stat().st_size > 1000
    drawing = (
        "from vae_lib import plotting; plotting.use_course_style(); import matplotlib.pyplot as plt; plt.subplots()[0]"
    )
    done = run(f"{drawing}.savefig({str(tmp_path / 'out.png')!r})", **homeless)
    assert done.returncode == 0 and "Traceback" not in done.stderr and Image.open(tmp_path / "out.png").width > 100


def test_jax_in_64_bits_judges_and_measures_alike():
    code = """
import jax
from vae_lib.exercises.engine import judge
from vae_lib.exercises.notebook_04 import EXERCISES
from vae_lib.images import load_fashion_mnist
from vae_lib.training import evaluate
from vae_lib.workshop.fashion_vaes import load_fashion_vae
x_uint8, _ = load_fashion_mnist("test")
print(*[judge(exercise, exercise.oracle).status for exercise in EXERCISES])
print(sum(evaluate(load_fashion_vae(), jax.random.key(0), x_uint8[:500])))
"""
    done = [run(code, JAX_ENABLE_X64=bits) for bits in ("0", "1")]
    assert [one.returncode for one in done] == [0, 0], done[1].stderr
    (verdicts, plain), (in_64, double) = (one.stdout.splitlines() for one in done)
    assert set(verdicts.split()) == {"correct"} and in_64 == verdicts
    assert float(double) == pytest.approx(float(plain), abs=0.01)  # other samples of z, since keys give other bits


def test_a_backend_that_matplotlib_does_not_know_is_its_own_error_and_agg_draws(tmp_path: Path):
    save = f"plt.subplots()[0].savefig({str(tmp_path / 'o.png')!r})"
    code = f"from vae_lib import plotting; import matplotlib.pyplot as plt; {save}"
    assert run(code, MPLBACKEND="agg").returncode == 0 and (tmp_path / "o.png").stat().st_size > 1000
    assert "nonsense" in run(code, MPLBACKEND="nonsense").stderr.splitlines()[-1]
