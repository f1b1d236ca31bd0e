"""Pictures as people have them, by command line and back: the right picture or one clear line, never half a file."""

import contextlib
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vae_lib import codec
from vae_lib.commands import main
from vae_lib.images import load_photographs


@pytest.fixture(scope="module")
def photograph():
    return Image.fromarray(load_photographs("validation")["wine"][200:253, 300:371])


def there_and_back(source: Path, quality: int = 95) -> Image.Image:
    """A picture through both commands."""
    file, target = source.with_suffix(".vic"), source.with_name("back.png")
    assert main(["compress", str(source), str(file), "--quality", str(quality)]) == 0
    assert main(["decompress", str(file), str(target)]) == 0
    return Image.open(target)


def same(back: Image.Image, original: Image.Image) -> None:
    """Same size, grey where it was grey, and close."""
    x, y = np.asarray(original.convert("RGB"), float), np.asarray(back.convert("RGB"), float)
    assert back.mode == ("L" if (x == x[..., :1]).all() else "RGB")
    assert x.shape == y.shape
    assert np.sqrt(((x - y) ** 2).mean()) < 8  # grey levels; a picture turned or of another frame is off by tens


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (70, 1), (1, 3), (3, 1), (2, 2), (7, 8), (37, 23)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pictures_of_any_size_come_back(photograph, tmp_path, size, mode):
    picture = photograph.crop((0, 0, *size)).convert(mode)
    picture.save(tmp_path / "picture.png")
    same(there_and_back(tmp_path / "picture.png"), picture)


@pytest.mark.parametrize(
    "name", ["grey.png", "palette.png", "ycbcr.jpg", "picture.jxl", "picture.webp", "picture.tiff"]
)
def test_pictures_of_every_kind_come_back(photograph, tmp_path, name):
    kind = {"grey.png": photograph.convert("L"), "palette.png": photograph.quantize(40)}
    picture = kind.get(name, photograph)
    picture.save(tmp_path / name, **({"lossless": True} if name.endswith(("jxl", "webp")) else {}))
    same(there_and_back(tmp_path / name), Image.open(tmp_path / name))


def test_black_and_white_comes_back(tmp_path):
    picture = Image.new("1", (40, 30))
    picture.paste(1, (16, 8, 32, 24))
    picture.save(tmp_path / "one.png")
    same(there_and_back(tmp_path / "one.png"), picture)


