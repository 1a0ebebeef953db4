"""Video decoding in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import KW_ONLY, dataclass, field
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from swapper.errors import MediaError
from swapper.media.clock import Clock
from swapper.media.colorspace import FULL, Colour, deep_rgb_from_frame, layout_of, rgb_from_frame
from swapper.media.container import is_cut, open_container, timecode_of, video_stream
from swapper.media.damage import DamageLog
from swapper.media.decoding import DecoderState, decoded_frames
from swapper.media.hdr import TRANSFERS, Transfer, display_picture
from swapper.media.images import Plate
from swapper.media.orientation import Orientation, display_matrix

_FASTEST = 1000
"""Frames a second above which a claimed rate is none."""
_LATE_START = 1
"""Seconds at which a clip's clock may start and be kept; from there on it is moved to zero."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Properties of a clip.

    Attributes:
        path: The file; for images their folder or the first one.
        width: Upright, in pixels.
        height: Upright, in pixels.
        rate: Average frames per second.
        num_frames: Frame count of the container, if it has one.
        pix_fmt: FFmpeg's name of the coded pixel format.
        bit_depth: Bits per component.
    """

    path: Path
    width: int
    height: int
    rate: Fraction
    num_frames: int | None
    pix_fmt: str
    bit_depth: int


@dataclass(frozen=True, slots=True)
class CodedVideo:
    """Stream parameters that a writer preserves.

    Attributes:
        width, height: As coded, before rotation.
        pix_fmt: FFmpeg's name.
        colour: Colour encoding.
        tags: The file's tags (colorspace, range, primaries, transfer); unspecified stays so.
        time_base: Seconds per tick of every pts and duration.
        first_pts: pts of the first frame, on the clip's clock.
        start: Seconds by which the clip's clock is earlier than the file's, which starts late.
        fields: Of interlaced video "tff" or "bff", which field is first; "" if it is progressive.
        sample_aspect_ratio: Pixel aspect ratio, or None.
        matrix: Display matrix (nine integers), or None.
        timecode: Of the first frame, "HH:MM:SS:FF"; "" without.
        metadata: Title, creation time and the like.
    """

    width: int
    height: int
    pix_fmt: str
    colour: Colour
    tags: tuple[int, int, int, int]
    time_base: Fraction
    first_pts: int
    start: Fraction
    fields: Literal["", "tff", "bff"]
    sample_aspect_ratio: Fraction | None
    matrix: tuple[int, ...] | None
    timecode: str
    metadata: dict[str, str]

    @property
    def hdr(self) -> Transfer | None:
        """Transfer curve of HDR video; None for any other."""
        return TRANSFERS.get(self.tags[3])

    @property
    def orientation(self) -> Orientation:
        """Display orientation."""
        return Orientation.from_matrix(self.matrix)


@dataclass(slots=True, eq=False)
class Frame:
    """One frame of a clip; its pixels are converted on first access.

    Attributes:
        index: From 0.
        pts: Presentation timestamp in the stream's time base, on a clock that starts at 0 and
            never steps back; None if the file has none.
        time: Seconds since the clip's first frame.
        duration: Display duration in the stream's time base, or None.
        raw: The decoded frame; None for an image.
        alpha: (H, W) uint8 or uint16 of an image with transparency.
    """

    index: int
    time: float
    _load: Callable[[], NDArray[np.uint8]]
    _: KW_ONLY
    pts: int | None = None
    duration: int | None = None
    raw: av.VideoFrame | None = None
    alpha: NDArray[Any] | None = None
    _load_deep: Callable[[], NDArray[np.float32]] | None = None
    _deep: NDArray[np.float32] | None = field(default=None, repr=False)
    _image: NDArray[np.uint8] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, image: NDArray[np.uint8], index: int = 0, time: float | None = None) -> Frame:
        """Create a frame from an image in memory, (H, W, 3) uint8 RGB."""
        return cls(index, index / 25 if time is None else time, lambda: image)

    @classmethod
    def of_plate(cls, plate: Plate, index: int, time: float) -> Frame:
        """Create a frame from an image file."""
        return cls(index, time, lambda: plate.image, alpha=plate.alpha, _deep=plate.deep)

    @property
    def image(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, upright, HDR as on an ordinary display; cached, so copy it before
        modifying it.
        """
        if self._image is None:
            self._image = self._load()
        return self._image

    @property
    def deep(self) -> NDArray[np.float32] | None:
        """(H, W, 3) float32 RGB in [0, 255], upright; None where 8 bits are all there is."""
        return self._deep if self._load_deep is None else self._load_deep()


