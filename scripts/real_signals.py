"""What a face's geometry does over time, off 68 landmarks, and whether a swap does the same.

Every frame is laid on an average face by a similarity (`faces.geometry`), so that roll, size and
place are gone. Heights and widths are then told over the clip's median distance of the outer eye
corners (points 36 and 45, iBUG order), and head pose is regressed off, the less the less it moves.

| signal | what of the upright points (y down), positive when |
|---|---|
| mouth opening | y of 66 − y of 62; the inner lips part |
| mouth width | x of 54 − x of 48; the mouth widens |
| mouth corners | y of 51 − mean y of 48 and 54; the corners rise |
| brow right, brow left | mean y of the eye's corners − mean y of its brow; it rises |
| lid right, lid left | mean y of the lower lid − of the upper; it opens |

Right and left are the person's. An aligner that cannot tell lids apart, as 3DDFA_V2, makes nothing
of the last two; they are told, and go into no mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.faces.geometry import head_pose, similarity_from_landmarks, transform_points
from swapper.metrics.traces import gain_and_correlation
from swapper.types import NUM_LANDMARKS

Floats = NDArray[np.float64]

MOUTH: Final = ("mouth opening", "mouth width", "mouth corners")
BROWS: Final = ("brow right", "brow left")
LIDS: Final = ("lid right", "lid left")
NAMES: Final = (*MOUTH, *BROWS, *LIDS)
LEAST_MOTION: Final = np.array([0.01, 0.01, 0.01, 0.004, 0.004, 0.002, 0.002])
"""Standard deviation of each signal, in outer eye distances, from which a performer's counts as
moving. 3DDFA shows mouths in full, brows at a quarter of their way and lids hardly at all."""
_SIDE: Final = 256
_UNSURE_DEG: Final = 2.0
_FEWEST: Final = 8
"""Frames with a face from which anything can be compared; pose alone takes three numbers."""


def pose_of(landmarks: Floats, frame_size: tuple[int, int]) -> Floats:
    """Yaw and pitch in degrees, (T, 2), of landmarks (T, 68, 2) that may be NaN; then NaN too.

    Args:
        landmarks: x y in frame pixels.
        frame_size: Width and height of the frame.
    """
    pose = np.full((len(landmarks), 2), np.nan)
    for t in np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2))):
        pose[t] = head_pose(landmarks[t].astype(np.float32), frame_size)[:2]
    return pose


def signals(landmarks: Floats, pose: Floats) -> Floats:
    """The signals of a clip.

    A swap and its performer are to be told with one pose, the performer's: then neither loses to
    the pose what the other keeps.

    Args:
        landmarks: (T, 68, 2), x y in frame pixels, iBUG order; NaN where there is no face.
        pose: (T, 2) yaw and pitch in degrees, regressed off around their median; NaN where there
            is no face.

    Returns:
        (T, 7) in outer eye distances, in the order of `NAMES`; NaN where a face or pose is missing.

    Raises:
        ValueError: The shapes are others, or fewer than eight frames have a face.
    """
    if landmarks.shape[1:] != (NUM_LANDMARKS, 2) or pose.shape != (len(landmarks), 2):
        raise ValueError(f"want (T, 68, 2) and (T, 2), got {landmarks.shape} and {pose.shape}")
    valid = np.isfinite(landmarks).all(axis=(1, 2)) & np.isfinite(pose).all(axis=1)
    if valid.sum() < _FEWEST:
        raise ValueError(f"{valid.sum()} frames with a face; at least {_FEWEST} are needed")
    upright = np.stack([_upright(each) for each in landmarks[valid]])
    eye = np.median(np.linalg.norm(upright[:, 45] - upright[:, 36], axis=1))
    result = np.full((len(landmarks), len(NAMES)), np.nan)
    result[valid] = _regress_off_pose(pose[valid], _measured(upright) / eye)
    return result


def _upright(points: Floats) -> Floats:
    """Landmarks (68, 2) of one frame laid on an average face."""
    points = points.astype(np.float32)
    return transform_points(similarity_from_landmarks(points, _SIDE, "face"), points).astype(float)


def _measured(upright: Floats) -> Floats:
    """(T, 7) heights and widths in pixels of upright points (T, 68, 2)."""
    x, y = upright[..., 0], upright[..., 1]

    def height(*points: int) -> Floats:
        mean: Floats = y[:, points].mean(axis=1)
        return mean

    return np.stack(
        [
            y[:, 66] - y[:, 62],
            x[:, 54] - x[:, 48],
            y[:, 51] - height(48, 54),
            height(36, 39) - height(*range(17, 22)),
            height(42, 45) - height(*range(22, 27)),
            height(40, 41) - height(37, 38),
            height(46, 47) - height(43, 44),
        ],
        axis=1,
    )


def _regress_off_pose(pose: Floats, measured: Floats) -> Floats:
    """What is left of (T, S) when a plane over pose (T, 2) is taken off; the median pose keeps.

    A ridge holds its slopes back where the head turns by few degrees: what a pose reader says there
    is mostly the expression itself, which must stay.
    """
    turned = pose - np.median(pose, axis=0)
    centred = turned - turned.mean(axis=0)
    covariance = centred.T @ centred / len(turned) + _UNSURE_DEG**2 * np.eye(2)
    together = centred.T @ (measured - measured.mean(axis=0)) / len(turned)
    residual: Floats = measured - turned @ np.linalg.solve(covariance, together)
    return residual


def follow_scores(swap: Floats, performer: Floats) -> dict[str, dict[str, float]]:
    """How far a swap's signals follow the performer's.

    Args:
        swap: (T, 7) of `signals`.
        performer: Likewise.

    Returns:
        By signal ``r``, Pearson's, and ``gain``, the slope of the swap on the performer, over the
        frames in which both have a face; besides their means as ``mouth`` and ``brows``. NaN where
        the performer moves less than `LEAST_MOTION`; such a signal goes into no mean.

    Raises:
        ValueError: The shapes differ, or fewer than two frames have both faces.
    """
    if swap.shape != performer.shape or swap.ndim != 2 or swap.shape[1] != len(NAMES):
        raise ValueError(f"want two of (T, {len(NAMES)}), got {swap.shape} and {performer.shape}")
    valid = np.isfinite(swap).all(axis=1) & np.isfinite(performer).all(axis=1)
    moving = (each[valid] / LEAST_MOTION for each in (swap, performer))
    gain, r = gain_and_correlation(*moving, least_motion=1.0)
    scores = {name: {"r": float(r[i]), "gain": float(gain[i])} for i, name in enumerate(NAMES)}
    return {**scores, "mouth": _mean(scores, MOUTH), "brows": _mean(scores, BROWS)}


def _mean(scores: Mapping[str, Mapping[str, float]], names: tuple[str, ...]) -> dict[str, float]:
    means = {}
    for key in ("r", "gain"):
        values = [scores[name][key] for name in names if np.isfinite(scores[name][key])]
        means[key] = float(np.mean(values)) if values else float("nan")
    return means
