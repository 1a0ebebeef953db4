"""Timing of data loading and of Lightning's training loop."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer

from swapper.data.augment import Augment
from swapper.data.balance import Balance
from swapper.data.datamodule import FaceDataModule
from swapper.data.dataset import warped_and_target
from swapper.demo.pipeline import extract_faces
from swapper.head_renderer.identity import sample_identity
from swapper.losses.reconstruction import ReconstructionLoss
from swapper.models.autoencoder import Autoencoder
from swapper.synth.scenarios import build_casting
from swapper.synthesize import render_casting
from swapper.training.acceleration import Acceleration
from swapper.training.callbacks import Ema
from swapper.training.module import SwapModule
from swapper.training.optim import Optim
from swapper.training.trainer import fit, make_trainer

Row = dict[str, Any]
MakeModel = Callable[[Sequence[str]], Autoencoder]
_FEEDING_STEPS = 40


def feed(data: FaceDataModule) -> Iterator[Row]:
    """Measure CPU-seconds of one thread per batch: from the cache, and warped."""
    batches = iter(data.train_dataloader())
    next(batches)  # opens files
    drawn, warped = [], []
    for _ in range(_FEEDING_STEPS):
        start = time.thread_time()
        batch = next(batches)
        middle = time.thread_time()
        warped_and_target(batch, data.resolution)
        drawn.append(middle - start)
        warped.append(time.thread_time() - middle)
    medians = {"batch": float(np.median(drawn)), "warp": float(np.median(warped))}
    yield {
        "part": "feeding", "pictures": 2 * data.batch_size,
        "cpu_seconds_batch": medians["batch"], "cpu_seconds_warp": medians["warp"],
        "cpu_seconds": medians["batch"] + medians["warp"],
    }  # fmt: skip


class _Pace(Callback):
    """Times training steps and, if profiled, their GPU kernels.

    Args:
        skip: Warm-up steps.
        profiled: Whether to profile GPU kernels; slows the rest down.
    """

    def __init__(self, skip: int, profiled: bool) -> None:
        self.skip = skip
        self.profiler = torch.profiler.profile() if profiled else None
        self.seconds = self.busy = 0.0
        self._begun = 0.0

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Start after the warm-up."""
        if trainer.global_step == self.skip:
            self._wait()
            if self.profiler is not None:
                self.profiler.start()
            self._begun = time.perf_counter()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute means per step."""
        self._wait()
        steps = trainer.global_step - self.skip
        self.seconds = (time.perf_counter() - self._begun) / steps
        if self.profiler is not None:
            self.profiler.stop()
            kernels = self.profiler.key_averages()
            self.busy = sum(each.self_device_time_total for each in kernels) / steps / 1e6

    @staticmethod
    def _wait() -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()


def loop(make: MakeModel, data: FaceDataModule, device: torch.device, steps: int) -> Iterator[Row]:
    """Measure images per second of the package's training, by wall clock."""
    timed = _train(make, data, device, steps, profiled=False)
    row = {
        "part": "loop", "pictures": 2 * data.batch_size, "seconds": timed.seconds,
        "pictures_a_second": 2 * data.batch_size / timed.seconds, "workers": data.num_workers,
    }  # fmt: skip
    if device.type == "cuda":
        profiled = _train(make, data, device, steps, profiled=True)
        row["idle_share"] = max(0.0, 1 - profiled.busy / timed.seconds)
    yield row


def _train(
    make: MakeModel, data: FaceDataModule, device: torch.device, steps: int, profiled: bool
) -> _Pace:
    torch.manual_seed(0)
    module = SwapModule(
        make(data.identities),
        ReconstructionLoss(),
        Optim(partial(torch.optim.AdamW, fused=True), lr=5e-5, warmup_steps=0),
    )
    pace = _Pace(skip=min(20, steps // 2), profiled=profiled)
    data.next_step = 0
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(
            callbacks=[Ema(), pace], logger=[], run=Path(folder),
            accelerator="gpu" if device.type == "cuda" else "cpu", devices=1,
            max_steps=steps, gradient_clip_val=1.0, limit_val_batches=0,
            enable_progress_bar=False,
        )  # fmt: skip
        Acceleration().prepare(module, trainer.strategy.root_device)
        fit(trainer, module, data, None)
    return pace


def loader_alone(data: FaceDataModule, steps: int) -> Iterator[Row]:
    """Measure images per second of the data loader without training, by wall clock."""
    batches = iter(data.train_dataloader())
    for _ in range(2 + 2 * data.num_workers):  # prefetched batches
        next(batches)
    start = time.perf_counter()
    for _ in range(steps):
        next(batches)
    seconds = (time.perf_counter() - start) / steps
    yield {
        "part": "loader", "pictures": 2 * data.batch_size, "seconds": seconds,
        "pictures_a_second": 2 * data.batch_size / seconds, "workers": data.num_workers,
    }  # fmt: skip


def actor_facesets(folder: Path, size: int) -> list[str]:
    """Return two actors' facesets at `size` px, rendered once."""
    takes = build_casting("rich", sample_identity(1), sample_identity(2), 0, 8.0, fps=10.0, clips=1)
    casting_clips = render_casting(takes, folder / "footage", 2 * size)
    return [str(each) for each in extract_faces(casting_clips, folder / f"facesets_{size}", size)]


def data_of(
    facesets: Sequence[str], resolution: int, batch_size: int, workers: int
) -> FaceDataModule:
    """Create the data module with the defaults of `swapper train`."""
    data = FaceDataModule(
        facesets,
        resolution=resolution,
        batch_size=batch_size,
        augment=Augment(),
        balance=Balance(),
        num_workers=workers,
    )
    data.setup("fit")
    return data