class VideoReader(AbstractContextManager["VideoReader"]):
    """Decode a video sequentially; each iteration reopens the file.

    Attributes:
        info: Properties of the clip.
        coded: Stream parameters for a writer.
        stopped: After a pass, the time in seconds up to which a damaged or truncated file could be
            decoded; None if it was decoded to its end.
        faults: What the pass had to leave out, one line each.
        notes: After a pass, what is wrong with the clip and was mended or passed over.
        clock: Of the current pass: where the file's timestamps step back, if they do.

    Raises:
        MediaError: Missing, empty, not a video, only audio, or no frame can be decoded.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.paths = [self.path]
        self.stopped: float | None = None
        self.faults: list[str] = []
        self.notes: list[str] = []
        with open_container(self.path) as container:
            stream = video_stream(container, self.path)
            first = next(decoded_frames(container, stream, DecoderState()), None)
            if first is None:
                raise MediaError(f"{self.path}: no frame can be decoded; copy or download it again")
            self.coded = _coded_video(container, stream, first)
            self._leaps = "mpegts" in container.format.name
            self.clock = self._new_clock()
            self.info = _info(self.path, stream, self.coded)

    def __exit__(self, *error: object) -> None:
        """Nothing stays open between passes."""

    def __iter__(self) -> Iterator[Frame]:
        self.stopped = None
        state, log = DecoderState(damaged=is_cut(self.path)), DamageLog()
        with open_container(self.path) as container:
            stream = video_stream(container, self.path)
            self.clock = self._new_clock()
            index, end = -1, 0.0
            with closing(decoded_frames(container, stream, state)) as raws:
                placed = self._placed(raws)
                for index, (this, following) in enumerate(pairwise(chain(placed, (None,)))):
                    assert this is not None, "None only follows the last"
                    raw, pts = this
                    duration = _ticks_between(pts, following and following[1])
                    whole = not state.damaged and not self.clock.breaks
                    if following is None and whole and 0 < stream.frames <= index + 1:
                        duration = _last_duration(raw, _claimed_end(stream), state.last_pts)
                    frame = self._frame(index, raw, pts, duration or raw.duration or None)
                    ticks = None if following is None else duration
                    log.add(frame.time, ticks, corrupt=raw.is_corrupt)
                    seconds = (frame.duration or 0) * self.coded.time_base
                    end = frame.time + float(seconds or 1 / self.info.rate)
                    yield frame
            if state.damaged or self._cut_short(stream, index + 1, end):
                self.stopped = end
            self.notes = [*filter(None, [self.clock.describe()]), *log.describe()]
            if self.coded.hdr:
                self.notes.append(
                    f"it is HDR ({self.coded.hdr}); its faces are taken as on an ordinary display"
                )
            if self.coded.fields:
                self.notes.append(
                    "it is interlaced: faces in motion are combed; deinterlace it first if you can"
                )

    def _new_clock(self) -> Clock:
        return Clock(self.coded.time_base, self.coded.start, self._leaps)

    def _placed(self, raws: Iterable[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, int | None]]:
        """Yield frames with their pts on the clip's clock."""
        usual = max(1, round(1 / (self.info.rate * self.coded.time_base)))
        for raw, following in pairwise(chain(raws, (None,))):
            assert raw is not None, "None only follows the last"
            if raw.pts is None:
                yield raw, None
                continue
            ahead = None if following is None else following.pts
            ticks = _ticks_between(raw.pts, ahead) or raw.duration or usual
            yield raw, self.clock.place(raw.pts, min(ticks, 2 * usual), ahead)

    def _frame(
        self, index: int, raw: av.VideoFrame, pts: int | None, duration: int | None
    ) -> Frame:
        coded, orientation = self.coded, self.coded.orientation
        if (raw.width, raw.height, raw.format.name) != (coded.width, coded.height, coded.pix_fmt):
            # Some streams change size; a clip has one size.
            raw = raw.reformat(width=coded.width, height=coded.height, format=coded.pix_fmt)
        time = float(index / self.info.rate)
        if pts is not None:
            time = float((pts - coded.first_pts) * coded.time_base)

        def load() -> NDArray[np.uint8]:
            if coded.hdr is not None:
                rgb = display_picture(deep_rgb_from_frame(raw, coded.colour), coded.hdr)
            else:
                rgb = rgb_from_frame(raw, coded.colour)
            return np.ascontiguousarray(orientation.upright(rgb))

        def load_deep() -> NDArray[np.float32]:
            return np.ascontiguousarray(orientation.upright(deep_rgb_from_frame(raw, coded.colour)))

        deep = load_deep if self.info.bit_depth > 8 and coded.hdr is None else None
        return Frame(index, time, load, pts=pts, duration=duration, raw=raw, _load_deep=deep)

    def _cut_short(self, stream: VideoStream, num_frames: int, end: float) -> bool:
        """Return whether the container claims clearly more than was decoded."""
        claimed = _claimed_end(stream)
        known = stream.frames and num_frames >= stream.frames
        if claimed is None or known or self.clock.breaks:
            return False
        coded = self.coded
        missing = float(claimed * coded.time_base - coded.start) - end
        missing -= float(coded.first_pts * coded.time_base)
        return missing > max(0.1, float(2.5 / self.info.rate))


