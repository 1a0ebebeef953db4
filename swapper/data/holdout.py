"""Split faces into training and held-out.

Neighbouring frames are near-duplicates, so faces are held out in blocks of time, with an unused gap
on each side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from swapper.types import FaceRecord

MIN_FACES = 20
"""Timelines with fewer faces are used for training only."""
_MAX_BLOCKS = 4
_FACES_PER_BLOCK = 24
_MAX_GUARD = 12


def split_holdout(
    records: Sequence[FaceRecord], sources: Sequence[str], share: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split a faceset by blocks of time, spread over each of its sources.

    Sources of fewer than `MIN_FACES` faces, such as single pictures, are one timeline together. The
    gaps never cost more faces than are held out, nor more than a quarter of the others.

    Args:
        records: In any order.
        sources: sha256 of each source in the order of the card.
        share: To hold out, in [0, 0.5].

    Returns:
        Indices into `records` to train on and to hold out, each in order of time. The second is
        empty if nothing can be held out.
    """
    place = {source: number for number, source in enumerate(sources)}
    order = sorted(
        range(len(records)),
        key=lambda i: (
            place.get(records[i].source, len(place)),
            records[i].source,
            records[i].frame_index,
            records[i].id,
        ),
    )
    counts = Counter(record.source for record in records)
    timelines: dict[str, list[int]] = {}
    for index in order:
        source = records[index].source
        timelines.setdefault(source if counts[source] >= MIN_FACES else "", []).append(index)
    trained: list[int] = []
    held: list[int] = []
    for timeline in timelines.values():
        use = _blocks(len(timeline), share)
        trained += [index for index, kind in zip(timeline, use, strict=True) if kind == 0]
        held += [index for index, kind in zip(timeline, use, strict=True) if kind == 1]
    return np.array(trained, np.int64), np.array(held, np.int64)


def _blocks(n: int, share: float) -> NDArray[np.int8]:
    """Assign each of `n` consecutive faces: 0 training, 1 held out, 2 unused."""
    use = np.zeros(n, np.int8)
    if share <= 0 or n < MIN_FACES:
        return use
    held_out = max(1, round(n * share))
    blocks = min(_MAX_BLOCKS, max(1, held_out // _FACES_PER_BLOCK))
    spare = min(held_out, (n - held_out) // 4)
    guard = min(_MAX_GUARD, spare // (2 * blocks))
    for block in range(blocks):
        # As in Bresenham's algorithm: lengths differ by one at most.
        length = (block + 1) * held_out // blocks - block * held_out // blocks
        start = round((block + 0.5) / blocks * n - length / 2)
        use[max(0, start - guard) : start + length + guard] = 2
        use[start : start + length] = 1
    return use
