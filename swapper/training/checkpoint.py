"""Checkpoints that survive a crash, a full disk and a stranger's file."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from swapper.errors import CheckpointError

# Changing one of these makes the saved weights or the optimiser's state meaningless.
_BINDING = ("model", "facesets", "affect.name", "optim.optimizer._target_")
# Changing one of these changes nothing that is learnt.
_HARMLESS = (
    "name", "runs", "resume", "trainer.max_steps", "trainer.max_time", "trainer.accelerator",
    "trainer.devices", "trainer.log_every_n_steps", "trainer.val_check_interval", "logger",
    "callbacks.checkpoint", "callbacks.best", "callbacks.preview", "callbacks.progress",
    "data.num_workers",
)  # fmt: skip


class AtomicCheckpointIO(CheckpointIO):
    """Write beside the old checkpoint, force it to the disk, then replace the old one."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Save plain containers and tensors.

        Raises:
            CheckpointError: The file cannot be written; a former one at `path` is untouched.
        """
        final = Path(path)
        temporary = final.with_name(f".{final.name}.partial")
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(final)
        except (OSError, RuntimeError) as error:  # torch tells of a full disk by RuntimeError
            temporary.unlink(missing_ok=True)
            raise CheckpointError(
                f"{final}: cannot be saved ({' '.join(str(error).split())[:200]}); the checkpoint "
                "before it is untouched: free some space and run the same command again"
            ) from error

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load plain containers and tensors; anything else in the file is refused."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint that is no longer among the kept."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint of ours, on the CPU.

    Raises:
        CheckpointError: Missing, damaged, or holding more than plain data.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    damaged = CheckpointError(
        f"{path}: damaged, or not a checkpoint of swapper; put a backup in its place, or move it "
        "away to start over"
    )
    if not zipfile.is_zipfile(path):  # torch would try its old pickle format on it
        raise damaged
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise damaged from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("swapper"), dict):
        raise CheckpointError(f"{path}: not a checkpoint of swapper; pass another name=")
    return checkpoint


def _flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, Mapping) or not config:
        return {prefix: config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _under(key: str, roots: tuple[str, ...]) -> bool:
    return any(key == root or key.startswith(root + ".") for root in roots)


def compare_configs(
    saved: Mapping[str, Any], asked: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """What differs between two resolved configs, as ``key: saved -> asked`` lines.

    Returns:
        Changes that make resuming meaningless, and changes that make it another experiment.
        Harmless ones (more steps, another logger) are in neither.
    """
    before, now = _flatten(saved), _flatten(asked)
    refused: list[str] = []
    noted: list[str] = []
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) == now.get(key) or _under(key, _HARMLESS):
            continue
        line = f"{key}: {before.get(key, '(absent)')} -> {now.get(key, '(absent)')}"
        (refused if _under(key, _BINDING) else noted).append(line)
    return refused, noted


def check_resumable(path: Path, saved: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Refuse to continue `path` under a config that does not fit it.

    Returns:
        Changes worth telling the user, one a line.

    Raises:
        CheckpointError: With the binding changes as a diff.
    """
    refused, noted = compare_configs(saved, asked)
    if refused:
        raise CheckpointError(
            f"{path}: cannot be continued with another {'; '.join(refused)} -- undo the change, "
            "or pass another name= to start afresh"
        )
    return noted
