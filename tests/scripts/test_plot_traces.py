"""Traces of performer and swaps: frames in common, correlations, mistakes in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from swapper.errors import UsageError

LABELS = ("neutral", "happy", "sad")


def shares(first: int, count: int, sign: float = 1.0) -> dict[int, np.ndarray]:
    """Joy comes and goes in the place of rest; nobody is sad."""
    joy = 0.5 + sign * 0.4 * np.sin(np.arange(first, first + count) / 7)
    values = np.stack([1 - joy, joy, np.zeros(count)], axis=1).astype(np.float32)
    return dict(zip(range(first, first + count), values, strict=True))


def test_moving_classes_are_plotted_over_the_frames_in_common(plot: ModuleType) -> None:
    clips = {"performer": shares(0, 90), "same": shares(10, 90), "other": shares(0, 90, -1)}
    figure = plot.draw(clips, LABELS, "a clip")
    assert [axes.get_ylabel() for axes in figure.axes] == ["neutral", "happy"]
    line = figure.axes[0].lines[0]
    assert (line.get_xdata()[0], line.get_xdata()[-1]) == (10, 89)
    told = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert told == ["performer", "same r = 1.00", "other r = -1.00"]


def test_clips_of_other_frames_are_refused(plot: ModuleType) -> None:
    with pytest.raises(UsageError, match="no frames in common"):
        plot.draw({"performer": shares(0, 20), "swap": shares(50, 20)}, LABELS, "")


@pytest.mark.parametrize(
    ("swap", "says"), [("out.mp4", "write NAME=CLIP"), ("full=out.mp4", "absent.mp4")]
)
def test_mistakes_are_one_line(
    plot: ModuleType,
    swap: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    csv = tmp_path / "clip.csv"
    columns = [f"{axis}_{i}" for axis in "xy" for i in range(68)]
    csv.write_text(f"frame,face_id,success,confidence,{','.join(columns)}\n1,0,1,1{',5' * 136}\n")
    arguments = [tmp_path / "traces.svg", "--affect", "actors", "--swap", swap]
    arguments += ["--performer", tmp_path / "absent.mp4", "--landmarks", csv]
    monkeypatch.setattr(sys, "argv", ["plot_traces", *map(str, arguments)])
    assert plot.main() == 2
    told = capsys.readouterr().err
    assert told.startswith("plot_traces: ")
    assert says in told
    assert told.count("\n") == 1
