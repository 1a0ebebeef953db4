"""Display orientation of video: the display matrix and its application."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import av
import numpy as np
from av.sidedata.sidedata import Type
from numpy.typing import NDArray

Pixel = TypeVar("Pixel", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight orientations: transpose first, then mirror.

    Attributes:
        transpose: Swap rows and columns.
        mirror_x: Then reverse each row.
        mirror_y: Then reverse the order of rows.
    """

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def from_matrix(cls, matrix: Sequence[int] | None) -> Orientation:
        """Return the nearest orientation of a display matrix (nine integers); upright for None."""
        if matrix is None:
            return cls()
        a, b, _, c, d = matrix[:5]  # x' = a x + c y, y' = b x + d y (libavutil/display.h)
        if abs(b) + abs(c) > abs(a) + abs(d):
            return cls(True, c < 0, b < 0)
        return cls(False, a < 0, d < 0)

    def upright(self, coded: NDArray[Pixel]) -> NDArray[Pixel]:
        """Return an upright view of a coded image (H, W, ...)."""
        turned = coded.swapaxes(0, 1) if self.transpose else coded
        return turned[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]

    def coded(self, upright: NDArray[Pixel]) -> NDArray[Pixel]:
        """Return a coded view of an upright image; inverse of `upright`."""
        turned = upright[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]
        return turned.swapaxes(0, 1) if self.transpose else turned


def display_matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """Return the nine integers of a decoded frame's display matrix, or None."""
    side_data: Any = frame.side_data  # PyAV's stubs take it for a TypedDict
    data = side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return None
    return tuple(int(value) for value in np.frombuffer(memoryview(data), dtype=np.int32))
