"""Reading and writing of images as RGB uint8."""

from __future__ import annotations

import glob
import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from swapper.errors import MediaError
from swapper.files import write_atomically

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"),
    *(".mxf", ".wmv", ".flv", ".3gp", ".ogv", ".gif", ".y4m"),
)
MAX_PIXELS = 100_000_000
"""Largest image that is decoded."""
_MAX_BYTES = 1 << 30
_ORIENTATION = 274  # EXIF's tag
_TURNS: Final[dict[int, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.swapaxes(stored, 0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.swapaxes(np.rot90(stored, 2), 0, 1),
    8: np.rot90,
}
"""What makes an image upright, by its orientation."""
_WITH_ALPHA = (".png", ".webp", ".tif", ".tiff")
_DEEP = (".png", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_DAMAGED = "is damaged or cut off; copy it again or leave it out"


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read an image and apply its EXIF orientation.

    Returns:
        (H, W, 3) uint8 RGB; files with more bits are scaled to 8, transparency is dropped.

    Raises:
        MediaError: Missing, not an image, damaged, or above `MAX_PIXELS`.
    """
    path = Path(path)
    data = _bytes_of(path)
    _check(path, data)
    try:
        bgr = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        bgr = None
    if bgr is None:
        raise MediaError(f"{path}: {_DAMAGED}")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


class Plate(NamedTuple):
    """An image with all that its file holds.

    Attributes:
        image: (H, W, 3) uint8 RGB, as of `read_image`.
        deep: The same as float32 in [0, 255]; None if the file has 8 bits.
        alpha: (H, W) uint8 or uint16; None without.
    """

    image: NDArray[np.uint8]
    deep: NDArray[np.float32] | None
    alpha: NDArray[Any] | None


def read_plate(path: str | Path) -> Plate:
    """Read an image with all its bits and its alpha channel; raises as `read_image`."""
    image = read_image(path)
    data = _bytes_of(Path(path))
    stored: NDArray[Any] = np.asarray(
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    )
    if stored.dtype not in (np.uint8, np.uint16):
        return Plate(image, None, None)
    with Image.open(io.BytesIO(data), formats=_FORMATS) as header:
        turn = _TURNS.get(header.getexif().get(_ORIENTATION, 1), np.asarray)
        flat = header.format == "TIFF" and header.mode == "RGBA" and stored.dtype == np.uint8
        if flat:  # OpenCV premultiplies these
            straight = turn(np.asarray(header))
            return Plate(np.ascontiguousarray(straight[..., :3]), None, straight[..., 3])
    stored = turn(stored)  # unlike `read_image` this read ignores EXIF's orientation
    alpha = stored[..., 3] if stored.ndim == 3 and stored.shape[2] == 4 else None
    if stored.dtype == np.uint8:
        return Plate(image, None, alpha)
    colour = np.repeat(stored[..., None], 3, axis=2) if stored.ndim == 2 else stored[..., 2::-1]
    return Plate(image, colour.astype(np.float32) / np.float32(257), alpha)


def _check(path: Path, data: bytes) -> None:
    """Refuse what is no image, too large, or breaks off; OpenCV draws grey where a file breaks off.

    Raises:
        MediaError: As `read_image`.
    """
    too_large = MediaError(f"{path}: has more than {MAX_PIXELS} pixels; scale it down first")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise too_large from error
    except Exception as error:  # its readers raise whatever a foreign header makes them stumble on
        kinds = ", ".join(IMAGE_SUFFIXES)
        raise MediaError(f"{path}: not a picture that can be read; pass one of {kinds}") from error
    if image.width * image.height > MAX_PIXELS:
        raise too_large
    try:
        image.load()
    except Exception as error:  # likewise
        raise MediaError(f"{path}: {_DAMAGED}") from error


def write_image(
    path: str | Path, image: NDArray[np.unsignedinteger[Any]], quality: int = 95
) -> None:
    """Write an image atomically; creates its folder.

    Args:
        path: The suffix names the format.
        image: (H, W, 3) RGB or (H, W, 4) RGBA, uint8 or uint16; formats without room for alpha or
            more than 8 bits drop them.
        quality: 1 to 100, for JPEG and WebP (100 is lossless WebP).

    Raises:
        MediaError: Unknown suffix, or the file cannot be written.
        ValueError: `image` or `quality` is not as described.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise MediaError(
            f"{path}: unknown suffix {suffix!r}; use one of {', '.join(IMAGE_SUFFIXES)}"
        )
    shaped = image.ndim == 3 and image.shape[2] in (3, 4)
    if not shaped or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"image must be (H, W, 3 or 4) uint8 or uint16, got {image.shape} {image.dtype}"
        )
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must be 1 to 100, got {quality}")
    options: list[int] = []
    if suffix in (".jpg", ".jpeg"):
        # Chroma subsampling blurs lips; used only for small files.
        full, halved = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
        sampling = full if quality >= 90 else halved
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    elif suffix == ".webp":
        options = [cv2.IMWRITE_WEBP_QUALITY, quality + (quality == 100)]
    if image.shape[2] == 4 and suffix not in _WITH_ALPHA:
        image = image[..., :3]
    if image.dtype == np.uint16 and suffix not in _DEEP:
        image = np.rint(image / 257).astype(np.uint8)
    order = cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    coded, data = cv2.imencode(suffix, cv2.cvtColor(image, order), options)
    if not coded:
        raise MediaError(f"{path}: {image.shape[1]} x {image.shape[0]} is too large for {suffix}")
    write_atomically(path, data.tobytes())


def list_images(spec: str | Path) -> list[Path]:
    """List the images of a folder or glob in natural order: 2 before 10.

    Args:
        spec: A folder (not recursive), a glob (``**`` is recursive), or one image.

    Raises:
        MediaError: There are none.
    """
    path = Path(spec)
    if path.is_dir():
        paths = list(path.iterdir())
    elif path.exists():
        paths = [path]
    else:
        paths = [Path(name) for name in glob.glob(str(spec), recursive=True)]  # noqa: PTH207
    images = [
        each
        for each in paths
        if each.suffix.lower() in IMAGE_SUFFIXES and each.name[0] != "." and each.is_file()
    ]
    if not images:
        kinds = ", ".join(IMAGE_SUFFIXES)
        raise MediaError(f"{spec}: holds or matches no picture ({kinds}); check the path")
    return sorted(images, key=natural_key)


def is_video(path: str | Path) -> bool:
    """Return whether a file has a video suffix."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def natural_key(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts 2 before 10; ties are sorted by the name."""
    parts = re.split(r"(\d+)", str(path).casefold())
    key = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
    return [*key, (2, 0, str(path))]


def _bytes_of(path: Path) -> bytes:
    if path.is_dir():
        raise MediaError(f"{path}: is a folder; pass a picture")
    if not path.is_file():
        raise MediaError(f"{path}: no such file; check the path")
    if path.stat().st_size > _MAX_BYTES:
        raise MediaError(f"{path}: has more than {_MAX_BYTES} bytes; scale it down first")
    try:
        return path.read_bytes()
    except OSError as error:
        raise MediaError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from error
