"""The world that modules share: two drawn performers, their facesets, read; a model of them."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

from swapper.cli import main as cli
from tests.drawing import ALICE, BOB, write_clip

FRAMES = 40
SIDE = 96
"""Of the aligned faces, in pixels."""
RIGHTS = "drawn by this test, 2026 (all mine)"
STEPS = 12
"""Of the run `run`, which was stopped and resumed halfway."""


def extract_line(folder: Path, name: str, *more: str) -> list[str]:
    """Extract the clip of that performer into folder/facesets."""
    return [
        "extract", f"input={folder / name}.mp4", f"identity={name}", f"rights={RIGHTS}",
        f"facesets={folder / 'facesets'}", f"size={SIDE}", "aligner=openface",
        f"aligner.csv={folder / name}.csv", *more,
    ]  # fmt: skip


def train_line(world: Path, runs: Path, name: str, steps: int, *more: str) -> list[str]:
    """Train a small model that is conditioned on affect; pass affect=... as well."""
    facesets = f"[{world / 'facesets/alice'},{world / 'facesets/bob'}]"
    return [
        "train", f"name={name}", f"facesets={facesets}", f"runs={runs}",
        "experiment=affect64", "model.width=8", "model.latent=32", "model.code_dim=4",
        "data.batch_size=4", "data.num_workers=0", f"trainer.max_steps={steps}",
        "trainer.val_check_interval=6", "trainer.log_every_n_steps=1",
        "callbacks.checkpoint.every_n_steps=6", "callbacks.preview.every_n_steps=6",
        "expression=default", "expression.swap=0.3", *more,
    ]  # fmt: skip


def convert_line(world: Path, output: Path, *more: str) -> list[str]:
    """Convert alice's clip to bob by the model `run`."""
    return [
        "convert", f"model={world / 'runs/run'}", f"video={world / 'alice.mp4'}", "identity=bob",
        f"output={output}", "aligner=openface", f"aligner.csv={world / 'alice.csv'}",
        "device=cpu", *more,
    ]  # fmt: skip


def build(folder: Path) -> None:
    """Film, extract, train, stop and resume, all by the command line's entry."""
    for name, look in (("alice", ALICE), ("bob", BOB)):
        write_clip(folder / f"{name}.mp4", look, frames=FRAMES)
        assert cli.run(extract_line(folder, name, "affect=actors")) == 0
    for steps in (STEPS // 2, STEPS):
        assert cli.run(train_line(folder, folder / "runs", "run", steps, "affect=actors")) == 0


def shared_world(base: Path) -> Path:
    """The world in `base`; built by the first worker that asks, while the others wait."""
    folder, built = base / "world", base / "world.built"
    with (base / "world.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            # Paths in it are absolute, so it is built where it stays.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            built.touch()
    return folder
