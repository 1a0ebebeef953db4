"""Encode a faceset's pictures, and decode untrusted ones."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from swapper.facesets.faceset_metadata import ImageFormat

MAX_PICTURE_BYTES = 128 << 20
_SETTINGS: dict[str, list[int]] = {
    # 256 px crops of film: level 1 79 kB in 3 ms, level 6 71 kB in 12 ms, level 9 70 kB in 51 ms.
    "png": [cv2.IMWRITE_PNG_COMPRESSION, 1],
    "webp": [cv2.IMWRITE_WEBP_QUALITY, 101],  # above 100: lossless
    "jpg": [
        cv2.IMWRITE_JPEG_QUALITY, 97,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ],
}  # fmt: skip


def encode_picture(image: NDArray[np.uint8], image_format: ImageFormat) -> bytes:
    """Encode `image` (S, S, 3) RGB; png and webp are lossless."""
    good, data = cv2.imencode(
        f".{image_format}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _SETTINGS[image_format]
    )
    assert good, f"OpenCV cannot encode {image_format}"
    return data.tobytes()


def decode_picture(data: bytes, size: int) -> NDArray[np.uint8]:
    """Decode a picture, (size, size, 3) RGB.

    The size in the header is checked before decoding, so that a small file cannot allocate much
    memory.

    Raises:
        ValueError: Damaged, not a picture, or not size × size.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as header:
            claimed = header.size
    except Image.DecompressionBombError as error:
        raise ValueError("claims far too many pixels") from error
    except Exception as error:  # Pillow's readers raise nearly anything on hostile bytes
        raise ValueError("not a PNG, JPEG or WebP picture") from error
    if claimed != (size, size):
        raise ValueError(f"{claimed[0]} x {claimed[1]} pixels instead of {size} x {size}")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError("cannot be decoded") from error
    if image is None or image.shape != (size, size, 3):
        raise ValueError("cannot be decoded")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