def test_a_picture_that_was_taken_sideways_comes_back_upright(photograph, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    photograph.save(tmp_path / "sideways.jpg", exif=exif, quality=95)
    back = there_and_back(tmp_path / "sideways.jpg")
    same(back, photograph.rotate(-90, expand=True))
    assert back.getexif() == {}  # else viewers would turn it again


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_an_animation_the_first_frame_comes_back(photograph, tmp_path, suffix):
    frames = [photograph.quantize(60).convert("RGB"), Image.eval(photograph, lambda level: 255 - level)]
    frames[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=frames[1:], lossless=True)
    with Image.open(tmp_path / f"film.{suffix}") as film:
        assert film.n_frames == 2
    same(there_and_back(tmp_path / f"film.{suffix}"), frames[0])


def transparent_palette(picture: Image.Image, path: Path) -> None:
    picture.quantize(40).save(path, transparency=3)


REFUSED = {
    "rgba.png": (lambda picture, path: Image.new("RGBA", (9, 9)).save(path), "expected an opaque picture"),
    "la.png": (lambda picture, path: Image.new("LA", (9, 9)).save(path), "expected an opaque picture"),
    "palette.png": (transparent_palette, "expected an opaque picture"),
    "float.tiff": (lambda picture, path: picture.convert("F").save(path), "mode F"),
    "cmyk.jpg": (lambda picture, path: picture.convert("CMYK").save(path), "mode CMYK"),
    "text.png": (lambda picture, path: path.write_text("hello"), "got a file of another kind"),
    "empty.png": (lambda picture, path: path.write_bytes(b""), "got a file of another kind"),
    "folder.png": (lambda picture, path: path.mkdir(), "Is a directory"),
    "none.png": (lambda picture, path: None, "got no such file"),
    "wide.png": (lambda picture, path: Image.new("1", (65536, 1)).save(path), "at most 65,535 a side, got 1 x 65536"),
    "large.png": (lambda picture, path: Image.new("1", (9000, 8000)).save(path), "expected 1 to 67,108,864 pixels"),
    "larger.png": (lambda picture, path: Image.new("1", (10_000, 10_000)).save(path), "100000000 pixels"),
    "bomb.png": (lambda picture, path: Image.new("1", (20_000, 20_000)).save(path), "400000000 pixels"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compressed_is_one_line_and_exit_code_2(photograph, tmp_path, capsys, name):
    make, expected = REFUSED[name]
    make(photograph, tmp_path / name)
    before = sorted(tmp_path.iterdir())
    assert main(["compress", str(tmp_path / name), str(tmp_path / "out.vic")]) == 2
    one_line(capsys, "compress", expected)
    assert sorted(tmp_path.iterdir()) == before


def one_line(capsys, command: str, expected: str) -> None:
    error = capsys.readouterr().err.rpartition("\r")[2]  # after a progress bar, which a slow machine shows and removes
    assert error.startswith(f"vae_lib {command}: ") and error.count("\n") == 1 and expected in error


@pytest.fixture
def pair(photograph, tmp_path):
    """A picture and its file."""
    photograph.save(tmp_path / "picture.png")
    (tmp_path / "file.vic").write_bytes(codec.encode(np.asarray(photograph), codec.load_weights()))
    return tmp_path


COMMANDS = [("compress", "picture.png", "out.vic"), ("decompress", "file.vic", "out.png")]


@pytest.mark.parametrize(("command", "source", "target"), COMMANDS)
def test_an_output_that_cannot_be_is_refused_before_the_work(pair, capsys, monkeypatch, command, source, target):
    monkeypatch.setattr(codec, "load_weights", None)  # the work starts with them
    other = pair / f"same{Path(target).suffix}"
    os.link(pair / source, other)
    refused = {
        f"none/{target}": "expected an existing folder",
        f"{source}/{target}": "expected an existing folder",
        "out.jpeg": f"expected a name that ends in {Path(target).suffix}",
        other.name: "expected two different files",
    }
    before = {path: path.read_bytes() for path in pair.iterdir()}
    for name, expected in refused.items():
        assert main([command, str(pair / source), str(pair / name)]) == 2
        one_line(capsys, command, expected)
    assert {path: path.read_bytes() for path in pair.iterdir()} == before


@pytest.mark.parametrize(("command", "source", "target"), COMMANDS)
def test_a_full_disk_leaves_no_half_output_and_the_old_one_as_it_was(pair, capsys, command, source, target):
    (pair / target).write_text("old")
    before = sorted(pair.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # the write of byte 101 fails as on a full disk
    try:
        assert main([command, str(pair / source), str(pair / target)]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    one_line(capsys, command, f"{target}: not written: File too large")
    assert sorted(pair.iterdir()) == before and (pair / target).read_text() == "old"


@pytest.mark.parametrize(("command", "source", "target"), COMMANDS)
def test_an_output_that_is_a_folder_is_refused(pair, capsys, command, source, target):
    (pair / target).mkdir()
    before = sorted(pair.iterdir())
    assert main([command, str(pair / source), str(pair / target)]) == 2
    one_line(capsys, command, f"{target}: not written: Is a directory")
    assert sorted(pair.iterdir()) == before


@contextlib.contextmanager
def nobody():
    """As a user who is not root, whom no permission binds."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize(("command", "source", "target"), COMMANDS)
def test_a_file_that_may_not_be_read_or_a_folder_that_may_not_be_written(pair, capsys, command, source, target):
    weights = codec.load_weights()
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    try:
        for name, mode in ((source, 0), (f"open_{source}", 0o644)):
            shutil.copy(pair / source, folder / name)
            (folder / name).chmod(mode)
        folder.chmod(0o555)
        before = sorted(folder.iterdir())
        with pytest.MonkeyPatch.context() as patch, nobody():
            patch.setattr(codec, "load_weights", lambda: weights)  # wherever the course lies
            assert main([command, str(folder / source), str(folder / target)]) == 2
            one_line(capsys, command, "Permission denied")
            assert main([command, str(folder / f"open_{source}"), str(folder / target)]) == 2
            one_line(capsys, command, f"{target}: not written: Permission denied")
        assert sorted(folder.iterdir()) == before
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize(("command", "source", "target"), COMMANDS)
def test_ctrl_c_while_the_output_is_written_leaves_nothing(pair, capsys, monkeypatch, command, source, target):
    def interrupted(path, content):
        path.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    before = sorted(pair.iterdir())
    assert main([command, str(pair / source), str(pair / target)]) == 130
    one_line(capsys, command, "interrupted")
    assert sorted(pair.iterdir()) == before


SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a terminal, also where pytest runs in the background
from vae_lib import codec
from vae_lib.commands import main
def encode_tile(*arguments):
    print("encoding", flush=True)
    time.sleep(60)
codec.encode_tile = encode_tile
sys.exit(main(["compress", *sys.argv[1:]]))
"""


def test_ctrl_c_in_a_terminal_ends_with_one_line(pair):
    command = [sys.executable, "-c", SLOW, str(pair / "picture.png"), str(pair / "out.vic")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "encoding\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == ("", "vae_lib compress: interrupted\n")
    assert process.returncode == 130 and not (pair / "out.vic").exists()


def test_too_little_memory_is_one_line(pair, capsys, monkeypatch):
    def no_memory(*arguments):
        raise MemoryError("Unable to allocate 400 MiB")

    monkeypatch.setattr(codec, "encode_tile", no_memory)
    assert main(["compress", str(pair / "picture.png"), str(pair / "out.vic")]) == 2
    one_line(capsys, "compress", "Unable to allocate")


def test_a_background_lies_behind_what_is_transparent(tmp_path, capsys):
    Image.new("RGBA", (40, 30), (0, 0, 0, 0)).save(tmp_path / "picture.png")
    for colour, level in (("white", 255), ("#808080", 128)):
        command = ["compress", str(tmp_path / "picture.png"), str(tmp_path / "out.vic"), "--background", colour]
        assert main(command) == 0 and main(["decompress", str(tmp_path / "out.vic"), str(tmp_path / "out.png")]) == 0
        assert np.mean(np.asarray(Image.open(tmp_path / "out.png"))) == pytest.approx(level, abs=3)
    assert main([*command[:-1], "whitish"]) == 2
    one_line(capsys, "compress", "expected a colour such as white or #ff8000, got whitish")


def test_a_name_as_long_as_the_file_system_allows(pair):
    name = "n" * 251 + ".vic"
    assert main(["compress", str(pair / "picture.png"), str(pair / name)]) == 0
    assert main(["decompress", str(pair / name), str(pair / f"{'n' * 251}.png")]) == 0
    assert sorted(map(str, pair.glob("n*"))) == sorted(str(pair / f"{'n' * 251}{end}") for end in (".vic", ".png"))


def test_a_filter_in_a_pipe(pair):
    command = [sys.executable, "-m", "vae_lib"]
    picture = (pair / "picture.png").read_bytes()
    compressed = subprocess.run([*command, "compress", "-", "-"], input=picture, capture_output=True, check=True)
    assert main(["compress", str(pair / "picture.png"), str(pair / "out.vic")]) == 0
    assert (compressed.stdout, compressed.stderr) == ((pair / "out.vic").read_bytes(), b"")
    back = subprocess.run([*command, "decompress", "-", "-"], input=compressed.stdout, capture_output=True, check=True)
    same(Image.open(io.BytesIO(back.stdout)), Image.open(pair / "picture.png"))
    broken = subprocess.run([*command, "compress", "-", "-"], input=picture[:50], capture_output=True)
    assert (
        broken.returncode == 2 and broken.stdout == b"" and b"compress: standard input: expected a p" in broken.stderr
    )


@pytest.fixture
def folder_of_pictures(photograph, tmp_path):
    """Three pictures, a broken one, and a text."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.webp", "c.jpg"):
        photograph.save(folder / name)
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:200])
    (folder / "notes.txt").write_text("hello")
    return folder


def test_many_files_go_on_without_one_that_fails_and_are_those_of_single_calls(folder_of_pictures, tmp_path, capfd):
    assert main(["compress", str(folder_of_pictures), "--out-dir", str(tmp_path / "out")]) == 1
    words = capfd.readouterr().err
    assert f"left out: {folder_of_pictures / 'notes.txt'}\n" in words and "3 of 4 files" in words
    assert words.splitlines()[-1].startswith(f"failed: {folder_of_pictures / 'broken.png'}: expected a picture")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.vic", "b.vic", "c.vic"]
    for name in ("a.png", "b.webp", "c.jpg"):
        assert main(["compress", str(folder_of_pictures / name), str(tmp_path / "one.vic")]) == 0
        assert (tmp_path / "one.vic").read_bytes() == (tmp_path / "out" / f"{name[0]}.vic").read_bytes()
    (tmp_path / "out" / "b.vic").write_bytes(b"VIC")
    files = [str(path) for path in sorted((tmp_path / "out").iterdir())]
    assert main(["decompress", *files, "--out-dir", str(tmp_path / "back")]) == 1
    assert "failed: " + files[1] in capfd.readouterr().err
    assert sorted(path.name for path in (tmp_path / "back").iterdir()) == ["a.png", "c.png"]


def test_names_that_make_no_sense_together_are_one_line_before_the_work(folder_of_pictures, tmp_path, capsys):
    shutil.copy(folder_of_pictures / "a.png", folder_of_pictures / "a.gif")
    (tmp_path / "empty").mkdir()
    refused = {
        (
            str(folder_of_pictures / "a.png"),
        ): "expected IN and OUT, or any number of inputs with --out-dir, got 1 names",
        (str(folder_of_pictures), "--out-dir", str(tmp_path / "out")): "expected one input for",
        ("-", "--out-dir", str(tmp_path / "out")): "expected files with --out-dir, got standard input",
        (str(tmp_path / "empty"), "--out-dir", str(tmp_path / "out")): "expected files to read, got none in",
        (str(folder_of_pictures / "a.png"), "--out-dir", str(tmp_path / "no" / "out")): "expected an existing folder",
    }
    for arguments, expected in refused.items():
        assert main(["compress", *arguments]) == 2
        one_line(capsys, "compress", expected)
    assert not (tmp_path / "out").exists()
