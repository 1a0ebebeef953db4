"""The demo in small: every step really runs, is resumed and is judged."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from swapper.cli import main as cli
from swapper.demo import demo
from swapper.demo.demo import Budget
from swapper.demo.pipeline import actor_clip, actor_truth, unit_estimator
from swapper.errors import UsageError
from swapper.estimators import judge_net
from swapper.estimators.base import Estimator
from swapper.media.images import read_image
from swapper.media.video_reader import VideoReader
from swapper.options.verbs import DemoOptions
from swapper.synthesize import ClipFiles

FRAMES = 18
TINY = Budget(5.0, 4.0, held_out=4.4, fps=4.0, size=128, resolution=64, steps=8)


def untaught(name: str, purpose: str) -> Estimator:
    """A judge that has learnt nothing: here it is the road that is tested, not its eyesight."""
    assert (name, purpose) == ("judge", "measuring")
    torch.manual_seed(0)
    return Estimator("judge", judge_net.view(), judge_net.JudgeNet(), units=judge_net.UNITS)


@pytest.fixture(scope="module")
def played(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, int]:
    """A demo's folder and exit status."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWAPPER_HOME", str(tmp_path_factory.mktemp("home")))
        in_small(patch)
        return folder, demo.demo(DemoOptions(output=str(folder)))


def in_small(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(demo.BUDGETS, "full", TINY)
    patch.setattr(demo, "load_estimator", untaught)
    small = (*("experiment=affect64", "affect=actors", "model.width=4", "model.latent=16"),
             "data.num_workers=0")  # fmt: skip
    patch.setattr(demo, "TRAINING", small)


def film(folder: Path, role: str, name: str) -> ClipFiles:
    return ClipFiles.at(folder / "footage" / role, name)


def test_it_leaves_a_clip_a_strip_and_a_report(played: tuple[Path, int]) -> None:
    folder, status = played
    swapped = [frame.image for frame in VideoReader(folder / "swap.mp4")]
    performed = [frame.image for frame in VideoReader(film(folder, "held_out", "held_out_1").video)]
    assert len(swapped) == len(performed) == FRAMES
    assert all((a != b).any() for a, b in zip(swapped, performed, strict=True))
    strip = read_image(folder / "strip.png")
    assert strip.shape[1] > 10 * 128
    report = json.loads((folder / "report.json").read_text())
    assert report["swap"]["frames"] == FRAMES
    assert 0 < report["swap"]["mask_iou"] <= 1
    assert report["answer"]["psnr_face"] == 100.0
    assert report["performer"]["psnr_face"] < 30
    told = json.loads((folder / "evaluation" / "report.json").read_text())
    assert told["verdict"] == report["verdict"]
    assert told["facts"]["truth"].endswith("held_out_1.mp4")
    assert any(
        "head pose and geometry of the swap were not measured" in each
        for each in told["undetermined"]
    )
    assert (folder / "evaluation" / "report.html").stat().st_size > 1000
    assert status == (1 if report["broken"] else 0)


def test_training_was_stopped_and_resumed(played: tuple[Path, int]) -> None:
    run = played[0] / "runs" / "demo"
    assert json.loads((run / "model.json").read_text())["step"] == TINY.steps
    assert f"max_steps: {TINY.steps}" in (run / "config.yaml").read_text()
    sheets = sorted(path.stem for path in (run / "previews").glob("*.png"))
    assert any("4" in name for name in sheets)
    assert any("8" in name for name in sheets)


def test_a_second_run_uses_what_is_there(
    played: tuple[Path, int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, status = played
    in_small(monkeypatch)
    kept = [
        *(folder / "footage").rglob("*.mp4"),
        *(folder / "facesets").rglob("*.png"),
        folder / "runs/demo/model.safetensors",
    ]
    before = {path: path.stat().st_mtime_ns for path in kept}
    monkeypatch.setattr(
        "swapper.demo.pipeline.subprocess.run", lambda *_, **__: pytest.fail("trained again")
    )
    assert demo.demo(DemoOptions(output=str(folder))) == status
    assert {path: path.stat().st_mtime_ns for path in kept} == before
    told = capsys.readouterr().out
    assert "mask IoU" in told
    for name in ("swap.mp4", "strip.png", "report.json"):
        assert str(folder / name) in told


def test_another_recipe_starts_anew_and_clears_only_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    demo._prepare_folder(folder, {"seed": 0})
    (folder / "footage").mkdir()
    (folder / "swap.mp4").write_bytes(b"old")
    (folder / "notes.txt").write_text("mine")
    demo._prepare_folder(folder, {"seed": 0})
    assert (folder / "swap.mp4").exists()
    demo._prepare_folder(folder, {"seed": 1})
    assert sorted(path.name for path in folder.iterdir()) == ["demo.json", "notes.txt"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"output="):
        demo._prepare_folder(tmp_path, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_is_broken_is_said(played: tuple[Path, int]) -> None:
    folder = played[0]
    performer = actor_clip(film(folder, "held_out", "held_out_1"))
    answer = actor_truth(film(folder, "truth", "held_out_1"))
    nowhere = [np.zeros((128, 128), np.float32)] * FRAMES
    read = unit_estimator(untaught("judge", "measuring"))
    outcome = demo._judge_swap(performer, nowhere, performer, answer, read)
    assert len(outcome.broken) == 4
    assert "does not carry its provenance" in outcome.broken[0]
    assert "mask IoU 0.00" in outcome.broken[1]
    assert "opacity nan" in outcome.broken[2]
    assert "no nearer" in outcome.broken[3]
    told = demo._summary(outcome, folder, folder / "runs" / "demo")
    assert sum(line.startswith("broken: ") for line in told) == 4


def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["demo", "budget=huge"]) == 2
    assert "budget=huge: choose from full, ci" in capsys.readouterr().err
