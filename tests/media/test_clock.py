"""Clocks that repeat, step back, leap or start late: sound and picture stay in step."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swapper.media.clock import Clock, TrackClock
from swapper.media.video_reader import VideoReader
from swapper.media.video_writer import VideoWriter
from tests.media.clips import FRAME, sound_packets, write_clip
from tests.media.splices import segment, splice, stamp_again
from tests.media.test_video import copy

MS = Fraction(1, 1000)


def placed(stamps: list[int], duration: int = 40, *, leaps: bool = False) -> list[int]:
    clock = Clock(MS, leaps=leaps)
    following = [*stamps[1:], None]
    return [
        clock.place(each, duration, ahead) for each, ahead in zip(stamps, following, strict=True)
    ]


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([0, 40, 80], [0, 40, 80]),
        ([0, 33, 400, 7000], [0, 33, 400, 7000]),  # uneven, with a gap
        ([0, 40, 40, 120], [0, 40, 80, 120]),  # stamped twice
        ([0, 40, 10, 120], [0, 40, 80, 120]),  # stamped earlier
        ([0, 40, 40, 60, 100], [0, 40, 59, 60, 100]),  # a frame too many
        ([0, 40, 80, 0, 40, 80], [0, 40, 80, 120, 160, 200]),  # spliced
        ([500, 540, 0, 40, -300, -260], [500, 540, 580, 620, 660, 700]),  # twice
        ([0, 40, 80, 10, 50, 200, 240], [0, 40, 80, 120, 160, 200, 240]),  # the first comes back
    ],
)
def test_the_clock_goes_on(stamps: list[int], expected: list[int]) -> None:
    assert placed(stamps) == expected


def test_a_leap_ahead_is_a_break_where_parts_bear_clocks_of_their_own() -> None:
    stamps = [0, 40, 95_000_000, 95_000_040]
    assert placed(stamps) == stamps
    assert placed(stamps, leaps=True) == [0, 40, 80, 120]


@given(st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30), st.booleans())
def test_time_never_stands_still(stamps: list[int], leaps: bool) -> None:
    times = placed(stamps, leaps=leaps)
    assert all(b > a for a, b in pairwise(times))
    assert times[0] == stamps[0]


def test_a_track_breaks_with_the_video() -> None:
    track = TrackClock(MS)
    stamps = [0, 20, 40, 0, 20, 40]
    following = [*stamps[1:], None]
    found = [
        track.place_in_step(each, 20, ahead, [Fraction(48, 1000)])
        for each, ahead in zip(stamps, following, strict=True)
    ]
    assert found == [0, 20, 40, None, 68, 88]  # the picture's second part began at 48 ms


def test_a_track_that_steps_back_alone_drops_what_it_had() -> None:
    track = TrackClock(MS)
    stamps = [0, 20, 40, 60, 20, 40, 60, 80, 100]
    following = [*stamps[1:], None]
    found = [
        track.place_in_step(each, 20, ahead, [])
        for each, ahead in zip(stamps, following, strict=True)
    ]
    assert found == [0, 20, 40, 60, None, None, None, 80, 100]


def test_a_gap_in_a_track_alone_stays_a_gap() -> None:
    track = TrackClock(MS, leaps=True)
    stamps = [0, 20, 300_000, 300_020]
    following = [*stamps[1:], None]
    found = [
        track.place_in_step(each, 20, ahead, [])
        for each, ahead in zip(stamps, following, strict=True)
    ]
    assert found == stamps
    track = TrackClock(MS, leaps=True)
    found = [
        track.place_in_step(each, 20, ahead, [Fraction(-299_950, 1000)])
        for each, ahead in zip(stamps, following, strict=True)
    ]
    assert found == [0, 20, 50, 70]  # the picture leapt as well


def ends(path: Path) -> dict[str, tuple[float, float]]:
    """First and last time of each kind of stream, in seconds."""
    found: dict[str, tuple[float, float]] = {}
    with av.open(str(path)) as container:
        for packet in container.demux():
            if packet.pts is None:
                continue
            begin = float(packet.pts * packet.time_base)
            end = begin + float((packet.duration or 0) * packet.time_base)
            kind = packet.stream.type
            first, last = found.get(kind, (begin, end))
            found[kind] = min(first, begin), max(last, end)
    return found


def test_spliced_recordings_follow_on(tmp_path: Path) -> None:
    part = segment(tmp_path / "part.ts", audio="aac")
    joined = splice(tmp_path / "joined.ts", part, part)
    reader = copy(joined, tmp_path / "out.mp4")
    assert reader.stopped is None
    (note,) = reader.notes
    assert "clock steps back or leaps at 1.0" in note
    times = [frame.time for frame in VideoReader(tmp_path / "out.mp4")]
    assert len(times) == 50
    assert times == pytest.approx([index / 25 for index in range(50)], abs=0.002)
    found = ends(tmp_path / "out.mp4")
    assert found["video"][1] - found["video"][0] == pytest.approx(2, abs=0.01)
    assert found["audio"][1] - found["audio"][0] == pytest.approx(2, abs=0.06)


def test_the_same_without_sound(tmp_path: Path) -> None:
    part = segment(tmp_path / "part.ts")
    copy(splice(tmp_path / "joined.ts", part, part, part), tmp_path / "out.mp4")
    begin, end = ends(tmp_path / "out.mp4")["video"]
    assert (begin, end) == pytest.approx((0, 3), abs=0.01)


def test_sound_before_a_cut_is_not_heard_twice(tmp_path: Path) -> None:
    """The second part's picture goes on, its sound begins half a second earlier."""
    one = segment(tmp_path / "one.ts", audio="aac")
    two = segment(tmp_path / "two.ts", audio="aac", first_pts=25 * FRAME, audio_start=0.5)
    copy(splice(tmp_path / "joined.ts", one, two), tmp_path / "out.mp4")
    found = ends(tmp_path / "out.mp4")
    assert found["video"][1] - found["video"][0] == pytest.approx(2, abs=0.03)
    assert found["audio"][1] <= found["video"][1] + 0.06


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_packet_that_is_stamped_again_costs_nothing(tmp_path: Path, suffix: str) -> None:
    write_clip(tmp_path / "in.mkv", frames=25, audio="aac")
    before = len(sound_packets(tmp_path / "in.mkv"))
    stamp_again(tmp_path / "in.mkv", 2, 20, 100)
    copy(tmp_path / "in.mkv", tmp_path / f"out{suffix}")
    assert len(list(VideoReader(tmp_path / f"out{suffix}"))) == 25
    after = sound_packets(tmp_path / f"out{suffix}")
    assert len(after) == before


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_clip_that_starts_late_starts_at_zero(tmp_path: Path, suffix: str) -> None:
    options = {"output_ts_offset": "10000"}
    write_clip(tmp_path / "late.ts", frames=25, audio="aac", audio_start=0.2, container=options)
    copy(tmp_path / "late.ts", tmp_path / f"out{suffix}")
    source, found = ends(tmp_path / "late.ts"), ends(tmp_path / f"out{suffix}")
    assert source["video"][0] >= 10_000
    assert min(found["video"][0], found["audio"][0]) == pytest.approx(0, abs=0.03)
    offset = source["audio"][0] - source["video"][0]
    assert found["audio"][0] - found["video"][0] == pytest.approx(offset, abs=0.03)


