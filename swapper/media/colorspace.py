"""Conversion between a frame's planes and RGB, exact in matrix and range.

Reading uses libswscale with explicit matrix and range and without its fast paths, which shift the
mean by more than one step of 255. Writing uses float32 arithmetic in numpy, because libswscale's
conversion to full range loses half a chroma step, and because only the changed part of a frame may
be modified.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import av
import cv2
import numpy as np
from av.video.format import VideoFormat
from av.video.plane import VideoPlane
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

Matrix = Literal["bt601", "bt709", "bt2020"]

# Kr and Kb of ITU-R BT.601-7, BT.709-6 and BT.2020-2.
_LUMA_WEIGHTS: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}
# libswscale's constants (SWS_CS_*), which differ from AVColorSpace.
_SWS_MATRIX: dict[Matrix, int] = {"bt601": 5, "bt709": 1, "bt2020": 9}
# AVColorSpace (ITU-T H.273 MatrixCoefficients); SMPTE 240M is nearest to BT.709.
_TAGGED: dict[int, Matrix] = {
    1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020",
}  # fmt: skip
TAG_OF_MATRIX: dict[Matrix, int] = {"bt601": 6, "bt709": 1, "bt2020": 9}
LIMITED, FULL = 1, 2  # AVColorRange

_EXACT = (
    Interpolation.BILINEAR
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)


@dataclass(frozen=True, slots=True)
class Colour:
    """Colour encoding of a stream.

    Attributes:
        matrix: Matrix of luma and chroma.
        full_range: Whether luma fills 0..2^n-1 rather than 16..235 (scaled).
    """

    matrix: Matrix
    full_range: bool

    @classmethod
    def guess(cls, tag: int, color_range: int, pix_fmt: str, width: int, height: int) -> Colour:
        """Guess from a stream's AVColorSpace, AVColorRange, pixel format and coded size.

        Untagged video follows players: BT.709 from 720 lines on.
        """
        matrix: Matrix = "bt709" if height >= 720 or width >= 1280 else "bt601"
        # libswscale, and so most players, treats all grey formats as full range.
        is_full = color_range == FULL or pix_fmt.startswith(("yuvj", "gray", "ya"))
        return cls(_TAGGED.get(tag, matrix), is_full)

    @property
    def _range(self) -> int:
        return FULL if self.full_range else LIMITED


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout of a pixel format.

    Attributes:
        family: Type of the planes.
        bits: Bits per component.
        chroma_shift: log2 of chroma subsampling, (horizontal, vertical).
        alpha: Whether there is a transparency plane.
        planes: Plane of each of the first three components (one for grey).
    """

    family: Literal["yuv", "grey", "rgb"]
    bits: int
    chroma_shift: tuple[int, int]
    alpha: bool
    planes: tuple[int, ...]


