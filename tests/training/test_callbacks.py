"""Averaged weights, previews and loggers, through a short run of the real thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from swapper.training.callbacks import Ema, Preview, SaveLast
from swapper.training.preview_sheet import SheetRow, draw_preview_sheet
from swapper.training.trainer import resolve_precision


def test_ema_follows_with_a_decay_that_warms_up() -> None:
    ema = Ema(decay=0.9)
    averaged, current = [torch.zeros(3)], [torch.ones(3)]
    for step, decay in ((1, 2 / 11), (8, 0.5), (1000, 0.9)):
        ema._step = step
        averaged[0].zero_()
        ema._average(averaged, current, 1)
        assert float(averaged[0][0]) == pytest.approx(1 - decay)


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_ema_refuses_a_decay_out_of_range(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        Ema(decay)


def test_intervals_are_checked() -> None:
    with pytest.raises(ValueError, match="every_n_steps"):
        SaveLast("x", every_n_steps=0)
    with pytest.raises(ValueError, match="every_n_steps"):
        Preview("x", every_n_steps=0)


@pytest.mark.parametrize("identities", [("alice", "bob"), ("a", "b", "c")])
def test_a_sheet_has_a_row_a_face_and_a_column_an_identity(identities: tuple[str, ...]) -> None:
    cell = np.full((64, 64, 3), 200, np.uint8)
    rows = [SheetRow(index, [cell] * (1 + len(identities))) for index in range(len(identities))]
    sheet = draw_preview_sheet(rows, identities, "step 1")
    assert sheet.width == 128 * (1 + len(identities))
    assert sheet.height == (128 + 18) * len(identities) + 18
    pixels = np.asarray(sheet)
    assert (pixels[18 + 60, 60] == 200).all()
    # A reconstruction has a frame around it, a swap has not.
    assert tuple(pixels[18, 128 + 5]) == (0x4F, 0xA3, 0xFF)
    assert tuple(pixels[18, 2 * 128 + 5]) == (200, 200, 200)


def test_precision_is_what_the_device_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_precision("16-mixed", "cpu") == "16-mixed"
    for has, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr("swapper.training.trainer.cpu_has_bf16", lambda has=has: has)
        assert resolve_precision("auto", "cpu") == expected


class _Recorder:
    """Stands for wandb's logger."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, int]] = []

    def log_image(self, key: str, images: list[Any], step: int) -> None:
        self.seen.append((key, images[0], step))


class _Board:
    """Stands for TensorBoard's logger."""

    def __init__(self) -> None:
        self.experiment = self
        self.shapes: list[tuple[int, ...]] = []

    def add_image(self, tag: str, image: np.ndarray, step: int, dataformats: str) -> None:
        assert (tag, dataformats, step) == ("preview", "HWC", 5)
        self.shapes.append(image.shape)


def test_previews_reach_the_loggers_that_take_pictures(tmp_path: Path) -> None:
    recorder, board = _Recorder(), _Board()
    trainer: Any = type("T", (), {"loggers": [recorder, board, object()]})()
    Preview(str(tmp_path))._log_picture(trainer, Image.new("RGB", (8, 4)), 5)
    assert recorder.seen[0][0] == "preview"
    assert board.shapes == [(4, 8, 3)]
