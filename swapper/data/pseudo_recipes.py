"""Recipes of pseudo-targets: base face of the identity, warp, and donor of the mouth's inside.

The base is warped by the difference between the performer's deviation from neutral and its own. The
less the identity's footage covers, the larger the warp, and the lower the confidence.

Places are shares of the aligned crop's side, (pixel + 0.5) / side, so that a recipe serves crops of
any size.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from swapper.data.pseudo_bases import LIDS, OPENING, SLACK, Bases, Person
from swapper.data.pseudo_detail import DetailReader
from swapper.data.pseudo_warp import NODES, CropPlaces, at_places, visible, warp_points
from swapper.faces.geometry import similarity_from_landmarks, transform_points
from swapper.faces.shape import (
    INNER_LIPS,
    INNER_LIPS_MESH,
    IRISES,
    RIGID,
    RIGID_MESH,
    eye,
    landmarks_of,
)
from swapper.faces.thin_plate import smallest_area
from swapper.kernels.pseudo_target import SHADE_SCALE
from swapper.types import Coverage

Floats = NDArray[np.float64]

LIP_POINTS: Final = 20
_AT_ONCE: Final = 64
_COARSE_NODES: Final = 24
_MIN_POINTS: Final = 8
_FILL_FROM: Final = 0.015
_DONOR_RATIO: Final = 1.25


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
        ("shade", "i1", (NODES, NODES)),
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
- shade: Logarithm of the factor of brightness, times `SHADE_SCALE`.
"""

Table = NDArray[Any]
"""(N,) of `ROW`, one for each of the performer's faces; read-only."""


class RecipeMaker:
    """Computes the recipes of one performer as one identity.

    Args:
        performer: Whose expressions.
        identity: Whose faces are warped.
        performer_detail: Measures what the points miss, to add it; None for neither.
        identity_detail: Likewise.
        size: Side of the aligned crops that the points refer to; any value.
        coverage: Of the crops.
        limits: Of the warp.
    """

    def __init__(
        self,
        performer: Person,
        identity: Person,
        performer_detail: DetailReader | None,
        identity_detail: DetailReader | None,
        size: int,
        coverage: Coverage,
        limits: WarpLimits,
    ) -> None:
        self.performer, self.identity, self.limits = performer, identity, limits
        self._details = performer_detail, identity_detail
        self.crop = CropPlaces(size, coverage)
        self._coarse = CropPlaces(size, coverage, _COARSE_NODES)
        self._warped = warp_points(identity.rest)
        self._ring = INNER_LIPS_MESH if identity.mesh else INNER_LIPS
        self._bases = Bases(performer, identity)

    def make(self, rows: NDArray[np.int64]) -> Table:
        """Compute the recipes of some of the performer's faces."""
        recipes = np.zeros(len(rows), ROW)
        for first in range(0, len(rows), _AT_ONCE):
            bases = self._bases.nearest(rows[first : first + _AT_ONCE])
            for place, base in enumerate(bases, start=first):
                self._fill(recipes[place], int(rows[place]), int(base))
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
        source = identity.projected(base)
        target = self._realigned(identity.shapes.projected(front, base, rotation))
        yaw = np.degrees(np.arctan2(rotation[2, 0], rotation[2, 2]))
        steering = self._seen(identity.pose[base, 0], yaw)
        if len(steering) < _MIN_POINTS:
            recipe["base"], recipe["donor"], recipe["reason"] = -1, -1, Reason.POSE
            return
        flow = self.crop.flow(target[steering], source[steering])
        move = float(np.linalg.norm(moved[steering, :2], axis=1).max())
        if None not in self._details:
            flow, recipe["shade"] = self._with_detail(flow, target, row, base, yaw)
        confidence, reason = self._confidence(row, base, left, move, flow)
        own, donor, donor_from_place = self._mouth(row, base, source, target)
        recipe["base"], recipe["donor"] = (base, donor) if confidence else (-1, -1)
        recipe["confidence"], recipe["reason"], recipe["move"] = confidence, reason, move
        recipe["own_mouth"], recipe["donor_from_place"] = own, donor_from_place
        recipe["gain"] = self._gain(base, own, donor)
        # By way of float32, as the tables of former versions were.
        recipe["lips"] = self.crop.places(_resampled(target[self._ring])).astype(np.float32)
        recipe["flow"] = flow.astype(np.float32)

    def _with_detail(
        self, flow: Floats, target: Floats, row: int, base: int, yaw: float
    ) -> tuple[Floats, NDArray[np.int8]]:
        """Add what the performer's points miss, less what the base's miss.

        Returns:
            The flow (G, G, 2), and the shade (G, G) as it is stored.
        """
        ours, theirs = self._details
        assert ours is not None
        assert theirs is not None
        seen = self._seen(self.performer.pose[row, 0], yaw)
        nodes = self.crop.nodes
        to_performer = self._coarse.flow(target[seen], self.performer.projected(row)[seen])
        at_performer = nodes + at_places(to_performer, nodes)
        detail, own = ours.read(row), theirs.read(base)
        residual = at_places(detail.flow, at_performer) - at_places(own.flow, nodes + flow)
        shade = at_places(detail.shade, at_performer) - at_places(own.shade, nodes + flow)
        stored: NDArray[np.int8] = np.rint(shade * SHADE_SCALE).clip(-127, 127).astype(np.int8)
        return np.asarray(residual + at_places(flow, nodes + residual), np.float64), stored

    # --- places -----------------------------------------------------------------------------------

    def _seen(self, *yaws: float) -> NDArray[np.int64]:
        """Control points that are visible at all of `yaws`, in degrees."""
        return self._warped[visible(self.identity.rest[self._warped], yaws)]

    def _realigned(self, points: Floats) -> Floats:
        """Align points (P, 2) by their own landmarks."""
        pixels = self.crop.pixels(points)
        landmarks = landmarks_of(pixels).astype(np.float32)
        matrix = similarity_from_landmarks(landmarks, self.crop.size, self.crop.coverage)
        return self.crop.from_pixels(transform_points(matrix, pixels).astype(np.float64))

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
        inside = slice(NODES // 5, -NODES // 5)
        area = float(np.quantile(smallest_area(flow, 1 / (NODES - 1))[inside, inside], 0.01))
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
        donor_places = self.crop.places(person.projected(donor)[ring])
        own_places = np.column_stack([self.crop.places(target_ring), np.ones(len(ring))])
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
            gain[:, 0] = np.clip(bright**0.7 * (ratio / bright) ** 0.5, 0.5, 2)
        return gain


def _move_irises(front: Floats, base: Floats, gaze: Floats) -> None:
    """Move the irises of a mesh (478, 3) to a gaze (4,), in place."""
    for number, (iris, inner, outer) in enumerate(IRISES):
        middle, width = eye(front, inner, outer)
        place = base[iris[0]].copy()
        place[:2] = middle[:2] + gaze[2 * number : 2 * number + 2] * width
        front[list(iris)] = base[list(iris)] - base[iris[0]] + place


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
