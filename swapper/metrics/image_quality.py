"""Image and mask metrics, weighted by a mask: error, PSNR, SSIM, gradient energy, IoU, opacity."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MAX_DB: Final = 100.0
"""PSNR of equal pictures; unequal 8-bit pictures are below."""
_MAX_LEVEL: Final = 255.0
_LUMA: Final = np.array([0.299, 0.587, 0.114])
"""Of R, G, B in brightness (ITU-R BT.601)."""
_SSIM_SIGMA, _SSIM_RADIUS = 1.5, 5
# Below this many pixels a tone fit is underdetermined.
_MIN_PIXELS: Final = 16.0

Picture = NDArray[np.uint8] | NDArray[np.float32]
Weight = NDArray[np.float32]


def mean_square_error(picture: Picture, truth: Picture, weight: Weight | None = None) -> float:
    """Mean of squared differences over pixels and channels.

    Args:
        picture: (H, W, 3) in [0, 255].
        truth: The same shape and range.
        weight: (H, W) in [0, 1], weight of each pixel; None weights all equally.

    Returns:
        In squared grey levels; NaN if all weights are 0.

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
    """Structural similarity of luma, 1 for equal pictures.

    With a Gaussian window of 1.5 pixels, as in Wang et al., 2004, doi:10.1109/TIP.2003.819861;
    borders are mirrored. Else as `mean_square_error`.
    """
    _difference(picture, truth)
    x, y = (np.asarray(each, dtype=np.float64) @ _LUMA for each in (picture, truth))

    def blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(
            ndimage.gaussian_filter(values, _SSIM_SIGMA, radius=_SSIM_RADIUS, mode="mirror")
        )

    mean_x, mean_y = blurred(x), blurred(y)
    variance_x, variance_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * _MAX_LEVEL) ** 2, (0.03 * _MAX_LEVEL) ** 2
    numerator = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return _mean(
        numerator / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)), weight
    )


def gradient_energy(picture: Picture, truth: Picture, weight: Weight) -> float:
    """Sharpness: mean squared gradient of luma, as a share of the truth's.

    Central differences. Noise counts as detail, in both. Arguments as of `mean_square_error`.

    Returns:
        1 if it is as sharp, less if it is blurred; NaN if the truth is flat or all weights are 0.
    """
    _difference(picture, truth)
    energy, expected = (
        _mean(np.square(np.gradient(np.asarray(each, np.float64) @ _LUMA)).sum(axis=0), weight)
        for each in (picture, truth)
    )
    return energy / expected if expected > 0 else float("nan")


def intersection_over_union(mask: Weight, truth: Weight) -> float:
    """IoU of two masks (H, W) in [0, 1], thresholded at 0.5; 1 if both are empty.

    Raises:
        ValueError: The shapes differ.
    """
    if mask.shape != truth.shape:
        raise ValueError(f"masks {mask.shape} and {truth.shape} must have one shape")
    here, there = mask >= 0.5, truth >= 0.5
    union = int((here | there).sum())
    return float((here & there).sum() / union) if union else 1.0


def opacity(blend_mask: Weight, truth: Weight) -> float:
    """Mean of the blend mask where it covers the face, both (H, W) in [0, 1].

    A half-trained mask is half transparent and lets the performer's own face through.

    Returns:
        NaN if the swap does not cover the face.

    Raises:
        ValueError: The shapes differ.
    """
    if blend_mask.shape != truth.shape:
        raise ValueError(f"masks {blend_mask.shape} and {truth.shape} must have one shape")
    # 0.2 separates the feathered border, which is meant to be thin, from the face.
    covered = (blend_mask >= 0.2) & (truth >= 0.5)
    return float(blend_mask[covered].mean()) if covered.any() else float("nan")


def fit_tone(picture: Picture, truth: Picture, weight: Weight) -> NDArray[np.float32]:
    """Match the picture's tone to the truth: gain and offset per channel by least squares.

    A swap takes on the performer's skin colour, so that it fits the neck; the truth has the
    identity's own. The remaining difference is shape, light and detail. Arguments as of
    `mean_square_error`; `weight` is where to fit.

    Returns:
        (H, W, 3) float32 in [0, 255]. Gains are not negative, so no picture is inverted.
    """
    _difference(picture, truth)
    total = float(weight.sum())
    if total < _MIN_PIXELS:
        return np.asarray(picture, dtype=np.float32)
    share = (weight / total).astype(np.float64)[..., None]
    values, target = picture.astype(np.float64), truth.astype(np.float64)
    mean, target_mean = (share * values).sum(axis=(0, 1)), (share * target).sum(axis=(0, 1))
    covariance = (share * (values - mean) * (target - target_mean)).sum(axis=(0, 1))
    variance = (share * (values - mean) ** 2).sum(axis=(0, 1))
    gain = np.maximum(covariance / np.maximum(variance, 1e-6), 0.0)
    return np.asarray(
        np.clip((values - mean) * gain + target_mean, 0.0, _MAX_LEVEL).astype(np.float32)
    )


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
