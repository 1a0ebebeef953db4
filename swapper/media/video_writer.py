"""Video encoding that preserves the properties of a template clip."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from swapper.errors import MediaError
from swapper.media.audio import AudioTracks
from swapper.media.codecs import choose_codec, choose_pixel_format, encoder_options
from swapper.media.colorspace import (
    FULL,
    LIMITED,
    TAG_OF_MATRIX,
    Colour,
    convert_format,
    layout_of,
    write_planes,
)
from swapper.media.container_writer import ContainerWriter
from swapper.media.side_streams import SideStreams
from swapper.media.video_reader import CodedVideo, Frame, VideoReader

_log = logging.getLogger(__name__)

# AV_CODEC_FLAG_FRAME_DURATION: encoders keep each frame's duration, where they can.
_FRAME_DURATION = 1 << 8
# AV_CODEC_FLAG_INTERLACED_DCT and _ME, and the encoders that know them.
_INTERLACED = 1 << 18 | 1 << 29
_INTERLACING = ("h264", "prores", "ffv1")
# Written by the muxer itself, or invalid for the copy.
_OWN_METADATA = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})


class VideoWriter(ContainerWriter):
    """Encode frames with the timing, orientation, colour tags and sound of the clip `template`.

    Args:
        path: Output; an existing file is replaced. Its folder is created.
        template: The clip that the frames come from.
        codec: "auto" keeps bit depth: H.264, HEVC above 8 bits; VP9 or AV1 in WebM. Or a name.
        crf: Quality, lower is better; 0 is lossless where the encoder can.
        preset: Speed, by x264's names.
        target: Where the finished file is moved instead of `path`.

    Raises:
        MediaError: Unknown suffix, a codec that does not fit it, or output and input are the same
            file.
        ValueError: Unknown codec or preset.
    """

    def __init__(
        self,
        path: str | Path,
        template: VideoReader,
        *,
        codec: str = "auto",
        crf: int = 16,
        preset: str = "medium",
        target: Path | None = None,
    ) -> None:
        super().__init__(path, target)
        self.template = template
        self.outputs = [self.path]
        coded = template.coded
        alpha = layout_of(coded.pix_fmt).alpha
        self.codec = choose_codec(self.path, codec, template.info.bit_depth, alpha=alpha)
        self.pix_fmt = choose_pixel_format(self.codec, coded.pix_fmt, coded.width, coded.height)
        self.options = encoder_options(self.path, self.codec, crf, preset, layout_of(self.pix_fmt))
        self._colour, self._tags = _output_colour(template, self.pix_fmt)
        if self.codec == "h264" and coded.fields:
            self.options["x264-params"] = f"{coded.fields}=1"
        self._warn_of_losses()
        self._fields: av.filter.Graph | None = None
        self._durations: dict[int, int] = {}
        self._lengths: set[int] = set()
        self._delay: int | None = None  # from decoding to presentation
        self._last_pts: int | None = None
        self._held: av.Packet[VideoStream] | None = None
        self._end = Fraction(0)
        if self.path.exists() and self.path.samefile(template.path):
            raise MediaError(f"{self.path}: is the input itself; choose another output")

    def _add_streams(self, output: OutputContainer, stack: ExitStack) -> None:
        coded = self.template.coded
        size = coded.width, coded.height
        stream = self._video = self._add_video(
            output, size, self.pix_fmt, self.template.info.rate, coded.time_base, self._tags
        )
        context = stream.codec_context
        context.flags |= _FRAME_DURATION
        if coded.fields and self.codec in _INTERLACING:
            context.flags |= _INTERLACED
            context.field_order = 2 if coded.fields == "tff" else 3  # AV_FIELD_TT, _BB
            self._fields = _field_setter(self, coded)
        if coded.sample_aspect_ratio:
            context.sample_aspect_ratio = coded.sample_aspect_ratio
        if self.codec == "hevc" and self.path.suffix.lower() != ".mkv":
            context.codec_tag = "hvc1"  # Apple's players require it instead of hev1
        if coded.matrix is not None:
            stream.set_display_matrix(coded.matrix)
        self._audio = stack.enter_context(AudioTracks(self.template, output, self.path))
        self._side = stack.enter_context(SideStreams(self.template, output, self.path))
        if coded.timecode:
            stream.metadata["timecode"] = coded.timecode  # MP4 and MOV make a track of it
        metadata = coded.metadata.items()
        output.metadata.update({k: v for k, v in metadata if k.lower() not in _OWN_METADATA})

    def _warn_of_losses(self) -> None:
        coded, layout = self.template.coded, layout_of(self.pix_fmt)
        if layout.bits < self.template.info.bit_depth:
            _log.warning("%s: %s cannot keep all bits", self.path, self.codec)
        if layout_of(coded.pix_fmt).alpha and not layout.alpha:
            _log.warning(
                "%s: %s drops the alpha channel; write .mov (ProRes 4444) or .mkv (FFV1)",
                self.path, self.codec,
            )  # fmt: skip
        if coded.fields and self.codec not in _INTERLACING:
            _log.warning(
                "%s: %s loses the field order of this interlaced clip; pass codec.name=h264, "
                "prores or ffv1, or deinterlace it first", self.path, self.codec,
            )  # fmt: skip
        odd = coded.width % 2 or coded.height % 2
        if odd and layout_of(coded.pix_fmt).chroma_shift > layout.chroma_shift:
            _log.warning(
                "%s: %d x %d is odd, so colour is stored in full (%s), which many players refuse; "
                "crop the clip to even sides, or pass codec.name=vp9 or av1",
                self.path, coded.width, coded.height, self.pix_fmt,
            )  # fmt: skip

    def write(
        self,
        frame: Frame,
        image: NDArray[np.uint8] | NDArray[np.float32] | None = None,
        changed: NDArray[np.bool_] | None = None,
    ) -> None:
        """Append a frame.

        Args:
            frame: From `template`, in order.
            image: (H, W, 3) RGB, uint8, or float32 in [0, 255] for more depth, upright, that
                replaces it; None writes the decoded planes unmodified.
            changed: (H, W) bool, upright: pixels outside keep the decoded planes, a chroma
                sample all of whose pixels are outside too. None means all changed.

        Raises:
            MediaError: Encoding or writing fails, e.g. on a full disk.
            ValueError: Shapes differ from the clip's, or the frame is not of a video.
        """
        if self._output is None:
            raise ValueError("the writer is not open: use it in a with statement")
        raw = self._prepare(frame, image, changed)
        pts = self._timestamp(frame)
        duration = frame.duration or max(1, self._ticks_per_frame())
        raw.pts, raw.time_base, raw.duration = pts, self.template.coded.time_base, duration
        raw.pict_type = 0  # else the encoder repeats the input's key frames
        self._durations[pts] = duration
        self._lengths.add(duration)
        self._last_pts = pts
        self._count += 1
        self._end = (pts + duration) * self.template.coded.time_base
        with self._guard():
            self._audio.copy_until(pts * self.template.coded.time_base)
            self._side.copy_until(pts * self.template.coded.time_base)
            self._mux(raw, self._output)

    def _flush(self, output: OutputContainer) -> None:
        # The sound of a damaged clip ends with its last frame.
        end = None if self.template.stopped is None else self._end
        self._audio.copy_until(end)
        self._side.copy_until(end)
        self._audio.finish()
        self._mux(None, output)

    def _prepare(
        self,
        frame: Frame,
        image: NDArray[np.uint8] | NDArray[np.float32] | None,
        changed: NDArray[np.bool_] | None,
    ) -> av.VideoFrame:
        """Return the frame to encode: the decoded one, or a modified copy."""
        coded, info = self.template.coded, self.template.info
        if frame.raw is None:
            raise ValueError("only frames of a video can be written")
        if image is None and frame.raw.format.name == self.pix_fmt:
            return frame.raw
        new = convert_format(frame.raw, self.pix_fmt, coded.colour, self._colour)
        new.colorspace, new.color_range, new.color_primaries, new.color_trc = self._tags
        if image is None:
            return new
        if image.shape != (info.height, info.width, 3) or image.dtype not in (np.uint8, np.float32):
            raise ValueError(
                f"image must be ({info.height}, {info.width}, 3) uint8 or float32, "
                f"got {image.shape} {image.dtype}"
            )
        if changed is not None and (changed.shape != image.shape[:2] or changed.dtype != np.bool_):
            raise ValueError(
                f"changed must be {image.shape[:2]} bool, got {changed.shape} {changed.dtype}"
            )
        turn = coded.orientation.coded
        write_planes(new, turn(image), None if changed is None else turn(changed), self._colour)
        return new

    def _timestamp(self, frame: Frame) -> int:
        """Return the frame's pts, or the next free tick if it is missing or decreasing."""
        if frame.pts is not None and (self._last_pts is None or frame.pts > self._last_pts):
            return frame.pts
        if self._last_pts is None:
            return 0
        if frame.pts is not None:
            return self._last_pts + 1
        return self._last_pts + max(1, self._ticks_per_frame())

    def _ticks_per_frame(self) -> int:
        return round(1 / (self.template.info.rate * self.template.coded.time_base))

    def _mux(self, raw: av.VideoFrame | None, output: OutputContainer) -> None:
        if raw is not None and self._fields is not None:
            raw = self._with_fields(raw, self._fields)
        for packet in self._video.encode(raw):
            self._fix_timestamps(packet)
            if self._held is not None:
                output.mux(self._held)
            self._held = packet
        if raw is None and self._held is not None:
            if self.path.suffix.lower() in (".mp4", ".mov"):
                self._end_in_time(self._held)
            output.mux(self._held)

    def _with_fields(self, raw: av.VideoFrame, graph: av.filter.Graph) -> av.VideoFrame:
        """Return the frame marked as interlaced, which conversions of its format forget."""
        pts, duration = raw.pts, raw.duration
        graph.push(raw)
        marked = graph.pull()
        assert isinstance(marked, av.VideoFrame), "the graph has pictures only"
        marked.pts, marked.time_base = pts, self.template.coded.time_base
        marked.duration, marked.pict_type = duration, 0
        return marked

    def _fix_timestamps(self, packet: av.Packet[VideoStream]) -> None:
        """Correct durations and decoding times that encoders get wrong."""
        if packet.pts is None:
            return
        # Not all encoders pass on a frame's duration.
        packet.duration = self._durations.pop(packet.pts, packet.duration)
        # x265 leaves the decoding time of clips of one or two frames uninitialised.
        hour = 3600 / self.template.coded.time_base
        if packet.dts is None or not 0 <= packet.pts - packet.dts <= hour:
            packet.dts = packet.pts
        if self._delay is None:
            self._delay = packet.pts - packet.dts

    def _end_in_time(self, last: av.Packet[VideoStream]) -> None:
        """Let the last packet in decoding order end with the last frame.

        MP4 stores the length of a track as the sum of its packets' in decoding order, and that of
        its edit list by the latest end of a packet. With uneven frames that are reordered both are
        right only if the last packet is decoded late enough.
        """
        if len(self._lengths) < 2 or last.pts is None or last.dts is None:
            return
        end = round(self._end / last.time_base)
        decoded_by, own = end - (self._delay or 0), last.duration or 0
        last.dts = max(last.dts, min(last.pts, decoded_by - own))
        last.duration = min(max(own, decoded_by - last.dts), max(own, end - last.pts))


def _field_setter(writer: VideoWriter, coded: CodedVideo) -> av.filter.Graph:
    graph = av.filter.Graph()
    size = coded.width, coded.height
    pix_fmt = av.VideoFormat(writer.pix_fmt, *size)
    source = graph.add_buffer(
        width=size[0], height=size[1], format=pix_fmt, time_base=coded.time_base
    )
    marker, sink = graph.add("setfield", coded.fields), graph.add("buffersink")
    source.link_to(marker)
    marker.link_to(sink)
    graph.configure()
    return graph


def _output_colour(template: VideoReader, pix_fmt: str) -> tuple[Colour, tuple[int, int, int, int]]:
    """Return the output's colour encoding and its tags."""
    coded = template.coded
    was, becomes = layout_of(coded.pix_fmt).family, layout_of(pix_fmt).family
    if was == becomes:
        return coded.colour, coded.tags
    if becomes == "rgb":
        return coded.colour, (0, FULL, *coded.tags[2:])
    colour = Colour.guess(2, LIMITED, pix_fmt, coded.width, coded.height)
    return colour, (TAG_OF_MATRIX[colour.matrix], LIMITED, *coded.tags[2:])
