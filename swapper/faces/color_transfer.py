"""Transfer the colours of a frame's face to the swap that replaces it."""

from __future__ import annotations

from typing import Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

ColorMatch = Literal["none", "lab", "mkl"]
COLOR_MATCHES: Final[tuple[ColorMatch, ...]] = get_args(ColorMatch)

# Largest gain of the transfer on skin: more amplifies noise and shadows.
_LARGEST_GAIN: Final = 2.0
# Largest gain of the chroma of eyes, lips and brows. They lie far from the skin's mean, so that a
# gain which fits the skin's spread turns eyes vivid blue (observed on real clips).
_LARGEST_FEATURE_GAIN: Final = 1.0
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
    crop, which avoids a seam where the mask fades; the chroma of features is not amplified.

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
    matched = match(clipped, reference, weights, skin.reshape(-1, 1))
    return np.asarray(np.clip(matched, 0.0, 1.0), np.float32)


def _match_deviations(
    swap: NDArray[np.float32], reference: NDArray[np.float32], weights: Floats, skin: Floats
) -> NDArray[np.float32]:
    lab, goal = (
        np.asarray(cv2.cvtColor(each, cv2.COLOR_RGB2LAB)).reshape(-1, 3).astype(np.float64)
        for each in (swap, reference)
    )
    mean, goal_mean = weights @ lab, weights @ goal
    deviation, goal_deviation = (
        np.sqrt(weights @ (each - middle) ** 2) for each, middle in ((lab, mean), (goal, goal_mean))
    )
    gain = np.minimum(goal_deviation / np.maximum(deviation, 1e-3), _LARGEST_GAIN)
    bounded = np.minimum(gain, (_LARGEST_GAIN, _LARGEST_FEATURE_GAIN, _LARGEST_FEATURE_GAIN))
    gains = skin * gain + (1 - skin) * bounded
    moved = ((lab - mean) * gains + goal_mean).reshape(swap.shape)
    matched = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.asarray(matched, dtype=np.float32)


def _match_covariances(
    swap: NDArray[np.float32], reference: NDArray[np.float32], weights: Floats, skin: Floats
) -> NDArray[np.float32]:
    pixels = swap.reshape(-1, 3).astype(np.float64)
    goal = reference.reshape(-1, 3).astype(np.float64)
    mean, goal_mean = weights @ pixels, weights @ goal
    covariance = _covariance(pixels - mean, weights)
    root = _power(covariance, 0.5)
    inverse = _power(covariance, -0.5)
    middle = _power(root @ _covariance(goal - goal_mean, weights) @ root, 0.5)
    gains, axes = np.linalg.eigh(inverse @ middle @ inverse)
    on_skin, on_features = (
        (pixels - mean) @ ((axes * np.clip(gains, 0.0, most)) @ axes.T)
        for most in (_LARGEST_GAIN, _LARGEST_FEATURE_GAIN)
    )
    # Contrast is that of the plate's light, for features as for skin; only their chroma is bounded.
    on_features = on_features + (on_skin - on_features).mean(axis=1, keepdims=True)
    moved = skin * on_skin + (1 - skin) * on_features + goal_mean
    return np.asarray(moved.reshape(swap.shape), dtype=np.float32)


def _covariance(centred: Floats, weights: Floats) -> Floats:
    # The ridge is one grey level, the noise floor.
    ridge = 255.0**-2 * np.eye(3)
    return np.asarray((centred * weights[:, None]).T @ centred + ridge)


def _power(symmetric: Floats, exponent: float) -> Floats:
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * np.maximum(values, 1e-12) ** exponent) @ vectors.T)
