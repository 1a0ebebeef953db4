"""Preprocessing of aligned crops for an estimator: window, size and normalisation.

Cutting and resizing are one matrix product along each axis. Against `grid_sample` it does not alias
when it shrinks, so that crops of 64 and of 512 pixels read alike; its gradient is summed in a fixed
order on CUDA too, so that resumed runs stay bitwise equal; and it takes half the time on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swapper.types import WINDOW_MM, Coverage

_GREY: Final = (0.299, 0.587, 0.114)
"""Luma of ITU-R BT.601, what OpenCV and Pillow mean by grey."""


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of the face in millimetres of an average one, from between its eyes.

    Attributes:
        left, right: x, growing to the picture's right.
        top, bottom: y, growing down.

    Raises:
        ValueError: It is empty.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (self.left < self.right and self.top < self.bottom):
            raise ValueError(f"an empty window: {self}")

    @classmethod
    def of(cls, coverage: Coverage) -> Window:
        """Return the window that a crop of this coverage shows."""
        middle, half = WINDOW_MM[coverage]
        return cls(-half, middle - half, half, middle + half)


class Preprocess(nn.Module):
    """Cuts a window out of aligned crops of any size, resizes and normalises it.

    Differentiable. Beyond the crop its border is repeated.

    Args:
        window: Part of the face to cut out.
        size: Height and width that the network takes, in pixels.
        mean: Of each channel, subtracted; one for grey, three for RGB.
        std: Of each channel, divided by.

    Raises:
        ValueError: Neither one channel nor three, or a deviation of zero.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        window: Window,
        size: tuple[int, int],
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        super().__init__()
        if len(mean) not in (1, 3) or len(mean) != len(std) or min(std) <= 0:
            raise ValueError(f"mean and std must be 1 or 3 numbers, std > 0; got {mean}, {std}")
        self.window = window
        self.size = size
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, faces: Tensor, coverage: Coverage = "face") -> Tensor:
        """Preprocess faces.

        Args:
            faces: (N, 3, H, W) RGB in [0, 1], aligned; floating.
            coverage: How much of the head they show.

        Returns:
            (N, C, height, width), normalised, C = 1 for grey.
        """
        crop, window = Window.of(coverage), self.window
        height, width = self.size
        kind = faces.dtype, faces.device
        rows = _resampling(
            (window.top, window.bottom), height, (crop.top, crop.bottom), faces.shape[2], *kind
        )
        columns = _resampling(
            (window.left, window.right), width, (crop.left, crop.right), faces.shape[3], *kind
        )
        if self.mean.shape[0] == 1:
            grey = faces.new_tensor(_GREY)[:, None, None]
            faces = (faces * grey).sum(dim=1, keepdim=True)
        return (rows @ (faces @ columns.mT) - self.mean) / self.std


def pad_same(x: Tensor, kernel: Sequence[int], stride: Sequence[int], value: float = 0.0) -> Tensor:
    """TensorFlow's SAME padding of (N, C, H, W); `kernel` and `stride` are of height and width.

    Of an odd number of pixels the odd one goes to the right and below; torch's own padding is
    symmetrical, and moves features by half a pixel a layer.
    """
    ends: list[int] = []
    for axis in (1, 0):
        size = x.shape[2 + axis]
        total = max((-(-size // stride[axis]) - 1) * stride[axis] + kernel[axis] - size, 0)
        ends += [total // 2, total - total // 2]
    return F.pad(x, ends, value=value) if any(ends) else x


@lru_cache(maxsize=256)
def _resampling(
    window: tuple[float, float],
    count: int,
    crop: tuple[float, float],
    pixels: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Weights (count, pixels) that resample `count` pixels of `window` from `pixels` of `crop`.

    A triangle as wide as two output pixels, or two input pixels if those are wider: bilinear when
    enlarging, smoothed when shrinking. Each row sums to 1.
    """
    # Outside the caller's inference mode: inference tensors cannot be used in a later backward.
    with torch.inference_mode(mode=False):
        per_mm = pixels / (crop[1] - crop[0])
        step = (window[1] - window[0]) / count
        ramp = torch.arange(count, dtype=torch.float64) + 0.5
        centre = (window[0] + ramp * step - crop[0]) * per_mm - 0.5
        radius = max(1.0, step * per_mm)
        first = int((centre.min() - radius).floor())
        last = int((centre.max() + radius).ceil())
        tap = torch.arange(first, last + 1, dtype=torch.float64)
        weight = (1 - (tap - centre[:, None]).abs() / radius).clamp(min=0)
        weight /= weight.sum(dim=1, keepdim=True)
        # Taps beyond the picture fall on its border.
        place = tap.long().clamp(0, pixels - 1).expand(count, -1)
        whole = torch.zeros(count, pixels, dtype=torch.float64).scatter_add_(1, place, weight)
        return whole.to(device, dtype)
