"""Linear readout of an estimator's outputs from affect codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_RIDGE: Final = 0.01
"""Ridge penalty, as a share of the codes' mean variance."""
_MIN_STEP_EXPLAINED: Final = 0.1
"""Share of the output's variance that codes must explain; a weaker fit amplifies noise."""
_MIN_EXPLAINED: Final = 0.5
"""The same, for an output to count as predictable from the codes."""
_MIN_AXIS: Final = 0.01
"""As a share of what the first axis explains; smaller axes are noise."""


def readout_step(
    codes: Mapping[str, Floats], targets: Mapping[str, NDArray[np.floating[Any]] | None]
) -> NDArray[np.float32]:
    """Compute the shortest code step that raises the predicted value by 1.

    The prediction is a ridge regression within each person, all people weighted equally:
    differences between people at rest do not enter.

    Args:
        codes: Of each person's faces, (N, K).
        targets: The value of each of these faces, (N,); None where the estimator has none.

    Returns:
        (K,), or (0,) where the estimator has no such output or the codes do not predict it.
    """
    columns = {name: each[:, None] for name, each in targets.items() if each is not None}
    if len(columns) < len(codes):
        return np.zeros(0, np.float32)
    slopes, shares, _ = _regression(codes, columns)
    if not shares[0] > _MIN_STEP_EXPLAINED:
        return np.zeros(0, np.float32)
    slope = slopes[:, 0]
    return (slope / (slope @ slope)).astype(np.float32)


def readable_axes(
    codes: Mapping[str, Floats], targets: Mapping[str, NDArray[np.floating[Any]]]
) -> NDArray[np.float32]:
    """Compute the directions of codes (N, K) that predict the estimator's outputs (N, M).

    Returns:
        (K, L) orthonormal columns, most predictive first; L is 0 where no output is predictable.
    """
    slopes, shares, power = _regression(codes, targets)
    predictable = shares > _MIN_EXPLAINED
    if not predictable.any():
        return np.zeros((len(slopes), 0), np.float32)
    axes, sizes, _ = np.linalg.svd(
        slopes[:, predictable] / np.sqrt(power[predictable]), full_matrices=False
    )
    informative: NDArray[np.float32] = axes[:, sizes**2 > _MIN_AXIS * sizes[0] ** 2]
    return informative.astype(np.float32)


def ridge_slopes(covariance: Floats, cross: Floats, penalty: float) -> Floats:
    """Return slopes (K, M) of a ridge regression.

    Args:
        covariance: (K, K) of the predictors.
        cross: (K, M) covariance of predictors and targets.
        penalty: As a share of the predictors' mean variance.
    """
    ridge = penalty * np.trace(covariance) / len(covariance) + 1e-12
    return np.linalg.solve(covariance + ridge * np.eye(len(covariance)), cross)


def _regression(
    codes: Mapping[str, Floats], targets: Mapping[str, NDArray[np.floating[Any]]]
) -> tuple[Floats, Floats, Floats]:
    """Slopes (K, M), share of each output's variance explained (M,), and that variance (M,)."""
    spread, cross, power = [], [], []
    for name, own_codes in codes.items():
        deviation = own_codes - own_codes.mean(axis=0)
        centred = targets[name].astype(np.float64) - targets[name].mean(axis=0, dtype=np.float64)
        spread.append(deviation.T @ deviation / len(deviation))
        cross.append(deviation.T @ centred / len(deviation))
        power.append((centred**2).mean(axis=0))
    pooled, together, variance = (np.mean(each, axis=0) for each in (spread, cross, power))
    slopes = ridge_slopes(pooled, together, _RIDGE)
    variance = variance.clip(1e-12)
    return slopes, (slopes * together).sum(axis=0) / variance, variance
