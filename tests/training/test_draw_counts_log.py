"""How often faces were shown, through a short run of the real thing."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import pytest
from lightning import Trainer

from swapper.data.balance import Balance
from swapper.data.datamodule import FaceDataModule
from swapper.training.csv_logger import CsvLogger
from swapper.training.draw_counts_log import DrawCountsLog
from tests.data.test_datamodule import Listener
from tests.facesets.making import make_faceset


def fit(facesets: list[str], folder: Path, steps: int, resume: Path | None = None) -> None:
    data = FaceDataModule(
        facesets, resolution=16, batch_size=4, num_workers=0, holdout=0.1, seed=3,
        balance=Balance(), neighbours=1,
    )  # fmt: skip
    trainer = Trainer(
        max_steps=steps, max_epochs=-1, accelerator="cpu", logger=CsvLogger(str(folder)),
        callbacks=[DrawCountsLog(str(folder / "repeats.csv"), every_n_steps=4)],
        val_check_interval=5, check_val_every_n_epoch=None, num_sanity_val_steps=0,
        enable_checkpointing=False, use_distributed_sampler=False, enable_progress_bar=False,
        enable_model_summary=False, log_every_n_steps=5, default_root_dir=folder,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(Listener(data), datamodule=data, ckpt_path=resume, weights_only=True)
    trainer.save_checkpoint(folder / "last.ckpt")


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "repeats.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_repeats_are_logged_and_go_on_after_a_resume(tmp_path: Path) -> None:
    facesets = [str(make_faceset(tmp_path, name, 40)) for name in ("anna", "bert")]
    fit(facesets, tmp_path / "whole", 10)
    rows = table(tmp_path / "whole")
    assert sum(int(row["drawn"]) for row in rows) == 2 * 4 * 10
    assert sum(float(row["expected"]) for row in rows) == pytest.approx(80, abs=1)
    with (tmp_path / "whole" / "metrics.csv").open(newline="") as stream:
        logged = [row for row in csv.DictReader(stream) if row.get("data/repeats_max")]
    assert len(logged) == 2
    assert float(logged[-1]["data/repeats_max"]) == max(int(row["drawn"]) for row in rows)
    assert float(logged[-1]["data/repeats_p99"]) <= float(logged[-1]["data/repeats_max"])
    assert float(logged[0]["data/repeats_max"]) <= float(logged[-1]["data/repeats_max"])

    fit(facesets, tmp_path / "parts", 6)
    assert sum(int(row["drawn"]) for row in table(tmp_path / "parts")) == 2 * 4 * 6
    fit(facesets, tmp_path / "parts", 10, tmp_path / "parts" / "last.ckpt")
    assert table(tmp_path / "parts") == rows


def test_the_interval_is_checked() -> None:
    with pytest.raises(ValueError, match="every_n_steps"):
        DrawCountsLog("x", every_n_steps=0)
