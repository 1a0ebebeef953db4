"""The leaderboard: what is real is marked, and what is not is not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from swapper.evaluation.leaderboard import leaderboard_json, leaderboard_table, rank_models


def told(gain: float, correlation: float, lag: float = 0.0) -> dict[str, Any]:
    measures = {
        "gain": {"title": "Gain β", "value": gain, "better": "one"},
        "correlation": {"title": "Correlation ρ", "value": correlation, "better": "higher"},
        "lag": {"title": "Lag", "value": lag, "better": "lower"},
        "flicker": {"title": "not shown", "value": 1.0, "better": "lower"},
    }
    return {"verdict": "so", "measures": measures}


def clips(gain: float, correlation: float, seed: int, count: int = 10) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    return [
        told(gain + 0.02 * random.normal(), correlation + 0.02 * random.normal(), random.normal())
        for _ in range(count)
    ]


def test_the_better_one_is_marked_where_that_is_real() -> None:
    found = {"plain": clips(0.4, 0.6, 0), "ours": clips(0.8, 0.6, 1), "third": clips(1.7, 0.6, 2)}
    rows = {row.name: row for row in rank_models(found, [str(n) for n in range(10)])}
    assert set(rows) == {"gain", "correlation", "lag"}
    assert rows["gain"].best == "ours"  # nearest to 1, not the largest
    assert set(rows["gain"].p) == {"plain", "third"}
    assert max(rows["gain"].p.values()) < 0.05
    assert rows["correlation"].best == ""
    assert rows["lag"].best == ""
    assert rows["gain"].means["ours"].low < 0.8 < rows["gain"].means["ours"].high + 0.02
    lines = leaderboard_table(list(rows.values()), list(found))
    assert "**0." in "\n".join(lines)
    assert lines[2].startswith("| Gain β → 1 | 0.4")
    assert "Bold" in lines[-1]


def test_clips_of_one_performer_are_one_witness() -> None:
    found = {"plain": clips(0.4, 0.6, 0), "ours": clips(0.8, 0.6, 1)}
    rows = rank_models(found, ["anna"] * 5 + ["bert"] * 5)
    assert all(row.best == "" for row in rows)
    assert np.isnan(rows[0].p["plain"])
    assert rows[0].means["ours"].cells == 2
    assert "Too few performers" in leaderboard_table(rows, list(found))[-1]


def test_what_could_not_be_measured_is_a_dash() -> None:
    found = {"plain": clips(0.4, 0.6, 0), "ours": clips(0.8, 0.6, 1)}
    for each in found["plain"]:
        each["measures"]["gain"]["value"] = None
    rows = {row.name: row for row in rank_models(found, [str(n) for n in range(10)])}
    assert rows["gain"].best == ""
    assert "| – |" in "\n".join(leaderboard_table(list(rows.values()), list(found)))


def test_whom_its_own_teacher_judges_is_marked() -> None:
    found = {"plain": clips(0.4, 0.6, 0), "ours": clips(0.8, 0.6, 1)}
    people = [str(n) for n in range(10)]
    assert "partial" not in "\n".join(leaderboard_table(rank_models(found, people), list(found)))
    for each in found["ours"]:
        each["measures"]["gain"] |= {"partial": True, "floor": 0.0, "ceiling": 1.0}
    rows = rank_models(found, people)
    assert [row.partial for row in rows] == [{"ours"}, set(), set()]
    lines = leaderboard_table(rows, list(found))
    assert lines[2].count("†") == 1
    assert "]** † |" in lines[2]
    assert "†" not in lines[3]
    assert "† partial: measured by landmarks that were, or may have been," in "\n".join(lines)
    assert "† |" in next(each for each in lines[5:] if each.startswith("| Gain"))
    told_so = leaderboard_json(rows)
    assert told_so["gain"]["partial"] == ["ours"]
    assert told_so["lag"]["partial"] == []


def test_whose_face_appears_stands_in_the_tables() -> None:
    distance = {"title": "Distance to bob", "value": 0.4, "floor": 0.7, "ceiling": 0.3}
    share = {"title": "Frames nearer bob", "value": 0.9, "floor": 0.0, "ceiling": 1.0}
    told_of = {
        "verdict": "so",
        "measures": {
            "identity_distance": distance | {"better": "lower"},
            "nearer_identity": share | {"better": "higher"},
        },
    }
    rows = rank_models({"one": [told_of] * 2, "two": [told_of] * 2}, ["anna", "carl"])
    assert [row.name for row in rows] == ["identity_distance", "nearer_identity"]
    lines = "\n".join(leaderboard_table(rows, ["one", "two"]))
    assert "| Distance to bob ↓ | 0.4" in lines
    assert "re-encoded (identity measures: to the identity's own faces)" in lines
    assert "| Distance to bob | -0.25" in lines


# --- as good as can be ----------------------------------------------------------------------------


def placed(gain: float, ceiling: float = 0.98, self_swap: float | None = None) -> dict[str, Any]:
    one = {"title": "Gain β", "value": gain, "floor": 0.02, "ceiling": ceiling, "better": "one"}
    error = {
        "title": "Pose error", "value": 8 - 6 * gain, "floor": 8.0, "ceiling": 2.0,
        "better": "lower",
    }  # fmt: skip
    return {
        "verdict": "so",
        "measures": {
            "gain": one | {"self_swap": self_swap},
            "pose_error": error | {"self_swap": None},
        },
    }


def series(gain: float, seed: int, **settings: float) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    return [placed(gain + 0.02 * random.normal(), **settings) for _ in range(8)]


def test_as_good_as_the_ceiling_is_marked_where_that_is_sure() -> None:
    found = {"weak": series(0.6, 0), "ours": series(0.97, 1)}
    people = [str(n) for n in range(8)]
    rows = {row.name: row for row in rank_models(found, people)}
    for name in ("gain", "pose_error"):
        short = rows[name].ceiling_gaps["ceiling"]
        assert short["ours"].equivalent
        assert not short["weak"].equivalent
        assert short["weak"].share.mean == pytest.approx(-0.4, abs=0.05)
    assert "self_swap" not in rows["gain"].ceiling_gaps
    told_so = "\n".join(leaderboard_table(list(rows.values()), list(found)))
    assert "Equivalence to the performer's own clip, re-encoded" in told_so
    assert told_so.count("✓ |") == 2
    assert "own face" not in told_so
    # A margin that is narrower than what is seen is not reached.
    strict = {row.name: row for row in rank_models(found, people, margin=0.01)}
    assert not strict["gain"].ceiling_gaps["ceiling"]["ours"].equivalent
    json.dumps(leaderboard_json(list(rows.values())), allow_nan=False)


def test_as_good_as_on_the_own_face() -> None:
    found = {"weak": series(0.6, 0, self_swap=0.6), "ours": series(0.6, 1, self_swap=0.9)}
    rows = rank_models(found, [str(n) for n in range(8)])
    short = rows[0].ceiling_gaps["self_swap"]
    assert short["weak"].equivalent
    assert not short["ours"].equivalent
    assert "self_swap" not in rows[1].ceiling_gaps


def test_four_performers_cannot_show_that_nothing_is_lost() -> None:
    found = {"weak": series(0.6, 0), "ours": series(0.97, 1)}
    rows = rank_models(found, ["anna", "bert", "carl", "dora"] * 2)
    assert not any(each.equivalent for row in rows for each in row.ceiling_gaps["ceiling"].values())
    assert "Too few performers for a test." in leaderboard_table(rows, list(found))[-1]
