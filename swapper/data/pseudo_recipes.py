"""Recipes of pseudo-targets: base face of the identity, warp, and donor of the mouth's inside.

The base is warped by the difference between the performer's deviation from neutral and its own. The
less the identity's footage covers, the larger the warp, and the lower the confidence.

Places are shares of the aligned crop's side, (pixel + 0.5) / side, so that a recipe serves crops of
any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.data.pseudo_bases import LIDS, OPENING, SLACK, Bases, Person
from swapper.faces.geometry import similarity_from_landmarks, transform_points
from swapper.faces.mediapipe import MESH_OF_LANDMARK
from swapper.faces.shape import (
    INNER_LIPS,
    INNER_LIPS_MESH,
    IRISES,
    RIGID,
    RIGID_MESH,
    eye,
    landmarks_of,
    origin,
    pixels_per_unit,
)
from swapper.faces.thin_plate import smallest_area, thin_plate_flow
from swapper.types import MESH_POINTS, Coverage

Floats = NDArray[np.float64]

NODES: Final = 64
"""Points along a side of a recipe's flow: with 32 the corners of the mouth move a tenth less."""
LIP_POINTS: Final = 20
_AT_ONCE: Final = 64
# Points of the head that face away from the camera by more than this are occluded.
_HIDDEN_DEGREES: Final = 60.0
_HEAD_CENTRE: Final = 0.9
_SPACING: Final = 0.05
_FINE_SPACING: Final = 0.018
_SMOOTHING: Final = 5e-4
_FILL_FROM: Final = 0.015
_DONOR_RATIO: Final = 1.25
_OWN_DONOR: Final = 0.35


class Reason(IntEnum):
    """Why a face has no pseudo-target."""

    NONE = 0
    POSE = 1
    LIPS = 2
    LIDS = 3
    MOVE = 4
    FOLD = 5


REASONS: Final = {
    Reason.POSE: "turned as the identity never is",
    Reason.LIPS: "the identity's lips are never that closed",
    Reason.LIDS: "the identity's eyes are never that open",
    Reason.MOVE: "too far from anything that the identity shows",
    Reason.FOLD: "the warp would fold",
}


@dataclass(frozen=True)
class WarpLimits:
    """Limits of a warp; see `swapper.data.pseudo_targets.PseudoTargets`."""

    move: float
    turn: float
    pose_share: float
    most_turn: float
    least: float


ROW: Final = np.dtype(
    [
        ("base", "<i4"),
        ("confidence", "<f4"),
        ("reason", "u1"),
        ("own_mouth", "u1"),
        ("donor", "<i4"),
        ("donor_from_place", "<f4", (2, 3)),
        ("gain", "<f4", (3, 2)),
        ("move", "<f4"),
        ("lips", "<f2", (LIP_POINTS, 2)),
        ("flow", "<f2", (NODES, NODES, 2)),
    ]
)
"""The recipe of one pseudo-target, as it is stored.

- base: Row of the identity's face that is warped; -1 for no pseudo-target.
- confidence: In [0, 1].
- reason: Why there is none, a `Reason`.
- own_mouth: Whether the donor of the mouth's inside is the identity, not the performer.
- donor: Row of that face, or -1.
- donor_from_place: Of the mouth's inside.
- gain: Scale and shift of the donor's colours on [0, 1].
- move: Largest displacement of a point, in eye distances.
- lips: Outline of the mouth's inside in the pseudo-target.
- flow: (dx, dy) from a place of the pseudo-target to that of the base.
"""

Table = NDArray[Any]
"""(N,) of `ROW`, one for each of the performer's faces; read-only."""


