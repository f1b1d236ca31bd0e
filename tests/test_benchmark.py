"""The benchmark: what it reports is what is in the files, and one bad picture does not stop it."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from vae_lib import benchmark, codec
from vae_lib.__main__ import main
from vae_lib.images import load_photographs
from vae_lib.metrics import bd_rate, psnr


@pytest.fixture(scope="module")
def weights() -> codec.CodecWeights:
    return codec.load_weights()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine small pictures, and a tenth that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    x_uint8 = load_photographs("validation")["wine"]
    for number in range(9):
        Image.fromarray(x_uint8[64 * number : 64 * number + 48, 200:256]).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "notes.txt").write_text("no picture, and not meant to be one")
    return folder


@pytest.fixture(scope="module")
def results(folder, weights):
    return benchmark.benchmark(folder, weights)


def test_nine_rows_and_the_tenth_by_name(results):
    assert all(list(pictures) == [f"{n}.png" for n in range(9)] for pictures in results["codecs"].values())
    assert list(results["failed"]) == ["broken.png"]
    text = benchmark.table(results)
    assert sum(line.startswith(f"{n}.png") for n in range(9) for line in text.splitlines()) == 9
    assert "skipped" in text and "broken.png" in text and "notes.txt" not in text


def test_rows_are_what_the_files_say(folder, results, weights):
    x_uint8 = np.asarray(Image.open(folder / "3.png"))
    for row in results["codecs"]["ours"]["3.png"][::5]:
        data = codec.encode(x_uint8, weights, row["quality"])
        assert row["bytes"] == len(data)
        assert math.isclose(row["bits_per_pixel"], 8 * len(data) / (48 * 56), rel_tol=1e-4)
        assert math.isclose(row["psnr"], psnr(x_uint8, codec.decode(data, weights)), abs_tol=1e-3)
        assert row["ms_ssim"] is None  # below 161 pixels


def test_bd_rates_are_those_of_the_mean_curves(results):
    expected = bd_rate(*benchmark.curve(results["codecs"]["ours"]), *benchmark.curve(results["codecs"]["JPEG"]))
    found = results["bd_rate"]["JPEG"]
    assert [found["percent"], found["from_db"], found["to_db"]] == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("name", benchmark.OPTIONS)
def test_equal_bytes_comes_close_from_below(name):
    x_uint8 = load_photographs("validation")["wine"][:192, :192]
    size, decoded = benchmark.equal_bytes(x_uint8, name, 4000)
    assert 2800 < size <= 4000 and decoded.shape == x_uint8.shape


def test_the_command_writes_results_and_figure(folder, tmp_path, capsys):
    few = tmp_path / "few"
    few.mkdir()
    (few / "1.png").write_bytes((folder / "1.png").read_bytes())
    out, figure = tmp_path / "results.json", tmp_path / "figure.png"
    assert main(["benchmark", str(few), "--json", str(out), "--figure", str(figure)]) == 0
    assert "1.png" in capsys.readouterr().out
    assert set(json.loads(out.read_text())["codecs"]) == {*benchmark.OPTIONS, "ours"}
    assert Image.open(figure).width > 1000


def test_the_command_refuses_what_it_cannot_do(tmp_path, capsys):
    assert main(["benchmark", str(tmp_path / "none")]) == 2
    assert main(["benchmark", str(tmp_path)]) == 2
    assert main(["benchmark", str(tmp_path), "--json", str(tmp_path / "results.txt")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith("vae_lib benchmark: expected") for line in lines)
