"""Averaged weights, previews and loggers, through a short run of the real thing."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor, nn

from swapper.data.datamodule import FaceDataModule
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.models.autoencoder import DfAutoencoder
from swapper.training.callbacks import Ema, Preview, SaveLast, averaged_state
from swapper.training.module import SwapModule
from swapper.training.optim import Optim
from swapper.training.preview_sheet import SheetRow, draw_preview_sheet
from swapper.training.trainer import resolve_precision
from tests.facesets.making import make_faceset
from tests.training.short_runs import fit


class Line(LightningModule):
    """Two weights that move at every step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(2, 1, bias=False)

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        return (self.net(batch) - 3).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Weights(Callback):
    """Keeps the trained and the averaged weights after each step; placed behind `Ema`."""

    def __init__(self) -> None:
        self.trained: list[Tensor] = []
        self.averaged: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.trained.append(pl_module.net.weight.detach().clone())
        self.averaged.append(averaged_state(trainer, pl_module)["weight"].clone())


def test_ema_follows_with_a_decay_that_warms_up(tmp_path: Path) -> None:
    kept = Weights()
    fit(Line(), tmp_path, torch.rand(8, 4, 2), Ema(decay=0.4), kept)
    expected = kept.trained[0]  # the first, random weights are forgotten at once
    for number, (trained, averaged) in enumerate(zip(kept.trained, kept.averaged, strict=True), 1):
        decay = min(0.4, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * trained
        torch.testing.assert_close(averaged, expected)
    assert not torch.equal(kept.averaged[-1], kept.trained[-1])


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


class Pictures(Logger):
    """A logger that keeps (name, shape, step) of pictures."""

    name, version = "pictures", 0

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[int, ...], int]] = []

    def log_metrics(self, *_: Any, **__: Any) -> None: ...

    def log_hyperparams(self, *_: Any, **__: Any) -> None: ...


class ImageLogger(Pictures):
    """Takes pictures as wandb's logger does."""

    def log_image(self, key: str, images: list[Any], step: int) -> None:
        self.seen += [(key, np.asarray(each).shape, step) for each in images]


class BoardLogger(Pictures):
    """Takes pictures as TensorBoard's logger does."""

    @property
    def experiment(self) -> Any:
        return self

    def add_image(self, tag: str, image: np.ndarray, step: int, dataformats: str) -> None:
        assert dataformats == "HWC"
        self.seen.append((tag, image.shape, step))


def test_previews_reach_the_disk_and_the_loggers_that_take_pictures(tmp_path: Path) -> None:
    paths = [str(make_faceset(tmp_path, name, 20)) for name in ("anna", "bert")]
    data = FaceDataModule(paths, resolution=64, batch_size=2, num_workers=0, seed=1)
    net = DfAutoencoder(("anna", "bert"), 64, width=4, latent=16)
    optim = Optim(partial(torch.optim.AdamW), lr=1e-3, warmup_steps=0)
    images, board = ImageLogger(), BoardLogger()
    trainer = Trainer(
        max_steps=3, accelerator="cpu", logger=[images, board, Pictures()],
        default_root_dir=tmp_path, callbacks=[Preview(str(tmp_path / "previews"), 2, faces=1)],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(SwapModule(net, ReconstructionLoss(), optim), datamodule=data)
    names = sorted(each.name for each in (tmp_path / "previews").iterdir())
    assert names == [f"step_{step:07d}.png" for step in (1, 2, 3)]
    shape = ((128 + 18) * 2 + 18, 128 * 3, 3)
    for logger in (images, board):
        assert logger.seen == [("preview", shape, step) for step in (1, 2, 3)]
