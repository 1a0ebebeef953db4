"""What the judges' readings of a swap come to, beside those of its performer and its identity."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from dlib_recogniser import distances
from numpy.typing import NDArray
from real_judges import Reading
from real_signals import NAMES, followed, pose_of, signals

from swapper.metrics.traces import gain_and_correlation

VERSION: Final = 1
"""Of the figures' definitions: raise it with them, and finished cells are scored anew."""
LEAST_SHIFT: Final = 0.02
"""Standard deviation from which a class's probability moves enough to be followed."""

Floats = NDArray[np.float64]
Scores = dict[str, Any]


def scored(swap: Reading, performer: Reading, identity: Reading, neutral: int | None) -> Scores:
    """All figures of a swap as plain values; None where one cannot be told.

    Args:
        swap: T frames.
        performer: The same T frames as they were filmed.
        identity: Of a clip of the identity.
        neutral: The emotion classes' neutral column; None if the judge of emotions is not to be
            asked.

    Returns:
        ``shape``: by signal, and for ``mouth`` and ``brows``, r and gain. ``chance``: the r of
        mouth and brows that says nothing. ``face``: dlib's mean distance ``to identity`` and ``to
        performer``, and the share of frames ``nearer identity``; ``within`` and ``between`` say how
        far the identity's frames are from their own mean, and the performer's from that.
        ``emotions``: ``r`` and ``same``.

    Raises:
        ValueError: Swap and performer are of different length, or hardly show a face.
    """
    pose = _pose(performer)
    ours, theirs = signals(swap.landmarks, pose), signals(performer.landmarks, pose)
    found: Scores = {
        "shape": followed(ours, theirs),
        "chance": chance(ours, theirs),
        "face": whose(swap.embeddings, performer.embeddings, identity.embeddings),
        "emotions": {"r": math.nan, "same": math.nan},
    }
    if neutral is not None:
        found["emotions"] = felt(swap.emotions, performer.emotions, neutral)
    return _plain(found)


def chance(swap: Floats, performer: Floats, shifts: int = 17) -> dict[str, float]:
    """Root mean square of r, for ``mouth`` and ``brows``, of a swap that runs at another time.

    Expressions last for seconds, so a short clip holds few of them and chance alone correlates.

    Args:
        swap: (T, S) signals, shown over and over.
        performer: (T, S) signals.
        shifts: How many other times, spread over the clip.
    """
    steps = [len(swap) * (i + 1) // (shifts + 1) for i in range(shifts)]
    told = [followed(np.roll(swap, step, axis=0), performer) for step in steps]
    return {
        area: math.sqrt(_mean(np.array([each[area]["r"] for each in told]) ** 2))
        for area in ("mouth", "brows")
    }


def whose(swap: Floats, performer: Floats, identity: Floats) -> dict[str, float]:
    """Whose face it is, by embeddings (T, 128), rows of which may be NaN; as in `scored`."""
    to_identity, to_performer = distances(swap, identity), distances(swap, performer)
    known = np.isfinite(to_identity) & np.isfinite(to_performer)
    nearer = to_identity[known] < to_performer[known]
    return {
        "to identity": _mean(to_identity),
        "to performer": _mean(to_performer),
        "nearer identity": _mean(nearer.astype(float)),
        "within": _mean(distances(identity, identity)),
        "between": _mean(distances(performer, identity)),
    }


def felt(swap: Floats, performer: Floats, neutral: int) -> dict[str, float]:
    """How far class probabilities (T, C) follow the performer's; rows may be NaN.

    Args:
        swap: Of the swap.
        performer: Of the performer.
        neutral: The column of neutral.

    Returns:
        ``r``: Pearson's, the mean over classes that move on the performer. ``same``: in which share
        of the frames where the performer is not neutral the strongest class is the same; NaN if
        there is no such frame.
    """
    known = np.isfinite(swap).all(axis=1) & np.isfinite(performer).all(axis=1)
    ours, theirs = swap[known], performer[known]
    if len(ours) < 2:
        return {"r": math.nan, "same": math.nan}
    _, r = gain_and_correlation(ours, theirs, LEAST_SHIFT)
    said, shown = ours.argmax(axis=1), theirs.argmax(axis=1)
    off = shown != neutral
    return {"r": _mean(r), "same": _mean((said == shown)[off].astype(float))}


def moments(performer: Reading, most: int = 8, apart: float = 0.6) -> list[int]:
    """The frames in which the performer departs most from what is usual in the clip.

    Args:
        performer: Its reading.
        most: How many at most.
        apart: Least distance of two, in seconds.

    Returns:
        Frame numbers in order of time. Each departs by the length of its signals' distances from
        their medians, in robust deviations; lids, which 3DDFA cannot read, do not count.
    """
    told = signals(performer.landmarks, _pose(performer))
    told = told[:, [not name.startswith("lid") for name in NAMES]]
    known = np.flatnonzero(np.isfinite(told).all(axis=1))
    off = np.abs(told - np.median(told[known], axis=0))
    # Below the noise of landmarks a deviation of zero would make every frame a great moment.
    usual = np.maximum(1.4826 * np.median(off[known], axis=0), 0.003)
    far = np.linalg.norm(off / usual, axis=1)
    chosen: list[int] = []
    for frame in sorted(known.tolist(), key=lambda t: -far[t]):
        gaps = [abs(performer.seconds[frame] - performer.seconds[other]) for other in chosen]
        if len(chosen) < most and all(gap >= apart for gap in gaps):
            chosen.append(frame)
    return sorted(chosen)


def _pose(reading: Reading) -> Floats:
    return pose_of(reading.landmarks, (int(reading.size[0]), int(reading.size[1])))


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan


def _plain(value: Any) -> Any:
    """The same with None for NaN, which JSON has not."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
