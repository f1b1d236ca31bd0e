"""vae_lib.images: loading is verified and explains itself; crops, patches and conversions keep their promises."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from vae_lib import images
from vae_lib.images import DataError

SEVEN_COLOURS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the small sets that a test may damage."""
    source, copy = images.DATA_FOLDER, tmp_path / "data"
    shutil.copytree(source / "photographs" / "test", copy / "photographs" / "test")
    (copy / "fashion_mnist").mkdir()
    for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        shutil.copy(source / "fashion_mnist" / name, copy / "fashion_mnist")
    shutil.copy(source / "SHA256SUMS", copy)
    monkeypatch.setattr(images, "DATA_FOLDER", copy)
    return copy


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [flip_one_bit, truncate, empty, Path.unlink, replace_by_folder])
@pytest.mark.parametrize(
    ("path", "load"),
    [
        ("photographs/test/kleiber.webp", lambda: images.load_photographs("test")),
        ("fashion_mnist/t10k-images-idx3-ubyte.gz", lambda: images.load_fashion_mnist("test")),
        ("fashion_mnist/t10k-labels-idx1-ubyte.gz", lambda: images.load_fashion_mnist("test")),
    ],
)
def test_a_damaged_or_missing_file_is_named_with_what_to_do(
    data_folder: Path, path: str, load: Callable[[], object], damage: Callable[[Path], None]
) -> None:
    checksum = images._checksums()[path][:12]
    damage(data_folder / path)
    with pytest.raises(DataError) as caught:
        load()
    message = str(caught.value)
    assert message.startswith(f"data/{path}: expected") and checksum in message and ", got " in message
    assert f"git checkout -- data/{path}" in message and "python data/prepare.py" in message
    assert "\n" not in message


def test_the_message_of_a_damaged_file_shows_both_checksums(data_folder: Path) -> None:
    empty(data_folder / "photographs/test/friends.webp")
    with pytest.raises(DataError, match=r"expected SHA-256 \w{12}\.\.\., got e3b0c44298fc\.\.\. \(0 bytes\);"):
        images.load_photographs("test")  # e3b0c44298fc...: SHA-256 of nothing


def drop_last_lines(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:6]))


@pytest.mark.parametrize("damage", [drop_last_lines, empty, Path.unlink, lambda path: path.write_bytes(b"\xff\xfe")])
def test_a_damaged_list_of_checksums_never_gives_a_smaller_set(
    data_folder: Path, damage: Callable[[Path], object]
) -> None:
    damage(data_folder / "SHA256SUMS")
    with pytest.raises(DataError, match=r"^data/SHA256SUMS: expected .* got .*git checkout -- data/SHA256SUMS"):
        images.load_photographs("test")


@pytest.mark.parametrize("load", [images.load_fashion_mnist, images.load_photographs])
def test_an_unknown_split_is_refused(load: Callable[[str], object]) -> None:
    with pytest.raises(DataError, match=r"expected a split among train, .*test, got 'tets'"):
        load("tets")


def test_the_sets_load_from_another_folder_and_without_jax(tmp_path: Path) -> None:
    program = (
        "import sys; from vae_lib import images; images.load_photographs('test'); images.load_fashion_mnist('test');"
        "print('jax' in sys.modules, 'matplotlib' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV_")}
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert (result.stdout, result.stderr) == ("False False\n", "")


