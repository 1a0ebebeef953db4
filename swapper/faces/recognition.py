"""Face recognition: the protocol of recognisers, and distances between embeddings.

A recogniser crops a face and computes its embedding. The config selects one; all other code uses
only this protocol.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from swapper.types import NUM_LANDMARKS

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]
Embeddings = NDArray[np.floating]


@dataclass(frozen=True)
class FaceMeasure:
    """A similarity or distance of face embeddings; NaN where an embedding is.

    Attributes:
        key: Suffix of its names in report.json, such as "distance".
        title: Display name, such as "Distance".
        kind: Type, such as "Euclidean".
        nearer: Whether higher or lower values mean the same person.
        same: Value at which two faces are taken for one person's.
        between: Function of embeddings (N, D) and references (D,) or (N, D) to (N,).
    """

    key: str
    title: str
    kind: str
    nearer: Literal["higher", "lower"]
    same: float
    between: Callable[[Floats, Floats], Floats]

    def to_mean(self, embeddings: Embeddings, of: Embeddings) -> Floats:
        """Return (N,) between each of (N, D) and the mean of (M, D)."""
        return self.between(embeddings.astype(np.float64), of.astype(np.float64).mean(axis=0))

    def leave_one_out(self, embeddings: Embeddings) -> Floats:
        """Return (N,) between each of (N, D) and the mean of the others; NaN if N is 1."""
        if len(embeddings) < 2:
            return np.full(len(embeddings), np.nan)
        vectors = embeddings.astype(np.float64)
        # Leave-one-out: the mean excludes the embedding itself.
        return self.between(vectors, (vectors.sum(axis=0) - vectors) / (len(vectors) - 1))

    def is_same(self, value: float) -> bool:
        """Return whether a value is that of one person."""
        return value >= self.same if self.nearer == "higher" else value <= self.same

    def is_nearer(self, first: Floats, second: Floats) -> NDArray[np.bool_]:
        """Return (N,) whether `first` is nearer to the same person; False for ties."""
        return first > second if self.nearer == "higher" else first < second


def _cosine(embeddings: Floats, against: Floats) -> Floats:
    lengths = np.linalg.norm(embeddings, axis=-1) * np.linalg.norm(against, axis=-1)
    return np.asarray((embeddings * against).sum(axis=-1) / np.maximum(lengths, 1e-12))


def _euclidean(embeddings: Floats, against: Floats) -> Floats:
    return np.asarray(np.linalg.norm(embeddings - against, axis=-1))


COSINE: Final = FaceMeasure("similarity", "Likeness", "cosine", "higher", 0.3, _cosine)
# The threshold that dlib's author gives for its network.
EUCLIDEAN: Final = FaceMeasure("distance", "Distance", "Euclidean", "lower", 0.6, _euclidean)


class Recogniser(Protocol):
    """Computes face embeddings that discriminate between people.

    Constructors only store settings. `prepare` loads the weights; the first call does so if needed.
    """

    @property
    def name(self) -> str:
        """Short name, for the report."""

    @property
    def lineage(self) -> str:
        """Architecture and sha256 of the weights; known once `prepare` was called."""

    @property
    def licence(self) -> str:
        """Licence in one line; printed in the report."""

    @property
    def measure(self) -> FaceMeasure:
        """The measure to compare its embeddings with."""

    def prepare(self, device: str | torch.device = "cpu") -> None:
        """Load the weights, onto the device where the network can use one.

        Raises:
            EstimatorError: A package or the weights are missing, or the hash differs.
        """

    def crop(self, image: Picture, landmarks: NDArray[np.floating]) -> Picture:
        """Crop a face as in the network's training.

        Args:
            image: (H, W, 3) uint8 RGB.
            landmarks: (68, 2), x y in its pixels.

        Returns:
            (S, S, 3) uint8 RGB, S of the recogniser; edge pixels are replicated beyond the image.

        Raises:
            ValueError: The landmarks are not (68, 2), not finite, or fall on one point.
        """

    def embed(self, crops: Picture) -> NDArray[np.float32]:
        """Compute embeddings of crops.

        Args:
            crops: (N, S, S, 3) uint8 RGB, from `crop`.

        Returns:
            (N, D); up to rounding, rows are independent.

        Raises:
            ValueError: `crops` has another shape or dtype.
            EstimatorError: As `prepare`.
        """


def checked_landmarks(landmarks: NDArray[np.floating]) -> Floats:
    """Return landmarks (68, 2), x y in pixels, as float64.

    Raises:
        ValueError: They are not (68, 2), not finite, or coincide.
    """
    points = landmarks.astype(np.float64)
    if points.shape != (NUM_LANDMARKS, 2) or not np.isfinite(points).all():
        raise ValueError(f"landmarks must be (68, 2) and finite, got {points.shape}")
    if not np.ptp(points, axis=0).any():
        raise ValueError("landmarks fall on one point, no face can be aligned by them")
    return points


def checked_crops(crops: Picture, side: int) -> Picture:
    """Return crops (N, side, side, 3) uint8 as a contiguous array.

    Raises:
        ValueError: They have another shape or dtype.
    """
    if crops.ndim != 4 or crops.shape[1:] != (side, side, 3) or crops.dtype != np.uint8:
        raise ValueError(
            f"crops must be uint8 (N, {side}, {side}, 3), got {crops.dtype} {crops.shape}"
        )
    return np.ascontiguousarray(crops)
