"""Observed range of an identity's affect codes, and emotions that its footage lacks.

A decoder learns an identity's face from its footage; codes beyond the range of that footage are
extrapolation. This measures the range in every direction of the affect codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.types import Readings

MAX_CODES: Final = 256
"""Codes stored for each identity."""
_EXTENT_QUANTILE: Final = 0.99
"""Quantile of an identity's codes that defines its extent along a direction."""
_MARGIN: Final = 1.5
"""Codes beyond this multiple of the extent are out of range."""
_MIN_EXTENT: Final = 0.5
"""Least extent, in standard deviations of a code: that close to neutral, codes differ by noise."""
_ABSENT_SHARE: Final = 0.01
_MIN_FACES: Final = 5
_PRESENT_SHARE: Final = 0.03


def subsample_codes(codes: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return at most 256 of the codes (N, K) of one identity, evenly spaced over its footage."""
    count = min(len(codes), MAX_CODES)
    rows = np.linspace(0, len(codes) - 1, count).round().astype(np.int64)
    return codes[rows].astype(np.float32)


@dataclass(frozen=True, eq=False)
class ObservedRange:
    """Range of an identity's own codes.

    Attributes:
        codes: (M, K), a sample of its own, M >= 1.
        readout_axes: (K, L) orthonormal directions that predict affect; None for all. Along the
            others people differ by much that is not affect, and any code would be out of range.
    """

    codes: NDArray[np.float32]
    readout_axes: NDArray[np.float32] | None = None

    def extent(self, units: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """99 % quantile (N,) of its codes along unit directions (N, K); the 1 % one is of -u."""
        along = units.astype(np.float64) @ self.codes.T.astype(np.float64)
        return np.quantile(along, _EXTENT_QUANTILE, axis=1)

    def exceeds(self, codes: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """(N,) which codes (N, K) lie beyond the identity's observed range.

        Out of range means 1.5 times the extent along the code's own direction, in the readout
        axes. In many dimensions a code is extreme along its own direction, and many of the
        identity's own faces would exceed that; so it must also exceed, in the same measure, 99 of
        100 of these.
        """
        return self._relative_distance(codes) > self._limit

    @cached_property
    def _limit(self) -> float:
        return max(
            _MARGIN, float(np.quantile(self._relative_distance(self.codes), _EXTENT_QUANTILE))
        )

    def _relative_distance(self, codes: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """(N,) length of each code divided by the extent along its own direction."""
        projected = codes.astype(np.float64)
        if self.readout_axes is not None and self.readout_axes.shape[1]:
            projected = projected @ self.readout_axes @ self.readout_axes.T
        length = np.linalg.norm(projected, axis=1)
        units = projected / length.clip(1e-12)[:, None]
        return np.asarray(length / self.extent(units).clip(_MIN_EXTENT))


def missing_emotions(readings: Mapping[str, Readings]) -> list[str]:
    """List emotions that one identity lacks and another one has, one line each.

    Lacking is less than 1 % of the faces or fewer than 5; having is more than 3 % of them and 5 at
    least. A face counts for its most probable class. All readings are of one estimator.

    Returns:
        Such as "alice shows no surprise (bob: 12 %); a swap will have to guess it"; empty where
        the estimator has no classes.
    """
    counts = {
        name: np.bincount(each.probabilities.argmax(axis=1), minlength=len(each.labels))
        for name, each in readings.items()
        if each.probabilities is not None and len(each)
    }
    lines = []
    for name, own in counts.items():
        for number, emotion in enumerate(readings[name].labels):
            faces = int(own[number])
            if faces >= _MIN_FACES and faces >= _ABSENT_SHARE * own.sum():
                continue
            shares = {other: each[number] / each.sum() for other, each in counts.items()}
            having = sorted(
                (
                    other
                    for other, each in counts.items()
                    if shares[other] > _PRESENT_SHARE and each[number] >= _MIN_FACES
                ),
                key=lambda other: -shares[other],
            )
            if having:
                there = ", ".join(f"{other}: {100 * shares[other]:.0f} %" for other in having)
                lines.append(
                    f"{name} shows {_describe_count(faces, emotion)} ({there}); "
                    "a swap will have to guess it"
                )
    return lines


def _describe_count(faces: int, emotion: str) -> str:
    if not faces:
        return f"no {emotion}"
    return f"hardly any {emotion}, {faces} {'face' if faces == 1 else 'faces'}"
