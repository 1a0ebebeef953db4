"""How far one picture is from another, where a mask says that it matters."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MAX_DB: Final = 100.0
"""What equal pictures are said to have; 8 bits cannot come near it."""
_MAX_LEVEL: Final = 255.0
_LUMA: Final = np.array([0.299, 0.587, 0.114])
"""Of R, G, B in brightness (ITU-R BT.601)."""
_SSIM_SIGMA, _SSIM_RADIUS = 1.5, 5
# Below this many pixels a tone cannot be told from what is drawn in it.
_MIN_PIXELS: Final = 16.0

Picture = NDArray[np.uint8] | NDArray[np.float32]
Weight = NDArray[np.float32]


def mean_square_error(picture: Picture, truth: Picture, weight: Weight | None = None) -> float:
    """Mean of squared differences over pixels and channels.

    Args:
        picture: (H, W, 3) in [0, 255].
        truth: The same shape and range.
        weight: (H, W) in [0, 1], how much each pixel counts; None counts all alike.

    Returns:
        In squared grey levels; NaN where no pixel counts.

    Raises:
        ValueError: The shapes differ.
    """
    return _mean((_difference(picture, truth) ** 2).mean(axis=2), weight)


def mean_absolute_error(picture: Picture, truth: Picture, weight: Weight | None = None) -> float:
    """Mean of absolute differences, in grey levels; else as `mean_square_error`."""
    return _mean(np.abs(_difference(picture, truth)).mean(axis=2), weight)


def psnr(mean_square: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean square error, at most `MAX_DB`."""
    if not mean_square > 0:
        return MAX_DB if mean_square == 0 else float("nan")
    return float(min(10.0 * np.log10(_MAX_LEVEL**2 / mean_square), MAX_DB))


def ssim(picture: Picture, truth: Picture, weight: Weight | None = None) -> float:
    """Structural similarity of brightness, 1 for equal pictures.

    With a Gaussian window of 1.5 pixels, as its authors have it (Wang et al., 2004,
    doi:10.1109/TIP.2003.819861); windows are cut at the rim by mirroring. Else as
    `mean_square_error`.
    """
    _difference(picture, truth)
    x, y = (np.asarray(each, dtype=np.float64) @ _LUMA for each in (picture, truth))

    def near(values: NDArray[np.float64]) -> NDArray[np.float64]:
        smooth: NDArray[np.float64] = ndimage.gaussian_filter(
            values, _SSIM_SIGMA, radius=_SSIM_RADIUS, mode="mirror"
        )
        return smooth

    mean_x, mean_y = near(x), near(y)
    spread_x, spread_y = near(x * x) - mean_x**2, near(y * y) - mean_y**2
    together = near(x * y) - mean_x * mean_y
    calm, flat = (0.01 * _MAX_LEVEL) ** 2, (0.03 * _MAX_LEVEL) ** 2
    alike = (2 * mean_x * mean_y + calm) * (2 * together + flat)
    return _mean(alike / ((mean_x**2 + mean_y**2 + calm) * (spread_x + spread_y + flat)), weight)


def intersection_over_union(mask: Weight, truth: Weight) -> float:
    """Overlap of two masks (H, W) in [0, 1], each taken from one half on; 1 if both are empty.

    Raises:
        ValueError: The shapes differ.
    """
    if mask.shape != truth.shape:
        raise ValueError(f"masks {mask.shape} and {truth.shape} must have one shape")
    here, there = mask >= 0.5, truth >= 0.5
    union = int((here | there).sum())
    return float((here & there).sum() / union) if union else 1.0


def opacity(blend_mask: Weight, truth: Weight) -> float:
    """How little shines through a swap: mean of its mask (H, W) where it lies on the face.

    A half-trained mask is half transparent, and what moves under it is the performer's own face.

    Args:
        blend_mask: In [0, 1].
        truth: Face mask in [0, 1]; only what is face counts.

    Returns:
        NaN where the swap covers nothing of the face.

    Raises:
        ValueError: The shapes differ.
    """
    if blend_mask.shape != truth.shape:
        raise ValueError(f"masks {blend_mask.shape} and {truth.shape} must have one shape")
    # The feathered rim is meant to be thin; a fifth tells a rim from a face.
    laid = (blend_mask >= 0.2) & (truth >= 0.5)
    return float(blend_mask[laid].mean()) if laid.any() else float("nan")


def fit_tone(picture: Picture, truth: Picture, weight: Weight) -> NDArray[np.float32]:
    """The picture in the truth's tone: gain and offset of each channel by least squares.

    A swap takes on the colours of the performer's skin, so that it fits the neck; the truth has the
    identity's own. What is left after this is shape, light and detail.

    Args:
        picture: (H, W, 3) in [0, 255].
        truth: The same shape and range.
        weight: (H, W) in [0, 1], where to fit.

    Returns:
        (H, W, 3) float32 in [0, 255]. A gain is never negative, so no picture is turned over.

    Raises:
        ValueError: The shapes differ.
    """
    _difference(picture, truth)
    total = float(weight.sum())
    if total < _MIN_PIXELS:
        return np.asarray(picture, dtype=np.float32)
    share = (weight / total).astype(np.float64)[..., None]
    values, wanted = picture.astype(np.float64), truth.astype(np.float64)
    mean, goal = (share * values).sum(axis=(0, 1)), (share * wanted).sum(axis=(0, 1))
    together = (share * (values - mean) * (wanted - goal)).sum(axis=(0, 1))
    spread = (share * (values - mean) ** 2).sum(axis=(0, 1))
    gain = np.maximum(together / np.maximum(spread, 1e-6), 0.0)
    toned: NDArray[np.float32] = np.clip((values - mean) * gain + goal, 0.0, _MAX_LEVEL).astype(
        np.float32
    )
    return toned


def _difference(picture: Picture, truth: Picture) -> NDArray[np.float64]:
    if picture.shape != truth.shape or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"pictures {picture.shape} and {truth.shape} must both be (H, W, 3)")
    return picture.astype(np.float64) - truth.astype(np.float64)


def _mean(values: NDArray[np.float64], weight: Weight | None) -> float:
    if weight is None:
        return float(values.mean())
    if weight.shape != values.shape:
        raise ValueError(f"weight {weight.shape} must be {values.shape}")
    total = float(weight.sum())
    return float((values * weight).sum() / total) if total > 0 else float("nan")
