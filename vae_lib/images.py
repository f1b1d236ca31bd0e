"""Images as arrays: the bundled sets, any picture file, crops and patches; built in notebook 00.

Every bundled file is compared with `data/SHA256SUMS` each time it is read: a result in bits is worth nothing if it was
measured on other pixels.
"""

import gzip
import hashlib
import io
import logging
import warnings
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import pillow_jxl  # noqa: F401  (importing it teaches Pillow to open JPEG XL)
from PIL import Image, ImageCms, ImageColor, ImageOps

# data/ lies beside this package, so the sets load from any working directory.
DATA_FOLDER = Path(__file__).resolve().parent.parent / "data"

# Labels 0 to 9. Source: Xiao, Rasul and Vollgraf (2017), "Fashion-MNIST", arXiv:1708.07747, table 2.
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

# How many photographs each split holds; data/README.md says which and why.
PHOTOGRAPHS = {"train": 17, "validation": 3, "test": 7}


class DataError(Exception):
    """A picture or data file is missing, damaged or of a kind that the course cannot use; the message is one line."""


def load_fashion_mnist(split: Literal["train", "test"]) -> tuple[np.ndarray, np.ndarray]:
    """Load Fashion-MNIST.

    Args:
      split: "train" (60,000 images) or "test" (the official 10,000).

    Returns:
      x_uint8: (n, 28, 28, 1) uint8 grey levels, 0 is the background.
      labels: (n,) uint8, indices into `FASHION_CLASSES`.

    Raises:
      DataError: a file is missing or differs from its checksum.

    Source: Xiao, Rasul and Vollgraf (2017), arXiv:1708.07747; the file format is MNIST's IDX: a header of 16 bytes
      (8 for labels), then the raw bytes.
    """
    _check_split(split, ("train", "test"))
    prefix = {"train": "train", "test": "t10k"}[split]
    images = gzip.decompress(_read_verified(f"fashion_mnist/{prefix}-images-idx3-ubyte.gz"))
    labels = gzip.decompress(_read_verified(f"fashion_mnist/{prefix}-labels-idx1-ubyte.gz"))
    x_uint8 = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28, 1)
    return x_uint8.copy(), np.frombuffer(labels, np.uint8, offset=8).copy()  # copies, because a buffer is read-only


def load_photographs(split: Literal["train", "validation", "test"]) -> dict[str, np.ndarray]:
    """Load the bundled photographs of one split.

    Args:
      split: "train" (17 photographs, most 1152x768), "validation" (3) or "test" (7, 768x512 or 512x768).

    Returns:
      {name: (height, width, 3) uint8 RGB}, sorted by name.

    Raises:
      DataError: a file is missing or differs from its checksum.
    """
    _check_split(split, tuple(PHOTOGRAPHS))
    paths = sorted(path for path in _checksums() if path.startswith(f"photographs/{split}/"))
    if len(paths) != PHOTOGRAPHS[split]:  # a checksum list that lost lines must not make a smaller set
        raise _data_error("SHA256SUMS", f"{PHOTOGRAPHS[split]} {split} photographs", f"{len(paths)}")
    return {Path(path).stem: np.array(Image.open(io.BytesIO(_read_verified(path)))) for path in paths}


