"""The command line: what it makes, and one clear line instead of a traceback where it cannot."""

import contextlib
import functools
import io
import subprocess
import sys

import numpy as np
import pytest

from vae_lib.commands import main
from vae_lib.images import encode_image, load_fashion_mnist, load_grey_folder
from vae_lib.training import load_weights, read_weights, train_step
from vae_lib.workshop import bits_back_file, fashion_vaes


def cut_down(patch):
    """Fashion-MNIST and the network, small enough for a test to train."""
    full = fashion_vaes.load_fashion_mnist

    def cut(split):
        x_uint8, labels = full("test")
        return (x_uint8[:200], labels[:200]) if split == "train" else (x_uint8[200:230], labels[200:230])

    patch.setattr(fashion_vaes, "load_fashion_mnist", cut)
    for name, value in {"HELD_OUT": 20, "BOUND_SAMPLES": 2, "WIDTH": 32}.items():
        patch.setattr(fashion_vaes, name, value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights of three steps, the same once more, and with another seed; what the first run said."""
    folder, said = tmp_path_factory.mktemp("trained"), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        cut_down(patch)
        for name, seed in {"first": "0", "again": "0", "other": "1"}.items():
            out = str(folder / f"{name}.safetensors")
            assert main(["train", "fashion-vae", "--out", out, "--steps", "3", "--seed", seed]) == 0
        load_weights(folder / "first.safetensors", fashion_vaes.new_fashion_vae())
    return {path.stem: read_weights(path) for path in folder.glob("*.safetensors")}, said.getvalue()


def test_train_writes_weights_with_what_produced_them(trained):
    weights, said = trained
    about, _ = weights["first"]
    assert "test_negative_elbo_bits_per_dim" in said
    assert "--steps 3 --seed 0" in about["command"] and about["licence"] and len(about["data"].split()[-1]) == 64
    assert (
        3 < float(about["test_importance_weighted_bits_per_dim"]) <= float(about["test_negative_elbo_bits_per_dim"]) < 9
    )


def test_the_latent_sweep_stops_anywhere_and_goes_on_where_it_stopped(tmp_path, capsys, monkeypatch):
    cut_down(monkeypatch)
    monkeypatch.setattr(fashion_vaes, "SWEEP", [(2, 1.0), (3, 1.0), (3, 10)])
    whole, interrupted = tmp_path / "whole.safetensors", tmp_path / "interrupted.safetensors"
    assert main(["train", "latent-sweep", "--out", str(whole), "--steps", "4"]) == 0
    assert "held_out_rate_and_distortion_bits_per_dim" in capsys.readouterr().out
    steps = 0

    def power_cut(*arguments):
        nonlocal steps
        steps += 1
        if steps == 6:
            raise KeyboardInterrupt
        return train_step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(fashion_vaes, "fit", functools.partial(fashion_vaes.fit, step_function=power_cut))
        assert main(["train", "latent-sweep", "--out", str(interrupted), "--steps", "4"]) == 130
    assert not interrupted.exists()
    assert main(["train", "latent-sweep", "--out", str(interrupted), "--steps", "4"]) == 0
    (about, first), (_, second) = read_weights(whole), read_weights(interrupted)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert about["command"] == "python -m vae_lib train latent-sweep --out whole.safetensors --steps 4 --seed 0"
    assert {name.split(".")[0] for name in first} == {"dim_2_beta_1", "dim_3_beta_1", "dim_3_beta_10"}


def test_training_can_be_repeated_and_another_seed_gives_other_weights(trained):
    first, again, other = (trained[0][name][1] for name in ("first", "again", "other"))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "fashion-vae", "--out", "{tmp}/none/x.safetensors"], "expected an existing folder"),
        (["train", "fashion-vae", "--out", "{tmp}/x.bin"], "expected a name that ends in .safetensors"),
        (["train", "fashion-vae", "--out", "{tmp}/x.safetensors", "--steps", "0"], "expected at least one step, got 0"),
        (["train", "fashion-vae", "--out", "{tmp}/damaged.safetensors"], "expected a safetensors file"),
        (["progress", "--notebooks", "{tmp}"], "expected notebooks such as"),
    ],
)
def test_what_cannot_work_is_one_line_on_stderr_and_exit_code_2(tmp_path, capsys, arguments, expected):
    (tmp_path / "damaged.safetensors.checkpoint").write_bytes(b"damaged")
    assert main([argument.format(tmp=tmp_path) for argument in arguments]) == 2
    output = capsys.readouterr()
    assert expected in output.err and output.err.count("\n") == 1
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("command", [[], ["train"], ["bits-back"], ["bits-back", "encode"], ["progress"]])
def test_help_teaches(capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert stopped.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) >= 8


def test_progress_works_from_any_folder_and_imports_no_jax(tmp_path):
    script = "import sys; from vae_lib.commands import main; main(['progress']); assert 'jax' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "01_bits_and_bytes" in done.stdout


def test_a_python_that_is_too_old_is_told_so_in_one_line():
    script = "import sys; sys.version_info = (3, 10, 4); sys.version = '3.10.4 (main)'; import vae_lib"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "vae_lib expects Python 3.11 or newer, got 3.10.4: `uv run` fetches one.\n"


def folder_of_pictures(folder, x_uint8):
    folder.mkdir()
    for i, image in enumerate(x_uint8):
        (folder / f"{i}.png").write_bytes(encode_image(image, "PNG"))
    return folder


def test_bits_back_stores_a_folder_and_gives_it_back(tmp_path, capsys):
    x_uint8 = load_fashion_mnist("test")[0][:6]
    folder, file = folder_of_pictures(tmp_path / "in", x_uint8), tmp_path / "x.bb"
    assert main(["bits-back", "encode", str(file), str(folder), "--steps", "1", "--lanes", "2"]) == 0
    assert f"{file.stat().st_size:,} bytes" in capsys.readouterr().out
    assert main(["bits-back", "decode", str(file), str(tmp_path / "out")]) == 0
    assert main(["bits-back", "decode", str(file), str(tmp_path / "out.npy")]) == 0
    assert np.array_equal(load_grey_folder(tmp_path / "out"), x_uint8)
    assert np.array_equal(np.load(tmp_path / "out.npy"), x_uint8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out", "out.npy", "x.bb"]


def test_bits_back_stores_the_first_images_of_the_test_set(tmp_path):
    file = tmp_path / "x.bb"
    assert main(["bits-back", "encode", str(file), "--count", "3", "--steps", "0"]) == 0
    assert np.array_equal(bits_back_file.decode(file.read_bytes()), load_fashion_mnist("test")[0][:3])


def damaged_files():
    whole, _ = bits_back_file.encode(load_fashion_mnist("test")[0][:2], steps=0)
    return {
        "empty": (b"", "expected a file that begins with"),
        "foreign": (b"\x89PNG\r\n\x1a\n", "expected a file that begins with"),
        "header": (whole[:20], "truncated: expected a header"),
        "truncated": (whole[:-9], "truncated"),
        "corrupted": (whole[:200] + bytes([whole[200] ^ 1]) + whole[201:], "damaged"),
    }


@pytest.mark.parametrize("out", ["out", "out.npy"])
def test_what_is_no_bits_back_file_is_refused_and_nothing_written(tmp_path, capsys, out):
    for name, (data, expected) in damaged_files().items():
        file = tmp_path / name
        file.write_bytes(data)
        assert main(["bits-back", "decode", str(file), str(tmp_path / out)]) == 2
        output = capsys.readouterr()
        assert output.out == "" and output.err.count("\n") == 1 and expected in output.err
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(damaged_files())


def test_a_corrupted_file_gives_whoever_calls_the_command_one_line_and_no_traceback(tmp_path):
    data, expected = damaged_files()["corrupted"]
    (tmp_path / "x.bb").write_bytes(data)
    command = [sys.executable, "-m", "vae_lib", "bits-back", "decode", "x.bb", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("vae_lib bits-back: ") and done.stderr.count("\n") == 1 and expected in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.bb"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["encode", "{tmp}/none/x.bb"], "expected an existing folder"),
        (["encode", "{tmp}/text"], "expected a new name"),
        (["encode", "{tmp}/x.bb", "{tmp}/none"], "expected a folder of pictures"),
        (["encode", "{tmp}/x.bb", "{tmp}/empty"], "got an empty folder"),
        (["encode", "{tmp}/x.bb", "{tmp}/colours"], "expected a grey picture"),
        (["encode", "{tmp}/x.bb", "{tmp}/sizes"], "expected (28, 28) pixels as before"),
        (["encode", "{tmp}/x.bb", "{tmp}/large"], "expected uint8 images (n, 28, 28, 1)"),
        (["encode", "{tmp}/x.bb", "{tmp}/notes"], "expected a picture that Pillow can read"),
        (["encode", "{tmp}/x.bb", "--count", "0"], "expected a count from 1"),
        (["encode", "{tmp}/x.bb", "--count", "2", "--steps", "300"], "expected 0 to 255 steps"),
        (["encode", "{tmp}/x.bb", "--count", "2", "--lanes", "0"], "1 to 65,535 lanes"),
        (["decode", "{tmp}/none.bb", "{tmp}/out"], "No such file"),
        (["decode", "{tmp}/text", "{tmp}/none/out"], "expected an existing folder"),
        (["decode", "{tmp}/text", "{tmp}/text"], "expected a new name"),
        (["report", "{tmp}/results.txt"], "expected a name that ends in .json"),
    ],
)
def test_bits_back_says_in_one_line_what_it_cannot_do(tmp_path, capsys, arguments, expected):
    (tmp_path / "text").write_text("text")
    x_uint8 = load_fashion_mnist("test")[0]
    (tmp_path / "empty").mkdir()
    folder_of_pictures(tmp_path / "colours", [np.full((28, 28, 3), [1, 2, 3], np.uint8)])
    folder_of_pictures(tmp_path / "sizes", [x_uint8[0], x_uint8[0, :20]])
    folder_of_pictures(tmp_path / "large", np.zeros((2, 32, 32, 1), np.uint8))
    (folder_of_pictures(tmp_path / "notes", x_uint8[:1]) / "notes.txt").write_text("notes")
    before = sorted(tmp_path.iterdir())
    assert main(["bits-back", *(argument.format(tmp=tmp_path) for argument in arguments)]) == 2
    output = capsys.readouterr()
    assert expected in output.err and output.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
