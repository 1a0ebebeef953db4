"""The figure of the ladder: what is measured and what is predicted are told apart."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def rows(measured: bool, device: str) -> list[dict[str, Any]]:
    found = []
    for rung, ratio in (("plain loop", 1.0), ("+ fused AdamW", 0.83)):
        row = {"part": "ladder" if measured else "prediction", "model": "df256", "rung": rung}
        figures = {"ratio": ratio, "ratio_low": ratio - 0.02, "ratio_high": ratio + 0.02}
        row |= figures if measured else {"predicted_ratio": ratio - 0.5 * (ratio < 1)}
        found.append(row | {"device": device, "measured": measured})
    return [*found, {"part": "loader", "model": "df256"}]


def test_measured_and_predicted_are_told_apart(plot: ModuleType, tmp_path: Path) -> None:
    paths = []
    for measured, device in ((True, "a processor"), (False, "a device")):
        paths.append(tmp_path / f"{measured}.jsonl")
        text = "".join(json.dumps(row) + "\n" for row in rows(measured, device))
        paths[-1].write_text(text)
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    for figure in (first, second):
        assert plot.main([*map(str, paths), "--figure", str(figure)]) == 0
    text = first.read_text()
    assert ">df256, a processor<" in text
    assert ">df256, a device (predicted, not measured)<" in text
    assert ">0.83<" in text
    assert ">0.33<" in text
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [("{}\n", "line 1 is no row"), ("nonsense\n", "line 1 is no row"), ("", "no ladder in there")],
)
def test_what_is_no_ladder_is_told(
    plot: ModuleType, tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    assert plot.main([str(path), "--figure", str(tmp_path / "a.svg")]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert path.name in told
