"""The benchmark's bookkeeping: nothing is done twice, nothing is lost, nothing is mixed up."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from swapper.errors import TrainingError, UsageError
from swapper.metrics.clip_truth import GroundTruth
from swapper.metrics.traces import Calibration
from swapper.metrics.truth_scores import AREAS, Comparison
from swapper.metrics.truth_scores import score as score_of

EMOTIONS = ("neutral", "happy", "anger")


def cells(bench: ModuleType, *arguments: str) -> list[Any]:
    line = ["--scenario", "limited", "--castings", "0", "--seeds", "0", "1", *arguments]
    found: list[Any] = bench.cells_of(bench.parser().parse_args(line))
    return found


def clip_score(gain: float) -> dict[str, Any]:
    """What a swap that damps joy and anger to `gain` scores."""
    time = np.arange(90)
    happy, anger = np.clip(np.sin(time / 9), 0, 1), np.clip(-np.sin(time / 9), 0, 1)
    units = np.stack([happy, anger], axis=1)
    weights = np.stack([1 - happy - anger, happy, anger], axis=1)
    answer = GroundTruth(
        Path("answer.mp4"), np.zeros((90, 68, 2), np.float32), [np.zeros((2, 2), np.float32)] * 90,
        units, weights, ("AU12", "AU4"), EMOTIONS,
    )  # fmt: skip
    comparison = Comparison(
        np.full((90, 2), 100.0), np.full(90, 0.8), np.full(90, 0.9),
        np.full((90, len(AREAS)), 10 - 4 * gain), np.full(90, 0.7), np.full(90, np.nan),
        gain * units, units,
    )  # fmt: skip
    return score_of(comparison, answer, Calibration.fit(units, units), ("anger",)).to_dict()


class Stage:
    """Stands where castings are filmed and models trained: counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.raises: dict[str, BaseException] = {}

    def __call__(self, cell: Any, out: Path, judge: Any, landmarker: str | None) -> Stage:
        return self

    def score(self, cell: Any, out: Path, make_aligner: Any) -> dict[str, Any]:
        self.asked.append(f"{cell.config.name}/{cell.seed}")
        if error := self.raises.get(self.asked[-1]):
            raise error
        gain = {"plain": 0.5, "better": 0.8, "(answer)": 1.0}.get(cell.config.name, 0.9)
        return {f"held_out_{i}": clip_score(gain + 0.01 * i) for i in (1, 2)}


