"""How sure a mean is: bootstrap over clips and seeds, the units that a claim is made about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A mean and where it would likely fall on other clips and seeds.

    Attributes:
        mean: Of the cells that have a value; NaN if none has.
        low, high: Ends of the interval; NaN where one clip and one seed say nothing of others.
        cells: How many values went in.
    """

    mean: float
    low: float
    high: float
    cells: int

    def __str__(self) -> str:
        """As ``0.81 [0.75, 0.86]``."""
        return self.format()

    def format(self, digits: int = 2) -> str:
        """As ``0.81 [0.75, 0.86]``, a dash where there is nothing."""
        if not np.isfinite(self.mean):
            return "–"
        text = f"{self.mean:.{digits}f}"
        if np.isfinite(self.low) and np.isfinite(self.high):
            text += f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return text


def bootstrap(values: Floats, level: float = 0.95, draws: int = 4000, seed: int = 0) -> Interval:
    """Percentile interval of a mean over seeds × clips.

    Seeds and clips are each drawn with replacement, and every value stands where both meet: all
    frames of a clip are one observation, and so are all clips of a seed that went wrong. Clips of
    one model, in clusters and without seeds, have `statistics.interval`.

    Args:
        values: (seeds, clips), NaN where a cell is missing.
        level: Share of the draws inside the interval.
        draws: How many resamples.
        seed: Of the resampling.

    Raises:
        ValueError: Not two axes, or a level that is none.
    """
    if values.ndim != 2 or not 0 < level < 1:
        raise ValueError(f"values must be (seeds, clips) and level in (0, 1), got {values.shape}")
    known = np.isfinite(values)
    cells = int(known.sum())
    if cells == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(values[known].mean())
    # Rows and columns without a value are not drawn: they were never observed.
    held = values[known.any(axis=1)][:, known.any(axis=0)]
    if held.size < 2:
        return Interval(mean, np.nan, np.nan, cells)
    rng = np.random.default_rng(seed)
    present = np.isfinite(held).astype(np.float64)
    filled = np.nan_to_num(held)
    rows = resample_counts(rng, held.shape[0], draws)
    columns = resample_counts(rng, held.shape[1], draws)
    total = np.einsum("ds,sc,dc->d", rows, filled, columns)
    count = np.einsum("ds,sc,dc->d", rows, present, columns)
    means = total[count > 0] / count[count > 0]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), cells)


def paired_bootstrap(values: Floats, base: Floats, **settings: float) -> Interval:
    """Interval of the mean difference to `base`, cell by cell; both (seeds, clips)."""
    if values.shape != base.shape:
        raise ValueError(f"{values.shape} and {base.shape} must be the same seeds and clips")
    return bootstrap(values - base, **settings)  # type: ignore[arg-type]


def resample_counts(rng: np.random.Generator, many: int, draws: int) -> Floats:
    """(draws, many) how often each was drawn."""
    return rng.multinomial(many, np.full(many, 1.0 / many), size=draws).astype(np.float64)
