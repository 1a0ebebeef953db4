"""Pictures: read, written, listed."""

from __future__ import annotations

import resource
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from swapper.errors import MediaError
from swapper.files import sha256_of
from swapper.media.images import (
    is_video,
    list_images,
    read_image,
    write_image,
)
from tests.media.clips import picture
from tests.refusals import refusal_of


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_lossless_formats_give_back_what_they_got(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "deep" / f"a{suffix}"
    write_image(path, picture(0), quality=100)
    np.testing.assert_array_equal(read_image(path), picture(0))
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("quality", [95, 80])
@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_lossy_formats_come_close(tmp_path: Path, suffix: str, quality: int) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, picture(0), quality=quality)
    assert np.abs(read_image(path).astype(int) - picture(0)).mean() < (3 if quality > 90 else 6)


def test_grey_alpha_and_deep_pictures_become_rgb(tmp_path: Path) -> None:
    grey = picture(0)[..., 0]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "deep.png"), picture(0)[..., ::-1].astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "alpha.png"), np.dstack([picture(0)[..., ::-1], grey]))
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.dstack([grey] * 3))
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), picture(0))
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), picture(0))


@pytest.mark.parametrize(
    ("tag", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)]
)  # TIFF/EXIF orientation, quarter turns counter-clockwise
def test_exif_orientation_is_applied(tmp_path: Path, tag: int, turns: int) -> None:
    path = tmp_path / "a.jpg"
    write_image(path, picture(0), quality=100)
    data = path.read_bytes()
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08" + struct.pack(
        ">HHHIHHI", 1, 0x0112, 3, 1, tag, 0, 0
    )
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    error = read_image(path).astype(int) - np.rot90(picture(0), turns)
    assert np.abs(error).mean() < 2


def refused(path: Path) -> str:
    message = refusal_of(MediaError, read_image, path)
    assert str(path) in message
    return message


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
@pytest.mark.parametrize("share", [0.95, 0.5])
def test_cut_pictures_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, picture(0))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    message = refused(path)  # of a WebP nothing can be read before it is whole
    assert "damaged or cut off" in message or (suffix == ".webp" and "not a picture" in message)


def test_a_flipped_byte_in_a_png_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, picture(0))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    assert "damaged" in refused(path)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    (tmp_path / "empty.jpg").touch()
    assert "not a picture" in refused(tmp_path / "a.png")
    assert "not a picture" in refused(tmp_path / "empty.jpg")
    assert "no such file" in refused(tmp_path / "nowhere.png")
    assert "is a folder" in refused(tmp_path)


def bomb(kind: str) -> bytes:
    """A few bytes that claim 60000 x 60000 pixels."""
    side = 60000
    if kind == "png":
        body = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        return (
            b"\x89PNG\r\n\x1a\n"
            + struct.pack(">I", 13)
            + body
            + struct.pack(">I", zlib.crc32(body))
        )
    if kind == "jpeg":
        return b"\xff\xd8\xff\xc0\x00\x11\x08" + struct.pack(">HH", side, side) + b"\x00" * 12
    if kind == "bmp":
        return b"BM" + struct.pack("<IIIIii", 54, 0, 54, 40, side, -side) + b"\x00" * 28
    if kind == "tiff":
        entries = struct.pack("<HHHIIHHII", 2, 256, 4, 1, side, 257, 4, 1, side)
        return b"II*\x00\x08\x00\x00\x00" + entries
    return (
        b"RIFF\x16\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00"
        + b"\x00" * 4
        + ((side - 1).to_bytes(3, "little") * 2)
    )


def test_absurd_sizes_are_refused_before_decoding(tmp_path: Path) -> None:
    # Real ones, small as files: black, which compresses a thousandfold.
    side = 12_000
    path = tmp_path / "a.png"
    Image.new("L", (side, side)).save(path)
    assert path.stat().st_size < 1 << 20
    assert "more than 100000000 pixels" in refused(path)
    Image.new("1", (2 * side, side)).save(path)  # so large that Pillow itself objects
    assert "more than 100000000 pixels" in refused(path)


def test_broken_headers_are_no_pictures(tmp_path: Path) -> None:
    for kind in ("png", "jpeg", "bmp", "tiff", "webp"):
        data = bomb(kind)
        for length in range(1, len(data)):
            (tmp_path / "a.png").write_bytes(data[:length])
            refused(tmp_path / "a.png")


def test_writing_is_atomic(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, picture(0))
    before = path.read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(MediaError, match="cannot be written"):
            write_image(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.png"]


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"'\.xyz'.*\.png"):
        write_image(tmp_path / "a.xyz", picture(0))
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", picture(0).astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="quality"):
        write_image(tmp_path / "a.png", picture(0), quality=0)
    (tmp_path / "file").touch()
    with pytest.raises(MediaError, match="cannot be written"):
        write_image(tmp_path / "file" / "a.png", picture(0))


def test_natural_order_of_folders_and_globs(tmp_path: Path) -> None:
    for name in ("b10.png", "b2.png", "B1.jpg", "a.webp", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b3.png").touch()
    expected = ["a.webp", "B1.jpg", "b2.png", "b10.png"]
    assert [path.name for path in list_images(tmp_path)] == expected
    assert [path.name for path in list_images(f"{tmp_path}/b*.png")] == ["b2.png", "b10.png"]
    everywhere = [path.name for path in list_images(f"{tmp_path}/**/b*.png")]
    assert sorted(everywhere) == ["b10.png", "b2.png", "b3.png"]
    with pytest.raises(MediaError, match="no picture"):
        list_images(f"{tmp_path}/z*.png")
    odd = tmp_path / "odd [1].png"
    odd.touch()
    assert list_images(odd) == [odd]


def test_videos_by_name_and_hashes(tmp_path: Path) -> None:
    assert is_video("a.MP4")
    assert not is_video("a.png")
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "a").startswith("ba7816bf8f01cfea")
    with pytest.raises(MediaError, match="cannot be read"):
        sha256_of(tmp_path / "b")
