"""The benchmark: what it reports is what is in the files, and one bad picture does not stop it."""

import json
import math
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image

from vae_lib import benchmark, codec
from vae_lib.commands import main
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
    assert set(benchmark.from_json(out.read_text())["codecs"]) == {*benchmark.OPTIONS, "ours"}
    assert Image.open(figure).width > 1000


def refuse(constant):
    raise ValueError(f"expected strict JSON, got {constant}")


def test_a_picture_that_comes_back_exactly_has_a_psnr_of_null_in_strict_json(folder, results):
    rows = results["codecs"] | {"AVIF": {"0.png": [results["codecs"]["AVIF"]["0.png"][0] | {"psnr": math.inf}]}}
    text = benchmark.to_json(results | {"codecs": rows})
    assert json.loads(text, parse_constant=refuse)["codecs"]["AVIF"]["0.png"][0]["psnr"] is None
    assert benchmark.from_json(text)["codecs"] == rows


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """What a stranger's folder may hold: three pictures that can be measured, the others named, or no picture."""
    folder = tmp_path_factory.mktemp("odd")
    picture = Image.fromarray(load_photographs("validation")["wine"][100:148, 200:256])
    grey = picture.convert("L")
    grey.save(folder / "grey.png")
    picture.save(folder / "animation.gif", save_all=True, append_images=[picture.rotate(90)])
    Image.new("RGB", (1, 1)).save(folder / "a single pixel.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(folder / "grey of 16 bits.png")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    Image.new("RGB", (16_384, 1)).save(folder / "longer than WebP can.png")
    picture.putalpha(128)
    picture.save(folder / "transparent.png")
    (folder / "empty.png").touch()
    (folder / "folder.png").mkdir()
    return folder


def test_a_stranger_s_folder(odd, tmp_path, capsys):
    out, figure = tmp_path / "results.json", tmp_path / "figure.png"
    with warnings.catch_warnings(action="error"):
        assert main(["benchmark", str(odd), "--json", str(out), "--figure", str(figure)]) == 0
    said = capsys.readouterr().out
    found = json.loads(out.read_text(), parse_constant=refuse)
    assert list(found["codecs"]["ours"]) == ["a single pixel.png", "animation.gif", "grey.png"]
    skipped = {
        "cmyk.jpg": "mode CMYK",
        "empty.png": "got a file of another kind",
        "grey of 16 bits.png": "mode I;16",
        "longer than WebP can.png": "that WebP can encode",
        "transparent.png": "got transparency",
    }
    assert list(found["failed"]) == list(skipped)
    assert all(any(name in line and why in line for line in said.splitlines()) for name, why in skipped.items())
    assert "3 pictures" in said and "- where two curves do not rise" in said and Image.open(figure).width > 1000


def test_a_picture_without_detail_is_drawn_without_a_warning(tmp_path, capsys):
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (176, 176), (9, 9, 9)).save(tmp_path / "flat" / "flat.png")
    with warnings.catch_warnings(action="error"):
        assert main(["benchmark", str(tmp_path / "flat"), "--figure", str(tmp_path / "figure.png")]) == 0
    assert "\n1 picture, real bytes" in capsys.readouterr().out


def test_a_folder_in_which_nothing_can_be_read_is_refused(tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "results.json"
    assert main(["benchmark", str(tmp_path), "--json", str(out)]) == 2
    assert "expected pictures that can be read, got 1 that cannot, the first: " in capsys.readouterr().err
    assert not out.exists()


def test_ctrl_c_ends_it_in_one_line_and_writes_nothing(folder, tmp_path):
    out = tmp_path / "results.json"
    command = [sys.executable, "-m", "vae_lib", "benchmark", str(folder), "--json", str(out)]
    # As in a terminal, also where pytest runs in the background, whose children ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    signal.signal(signal.SIGINT, before)
    said = b""
    while b"1.png" not in said:  # the progress bar names the second picture: the first is measured
        said += running.stderr.read1()
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    output, rest = running.communicate(timeout=60)
    assert running.returncode == 130 and output == b"" and not list(tmp_path.iterdir())
    assert rest.decode().replace("\r", "\n").splitlines()[-1].strip() == "vae_lib benchmark: interrupted"


def test_the_command_refuses_what_it_cannot_do(tmp_path, capsys):
    assert main(["benchmark", str(tmp_path / "none")]) == 2
    assert main(["benchmark", str(tmp_path)]) == 2
    assert main(["benchmark", str(tmp_path), "--json", str(tmp_path / "results.txt")]) == 2
    assert main(["benchmark", str(tmp_path), "--json", str(tmp_path / "none" / "results.json")]) == 2
    assert main(["benchmark", str(tmp_path), "--figure", str(tmp_path / "figure.jpg")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5 and all(line.startswith("vae_lib benchmark: expected") for line in lines)
