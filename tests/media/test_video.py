"""Reader and writer together: what goes in comes out."""

from __future__ import annotations

import resource
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.errors import MediaError
from swapper.media.video_reader import VideoReader
from swapper.media.video_writer import VideoWriter
from tests.media.clips import FRAME, decoded, has_sound, picture, planes, sound_packets, write_clip

UNEVEN = (3600, 1800, 7200, 3000, 5400)


def copy(source: Path, target: Path, *, crf: int = 0, codec: str = "auto") -> VideoReader:
    """Every frame untouched, from one file into another."""
    reader = VideoReader(source)
    with VideoWriter(target, reader, crf=crf, codec=codec, preset="ultrafast") as writer:
        for frame in reader:
            writer.write(frame)
    return reader


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("matrix", [6, 1, 9])
def test_colours_survive_a_round_trip(tmp_path: Path, matrix: int, color_range: int) -> None:
    # yuv444p: nothing is lost to chroma subsampling, so any error is one of matrix or range.
    tags = (matrix, color_range, 1, 1)
    write_clip(tmp_path / "in.mp4", pix_fmt="yuv444p", tags=tags, frames=3)
    reader = VideoReader(tmp_path / "in.mp4")
    assert reader.coded.colour.matrix == {6: "bt601", 1: "bt709", 9: "bt2020"}[matrix]
    assert reader.coded.colour.full_range == (color_range == 2)
    with VideoWriter(tmp_path / "out.mp4", reader, crf=0, preset="ultrafast") as writer:
        for frame in reader:
            writer.write(frame, frame.image)
    for index, frame in enumerate(reader):
        assert np.abs(frame.image.astype(int) - picture(index)).mean() < 1.5
    for old, new in zip(decoded(tmp_path / "in.mp4"), decoded(tmp_path / "out.mp4"), strict=True):
        assert (new.colorspace, new.color_range) == tags[:2]
        for before, after in zip(planes(old), planes(new), strict=True):
            error = after.astype(int) - before
            assert np.abs(error).mean() < 0.5
            assert abs(error.mean()) < 0.1
            assert np.abs(error).max() <= 2


@pytest.mark.parametrize("tags", [(6, 1, 6, 6), (1, 1, 1, 1), (6, 2, 6, 6), (1, 2, 1, 1)])
def test_subsampled_colours_survive_and_keep_their_mean(
    tmp_path: Path, tags: tuple[int, int, int, int]
) -> None:
    write_clip(tmp_path / "in.mp4", tags=tags, frames=2, smooth=True)
    reader = VideoReader(tmp_path / "in.mp4")
    with VideoWriter(tmp_path / "out.mp4", reader, crf=0, preset="ultrafast") as writer:
        for frame in reader:
            writer.write(frame, frame.image)
    for old, new in zip(reader, VideoReader(tmp_path / "out.mp4"), strict=True):
        error = new.image.astype(float) - old.image
        assert np.abs(error).mean() < 0.6
        assert np.abs(error.mean(axis=(0, 1))).max() < 0.1