# EXIF orientation -> what undoes it (CIPA DC-008, tag 0x0112: where the stored first row and column belong)
ORIENTATIONS = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_exif_orientation_is_respected(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(SEVEN_COLOURS).save(path, exif=exif, lossless=True)
    np.testing.assert_array_equal(images.load_image(path), ORIENTATIONS[orientation](SEVEN_COLOURS))


def test_lossless_files_of_every_kind_give_the_same_array(tmp_path: Path) -> None:
    for suffix in ("png", "webp", "bmp", "tiff", "ppm", "jxl"):
        path = tmp_path / f"picture.{suffix}"
        Image.fromarray(SEVEN_COLOURS).save(path, lossless=True)
        np.testing.assert_array_equal(images.load_image(str(path)), SEVEN_COLOURS, err_msg=suffix)


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_and_palette_pictures_become_rgb_without_loss(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(SEVEN_COLOURS).convert(mode)
    picture.save(tmp_path / "picture.png")
    x_uint8 = images.load_image(tmp_path / "picture.png")
    assert x_uint8.shape == (5, 7, 3) and x_uint8.dtype == np.uint8
    np.testing.assert_array_equal(x_uint8, np.asarray(picture.convert("RGB")))


# Ways to say that a pixel is transparent. The first pixel says it if `opacity` is 0, and none if it is 255.


def rgba(path: Path, opacity: int) -> None:
    picture = Image.fromarray(SEVEN_COLOURS).convert("RGBA")
    picture.putpixel((0, 0), (*SEVEN_COLOURS[0, 0].tolist(), opacity))
    picture.save(path, lossless=True)


def grey_and_alpha(path: Path, opacity: int) -> None:
    picture = Image.fromarray(SEVEN_COLOURS[..., :1].repeat(3, axis=-1)).convert("LA")
    picture.putpixel((0, 0), (int(SEVEN_COLOURS[0, 0, 0]), opacity))
    picture.save(path)


def palette_with_an_index(path: Path, opacity: int) -> None:
    picture = Image.fromarray(SEVEN_COLOURS).quantize(35)
    picture.save(path, transparency=picture.getpixel((0, 0)) if opacity == 0 else 200)


def palette_with_a_table(path: Path, opacity: int) -> None:
    picture = Image.fromarray(SEVEN_COLOURS).quantize(35)
    table = bytearray([255] * 35)
    table[picture.getpixel((0, 0))] = opacity
    picture.save(path, transparency=bytes(table))


def a_transparent_colour(path: Path, opacity: int) -> None:
    unused = (1, 2, 3)
    Image.fromarray(SEVEN_COLOURS).save(path, transparency=unused if opacity else tuple(SEVEN_COLOURS[0, 0].tolist()))


TRANSPARENCY = [(rgba, suffix) for suffix in ("png", "tiff", "jxl", "webp")] + [(grey_and_alpha, "png")]
TRANSPARENCY += [(palette_with_an_index, "png"), (palette_with_an_index, "gif"), (palette_with_a_table, "png")]
TRANSPARENCY += [(a_transparent_colour, "png")]


@pytest.mark.parametrize(("save", "suffix"), TRANSPARENCY)
def test_what_shines_through_is_refused_or_gets_a_background_and_opaque_alpha_is_no_transparency(
    tmp_path: Path, save: Callable[[Path, int], None], suffix: str
) -> None:
    path = tmp_path / f"picture.{suffix}"
    save(path, 255)
    opaque = images.load_image(path)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(opaque, np.asarray(picture.convert("RGBA"))[..., :3])
    save(path, 0)
    with pytest.raises(DataError, match=r": expected an opaque picture, got transparency; put it on a background"):
        images.load_image(path)
    x_uint8 = images.load_image(path, background="#ff8000")
    assert x_uint8[0, 0].tolist() == [255, 128, 0]
    np.testing.assert_array_equal(x_uint8[1:], opaque[1:])


def test_half_a_colour_and_half_its_background(tmp_path: Path) -> None:
    Image.new("RGBA", (3, 2), (200, 100, 0, 51)).save(tmp_path / "picture.png")
    assert (images.load_image(tmp_path / "picture.png", background="white") == [244, 224, 204]).all()


EXIF = {
    "garbage": b"Exif\0\0garbage",
    "an offset beyond the end": b"Exif\0\0II*\0\xff\xff\xff\xff",
    "a table cut short": b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12\0\x03",
}


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "avif"])
@pytest.mark.parametrize("exif", EXIF.values(), ids=EXIF)
def test_broken_exif_neither_refuses_a_picture_nor_is_heard_of(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, suffix: str, exif: bytes
) -> None:
    plain, with_exif = tmp_path / f"plain.{suffix}", tmp_path / f"picture.{suffix}"
    Image.fromarray(SEVEN_COLOURS).save(plain, lossless=True)
    try:
        Image.fromarray(SEVEN_COLOURS).save(with_exif, lossless=True, exif=exif)
    except SyntaxError:
        pytest.skip("Pillow's AVIF encoder reads the Exif, and does not write this one")
    recwarn.clear()  # what Pillow said when it wrote the file
    np.testing.assert_array_equal(images.load_image(with_exif), images.load_image(plain))
    assert not recwarn.list


