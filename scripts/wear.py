"""Random degradation of crops: alignment errors, blur, resampling, grain, compression."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

_SIDES: Final = (56, 64, 80, 96, 112, 128)
_TAPS: Final = torch.arange(-4.0, 5.0)


def degrade(pictures: Tensor, random: Generator) -> Tensor:
    """Move, blur, downscale, grain, compress and relight crops.

    Half of them are only moved and relit; the others get a random selection.

    Args:
        pictures: (N, 3, S, S) RGB in [0, 1].
        random: Random source.

    Returns:
        (N, 3, R, R) in [0, 1], R one of 56 to 128, the same for the batch.
    """
    side = _SIDES[int(torch.randint(len(_SIDES), (), generator=random))]
    worn = _move(pictures, side, random)
    suffers = torch.rand(len(worn), generator=random) < 0.5

    def sample_rows(share: float) -> Tensor:
        chosen = torch.rand(len(worn), generator=random) < share
        return torch.nonzero(suffers & chosen).flatten()

    if len(rows := sample_rows(0.5)):
        worn[rows] = _blur(worn[rows], random)
    if len(rows := sample_rows(0.3)):
        worn[rows] = _shrink(worn[rows], random)
    if len(rows := sample_rows(0.5)):
        worn[rows] = _grain(worn[rows], random)
    worn = _relight(worn, random).clamp(0, 1)
    if len(rows := sample_rows(0.3)):
        worn[rows] = _compress(worn[rows], random)
    return worn


def _between(low: float, high: float, count: int, random: Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=random)


def _move(pictures: Tensor, side: int, random: Generator) -> Tensor:
    """Rotate, scale and shift, as landmark errors do."""
    count = len(pictures)
    angle = 0.07 * torch.randn(count, generator=random).clamp(-2.5, 2.5)
    scale = (0.05 * torch.randn(count, generator=random).clamp(-2.5, 2.5)).exp()
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    shift = 0.05 * torch.randn(count, 2, generator=random).clamp(-2.5, 2.5)
    matrix = torch.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], dim=1).unflatten(
        1, (2, 3)
    )
    # Downscaling: rendered at twice the size and averaged.
    factor = 2 if side * 1.5 < pictures.shape[-1] else 1
    size = [count, 3, side * factor, side * factor]
    grid = F.affine_grid(matrix, size, align_corners=False)
    moved = F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    return F.avg_pool2d(moved, factor)


def _blur(pictures: Tensor, random: Generator) -> Tensor:
    """Blur by a gaussian of up to 1.5 % of the side."""
    count, _, side, _ = pictures.shape
    sigma = side / 112 * _between(0.2, 1.7, count, random)[:, None]
    kernel = (-0.5 * (_TAPS / sigma) ** 2).exp()
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(3, 0)
    flat = F.pad(pictures.flatten(0, 1)[None], (4, 4, 4, 4), mode="replicate")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=3 * count)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=3 * count)
    return flat[0].unflatten(0, (count, 3))


def _shrink(pictures: Tensor, random: Generator) -> Tensor:
    """Downscale to at least 30 % of the side and back."""
    side = pictures.shape[-1]
    small = round(side * float(_between(0.3, 0.8, 1, random)))
    less = F.interpolate(pictures, size=(small, small), mode="bilinear", antialias=True)
    return F.interpolate(less, size=(side, side), mode="bilinear")


def _grain(pictures: Tensor, random: Generator) -> Tensor:
    """Add grain, mostly of brightness, some of colour."""
    strength = 0.08 * torch.rand(len(pictures), 1, 1, 1, generator=random).square()
    light = torch.randn(pictures[:, :1].shape, generator=random)
    colour = torch.randn(pictures.shape, generator=random)
    return pictures + strength * (light + 0.5 * colour)


def _relight(pictures: Tensor, random: Generator) -> Tensor:
    """Change exposure, contrast and white balance."""
    count = len(pictures)
    gain = _between(0.75, 1.25, count, random)[:, None] * (
        1 + 0.08 * torch.randn(count, 3, generator=random)
    )
    bias = _between(-0.08, 0.08, count, random)
    gamma = (0.15 * torch.randn(count, generator=random)).exp()
    lit = pictures.clamp(1e-4, 1) ** gamma[:, None, None, None]
    return lit * gain[:, :, None, None] + bias[:, None, None, None]


def _compress(pictures: Tensor, random: Generator) -> Tensor:
    """Compress as JPEG of quality 15 to 80, similar to H.264's intra frames."""
    qualities = torch.randint(15, 81, (len(pictures),), generator=random).tolist()
    arrays = (pictures.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    done = []
    for array, quality in zip(arrays, qualities, strict=True):
        # BGR order, consistently in both directions.
        bgr = np.ascontiguousarray(array[..., ::-1])
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        done.append(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
    return torch.from_numpy(np.stack(done)).permute(0, 3, 1, 2).float() / 255