@pytest.mark.parametrize(
    ("size", "matrix"), [((96, 64), "bt601"), ((1280, 64), "bt709"), ((64, 720), "bt709")]
)
def test_untagged_video_takes_its_matrix_from_its_size(
    tmp_path: Path, size: tuple[int, int], matrix: str
) -> None:
    tagged = (1, 1, 1, 1) if matrix == "bt709" else (6, 1, 6, 6)
    write_clip(tmp_path / "tagged.mkv", codec="ffv1", size=size, frames=1, tags=tagged, options={})
    copy_tags = decoded(tmp_path / "tagged.mkv")[0]
    with av.open(str(tmp_path / "in.mkv"), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        copy_tags.colorspace, copy_tags.color_range = 2, 0
        copy_tags.color_primaries = copy_tags.color_trc = 2
        output.mux([*stream.encode(copy_tags), *stream.encode(None)])
    reader = VideoReader(tmp_path / "in.mkv")
    assert reader.coded.tags[0] == 2
    assert reader.coded.colour.matrix == matrix
    frame = next(iter(reader))
    assert np.abs(frame.image.astype(int) - picture(0, *size)).mean() < 3
    with VideoWriter(tmp_path / "out.mp4", reader, crf=0, preset="ultrafast") as writer:
        writer.write(frame, frame.image)
    again = VideoReader(tmp_path / "out.mp4")
    assert again.coded.tags[0] == 2
    assert np.abs(next(iter(again)).image.astype(int) - frame.image).mean() < 1


@pytest.mark.parametrize(
    ("pix_fmt", "codec", "suffix", "name"),
    [
        ("yuv420p", "libx264", ".mp4", "auto"),
        ("yuv422p", "libx264", ".mov", "auto"),
        ("yuvj420p", "libx264", ".mp4", "auto"),
        ("yuv420p10le", "libx264", ".mp4", "auto"),
        ("yuv420p10le", "libx264", ".mp4", "h264"),
        ("yuv444p12le", "libx265", ".mkv", "auto"),
        ("gray", "libx264", ".mp4", "auto"),
        ("yuv420p", "libx264", ".webm", "auto"),
        ("yuva420p", "ffv1", ".mkv", "ffv1"),
        ("gbrp10le", "ffv1", ".mkv", "ffv1"),
    ],
)
def test_untouched_frames_keep_their_planes(
    tmp_path: Path, pix_fmt: str, codec: str, suffix: str, name: str
) -> None:
    source = tmp_path / ("in.mkv" if codec == "ffv1" else "in.mp4")
    options = {} if codec == "ffv1" else None
    write_clip(source, codec=codec, pix_fmt=pix_fmt, frames=3, noise=True, options=options)
    reader = copy(source, tmp_path / f"out{suffix}", codec=name)
    assert VideoReader(tmp_path / f"out{suffix}").info.bit_depth == reader.info.bit_depth
    for old, new in zip(decoded(source), decoded(tmp_path / f"out{suffix}"), strict=True):
        for before, after in zip(planes(old), planes(new), strict=True):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("rotation", [None, 90, 180, 270])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_pixels_outside_the_change_keep_their_planes(
    tmp_path: Path, pix_fmt: str, rotation: int | None
) -> None:
    write_clip(tmp_path / "in.mp4", pix_fmt=pix_fmt, frames=3, noise=True, rotation=rotation)
    reader = VideoReader(tmp_path / "in.mp4")
    shape = (reader.info.height, reader.info.width)
    changed = np.zeros(shape, dtype=bool)
    changed[11:30, 7:24] = True
    changed[40, 50] = True
    with VideoWriter(tmp_path / "out.mp4", reader, crf=0, preset="ultrafast") as writer:
        for frame in reader:
            writer.write(frame, np.full((*shape, 3), (10, 200, 30), np.uint8), changed)
    coded = np.rot90(changed, -(rotation or 0) // 90)
    sites = coded.reshape(32, 2, 48, 2).any(axis=(1, 3))
    for old, new in zip(decoded(tmp_path / "in.mp4"), decoded(tmp_path / "out.mp4"), strict=True):
        for number, (before, after) in enumerate(zip(planes(old), planes(new), strict=True)):
            where = sites if number else coded
            np.testing.assert_array_equal(before[~where], after[~where])
            assert np.ptp(after[where]) == 0
            assert (before[where] != after[where]).mean() > 0.9
    seen = next(iter(VideoReader(tmp_path / "out.mp4"))).image
    assert np.abs(seen[14:27, 10:21].astype(int) - (10, 200, 30)).max() <= 2


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "h264"), (".mov", "h264"), (".mp4", "hevc"), (".mp4", "vp9"), (".mov", "prores")],
)
def test_timestamps_are_exact(tmp_path: Path, suffix: str, codec: str) -> None:
    given = write_clip(tmp_path / "in.mp4", frames=12, durations=UNEVEN, first_pts=9000)
    target = tmp_path / f"out{suffix}"
    copy(tmp_path / "in.mp4", target, crf=20, codec=codec)
    written = list(VideoReader(target))
    assert [frame.pts for frame in written] == given
    assert {frame.raw.time_base for frame in written} == {Fraction(1, 90000)}
    assert [frame.duration for frame in written] == [UNEVEN[i % 5] for i in range(12)]
    assert written[0].time == 0
    assert written[2].time == pytest.approx(5400 / 90000)


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_timestamps_in_matroska_are_exact_to_its_milliseconds(tmp_path: Path, suffix: str) -> None:
    given = write_clip(tmp_path / "in.mp4", frames=12, durations=UNEVEN)
    copy(tmp_path / "in.mp4", tmp_path / f"out{suffix}", crf=30)
    written = list(VideoReader(tmp_path / f"out{suffix}"))
    assert [frame.pts for frame in written] == [round(pts / 90) for pts in given]
    again = tmp_path / f"again{suffix}"
    copy(tmp_path / f"out{suffix}", again, crf=30)
    assert [frame.pts for frame in VideoReader(again)] == [frame.pts for frame in written]
    assert written[-1].duration == pytest.approx(UNEVEN[11 % 5] / 90, abs=1)


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1"])
@pytest.mark.parametrize("frames", [1, 2])
def test_clips_of_one_or_two_frames(tmp_path: Path, codec: str, frames: int) -> None:
    write_clip(tmp_path / "in.mp4", frames=frames, first_pts=9000, pix_fmt="yuv420p10le")
    copy(tmp_path / "in.mp4", tmp_path / "out.mp4", crf=20, codec=codec)
    written = list(VideoReader(tmp_path / "out.mp4"))
    assert [(frame.pts, frame.duration) for frame in written] == [
        (9000 + FRAME * index, FRAME) for index in range(frames)
    ]


