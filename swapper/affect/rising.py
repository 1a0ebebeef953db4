"""The direction in which affect codes rise in what an estimator says by a number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_RIDGE: Final = 0.01
"""Of the codes' mean variance."""
_LEAST_TOLD: Final = 0.1
"""Share of the number's variance that codes must explain; a weaker direction is noise, enlarged."""


def rising(
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
    none = np.zeros(0, np.float32)
    moments = []
    for name, each in codes.items():
        numbers = said[name]
        if numbers is None:
            return none
        away = each - each.mean(axis=0)
        centred = numbers.astype(np.float64) - float(numbers.mean())
        moments.append(
            (away.T @ away / len(away), away.T @ centred / len(away), float((centred**2).mean()))
        )
    spread, crossed = sum(m[0] for m in moments), sum(m[1] for m in moments)
    power = sum(m[2] for m in moments)
    ridge = _RIDGE * np.trace(spread) / len(spread) + 1e-12
    slope = np.linalg.solve(spread + ridge * np.eye(len(spread)), crossed)
    if not float(slope @ crossed) > _LEAST_TOLD * max(power, 1e-12):
        return none
    step: NDArray[np.float32] = (slope / (slope @ slope)).astype(np.float32)
    return step