class RecipeMaker:
    """Computes the recipes of one performer as one identity.

    Args:
        performer: Whose expressions.
        identity: Whose faces are warped.
        size: Side of the aligned crops that the points refer to; any value.
        coverage: Of the crops.
        limits: Of the warp.
    """

    def __init__(
        self, performer: Person, identity: Person, size: int, coverage: Coverage, limits: WarpLimits
    ) -> None:
        self.performer, self.identity, self.limits = performer, identity, limits
        self.size, self.coverage = size, coverage
        self._origin, self._unit = origin(size, coverage), pixels_per_unit(size, coverage)
        self._warped = _warp_points(identity.rest)
        self._ring = INNER_LIPS_MESH if identity.mesh else INNER_LIPS
        places = np.linspace(0, 1, NODES)
        grid = np.stack(np.meshgrid(places, places), axis=-1)
        self._nodes = self._units(grid.reshape(-1, 2))
        self._border = self._units(_border())
        self._bases = Bases(performer, identity)

    def make(self, rows: NDArray[np.int64]) -> Table:
        """Compute the recipes of some of the performer's faces."""
        recipes = np.zeros(len(rows), ROW)
        for first in range(0, len(rows), _AT_ONCE):
            bases = self._bases.nearest(rows[first : first + _AT_ONCE])
            for place, base in enumerate(bases, start=first):
                self._fill(recipes[place], rows[place], base)
        return recipes

    def _fill(self, recipe: np.void, row: int, base: int) -> None:
        """Compute one recipe, in place."""
        performer, identity = self.performer, self.identity
        moved = performer.departures[row] - identity.departures[base]
        moved[RIGID_MESH if identity.mesh else RIGID] = 0
        front = identity.shapes.front[base] + moved
        if identity.mesh:
            _move_irises(front, identity.shapes.front[base], performer.gaze[row])
        rotation, left = self._turn(row, base)
        source = self._flat(identity.shapes.front[base], base, identity.shapes.rotation[base])
        target = self._realigned(self._flat(front, base, rotation))
        yaws = identity.pose[base, 0], np.degrees(np.arctan2(rotation[2, 0], rotation[2, 2]))
        steering = self._warped[_visible(identity.rest[self._warped], yaws)]
        flow = thin_plate_flow(
            np.concatenate([target[steering], self._border]),
            np.concatenate([source[steering], self._border]),
            self._nodes,
            _SMOOTHING,
        ).reshape(NODES, NODES, 2)
        move = float(np.linalg.norm(moved[steering, :2], axis=1).max())
        confidence, reason = self._confidence(row, base, left, move, flow)
        share = self._unit / self.size
        own, donor, donor_from_place = self._mouth(row, base, source, target)
        recipe["base"], recipe["donor"] = (base, donor) if confidence else (-1, -1)
        recipe["confidence"], recipe["reason"], recipe["move"] = confidence, reason, move
        recipe["own_mouth"], recipe["donor_from_place"] = own, donor_from_place
        recipe["gain"] = self._gain(base, own, donor)
        # By way of float32, as the tables of former versions were.
        recipe["lips"] = self._places(_resampled(target[self._ring])).astype(np.float32)
        recipe["flow"] = (flow * share).astype(np.float32)

    # --- places -----------------------------------------------------------------------------------

    def _units(self, places: Floats) -> Floats:
        """Convert shares of the side to eye distances from between the eyes."""
        return np.asarray((places * self.size - 0.5 - self._origin) / self._unit)

    def _places(self, points: Floats) -> Floats:
        return np.asarray((points * self._unit + self._origin + 0.5) / self.size)

    def _flat(self, front: Floats, base: int, rotation: Floats) -> Floats:
        """Project points (P, 3) into the base's crop under a rotation, (P, 2)."""
        shapes = self.identity.shapes
        projected = shapes.scale[base] * front @ rotation.T + shapes.offset[base]
        return np.asarray(projected[:, :2])

    def _realigned(self, points: Floats) -> Floats:
        """Align points (P, 2) by their own landmarks."""
        pixels = points * self._unit + self._origin
        landmarks = landmarks_of(pixels).astype(np.float32)
        matrix = similarity_from_landmarks(landmarks, self.size, self.coverage)
        aligned = transform_points(matrix, pixels).astype(np.float64)
        return np.asarray((aligned - self._origin) / self._unit)

    def _turn(self, row: int, base: int) -> tuple[Floats, float]:
        """Rotation (3, 3) of the pseudo-target, and the remaining pose difference in degrees."""
        own_rotation = self.identity.shapes.rotation[base]
        between = cv2.Rodrigues(self.performer.shapes.rotation[row] @ own_rotation.T)[0].ravel()
        degrees = float(np.degrees(np.linalg.norm(between)))
        applied = min(self.limits.pose_share * degrees, self.limits.most_turn)
        part = between * (applied / max(degrees, 1e-9))
        return np.asarray(cv2.Rodrigues(part)[0] @ own_rotation, np.float64), degrees - applied

    # --- confidence -------------------------------------------------------------------------------

    def _confidence(
        self, row: int, base: int, left: float, move: float, flow: Floats
    ) -> tuple[float, Reason]:
        target_state = self._bases.target_state(np.array([row]))[0]
        base_signals = self.identity.signals[base]
        spacing = self.size / self._unit / (NODES - 1)
        inside = slice(NODES // 5, -NODES // 5)
        area = float(np.quantile(smallest_area(flow, spacing)[inside, inside], 0.01))
        parts = {
            Reason.MOVE: _half_at(move, self.limits.move),
            Reason.POSE: _half_at(left, self.limits.turn),
            Reason.LIPS: _half_at(base_signals[OPENING] - target_state[0] - SLACK, SLACK),
            Reason.LIDS: _half_at(
                float((target_state[1:] - base_signals[LIDS]).max()) - SLACK, SLACK
            ),
            Reason.FOLD: _half_at(0.3 - area, 0.3),
        }
        confidence = float(np.prod(list(parts.values())))
        if confidence >= self.limits.least:
            return confidence, Reason.NONE
        return 0.0, min(parts, key=lambda each: parts[each])

    # --- the mouth's inside -----------------------------------------------------------------------

    def _mouth(
        self, row: int, base: int, source: Floats, target: Floats
    ) -> tuple[bool, int, NDArray[np.float32]]:
        """Whether the donor is the identity, its row or -1, and its donor_from_place."""
        ring, target_ring = self._ring, target[self._ring]
        no_donor = False, -1, np.zeros((2, 3), np.float32)
        if _area(target_ring) < _DONOR_RATIO * _area(source[ring]) + _FILL_FROM:
            return no_donor
        own = self._bases.open_mouth(row)
        person, donor = (self.performer, row) if own is None else (self.identity, own)
        shapes = person.shapes
        projected = shapes.scale[donor] * shapes.front[donor][ring] @ shapes.rotation[donor].T
        donor_places = self._places((projected + shapes.offset[donor])[:, :2])
        own_places = np.column_stack([self._places(target_ring), np.ones(len(ring))])
        matrix, *_ = np.linalg.lstsq(own_places, donor_places, rcond=None)
        return own is not None, donor, matrix.T.astype(np.float32)

    def _gain(self, base: int, own: bool, donor: int) -> NDArray[np.float32]:
        """(3, 2) scale and shift that match the donor's light to the base's."""
        gain = np.tile(np.array([1, 0], np.float32), (3, 1))
        if donor >= 0:
            light = (self.identity if own else self.performer).light[donor]
            ratio = self.identity.light[base] / np.maximum(light, 0.02)
            # Skin tones differ, teeth do not: match brightness mostly, tint little.
            bright = float(ratio.mean())
            gain[:, 0] = np.clip(bright**0.7 * (ratio / bright) ** 0.25, 0.5, 2)
        return gain


def _move_irises(front: Floats, base: Floats, gaze: Floats) -> None:
    """Move the irises of a mesh (478, 3) to a gaze (4,), in place."""
    for number, (iris, inner, outer) in enumerate(IRISES):
        middle, width = eye(front, inner, outer)
        place = base[iris[0]].copy()
        place[:2] = middle[:2] + gaze[2 * number : 2 * number + 2] * width
        front[list(iris)] = base[list(iris)] - base[iris[0]] + place


def _warp_points(rest: Floats) -> NDArray[np.int64]:
    """Select the warp's control points: a subset of the mesh, dense at lips and lids."""
    if len(rest) != MESH_POINTS:
        return np.arange(len(rest))
    fine = {point for iris, *_ in IRISES for point in iris} | set(INNER_LIPS_MESH.tolist())
    landmarks = MESH_OF_LANDMARK
    first = [*landmarks[36:].tolist(), *sorted(fine), *landmarks[:36].tolist()]
    near_lids = np.abs(rest[:, 1]) < 0.2
    near_lips = np.linalg.norm(rest[:, :2] - rest[INNER_LIPS_MESH, :2].mean(axis=0), axis=1) < 0.4
    spacing = np.where(near_lids | near_lips, _FINE_SPACING * 2, _SPACING)
    chosen: list[int] = []
    for point in [*first, *(each for each in range(MESH_POINTS) if each not in set(first))]:
        distance = np.linalg.norm(rest[chosen, :2] - rest[point, :2], axis=1)
        least = _FINE_SPACING if point in fine or point in first else spacing[point]
        if not chosen or distance.min() >= least:
            chosen.append(point)
    return np.array(sorted(chosen))


def _visible(rest: Floats, yaws: Sequence[float]) -> NDArray[np.bool_]:
    """Which points (P, 3) are visible at all of `yaws`."""
    around = np.degrees(np.arctan2(rest[:, 0], _HEAD_CENTRE - rest[:, 2]))
    return np.asarray(np.all([np.abs(around + yaw) < _HIDDEN_DEGREES for yaw in yaws], axis=0))


def _border() -> Floats:
    """(12, 2) fixed places along the border of the crop."""
    steps = np.linspace(0, 1, 4)
    return np.array([(x, y) for x in steps for y in steps if {x, y} & {0.0, 1.0}])


def _half_at(excess: float, half: float) -> float:
    """1 up to 0, a half at `half`, 1/16 at twice that."""
    return float(0.5 ** (max(excess, 0.0) / half) ** 2)


def _area(ring: Floats) -> float:
    """Of a polygon (P, 2), in squared eye distances."""
    x, y = ring.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _resampled(ring: Floats) -> Floats:
    """Resample a polygon to `LIP_POINTS` points, evenly between its corners."""
    places = np.arange(LIP_POINTS) * len(ring) / LIP_POINTS
    closed = np.concatenate([ring, ring[:1]])
    steps = np.arange(len(closed))
    return np.stack([np.interp(places, steps, closed[:, axis]) for axis in (0, 1)], axis=1)
