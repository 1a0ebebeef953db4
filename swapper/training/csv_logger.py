"""CSV logger that a resumed run appends to."""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning_utilities.core.rank_zero import rank_zero_only

from swapper.files import partial_path


class CsvLogger(Logger):
    """Write metrics to ``metrics.csv``, one row per logged step.

    Rows of steps that a resumed run repeats are dropped, as is a line truncated by a kill.

    Args:
        folder: Where ``metrics.csv`` lives.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._columns: list[str] = []
        self._rows: list[dict[str, str]] | None = None

    @property
    def name(self) -> str:
        """Of the file's folder."""
        return self.path.parent.name

    @property
    def version(self) -> str:
        """Empty: there is one per run."""
        return ""

    @rank_zero_only
    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Nothing: the run folder holds the resolved config."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one row; a new column rewrites the file."""
        if self._rows is None:
            self._open(step or 0)
        assert self._rows is not None
        row = {"step": str(step), **{name: f"{value:.6g}" for name, value in metrics.items()}}
        self._rows.append(row)
        if set(row) <= set(self._columns):
            with self.path.open("a", newline="", encoding="utf-8") as stream:
                csv.DictWriter(stream, self._columns).writerow(row)
            return
        self._columns += [name for name in row if name not in self._columns]
        self._rewrite()

    def _open(self, first: int) -> None:
        self._rows = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            return
        with self.path.open(newline="", encoding="utf-8", errors="replace") as stream:
            reader = csv.DictReader(stream)
            self._columns = list(reader.fieldnames or [])
            for row in reader:
                whole = None not in row and None not in row.values()
                if whole and row.get("step", "").isdigit() and int(row["step"]) < first:
                    self._rows.append(row)
        self._rewrite()

    def _rewrite(self) -> None:
        assert self._rows is not None
        with (
            partial_path(self.path, durable=False) as partial,
            partial.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.DictWriter(stream, self._columns)
            writer.writeheader()
            writer.writerows(self._rows)
