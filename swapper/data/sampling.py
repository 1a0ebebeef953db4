"""Which faces a step sees, and the generators that everything random in it draws from.

Nothing here keeps state: all is a function of (seed, step, rank, sample), so a resumed run draws
what an uninterrupted one would have drawn, with any number of workers.

Source of the generator: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Takes the stream's place in the keys of permutations; streams are never so large.
_ORDER = 2**64 - 1


def generator(seed: int, step: int, rank: int, sample: int, stream: int = 0) -> np.random.Generator:
    """An independent generator for one sample of one rank's step.

    Args:
        seed: Of the run.
        step: Batch number, from 0.
        rank: Of the process, from 0.
        sample: Place in the batch, from 0.
        stream: Tells uses apart that must not disturb each other.

    Raises:
        ValueError: One of them is negative.
    """
    if min(seed, step, rank, sample, stream) < 0:
        raise ValueError(f"counters must not be negative, got {(seed, step, rank, sample, stream)}")
    return _philox((seed, stream), (sample, rank, step))


def _philox(key: tuple[int, int], place: tuple[int, int, int]) -> np.random.Generator:
    # The lowest word of the counter is what the generator itself counts up. Arrays, because numpy
    # takes a list with a number past 2**63 through floats, where neighbours become one.
    words = np.array(key, np.uint64), np.array((0, *place), np.uint64)
    return np.random.Generator(np.random.Philox(key=words[0], counter=words[1]))


# Held for every identity of a large run at once, and for the epoch before at a border.
@lru_cache(maxsize=64)
def _order(seed: int, identity: int, epoch: int, n: int) -> NDArray[np.int64]:
    order: NDArray[np.int64] = _philox((seed, _ORDER), (0, identity, epoch)).permutation(n)
    order.setflags(write=False)
    return order


def face_indices(seed: int, identity: int, first: int, count: int, n: int) -> NDArray[np.int64]:
    """Faces of one identity that serve draws ``first`` to ``first + count - 1``.

    Each face is drawn once before any is drawn again, every epoch in a fresh order.

    Args:
        seed: Of the run.
        identity: Index of the identity; identities are shuffled independently.
        first: Number of the first draw, counted over the whole run from 0.
        count: How many.
        n: Number of faces, at least 1.

    Returns:
        (count,) int64 in [0, n).

    Raises:
        ValueError: No faces, or a counter is negative.
    """
    if n < 1 or min(seed, identity, first, count) < 0:
        raise ValueError(
            f"need n >= 1 and no negative counter, got {(seed, identity, first, count, n)}"
        )
    parts = [np.empty(0, np.int64)]
    while count:
        epoch, place = divmod(first, n)
        part = _order(seed, identity, epoch, n)[place : place + count]
        parts.append(part)
        first, count = first + len(part), count - len(part)
    return np.concatenate(parts)


def rank_first(step: int, rank: int, world: int, count: int) -> int:
    """Number of the first draw of `rank` at `step`, where each of `world` ranks draws `count`."""
    return (step * world + rank) * count
