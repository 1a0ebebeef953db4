"""Bootstrap confidence intervals of means over clips and seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval over clips and seeds.

    Attributes:
        mean: Of the cells that have a value; NaN if none has.
        low, high: Ends of the interval; NaN with a single clip and seed.
        cells: Number of values.
    """

    mean: float
    low: float
    high: float
    cells: int

    def __str__(self) -> str:
        return self.format()

    def format(self, digits: int = 2) -> str:
        """As ``0.81 [0.75, 0.86]``, a dash for NaN."""
        if not np.isfinite(self.mean):
            return "–"
        text = f"{self.mean:.{digits}f}"
        if np.isfinite(self.low) and np.isfinite(self.high):
            text += f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return text


def bootstrap(
    values: Floats, level: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Interval:
    """Percentile interval of a mean over seeds × clips.

    Rows and columns are resampled independently with replacement: all frames of a clip are one
    observation, and so are all clips of a failed seed. For clustered clips of one model, without
    seeds, see `stats.interval`.

    Args:
        values: (seeds, clips), NaN where a cell is missing.
        level: Confidence level, in (0, 1).
        resamples: How many.
        seed: Of the resampling.

    Raises:
        ValueError: `values` or `level` is not as described.
    """
    if values.ndim != 2 or not 0 < level < 1:
        raise ValueError(f"values must be (seeds, clips) and level in (0, 1), got {values.shape}")
    is_finite = np.isfinite(values)
    cells = int(is_finite.sum())
    if cells == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(values[is_finite].mean())
    # Rows and columns without a value were not observed, so they are not resampled.
    observed = values[is_finite.any(axis=1)][:, is_finite.any(axis=0)]
    if observed.size < 2:
        return Interval(mean, np.nan, np.nan, cells)
    rng = np.random.default_rng(seed)
    present = np.isfinite(observed).astype(np.float64)
    filled = np.nan_to_num(observed)
    rows = resample_counts(rng, observed.shape[0], resamples)
    columns = resample_counts(rng, observed.shape[1], resamples)
    total = np.einsum("ds,sc,dc->d", rows, filled, columns)
    count = np.einsum("ds,sc,dc->d", rows, present, columns)
    means = total[count > 0] / count[count > 0]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), cells)


def paired_bootstrap(values: Floats, base: Floats, **settings: float) -> Interval:
    """Bootstrap the mean difference to `base`, cell by cell; both (seeds, clips)."""
    if values.shape != base.shape:
        raise ValueError(f"{values.shape} and {base.shape} must be the same seeds and clips")
    return bootstrap(values - base, **settings)  # type: ignore[arg-type]


def resample_counts(rng: np.random.Generator, count: int, resamples: int) -> Floats:
    """(resamples, count) how often each of `count` items is drawn."""
    return rng.multinomial(count, np.full(count, 1.0 / count), size=resamples).astype(np.float64)
