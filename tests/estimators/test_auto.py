"""``affect=auto`` takes the best reader that is here and taught nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from swapper.errors import EstimatorError
from swapper.estimators import auto, emotieff, xception
from swapper.estimators.auto import AutoEstimator
from swapper.estimators.base import Estimator, load_estimator


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Estimator:
    """Both can be loaded; a bundled one stands for either."""
    judge = load_estimator("judge", "measuring")
    monkeypatch.setattr(emotieff, "is_available", lambda: True)
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


def test_what_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWAPPER_HOME", str(tmp_path))

    def offline() -> Estimator:
        raise EstimatorError("could not be fetched")

    monkeypatch.setattr(xception, "load", offline)
    chooser = AutoEstimator()
    assert chooser.pick(()) is None
    assert chooser.skipped[0].startswith("emotieff: not downloaded yet")
    assert chooser.skipped[1] == "xception: could not be fetched (with affect=xception)"


def test_emotieff_is_at_hand_once_it_was_accepted_and_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SWAPPER_HOME", str(tmp_path))
    digest = "ab" * 32
    assert not emotieff.is_available()
    emotieff._remember(licence=emotieff.LICENCE, sha256=digest)
    assert not emotieff.is_available()
    (tmp_path / "weights" / f"{digest[:12]}-enet_b0_8_va_mtl.pt").write_bytes(b"weights")
    assert emotieff.is_available()
    emotieff._remember(licence="something else")
    assert not emotieff.is_available()
    assert set(auto.PREFERRED) == {"emotieff", "xception"}
