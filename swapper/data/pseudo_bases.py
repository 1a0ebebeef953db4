"""Find the identity's face that is nearest to a performer's expression.

Nearest means the most similar deviation from the own neutral, in similar pose and light, sharp, and
with lips and lids in a state that can be warped to the target: an open mouth cannot be warped shut,
nor a shut eye open.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.faces.shape import IRISES, SIGNALS, Shapes, eye, landmarks_of, signals
from swapper.types import MESH_POINTS

Floats = NDArray[np.float64]

OPENING: Final = SIGNALS.index("mouth_opening")
LIDS: Final = [SIGNALS.index("lid_left"), SIGNALS.index("lid_right")]
SLACK: Final = 0.04
"""Eye distances by which lips may be too open or lids too shut without a cost."""
# Eye distances by which a base may differ before it costs 1, in the order of `SIGNALS`; then of the
# lips' points, and of the gaze in widths of the eye.
_TOLERANCE: Final = np.array([0.03, 0.04, 0.025, 0.02, 0.02, 0.02, 0.02, 0.03])
_LIPS_TOLERANCE: Final = 0.028
_GAZE_TOLERANCE: Final = 0.08
# Light direction as on the performer, since the swap is composited into that light. On actors under
# two lights the error against the ground truth fell from 12.8 to 11.5 grey levels (docs/LOG.md).
_SHADING_TOLERANCE: Final = 0.2
_POSE_TOLERANCE: Final = 6.0
# Expression has priority: the pose cost saturates here.
_MAX_POSE_COST: Final = 16.0
_BLUR_COST: Final = 4.0
_MAX_MOTION_COST: Final = 2.0
_STATE_TOLERANCE: Final = 0.03
_MAX_BASES: Final = 8192
_OWN_DONOR: Final = 0.35


@dataclass(frozen=True, eq=False)
class Person:
    """Data of one person of a run that recipes need.

    Attributes:
        shapes: Of N faces.
        rest: (P, 3), see `swapper.affect.neutral.Neutral`.
        usable: (M,) rows that may be bases, sorted: the training faces.
        sharpness: (N,) as in the index.
        light: (N, 3) mean colour of each face, on [0, 1].
        shading: (N, 2) logarithms of the brightness ratio of a face's left and right half, and
            upper and lower half: the light's direction.
    """

    shapes: Shapes
    rest: Floats
    usable: NDArray[np.int64]
    sharpness: Floats
    light: Floats
    shading: Floats

    @property
    def mesh(self) -> bool:
        """Whether the points are MediaPipe's mesh."""
        return len(self.rest) == MESH_POINTS

    @cached_property
    def departures(self) -> Floats:
        """(N, P, 3) deviation of each face from the neutral."""
        return self.shapes.front - self.rest

    @cached_property
    def rest_signals(self) -> Floats:
        """(8,) `SIGNALS` of the neutral."""
        return np.asarray(signals(landmarks_of(self.rest)[None])[0])

    @cached_property
    def signals(self) -> Floats:
        """(N, 8) deviations of `SIGNALS`."""
        return signals(self.shapes.landmarks) - self.rest_signals

    @cached_property
    def gaze(self) -> Floats:
        """(N, 4) iris positions from the middle between the eye's corners, in eye widths."""
        if not self.mesh:
            return np.zeros((len(self.shapes), 0))
        front = self.shapes.front
        offsets = []
        for iris, inner, outer in IRISES:
            middle, width = eye(front, inner, outer)
            offsets.append((front[:, iris[0]] - middle)[:, :2] / width[:, None])
        return np.concatenate(offsets, axis=1)

    @cached_property
    def expression(self) -> Floats:
        """(N, E) deviations of signals and lips, each in units of its tolerance."""
        lips = landmarks_of(self.departures)[:, 48:, :2].reshape(len(self.shapes), -1)
        tolerance = _LIPS_TOLERANCE * np.sqrt(lips.shape[1] / 2)
        return np.concatenate([self.signals / _TOLERANCE, lips / tolerance], axis=1)

    @cached_property
    def features(self) -> Floats:
        """(N, F) expression, gaze and shading, each in units of its tolerance."""
        gaze, shading = self.gaze / _GAZE_TOLERANCE, self.shading / _SHADING_TOLERANCE
        return np.concatenate([self.expression, gaze, shading], axis=1)

    @cached_property
    def motion(self) -> Floats:
        """(N,) largest change of the features to the previous and next face: frames between two
        expressions show neither.
        """
        steps = np.linalg.norm(np.diff(self.features, axis=0, prepend=self.features[:1]), axis=1)
        return np.asarray(np.maximum(steps, np.append(steps[1:], 0)))

    def projected(self, row: int) -> Floats:
        """(P, 2) points of a face in its crop."""
        return self.shapes.projected(self.shapes.front[row], row)

    @cached_property
    def pose(self) -> Floats:
        """(N, 2) yaw and pitch in degrees."""
        return self.shapes.pose[:, :2]


class Bases:
    """Nearest-neighbour search for the identity's base faces of the performer's expressions."""

    def __init__(self, performer: Person, identity: Person) -> None:
        self.performer, self.identity = performer, identity
        rows = identity.usable
        if len(rows) > _MAX_BASES:
            rows = rows[np.linspace(0, len(rows) - 1, _MAX_BASES).astype(np.int64)]
        self._rows = rows
        sharpness = np.maximum(identity.sharpness[rows], 1e-9)
        self._flaw = _BLUR_COST * np.log(np.median(sharpness) / sharpness).clip(0, 3)
        self._flaw += np.minimum(np.square(identity.motion[rows]), _MAX_MOTION_COST)

    def nearest(self, faces: NDArray[np.int64]) -> NDArray[np.int64]:
        """The identity's row (N,) for each of the performer's `faces` (N,)."""
        performer, identity, rows = self.performer, self.identity, self._rows
        target, candidates = performer.features[faces], identity.features[rows]
        cost = np.square(target).sum(axis=1)[:, None] + np.square(candidates).sum(axis=1)[None]
        cost += self._flaw - 2 * target @ candidates.T
        turned = performer.pose[faces][:, None] - identity.pose[rows][None]
        turn = np.square(turned / _POSE_TOLERANCE).sum(axis=2)
        cost += turn / (1 + turn / _MAX_POSE_COST)
        state = self.target_state(faces)
        open_by = identity.signals[rows, OPENING][None] - state[:, :1] - SLACK
        cost += np.square(open_by.clip(0) / _STATE_TOLERANCE)
        shut_by = state[:, None, 1:] - identity.signals[rows][:, LIDS][None] - SLACK
        cost += np.square(shut_by.clip(0) / _STATE_TOLERANCE).sum(axis=2)
        return np.asarray(rows[cost.argmin(axis=1)])

    def target_state(self, faces: NDArray[np.int64]) -> Floats:
        """(N, 3) target deviations of the mouth's opening and of both lids, clamped at shut."""
        columns = [OPENING, *LIDS]
        least = -self.identity.rest_signals[columns]
        return np.maximum(self.performer.signals[faces][:, columns], least)

    def open_mouth(self, face: int) -> int | None:
        """The identity's row whose mouth is open most like the performer's, if one is near."""
        target = self.performer.signals[face, :2] + self.identity.rest_signals[:2]
        candidates = self.identity.signals[self._rows, :2] + self.identity.rest_signals[:2]
        difference = np.abs(candidates / np.maximum(target, 0.02) - 1).max(axis=1)
        nearest = int(difference.argmin())
        return int(self._rows[nearest]) if difference[nearest] < _OWN_DONOR else None
