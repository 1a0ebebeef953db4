"""Clips whose clocks do what cameras, recorders and careless cuts make them do."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av

from tests.media.clips import HEIGHT, WIDTH, picture, write_clip

_CLUSTER, _SIMPLE_BLOCK, _BLOCK_GROUP, _BLOCK = 0x1F43B675, 0xA3, 0xA0, 0xA1
_SEGMENT = 0x18538067


def splice(path: Path, *parts: Path) -> Path:
    """Join MPEG-TS files as `cat` does."""
    path.write_bytes(b"".join(each.read_bytes() for each in parts))
    return path


def segment(path: Path, *, frames: int = 25, audio: str | None = None, **more: object) -> Path:
    """An MPEG-TS of its own clock, without reordered frames."""
    options = {"qp": "0", "bf": "0"}
    write_clip(path, frames=frames, audio=audio, options=options, **more)  # type: ignore[arg-type]
    return path


def stamp_again(path: Path, track: int, number: int, earlier: int) -> None:
    """Stamp one packet of a Matroska file earlier, in milliseconds."""
    data = bytearray(path.read_bytes())
    blocks = [at for at in _blocks(data, 0, len(data)) if data[at] == 0x80 | track]
    at = blocks[number] + 1
    (stamp,) = struct.unpack(">h", data[at : at + 2])
    data[at : at + 2] = struct.pack(">h", stamp - earlier)
    path.write_bytes(data)


def _blocks(data: bytearray, at: int, end: int) -> list[int]:
    """Where the contents of blocks begin: track, two bytes of time, flags."""
    found: list[int] = []
    while at < end:
        identity, at = _number(data, at, keep_marker=True)
        size, at = _number(data, at)
        if identity in (_SEGMENT, _CLUSTER, _BLOCK_GROUP):
            found += _blocks(data, at, min(at + size, end))
        elif identity in (_SIMPLE_BLOCK, _BLOCK):
            found.append(at)
        at += size
    return found


def _number(data: bytearray, at: int, *, keep_marker: bool = False) -> tuple[int, int]:
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    return value if keep_marker else value & ((1 << 7 * length) - 1), at + length


def write_interlaced(path: Path, fields: str, codec: str = "libx264", frames: int = 6) -> None:
    """A clip whose frames are flagged as interlaced, "tff" or "bff"."""
    with av.open(str(path), "w") as output:
        options = {"x264-params": f"{fields}=1"} if codec == "libx264" else {}
        stream = output.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuv420p" if codec == "libx264" else "yuv422p10le"
        stream.codec_context.flags |= 1 << 18 | 1 << 29
        graph = av.filter.Graph()
        pix_fmt = av.VideoFormat(stream.pix_fmt, WIDTH, HEIGHT)
        tick = Fraction(1, 25)
        source = graph.add_buffer(width=WIDTH, height=HEIGHT, format=pix_fmt, time_base=tick)
        marker, sink = graph.add("setfield", fields), graph.add("buffersink")
        source.link_to(marker)
        marker.link_to(sink)
        graph.configure()
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame = frame.reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = index, tick
            graph.push(frame)
            marked = graph.pull()
            marked.pts, marked.time_base, marked.pict_type = index, tick, 0  # type: ignore[union-attr]
            output.mux(stream.encode(marked))  # type: ignore[arg-type]
        output.mux(stream.encode(None))
