"""What an identity has been seen to do, and what it has not.

A decoder has learnt an identity's face from its footage. What lies further than that footage goes,
it can only guess; so it is worth knowing how far that is, in every direction of the affect codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.types import Readings

MOST_SHOWN: Final = 256
"""Codes kept of each identity."""
_REACH: Final = 0.99
"""An identity reaches along a direction as far as this share of its faces."""
_FURTHER: Final = 1.5
"""So many times its reach is more than an identity has shown."""
_REST: Final = 0.5
"""No reach is less, in units of a code's spread: that close to rest, codes differ by noise."""
_ABSENT_SHARE: Final = 0.01
_FEWEST_FACES: Final = 5
_PRESENT_SHARE: Final = 0.03


def subsample_codes(codes: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """At most 256 of the codes (N, K) of one identity, evenly over its footage."""
    count = min(len(codes), MOST_SHOWN)
    rows = np.linspace(0, len(codes) - 1, count).round().astype(np.int64)
    return codes[rows].astype(np.float32)


@dataclass(frozen=True, eq=False)
class ObservedRange:
    """How far an identity has been seen to go.

    Attributes:
        codes: (M, K), a sample of its own, M >= 1.
        told: (K, L) orthonormal directions in which feelings are told apart; None for all. In the
            others people differ by much that is no feeling, so that any is more than another's.
    """

    codes: NDArray[np.float32]
    told: NDArray[np.float32] | None = None

    def reach(self, units: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """99 % quantile of its codes along unit directions (N, K), (N,); the 1 % one is - of -u."""
        along = units.astype(np.float64) @ self.codes.T.astype(np.float64)
        found: NDArray[np.float64] = np.quantile(along, _REACH, axis=1)
        return found

    def asks_for_more(self, codes: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """Which codes (N, K) go further than the identity has been seen to go in their direction.

        Further, in the directions that are told, means half as far again as its reach. In many
        dimensions a code's own direction is the one in which it is extreme, and many of the
        identity's own faces would be further; so it must be further, in the same measure, than 99
        of 100 of these, too.
        """
        return self._times(codes) > self._limit

    @cached_property
    def _limit(self) -> float:
        return max(_FURTHER, float(np.quantile(self._times(self.codes), _REACH)))

    def _times(self, codes: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """By how many times the reach in its own direction each code is away from rest, (N,)."""
        seen = codes.astype(np.float64)
        if self.told is not None and self.told.shape[1]:
            seen = seen @ self.told @ self.told.T
        length = np.linalg.norm(seen, axis=1)
        units = seen / length.clip(1e-12)[:, None]
        times: NDArray[np.float64] = length / self.reach(units).clip(_REST)
        return times


def missing_emotions(readings: Mapping[str, Readings]) -> list[str]:
    """Which feelings one identity lacks that another one shows, a line each.

    Lacking is less than 1 % of the faces or fewer than 5; shown is more than 3 % of them and 5 at
    least. A face counts for the class that it looks most like.

    Args:
        readings: Of each identity's faces; all of one estimator.

    Returns:
        Such as "alice shows no surprise (bob: 12 %); a swap will have to guess it"; none where the
        estimator has no classes.
    """
    counts = {
        name: np.bincount(each.probabilities.argmax(axis=1), minlength=len(each.labels))
        for name, each in readings.items()
        if each.probabilities is not None and len(each)
    }
    lines = []
    for name, own in counts.items():
        for number, feeling in enumerate(readings[name].labels):
            faces = int(own[number])
            if faces >= _FEWEST_FACES and faces >= _ABSENT_SHARE * own.sum():
                continue
            shares = {other: each[number] / each.sum() for other, each in counts.items()}
            others = sorted(
                (
                    other
                    for other, each in counts.items()
                    if shares[other] > _PRESENT_SHARE and each[number] >= _FEWEST_FACES
                ),
                key=lambda other: -shares[other],
            )
            if others:
                there = ", ".join(f"{other}: {100 * shares[other]:.0f} %" for other in others)
                lines.append(
                    f"{name} shows {_few(faces, feeling)} ({there}); a swap will have to guess it"
                )
    return lines


def _few(faces: int, feeling: str) -> str:
    if not faces:
        return f"no {feeling}"
    return f"hardly any {feeling}, {faces} {'face' if faces == 1 else 'faces'}"
