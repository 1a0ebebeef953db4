"""Whose face is it? What every face recogniser offers, and how alike two faces are.

A recogniser cuts a face out of a picture and turns it into an embedding. Which one does it is a
choice of configuration; the rest of the house only sees this protocol.
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
    """How alike two faces are, by their embeddings; NaN where an embedding is.

    Attributes:
        key: How its names end in report.json, such as "distance".
        title: For a person, such as "Distance".
        kind: Which one, such as "Euclidean".
        nearer: Which way lies the same person.
        between: Of embeddings (N, D) and of what each is held against, (D,) or (N, D): (N,).
    """

    key: str
    title: str
    kind: str
    nearer: Literal["higher", "lower"]
    between: Callable[[Floats, Floats], Floats]

    def to_mean(self, embeddings: Embeddings, of: Embeddings) -> Floats:
        """(N,) of each of (N, D) to the mean of (M, D)."""
        return self.between(embeddings.astype(np.float64), of.astype(np.float64).mean(axis=0))

    def leave_one_out(self, embeddings: Embeddings) -> Floats:
        """(N,) of each of (N, D) to the mean of the others; NaN where there are no others."""
        if len(embeddings) < 2:
            return np.full(len(embeddings), np.nan)
        vectors = embeddings.astype(np.float64)
        # Left in, each would find itself in the mean.
        return self.between(vectors, (vectors.sum(axis=0) - vectors) / (len(vectors) - 1))

    def is_nearer(self, first: Floats, second: Floats) -> NDArray[np.bool_]:
        """(N,) whether the first of two figures tells more of the same person; ties do not."""
        return first > second if self.nearer == "higher" else first < second


def _cosine(embeddings: Floats, against: Floats) -> Floats:
    lengths = np.linalg.norm(embeddings, axis=-1) * np.linalg.norm(against, axis=-1)
    cosines: Floats = (embeddings * against).sum(axis=-1) / np.maximum(lengths, 1e-12)
    return cosines


def _euclidean(embeddings: Floats, against: Floats) -> Floats:
    distances: Floats = np.linalg.norm(embeddings - against, axis=-1)
    return distances


COSINE: Final = FaceMeasure("similarity", "Likeness", "cosine", "higher", _cosine)
EUCLIDEAN: Final = FaceMeasure("distance", "Distance", "Euclidean", "lower", _euclidean)


class Recogniser(Protocol):
    """Faces to embeddings that tell people apart.

    Constructors only store settings. `prepare` loads what the recogniser needs; the first call does
    it if nobody has.
    """

    @property
    def name(self) -> str:
        """Short, for the report."""

    @property
    def lineage(self) -> str:
        """Architecture and sha256 of the weights; known once `prepare` was called."""

    @property
    def licence(self) -> str:
        """By what right it is used, in a line; told in the report."""

    @property
    def measure(self) -> FaceMeasure:
        """How its embeddings are compared."""

    def prepare(self, device: str | torch.device = "cpu") -> None:
        """Load the weights, onto the device where the network can use one.

        Raises:
            EstimatorError: A package is missing, or the weights are, or are others.
        """

    def crop(self, image: Picture, landmarks: NDArray[np.floating]) -> Picture:
        """The face as the network was trained to see it.

        Args:
            image: (H, W, 3) uint8 RGB.
            landmarks: (68, 2), x y in its pixels.

        Returns:
            (S, S, 3) uint8 RGB, S as the recogniser has it; beyond the picture its edge pixels.

        Raises:
            ValueError: The landmarks are not (68, 2), not finite, or fall on one point.
        """

    def embed(self, crops: Picture) -> NDArray[np.float32]:
        """Embeddings of crops.

        Args:
            crops: (N, S, S, 3) uint8 RGB, from `crop`.

        Returns:
            (N, D); to rounding, a row does not depend on the others.

        Raises:
            ValueError: `crops` is no such array.
            EstimatorError: As `prepare`.
        """


def checked_landmarks(landmarks: NDArray[np.floating]) -> Floats:
    """(68, 2) of a face, x y in pixels.

    Raises:
        ValueError: They are not (68, 2), not finite, or fall on one point.
    """
    points = landmarks.astype(np.float64)
    if points.shape != (NUM_LANDMARKS, 2) or not np.isfinite(points).all():
        raise ValueError(f"landmarks must be (68, 2) and finite, got {points.shape}")
    if not np.ptp(points, axis=0).any():
        raise ValueError("landmarks fall on one point, no face can be aligned by them")
    return points


def checked_crops(crops: Picture, side: int) -> Picture:
    """(N, side, side, 3) uint8, in one piece of memory.

    Raises:
        ValueError: They are not.
    """
    if crops.ndim != 4 or crops.shape[1:] != (side, side, 3) or crops.dtype != np.uint8:
        raise ValueError(
            f"crops must be uint8 (N, {side}, {side}, 3), got {crops.dtype} {crops.shape}"
        )
    return np.ascontiguousarray(crops)