@pytest.fixture
def stage(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    judge = SimpleNamespace(fingerprint="a judge")
    monkeypatch.setattr(bench, "Casting", stage)
    monkeypatch.setattr(bench, "load_estimator", lambda name, purpose: judge)
    return stage


def test_a_config_is_a_name_and_overrides(bench: ModuleType) -> None:
    config = bench.Config.parse('trunk: model.shared_stages=2 "callbacks={a: 1}"')
    assert config.name == "trunk"
    assert config.overrides == ("model.shared_stages=2", "callbacks={a: 1}")
    assert bench.Config.parse("plain:").overrides == ()


@pytest.mark.parametrize("text", ["plain", ": a=1", "plain: steps", "(answer): a=1",
    "a: convert.affect.guidance_scale=much", "a: convert.affect.colour=1"])  # fmt: skip
def test_a_config_that_is_none_is_refused(bench: ModuleType, text: str) -> None:
    with pytest.raises(UsageError, match="--config"):
        bench.Config.parse(text)


def test_two_configs_need_two_names(bench: ModuleType) -> None:
    with pytest.raises(UsageError, match="two configs have one name"):
        cells(bench, "--config", "a: x=1", "--config", "a: x=2")


def test_a_cell_s_name_tells_everything_its_model_depends_on(bench: ModuleType) -> None:
    names = [
        {cell.name for cell in cells(bench, *arguments) if cell.trains}
        for arguments in (
            (), ("--steps", "9"), ("--config", "plain: optim.lr=1"), ("--size", "128"),
            ("--experiment", "gpu256"), ("--held-out-seconds", "9"), ("--fps", "9"),
            ("--aligner", "mediapipe"),
        )
    ]  # fmt: skip
    assert len(set.union(*names)) == sum(map(len, names))
    assert names[0] == {cell.name for cell in cells(bench) if cell.trains}


def test_a_model_converted_in_two_ways_is_trained_once(bench: ModuleType) -> None:
    told = "affect@affect=actors model.code_dim=16"
    plain, strong, other = (
        cell
        for cell in cells(
            bench, "--config", f"a: {told}",
            "--config", f"b: {told} convert.affect.guidance_scale=1.5",
            "--config", "c: model.code_dim=8",
        )
        if cell.trains and cell.seed == 0
    )  # fmt: skip
    assert plain.run == strong.run != other.run
    assert plain.name != strong.name
    assert strong.config.affect == (("guidance_scale", 1.5),)
    assert bench.overrides_of(strong)[2:] == told.split()


def test_what_a_kill_interrupts_is_done_again_and_nothing_else(
    bench: ModuleType, stage: Stage, tmp_path: Path
) -> None:
    wanted = cells(bench, "--config", "plain:", "--config", "better: a=1")
    stage.raises["better/0"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        bench.run_cells(wanted, tmp_path)
    assert stage.asked == ["(performer)/0", "(answer)/0", "plain/0", "better/0"]
    # A kill may also tear the line that is being written.
    with (tmp_path / "cells.jsonl").open("ab") as stream:
        stream.write(b'{"key": "torn')
    stage.raises.clear()
    stage.asked.clear()
    done = bench.run_cells(wanted, tmp_path)
    assert stage.asked == ["better/0", "plain/1", "better/1"]
    assert list(done) == wanted
    stage.asked.clear()
    assert bench.run_cells(wanted, tmp_path) == done
    assert stage.asked == []
    rows = [json.loads(line) for line in (tmp_path / "cells.jsonl").read_text().splitlines()]
    assert len(rows) == len({row["key"] for row in rows}) == 6
    assert all(row["judge"] == "a judge" for row in rows)


def test_a_cell_that_fails_is_left_out_and_tried_again(
    bench: ModuleType, stage: Stage, tmp_path: Path
) -> None:
    wanted = cells(bench)
    stage.raises["plain/0"] = TrainingError("it blew up")
    assert len(bench.run_cells(wanted, tmp_path)) == 3
    stage.raises.clear()
    stage.asked.clear()
    assert len(bench.run_cells(wanted, tmp_path)) == 4
    assert stage.asked == ["plain/0"]


def test_another_judge_scores_again(
    bench: ModuleType, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = cells(bench)
    bench.run_cells(wanted, tmp_path)
    stage.asked.clear()
    stranger = SimpleNamespace(fingerprint="another")
    monkeypatch.setattr(bench, "load_estimator", lambda name, purpose: stranger)
    bench.run_cells(wanted, tmp_path)
    assert len(stage.asked) == len(wanted)


def test_telling_does_nothing(bench: ModuleType, stage: Stage, tmp_path: Path) -> None:
    assert bench.run_cells(cells(bench), tmp_path, report_only=True) == {}
    assert stage.asked == []


def test_a_damaged_journal_is_named_by_line(bench: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    path.write_text('{"key": "a"}\nnonsense\n{"key": "b"}\n')
    with pytest.raises(UsageError, match=r"cells\.jsonl: line 2 is damaged"):
        bench.Journal(path)


def test_the_table_tells_which_config_is_better_and_by_how_much(
    bench: ModuleType, stage: Stage, tmp_path: Path
) -> None:
    wanted = cells(bench, "--config", "plain:", "--config", "better: a=1")
    text = "\n".join(bench.tables(bench.run_cells(wanted, tmp_path)))
    assert "## limited" in text
    assert "2 clips" in text
    assert "Never seen of the identity: anger." in text
    assert "Difference to plain" in text
    rows = [line for line in text.splitlines() if line.startswith("| better |")]
    assert any("**0.30 [0.30, 0.30]**" in row for row in rows)
    assert "AU4 β" in text
    assert "landmarks" not in text


def test_mistakes_are_one_line(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_affect", "--config", "nameless"])
    assert bench.main() == 2
    assert capsys.readouterr().err.startswith("bench_affect: --config 'nameless': write ")
