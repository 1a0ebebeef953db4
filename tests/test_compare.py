"""Models against each other: what is real is marked, and what is not is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swapper import compare as comparing
from swapper.compare import ROWS, TABLE, compare, summed, table
from swapper.errors import UsageError
from swapper.options import CompareOptions, ConvertOptions, EvaluateOptions


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
    rows = {row.name: row for row in summed(found, [str(n) for n in range(10)])}
    assert set(rows) == {"gain", "correlation", "lag"}
    assert rows["gain"].best == "ours"  # nearest to 1, not the largest
    assert set(rows["gain"].p) == {"plain", "third"}
    assert max(rows["gain"].p.values()) < 0.05
    assert rows["correlation"].best == ""
    assert rows["lag"].best == ""
    assert rows["gain"].means["ours"].low < 0.8 < rows["gain"].means["ours"].high + 0.02
    lines = table(list(rows.values()), list(found))
    assert "**0." in "\n".join(lines)
    assert lines[2].startswith("| Gain β → 1 | 0.4")
    assert "Bold" in lines[-1]


def test_clips_of_one_performer_are_one_witness() -> None:
    found = {"plain": clips(0.4, 0.6, 0), "ours": clips(0.8, 0.6, 1)}
    rows = summed(found, ["anna"] * 5 + ["bert"] * 5)
    assert all(row.best == "" for row in rows)
    assert np.isnan(rows[0].p["plain"])
    assert rows[0].means["ours"].cells == 2
    assert "Too few performers" in table(rows, list(found))[-1]


def test_what_could_not_be_measured_is_a_dash() -> None:
    found = {"plain": clips(0.4, 0.6, 0), "ours": clips(0.8, 0.6, 1)}
    for each in found["plain"]:
        each["measures"]["gain"]["value"] = None
    rows = {row.name: row for row in summed(found, [str(n) for n in range(10)])}
    assert rows["gain"].best == ""
    assert "| – |" in "\n".join(table(list(rows.values()), list(found)))


def test_everything_is_converted_once_and_evaluated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.mp4").write_bytes(b"clip")
    converted: list[tuple[str, str]] = []

    def converts(options: ConvertOptions, *_: object, **__: object) -> None:
        converted.append((Path(options.model).name, Path(options.video).name))
        Path(options.output).write_text(Path(options.model).name)

    def evaluates(options: EvaluateOptions, *_: object) -> None:
        folder = Path(options.output)
        folder.mkdir(parents=True, exist_ok=True)
        gain = 0.4 if Path(options.model).name == "one" else 0.8
        (folder / "report.json").write_text(json.dumps(told(gain, 0.5)))

    class Found:
        def __init__(self, sha256: str) -> None:
            self.sha256 = sha256
            self.claim = {"model_sha256": sha256}

    monkeypatch.setattr(comparing, "convert", converts)
    monkeypatch.setattr(comparing, "evaluate", evaluates)
    monkeypatch.setattr(comparing, "verify", lambda path: Found(path.read_text()))
    monkeypatch.setattr(comparing, "load_model", lambda path: Found(path.name))
    options = CompareOptions(
        models=[str(tmp_path / "one"), str(tmp_path / "two")],
        clips=[str(tmp_path / "one.mp4"), str(tmp_path / "two.mp4")],
        identity="anna",
        output=str(tmp_path / "out"),
    )
    rows = compare(options, lambda: pytest.fail("not needed"))  # type: ignore[arg-type,return-value]
    assert len(converted) == 4
    compare(options, lambda: pytest.fail("not needed"))  # type: ignore[arg-type,return-value]
    assert len(converted) == 4, "converted again"
    assert rows[0].means["two"].mean == pytest.approx(0.8)
    assert "| Gain β → 1 | 0.40" in capsys.readouterr().out
    kept = json.loads((tmp_path / "out" / ROWS).read_text())
    assert kept["measures"]["gain"]["models"]["one"][0] == pytest.approx(0.4)
    assert len(kept["reports"]["one"]) == 2
    assert (tmp_path / "out" / TABLE).read_text().startswith("| | one | two |")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": ["one"]}, "models: needs 2 at least"),
        ({"models": ["one", "nowhere"]}, "models: nowhere: no such file"),
        ({"models": ["one", "deep/one"]}, "have one name; rename one"),
        ({"performers": ["anna", "bert"]}, "performers: names 2, clips 1"),
    ],
)
def test_what_does_not_fit_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "deep/one"):
        Path(name).mkdir(parents=True)
    Path("clip.mp4").write_bytes(b"")
    settings: dict[str, Any] = {"models": ["one", "two"], "clips": ["clip.mp4"]}
    options = CompareOptions(identity="anna", **settings | changes)
    with pytest.raises(UsageError, match=words):
        compare(options, lambda: pytest.fail("not needed"))  # type: ignore[arg-type,return-value]