def test_frame_rate_and_the_last_frames_duration(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", frames=10)
    copy(tmp_path / "in.mp4", tmp_path / "out.mp4", crf=20)
    info = VideoReader(tmp_path / "out.mp4").info
    assert info.rate == 25
    assert info.num_frames == 10
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.duration == pytest.approx(0.4 * av.time_base)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_footage_is_upright_and_keeps_its_display_matrix(
    tmp_path: Path, suffix: str, rotation: int, mirror: bool
) -> None:
    write_clip(tmp_path / "in.mp4", frames=2, rotation=rotation, mirror=mirror)
    reader = VideoReader(tmp_path / "in.mp4")
    expected = np.rot90(picture(0), rotation // 90)  # FFmpeg turns, then mirrors
    expected = expected[:, ::-1] if mirror else expected
    first = next(iter(reader))
    assert first.image.shape == expected.shape == (reader.info.height, reader.info.width, 3)
    assert np.abs(first.image.astype(int) - expected).mean() < 3
    if mirror and suffix == ".mkv":
        return  # Matroska's projection element knows no mirror
    copy(tmp_path / "in.mp4", tmp_path / f"out{suffix}")
    again = VideoReader(tmp_path / f"out{suffix}")
    assert again.coded.orientation == reader.coded.orientation
    np.testing.assert_array_equal(next(iter(again)).image, first.image)


@pytest.mark.parametrize("size", [(97, 64), (96, 65), (97, 65)])
@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv"])
def test_odd_sizes(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    write_clip(tmp_path / "in.mkv", codec="ffv1", size=size, frames=2, options={})
    reader = VideoReader(tmp_path / "in.mkv")
    changed = np.zeros(size[::-1], dtype=bool)
    changed[-3:, -3:] = True
    with VideoWriter(tmp_path / f"out{suffix}", reader, crf=0, preset="ultrafast") as writer:
        for frame in reader:
            writer.write(frame, np.full_like(frame.image, 128), changed)
    for old, new in zip(reader, VideoReader(tmp_path / f"out{suffix}"), strict=True):
        assert new.image.shape == (*size[::-1], 3)
        assert np.abs(new.image[-1, -1].astype(int) - 128).max() <= 2
        np.testing.assert_array_equal(planes(old.raw)[0][:-4], planes(new.raw)[0][:-4])


def test_tags_and_pixel_shape_are_kept(tmp_path: Path) -> None:
    hdr = (9, 1, 9, 16)  # BT.2020, limited, PQ
    write_clip(
        tmp_path / "in.mp4", codec="libx265", pix_fmt="yuv420p10le", tags=hdr, sar=Fraction(4, 3)
    )
    copy(tmp_path / "in.mp4", tmp_path / "out.mp4")
    coded = VideoReader(tmp_path / "out.mp4").coded
    assert coded.tags == hdr
    assert coded.sample_aspect_ratio == Fraction(4, 3)
    assert coded.pix_fmt == "yuv420p10le"


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_grey_footage(tmp_path: Path, suffix: str) -> None:
    write_clip(tmp_path / "in.mp4", pix_fmt="gray", frames=2)
    reader = VideoReader(tmp_path / "in.mp4")
    with VideoWriter(tmp_path / f"out{suffix}", reader, crf=0, preset="ultrafast") as writer:
        for frame in reader:
            writer.write(frame, frame.image if frame.index else None)
    for old, new in zip(reader, VideoReader(tmp_path / f"out{suffix}"), strict=True):
        assert np.ptp(old.image, axis=2).max() == 0
        assert np.abs(new.image.astype(int) - old.image).max() <= 2


def test_transparency_is_dropped_where_players_would_not_show_it(tmp_path: Path) -> None:
    write_clip(
        tmp_path / "in.mkv", codec="ffv1", pix_fmt="yuva420p", frames=2, noise=True, options={}
    )
    copy(tmp_path / "in.mkv", tmp_path / "out.webm")
    assert VideoReader(tmp_path / "out.webm").coded.pix_fmt == "yuv420p"
    for old, new in zip(decoded(tmp_path / "in.mkv"), decoded(tmp_path / "out.webm"), strict=True):
        np.testing.assert_array_equal(planes(old)[0], planes(new)[0])


def test_rgb_footage_becomes_tagged_yuv(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mkv", codec="ffv1", pix_fmt="gbrp10le", frames=2, options={})
    reader = copy(tmp_path / "in.mkv", tmp_path / "out.mp4")
    again = VideoReader(tmp_path / "out.mp4")
    assert (again.coded.pix_fmt, again.coded.tags[:2]) == ("yuv444p10le", (6, 1))
    for old, new in zip(reader, again, strict=True):
        assert np.abs(new.image.astype(int) - old.image).mean() < 1


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9", "av1", "ffv1"])
def test_every_codec_writes_a_file_that_looks_right(
    tmp_path: Path, codec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_clip(tmp_path / "in.mp4", frames=3)
    reader = copy(tmp_path / "in.mp4", tmp_path / "out.mkv", crf=10, codec=codec)
    for old, new in zip(reader, VideoReader(tmp_path / "out.mkv"), strict=True):
        assert np.abs(new.image.astype(int) - old.image).mean() < 4
    assert capfd.readouterr() == ("", "")  # encoders keep quiet


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("start", [0.0, 0.2])
def test_sound_is_copied_byte_for_byte(tmp_path: Path, suffix: str, start: float) -> None:
    write_clip(tmp_path / "in.mp4", frames=25, audio="aac", audio_start=start)
    copy(tmp_path / "in.mp4", tmp_path / f"out{suffix}", crf=30)
    before = sound_packets(tmp_path / "in.mp4")
    after = sound_packets(tmp_path / f"out{suffix}")
    assert [data for data, _ in before] == [data for data, _ in after]
    # Matroska has no negative time: FFmpeg moves sound and pictures on together.
    first = float(next(iter(VideoReader(tmp_path / f"out{suffix}"))).raw.time)
    stamps = [stamp for _, stamp in before]
    assert [stamp - first for _, stamp in after] == pytest.approx(stamps, abs=0.0011)


def test_sound_that_webm_cannot_hold_becomes_opus(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", frames=25, audio="aac")
    copy(tmp_path / "in.mp4", tmp_path / "out.webm", crf=40)
    with av.open(str(tmp_path / "out.webm")) as container:
        assert container.streams.audio[0].codec_context.name == "opus"
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(heard) / 48000 == pytest.approx(1.0, abs=0.05)
    spectrum = np.abs(np.fft.rfft(heard[4800:43200]))
    assert np.argmax(spectrum) / (38400 / 48000) == pytest.approx(440, abs=3)


def heard(path: Path) -> tuple[str, NDArray[np.float64]]:
    """Codec and left channel in [-1, 1]."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=48000)
        parts = [
            part.to_ndarray()[0]
            for frame in container.decode(stream)
            for part in resampler.resample(frame)
        ]
        return stream.codec_context.codec.canonical_name, np.concatenate(parts).astype(float)


@pytest.mark.parametrize(
    ("source", "codec", "suffix", "becomes"),
    [
        (".avi", "pcm_s16le", ".mp4", "alac"),  # AVI only counts the channels
        (".mkv", "flac", ".mov", "alac"),
        (".mkv", "libopus", ".mov", "aac"),
        (".mkv", "flac", ".webm", "opus"),
    ],
)
def test_sound_that_does_not_fit_is_coded_anew(
    tmp_path: Path,
    source: str,
    codec: str,
    suffix: str,
    becomes: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = {"bf": "0", "qp": "0"}
    write_clip(tmp_path / f"in{source}", frames=25, audio=codec, options=options)
    copy(tmp_path / f"in{source}", tmp_path / f"out{suffix}", crf=40)
    assert f"cannot hold {codec.removeprefix('lib')}; transcoding it to {becomes}" in caplog.text
    _, before = heard(tmp_path / f"in{source}")
    name, after = heard(tmp_path / f"out{suffix}")
    assert name == becomes
    assert len(after) == pytest.approx(len(before), abs=3000)
    if becomes == "alac":
        np.testing.assert_allclose(after[: len(before)], before, atol=1e-4)
    else:
        spectrum = np.abs(np.fft.rfft(after[4800:43200]))
        assert np.argmax(spectrum) / 0.8 == pytest.approx(440, abs=3)


def test_a_mute_clip_stays_mute(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", frames=3)
    copy(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert not has_sound(tmp_path / "out.mp4")


def test_the_copy_of_a_damaged_clip_ends_its_sound_with_its_pictures(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", frames=25, audio="aac")
    reader = VideoReader(tmp_path / "in.mp4")
    with VideoWriter(tmp_path / "out.mp4", reader, crf=30, preset="ultrafast") as writer:
        for frame in reader:
            if frame.index == 10:
                break
            writer.write(frame)
        reader.stopped = frame.time
    assert len(list(VideoReader(tmp_path / "out.mp4"))) == 10
    packets = sound_packets(tmp_path / "out.mp4")
    assert 0.3 < packets[-1][1] < 0.4
    assert packets == sound_packets(tmp_path / "in.mp4")[: len(packets)]


def give_up(reader: VideoReader, target: Path) -> None:
    """Break off before the end."""
    with VideoWriter(target, reader, preset="ultrafast") as writer:
        for frame in reader:
            writer.write(frame)
        assert (target.parent / f".{target.stem}.partial{target.suffix}").exists()
        raise RuntimeError("stop")


def test_nothing_is_left_after_an_exception(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", frames=40)
    out = tmp_path / "out"
    with pytest.raises(RuntimeError, match="stop"):
        give_up(VideoReader(tmp_path / "in.mp4"), out / "out.mp4")
    assert list(out.iterdir()) == []


def test_an_older_output_survives_until_the_new_one_is_whole(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", frames=40)
    target = tmp_path / "out.mp4"
    target.write_bytes(b"older")
    with pytest.raises(RuntimeError, match="stop"):
        give_up(VideoReader(tmp_path / "in.mp4"), target)
    assert target.read_bytes() == b"older"
    copy(tmp_path / "in.mp4", target)
    assert len(list(VideoReader(target))) == 40


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("frames", [2, 30])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, suffix: str, frames: int
) -> None:
    # A limit on the size of files fails as a full disk does: in write(), inside FFmpeg.
    write_clip(tmp_path / "in.mp4", frames=frames, noise=True)
    target = tmp_path / f"out{suffix}"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(MediaError, match="cannot be written") as caught:
            copy(tmp_path / "in.mp4", target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(target) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_no_space_left_on_the_device(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("/dev/full exists on Linux only")
    write_clip(tmp_path / "in.mp4", frames=4, noise=True)
    (tmp_path / ".out.partial.mkv").symlink_to(full)
    with pytest.raises(MediaError, match="No space left on device"):
        copy(tmp_path / "in.mp4", tmp_path / "out.mkv")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_what_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", frames=2)
    reader = VideoReader(tmp_path / "in.mp4")
    with pytest.raises(MediaError, match=r"\.mp4, \.mov, \.mkv, \.webm"):
        VideoWriter(tmp_path / "out.avi", reader)
    with pytest.raises(MediaError, match=r"h264 .*\.webm"):
        VideoWriter(tmp_path / "out.webm", reader, codec="h264")
    with pytest.raises(MediaError, match=r"crf 60 .*h264 .*0 to 51"):
        VideoWriter(tmp_path / "out.mp4", reader, crf=60)
    with pytest.raises(MediaError, match="is the input itself"):
        VideoWriter(tmp_path / "in.mp4", reader)
    with pytest.raises(ValueError, match="unknown codec 'mpeg1'"):
        VideoWriter(tmp_path / "out.mp4", reader, codec="mpeg1")
    with (
        pytest.raises(MediaError, match="no frame was written"),
        VideoWriter(tmp_path / "out.mp4", reader),
    ):
        pass
    with VideoWriter(tmp_path / "out.mp4", reader) as writer:
        frame = next(iter(reader))
        with pytest.raises(ValueError, match=r"image must be \(64, 96, 3\)"):
            writer.write(frame, np.zeros((10, 10, 3), np.uint8))
        with pytest.raises(ValueError, match="changed must be"):
            writer.write(frame, frame.image, np.zeros((10, 10), bool))
        writer.write(frame)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]


def test_a_file_stands_where_the_folder_should(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", frames=2)
    reader = VideoReader(tmp_path / "in.mp4")
    with (
        pytest.raises(MediaError, match="cannot be written"),
        VideoWriter(tmp_path / "in.mp4" / "out.mp4", reader),
    ):
        pass


def test_a_clip_can_be_read_twice(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", frames=5)
    with VideoReader(tmp_path / "in.mp4") as reader:
        assert [frame.index for frame in reader] == [0, 1, 2, 3, 4]
        assert [frame.pts for frame in reader] == [FRAME * index for index in range(5)]


@pytest.mark.parametrize(("name", "frames", "size"), [("clip_a", 354, 512), ("clip_b", 1008, 480)])
def test_real_clips(shared: Path, name: str, frames: int, size: int) -> None:
    reader = VideoReader(shared / "real" / f"{name}.mp4")
    assert (reader.info.width, reader.info.height, reader.info.rate) == (size, size, 30)
    assert reader.info.num_frames == frames
    count = 0
    for frame in reader:
        assert frame.time == pytest.approx(count / 30)
        count += 1
    assert count == frames
    assert reader.stopped is None


_MEASURE = """
import resource, sys
from swapper.media.video_reader import VideoReader
from swapper.media.video_writer import VideoWriter
reader = VideoReader(sys.argv[1])
with VideoWriter(sys.argv[2], reader, crf=30, preset="ultrafast") as writer:
    for frame in reader:
        writer.write(frame, frame.image)
        if frame.index == 100:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if frame.index == 450:
            break
    reader.stopped = frame.time
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_clip(shared: Path, tmp_path: Path) -> None:
    # 350 pictures of 480 x 480 would be 240 MB.
    arguments = [str(shared / "real" / "clip_b.mp4"), str(tmp_path / "out.mp4")]
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *arguments], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 60_000  # KiB


def test_real_clip_through_the_writer(shared: Path, tmp_path: Path) -> None:
    reader = VideoReader(shared / "real" / "clip_a.mp4")
    target = tmp_path / "out.mp4"
    changed = np.zeros((512, 512), dtype=bool)
    changed[100:200, 100:200] = True
    with VideoWriter(target, reader, crf=0, preset="ultrafast") as writer:
        for frame in reader:
            if frame.index == 20:
                break
            writer.write(frame, np.zeros_like(frame.image), changed)
        reader.stopped = frame.time
    old = decoded(shared / "real" / "clip_a.mp4")[19]
    luma_before, luma_after = planes(old)[0], planes(decoded(target)[19])[0]
    np.testing.assert_array_equal(luma_before[~changed], luma_after[~changed])
    assert (luma_after[changed] == 16).all()
    whole = sound_packets(shared / "real" / "clip_a.mp4")
    packets = sound_packets(target)
    assert 10 < len(packets) < len(whole)
    assert packets == whole[: len(packets)]
