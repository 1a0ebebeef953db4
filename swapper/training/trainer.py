"""Build Lightning's trainer, run it and handle how it ends."""

from __future__ import annotations

import fcntl
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from lightning import Callback, LightningDataModule, Trainer, seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning_utilities.core.rank_zero import rank_zero_only

from swapper.errors import TrainingError, UsageError
from swapper.training.checkpoint import AtomicCheckpointIO
from swapper.training.module import SwapModule

log = logging.getLogger(__name__)

Precision = Literal["auto", "bf16-mixed", "16-mixed", "32-true"]


def is_first_rank() -> bool:
    """Whether this process is rank 0, which writes files."""
    return bool(getattr(rank_zero_only, "rank", 0) == 0)


def resolve_precision(precision: Precision, accelerator: str) -> str:
    """Resolve "auto": bf16-mixed where the device computes in bf16, else 32-true."""
    if precision != "auto":
        return precision
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return (
            "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
        )
    if accelerator in ("auto", "cpu") and not torch.backends.mps.is_available():
        return "bf16-mixed" if cpu_has_bf16() else "32-true"
    return "32-true"


def cpu_has_bf16() -> bool:
    """Whether the processor has matrix units for bf16; AVX-512 alone gains next to nothing."""
    return bool(torch.cpu._is_amx_tile_supported())


@contextmanager
def lock_run(run: Path) -> Iterator[None]:
    """Lock the run's folder against a second training of the same name.

    Raises:
        UsageError: Another process trains here.
    """
    if not is_first_rank():
        yield
        return
    with (run / ".lock").open("w") as stream:
        try:
            # Not flock: the loader's workers would inherit it, and outlive a killed trainer for a
            # few seconds in which its run could not be resumed.
            fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"{run}: another process is training here; wait for it or pass another name="
            ) from error
        yield


def seed(value: int) -> None:
    """Seed the generators that initialise the network."""
    seed_everything(value, workers=False, verbose=False)


def make_trainer(
    *,
    callbacks: Sequence[Callback],
    logger: Sequence[Logger],
    run: Path,
    precision: Precision = "auto",
    accelerator: str = "auto",
    **settings: Any,
) -> Trainer:
    """Build Lightning's trainer with swapper's fixed settings; the target of the configs.

    Args:
        callbacks: All of them.
        logger: May be empty.
        run: The run's folder.
        precision: See `resolve_precision`.
        accelerator: As Lightning's.
        settings: Other arguments of Lightning's Trainer.

    Raises:
        UsageError: Lightning refuses an argument.
    """
    # Hide Lightning's tips at every start.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    try:
        return Trainer(
            accelerator=accelerator,
            precision=resolve_precision(precision, accelerator),  # type: ignore[arg-type]
            callbacks=list(callbacks),
            logger=list(logger) or False,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=run,
            max_epochs=-1,  # the data is one endless epoch, counted in steps
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # our sampling knows its rank
            enable_model_summary=False,
            **settings,
        )
    except (MisconfigurationException, TypeError, ValueError) as error:
        raise UsageError(f"trainer: {error}") from error


def fit(
    trainer: Trainer, module: SwapModule, data: LightningDataModule, checkpoint: Path | None
) -> None:
    """Train to the end or until a signal; in both cases the newest state is saved.

    Raises:
        SystemExit: 143 after SIGTERM, 130 after SIGINT, as a shell expects.
        TrainingError: The device ran out of memory.
    """
    module.mark_step = lambda step: setattr(data, "next_step", step)
    try:
        trainer.fit(
            module,
            datamodule=data,
            ckpt_path=None if checkpoint is None else str(checkpoint),
            weights_only=True,
        )
    except SIGTERMException as stop:
        log.warning("terminated at step %d; the state is saved", trainer.global_step)
        raise SystemExit(143) from stop
    except SystemExit as stop:
        if trainer.state.status == TrainerStatus.INTERRUPTED:
            log.warning("interrupted at step %d; the state is saved", trainer.global_step)
            raise SystemExit(130) from stop
        raise
    except torch.cuda.OutOfMemoryError as error:
        raise TrainingError(
            f"step {trainer.global_step}: the GPU is out of memory; lower data.batch_size, "
            "model.width or model.resolution, then run the same command again"
        ) from error
