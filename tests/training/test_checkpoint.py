"""Checkpoints: atomic, plain, and refused where they do not fit."""

from __future__ import annotations

import errno
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from swapper.errors import CheckpointError
from swapper.training.checkpoint import (
    AtomicCheckpointIO,
    check_resumable,
    check_same_faces,
    compare_configs,
    read_checkpoint,
)

PLAIN = {"swapper": {"config": {"seed": 1}}, "weights": torch.arange(4.0)}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(PLAIN, path)
    loaded = AtomicCheckpointIO().load_checkpoint(path)
    assert loaded["swapper"] == PLAIN["swapper"]
    assert torch.equal(loaded["weights"], torch.arange(4.0))
    assert [each.name for each in path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("failure", ["write", "fsync"])
def test_a_full_disk_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint(PLAIN, path)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def torn(_: object, stream: Any) -> None:
        stream.write(b"half a checkpoint")
        full()

    if failure == "write":
        monkeypatch.setattr(torch, "save", torn)
    else:
        monkeypatch.setattr("swapper.files.os.fsync", full)
    with pytest.raises(CheckpointError, match=r"last.ckpt: .*No space left"):
        AtomicCheckpointIO().save_checkpoint({**PLAIN, "weights": torch.zeros(9)}, path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["last.ckpt"]


def test_weights_under_earlier_names_are_renamed(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    weight = torch.ones(2)
    states = {"state_dict": {"net.stages.0.listen.gamma": weight}}
    earlier = {**PLAIN, **states, "callbacks": {"EmaCallback": {"averaged": states}}}
    AtomicCheckpointIO().save_checkpoint(earlier, path)
    read = AtomicCheckpointIO().load_checkpoint(path)
    assert list(read["state_dict"]) == ["net.stages.0.code_film.gamma"]
    averaged = read["callbacks"]["EmaCallback"]["averaged"]["state_dict"]
    assert list(averaged) == ["net.stages.0.code_film.gamma"]


def test_a_truly_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    partial = f".last.ckpt.{os.getpid()}-{threading.get_ident()}.partial"
    (tmp_path / partial).symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match="free some space") as caught:
        AtomicCheckpointIO().save_checkpoint(PLAIN, tmp_path / "last.ckpt")
    assert "\n" not in str(caught.value)


class _Hostile:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("pwned"),))


@pytest.mark.parametrize(
    "content", [b"", b"junk", pickle.dumps(_Hostile()), pickle.dumps({"a": 1})]
)
def test_a_foreign_file_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "last.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        read_checkpoint(path)
    assert not Path("pwned").exists()


def test_a_missing_and_a_truncated_checkpoint_are_named(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        read_checkpoint(path)
    AtomicCheckpointIO().save_checkpoint(PLAIN, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


CONFIG: dict[str, Any] = {
    "name": "x",
    "facesets": ["alice", "bob"],
    "model": {"_target_": "Df", "width": 32},
    "loss": {"dssim": 1.0},
    "optim": {"lr": 1e-4, "optimizer": {"_target_": "AdamW"}},
    "trainer": {"max_steps": 10},
    "logger": {"csv": {"folder": "x"}},
}


@pytest.mark.parametrize(
    ("change", "refused", "noted"),
    [
        ({"trainer": {"max_steps": 20}}, 0, 0),
        ({"logger": {"wandb": {"offline": True}}}, 0, 0),
        ({"loss": {"dssim": 2.0}}, 0, 1),
        ({"optim": {"lr": 1e-5, "optimizer": {"_target_": "AdamW"}}}, 0, 1),
        ({"optim": {"lr": 1e-4, "optimizer": {"_target_": "SGD"}}}, 1, 0),
        ({"model": {"_target_": "Df", "width": 64}}, 1, 0),
        ({"facesets": ["/elsewhere/alice/", "bob"]}, 0, 0),  # `check_same_faces` looks into them
    ],
)
def test_changes_are_told_apart(change: dict[str, Any], refused: int, noted: int) -> None:
    found = compare_configs(CONFIG, {**CONFIG, **change})
    assert [len(each) for each in found] == [refused, noted]


def test_a_run_is_bound_to_people_and_told_of_other_faces() -> None:
    path = Path("runs/x/last.ckpt")
    saved = {"identities": ["alice", "bob"], "facesets": ["1" * 64, "2" * 64]}
    assert check_same_faces(path, saved, ["alice", "bob"], ["1" * 64, "2" * 64]) == []
    (change,) = check_same_faces(path, saved, ["alice", "bob"], ["1" * 64, "3" * 64])
    assert "bob" in change
    del saved["facesets"]  # as earlier versions wrote it
    assert check_same_faces(path, saved, ["alice", "bob"], ["4" * 64, "3" * 64]) == []
    for people in (["bob", "alice"], ["alice"], ["alice", "carol"]):
        with pytest.raises(CheckpointError, match=r"alice, bob.*another name="):
            check_same_faces(path, saved, people, ["1" * 64] * len(people))


def test_a_refusal_shows_the_diff_and_the_cure() -> None:
    asked = {**CONFIG, "model": {"_target_": "Df", "width": 64}}
    with pytest.raises(CheckpointError, match=r"model\.width: 32 -> 64 .*another name=") as caught:
        check_resumable(Path("runs/x/last.ckpt"), CONFIG, asked)
    assert "\n" not in str(caught.value)
