"""The figures of notebook 13 are those of the committed files, and a sample of these is what the codecs do today."""

import json
import math

import pytest
from notebook_rules import ROOT, load, of_type, printed

from vae_lib import benchmark, codec
from vae_lib.images import load_image
from vae_lib.workshop import benchmark_report

FOLDERS = {"benchmark.json": "data/photographs/test", "benchmark_drawn.json": "data/drawn"}
SAMPLE = {"benchmark.json": ("kleiber.webp", "snow_trees.webp"), "benchmark_drawn.json": ("tiny.png", "screenshot.png")}


@pytest.fixture(scope="module")
def weights() -> codec.CodecWeights:
    return codec.load_weights()


@pytest.fixture(scope="module", params=FOLDERS)
def name(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def results(name) -> dict:
    return benchmark.from_json((ROOT / "data" / "results" / name).read_text(encoding="utf-8"))


def test_the_file_is_strict_json_and_what_the_command_writes(name, results):
    def refuse(constant):
        raise ValueError(f"expected JSON, got {constant}")

    text = (ROOT / "data" / "results" / name).read_text(encoding="utf-8")
    json.loads(text, parse_constant=refuse)
    assert benchmark.to_json(results) == text


def test_every_picture_was_measured_with_the_committed_weights(name, results, weights):
    pictures = sorted(path.name for path in (ROOT / FOLDERS[name]).iterdir())
    assert results["model"] == weights.model.hex() and not results["failed"]
    slow = {"ours, effort 2"} if "--effort 2" in results["command"] else set()
    assert set(results["codecs"]) == {*benchmark.OPTIONS, "ours"} | slow
    for codec_name, rows in results["codecs"].items():
        assert list(rows) == pictures
        for sweep in rows.values():
            assert tuple(row["quality"] for row in sweep) == benchmark.QUALITIES[codec_name]


@pytest.mark.parametrize("codec_name", ["ours", "WebP", "AVIF", "AVIF, default"])
def test_a_sample_has_the_same_bytes_and_psnr_today(name, results, weights, codec_name):
    code = benchmark.ours(weights) if codec_name == "ours" else benchmark.rival(codec_name)
    for picture in SAMPLE[name]:
        x_uint8 = load_image(ROOT / FOLDERS[name] / picture)
        for row in results["codecs"][codec_name][picture][2 :: 9 if "AVIF" in codec_name else 5]:
            again = benchmark.measure(x_uint8, code, row["quality"])
            assert again["bytes"] == row["bytes"]
            assert math.isclose(again["psnr"], row["psnr"], abs_tol=1e-3)  # dB; the synthesis adds in floats


def test_bd_rates_in_the_file_are_those_of_its_rows(results):
    assert results["bd_rate"] == benchmark.bd_rates(results["codecs"])


def test_a_slower_effort_buys_four_percent_on_the_test_split():
    results = benchmark.from_json((ROOT / "data" / "results" / "benchmark.json").read_text(encoding="utf-8"))
    assert results["bd_rate"]["psnr"]["ours, effort 2"]["mean"]["ours"] < -4


def test_the_notebook_prints_the_table_of_the_file(results):
    notebook = load(ROOT / "notebooks" / "13_the_shootout.ipynb")
    assert benchmark_report.table(results).strip() in [printed(cell) for _, cell in of_type(notebook, "code")]
