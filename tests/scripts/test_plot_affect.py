"""The figure of the benchmark: everything found is in it, and what is no journal is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def row(config: str, seed: int, gain: float, scenario: str = "rich") -> dict[str, Any]:
    emotions = {
        "neutral": {"unseen": False, "areas": {"face": 9.0}},
        "anger": {"unseen": scenario == "limited", "areas": {"face": 20 - 10 * gain}},
    }
    score = {"gain": gain, "correlation": gain, "areas": {"face": 10.0}, "emotions": emotions}
    cell = {"scenario": scenario, "casting": 0, "config": {"name": config}, "seed": seed}
    return {"key": f"{config}{seed}", "cell": cell, "scores": {"held_out_0": score}}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    rows = [
        row(config, seed, gain + seed / 100, scenario)
        for scenario in ("limited", "rich")
        for config, gain in (("(answer)", 0.9), ("plain", 0.2), ("code + own", 0.6))
        for seed in (0, 1)
    ]
    path = tmp_path / "cells.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def draw(plot: ModuleType, monkeypatch: pytest.MonkeyPatch, *paths: Path) -> int:
    monkeypatch.setattr(sys, "argv", ["plot_affect", *map(str, paths)])
    status: int = plot.main()
    return status


def test_every_config_and_scenario_is_in_the_figure(
    plot: ModuleType, journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    assert draw(plot, monkeypatch, journal, first) == 0
    text = first.read_text()
    for each in ("limited", "rich", "plain", "code + own", "exact answer", "never shown"):
        assert f">{each}" in text or f"{each} (" in text, each
    assert draw(plot, monkeypatch, journal, second) == 0
    assert first.read_bytes() == second.read_bytes()


def test_seeds_are_told_apart_and_averaged(plot: ModuleType, journal: Path) -> None:
    found = plot.read_cells(journal)
    gains = plot.by_seed(found["rich"]["plain"], plot.value_at("gain"))
    assert gains.tolist() == pytest.approx([0.2, 0.21])


@pytest.mark.parametrize("text", ["", "nonsense\n", '{"key": "a"}\n'])
def test_what_is_no_journal_is_told_in_one_line(
    plot: ModuleType,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "cells.jsonl"
    path.write_text(text)
    assert draw(plot, monkeypatch, path, tmp_path / "a.svg") == 2
    told = capsys.readouterr().err
    assert told.startswith(f"plot_affect: {path}: ")
    assert told.count("\n") == 1
    assert not (tmp_path / "a.svg").exists()
