from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from swapper.errors import MediaError
from swapper.media.clip_writer import ClipWriter, read_masks
from swapper.media.colorspace import Colour
from swapper.media.video_reader import VideoReader
from tests.media.clips import has_sound

RNG = np.random.default_rng(0)


def smooth(frames: int, width: int, height: int) -> list[np.ndarray]:
    """Pictures whose chroma survives subsampling."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return [
        np.stack([x * 200 + 20, y * 200 + 20, np.full_like(x, 40 + 10 * t)], axis=-1).astype(
            np.uint8
        )
        for t in range(frames)
    ]


def write(path: Path, images: list[np.ndarray], fps: float = 25, **settings: int) -> Path:
    height, width = images[0].shape[:2]
    with ClipWriter(path, (width, height), fps, **settings) as clip:
        for image in images:
            clip.write(image)
    return path


def test_pictures_come_back_in_bt709(tmp_path: Path) -> None:
    images = smooth(7, 96, 64)
    reader = VideoReader(write(tmp_path / "new" / "a.mp4", images, crf=4))
    info = reader.info
    assert (info.width, info.height, info.rate, info.num_frames) == (96, 64, 25, 7)
    assert (info.pix_fmt, reader.coded.colour) == ("yuv420p", Colour("bt709", full_range=False))
    assert not has_sound(reader.path)
    assert reader.coded.tags == (1, 1, 1, 1)
    for frame, image in zip(reader, images, strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 1.5


@pytest.mark.parametrize("fps", [1, 12.5, 23.976, 24000 / 1001, 30, 50, 120])
def test_any_rate_is_kept(tmp_path: Path, fps: float) -> None:
    reader = VideoReader(write(tmp_path / "a.mp4", smooth(9, 64, 64), fps))
    assert float(reader.info.rate) == pytest.approx(fps, rel=1e-4)
    times = [frame.time for frame in reader]
    np.testing.assert_allclose(times, np.arange(9) / fps, atol=2e-3)


def test_crf_0_is_lossless_but_for_colour_conversion(tmp_path: Path) -> None:
    grey = [np.repeat(RNG.integers(16, 235, (32, 32, 1), np.uint8), 3, axis=2) for _ in range(3)]
    for frame, image in zip(VideoReader(write(tmp_path / "a.mp4", grey, crf=0)), grey, strict=True):
        assert np.abs(frame.image.astype(int) - image).max() <= 1


@pytest.mark.parametrize("shape", [(33, 47), (64, 64), (1, 1)])
def test_masks_come_back_to_the_bit(tmp_path: Path, shape: tuple[int, int]) -> None:
    masks = [RNG.integers(0, 256, shape, np.uint8) for _ in range(5)]
    masks[0].flat[:] = 0
    masks[1].flat[:] = 255
    path = write(tmp_path / "a.mkv", masks)
    for found, mask in zip(read_masks(path), masks, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(np.rint(found * 255).astype(np.uint8), mask)


def test_the_same_pictures_give_the_same_frames(tmp_path: Path) -> None:
    images = smooth(5, 64, 64)
    first, second = (write(tmp_path / name, images) for name in ("a.mp4", "b.mp4"))
    for one, two in zip(VideoReader(first), VideoReader(second), strict=True):
        np.testing.assert_array_equal(one.image, two.image)


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", smooth(2, 64, 64))
    before = path.read_bytes()
    with pytest.raises(RuntimeError), ClipWriter(path, (64, 64), 25) as clip:  # noqa: PT012
        clip.write(smooth(1, 64, 64)[0])
        raise RuntimeError
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_no_frames_is_an_error_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no frame"), ClipWriter(tmp_path / "a.mp4", (64, 64), 25):
        pass
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_is_named(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises(MediaError, match="cannot be written"):
        write(blocked / "a.mp4", smooth(1, 64, 64))
    with pytest.raises(MediaError, match=r"\.mp4 .*\.mkv"):
        ClipWriter(tmp_path / "a.avi", (64, 64), 25)
    with pytest.raises(MediaError, match="crf 60"):
        ClipWriter(tmp_path / "a.mp4", (64, 64), 25, crf=60)
    with pytest.raises(ValueError, match="even"):
        ClipWriter(tmp_path / "a.mp4", (63, 64), 25)


def test_other_shapes_are_refused(tmp_path: Path) -> None:
    writer = ClipWriter(tmp_path / "a.mp4", (64, 32), 25)
    with pytest.raises(ValueError, match="not open"):
        writer.write(smooth(1, 64, 32)[0])
    with writer as clip:
        clip.write(smooth(1, 64, 32)[0])
        for wrong in (smooth(1, 32, 64)[0], smooth(1, 64, 32)[0][..., 0]):
            with pytest.raises(ValueError, match=r"must be \(32, 64, 3\)"):
                clip.write(wrong)


def test_players_find_the_index_first(tmp_path: Path) -> None:
    data = write(tmp_path / "a.mp4", smooth(3, 64, 64)).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(tmp_path / "a.mp4") as container:
        stream = container.streams.video[0]
        assert stream.average_rate == Fraction(25)
        assert len(container.streams) == 1
