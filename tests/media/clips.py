"""Small clips for the tests, drawn and encoded on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 96, 64
FRAME = 3600  # ticks of 1/90000 s: 25 frames a second


def ramps(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Smooth colours without an edge."""
    y, x = np.mgrid[:height, :width]
    red = 40 + 150 * x / width
    green = 30 + 180 * y / height
    blue = 200 - 120 * (x + y) / (height + width)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def picture(index: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """Ramps with a white block top left and a moving square: no two sides alike."""
    image = ramps(width, height)
    image[: height // 4, : width // 4] = 235
    left = (4 * index) % (width - 8)
    image[height // 2 : height // 2 + 8, left : left + 8] = (220, 40, 60)
    return image


def noisy_planes(frame: av.VideoFrame, seed: int) -> None:
    """Fill a planar frame with values that no RGB conversion would give back."""
    random = np.random.default_rng(seed)
    bits = max(part.bits for part in frame.format.components)
    low, high = 2 ** (bits - 3), 2**bits - 2 ** (bits - 3)
    for plane in frame.planes:
        size = 1 if bits <= 8 else 2
        count = plane.line_size * plane.height // size
        values = random.integers(low, high, count, dtype=np.uint16)
        plane.update(values.astype(np.uint8 if size == 1 else "<u2").tobytes())


def write_clip(
    path: Path,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    frames: int = 8,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    durations: Sequence[int] = (FRAME,),
    first_pts: int = 0,
    tags: tuple[int, int, int, int] | None = None,
    rotation: int | None = None,
    mirror: bool = False,
    sar: Fraction | None = None,
    noise: bool = False,
    smooth: bool = False,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    audio: str | None = None,
    audio_start: float = 0.0,
) -> list[int]:
    """Encode a lossless clip and return the timestamps given to its frames (1/90000 s)."""
    width, height = size
    quiet = {"x265-params": "lossless=1:log-level=none"} if codec == "libx265" else {}
    lossless = {"qp": "0"} if codec == "libx264" else quiet
    tick = Fraction(1, 90000)
    stamps: list[int] = []
    with av.open(str(path), "w", options=container or {}) as output:
        stream = output.add_stream(codec, rate=25, options=options or lossless)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        context = stream.codec_context
        stream.time_base = context.time_base = tick
        if tags:
            context.colorspace, context.color_range = tags[0], tags[1]
            context.color_primaries, context.color_trc = tags[2], tags[3]
        if rotation is not None or mirror:
            stream.set_display_rotation(rotation or 0, hflip=mirror)
        if sar:
            context.sample_aspect_ratio = sar
        sound = _add_sound(output, audio) if audio else None
        pending: dict[int, int] = {}
        pts = first_pts
        for index in range(frames + 1):
            packets = []
            if index < frames:
                frame = _frame(index, size, pix_fmt, tags, noise, smooth)
                pending[pts] = durations[index % len(durations)]
                frame.pts, frame.time_base, frame.duration = pts, tick, pending[pts]
                stamps.append(pts)
                packets = stream.encode(frame)
                pts += pending[stamps[-1]]
            else:
                packets = stream.encode(None)
            for packet in packets:
                packet.duration = pending.pop(packet.pts)
                output.mux(packet)
        if sound:
            seconds = float((pts - first_pts) * tick)
            _encode_sound(output, sound, seconds, audio_start)
    return stamps


def _frame(
    index: int,
    size: tuple[int, int],
    pix_fmt: str,
    tags: tuple[int, int, int, int] | None,
    noise: bool,
    smooth: bool,
) -> av.VideoFrame:
    if noise:
        frame = av.VideoFrame(*size, pix_fmt)
        noisy_planes(frame, index)
        return frame
    rgb = av.VideoFrame.from_ndarray(
        ramps(*size) if smooth else picture(index, *size), format="rgb24"
    )
    matrix = {1: 1, 9: 9}.get(tags[0], 5) if tags else 5
    full = 2 if tags and tags[1] == 2 else 1
    if pix_fmt.startswith(("rgb", "gbr", "bgr")):
        return rgb.reformat(format=pix_fmt)
    return rgb.reformat(
        format=pix_fmt,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=2,
        dst_color_range=full,
    )


def _add_sound(output: Any, codec: str) -> Any:
    sound = output.add_stream(codec, rate=48000)
    sound.codec_context.layout = "stereo"
    return sound


def _encode_sound(output: Any, sound: Any, seconds: float, start: float) -> None:
    rate, first = 48000, round(start * 48000)
    total = max(0, round(seconds * rate) - first)
    time = (np.arange(total) + first) / rate
    tone = (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
    frame.rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
    for packet in [*sound.encode(frame), *sound.encode(None)]:
        output.mux(packet)


def decoded(path: Path) -> list[av.VideoFrame]:
    """All frames of a file, straight from PyAV."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def planes(frame: av.VideoFrame) -> list[NDArray[Any]]:
    """The samples of each plane without padding."""
    bits = max(part.bits for part in frame.format.components)
    dtype = np.dtype("u1") if bits <= 8 else np.dtype("<u2")
    found = []
    for plane in frame.planes:
        rows = np.frombuffer(bytes(plane), np.uint8).reshape(-1, plane.line_size)
        samples = rows[: plane.height, : plane.width * dtype.itemsize]
        found.append(np.ascontiguousarray(samples).view(dtype))
    return found


def has_sound(path: Path) -> bool:
    with av.open(str(path)) as container:
        return bool(container.streams.audio)


def sound_packets(path: Path) -> list[tuple[bytes, float]]:
    """Bytes and start in seconds of every packet of sound."""
    with av.open(str(path)) as container:
        return [
            (bytes(packet), float(packet.pts * packet.time_base))
            for packet in container.demux(audio=0)
            if packet.size
        ]
