from __future__ import annotations

import numpy as np
import pytest
import score_tables
from score_tables import Column, value_at

DRAW = np.random.default_rng(6)


def clip(mouth: float, happy: float, anger: float) -> dict[str, object]:
    return {
        "areas": {"mouth": mouth},
        "gain": None,
        "emotions": {
            "neutral": {"unseen": False, "gain": None},
            "happy": {"unseen": False, "gain": happy},
            "anger": {"unseen": True, "gain": anger},
            "fear": {"unseen": True, "gain": None},
        },
    }


def scores(shift: float = 0.0, seeds: int = 3) -> dict[tuple[int, str], dict[str, object]]:
    return {
        (seed, f"clip{c}"): clip(5 + c - shift + 0.01 * seed, 0.9, 0.3 + shift / 10)
        for seed in range(seeds)
        for c in range(4)
    }


MOUTH = Column("mouth ↓", value_at("areas", "mouth"))


def test_a_path_that_is_not_there_is_not_a_number() -> None:
    score = clip(1.0, 0.9, 0.3)
    assert value_at("areas", "mouth")(score) == 1.0
    assert np.isnan(value_at("areas", "ears")(score))
    assert np.isnan(value_at("gain")(score))
    assert np.isnan(value_at("units", "AU12", "gain")(score))


def test_emotions_that_were_never_seen_stand_apart() -> None:
    score = clip(1.0, 0.9, 0.3)
    assert score_tables.emotion_mean(False, "gain")(score) == pytest.approx(0.9)
    assert score_tables.emotion_mean(True, "gain")(score) == pytest.approx(0.3)


def test_a_grid_has_holes_where_cells_are_missing() -> None:
    held = scores(seeds=2)
    del held[1, "clip3"]
    values = score_tables.score_grid(held, MOUTH.metric)
    assert values.shape == (2, 4)
    assert np.isnan(values[1, 3])
    assert values[0, 2] == pytest.approx(7.0)


def test_the_table_is_markdown_with_intervals() -> None:
    lines = score_tables.config_table({"plain": scores(), "better": scores(0.5)}, [MOUTH])
    assert lines[0] == "|  | mouth ↓ |"
    assert lines[2].startswith("| plain | 6.51 [")
    assert lines[3].startswith("| better | 6.01 [")
    assert len(lines) == 4


def test_columns_nothing_is_known_of_are_left_out() -> None:
    lines = score_tables.config_table({"plain": scores()}, [Column("β", value_at("gain")), MOUTH])
    assert "β" not in lines[0]
    assert "mouth" in lines[0]


def test_only_real_differences_are_bold() -> None:
    noisy = {key: clip(5 + DRAW.normal(0, 3), 0.9, 0.3) for key in scores()}
    configs = {"plain": scores(), "better": scores(0.5), "noise": noisy}
    lines = score_tables.difference_table(configs, "plain", [MOUTH])
    rows = {line.split("|")[1].strip(): line for line in lines[2:]}
    assert set(rows) == {"better", "noise"}
    assert "**-0.50 [-0.50, -0.50]**" in rows["better"]
    assert "**" not in rows["noise"]


def test_differences_are_over_what_both_have() -> None:
    lines = score_tables.difference_table(
        {"plain": scores(seeds=1), "more": scores(seeds=3)}, "plain", [MOUTH]
    )
    assert "0.00 [0.00, 0.00]" in lines[2]
    lines = score_tables.difference_table({"plain": {}, "more": scores()}, "plain", [MOUTH])
    assert lines[2] == "| more |"


def test_the_ready_made_columns_read_a_whole_score() -> None:
    score = clip(2.0, 0.9, 0.3) | {"units": {"AU12": {"gain": 0.5, "correlation": 0.7}}}
    by_title = {
        column.title: column.metric(score)
        for column in (*score_tables.WHOLE, *score_tables.BY_EMOTION)
    }
    assert by_title["mouth ↓"] == 2.0
    assert by_title["β, unseen"] == pytest.approx(0.3)
    assert [column.metric(score) for column in score_tables.unit_columns(["AU12"])] == [0.5, 0.7]
    assert [column.metric(score) for column in score_tables.emotion_columns(["anger"])] == [0.3]
