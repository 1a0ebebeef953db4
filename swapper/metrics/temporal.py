"""Temporal consistency: warping error and flicker of the swap and of the performer.

Source of the warping error: Lai et al. 2018, arXiv:1808.00449 (temporal consistency), here with the
optical flow of the performer's own footage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.metrics.image_quality import mean_absolute_error

_MIN_FRAMES: Final = 3

Picture = NDArray[np.uint8]
Weight = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Steadiness:
    """Temporal consistency of two clips, in grey levels; NaN with too few consecutive frames.

    Attributes:
        warping, performer_warping: Mean difference between a frame and the one before, moved along
            the performer's optical flow.
        flicker, performer_flicker: Root mean square of the second difference in time of the face's
            mean colour.
    """

    warping: float
    performer_warping: float
    flicker: float
    performer_flicker: float


class SteadinessMeter:
    """Accumulates pairs of frames in order; `compute` returns the result."""

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._errors: list[list[float]] = []
        self._levels: list[list[float]] = []

    def update(
        self,
        before: tuple[Picture, Picture] | None,
        current: tuple[Picture, Picture],
        weight: Weight,
    ) -> None:
        """Add a frame.

        Args:
            before: Swap and performer one frame earlier, (S, S, 3), cropped by the window of
                `current`; None after a gap.
            current: Swap and performer.
            weight: (S, S) in [0, 1], 1 = face of the performer now.
        """
        share = weight / max(float(weight.sum()), 1e-6)
        levels = [float((picture.mean(axis=2) * share).sum()) for picture in current]
        if before is None:
            self._levels += [[np.nan, np.nan], levels]
            return
        self._levels.append(levels)
        grey = [cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (current[1], before[1])]
        back = self._flow.calc(grey[0], grey[1], np.zeros((*weight.shape, 2), np.float32))
        side = np.arange(weight.shape[0], dtype=np.float32)
        x, y = np.meshgrid(side, side)
        x, y = x + back[..., 0], y + back[..., 1]
        moved = [
            cv2.remap(each, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for each in before
        ]
        self._errors.append(
            [
                mean_absolute_error(earlier.astype(np.uint8, copy=False), later, weight)
                for earlier, later in zip(moved, current, strict=True)
            ]
        )

    def compute(self) -> Steadiness:
        """Return the means over all frames added."""
        if len(self._errors) < _MIN_FRAMES:
            return Steadiness(np.nan, np.nan, np.nan, np.nan)
        warping = np.nanmean(np.array(self._errors), axis=0)
        return Steadiness(*map(float, (*warping, *_flicker(np.array(self._levels)))))


def _flicker(levels: Floats) -> Floats:
    """(2,) flicker of levels (T, 2); differences across a NaN are skipped."""
    second = levels[2:] - 2 * levels[1:-1] + levels[:-2]
    second = second[np.isfinite(second).all(axis=1)]
    if not len(second):
        return np.full(2, np.nan)
    return np.asarray(np.sqrt((second**2).mean(axis=0)))
