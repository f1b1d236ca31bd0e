"""The benchmark: what it reports is what is in the files, and one bad picture does not stop it."""

import json
import math
import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from vae_lib import benchmark, codec, decoder
from vae_lib.commands import main
from vae_lib.images import encode_image, load_photographs
from vae_lib.metrics import bd_rate, psnr
from vae_lib.workshop import benchmark_report

AVIFS = ("AVIF", "AVIF, default")


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
    text = benchmark_report.table(results)
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


def test_figures_side_by_side_are_over_one_range_and_are_bd_rates(results):
    codecs, found = results["codecs"], results["bd_rate"]["psnr"]["ours"]
    for pictures, saved in [({p}, saved) for p, saved in found["pictures"].items()] + [(None, found["mean curves"])]:
        whole = {p for p, other in found["pictures"].items() if None not in other["percent"].values()}
        curves = {
            name: benchmark.curve({p: sweep for p, sweep in rows.items() if p in (pictures or whole)})
            for name, rows in codecs.items()
            if name != "AVIF, default"
        }
        fit = [curves["ours"], *(curves[name] for name, percent in saved["percent"].items() if percent is not None)]
        low, high = max(min(psnrs) for _, psnrs in fit), min(max(psnrs) for _, psnrs in fit)
        assert saved["range"] == pytest.approx([low, high], abs=0.006)
        for name, percent in saved["percent"].items():
            if percent is not None:
                expected = bd_rate(*curves["ours"], *curves[name], within=(low, high))
                assert percent == pytest.approx(expected[0], abs=0.006) and expected[1:] == (low, high)


def test_the_mean_of_the_pictures_is_that_of_their_logarithms(results):
    assert benchmark.overall([100, -50]) == 0 and benchmark.overall([-20, 25]) == 0
    found = results["bd_rate"]["psnr"]["ours"]
    percents = [saved["percent"] for saved in found["pictures"].values() if None not in saved["percent"].values()]
    assert len(percents) > 1
    for name, mean in found["mean"].items():
        ratios = [1 + percent[name] / 100 for percent in percents]
        assert mean == pytest.approx(100 * (math.prod(ratios) ** (1 / len(ratios)) - 1), abs=0.006)


def test_by_each_measure_a_rival_aims_at_it():
    """AVIF at one quality makes another file when told to aim at PSNR, and by each measure its own wins."""
    x_uint8 = load_photographs("validation")["wine"][:256, :256]
    tuned, default = (benchmark.rival(name)[0](x_uint8, 60) for name in ("AVIF", "AVIF, default"))
    by_hand = {
        tune: encode_image(x_uint8, "AVIF", quality=60, speed=4, subsampling="4:4:4", max_threads=1, advanced=options)
        for tune, options in (("psnr", {"tune": "psnr"}), ("default", {}))
    }
    assert len(by_hand["psnr"]) != len(by_hand["default"])
    assert (tuned, default) == (by_hand["psnr"], by_hand["default"])
    assert benchmark.RIVALS["psnr"] == ("JPEG", "WebP", "AVIF", "JPEG XL")
    assert benchmark.RIVALS["ms_ssim"] == ("JPEG", "WebP", "AVIF, default", "JPEG XL")
    sweeps = {name: [benchmark.measure(x_uint8, benchmark.rival(name), q) for q in (30, 50, 70, 90)] for name in AVIFS}
    for measure, best, other in (("psnr", *AVIFS), ("ms_ssim", *AVIFS[::-1])):
        curves = [benchmark.curve({"wine": sweeps[name]}, measure) for name in (best, other)]
        assert bd_rate(*curves[0], *curves[1])[0] < 0, f"by {measure} {best} should need fewer bits than {other}"


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
    grey.convert("F").save(folder / "floats.tiff")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    Image.new("RGB", (16_384, 1)).save(folder / "longer than WebP can.png")
    (folder / "telephone.heic").write_bytes(b"\0\0\0\x18ftypheic")
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
        "floats.tiff": "mode F",
        "longer than WebP can.png": "that WebP can encode",
        "telephone.heic": "got a file of another kind",
        "transparent.png": "got transparency",
    }
    assert list(found["failed"]) == list(skipped)
    assert all(any(name in line and why in line for line in said.splitlines()) for name, why in skipped.items())
    assert "3 pictures" in said and "- where a curve does not rise" in said and Image.open(figure).width > 1000


def test_a_picture_without_detail_is_drawn_without_a_warning(tmp_path, capsys):
    (tmp_path / "flat").mkdir()
    Image.new("RGB", (176, 176), (9, 9, 9)).save(tmp_path / "flat" / "flat.png")
    with warnings.catch_warnings(action="error"):
        assert main(["benchmark", str(tmp_path / "flat"), "--figure", str(tmp_path / "figure.png")]) == 0
    assert "\n1 picture, real bytes" in capsys.readouterr().out


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """One flat picture, one whose name is no UTF-8, one with a rarer suffix."""
    folder = tmp_path_factory.mktemp("mixed")
    picture = Image.fromarray(load_photographs("validation")["wine"][100:148, 200:256])
    Image.new("RGB", (56, 48), (9, 9, 9)).save(folder / "flat.png")
    picture.save(folder / "rare.jfif", "JPEG", quality=95)
    try:
        picture.rotate(180).save(os.fsencode(folder) + b"/\xff.png", "PNG")
    except OSError:
        pytest.skip("this file system has no such names")
    return folder


def test_a_flat_picture_does_not_cost_the_others_their_figures(mixed, tmp_path):
    out, figure = tmp_path / "results.json", tmp_path / "figure.png"
    command = [sys.executable, "-m", "vae_lib", "benchmark", str(mixed), "--json", str(out), "--figure", str(figure)]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    )
    assert done.returncode == 0, done.stderr
    found = benchmark.from_json(out.read_text())
    assert list(found["codecs"]["ours"]) == ["flat.png", "rare.jfif", "\udcff.png"]
    assert "\\udcff.png" in done.stdout and "rare.jfif" in done.stdout and Image.open(figure).width > 1000
    figures = found["bd_rate"]["psnr"]["ours"]
    assert set(figures["pictures"]["flat.png"]["percent"].values()) == {None}
    assert "mean of 2 pictures" in done.stdout and None not in figures["mean"].values()
    assert None not in figures["mean curves"]["percent"].values()


def test_other_weights_are_measured_against_the_committed_ones(mixed, tmp_path, capsys):
    folder = tmp_path / "few"
    folder.mkdir()
    (folder / "rare.jfif").write_bytes((mixed / "rare.jfif").read_bytes())
    arrays = decoder.read_arrays(codec.WEIGHTS)
    same, out = tmp_path / "same.safetensors", tmp_path / "results.json"
    save_file(arrays, same)
    assert main(["benchmark", str(folder), "--weights", str(same), "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["bd_rate"]["psnr"]["ours"]["mean"]["committed"] == 0
    assert [row["bytes"] for row in found["codecs"]["committed"]["rare.jfif"]] == [
        row["bytes"] for row in found["codecs"]["ours"]["rare.jfif"]
    ]
    assert "committed" in capsys.readouterr().out and f"--weights {same}" in found["command"]


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
    assert main(["benchmark", str(tmp_path), "--weights", str(tmp_path / "none.safetensors")]) == 2
    assert "none.safetensors: expected the codec's weights, got" in capsys.readouterr().err