@lru_cache(maxsize=256)
def layout_of(pix_fmt: str) -> Layout:
    """Return the layout of a pixel format from FFmpeg's description."""
    described = VideoFormat(pix_fmt, 64, 64)
    parts = [part for part in described.components if not part.is_alpha]
    if described.is_rgb or described.has_palette or described.is_bayer:
        shift = (0, 0)
        family: Literal["yuv", "grey", "rgb"] = "rgb"
    elif len(parts) < 3:
        family, shift = "grey", (0, 0)
    else:
        family = "yuv"
        chroma_width, chroma_height = described.chroma_width(64), described.chroma_height(64)
        shift = ((64 // chroma_width).bit_length() - 1, (64 // chroma_height).bit_length() - 1)
    return Layout(
        family=family,
        bits=max(part.bits for part in described.components),
        chroma_shift=shift,
        alpha=len(parts) < len(described.components),
        planes=tuple(part.plane for part in parts[: 1 if family == "grey" else 3]),
    )


def rgb_from_frame(frame: av.VideoFrame, colour: Colour) -> NDArray[np.uint8]:
    """Convert a decoded frame to (H, W, 3) uint8 RGB, in its coded orientation.

    Any pixel format; the frame's own tags are ignored.
    """
    return np.asarray(_rgb(frame, colour, "rgb24"), dtype=np.uint8)


def deep_rgb_from_frame(frame: av.VideoFrame, colour: Colour) -> NDArray[np.float32]:
    """As `rgb_from_frame` with all bits: float32 in [0, 255]."""
    layout = layout_of(frame.format.name)
    # libswscale's white: that of RGB is shifted to 16 bits, that of YUV is 255 * 256. (Its packed
    # 16 bits are wrong from subsampled chroma.)
    white = (2**layout.bits - 1) << (16 - layout.bits) if layout.family == "rgb" else 65280
    return _rgb(frame, colour, "gbrp16le").astype(np.float32) * np.float32(255 / white)


def _rgb(frame: av.VideoFrame, colour: Colour, pix_fmt: str) -> NDArray[Any]:
    if layout_of(frame.format.name).family == "rgb":
        return frame.to_ndarray(format=pix_fmt)
    matrix = _SWS_MATRIX[colour.matrix]
    rgb = _centred(frame).reformat(
        format=pix_fmt,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=colour._range,
        dst_color_range=FULL,
        interpolation=_EXACT,
    )
    return rgb.to_ndarray()


def _centred(frame: av.VideoFrame) -> av.VideoFrame:
    """Copy a frame without its chroma location, so that libswscale assumes the centre.

    PyAV does not expose a frame's chroma location, so `write_planes` cannot use it; the centre in
    both directions makes the round trip exact.
    """
    if layout_of(frame.format.name).chroma_shift == (0, 0):
        return frame
    new = av.VideoFrame(frame.width, frame.height, frame.format.name)
    for old_plane, new_plane in zip(frame.planes, new.planes, strict=True):
        old_rows, new_rows = _rows(old_plane), _rows(new_plane)
        width = min(old_rows.shape[1], new_rows.shape[1])
        new_rows[:, :width] = old_rows[:, :width]
    return new


def convert_format(
    frame: av.VideoFrame, pix_fmt: str, source: Colour, destination: Colour
) -> av.VideoFrame:
    """Return a frame in another pixel format and colour encoding.

    `pix_fmt` must be planar and little-endian; planes are copied where layouts agree.
    """
    name = frame.format.name
    if name == pix_fmt or (layout_of(name) == layout_of(pix_fmt) and name.startswith("yuvj")):
        new = av.VideoFrame(frame.width, frame.height, pix_fmt)
        for old_plane, new_plane in zip(frame.planes, new.planes, strict=True):
            rows = _samples(new_plane, pix_fmt)
            rows[:] = _samples(old_plane, name)[: rows.shape[0], : rows.shape[1]]
        return new
    from_rgb = layout_of(name).family == "rgb"
    to_rgb = layout_of(pix_fmt).family == "rgb"
    return frame.reformat(
        format=pix_fmt,
        src_colorspace=_SWS_MATRIX[(destination if from_rgb else source).matrix],
        dst_colorspace=_SWS_MATRIX[(source if to_rgb else destination).matrix],
        src_color_range=FULL if from_rgb else source._range,
        dst_color_range=FULL if to_rgb else destination._range,
        interpolation=_EXACT,
    )


def _rows(plane: VideoPlane) -> NDArray[np.uint8]:
    """Return a view of a plane's bytes, (height, bytes per row with padding)."""
    raw = np.frombuffer(memoryview(plane), dtype=np.uint8)[: plane.line_size * plane.height]
    return raw.reshape(plane.height, plane.line_size)


def _samples(plane: VideoPlane, pix_fmt: str) -> NDArray[np.unsignedinteger[Any]]:
    """Return a view of a plane's samples without row padding, (height, width)."""
    layout = layout_of(pix_fmt)
    size = 1 if layout.bits <= 8 else 2
    rows = _rows(plane)[:, : plane.width * size]
    return rows.view("u1" if size == 1 else "<u2")


def _forward(layout: Layout, colour: Colour) -> NDArray[np.float32]:
    """Return (C, 4) from RGB in 0..255 to code values, offset last; C is 1 for grey, else 3."""
    top, step = 2**layout.bits - 1, 2 ** (layout.bits - 8)
    if layout.family == "rgb":
        return np.hstack([np.eye(3) * top / 255, np.zeros((3, 1))]).astype(np.float32)
    kr, kb = _LUMA_WEIGHTS[colour.matrix]
    luma = np.array([kr, 1 - kr - kb, kb])
    blue = (np.array([0.0, 0.0, 1.0]) - luma) / (2 * (1 - kb))
    red = (np.array([1.0, 0.0, 0.0]) - luma) / (2 * (1 - kr))
    if colour.full_range:
        scale, offset = (top, top, top), (0, 128 * step, 128 * step)
    else:
        scale = (219 * step, 224 * step, 224 * step)
        offset = (16 * step, 128 * step, 128 * step)
    rows = [
        np.append(row * gain / 255, shift)
        for row, gain, shift in zip((luma, blue, red), scale, offset, strict=True)
    ]
    return np.stack(rows[: len(layout.planes)]).astype(np.float32)


def write_planes(
    frame: av.VideoFrame,
    image: NDArray[Any],
    changed: NDArray[np.bool_] | None,
    colour: Colour,
) -> None:
    """Write an image into a frame's planes, in place, only where it changed.

    A chroma sample is replaced if any of its pixels changed, by the mean over all of them.

    Args:
        frame: Planar, little-endian, its planes not shared with a decoder.
        image: (H, W, 3) RGB, uint8, or float32 in [0, 255], in coded orientation.
        changed: (H, W); None means everywhere.
        colour: Colour encoding of the frame.
    """
    layout = layout_of(frame.format.name)
    box = _changed_box(changed, image.shape[:2], layout.chroma_shift)
    if box is None:
        return
    top, bottom, left, right = box
    patch = np.ascontiguousarray(image[top:bottom, left:right], dtype=np.float32)
    transformed = cv2.transform(patch, _forward(layout, colour))
    values = np.asarray(transformed, dtype=np.float32).reshape(*patch.shape[:2], -1)
    where = None if changed is None else changed[top:bottom, left:right]
    for index, plane_number in enumerate(layout.planes):
        shift = layout.chroma_shift if index else (0, 0)
        samples = _samples(frame.planes[plane_number], frame.format.name)
        new = _coded(_by_block(np.mean, values[..., index], shift, "edge"), layout.bits)
        y, x = top >> shift[1], left >> shift[0]
        region = samples[y : y + new.shape[0], x : x + new.shape[1]]
        if where is None:
            region[:] = new
        else:
            np.copyto(region, new, where=_by_block(np.any, where, shift, "constant"))


def _changed_box(
    changed: NDArray[np.bool_] | None, shape: tuple[int, ...], shift: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """Return top, bottom, left, right of the change, extended to whole chroma samples."""
    if changed is None:
        return 0, shape[0], 0, shape[1]
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    if not rows.size:
        return None
    across, down = 1 << shift[0], 1 << shift[1]
    return (
        int(rows[0]) // down * down,
        min(shape[0], (int(rows[-1]) // down + 1) * down),
        int(columns[0]) // across * across,
        min(shape[1], (int(columns[-1]) // across + 1) * across),
    )


def _coded(values: NDArray[np.float32], bits: int) -> NDArray[np.unsignedinteger[Any]]:
    rounded = np.clip(np.rint(values), 0, 2**bits - 1)
    return rounded.astype(np.uint8) if bits <= 8 else rounded.astype(np.uint16)


def _by_block(
    reduce: Callable[..., NDArray[Any]],
    values: NDArray[Any],
    shift: tuple[int, int],
    padding: Literal["edge", "constant"],
) -> NDArray[Any]:
    """Reduce blocks of 2^shift pixels of (H, W), padded where the last ones overhang."""
    if shift == (0, 0):
        return values
    across, down = 1 << shift[0], 1 << shift[1]
    height, width = values.shape
    padded = np.pad(values, ((0, -height % down), (0, -width % across)), mode=padding)
    blocks = padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across)
    return reduce(blocks, axis=(1, 3))
