"""Image headers, parsed before decoding.

A small file may claim any size, and decoders fill truncated files with grey; so size and
completeness are checked here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """Type and size of an image file.

    Attributes:
        kind: "png", "jpeg", "webp", "bmp" or "tiff".
        width: Pixels as stored.
        height: Pixels as stored.
        complete: False if the file is certainly truncated or its checksums fail.
    """

    kind: str
    width: int
    height: int
    complete: bool = True


def read_header(data: bytes) -> PictureHeader | None:
    """Parse the header of an image; None if its format is unknown."""
    for start, reader in _READERS:
        if data.startswith(start):
            try:
                return reader(data)
            except (struct.error, IndexError):
                return None
    return None


def _png(data: bytes) -> PictureHeader:
    """ISO/IEC 15948: chunks of length, name, body, CRC-32."""
    width, height = struct.unpack(">II", data[16:24])
    position, complete = 8, False
    while position + 12 <= len(data):
        (length,) = struct.unpack(">I", data[position : position + 4])
        end = position + 12 + length
        if end > len(data):
            break
        (checksum,) = struct.unpack(">I", data[end - 4 : end])
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != checksum:
            break
        if data[position + 4 : position + 8] == b"IEND":
            complete = True
            break
        position = end
    return PictureHeader("png", width, height, complete)


def _jpeg(data: bytes) -> PictureHeader | None:
    """ITU-T T.81: segments up to the first scan, then an end marker, which no scan contains."""
    position, size = 2, None
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        (length,) = struct.unpack(">H", data[position + 2 : position + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = struct.unpack(">HH", data[position + 5 : position + 9])
        if marker == 0xDA:
            break
        position += 2 + length
    if size is None:
        return None
    return PictureHeader("jpeg", size[1], size[0], data.find(b"\xff\xd9", position) > 0)


def _webp(data: bytes) -> PictureHeader | None:
    """RFC 9649."""
    if data[8:12] != b"WEBP":
        return None
    (length,) = struct.unpack("<I", data[4:8])
    complete = 8 + length <= len(data) + 1
    kind, body = data[12:16], data[20:]
    if kind == b"VP8X":
        width = int.from_bytes(body[4:7], "little") + 1
        height = int.from_bytes(body[7:10], "little") + 1
    elif kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", body[6:10]))
    else:
        return None
    return PictureHeader("webp", width, height, complete)


def _bmp(data: bytes) -> PictureHeader:
    (length,) = struct.unpack("<I", data[2:6])
    width, height = struct.unpack("<ii", data[18:26])
    return PictureHeader("bmp", abs(width), abs(height), length <= len(data))


def _tiff(data: bytes) -> PictureHeader | None:
    """TIFF 6.0: the first directory's ImageWidth (256) and ImageLength (257)."""
    order = "<" if data[:2] == b"II" else ">"
    (offset,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[offset : offset + 2])
    dimensions = {}
    for index in range(count):
        entry = data[offset + 2 + 12 * index : offset + 14 + 12 * index]
        tag, kind = struct.unpack(order + "HH", entry[:4])
        if tag in (256, 257):
            dimensions[tag] = struct.unpack(
                order + ("H" if kind == 3 else "I"), entry[8 : 10 if kind == 3 else 12]
            )[0]
    if len(dimensions) < 2:
        return None
    return PictureHeader("tiff", dimensions[256], dimensions[257])


_READERS: tuple[tuple[bytes, Callable[[bytes], PictureHeader | None]], ...] = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8\xff", _jpeg),
    (b"RIFF", _webp),
    (b"BM", _bmp),
    (b"II*\x00", _tiff),
    (b"MM\x00*", _tiff),
)
