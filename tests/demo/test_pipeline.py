from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from swapper.demo.pipeline import ExactAligner, train_run, trained_steps, unit_estimator
from swapper.errors import ModelError, TrainingError
from swapper.estimators import judge_net
from swapper.estimators.base import Estimator
from swapper.head_renderer.units import UNITS


def run_at(folder: Path, text: str) -> Path:
    run = folder / "run"
    run.mkdir(parents=True)
    (run / "model.json").write_text(text)
    return run


def test_a_run_that_is_there_already_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_at(tmp_path, json.dumps({"step": 40}))
    monkeypatch.setattr("swapper.demo.pipeline.subprocess.run", lambda *_, **__: pytest.fail("ran"))
    train_run(run, [tmp_path / "a", tmp_path / "b"], [], 40)
    assert trained_steps(run) == 40
    assert trained_steps(tmp_path / "none") == 0


def test_a_training_that_fails_says_where_it_stands(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TrainingError, match=r"run: .*step 4 .*status 1 "):
        train_run(tmp_path / "run", [tmp_path / "a", tmp_path / "b"], ["experiment=cpu64"], 4)
    assert "swapper: " in capfd.readouterr().err


def test_a_damaged_card_is_named(tmp_path: Path) -> None:
    for number, text in enumerate(("{", "[]", "{}", '{"step": "many"}')):
        with pytest.raises(ModelError, match=r"model\.json: is damaged"):
            trained_steps(run_at(tmp_path / str(number), text))


def test_a_reader_answers_in_the_order_of_the_actors_units() -> None:
    torch.manual_seed(0)
    turned = tuple(reversed(UNITS))
    crops = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8).numpy()

    def made(units: tuple[int, ...]) -> Estimator:
        torch.manual_seed(0)
        return Estimator("judge", judge_net.view(), judge_net.JudgeNet(), units=units)

    straight, back = unit_estimator(made(UNITS))(crops), unit_estimator(made(turned))(crops)
    assert straight.shape == (3, len(UNITS))
    assert (straight[:, ::-1] == back).all()
    with pytest.raises(ValueError, match="units of actors"):
        unit_estimator(made(UNITS[1:]))


def test_each_clip_gets_the_table_that_was_rendered_with_it(tmp_path: Path) -> None:
    clips = {tmp_path / "held_out" / "x.mp4": "one", tmp_path / "truth" / "x.mp4": "two"}
    aligner = ExactAligner({clip.resolve(): tmp_path / name for clip, name in clips.items()})
    for clip in (*clips, *reversed(clips)):  # whatever order evaluation reads them in
        aligner.set_clip(clip)
        assert aligner.csv == tmp_path / clips[clip]
    with pytest.raises(KeyError):
        aligner.set_clip(tmp_path / "x.mp4")
