"""Checkpoints: written atomically, read without pickle, checked before resuming."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from swapper.errors import CheckpointError
from swapper.files import one_line, replacing
from swapper.models.decoder import current_weight_name

# Keys that must not change on resume: weights or optimiser state would not fit.
_BINDING = ("model", "affect.name", "optim.optimizer._target_")
# Keys that do not affect training.
_HARMLESS = (
    "name", "runs", "resume", "facesets", "data.facesets", "data.num_workers", "logger",
    "trainer.max_steps", "trainer.max_time", "trainer.accelerator", "trainer.devices",
    "trainer.log_every_n_steps", "trainer.val_check_interval", "callbacks.checkpoint",
    "callbacks.best", "callbacks.preview", "callbacks.progress", "callbacks.repeats.path",
)  # fmt: skip


class AtomicCheckpointIO(CheckpointIO):
    """Write to a temporary file, fsync, then replace the old checkpoint."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Save plain containers and tensors.

        Raises:
            CheckpointError: The file cannot be written; a former one at `path` is untouched.
        """
        final = Path(path)
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
            with replacing(final) as stream:
                torch.save(checkpoint, stream)
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError on a full disk
            raise CheckpointError(
                f"{final}: cannot be saved ({one_line(error)}); the checkpoint "
                "before it is untouched: free some space and run the same command again"
            ) from error

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Load plain containers and tensors; anything else in the file is refused."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; the file is not trusted.

    Raises:
        CheckpointError: Missing, damaged, or holding more than plain data.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    damaged = CheckpointError(
        f"{path}: damaged, or not a checkpoint of swapper; put a backup in its place, or move it "
        "away to start over"
    )
    if not zipfile.is_zipfile(path):  # torch would try its legacy pickle format
        raise damaged
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise damaged from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("swapper"), dict):
        raise CheckpointError(f"{path}: not a checkpoint of swapper; pass another name=")
    renamed: dict[str, Any] = _with_current_names(checkpoint)
    return renamed


def _with_current_names(value: Any) -> Any:
    """Rename weights that an earlier version wrote, in the network's state and its average."""
    if isinstance(value, dict):
        return {
            current_weight_name(key) if isinstance(key, str) else key: _with_current_names(each)
            for key, each in value.items()
        }
    return value


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
    saved: Mapping[str, Any], requested: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    """Compare two resolved configs, as ``key: saved -> requested`` lines.

    Returns:
        Changes that make resuming meaningless, and changes that make it another experiment.
        Harmless ones (more steps, another logger) are in neither.
    """
    saved_values, requested_values = _flatten(saved), _flatten(requested)
    refused: list[str] = []
    noted: list[str] = []
    for key in sorted(saved_values.keys() | requested_values.keys()):
        if saved_values.get(key) == requested_values.get(key) or _under(key, _HARMLESS):
            continue
        line = (
            f"{key}: {saved_values.get(key, '(absent)')} -> {requested_values.get(key, '(absent)')}"
        )
        (refused if _under(key, _BINDING) else noted).append(line)
    return refused, noted


def check_same_faces(
    path: Path, saved: Mapping[str, Any], identities: Sequence[str], hashes: Sequence[str]
) -> list[str]:
    """Refuse to resume `path` with other people; where their facesets lie does not matter.

    Args:
        path: Of the checkpoint.
        saved: Its record.
        identities: Of the facesets, in order.
        hashes: Of the facesets' contents.

    Returns:
        A line for each faceset whose faces have changed.

    Raises:
        CheckpointError: The identities differ, or their order.
    """
    before = [str(each) for each in saved.get("identities", ())]
    if before != list(identities):
        raise CheckpointError(
            f"{path}: was trained on the facesets of {', '.join(before)}, in this order; these are "
            f"of {', '.join(identities)}: pass those, or another name= to start afresh"
        )
    known = saved.get("facesets") or hashes
    return [
        f"the faces of {name} have changed"
        for name, was, now in zip(identities, known, hashes, strict=True)
        if was != now
    ]


def check_resumable(
    path: Path, saved: Mapping[str, Any], requested: Mapping[str, Any]
) -> list[str]:
    """Refuse to resume `path` under an incompatible config.

    Returns:
        Other changes, one a line, to be logged.

    Raises:
        CheckpointError: With the binding changes as a diff.
    """
    refused, noted = compare_configs(saved, requested)
    if refused:
        raise CheckpointError(
            f"{path}: cannot be continued with another {'; '.join(refused)} -- undo the change, "
            "or pass another name= to start afresh"
        )
    return noted
