"""A run that was killed and resumed ends bitwise where one that was never stopped ends."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from swapper.cli import main as cli
from tests import world as made

STEPS = 40
SETTINGS = [
    "model=tiny",
    "model.width=4",
    "model.latent=16",
    "model.code_dim=4",
    "affect=actors",
    "expression=default",
    "expression.swap=0.3",
    "data.batch_size=2",
    f"trainer.max_steps={STEPS}",
    "trainer.accelerator=cpu",
    "trainer.val_check_interval=10",
    "trainer.log_every_n_steps=1",
    "callbacks.checkpoint.every_n_steps=8",
    "callbacks.preview.every_n_steps=1000",
    "pseudo=default",
    "reverse=default",
    "reverse.start=12",
]


def command(world: Path, runs: Path, workers: int, *more: str) -> list[str]:
    facesets = f"[{world / 'facesets/alice'},{world / 'facesets/bob'}]"
    return [
        sys.executable, "-m", "swapper", "train", "name=run", f"facesets={facesets}",
        f"runs={runs}", f"data.num_workers={workers}", *SETTINGS, *more,
    ]  # fmt: skip


def train(*args: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), capture_output=True, text=True, check=False)


def digest(value: Any, into: Any = None) -> str:
    """Hash of every number in nested containers of tensors."""
    into = into or hashlib.sha256()
    if isinstance(value, torch.Tensor):
        into.update(value.contiguous().numpy().tobytes())
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            into.update(str(key).encode())
            digest(value[key], into)
    elif isinstance(value, (list, tuple)):
        for each in value:
            digest(each, into)
    else:
        into.update(repr(value).encode())
    return str(into.hexdigest())


def learnt(runs: Path) -> dict[str, str]:
    checkpoint = torch.load(runs / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == STEPS
    keys = ("state_dict", "current_model_state", "optimizer_states")
    return {key: digest(checkpoint[key]) for key in keys}


@pytest.fixture(scope="module")
def uninterrupted(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("whole")
    done = train(world, runs, 0)
    assert done.returncode == 0, done.stderr
    return runs


def stop_in_mid_run(line: list[str], runs: Path, how: signal.Signals) -> int:
    """Start `line`, send `how` once a checkpoint is on the disk, return the exit status."""
    checkpoint = runs / "run" / "checkpoints" / "last.ckpt"
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, how)
    return process.wait(timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_and_resumed_equals_never_stopped(
    world: Path, uninterrupted: Path, tmp_path: Path, workers: int
) -> None:
    line = command(world, tmp_path, workers)
    assert stop_in_mid_run(line, tmp_path, signal.SIGKILL) == -signal.SIGKILL
    halfway = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert 0 < halfway["global_step"] < STEPS
    done = train(world, tmp_path, workers, "resume=auto")
    assert done.returncode == 0, done.stderr
    assert f"at step {halfway['global_step']}" in done.stderr
    assert learnt(tmp_path) == learnt(uninterrupted)
    logs = [(each / "run" / "metrics.csv").read_text() for each in (tmp_path, uninterrupted)]
    here, whole = ({row.split(",")[0] for row in log.splitlines()[1:]} for log in logs)
    # Lightning writes a step's row after its checkpoint: a kill between the two loses that row.
    assert whole - here <= {str(halfway["global_step"] - 1)}
    assert here <= whole


@pytest.mark.slow
def test_terminated_saves_and_says_so_by_its_status(
    world: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    line = command(world, tmp_path, 0)
    assert stop_in_mid_run(line, tmp_path, signal.SIGTERM) == 143
    assert train(world, tmp_path, 0).returncode == 0
    assert learnt(tmp_path) == learnt(uninterrupted)


@pytest.mark.slow
def test_more_steps_continue_a_finished_run_bitwise(
    world: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    assert train(world, tmp_path, 0, "trainer.max_steps=16").returncode == 0
    done = train(world, tmp_path, 0, "logger=[]")
    assert done.returncode == 0, done.stderr
    assert "with a change" not in done.stderr
    assert learnt(tmp_path) == learnt(uninterrupted)


def test_facesets_may_lie_elsewhere(
    world: Path, own_runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copies = shutil.copytree(world / "facesets", tmp_path / "moved")
    line = made.train_line(world, own_runs, "run", made.STEPS + 1, "affect=actors")
    where = f"facesets=[{copies}/alice/,{world}/facesets/../facesets/bob]"
    assert cli.run([*line, where]) == 0
    assert "with a change" not in caplog.text


def test_a_meaningless_resume_is_refused_with_a_diff(
    world: Path, own_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = made.train_line(world, own_runs, "run", made.STEPS, "affect=actors")
    assert cli.run([*line, "model.width=4"]) == 1
    error = capsys.readouterr().err
    assert "model.width: 8 -> 4" in error
    assert "another name=" in error
    assert cli.run([*line, "resume=never"]) == 2
    assert "resume=auto" in capsys.readouterr().err


def test_a_checkpoint_of_another_architecture_is_refused(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "run" / "checkpoints" / "last.ckpt"
    moved.parent.mkdir(parents=True)
    moved.write_bytes((world / "runs/run/checkpoints/last.ckpt").read_bytes())
    line = command(world, tmp_path, 0)[3:]
    other = [each for each in line if not each.startswith("model.")]
    assert cli.run([*other, "model=original"]) == 1
    assert "model._target_" in capsys.readouterr().err
    moved.write_bytes(b"not a checkpoint")
    assert cli.run(line) == 1
    assert "last.ckpt: damaged" in capsys.readouterr().err
