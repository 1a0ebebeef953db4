"""Pseudo-targets held against the ground truth: errors by region, the table, the moments drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from swapper.errors import UsageError
from swapper.evaluation.ground_truth import area_errors, area_weights
from swapper.faces.geometry import similarity_from_landmarks, transform_points, warp
from tests.drawing import draw


@pytest.fixture(scope="module")
def strip(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("draw_actors_strip")


def face(bench: ModuleType, time: float) -> tuple[np.ndarray, np.ndarray]:
    picture, landmarks = draw(200, time)
    matrix = similarity_from_landmarks(landmarks, bench.SIDE, "face")
    return warp(picture, matrix, bench.SIDE), transform_points(matrix, landmarks)


def test_a_perfect_answer_has_no_error_and_a_mouth_is_wrong_where_it_is(bench: ModuleType) -> None:
    picture, points = face(bench, 0.6)
    weights = area_weights(points, bench.SIDE)
    same = area_errors(picture, picture, weights)
    assert list(same.values()) == pytest.approx([0] * 4, abs=0.6)
    blotted = picture.copy()
    x, y = points[48:68].mean(axis=0).astype(int)
    blotted[y - 4 : y + 5, x - 8 : x + 9] = 0
    of = area_errors(blotted, picture, weights)
    assert of["mouth"] > 1.4 * max(of["brows"], of["eyes"])
    assert of["mouth"] > of["face"] > 0


def test_the_table_counts_frames_by_how_far_they_warp(bench: ModuleType) -> None:
    def row(move: float, level: float) -> dict[str, object]:
        kinds = {name: [level] * 4 for name in ("pseudo", "base", "rest", "performer")}
        return {"confidence": 0.5, "move": move, **kinds}

    lines = bench.table({"limited": [row(0.01, 1.0), row(0.02, 3.0), row(0.2, 10.0)]})
    assert len(lines) == 2 + 3
    assert "| limited | 0 to 0.05 | 2 | 0.50 | 2.0, 2.0, 2.0, 2.0 |" in lines[2]
    assert "| limited | all | 3 |" in lines[-1]


def test_moments_are_the_strongest_and_lie_apart(strip: ModuleType) -> None:
    found = [draw(160, 0.6)[1] for _ in range(60)]
    for frame in (10, 11, 40):
        found[frame] = draw(160, 0.2)[1]
    chosen = strip.peak_frames(np.array(found, np.float64), 25.0, 2)
    assert chosen[1] == 40
    assert chosen[0] in (10, 11)


def test_a_cell_that_is_not_done_is_named(strip: ModuleType, tmp_path: Path) -> None:
    cell = {"scenario": "limited", "casting": 0, "config": {"name": "plain"}, "seed": 0}
    line = json.dumps({"key": "limited-0-plain-0-abc-def", "cell": cell})
    (tmp_path / "cells.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match="pseudo of limited 0"):
        strip.swap_of(tmp_path, "limited", 0, "pseudo", "held_out_1")
    folder = tmp_path / "swaps" / "limited-0-plain-0-abc"
    folder.mkdir(parents=True)
    (folder / "held_out_1.mp4").touch()
    assert strip.swap_of(tmp_path, "limited", 0, "plain", "held_out_1").parent == folder
