"""Traces of swap and performer over the stretches where both faces were read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import signal, stats

from swapper.metrics.traces import MIN_MOTION

SLOW_HZ: Final = 2.0
"""Ordinary expressions are below; micro-expressions and jitter are above."""
MIN_SECONDS: Final = 2.0
"""Least length of a clip for temporal figures."""
_MAX_GAP_SECONDS: Final = 0.12
"""Longest gap without a face that is interpolated linearly: a detector dropout, not a cut."""
_MIN_STRETCH_SECONDS: Final = 0.8
"""Least length of a stretch that can be filtered."""
_NYQUIST_SHARE: Final = 0.8
"""Usable share of half the frame rate; frequencies above are aliased or filtered away."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairedTraces:
    """Traces of swap and performer in contiguous stretches.

    Attributes:
        fps: Frames per second; frames are evenly spaced.
        stretches: (swap, performer) of each stretch, both (T, U) and finite.
        columns: (U,) indices of the input columns that are left: those that both clips have.
    """

    fps: float
    stretches: tuple[tuple[Floats, Floats], ...]
    columns: NDArray[np.intp]

    @classmethod
    def of(cls, swap: Floats, performer: Floats, fps: float) -> PairedTraces:
        """Pair two sets of traces (T, U), NaN without a face; columns of NaN only are dropped.

        Raises:
            ValueError: The shapes differ or the frame rate is not above 0.
        """
        if swap.shape != performer.shape or swap.ndim != 2:
            raise ValueError(f"traces {swap.shape} and {performer.shape} must both be (T, U)")
        if not (np.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be above 0, got {fps}")
        observed = np.isfinite(swap).any(axis=0) & np.isfinite(performer).any(axis=0)
        both = np.stack([swap, performer])[:, :, observed].astype(np.float64)
        _interpolate_gaps(both, round(_MAX_GAP_SECONDS * fps))
        complete = np.asarray(np.isfinite(both).all(axis=(0, 2)) & observed.any(), bool)
        pieces = [
            (both[0, start:end], both[1, start:end])
            for start, end in contiguous_runs(complete)
            if end - start >= max(_MIN_STRETCH_SECONDS * fps, 4)
        ]
        return cls(float(fps), tuple(pieces), np.flatnonzero(observed))

    @property
    def seconds(self) -> float:
        """Total length of the stretches."""
        return sum(len(swap) for swap, _ in self.stretches) / self.fps

    @property
    def enough(self) -> bool:
        """Whether there is enough for temporal figures."""
        return self.seconds >= MIN_SECONDS and self.columns.size > 0

    @property
    def ceiling_hz(self) -> float:
        """Highest usable frequency at this frame rate."""
        return _NYQUIST_SHARE * self.fps / 2

    def joined(self) -> tuple[Floats, Floats]:
        """Concatenate all stretches: swap and performer, (T, U)."""
        if not self.stretches:
            empty = np.zeros((0, self.columns.size))
            return empty, empty
        swap, performer = zip(*self.stretches, strict=True)
        return np.concatenate(swap), np.concatenate(performer)

    def slow(self, hz: float = SLOW_HZ) -> PairedTraces:
        """Low-pass at `hz`, without delay."""
        return self._mapped(lambda trace: low_pass(trace, self.fps, hz))

    def fast(self, hz: float = SLOW_HZ) -> PairedTraces:
        """High-pass at `hz`, without delay."""
        return self._mapped(lambda trace: trace - low_pass(trace, self.fps, hz))

    def aligned(self, frames: int) -> PairedTraces:
        """Shift the swap `frames` earlier and trim both to the overlap."""
        if frames == 0:
            return self
        back, ahead = max(-frames, 0), max(frames, 0)
        pieces = [
            (swap[ahead : len(swap) - back], performer[back : len(performer) - ahead])
            for swap, performer in self.stretches
            if len(swap) - abs(frames) >= 4
        ]
        return replace(self, stretches=tuple(pieces))

    def select(self, columns: NDArray[np.bool_]) -> PairedTraces:
        """Select columns by a mask (U,)."""
        pieces = tuple((swap[:, columns], them[:, columns]) for swap, them in self.stretches)
        return replace(self, stretches=pieces, columns=self.columns[columns])

    def moving(self, least: float = MIN_MOTION) -> NDArray[np.bool_]:
        """(U,) whether the performer's low-passed column has a deviation of at least `least`."""
        if not self.enough:
            return np.zeros(self.columns.size, bool)
        return np.asarray(self.slow().joined()[1].std(axis=0) >= least)

    def _mapped(self, change: Callable[[Floats], Floats]) -> PairedTraces:
        pieces = tuple((change(swap), change(them)) for swap, them in self.stretches)
        return replace(self, stretches=pieces)


def low_pass(trace: Floats, fps: float, hz: float) -> Floats:
    """Low-pass traces (T, U) at `hz` by a Butterworth filter, forwards and backwards."""
    if hz >= 0.95 * fps / 2:
        return trace
    sections = signal.butter(2, hz, fs=fps, output="sos")
    pad = min(len(trace) - 1, round(1.5 * fps / hz))
    return np.asarray(signal.sosfiltfilt(sections, trace, axis=0, padlen=pad))


def robust_spread(values: Floats) -> Floats:
    """(U,) standard deviations of (T, U), estimated from the median absolute deviations.

    Outliers in fewer than half of the frames hardly change it.
    """
    return np.asarray(stats.median_abs_deviation(values, axis=0, scale="normal"))


def contiguous_runs(flags: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Start and end of each run of True in (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _interpolate_gaps(both: Floats, longest: int) -> None:
    """Interpolate gaps of at most `longest` frames linearly, in place."""
    for side in both:
        for trace in side.T:
            missing = ~np.isfinite(trace)
            for start, end in contiguous_runs(missing):
                if start == 0 or end == len(trace) or end - start > longest:
                    continue
                trace[start - 1 : end + 1] = np.linspace(
                    trace[start - 1], trace[end], end - start + 2
                )
