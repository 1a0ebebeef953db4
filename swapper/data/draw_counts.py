"""Count how often each face has been drawn, to detect rare faces drawn too seldom or too often."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swapper.data.balance import Rates, cell_name
from swapper.data.sampling import FaceSampler
from swapper.files import replacing

COLUMNS = ("identity", "id", "cell", "run", "expected", "drawn")


@dataclass(frozen=True, slots=True, eq=False)
class DrawCounts:
    """Draws of one identity's faces up to some step.

    Attributes:
        identity: Its name.
        ids: Of its N faces that are trained on.
        cells: Name of each face's cell of pose and affect.
        run: (N,) int64, faces of one number are near-duplicates.
        expected: (N,) float64, draws expected from the rates.
        drawn: (N,) int64, draws.
    """

    identity: str
    ids: Sequence[str]
    cells: Sequence[str]
    run: NDArray[np.int64]
    expected: NDArray[np.float64]
    drawn: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DrawCounter:
    """Counts the draws of one identity's faces; a function of how many blocks were drawn.

    Attributes:
        identity: Its name.
        ids: Of its faces that are trained on.
        rates: Of these faces.
        sampler: Of these faces.
    """

    identity: str
    ids: Sequence[str]
    rates: Rates
    sampler: FaceSampler

    @cached_property
    def _cells(self) -> list[str]:
        return [cell_name(each) for each in self.rates.cell]

    def until(self, blocks: int) -> DrawCounts:
        """Count the draws of the first `blocks` blocks."""
        return DrawCounts(
            self.identity,
            self.ids,
            self._cells,
            self.rates.run,
            self.sampler.expected(blocks),
            self.sampler.counts(blocks),
        )

    def summary(self) -> str:
        """Return one line about the sampling rates."""
        rate = self.sampler.expected(1) * (self.sampler.n / self.sampler.block)
        return (
            f"{len(self.ids)} faces, {1 + int(self.rates.run.max())} that differ, in "
            f"{len(set(self._cells))} cells of pose and affect; a face is drawn {rate.min():.2g} "
            f"to {rate.max():.2g} times an epoch"
        )


def write_draw_counts(path: Path, counts: Sequence[DrawCounts]) -> None:
    """Write a CSV of `COLUMNS`, each identity's most drawn faces first; an old one is replaced."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for count in counts:
        for row in np.argsort(-count.drawn, kind="stable").tolist():
            writer.writerow(
                (
                    count.identity,
                    count.ids[row],
                    count.cells[row],
                    int(count.run[row]),
                    f"{count.expected[row]:.2f}",
                    int(count.drawn[row]),
                )
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, durable=False) as stream:
        stream.write(text.getvalue().encode())
