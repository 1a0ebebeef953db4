"""``affect=auto`` takes the best reader that is here and taught nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from swapper.estimators import auto, emotieff, xception
from swapper.estimators.auto import AutoEstimator
from swapper.estimators.base import Estimator, load_estimator


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Estimator:
    """Both can be loaded; a bundled one stands for either."""
    judge = load_estimator("judge", "measuring")
    monkeypatch.setattr(emotieff, "load", lambda: judge)
    monkeypatch.setattr(xception, "load", lambda: judge)
    return judge


def test_the_best_comes_first(here: Estimator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    chooser = AutoEstimator()
    assert chooser.pick(()) is here
    assert chooser.skipped == ()
    assert "affect=auto: emotieff reads emotions" in caplog.text


def test_who_taught_the_model_does_not_judge_it(here: Estimator) -> None:
    chooser = AutoEstimator()
    assert chooser.pick(["emotieff:0123", "actors:4567"]) is here
    assert chooser.skipped == ("emotieff: the model was trained with it",)
    assert chooser.pick(["emotieff:0123", "xception:4567"]) is None
    assert len(chooser.skipped) == 2


def test_what_is_missing_says_its_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWAPPER_HOME", str(tmp_path))
    chooser = AutoEstimator()
    assert chooser.pick(()) is None
    assert [each.split(":")[0] for each in chooser.skipped] == list(auto.PREFERRED)
    for name, reason in zip(auto.PREFERRED, chooser.skipped, strict=True):
        assert f"convert_weights.py {name}" in reason