def load_image(source: str | Path | BinaryIO, background: str | None = None) -> np.ndarray:
    """Load a picture of any format that Pillow or JPEG XL's plugin reads; of an animation, the first frame.

    The picture is turned as its orientation says, and its colours are converted to sRGB where a profile says that they
    are others. Grey and palette pictures become RGB, which loses nothing; of 16 bits per channel 8 remain, and a line
    on stderr says so. Other metadata has no influence, however broken.

    Args:
      source: a file's name, or a file open for reading bytes.
      background: what lies behind a picture with transparency: a colour such as "white" or "#ff8000".

    Returns:
      (height, width, 3) uint8 RGB.

    Raises:
      DataError: no such file, not a picture, damaged, or of a kind that RGB cannot hold: transparency without a
        background, CMYK, floats, more than 89 megapixels.
    """
    name = str(source) if isinstance(source, (str, Path)) else "standard input"
    try:
        content = Path(source).read_bytes() if isinstance(source, (str, Path)) else source.read()
        with warnings.catch_warnings(action="ignore"):
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # no more than Pillow's 89 megapixels
            picture = _read_picture(content)
            profile, upright = picture.info.get("icc_profile"), _upright(picture)
    except FileNotFoundError:
        raise DataError(f"{name}: expected a picture, got no such file") from None
    except Exception as error:  # Pillow's many readers raise as many kinds of exception on damaged input
        reason = "a file of another kind" if isinstance(error, Image.UnidentifiedImageError) else repr(error)
        raise DataError(f"{name}: expected a picture that Pillow can read, got {reason}") from None
    sixteen = upright.mode.startswith("I;16")
    if sixteen or (picture.format == "PNG" and content[24] == 16):  # the bit depth of its header
        logging.getLogger(__name__).warning("%s: 16 bits per channel, of which 8 remain", name)
    if sixteen:
        opacity = 255 * (np.asarray(upright) != upright.info.get("transparency", -1)).astype(np.uint8)
        upright = Image.fromarray(np.rint(np.asarray(upright) / 257).astype(np.uint8))
    elif upright.mode not in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "YCbCr"):
        raise DataError(f"{name}: expected grey or RGB with 8 bits per channel, got Pillow's mode {upright.mode}")
    elif upright.has_transparency_data:
        opacity = np.asarray(upright.convert("RGBA").getchannel("A"))
        upright = upright.convert("LA" if upright.mode in ("L", "LA", "La") else "RGBA")
    else:
        opacity = np.array([[255]])
    x_uint8 = _to_srgb(upright.convert("L" if upright.mode in ("1", "L", "LA") else "RGB"), profile)
    if opacity.min() == 255:
        return x_uint8
    if background is None:
        raise DataError(f"{name}: expected an opaque picture, got transparency; put it on a background first")
    behind, share = ImageColor.getcolor(background, "RGB"), opacity[..., None] / 255
    return np.rint(share * x_uint8 + (1 - share) * np.array(behind)).astype(np.uint8)


def _read_picture(content: bytes) -> Image.Image:
    """The first frame; of a PNG that cannot be read as a whole, what its critical chunks say of it."""
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
    except (SyntaxError, ValueError, OSError):
        if content[:4] != b"\x89PNG":
            raise
        picture = Image.open(io.BytesIO(_critical_chunks(content)))
        picture.load()
    return picture


def _critical_chunks(content: bytes) -> bytes:
    """A PNG without text, time and Exif, which say nothing of its pixels."""
    kept, at = content[:8], 8
    while at + 12 <= len(content):
        size, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP"):
            kept += content[at : at + 12 + size]
        at += 12 + size
    return kept


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as Exif says; JPEG XL's decoder has turned it already (ISO 18181-1: the codestream decides)."""
    try:
        return picture if picture.format == "JXL" else ImageOps.exif_transpose(picture)
    except Exception:  # as many kinds as there are broken ways to write Exif
        return picture


def _to_srgb(picture: Image.Image, profile: bytes | None) -> np.ndarray:
    """RGB in sRGB of a grey or RGB picture with that ICC profile, which may be none, broken, or sRGB's own."""
    plain = np.array(picture.convert("RGB"))
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), picture.mode, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):  # also a profile of other kinds of colours
        return plain
    levels = np.arange(0, 256, 17).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(64, 64, 3)
    probe = Image.fromarray(grid[..., 0] if picture.mode == "L" else grid)
    change = np.array(ImageCms.applyTransform(probe, transform), int) - np.array(probe.convert("RGB"))
    if np.abs(change).max() <= 1:
        return plain  # sRGB, but for rounding
    x_uint8 = np.array(ImageCms.applyTransform(picture, transform))
    return x_uint8[..., 1:2].repeat(3, axis=-1) if picture.mode == "L" else x_uint8


