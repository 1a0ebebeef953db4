"""Expression signals over time from 68 landmarks, and their agreement between swap and performer.

Every frame is aligned to an average face by a similarity (`faces.geometry`), which removes roll,
size and position. Heights and widths are relative to the clip's median distance of the outer eye
corners (points 36 and 45, iBUG order); head pose is regressed off with a ridge.

| signal | definition on aligned points (y down), positive when |
|---|---|
| mouth opening | y of 66 − y of 62; the inner lips part |
| mouth width | x of 54 − x of 48; the mouth widens |
| mouth corners | y of 51 − mean y of 48 and 54; the corners rise |
| brow right, brow left | mean y of the eye's corners − mean y of its brow; it rises |
| lid right, lid left | mean y of the lower lid − of the upper; it opens |

Right and left are the person's. The lid signals are meaningless for aligners that do not resolve
lids, such as 3DDFA_V2; they are reported but excluded from means.
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
"""Least standard deviation of a performer's signals in outer eye distances. 3DDFA tracks mouths
fully, brows at a quarter of their motion and lids hardly at all."""
_SIDE: Final = 256
_UNSURE_DEG: Final = 2.0
_FEWEST: Final = 8
"""Least number of frames with a face; the pose regression alone has three parameters."""


def pose_of(landmarks: Floats, frame_size: tuple[int, int]) -> Floats:
    """Return yaw and pitch in degrees, (T, 2), of landmarks (T, 68, 2); NaN stays NaN.

    Args:
        landmarks: x y in frame pixels.
        frame_size: Width and height of the frame.
    """
    pose = np.full((len(landmarks), 2), np.nan)
    for t in np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2))):
        pose[t] = head_pose(landmarks[t].astype(np.float32), frame_size)[:2]
    return pose


def signals(landmarks: Floats, pose: Floats) -> Floats:
    """Compute the signals of a clip.

    Use the performer's pose for both swap and performer, so that the regression removes the same
    from both.

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
        raise ValueError(f"expected (T, 68, 2) and (T, 2), got {landmarks.shape} and {pose.shape}")
    valid = np.isfinite(landmarks).all(axis=(1, 2)) & np.isfinite(pose).all(axis=1)
    if valid.sum() < _FEWEST:
        raise ValueError(f"{valid.sum()} frames with a face; at least {_FEWEST} are needed")
    upright = np.stack([_upright(each) for each in landmarks[valid]])
    eye = np.median(np.linalg.norm(upright[:, 45] - upright[:, 36], axis=1))
    result = np.full((len(landmarks), len(NAMES)), np.nan)
    result[valid] = _regress_off_pose(pose[valid], _measured(upright) / eye)
    return result


def _upright(points: Floats) -> Floats:
    """Align landmarks (68, 2) of one frame to an average face."""
    points = points.astype(np.float32)
    return transform_points(similarity_from_landmarks(points, _SIDE, "face"), points).astype(float)


def _measured(upright: Floats) -> Floats:
    """Return (T, 7) heights and widths in pixels of aligned points (T, 68, 2)."""
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
    """Regress pose (T, 2) off signals (T, S), unchanged at the median pose.

    A ridge shrinks the slopes where the head turns by few degrees: there the estimated pose is
    mostly an effect of expression, which must be kept.
    """
    turned = pose - np.median(pose, axis=0)
    centred = turned - turned.mean(axis=0)
    covariance = centred.T @ centred / len(turned) + _UNSURE_DEG**2 * np.eye(2)
    together = centred.T @ (measured - measured.mean(axis=0)) / len(turned)
    residual: Floats = measured - turned @ np.linalg.solve(covariance, together)
    return residual


def follow_scores(swap: Floats, performer: Floats) -> dict[str, dict[str, float]]:
    """Compute r and gain of a swap's signals on the performer's.

    Args:
        swap: (T, 7) of `signals`.
        performer: Likewise.

    Returns:
        By signal ``r``, Pearson's, and ``gain``, the slope of the swap on the performer, over the
        frames in which both have a face; and their means as ``mouth`` and ``brows``. NaN where the
        performer moves less than `LEAST_MOTION`; such signals are excluded from means.

    Raises:
        ValueError: The shapes differ, or fewer than two frames have both faces.
    """
    if swap.shape != performer.shape or swap.ndim != 2 or swap.shape[1] != len(NAMES):
        raise ValueError(
            f"expected two of (T, {len(NAMES)}), got {swap.shape} and {performer.shape}"
        )
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
