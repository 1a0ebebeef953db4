"""Transfer the colours of a frame's face to the swap that replaces it."""

from __future__ import annotations

from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

ColorMatch = Literal["none", "lab", "mkl"]
COLOR_MATCHES: Final[tuple[ColorMatch, ...]] = get_args(ColorMatch)

# Largest gain of lightness: more amplifies noise and shadows.
_LARGEST_GAIN: Final = 2.0
# Largest gain of chroma. A plate of livelier colours would turn what a network left of blush and
# shade into blotches, and eyes, which lie far from the skin's mean, vivid blue (real clips).
_LARGEST_CHROMA_GAIN: Final = 1.0
# Rec. 601, as video has it.
_LUMA: Final = np.array([0.299, 0.587, 0.114])
# Deviations from the median from which a colour of the plate counts less, and not at all as skin.
_NEAR, _FURTHEST = 3.5, 5.0
_LEAST_SPREAD: Final = 0.02
_LEAST_KEPT: Final = 0.1
# Fewest pixels of skin for colour statistics.
_FEWEST_PIXELS: Final = 16.0

Floats = NDArray[np.float64]


def match_color(
    swap: NDArray[np.float32],
    aligned: NDArray[np.uint8] | NDArray[np.float32],
    mask: NDArray[np.float32],
    features: NDArray[np.float32],
    method: ColorMatch = "mkl",
) -> NDArray[np.float32]:
    """Transfer the colour statistics of the replaced face to a swap.

    Statistics are those of the skin: the mask without the features. They are applied to the whole
    crop, which avoids a seam where the mask fades. Chroma is not amplified, and its shift fades
    towards black, as the light's would: else pupils, nostrils and shadows take a tint.

    Args:
        swap: (S, S, 3) RGB in [0, 1].
        aligned: (S, S, 3) RGB of the frame's face, uint8 or in [0, 1].
        mask: (S, S) in [0, 1], weight of each pixel.
        features: (S, S) in [0, 1], 1 = eyes, lips or brows.
        method: "lab" matches mean and deviation of each Lab channel; "mkl" matches mean and
            covariance in RGB by the linear Monge-Kantorovich map; "none" changes nothing.

    Returns:
        (S, S, 3) float32 in [0, 1]. Without skin in the mask the swap is unchanged.

    Raises:
        ValueError: Unknown method, or incompatible shapes.

    Source: Reinhard et al. 2001, doi:10.1109/38.946629 (here in CIE Lab); Pitié and Kokaram 2007,
    doi:10.1049/cp:20070055.
    """
    if method not in COLOR_MATCHES:
        raise ValueError(f"method must be one of {', '.join(COLOR_MATCHES)}, got {method!r}")
    if swap.shape != aligned.shape or not mask.shape == features.shape == swap.shape[:2]:
        shapes = swap.shape, aligned.shape, mask.shape, features.shape
        raise ValueError(f"shapes {', '.join(map(str, shapes))} do not fit")
    clipped = np.clip(swap, 0.0, 1.0).astype(np.float32)
    skin = 1.0 - np.clip(features, 0.0, 1.0).astype(np.float64)
    weights = (np.clip(mask, 0.0, 1.0) * skin).ravel()
    if method == "none" or weights.sum() < _FEWEST_PIXELS:
        return clipped
    weights /= weights.sum()
    scale = 1.0 / 255.0 if aligned.dtype == np.uint8 else 1.0
    reference = np.clip(aligned.astype(np.float32) * np.float32(scale), 0.0, 1.0)
    match = _match_deviations if method == "lab" else _match_covariances
    matched = match(clipped, reference, _of_skin(clipped, weights), _of_skin(reference, weights))
    return np.asarray(np.clip(matched, 0.0, 1.0), np.float32)


