"""Decode a stream's frames up to damage that ends it, over damage that does not."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, field

import av
from av.container import InputContainer
from av.video.stream import VideoStream


@dataclass(slots=True)
class DecoderState:
    """Decoder state of one pass over the file."""

    damaged: bool = False  # and cannot be decoded from here on
    failing: bool = False  # since the last frame
    last_pts: int | None = None  # of the last packet read, not necessarily of the last frame
    waiting: set[int] = field(default_factory=set)  # of packets whose frames are still to come

    def decode(self, stream: VideoStream, packet: av.Packet[VideoStream]) -> list[av.VideoFrame]:
        """Decode a packet and update the pending timestamps."""
        if packet.pts is not None:
            self.waiting.add(packet.pts)
        frames = stream.decode(packet)
        for frame in frames:
            if frame.pts is not None:
                self.waiting = {pts for pts in self.waiting if pts > frame.pts}
        return frames


def decoded_frames(
    container: InputContainer, stream: VideoStream, state: DecoderState
) -> Generator[av.VideoFrame, None, None]:
    """Yield frames in order of presentation, up to damage after which nothing can be decoded."""
    stream.thread_type = "AUTO"
    started = False
    held: av.Packet[VideoStream] | None = None
    try:
        for packet in container.demux(stream):
            # A packet marked corrupt is truncated if it is the last, else it may be valid.
            suspect, held = held, None
            if packet.size:
                state.last_pts = packet.pts
                if suspect is not None:
                    yield from state.decode(stream, suspect)
            elif suspect is not None:
                state.damaged = True
            if packet.is_corrupt:
                held = packet
                continue
            try:
                frames = state.decode(stream, packet)
            except av.error.EOFError:
                return
            except av.FFmpegError:
                state.waiting.clear()
                state.failing = started  # captures often begin between key frames
                continue
            started = started or bool(frames)
            state.failing = state.failing and not frames
            yield from frames
        state.damaged |= state.failing
    except av.FFmpegError:
        state.damaged = True
        yield from _flush_decoder(stream, state)


def _flush_decoder(stream: VideoStream, state: DecoderState) -> list[av.VideoFrame]:
    """Return the buffered frames from before the damage."""
    held: list[av.VideoFrame] = []
    with suppress(av.FFmpegError):
        held = stream.decode(None)
    lost = state.waiting - {frame.pts for frame in held if frame.pts is not None}
    return [frame for frame in held if not lost or frame.pts is None or frame.pts < min(lost)]
