"""Downsample long traces to the columns of a chart, preserving gaps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.metrics.paired_traces import contiguous_runs

Floats = NDArray[np.float64]

COLUMNS: Final = 800
"""More would not be visible."""


def thinned(values: Floats, columns: int = COLUMNS) -> Floats:
    """Average neighbouring rows.

    Args:
        values: (T, ...); rows with a NaN are ignored.
        columns: Most rows returned, at least 1.

    Returns:
        (min(T, columns), ...); NaN where no row of a column is complete.
    """
    values = np.asarray(values, dtype=np.float64)
    count = len(values)
    if count <= columns:
        return values
    flat = values.reshape(count, -1)
    complete = np.asarray(np.isfinite(flat).all(axis=1))
    starts = np.arange(columns) * count // columns
    sums = np.add.reduceat(np.where(complete[:, None], flat, 0.0), starts, axis=0)
    counts = np.add.reduceat(complete.astype(np.float64), starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(counts[:, None] > 0, sums / counts[:, None], np.nan)
    return np.asarray(means.reshape(columns, *values.shape[1:]), dtype=np.float64)


def finite_runs(values: Floats) -> Iterator[slice]:
    """Runs of rows of (T, ...) without a NaN."""
    finite = np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
    return itertools.starmap(slice, contiguous_runs(finite))
