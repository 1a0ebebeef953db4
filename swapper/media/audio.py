"""The sound of a clip into its converted copy: packets as they are, or transcoded if need be."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer

from swapper.errors import MediaError
from swapper.media.container import open_container

_log = logging.getLogger(__name__)

# What a container takes when it cannot hold the footage's own codec.
_FALLBACK = {".webm": "libopus", ".mp4": "aac", ".mov": "aac", ".mkv": "flac"}


class AudioTracks:
    """Copies the sound tracks of one file into another, in step with the pictures.

    Args:
        source: File with the sound.
        output: Container being written; the tracks are added to it at once.
        path: Of the output, for its suffix and for messages.

    Raises:
        MediaError: A track that fits the container neither as it is nor transcoded.
    """

    def __init__(self, source: Path, output: OutputContainer, path: Path) -> None:
        self._container = open_container(source)
        self._output = output
        self._path = path
        self._tracks: dict[int, tuple[AudioStream, bool]] = {}
        self._held: av.Packet[Any] | None = None
        streams = list(self._container.streams.audio)
        for stream in streams:
            self._tracks[stream.index] = self._add(stream)
        self._packets: Iterator[av.Packet[Any]] = iter(())
        if streams:
            self._packets = self._container.demux(*streams)

    def __enter__(self) -> AudioTracks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    def copy_until(self, time: Fraction | None) -> None:
        """Write the sound that begins before `time` in seconds; all that is left for None."""
        while True:
            packet = self._held or self._next()
            self._held = None
            if packet is None:
                return
            assert packet.dts is not None, "_next leaves the others out"
            if time is not None and packet.dts * packet.time_base >= time:
                self._held = packet
                return
            self._write(packet)

    def finish(self) -> None:
        """Write what the encoders of transcoded tracks still hold."""
        for track, copied in self._tracks.values():
            if not copied:
                self._output.mux(track.encode(None))

    def _add(self, stream: AudioStream) -> tuple[AudioStream, bool]:
        try:
            track, copied = self._output.add_stream_from_template(stream), True
        except (ValueError, av.FFmpegError):
            track, copied = self._add_transcoded(stream), False
        if stream.language:
            track.metadata["language"] = stream.language
        return track, copied

    def _add_transcoded(self, stream: AudioStream) -> AudioStream:
        suffix = self._path.suffix.lower()
        if stream.codec_context is None:
            raise MediaError(
                f"{self._path}: {suffix} cannot hold the sound of the input; write .mkv"
            )
        fallback = _FALLBACK[suffix]
        was, becomes = stream.codec_context.name, fallback.removeprefix("lib")
        _log.warning("%s: %s cannot hold %s; coding it as %s", self._path, suffix, was, becomes)
        rate = 48000 if fallback == "libopus" else stream.rate
        track = self._output.add_stream(fallback, rate=rate)
        assert isinstance(track, AudioStream)
        track.codec_context.layout = stream.layout.name
        if fallback != "flac":
            # 96 kbit/s a channel: transparent for Opus, good for AAC.
            track.codec_context.bit_rate = 96_000 * stream.layout.nb_channels
        return track

    def _next(self) -> av.Packet[Any] | None:
        """The next packet with a timestamp, None at the end or where a cut file breaks off."""
        try:
            for packet in self._packets:
                if packet.dts is not None and packet.size and not packet.is_corrupt:
                    return packet
        except av.FFmpegError:
            self._packets = iter(())
        return None

    def _write(self, packet: av.Packet[Any]) -> None:
        track, copied = self._tracks[packet.stream.index]
        if copied:
            packet.stream = track
            self._output.mux(packet)
            return
        source: AudioStream = packet.stream
        try:
            frames = source.decode(packet)
        except av.FFmpegError:
            return  # a damaged packet of sound is a click, not the end
        for frame in frames:
            self._output.mux(track.encode(frame))