def test_a_start_within_the_first_second_is_kept(tmp_path: Path) -> None:
    stamps = write_clip(tmp_path / "in.mp4", first_pts=9000)
    copy(tmp_path / "in.mp4", tmp_path / "out.mp4")
    reader = VideoReader(tmp_path / "out.mp4")
    times = [frame.pts * reader.coded.time_base for frame in reader if frame.pts is not None]
    assert times == [Fraction(each, 90_000) for each in stamps]
    assert not reader.notes


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("frames", [19, 20, 21, 22, 23])
def test_uneven_frames_that_are_reordered_end_in_time(
    tmp_path: Path, suffix: str, frames: int
) -> None:
    uneven = (3600, 1800, 7200, 3000, 5400, 9000)
    stamps = write_clip(tmp_path / "in.mkv", frames=frames, durations=uneven)
    end = (stamps[-1] + uneven[(frames - 1) % 6]) / 90_000
    reader = VideoReader(tmp_path / "in.mkv")
    with VideoWriter(tmp_path / f"out{suffix}", reader, preset="medium") as writer:
        for frame in reader:
            writer.write(frame)
    with av.open(str(tmp_path / f"out{suffix}")) as container:
        (stream,) = container.streams.video
        assert stream.codec_context.has_b_frames
        lengths = [(container.duration or 0) / 1e6]  # of the edit list, or of Matroska's header
        if stream.duration is not None and stream.time_base is not None:
            lengths.append(float(stream.duration * stream.time_base))  # of the packets
    assert lengths == pytest.approx([end] * len(lengths), abs=0.002)
    if suffix == ".mkv":  # of MP4 packets no reader knows the end, if they were reordered
        assert ends(tmp_path / "out.mkv")["video"][1] == pytest.approx(end, abs=0.002)
