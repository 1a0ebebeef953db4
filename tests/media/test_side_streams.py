"""What a clip has besides progressive pictures and sound: kept, or named."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from swapper.media.video_reader import VideoReader
from tests.media.clips import decoded, write_clip
from tests.media.splices import write_interlaced
from tests.media.test_video import copy

SUBTITLES = "1\n00:00:00,500 --> 00:00:01,000\nHello\n\n2\n00:00:01,200 --> 00:00:01,800\nWorld\n"
CHAPTERS = [
    {"id": 1, "start": 0, "end": 800, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}},
    {
        "id": 2,
        "start": 800,
        "end": 2000,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": "Two"},
    },
]


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A clip with subtitles and chapters, with a font as .mkv, with a timecode as .mov."""
    if not (ffmpeg := shutil.which("ffmpeg")):
        pytest.skip("ffmpeg is not installed, and PyAV cannot encode subtitles")
    folder = tmp_path_factory.mktemp("rich")
    write_clip(folder / "plain.mkv", frames=50, audio="aac")
    (folder / "s.srt").write_text(SUBTITLES)
    (folder / "font.ttf").write_bytes(b"a font")
    chapters = "".join(
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={each['start']}\nEND={each['end']}\n"
        f"title={each['metadata']['title']}\n"  # type: ignore[index]
        for each in CHAPTERS
    )
    (folder / "c.txt").write_text(f";FFMETADATA1\n{chapters}")
    font = ["-attach", "font.ttf", "-metadata:s:t", "mimetype=font/ttf"]
    for name, more in {
        "rich.mkv": ["-c:s", "srt", *font],
        "rich.mov": ["-c:s", "mov_text", "-timecode", "01:02:03:04"],
    }.items():
        command = [ffmpeg, "-v", "error", "-i", "plain.mkv", "-i", "s.srt", "-i", "c.txt"]
        command += ["-map", "0", "-map", "1", "-map_metadata", "2", "-c", "copy", *more, name]
        subprocess.run(command, cwd=folder, check=True, timeout=60)
    return {each.suffix: each for each in folder.glob("rich.*")}


