"""Copy audio tracks into a converted clip, transcoded where the container requires it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import OutputContainer

from swapper.errors import MediaError
from swapper.media.clock import TrackClock
from swapper.media.container import open_container
from swapper.media.video_reader import VideoReader

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
    """Copies the audio tracks of a clip into `output`, written to `path`, amid the video.

    The tracks are added at once.

    Raises:
        MediaError: A track can be neither copied nor transcoded.
    """

    def __init__(self, source: VideoReader, output: OutputContainer, path: Path) -> None:
        self._source = source
        self._container = open_container(source.path)
        self._output = output
        self._path = path
        self._tracks: dict[int, tuple[AudioStream, bool]] = {}
        self._held: tuple[av.Packet[Any], int | None] | None = None
        self._clocks: dict[int, TrackClock] = {}
        self._resamplers: dict[int, tuple[tuple[str, str, int], av.AudioResampler]] = {}
        streams = list(self._container.streams.audio)
        for stream in streams:
            self._tracks[stream.index] = self._add(stream)
            assert stream.time_base is not None, "demuxers always set a time base"
            leaps = "mpegts" in self._container.format.name
            self._clocks[stream.index] = TrackClock(stream.time_base, source.coded.start, leaps)
        self._packets = self._with_following(streams)

    def __exit__(self, *error: object) -> None:
        self._container.close()

    def copy_until(self, time: Fraction | None) -> None:
        """Write the packets that begin before `time` in seconds; all remaining ones for None.

        `time` is on the clip's clock. Where a track's own steps back, it waits for the video's to
        do so as well, and breaks in step with it.
        """
        while True:
            self._held = self._held or next(self._packets, None)
            if self._held is None:
                return
            packet, following = self._held
            clock = self._clocks[packet.stream.index]
            assert packet.dts is not None, "_intact leaves the others out"
            if time is not None:
                steps_back = clock.is_break(packet.dts, following)
                if (clock.now + 1 if steps_back else clock.seconds(packet.dts)) >= time:
                    return
            self._held = None
            placed = clock.place_in_step(
                packet.dts, packet.duration or 1, following, self._source.clock.offsets
            )
            if placed is None:
                continue
            moved = placed - packet.dts
            packet.dts = placed
            if packet.pts is not None:
                packet.pts += moved
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
            _LAYOUTS.get(channels, "stereo") if not named or "(" in stream.layout.name
            else stream.layout.name
        )  # fmt: skip
        if fallback != "alac":
            # 96 kbit/s per channel: transparent for Opus, good for AAC.
            track.codec_context.bit_rate = 96_000 * channels
        return track

    def _with_following(
        self, streams: list[AudioStream]
    ) -> Iterator[tuple[av.Packet[Any], int | None]]:
        """Yield packets, each with the timestamp of its track's next one."""
        waiting: dict[int, av.Packet[Any]] = {}
        for packet in self._intact(streams):
            before = waiting.pop(packet.stream.index, None)
            waiting[packet.stream.index] = packet
            if before is not None:
                yield before, packet.dts
        for packet in waiting.values():
            yield packet, None

    def _intact(self, streams: list[AudioStream]) -> Iterator[av.Packet[Any]]:
        """Yield packets with a timestamp, up to the end or damage."""
        if not streams:
            return
        with suppress(av.FFmpegError):
            for packet in self._container.demux(*streams):
                if packet.dts is not None and packet.size and not packet.is_corrupt:
                    yield packet

    def _resampled(self, track: AudioStream, frame: av.AudioFrame) -> list[av.AudioFrame]:
        """Bring a frame to the encoder's format; recordings may change theirs on the way."""
        known = self._resamplers.get(track.index)
        if known is None or known[0] != _like(frame):
            context = track.codec_context
            resampler = av.AudioResampler(context.format, context.layout, context.sample_rate)
            known = self._resamplers[track.index] = (_like(frame), resampler)
        return known[1].resample(frame)

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
            for each in self._resampled(track, frame):
                self._output.mux(track.encode(each))


def _like(frame: av.AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _codec_name(stream: AudioStream) -> str:
    """Return FFmpeg's name of the codec, not of the decoder in use."""
    context: AudioCodecContext | None = stream.codec_context  # None if nothing here decodes it
    return "unknown" if context is None else str(context.codec.canonical_name)
