"""Sampling of faces, and the random generators of a step.

Stateless: everything is a function of (seed, step, rank, sample), so a resumed run draws the same
as an uninterrupted one, with any number of workers.

Source of the generator: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3" (Philox).
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Replaces the stream in the keys of permutations; streams are never so large.
_ORDER = 2**64 - 1
_GOLDEN = (5**0.5 - 1) / 2
_COUNTED_AT_ONCE = 1 << 18


def generator(seed: int, step: int, rank: int, sample: int, stream: int = 0) -> np.random.Generator:
    """An independent generator for one sample of one rank's step.

    Args:
        seed: Of the run.
        step: Batch number, from 0.
        rank: Of the process, from 0.
        sample: Place in the batch, from 0.
        stream: Number of an independent stream, one for each use.

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


@dataclass(eq=False)
class FaceSampler:
    """Chooses the faces of one identity in each batch's block: a function of the block's number.

    Block b of rank r at step s has the number s * ranks + r.

    Attributes:
        seed: Of the run.
        identity: Index of the identity.
        n: Number of faces, at least 1.
        block: Faces a block.
        rate: (n,) draws of each face while n are drawn, adding up to n; None draws each once.
        order: (n,) all faces; neighbours in this order alternate where they are drawn less than
            once an epoch. Needed with `rate`.
        following: (n,) the frame after each face, or -1; needed with `neighbours`.
        neighbours: Number of a block's faces that are the next frame of another: from the block's
            front, every second one is the next frame of the one before, where there is one.

    Raises:
        ValueError: An argument is out of range, or one is missing that another needs.
    """

    seed: int
    identity: int
    n: int
    block: int
    _: KW_ONLY
    rate: NDArray[np.float64] | None = None
    order: NDArray[np.int64] | None = None
    following: NDArray[np.int64] | None = None
    neighbours: int = 0

    def __post_init__(self) -> None:
        key = (self.n, self.block, self.seed, self.identity)
        if self.n < 1 or self.block < 1 or min(self.seed, self.identity) < 0:
            raise ValueError(f"need faces, a block and no negative counter, got {key}")
        if not 0 <= 2 * self.neighbours <= self.block:
            raise ValueError(
                f"neighbours must be at most half of a block of {self.block}, got {self.neighbours}"
            )
        missing = self.neighbours > 0 and self.following is None
        if (self.rate is None) != (self.order is None) or missing:
            raise ValueError("rate needs order, neighbours need following")
        self._ends: NDArray[np.float64] | None = None
        if self.rate is not None and self.order is not None:
            ends = np.cumsum(self.rate[self.order])
            self._ends, self._faces = ends * (self.n / ends[-1]), self.order
            self._ends[-1] = self.n
        self._epochs: dict[int, NDArray[np.int64]] = {}
        self._counted = 0, np.zeros(self.n, np.int64)

    def blocks(self, first: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Faces of blocks ``first`` to ``first + count - 1``.

        Returns:
            (count, block) int64 in [0, n), and likewise the place within the block of the frame
            before, or -1.
        """
        faces = self._drawn(first * self.block, count * self.block).reshape(count, self.block)
        previous = np.full_like(faces, -1)
        if self.neighbours and self.following is not None:
            leaders = np.arange(0, 2 * self.neighbours, 2)
            later = self.following[faces[:, leaders]]
            faces[:, leaders + 1] = np.where(later >= 0, later, faces[:, leaders + 1])
            previous[:, leaders + 1] = np.where(later >= 0, leaders, -1)
        return faces, previous

    def _drawn(self, first: int, count: int) -> NDArray[np.int64]:
        parts = [np.empty(0, np.int64)]
        while count:
            epoch, place = divmod(first, self.n)
            part = self._epoch(epoch)[place : place + count]
            parts.append(part)
            first, count = first + len(part), count - len(part)
        return np.concatenate(parts)

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        """Faces drawn in one epoch, in a fresh order: each once, or its rate rounded up or down.

        Systematic sampling, whose start moves by the golden ratio from epoch to epoch: over many
        epochs counts follow the rates far more closely than independent draws would.
        """
        if self._ends is None:
            return _order(self.seed, self.identity, epoch, self.n)
        if epoch not in self._epochs:
            begin = _philox((self.seed, _ORDER), (1, self.identity, 0)).random()
            start = (begin + epoch * _GOLDEN) % 1.0
            places = np.searchsorted(self._ends, np.arange(self.n) + start, side="right")
            drawn = self._faces[np.minimum(places, self.n - 1)]
            while len(self._epochs) > 1:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[epoch] = drawn[_order(self.seed, self.identity, epoch, self.n)]
        return self._epochs[epoch]

    def counts(self, blocks: int) -> NDArray[np.int64]:
        """(n,) number of draws of each face in the first `blocks` blocks."""
        done, counts = self._counted
        if done > blocks:
            done, counts = 0, np.zeros(self.n, np.int64)
        while done < blocks:
            count = min(blocks - done, max(1, _COUNTED_AT_ONCE // self.block))
            faces, _ = self.blocks(done, count)
            counts = counts + np.bincount(faces.reshape(-1), minlength=self.n)
            done += count
        self._counted = done, counts
        return counts

    def expected(self, blocks: int) -> NDArray[np.float64]:
        """(n,) float64, expectation of `counts` from the rates."""
        rate = np.ones(self.n) if self.rate is None else self.rate
        if self.neighbours and self.following is not None:
            goes_on = self.following >= 0
            later = np.zeros(self.n)
            np.add.at(later, self.following[goes_on], rate[goes_on])
            later += rate * (rate[~goes_on].sum() / self.n)
            share = self.neighbours / self.block
            rate = (1 - share) * rate + share * later
        return rate * (blocks * self.block / self.n)
