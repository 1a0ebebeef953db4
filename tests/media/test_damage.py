"""Files that are not what they should be."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from swapper.errors import MediaError
from swapper.media.container import is_cut
from swapper.media.video_reader import VideoReader
from swapper.media.video_writer import VideoWriter
from tests.media.clips import has_sound, sound_packets, write_clip

FAST_START = {"movflags": "+faststart"}
FRAGMENTED = {"movflags": "+frag_keyframe+empty_moov+default_base_moof"}


def message(path: Path) -> str:
    """What the reader says of a file: one line with its name."""
    with pytest.raises(MediaError) as caught:
        VideoReader(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_missing(tmp_path: Path) -> None:
    assert "no such file" in message(tmp_path / "nowhere.mp4")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert "0 bytes" in message(tmp_path / "empty.mp4")


@pytest.mark.parametrize("name", ["notes.mp4", "notes.txt", "notes.mkv", "notes"])
def test_text(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not a video\n" * 200)
    assert "not a video" in message(tmp_path / name)


def test_folder(tmp_path: Path) -> None:
    assert "is a folder" in message(tmp_path)


@pytest.mark.parametrize("suffix", [".m4a", ".mp4", ".wav", ".mkv"])
def test_only_sound(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sound{suffix}"
    with av.open(str(path), "w") as output:
        sound = output.add_stream("pcm_s16le" if suffix == ".wav" else "aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.int16), layout="mono")
        frame.rate = 48000
        output.mux([*sound.encode(frame), *sound.encode(None)])
    assert "only sound" in message(path)


def test_playlists_that_name_other_files_are_not_followed(tmp_path: Path) -> None:
    write_clip(tmp_path / "real.mp4", frames=2)
    for name, text in {
        "list.ffconcat": f"ffconcat version 1.0\nfile {tmp_path}/real.mp4\n",
        "list.m3u8": f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/real.mp4\n#EXT-X-ENDLIST\n",
    }.items():
        (tmp_path / name).write_text(text)
        assert "not a video" in message(tmp_path / name)


def test_an_absurd_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "in.mp4", frames=2)
    monkeypatch.setattr("swapper.media.container.MAX_PIXELS", 96 * 64 - 1)
    assert "claims 96x64 pixels" in message(tmp_path / "in.mp4")


def test_without_its_index_an_mp4_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    write_clip(path, frames=30, noise=True)
    path.write_bytes(path.read_bytes()[:-2000])
    assert "lost its end" in message(path)


def cut(path: Path, share: float) -> None:
    """Keep the first share of a file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("suffix", "container"),
    [(".mp4", FAST_START), (".mov", FAST_START), (".mp4", FRAGMENTED), (".mkv", None)],
)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.3])
@pytest.mark.parametrize("gop", ["250", "5"])
def test_a_cut_file_yields_what_decodes_and_says_where_it_stopped(
    tmp_path: Path, suffix: str, container: dict[str, str] | None, share: float, gop: str
) -> None:
    path = tmp_path / f"in{suffix}"
    options = {"qp": "0", "g": gop}
    write_clip(path, frames=40, noise=True, container=container, options=options, audio="aac")
    assert not is_cut(path)
    reader = VideoReader(path)
    whole = [frame.image for frame in reader]
    assert len(whole) == 40
    assert reader.stopped is None
    cut(path, share)
    assert is_cut(path)
    reader = VideoReader(path)
    with VideoWriter(tmp_path / "out.mp4", reader, preset="ultrafast") as writer:
        images = []
        for frame in reader:
            images.append(frame.image)
            writer.write(frame)
    assert 40 * share * 0.5 < len(images) < 40
    for before, after in zip(whole, images, strict=False):
        np.testing.assert_array_equal(before, after)  # nothing half decoded gets through
    assert reader.stopped == pytest.approx(frame.time + 0.04, abs=0.002)
    again = VideoReader(tmp_path / "out.mp4")
    assert len(list(again)) == len(images)
    assert again.stopped is None
    if has_sound(again.path):  # a cut fragment may hold none
        assert sound_packets(tmp_path / "out.mp4")[-1][1] <= reader.stopped


def test_a_file_cut_after_its_pictures_says_so_too(tmp_path: Path) -> None:
    # Only the tail of the sound is gone: every frame decodes, yet the file is not whole.
    path = tmp_path / "in.mp4"
    write_clip(path, frames=10, container=FAST_START, audio="aac")
    path.write_bytes(path.read_bytes()[:-40])
    reader = VideoReader(path)
    assert len(list(reader)) == 10
    assert reader.stopped == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("codec", "suffix", "options"),
    [
        ("ffv1", ".mkv", {"slicecrc": "1", "level": "3"}),
        ("libvpx-vp9", ".webm", {"lossless": "1"}),
    ],
)
def test_what_cannot_be_decoded_after_damage_ends_the_pass(
    tmp_path: Path, codec: str, suffix: str, options: dict[str, str]
) -> None:
    path = tmp_path / f"in{suffix}"
    write_clip(path, codec=codec, frames=20, noise=True, options=options)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][12]
        position, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    reader = VideoReader(path)
    assert len(list(reader)) == 12
    assert reader.stopped == pytest.approx(0.48)


def test_damage_inside_is_passed_over_counted_and_placed(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    write_clip(path, frames=40, noise=True, options={"qp": "0", "g": "10", "bf": "0"})
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][19]
        position, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    reader = VideoReader(path)
    frames = list(reader)
    assert reader.stopped is None
    assert len(frames) == 39
    assert reader.notes == ["1 frame lost at 00:00.720"]
    with VideoWriter(tmp_path / "out.mp4", reader, preset="ultrafast") as writer:
        for frame in reader:
            writer.write(frame)
    assert VideoReader(tmp_path / "out.mp4").info.num_frames == 39


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_missing_packets_are_counted_and_placed(tmp_path: Path, suffix: str) -> None:
    write_clip(tmp_path / "whole.mp4", frames=50, options={"qp": "0", "g": "1"})
    path = tmp_path / f"in{suffix}"
    with av.open(str(tmp_path / "whole.mp4")) as source, av.open(str(path), "w") as output:
        (stream,) = source.streams.video
        copied = output.add_stream_from_template(stream)
        for number, packet in enumerate(source.demux(stream)):
            if packet.dts is not None and number not in (20, 21, 35):
                packet.stream = copied
                output.mux(packet)
    reader = VideoReader(path)
    assert len(list(reader)) == 47
    assert reader.notes == ["3 frames lost at 00:00.760, 00:01.360"]


def test_uneven_frames_are_no_losses(tmp_path: Path) -> None:
    write_clip(tmp_path / "in.mp4", frames=30, durations=(3600, 3600, 7200, 3000))
    reader = VideoReader(tmp_path / "in.mp4")
    assert len(list(reader)) == 30
    assert not reader.notes


def test_trailing_rubbish_is_not_a_cut(tmp_path: Path) -> None:
    path = tmp_path / "in.mp4"
    write_clip(path, frames=4)
    with path.open("ab") as stream:
        stream.write(struct.pack(">I4s", 1 << 30, b"junk") + b"x" * 100)
    reader = VideoReader(path)
    assert len(list(reader)) == 4
    assert reader.stopped is None


def test_cover_art_is_not_a_video(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as output:
        sound = output.add_stream("aac", rate=48000)
        cover = output.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.int16), layout="mono")
        frame.rate = 48000
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        output.mux([*cover.encode(picture), *cover.encode(None)])
        output.mux([*sound.encode(frame), *sound.encode(None)])
    assert "only sound" in message(path)