def load_grey_folder(folder: str | Path) -> np.ndarray:
    """Load all picture files of a folder, grey and of one size, in the order of their names.

    Returns:
      (n, height, width, 1) uint8.

    Raises:
      DataError: no such folder, no files in it, one that is no picture, has colours or another size than the first.
    """
    if not Path(folder).is_dir():
        raise DataError(f"{folder}: expected a folder of pictures, got none")
    paths = sorted(path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise DataError(f"{folder}: expected pictures, got an empty folder")
    images: list[np.ndarray] = []
    for path in paths:
        x_uint8 = load_image(path)
        if (x_uint8 != x_uint8[..., :1]).any():
            raise DataError(f"{path}: expected a grey picture, got colours")
        if images and x_uint8.shape[:2] != images[0].shape[:2]:
            raise DataError(f"{path}: expected {images[0].shape[:2]} pixels as before, got {x_uint8.shape[:2]}")
        images.append(x_uint8[..., :1])
    return np.stack(images)


def encode_image(x_uint8: np.ndarray, format: str, **options) -> bytes:
    """The bytes of an image file in one of Pillow's formats; options as in Pillow's documentation.

    Args:
      x_uint8: (height, width, 3) RGB, or (height, width) or (height, width, 1) grey.
      format: "PNG", "JPEG", "WebP", "AVIF", "JXL", ...
    """
    file = io.BytesIO()
    Image.fromarray(x_uint8[..., 0] if x_uint8.shape[2:] == (1,) else x_uint8).save(file, format, **options)
    return file.getvalue()


def decode_image(data: bytes) -> np.ndarray:
    """The pixels (height, width, 3) uint8 of an image file."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def to_float(x_uint8: np.ndarray) -> np.ndarray:
    """Map uint8 grey levels 0..255 to float32 in [0, 1]; any shape."""
    return x_uint8.astype(np.float32) / 255


def to_uint8(x: np.ndarray) -> np.ndarray:
    """Map floats in [0, 1] to the nearest uint8 grey level (a half to the even one); what lies outside is clipped."""
    return np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8)


def crop(x: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """Cut a window out of an image or a batch of them: (..., h, w, channels) -> (..., height, width, channels).

    Raises:
      ValueError: the window does not lie inside (slicing alone would return a smaller one, without a word).
    """
    if not (0 <= top <= top + height <= x.shape[-3] and 0 <= left <= left + width <= x.shape[-2]):
        raise ValueError(f"expected a crop inside {x.shape[-3:-1]}, got {height}x{width} at ({top}, {left})")
    return x[..., top : top + height, left : left + width, :]


def patches(x: np.ndarray, size: int) -> np.ndarray:
    """Cut an image into squares, row by row; what is left over at the right and the bottom is dropped.

    Args:
      x: (height, width, channels).
      size: side of a patch, in pixels.

    Returns:
      (n, size, size, channels) with n = (height // size) * (width // size).
    """
    rows, columns, channels = x.shape[0] // size, x.shape[1] // size, x.shape[2]
    grid = x[: rows * size, : columns * size].reshape(rows, size, columns, size, channels)
    return grid.swapaxes(1, 2).reshape(rows * columns, size, size, channels)


def _check_split(split: str, splits: tuple[str, ...]) -> None:
    if split not in splits:
        raise DataError(f"expected a split among {', '.join(splits)}, got {split!r}")


def _checksums() -> dict[str, str]:
    """{path relative to data/: SHA-256} as listed in data/SHA256SUMS."""
    try:
        lines = (DATA_FOLDER / "SHA256SUMS").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        raise _data_error("SHA256SUMS", f"the list of checksums in {DATA_FOLDER}", "no readable file") from None
    return {path: digest for digest, _, path in (line.partition("  ") for line in lines)}


def _read_verified(path: str) -> bytes:
    """The bytes of data/`path`, once they have been seen to match their checksum."""
    expected = _checksums().get(path)
    if expected is None:
        raise _data_error("SHA256SUMS", f"a checksum for {path}", "none")
    try:
        content = (DATA_FOLDER / path).read_bytes()
    except OSError as error:
        raise _data_error(path, f"a file with SHA-256 {expected[:12]}...", f"'{error.strerror}'") from None
    actual = hashlib.sha256(content).hexdigest()
    if actual != expected:
        raise _data_error(path, f"SHA-256 {expected[:12]}...", f"{actual[:12]}... ({len(content):,} bytes)")
    return content


def _data_error(path: str, expected: str, got: str) -> DataError:
    repair = f"in the course's folder run `git checkout -- data/{path}` or `python data/prepare.py`"
    return DataError(f"data/{path}: expected {expected}, got {got}; {repair}")
