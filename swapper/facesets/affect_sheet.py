"""Contact sheet of a faceset's affect: the most confident faces of each emotion."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.facesets.faceset import Faceset
from swapper.media.image_strip import draw_strip
from swapper.types import FaceRecord, Readings

_COLUMNS: Final = 8
_TILE: Final = 96
_MIN_FRAME_GAP: Final = 12
"""Least frames between two faces of a row."""
_PAPER: Final = 250


def label_shares(readings: Readings) -> dict[str, float]:
    """Return the share of faces by most probable label; empty without classes."""
    if readings.probabilities is None or not len(readings):
        return {}
    surest = readings.probabilities.argmax(axis=1)
    shares = np.bincount(surest, minlength=len(readings.labels)) / len(readings)
    return dict(zip(readings.labels, shares.tolist(), strict=True))


def draw_affect(faceset: Faceset, readings: Readings) -> NDArray[np.uint8]:
    """Draw rows of faces, most confident first: each label, then the ends of valence and arousal.

    An emotion that the faceset lacks has an empty row. Readings are in the order of its records.

    Returns:
        (H, W, 3) RGB.

    Raises:
        FacesetError: A picture cannot be used.
        ValueError: The estimator has neither classes, valence nor arousal.
    """
    rows: list[tuple[str, list[int]]] = []
    if readings.probabilities is not None:
        surest = readings.probabilities.argmax(axis=1)
        for number, (label, share) in enumerate(label_shares(readings).items()):
            order = np.argsort(-readings.probabilities[:, number], kind="stable")
            labelled = order[surest[order] == number]
            rows.append((f"{label} {share:.1%}", _spread(faceset.records, labelled)))
    for values, least, most in (
        (readings.valence, "least pleasant", "most pleasant"),
        (readings.arousal, "calmest", "most aroused"),
    ):
        if values is not None:
            rows.append((most, _spread(faceset.records, np.argsort(-values, kind="stable"))))
            rows.append((least, _spread(faceset.records, np.argsort(values, kind="stable"))))
    blank = np.full((_TILE, _TILE, 3), _PAPER, np.uint8)
    pictures = []
    for label, faces in rows:
        found = [faceset.image(faceset.records[face]) for face in faces]
        pictures.append((label, found + [blank] * (_COLUMNS - len(found))))
    return draw_strip(pictures, ["surest", *[""] * (_COLUMNS - 1)], _TILE)


def _spread(records: list[FaceRecord], order: NDArray[np.int64]) -> list[int]:
    """The first of `order`, none close in time to one before."""
    chosen: list[int] = []
    for face in order.tolist():
        record = records[face]
        near = any(
            records[other].source == record.source
            and abs(records[other].frame_index - record.frame_index) < _MIN_FRAME_GAP
            for other in chosen
        )
        if not near:
            chosen.append(face)
        if len(chosen) == _COLUMNS:
            break
    return chosen
