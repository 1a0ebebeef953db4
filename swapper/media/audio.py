"""Copy audio tracks into a converted clip, transcoded where the container requires it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import OutputContainer

from swapper.errors import MediaError
from swapper.media.container import open_container

_log = logging.getLogger(__name__)

# Codecs that players support in each container; FFmpeg would fail too late. Matroska takes all.
_FITS = {
    ".mp4": re.compile("aac|mp3|mp2|ac3|eac3|alac|opus|flac|dts"),
    ".mov": re.compile("aac|mp3|ac3|eac3|alac|pcm_(s16|s24|s32|f32|f64)[lb]e"),
    ".webm": re.compile("opus|vorbis"),
    ".mkv": re.compile(".*"),
}
_LAYOUTS = {1: "mono", 2: "stereo", 4: "quad", 6: "5.1", 8: "7.1"}
_LOSSLESS = re.compile("pcm_.*|flac|alac|wavpack|tta|ape|truehd|mlp")


class AudioTracks(AbstractContextManager["AudioTracks"]):
    """Copies the audio tracks of `source` into `output`, written to `path`, amid the video.

    The tracks are added at once.

    Raises:
        MediaError: A track can be neither copied nor transcoded.
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

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def copy_until(self, time: Fraction | None) -> None:
        """Write the packets that begin before `time` in seconds; all remaining ones for None."""
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
        """Flush the encoders of transcoded tracks."""
        for track, copied in self._tracks.values():
            if not copied:
                self._output.mux(track.encode(None))

    def _add(self, stream: AudioStream) -> tuple[AudioStream, bool]:
        track, copied = self._add_copy(stream), True
        if track is None:
            track, copied = self._add_transcoded(stream), False
        if stream.language:
            track.metadata["language"] = stream.language
        return track, copied

    def _add_copy(self, stream: AudioStream) -> AudioStream | None:
        """Add a track for copied packets, if the container supports the codec."""
        if not _FITS[self._path.suffix.lower()].fullmatch(_codec_name(stream)):
            return None
        try:
            return self._output.add_stream_from_template(stream)
        except (ValueError, av.FFmpegError):
            return None

    def _add_transcoded(self, stream: AudioStream) -> AudioStream:
        suffix = self._path.suffix.lower()
        unfit = f"{self._path}: {suffix} cannot hold"
        if stream.codec_context is None:
            raise MediaError(f"{unfit} the audio of the input; write .mkv")
        was = _codec_name(stream)
        fallback = "libopus"
        if suffix != ".webm":
            fallback = "alac" if _LOSSLESS.fullmatch(was) else "aac"
        _log.warning("%s %s; transcoding it to %s", unfit, was, fallback.removeprefix("lib"))
        rate = 48000 if fallback == "libopus" else stream.rate
        track = self._output.add_stream(fallback, rate=rate)
        assert isinstance(track, AudioStream)
        channels = stream.layout.nb_channels
        named = "channels" not in stream.layout.name  # WAV and AVI often store only their number
        track.codec_context.layout = (
            stream.layout.name if named else _LAYOUTS.get(channels, "stereo")
        )
        if fallback != "alac":
            # 96 kbit/s per channel: transparent for Opus, good for AAC.
            track.codec_context.bit_rate = 96_000 * channels
        return track

    def _next(self) -> av.Packet[Any] | None:
        """Return the next packet with a timestamp, None at the end or at damage."""
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
            return  # a damaged audio packet is skipped
        for frame in frames:
            self._output.mux(track.encode(frame))


def _codec_name(stream: AudioStream) -> str:
    """Return FFmpeg's name of the codec, not of the decoder in use."""
    context: AudioCodecContext | None = stream.codec_context  # None if nothing here decodes it
    return "unknown" if context is None else str(context.codec.canonical_name)