def _of_skin(reference: NDArray[np.float32], weights: Floats) -> Floats:
    """Return weights without what lies before the skin, such as a hand or a microphone.

    Colours far from the median, in median deviations from it, are left out.
    """
    pixels = reference.reshape(-1, 3).astype(np.float64)
    inside = weights > 0
    middle = np.median(pixels[inside], axis=0)
    deviations = np.abs(pixels - middle)
    spread = np.maximum(1.4826 * np.median(deviations[inside], axis=0), _LEAST_SPREAD)
    furthest = (deviations / spread).max(axis=1)
    near = np.clip((_FURTHEST - furthest) / (_FURTHEST - _NEAR), 0.0, 1.0)
    kept = weights * near
    # Of colours without a middle, as in a picture of stripes, all count.
    return np.asarray(kept / kept.sum()) if kept.sum() > _LEAST_KEPT else weights


def _match_deviations(
    swap: NDArray[np.float32], reference: NDArray[np.float32], weights: Floats, of_skin: Floats
) -> NDArray[np.float32]:
    lab, goal = (
        np.asarray(cv2.cvtColor(each, cv2.COLOR_RGB2LAB)).reshape(-1, 3).astype(np.float64)
        for each in (swap, reference)
    )
    mean, goal_mean = weights @ lab, of_skin @ goal
    deviation = np.sqrt(weights @ (lab - mean) ** 2)
    goal_deviation = np.sqrt(of_skin @ (goal - goal_mean) ** 2)
    most = (_LARGEST_GAIN, _LARGEST_CHROMA_GAIN, _LARGEST_CHROMA_GAIN)
    moved = (lab - mean) * np.minimum(goal_deviation / np.maximum(deviation, 1e-3), most)
    moved += goal_mean
    moved[:, 1:] = _fade_to_black(lab[:, 1:], moved[:, 1:], lab[:, 0], goal_mean[1:], weights)
    matched = cv2.cvtColor(moved.reshape(swap.shape).astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.asarray(matched, dtype=np.float32)


def _match_covariances(
    swap: NDArray[np.float32], reference: NDArray[np.float32], weights: Floats, of_skin: Floats
) -> NDArray[np.float32]:
    pixels = swap.reshape(-1, 3).astype(np.float64)
    goal = reference.reshape(-1, 3).astype(np.float64)
    mean, goal_mean = weights @ pixels, of_skin @ goal
    covariance = _covariance(pixels - mean, weights)
    root = _power(covariance, 0.5)
    inverse = _power(covariance, -0.5)
    middle = _power(root @ _covariance(goal - goal_mean, of_skin) @ root, 0.5)
    gains, axes = np.linalg.eigh(inverse @ middle @ inverse)
    lively, bounded = (
        (pixels - mean) @ ((axes * np.clip(gains, 0.0, most)) @ axes.T) + goal_mean
        for most in (_LARGEST_GAIN, _LARGEST_CHROMA_GAIN)
    )
    moved = _fade_to_black(
        _chroma(pixels), _chroma(bounded), pixels @ _LUMA, _chroma(goal_mean), weights
    )
    return np.asarray((moved + (lively @ _LUMA)[:, None]).reshape(swap.shape), dtype=np.float32)


def _chroma(pixels: Floats) -> Floats:
    return np.asarray(pixels - (pixels @ _LUMA)[..., None])


def _fade_to_black(
    before: Floats, after: Floats, lightness: Floats, goal_mean: Floats, weights: Floats
) -> Floats:
    """Mix chroma before and after the transfer; dark pixels keep theirs.

    Args:
        before: (N, C).
        after: (N, C).
        lightness: (N,), 0 = black.
        goal_mean: (C,), of the skin; kept exactly.
        weights: (N,), of skin, sum 1.
    """
    share = np.clip(lightness / max(float(weights @ lightness), 1e-3), 0.0, 1.0)[:, None]
    mixed = share * after + (1 - share) * before
    missing = (goal_mean - weights @ mixed) / max(float(weights @ share[:, 0]), 1e-3)
    return np.asarray(mixed + share * missing)


def _covariance(centred: Floats, weights: Floats) -> Floats:
    # The ridge is one grey level, the noise floor.
    ridge = 255.0**-2 * np.eye(3)
    return np.asarray((centred * weights[:, None]).T @ centred + ridge)


def _power(symmetric: Floats, exponent: float) -> Floats:
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * np.maximum(values, 1e-12) ** exponent) @ vectors.T)
