"""Footage of every kind behind one interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swapper.errors import MediaError
from swapper.media.images import write_image
from swapper.media.sink import open_sink
from swapper.media.source import open_footage
from swapper.media.video_reader import Frame, VideoReader
from tests.media.clips import picture, write_clip


def test_a_video(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", frames=3)
    with open_footage(str(tmp_path / "in.mp4")) as footage:
        assert isinstance(footage, VideoReader)
        assert footage.paths == [tmp_path / "in.mp4"]
        assert len(list(footage)) == 3
    assert isinstance(open_footage(f"{tmp_path}/*.mp4"), VideoReader)


def test_a_folder_of_pictures_of_several_sizes(tmp_path: Path) -> None:
    for number, width in ((1, 96), (2, 64), (10, 48)):
        write_image(tmp_path / f"f{number}.png", picture(0, width=width))
    footage = open_footage(tmp_path)
    assert (footage.info.width, footage.info.height, footage.info.num_frames) == (96, 64, 3)
    assert (footage.info.path, footage.info.rate) == (tmp_path, 25)
    for _ in range(2):
        frames = list(footage)
        assert [frame.index for frame in frames] == [0, 1, 2]
        assert [frame.time for frame in frames] == [0, 0.04, 0.08]
        assert [frame.image.shape[1] for frame in frames] == [96, 64, 48]
        assert frames[0].pts is None
    assert [path.name for path in footage.paths] == ["f1.png", "f2.png", "f10.png"]
    assert footage.stopped is None


def test_a_glob_and_a_single_picture(tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / f"f{number}.png", picture(number))
    assert len(list(open_footage(f"{tmp_path}/f[12].png"))) == 2
    (only,) = list(open_footage(tmp_path / "f3.png"))
    np.testing.assert_array_equal(only.image, picture(3))


def test_a_folder_of_videos_is_not_one_clip(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, frames=2)
    with pytest.raises(MediaError, match="a folder of 2 videos"):
        open_footage(tmp_path)


def test_corrupt_pictures_are_left_out_and_named(tmp_path: Path) -> None:
    write_image(tmp_path / "f1.png", picture(0))
    (tmp_path / "f2.png").write_bytes((tmp_path / "f1.png").read_bytes()[:300])
    (tmp_path / "f0.png").write_text("no picture")
    write_image(tmp_path / "f3.png", picture(0))
    footage = open_footage(tmp_path)
    for _ in range(2):
        assert [frame.index for frame in footage] == [1, 3]
        not_one, damaged = footage.faults
        assert "f0.png: not a picture" in not_one
        assert "f2.png: is damaged" in damaged
    for whole in ("f1.png", "f3.png"):
        (tmp_path / whole).unlink()
    with pytest.raises(MediaError, match=r"f0\.png: not a picture"):
        open_footage(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no such file"):
        open_footage(tmp_path / "nowhere.mp4")
    with pytest.raises(MediaError, match="no file matches"):
        open_footage(f"{tmp_path}/*.png")
    with pytest.raises(MediaError, match="no picture"):
        open_footage(tmp_path)
    write_clip(tmp_path / "a.mp4", frames=1)
    write_clip(tmp_path / "b.mp4", frames=1)
    with pytest.raises(MediaError, match="matches 2 videos"):
        open_footage(f"{tmp_path}/*.mp4")


def test_a_frame_in_memory() -> None:
    frame = Frame.of(picture(0), index=5)
    assert frame.time == 0.2
    assert frame.image is frame.image
    assert (frame.pts, frame.raw, frame.duration) == (None, None, None)


@pytest.mark.parametrize("spec", ["", "*.png", "a.png"])
def test_the_pictures_themselves_are_never_the_output(tmp_path: Path, spec: str) -> None:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, picture(0))
    output = tmp_path / "a.png" if spec == "a.png" else tmp_path
    with pytest.raises(MediaError, match=r"a\.png: is one of the pictures themselves"):
        open_sink(output, open_footage(tmp_path / spec))


def test_pictures_that_would_overwrite_each_other_are_named(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "b.png"):
        write_image(tmp_path / name, picture(0))
    with pytest.raises(MediaError, match=r"b\.jpg and .*b\.png would become the same b\.png"):
        open_sink(tmp_path / "out", open_footage(tmp_path))
