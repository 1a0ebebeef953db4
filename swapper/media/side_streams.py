"""Carry what a clip has besides pictures and sound: subtitles, chapters, timecode, attachments."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.stream import Stream
from av.video.stream import VideoStream

from swapper.media.container import open_container, video_stream
from swapper.media.video_reader import VideoReader

_log = logging.getLogger(__name__)

# Subtitles that each container takes as they are.
_FITS = {
    ".mp4": re.compile("mov_text"),
    ".mov": re.compile("mov_text"),
    ".webm": re.compile("webvtt"),
    ".mkv": re.compile("subrip|ass|ssa|webvtt|hdmv_pgs_subtitle|dvd_subtitle|dvb_subtitle"),
}


class SideStreams(AbstractContextManager["SideStreams"]):
    """Copies the side streams of a clip into `output`, written to `path`, amid the video.

    Chapters, timecode, attachments and the tracks of subtitles are added at once. What the
    container cannot hold is named in one warning.
    """

    def __init__(self, source: VideoReader, output: OutputContainer, path: Path) -> None:
        self._start = source.coded.start
        self._container = open_container(source.path)
        self._output = output
        self._suffix = path.suffix.lower()
        self._tracks: dict[int, Stream] = {}
        self._held: av.Packet[Any] | None = None
        self._unfit = f"{self._suffix} cannot hold it"
        self._pictures = video_stream(self._container, source.path)
        left_out = [name for name in map(self._carry, self._container.streams) if name]
        self._add_chapters()
        subtitles = [self._container.streams[index] for index in self._tracks]
        self._packets = self._subtitles(subtitles)
        if left_out:
            _log.warning("%s: left out %s", path, ", ".join(left_out))

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def copy_until(self, time: Fraction | None) -> None:
        """Write the subtitles that begin before `time` in seconds; all remaining ones for None."""
        while True:
            self._held = self._held or next(self._packets, None)
            if self._held is None:
                return
            packet = self._held
            assert packet.pts is not None, "_subtitles leaves the others out"
            moved = packet.pts - round(self._start / packet.time_base)
            if time is not None and moved * packet.time_base >= time:
                return
            self._held = None
            packet.pts = packet.dts = moved
            packet.stream = self._tracks[packet.stream.index]
            self._output.mux(packet)

    def _carry(self, stream: Stream) -> str:
        """Add a stream if it can be kept; return its name if it cannot."""
        if stream.type == "subtitle":
            return self._add_subtitles(stream)
        if stream.type == "attachment":
            return self._add_attachment(stream)
        if isinstance(stream, VideoStream) and stream.index != self._pictures.index:
            cover = stream.disposition & av.stream.Disposition.attached_pic
            return "cover art" if cover else "a further video track"
        if stream.type == "data" and not stream.metadata.get("timecode"):
            # Besides a timecode, MOV's chapters are such a track; they are copied as chapters.
            return "" if self._container.chapters() else "a data track"
        return ""

    def _add_subtitles(self, stream: Stream) -> str:
        context: Any = stream.codec_context
        codec = "unknown" if context is None else str(context.codec.canonical_name)
        if not _FITS[self._suffix].fullmatch(codec):
            return f"subtitles ({codec}, {self._unfit})"
        try:
            track = self._output.add_stream_from_template(stream)
        except (ValueError, av.FFmpegError):
            return f"subtitles ({codec}, {self._unfit})"
        if language := stream.metadata.get("language"):
            track.metadata["language"] = language
        self._tracks[stream.index] = track
        return ""

    def _add_attachment(self, stream: Any) -> str:
        name = stream.name or "attachment"
        if self._suffix != ".mkv" or not stream.data:
            return f"attachment {name} ({self._unfit})"
        self._output.add_attachment(
            name, stream.mimetype or "application/octet-stream", stream.data
        )
        return ""

    def _add_chapters(self) -> None:
        kept = []
        for each in self._container.chapters():
            moved = round(self._start / Fraction(each["time_base"] or 1))
            each["start"], each["end"] = max(0, each["start"] - moved), each["end"] - moved
            if each["end"] > each["start"]:  # else it ends before the clip begins
                kept.append(each)
        if kept:
            self._output.set_chapters(kept)

    def _subtitles(self, streams: list[Stream]) -> Iterator[av.Packet[Any]]:
        if streams:
            with suppress(av.FFmpegError):  # damage ends them, as it ends the pictures
                for packet in self._container.demux(*streams):
                    if packet.pts is not None and packet.size and not packet.is_corrupt:
                        yield packet
