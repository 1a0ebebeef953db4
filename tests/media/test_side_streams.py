"""What a clip has besides progressive pictures and sound: kept, or named."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
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
