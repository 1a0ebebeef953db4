"""The CSV log outlives a kill and a resume."""

from __future__ import annotations

import csv
from pathlib import Path

from swapper.training.csv_logger import CsvLogger


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_rows_are_on_disk_at_once_and_columns_may_come_later(tmp_path: Path) -> None:
    logger = CsvLogger(str(tmp_path))
    logger.log_metrics({"train/loss": 0.5}, step=10)
    assert read(tmp_path) == [{"step": "10", "train/loss": "0.5"}]
    logger.log_metrics({"val/loss": 0.25}, step=20)
    assert read(tmp_path) == [
        {"step": "10", "train/loss": "0.5", "val/loss": ""},
        {"step": "20", "train/loss": "", "val/loss": "0.25"},
    ]


def test_a_resume_drops_the_rows_that_it_does_again(tmp_path: Path) -> None:
    first = CsvLogger(str(tmp_path))
    for step in (10, 20, 30):
        first.log_metrics({"train/loss": step / 100}, step=step)
    again = CsvLogger(str(tmp_path))
    again.log_metrics({"train/loss": 0.77}, step=20)
    assert [(row["step"], row["train/loss"]) for row in read(tmp_path)] == [
        ("10", "0.1"),
        ("20", "0.77"),
    ]


def test_a_torn_line_is_dropped(tmp_path: Path) -> None:
    first = CsvLogger(str(tmp_path))
    first.log_metrics({"train/loss": 0.1, "train/dssim": 0.2}, step=10)
    with (tmp_path / "metrics.csv").open("a") as stream:
        stream.write("20,0.")
    again = CsvLogger(str(tmp_path))
    again.log_metrics({"train/loss": 0.3, "train/dssim": 0.4}, step=20)
    assert [row["train/loss"] for row in read(tmp_path)] == ["0.1", "0.3"]