def subtitles(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        if not container.streams.subtitles:
            return []
        packets = container.demux(container.streams.subtitles[0])
        return [
            (float(each.pts * each.time_base), bytes(each))
            for each in packets
            if each.pts is not None and each.size > 2  # MP4 has empty ones between them
        ]


def chapters(path: Path) -> list[tuple[Fraction, str]]:
    with av.open(str(path)) as container:
        return [
            (each["start"] * Fraction(each["time_base"] or 1), each["metadata"]["title"])
            for each in container.chapters()
        ]


@pytest.mark.parametrize("suffix", [".mkv", ".mov"])
def test_all_is_kept_in_the_same_container(
    rich: dict[str, Path], suffix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / f"out{suffix}"
    copy(rich[suffix], output)
    assert len(subtitles(output)) == 2
    for (was, text), (is_, kept) in zip(subtitles(rich[suffix]), subtitles(output), strict=True):
        assert (is_, kept) == (pytest.approx(was, abs=0.002), text)
    assert (
        chapters(output)
        == chapters(rich[suffix])
        == [
            (each["start"] * each["time_base"], each["metadata"]["title"])  # type: ignore[index,operator]
            for each in CHAPTERS
        ]
    )
    with av.open(str(output)) as container:
        if suffix == ".mkv":
            (font,) = (each for each in container.streams if each.type == "attachment")
            assert (font.name, font.mimetype, font.data) == ("font.ttf", "font/ttf", b"a font")  # type: ignore[attr-defined]
        else:
            assert container.streams.video[0].metadata["timecode"] == "01:02:03:04"
    assert "left out" not in caplog.text


def test_what_another_container_cannot_hold_is_named(
    rich: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy(rich[".mkv"], tmp_path / "out.mp4")
    assert "left out subtitles (subrip, .mp4 cannot hold it), attachment font.ttf" in caplog.text
    assert [title for _, title in chapters(tmp_path / "out.mp4")] == ["One", "Two"]
    caplog.clear()
    copy(rich[".mov"], tmp_path / "out.mkv")
    assert "left out subtitles (mov_text" in caplog.text
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.streams.video[0].metadata["TIMECODE"] == "01:02:03:04"


@pytest.mark.parametrize("fields", ["tff", "bff"])
@pytest.mark.parametrize(
    ("codec", "suffix"), [("h264", ".mp4"), ("ffv1", ".mkv"), ("prores", ".mov")]
)
def test_the_field_order_is_kept(fields: str, codec: str, suffix: str, tmp_path: Path) -> None:
    write_interlaced(tmp_path / "in.mp4", fields)
    reader = copy(tmp_path / "in.mp4", tmp_path / f"out{suffix}", crf=16, codec=codec)
    assert reader.coded.fields == fields
    assert "interlaced" in reader.notes[0]
    assert VideoReader(tmp_path / f"out{suffix}").coded.fields == fields
    frames = decoded(tmp_path / f"out{suffix}")
    assert len(frames) == 6
    assert all(each.interlaced_frame for each in frames)


def test_dv_has_a_frame_rate_and_shows_the_bottom_field_first(tmp_path: Path) -> None:
    """Its demuxer claims 60,000 frames a second, and no field order."""
    write_clip(tmp_path / "in.dv", codec="dvvideo", size=(720, 576), frames=5, options={})
    reader = copy(tmp_path / "in.dv", tmp_path / "out.mp4", crf=20)
    assert reader.info.rate == 25
    again = VideoReader(tmp_path / "out.mp4")
    assert (again.info.rate, again.info.num_frames, again.coded.fields) == (25, 5, "bff")


def test_a_codec_without_fields_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_interlaced(tmp_path / "in.mp4", "tff")
    copy(tmp_path / "in.mp4", tmp_path / "out.mp4", codec="hevc")
    assert "out.mp4: hevc loses the field order" in caplog.text
    caplog.clear()
    write_clip(tmp_path / "plain.mp4")
    assert not copy(tmp_path / "plain.mp4", tmp_path / "plain2.mp4", codec="hevc").coded.fields
    assert not caplog.records


def test_odd_sizes_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_clip(tmp_path / "in.mkv", codec="ffv1", size=(95, 63), options={"level": "3"})
    copy(tmp_path / "in.mkv", tmp_path / "out.mp4")
    assert "out.mp4: 95 x 63 is odd, so colour is stored in full (yuv444p)" in caplog.text
    caplog.clear()
    copy(tmp_path / "in.mkv", tmp_path / "out.webm")
    assert "odd" not in caplog.text


@pytest.mark.parametrize(("codec", "suffix"), [("ac3", ".webm"), ("flac", ".mov"), ("ac3", ".mp4")])
def test_surround_sound_is_kept_or_transcoded(codec: str, suffix: str, tmp_path: Path) -> None:
    layout = "5.1(side)"
    with av.open(str(tmp_path / "in.mkv"), "w") as output:
        video = output.add_stream("ffv1", rate=25, options={"level": "3"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound = output.add_stream(codec, rate=48000)
        sound.codec_context.layout = layout
        for index in range(10):
            frame = av.VideoFrame(96, 64, "yuv420p")
            frame.pts = index
            output.mux(video.encode(frame))
        planar = codec == "ac3"
        shape, kind = ((6, 19200), np.float32) if planar else ((1, 6 * 19200), np.int16)
        samples = av.AudioFrame.from_ndarray(
            np.zeros(shape, kind), format="fltp" if planar else "s16", layout=layout
        )
        samples.rate, samples.pts = 48000, 0
        output.mux([*sound.encode(samples), *sound.encode(None)])
        output.mux(video.encode(None))
    copy(tmp_path / "in.mkv", tmp_path / f"out{suffix}", crf=20)
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        (track,) = container.streams.audio
        assert track.layout.nb_channels == 6
        packets = [each for each in container.demux(track) if each.pts is not None]
        assert len(packets) > 3


def test_chapters_before_a_late_start_are_left_out(tmp_path: Path) -> None:
    write_clip(tmp_path / "plain.mkv", frames=25, first_pts=5 * 90_000)
    with (
        av.open(str(tmp_path / "plain.mkv")) as source,
        av.open(str(tmp_path / "in.mkv"), "w") as output,
    ):
        (stream,) = source.streams.video
        track = output.add_stream_from_template(stream)
        tick = Fraction(1, 1000)
        output.set_chapters([
            {"id": 1, "start": 0, "end": 4000, "time_base": tick, "metadata": {"title": "Gone"}},
            {"id": 2, "start": 4000, "end": 5500, "time_base": tick, "metadata": {"title": "Cut"}},
            {"id": 3, "start": 5500, "end": 6000, "time_base": tick, "metadata": {"title": "Kept"}},
        ])  # fmt: skip
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = track
                output.mux(packet)
    for suffix in (".mkv", ".mp4"):
        copy(tmp_path / "in.mkv", tmp_path / f"out{suffix}")
        found = chapters(tmp_path / f"out{suffix}")
        assert [title for _, title in found] == ["Cut", "Kept"]
        assert [float(start) for start, _ in found] == pytest.approx([0, 0.5], abs=0.01)
