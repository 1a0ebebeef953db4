"""Depth and alpha: what the plate holds is in the output, outside a swap and inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from swapper.faces.compositing import composite
from swapper.media.images import read_plate
from swapper.media.sink import open_sink
from swapper.media.source import open_footage
from swapper.media.video_reader import VideoReader
from swapper.media.video_writer import VideoWriter
from tests.faces.test_compositing import disc, similarity
from tests.media.clips import HEIGHT, WIDTH, decoded, planes, write_clip
from tests.media.test_video import copy

IDENTITY = similarity(1, 0, 16, 0)
"""Puts the middle of a 64 px crop into a 96 x 64 px frame."""


def stored(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Noise that uses all bits."""
    top = np.iinfo(dtype).max
    return np.random.default_rng(0).integers(0, top, shape, dtype=dtype, endpoint=True)


def swapped(frame: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The frame with a grey disc in it, as conversion makes it."""
    picture = frame.image if frame.deep is None else frame.deep
    grey = np.full((64, 64, 3), 0.4321, np.float32)
    return composite(picture, grey, disc(), np.linalg.inv(np.vstack([IDENTITY, [0, 0, 1]]))[:2])


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_pictures_keep_their_depth_and_alpha(
    tmp_path: Path, channels: int, dtype: Any, suffix: str
) -> None:
    (tmp_path / "in").mkdir()
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    before = stored(shape, dtype)
    cv2.imwrite(str(tmp_path / f"in/1{suffix}"), before)
    footage = open_footage(tmp_path / "in")
    with open_sink(tmp_path / "out", footage) as sink:
        for frame in footage:
            picture, changed = swapped(frame)
            sink.write(frame, picture, changed)
    after = cv2.imread(str(tmp_path / "out/1.png"), cv2.IMREAD_UNCHANGED)
    assert after is not None
    assert after.dtype == dtype
    assert after.shape == (HEIGHT, WIDTH, max(3, channels))
    assert changed.any()
    expected = np.repeat(before[..., None], 3, axis=2) if channels == 1 else before
    np.testing.assert_array_equal(after[~changed], expected[~changed])
    if channels == 4:
        np.testing.assert_array_equal(after[..., 3], before[..., 3])
    middle = after[HEIGHT // 2, WIDTH // 2, :3]
    np.testing.assert_allclose(middle, 0.4321 * np.iinfo(dtype).max, atol=1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("suffix", "dtype"), [(".png", np.uint16), (".png", np.uint8), (".webp", np.uint8)]
)
def test_depth_and_alpha_are_upright_as_the_picture_is(
    tmp_path: Path, orientation: int, suffix: str, dtype: Any
) -> None:
    """OpenCV turns what it reads as a picture, and nothing else."""
    pixels = np.zeros((8, 16, 4), np.uint8)
    pixels[:2, :4] = (200, 100, 50, 255)
    pixels[4:, 8:] = (20, 200, 250, 130)
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"in{suffix}"
    Image.fromarray(pixels).save(
        path, exif=exif, **({"lossless": True, "exact": True} if suffix == ".webp" else {})
    )
    if dtype == np.uint16:
        coded = cv2.imencode(".png", pixels[..., [2, 1, 0, 3]].astype(np.uint16) * 257)[1].tobytes()
        mark = path.read_bytes()
        at = mark.index(b"eXIf") - 4
        chunk = mark[at : at + 12 + int.from_bytes(mark[at : at + 4], "big")]
        path.write_bytes(coded[:33] + chunk + coded[33:])  # after IHDR
    image, deep, alpha = read_plate(path)
    assert alpha is not None
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGBA"))
    np.testing.assert_array_equal(image, upright[..., :3])
    np.testing.assert_array_equal(
        np.rint(alpha / (257 if dtype == np.uint16 else 1)), upright[..., 3]
    )
    assert (deep is not None) == (dtype == np.uint16)
    if deep is not None:
        np.testing.assert_allclose(deep, image, atol=0.6)


def test_a_transparent_tiff_keeps_its_colours(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), (200, 0, 0, 100), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.tif")
    plate = read_plate(tmp_path / "in.tif")
    np.testing.assert_array_equal(plate.image, pixels[..., :3])
    assert plate.alpha is not None
    np.testing.assert_array_equal(plate.alpha, pixels[..., 3])


def test_a_picture_without_a_face_is_written_bit_by_bit(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    before = stored((HEIGHT, WIDTH, 4), np.uint16)
    cv2.imwrite(str(tmp_path / "in/1.png"), before)
    footage = open_footage(tmp_path / "in")
    with open_sink(tmp_path / "out", footage) as sink:
        for frame in footage:
            sink.write(frame)
    after = cv2.imread(str(tmp_path / "out/1.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(after, before)


def test_a_swap_has_the_depth_of_a_ten_bit_clip(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mkv", codec="ffv1", pix_fmt="yuv444p10le", options={"level": "3"})
    reader = VideoReader(tmp_path / "in.mkv")
    ramp = np.linspace(100, 110, WIDTH, dtype=np.float32)
    with VideoWriter(tmp_path / "out.mkv", reader, codec="ffv1") as writer:
        for frame in reader:
            assert frame.deep is not None
            assert np.abs(frame.deep - frame.image).max() < 1.1
            writer.write(frame, np.broadcast_to(ramp[None, :, None], frame.deep.shape).copy())
    luma = planes(decoded(tmp_path / "out.mkv")[0])[0][0]
    assert len(np.unique(luma)) > 25  # in eight bits they were nine steps


@pytest.mark.parametrize(
    "pix_fmt", ["yuv420p10le", "yuv422p10le", "yuv444p12le", "gbrp10le", "gbrp16le"]
)
@pytest.mark.parametrize("matrix", [1, 9])
def test_deep_pictures_are_the_ordinary_ones(tmp_path: Path, pix_fmt: str, matrix: int) -> None:
    tags = None if pix_fmt.startswith("gbr") else (matrix, 1, 1, 1)
    options = {"level": "3"}
    write_clip(tmp_path / "in.mkv", codec="ffv1", pix_fmt=pix_fmt, options=options, tags=tags)
    for frame in VideoReader(tmp_path / "in.mkv"):
        assert frame.deep is not None
        error = frame.deep - frame.image
        assert np.abs(error).max() <= 1
        # Of RGB libswscale cuts the bits that eight do not hold; of YUV it rounds.
        assert np.abs(error.mean(axis=(0, 1))).max() < (0.1 if tags else 0.6)


@pytest.mark.parametrize(("suffix", "codec"), [(".mov", "prores"), (".mkv", "ffv1")])
def test_alpha_is_kept_by_auto(tmp_path: Path, suffix: str, codec: str) -> None:
    path = tmp_path / "in.mov"
    write_clip(
        path, codec="prores_ks", pix_fmt="yuva444p10le", options={"profile": "4"}, frames=3,
        noise=True,
    )  # fmt: skip
    assert "yuva444p" in VideoReader(path).coded.pix_fmt
    copy(path, tmp_path / f"out{suffix}", crf=16)
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        assert container.streams.video[0].codec_context.name == codec
    for old, new in zip(decoded(path), decoded(tmp_path / f"out{suffix}"), strict=True):
        assert new.format.name.startswith("yuva444p")
        was, is_ = planes(old)[3], planes(new)[3]
        assert np.ptp(was) > 100
        np.testing.assert_allclose(is_ / is_.max(), was / was.max(), atol=0.01)


def test_alpha_that_is_dropped_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "in.mov"
    write_clip(path, codec="prores_ks", pix_fmt="yuva444p10le", options={"profile": "4"}, frames=2)
    copy(path, tmp_path / "out.mp4", crf=16)
    assert "out.mp4: hevc drops the alpha channel" in caplog.text
