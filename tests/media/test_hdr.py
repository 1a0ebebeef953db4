"""HDR: faces in a display's range; conversion refuses what it would damage."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from swapper.media.hdr import Transfer, display_picture
from swapper.media.video_reader import VideoReader
from tests.media.clips import HEIGHT, WIDTH, write_clip


def code_of(nits: float, transfer: Transfer) -> float:
    """Code value in 0..255 of grey light; the inverse of BT.2100's curves."""
    if transfer == "PQ":
        y = (nits / 10_000) ** 0.1593017578125
        return float(255 * ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375)
    scene = (nits / 1000) ** (1 / 1.2)
    if scene <= 1 / 12:
        return float(255 * np.sqrt(3 * scene))
    return float(255 * (0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073))


def shown(nits: float, transfer: Transfer) -> int:
    picture = np.full((2, 2, 3), code_of(nits, transfer), np.float32)
    return int(display_picture(picture, transfer)[0, 0, 1])


@pytest.mark.parametrize("transfer", ["PQ", "HLG"])
def test_light_below_white_is_kept_and_above_compressed(transfer: Transfer) -> None:
    for nits in (2.0, 20.0, 60.0, 140.0):
        assert shown(nits, transfer) == pytest.approx(255 * (nits / 203) ** (1 / 2.2), abs=2.5)
    bright = [shown(nits, transfer) for nits in (160.0, 203.0, 300.0, 1000.0)]
    assert bright == sorted(bright)
    assert 235 < bright[1] < 254
    assert bright[-1] >= 254


@pytest.mark.parametrize("transfer", ["PQ", "HLG"])
def test_hues_stay_and_nothing_overflows(transfer: Transfer) -> None:
    grey = display_picture(np.full((1, 1, 3), 130.0, np.float32), transfer)
    assert np.ptp(grey) <= 1
    skin = display_picture(np.array([[[140.0, 120.0, 110.0]]], np.float32), transfer)[0, 0]
    assert skin[0] > skin[1] > skin[2]
    extreme = np.array([[[0, 255, 0], [255, 0, 255], [0, 0, 0], [255, 255, 255]]], np.float32)
    assert display_picture(extreme, transfer).dtype == np.uint8


@pytest.mark.parametrize(("trc", "name"), [(16, "PQ"), (18, "HLG")])
def test_a_clip_is_read_in_a_display_s_range(tmp_path: Path, trc: int, name: Transfer) -> None:
    level = round(code_of(100.0, name) / 255 * 876 + 64)
    with av.open(str(tmp_path / "in.mkv"), "w") as output:
        stream = output.add_stream("ffv1", rate=25, options={"level": "3"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_range = 9, 1
        context.color_primaries, context.color_trc = 9, trc
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p10le")
        frame.colorspace, frame.color_range = 9, 1
        frame.color_primaries, frame.color_trc = 9, trc
        for plane, value in zip(frame.planes, (level, 512, 512), strict=True):
            plane.update(np.full(plane.line_size * plane.height // 2, value, "<u2").tobytes())
        frame.pts = 0
        output.mux([*stream.encode(frame), *stream.encode(None)])
    reader = VideoReader(tmp_path / "in.mkv")
    assert reader.coded.hdr == name
    (frame_read,) = list(reader)
    assert frame_read.image[5, 5] == pytest.approx(255 * (100 / 203) ** (1 / 2.2), abs=3)
    assert frame_read.deep is None
    assert f"HDR ({name})" in reader.notes[0]
    write_clip(tmp_path / "plain.mp4", frames=1)
    assert VideoReader(tmp_path / "plain.mp4").coded.hdr is None
