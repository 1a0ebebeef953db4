"""Along which directions affect codes rise in what an estimator says aloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_RIDGE: Final = 0.01
"""Of the codes' mean variance."""
_LEAST_RISE: Final = 0.1
"""Share of the number's variance that codes must explain; a weaker direction is noise, enlarged."""
_LEAST_TOLD: Final = 0.5
"""The same, of an output that counts as told by the codes."""
_LEAST_AXIS: Final = 0.01
"""Of what the first axis explains; less is noise."""


def readout_step(
    codes: Mapping[str, Floats], said: Mapping[str, NDArray[np.floating[Any]] | None]
) -> NDArray[np.float32]:
    """The shortest step by which a code's predicted number rises by 1.

    The prediction is a ridge regression within each person, every person counting alike: how much
    more pleasant one person looks than another at rest does not enter.

    Args:
        codes: Of each person's faces, (N, K).
        said: The number of each of these faces, (N,); None where the estimator has none.

    Returns:
        (K,), or (0,) where the estimator has no such number or the codes do not tell it.
    """
    columns = {name: each[:, None] for name, each in said.items() if each is not None}
    if len(columns) < len(codes):
        return np.zeros(0, np.float32)
    readers, shares, _ = _regression(codes, columns)
    if not shares[0] > _LEAST_RISE:
        return np.zeros(0, np.float32)
    slope = readers[:, 0]
    step: NDArray[np.float32] = (slope / (slope @ slope)).astype(np.float32)
    return step


def readable_axes(
    codes: Mapping[str, Floats], said: Mapping[str, NDArray[np.floating[Any]]]
) -> NDArray[np.float32]:
    """Directions of codes from which what the estimator says can be read; the rest is what it sees.

    Args:
        codes: Of each person's faces, (N, K).
        said: All that is said of these faces, (N, M).

    Returns:
        (K, L) orthonormal columns, those that tell the most first; L is 0 where nothing is told.
    """
    readers, shares, power = _regression(codes, said)
    kept = shares > _LEAST_TOLD
    if not kept.any():
        return np.zeros((len(readers), 0), np.float32)
    axes, sizes, _ = np.linalg.svd(readers[:, kept] / np.sqrt(power[kept]), full_matrices=False)
    found: NDArray[np.float32] = axes[:, sizes**2 > _LEAST_AXIS * sizes[0] ** 2]
    return found.astype(np.float32)


def _regression(
    codes: Mapping[str, Floats], said: Mapping[str, NDArray[np.floating[Any]]]
) -> tuple[Floats, Floats, Floats]:
    """Slopes (K, M), share of each output's variance explained (M,), and that variance (M,)."""
    spread, crossed, power = [], [], []
    for name, each in codes.items():
        away = each - each.mean(axis=0)
        centred = said[name].astype(np.float64) - said[name].mean(axis=0, dtype=np.float64)
        spread.append(away.T @ away / len(away))
        crossed.append(away.T @ centred / len(away))
        power.append((centred**2).mean(axis=0))
    pooled, together, variance = (np.mean(each, axis=0) for each in (spread, crossed, power))
    ridge = _RIDGE * np.trace(pooled) / len(pooled) + 1e-12
    slopes: Floats = np.linalg.solve(pooled + ridge * np.eye(len(pooled)), together)
    variance = variance.clip(1e-12)
    return slopes, (slopes * together).sum(axis=0) / variance, variance
