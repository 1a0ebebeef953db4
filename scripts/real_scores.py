"""Scores of a swap from the readings of swap, performer and identity."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from dlib_recogniser import distances
from numpy.typing import NDArray
from real_judges import Reading
from real_signals import NAMES, follow_scores, pose_of, signals

from swapper.metrics.traces import gain_and_correlation

VERSION: Final = 1
"""Version of the metrics; increase it with their definitions to score finished cells again."""
LEAST_SHIFT: Final = 0.02
"""Least standard deviation of a class's probability to compute correlations."""

Floats = NDArray[np.float64]
Scores = dict[str, Any]


def score_swap(swap: Reading, performer: Reading, identity: Reading, neutral: int | None) -> Scores:
    """Compute all scores of a swap as plain values; None where undefined.

    Args:
        swap: T frames.
        performer: The same T frames of the original.
        identity: Of a clip of the identity.
        neutral: Column of the neutral class; None to omit emotions.

    Returns:
        ``shape``: by signal, and for ``mouth`` and ``brows``, r and gain. ``chance``: the r of
        mouth and brows by chance. ``face``: dlib's mean distance ``to identity`` and ``to
        performer``, and the share of frames ``nearer identity``; ``within`` and ``between`` are the
        mean distances of the identity's and the performer's frames to the identity's mean.
        ``emotions``: ``r`` and ``same``.

    Raises:
        ValueError: Swap and performer differ in length, or have too few frames with a face.
    """
    pose = _pose(performer)
    ours, theirs = signals(swap.landmarks, pose), signals(performer.landmarks, pose)
    scores: Scores = {
        "shape": follow_scores(ours, theirs),
        "chance": chance(ours, theirs),
        "face": identity_distances(swap.embeddings, performer.embeddings, identity.embeddings),
        "emotions": {"r": math.nan, "same": math.nan},
    }
    if neutral is not None:
        scores["emotions"] = emotion_agreement(swap.emotions, performer.emotions, neutral)
    return _none_for_nan(scores)


def chance(swap: Floats, performer: Floats, shifts: int = 17) -> dict[str, float]:
    """Compute the RMS of r for ``mouth`` and ``brows`` over circular time shifts of the swap.

    Expressions last for seconds, so a short clip contains few of them and correlates by chance.

    Args:
        swap: (T, S) signals, shifted circularly.
        performer: (T, S) signals.
        shifts: Number of shifts, evenly spaced over the clip.
    """
    steps = [len(swap) * (i + 1) // (shifts + 1) for i in range(shifts)]
    shifted = [follow_scores(np.roll(swap, step, axis=0), performer) for step in steps]
    return {
        area: math.sqrt(_mean(np.array([each[area]["r"] for each in shifted]) ** 2))
        for area in ("mouth", "brows")
    }


def identity_distances(swap: Floats, performer: Floats, identity: Floats) -> dict[str, float]:
    """Compute identity scores from embeddings (T, 128); rows may be NaN; see `score_swap`."""
    to_identity, to_performer = distances(swap, identity), distances(swap, performer)
    valid = np.isfinite(to_identity) & np.isfinite(to_performer)
    nearer = to_identity[valid] < to_performer[valid]
    return {
        "to identity": _mean(to_identity),
        "to performer": _mean(to_performer),
        "nearer identity": _mean(nearer.astype(float)),
        "within": _mean(distances(identity, identity)),
        "between": _mean(distances(performer, identity)),
    }


def emotion_agreement(swap: Floats, performer: Floats, neutral: int) -> dict[str, float]:
    """Compare class probabilities (T, C) of swap and performer; rows may be NaN.

    Args:
        swap: Probabilities of the swap.
        performer: Probabilities of the performer.
        neutral: Column of neutral.

    Returns:
        ``r``: Pearson's r, the mean over classes that vary on the performer. ``same``: share of the
        performer's non-neutral frames with the same strongest class; NaN if there are none.
    """
    valid = np.isfinite(swap).all(axis=1) & np.isfinite(performer).all(axis=1)
    ours, theirs = swap[valid], performer[valid]
    if len(ours) < 2:
        return {"r": math.nan, "same": math.nan}
    _, r = gain_and_correlation(ours, theirs, LEAST_SHIFT)
    swap_class, performer_class = ours.argmax(axis=1), theirs.argmax(axis=1)
    off = performer_class != neutral
    return {"r": _mean(r), "same": _mean((swap_class == performer_class)[off].astype(float))}


def peak_frames(performer: Reading, most: int = 8, least_gap: float = 0.6) -> list[int]:
    """Return the frames in which the performer deviates most from the clip's median.

    Args:
        performer: Its reading.
        most: Maximum number of frames.
        least_gap: Least distance of two, in seconds.

    Returns:
        Frame numbers in order of time. The deviation is the norm of the signals' distances to their
        medians, in robust standard deviations, without lids, which 3DDFA cannot estimate.
    """
    traces = signals(performer.landmarks, _pose(performer))
    traces = traces[:, [not name.startswith("lid") for name in NAMES]]
    valid = np.flatnonzero(np.isfinite(traces).all(axis=1))
    off = np.abs(traces - np.median(traces[valid], axis=0))
    # Lower bound: landmark noise.
    usual = np.maximum(1.4826 * np.median(off[valid], axis=0), 0.003)
    far = np.linalg.norm(off / usual, axis=1)
    chosen: list[int] = []
    for frame in sorted(valid.tolist(), key=lambda t: -far[t]):
        gaps = [abs(performer.seconds[frame] - performer.seconds[other]) for other in chosen]
        if len(chosen) < most and all(gap >= least_gap for gap in gaps):
            chosen.append(frame)
    return sorted(chosen)


def _pose(reading: Reading) -> Floats:
    return pose_of(reading.landmarks, (int(reading.size[0]), int(reading.size[1])))


def _mean(values: Floats) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan


def _none_for_nan(value: Any) -> Any:
    """Replace NaN by None, for JSON."""
    if isinstance(value, dict):
        return {key: _none_for_nan(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
