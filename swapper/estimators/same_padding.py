"""TensorFlow's SAME padding, which third-party networks were trained with.

A strided layer pads so that the output is the input's size divided by the stride, rounded up; where
that takes an odd number of pixels, the odd one goes to the right and below. torch's own ``padding``
is symmetrical, and moves such a network's features by half a pixel a layer.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad (N, C, H, W) for a square window that is then applied without padding.

    Args:
        x: Feature maps.
        kernel: Side of the window.
        stride: Its step.
        value: What to pad with; minus infinity before a maximum.
    """
    top, bottom = _ends(x.shape[2], kernel, stride)
    left, right = _ends(x.shape[3], kernel, stride)
    return F.pad(x, (left, right, top, bottom), value=value)


def _ends(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