def _ticks_between(pts: int | None, following: int | None) -> int | None:
    """Return the ticks up to the next frame, if it is later.

    MP4 counts a packet's duration in decoding order: wrong for frames of uneven length that
    were reordered, so the timestamps come first.
    """
    if pts is None or following is None or following <= pts:
        return None
    return following - pts


def _last_duration(
    raw: av.VideoFrame, claimed_end: int | None, last_read: int | None
) -> int | None:
    """Return the ticks of the last frame of a complete MP4 or AVI.

    The packet's duration is used only if it is also the last in decoding order; then the
    container's end may be early by the decoder's delay.
    """
    remaining = (claimed_end or 0) - (raw.pts or 0)
    if last_read is None or last_read == raw.pts:
        return max(raw.duration or 0, remaining) or None
    return remaining if remaining > 0 else raw.duration or None


def _claimed_end(stream: VideoStream) -> int | None:
    """Return the stream's end in ticks according to the container; None if it is an estimate."""
    kind = stream.container.format.name
    if stream.duration and ("mov" in kind or "avi" in kind):
        return int((stream.start_time or 0) + stream.duration)
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d\.\d+)", stream.metadata.get("DURATION", ""))
    if match and stream.time_base:  # Matroska's statistics tag counts from zero
        hours, minutes, seconds = (Fraction(part) for part in match.groups())
        return int((hours * 3600 + minutes * 60 + seconds) / stream.time_base)
    return None


def _coded_video(
    container: InputContainer, stream: VideoStream, first: av.VideoFrame
) -> CodedVideo:
    context = stream.codec_context
    pix_fmt = first.format.name
    tags = (
        int(first.colorspace),
        int(first.color_range),
        int(context.color_primaries),
        int(context.color_trc),
    )
    assert stream.time_base is not None, "demuxers always set a time base"
    # A clip cut out of a longer one may start hours in; sound may start before the picture.
    start = Fraction(container.start_time or 0, av.time_base)
    # MPEG's streams never start at zero; nothing is meant by it.
    mpeg = container.format.name in ("mpeg", "mpegts")
    start = start if start >= _LATE_START or (mpeg and start > 0) else Fraction(0)
    first_pts = (first.pts or 0) - round(start / stream.time_base)
    return CodedVideo(
        width=first.width,
        height=first.height,
        pix_fmt=pix_fmt,
        colour=Colour.guess(tags[0], tags[1], pix_fmt, first.width, first.height),
        tags=(tags[0], FULL if pix_fmt.startswith("yuvj") else tags[1], tags[2], tags[3]),
        time_base=stream.time_base,
        first_pts=first_pts,
        start=start,
        fields=_fields(context.field_order, context.name) if first.interlaced_frame else "",
        sample_aspect_ratio=stream.sample_aspect_ratio or None,
        matrix=display_matrix(first),
        timecode=timecode_of(container),
        metadata=dict(container.metadata),
    )


def _fields(order: int, codec: str) -> Literal["tff", "bff"]:
    """Return which field is displayed first, from FFmpeg's AVFieldOrder.

    Unknown it is the top one, but the bottom one of DV.
    """
    known = order in (2, 3, 4, 5)
    return "bff" if order in (3, 4) or (not known and codec == "dvvideo") else "tff"


def _rate(stream: VideoStream) -> Fraction:
    """Return the average frame rate; containers without one may claim anything."""
    rates = stream.average_rate, stream.guessed_rate, stream.base_rate
    return next((rate for rate in rates if rate and rate <= _FASTEST), Fraction(25))


def _info(path: Path, stream: VideoStream, coded: CodedVideo) -> VideoInfo:
    width, height = coded.width, coded.height
    if coded.orientation.transpose:
        width, height = height, width
    return VideoInfo(
        path=path,
        width=width,
        height=height,
        rate=_rate(stream),
        num_frames=stream.frames or None,
        pix_fmt=coded.pix_fmt,
        bit_depth=layout_of(coded.pix_fmt).bits,
    )