@pytest.mark.parametrize("kind", [b"zTXt", b"tEXt", b"iTXt", b"eXIf", b"tIME"])
def test_broken_chunks_beside_the_pixels_of_a_png_are_passed_over(tmp_path: Path, kind: bytes) -> None:
    png = images.encode_image(SEVEN_COLOURS, "PNG")
    broken = (9).to_bytes(4) + kind + b"\0\0garbage" + b"\0\0\0\0"  # also its checksum
    (tmp_path / "picture.png").write_bytes(png[:33] + broken + png[33:])
    np.testing.assert_array_equal(images.load_image(tmp_path / "picture.png"), SEVEN_COLOURS)


def test_a_png_with_megabytes_of_text_is_a_picture(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "a" * 3_000_000, zip=True)
    Image.fromarray(SEVEN_COLOURS).save(tmp_path / "picture.png", pnginfo=text)
    np.testing.assert_array_equal(images.load_image(tmp_path / "picture.png"), SEVEN_COLOURS)


def display_p3() -> bytes:
    """An ICC profile: that of sRGB with the primaries of Display P3, adapted to D50 (SMPTE EG 432-1)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    primaries = {b"rXYZ": (0.51512, 0.2412, -0.00105), b"gXYZ": (0.29198, 0.69225, 0.04189)}
    primaries[b"bXYZ"] = (0.1571, 0.06657, 0.78407)
    for tag in range(int.from_bytes(profile[128:132])):
        name, at = profile[132 + 12 * tag : 136 + 12 * tag], 132 + 12 * tag + 4
        if (xyz := primaries.get(bytes(name))) is not None:
            start = int.from_bytes(profile[at : at + 4]) + 8
            profile[start : start + 12] = b"".join(round(65536 * v).to_bytes(4, signed=True) for v in xyz)
    return bytes(profile)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "avif"])
def test_colours_of_another_profile_become_srgb(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.new("RGB", (32, 32), (200, 80, 60)).save(path, icc_profile=display_p3(), lossless=True, quality=100)
    x_uint8 = images.load_image(path)
    # Worked out by hand: the transfer function of sRGB, the matrix from P3 to sRGB, and back.
    assert np.abs(x_uint8.astype(int) - [216, 69, 50]).max() <= (1 if suffix in ("png", "tiff", "webp") else 4)


@pytest.mark.parametrize("profile", [b"garbage", bytes(200), None])
def test_srgb_s_own_profile_and_broken_ones_change_nothing(tmp_path: Path, profile: bytes | None) -> None:
    profile = profile or ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for picture in (Image.fromarray(SEVEN_COLOURS), Image.fromarray(SEVEN_COLOURS[..., 0])):
        picture.save(tmp_path / "picture.png", icc_profile=profile)
        np.testing.assert_array_equal(images.load_image(tmp_path / "picture.png"), np.asarray(picture.convert("RGB")))


def test_of_a_jpeg_xl_the_codestream_decides_the_orientation(tmp_path: Path) -> None:
    """In its Exif, an orientation is a remark about the codestream (ISO 18181-1); the decoder has turned it already."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(SEVEN_COLOURS).save(tmp_path / "picture.jxl", lossless=True, exif=exif.tobytes())
    with Image.open(tmp_path / "picture.jxl") as picture:
        decoded = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(images.load_image(tmp_path / "picture.jxl"), decoded)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_of_16_bits_the_upper_8_remain_and_a_line_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, order: str, suffix: str
) -> None:
    levels = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(levels.astype(order)).save(tmp_path / f"picture.{suffix}")
    x_uint8 = images.load_image(tmp_path / f"picture.{suffix}")
    np.testing.assert_array_equal(x_uint8[..., 1], np.arange(256).reshape(16, 16))
    assert caplog.messages == [f"{tmp_path}/picture.{suffix}: 16 bits per channel, of which 8 remain"]


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("F", "tiff"), ("I", "tiff")])
def test_what_rgb_cannot_hold_is_refused(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(DataError, match=f"expected grey or RGB with 8 bits per channel, got Pillow's mode {mode}"):
        images.load_image(path)


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: expected a picture, got no such file$"):
        images.load_image(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(
        DataError, match=r"text\.png: expected a picture that Pillow can read, got a file of another kind$"
    ):
        images.load_image(tmp_path / "text.png")
    with pytest.raises(DataError, match="expected a picture that Pillow can read, got IsADirectoryError"):
        images.load_image(tmp_path)


@pytest.mark.filterwarnings("ignore:Truncated File Read", "ignore:Corrupt EXIF data")  # Pillow's, for TIFF
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "avif", "jxl", "gif", "tiff", "bmp"])
def test_a_truncated_picture_is_one_line_and_never_another_exception(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    Image.fromarray(np.tile(SEVEN_COLOURS, (20, 20, 1))).save(path)
    content = path.read_bytes()
    for keep in (0, 3, 20, 60, len(content) // 2):
        path.write_bytes(content[:keep])
        with pytest.raises(DataError) as caught:
            images.load_image(path)
        assert "\n" not in str(caught.value)


def test_all_grey_levels_survive_the_way_to_float_and_back() -> None:
    x_uint8 = np.arange(256, dtype=np.uint8)
    x = images.to_float(x_uint8)
    assert x.dtype == np.float32 and (x[0], x[-1]) == (0.0, 1.0)
    np.testing.assert_array_equal(images.to_uint8(x), x_uint8)


def test_to_uint8_rounds_to_nearest_half_to_even_and_clips() -> None:
    x = np.array([-0.1, 0.5 / 255, 1.5 / 255, 2.4 / 255, 2.6 / 255, 1.1])
    assert images.to_uint8(x).tolist() == [0, 0, 2, 2, 3, 255]


@example(top=-1, left=0, height=3, width=2)
@example(top=0, left=-1, height=3, width=2)
@example(top=0, left=0, height=-1, width=2)
@example(top=0, left=0, height=3, width=-1)
@example(top=1, left=0, height=6, width=8)
@example(top=0, left=1, height=6, width=8)
@example(top=0, left=0, height=6, width=8)
@given(st.integers(-2, 9), st.integers(-2, 9), st.integers(-2, 9), st.integers(-2, 9))
def test_a_crop_is_a_window_or_an_error(top: int, left: int, height: int, width: int) -> None:
    x = np.arange(6 * 8 * 3).reshape(6, 8, 3)
    fits = min(top, left, height, width) >= 0 and top + height <= 6 and left + width <= 8
    if not fits:
        with pytest.raises(ValueError, match=r"expected a crop inside \(6, 8\), got"):
            images.crop(x, top, left, height, width)
        return
    result = images.crop(x, top, left, height, width)
    assert result.shape == (height, width, 3)
    for row in range(height):
        for column in range(width):
            assert (result[row, column] == x[top + row, left + column]).all()
    np.testing.assert_array_equal(images.crop(np.stack([x, -x]), top, left, height, width)[1], -result)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 3), st.integers(1, 7))
def test_patches_tile_back_to_the_image(height: int, width: int, channels: int, size: int) -> None:
    x = np.arange(height * width * channels).reshape(height, width, channels)
    result = images.patches(x, size)
    rows, columns = height // size, width // size
    assert result.shape == (rows * columns, size, size, channels)
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        np.testing.assert_array_equal(result[index], images.crop(x, row * size, column * size, size, size))


@pytest.mark.parametrize("shape", [(1, 5, 3), (5, 1, 3), (1, 1, 3), (1, 5, 1), (5, 1), (4, 4, 1)])
def test_a_picture_one_pixel_wide_or_high_is_encoded_as_it_is(shape):
    x_uint8 = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    decoded = images.decode_image(images.encode_image(x_uint8, "PNG"))
    assert np.array_equal(decoded, np.broadcast_to(x_uint8.reshape(*shape[:2], -1), (*shape[:2], 3)))
