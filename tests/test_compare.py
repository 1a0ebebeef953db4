"""Two models against each other: converted once, judged, ranked; refused before any conversion."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from swapper.compare import ROWS, TABLE, compare
from swapper.errors import EstimatorError, ModelError, UsageError
from swapper.estimators.base import load_estimator
from swapper.evaluation.leaderboard import LeaderboardRow
from swapper.faces.openface import OpenfaceAligner
from swapper.options.verbs import CompareOptions
from swapper.provenance.manifest import verify
from tests.drawing import ALICE, write_clip

NOBODY = {"make_aligner": lambda: pytest.fail("not needed")}
FRAMES = 24


@pytest.fixture(scope="module")
def contest(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models that differ, one and two, and a clip of alice."""
    folder = tmp_path_factory.mktemp("contest")
    for name in ("one", "two"):
        shutil.copytree(world / "runs/run", folder / name)
    weights, card = folder / "two/model.safetensors", folder / "two/model.json"
    tensors = load_file(weights)
    save_file({k: 0.5 * v if "decoders" in k else v for k, v in tensors.items()}, weights)
    told = json.loads(card.read_text())
    told["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    card.write_text(json.dumps(told))
    write_clip(folder / "clip.mp4", ALICE, frames=FRAMES)
    return folder


def compared(contest: Path, parts: dict[str, Any] | None = None, **changes: Any) -> list[Any]:
    """Compare both models on the clip, as bob unless told otherwise, by the judge."""
    options = CompareOptions(
        models=[str(contest / name) for name in ("one", "two")], clips=str(contest / "clip.mp4"),
        identity="bob", performers=["alice"], output=str(contest / "out"), ceiling=False,
        device="cpu",
    )  # fmt: skip
    judged: dict[str, Any] = {
        "make_aligner": lambda: OpenfaceAligner(str(contest / "clip.csv")),
        "make_estimator": lambda: load_estimator("judge", "measuring"),
    }
    rows: list[LeaderboardRow] = compare(replace(options, **changes), **(parts or judged))
    return rows


def stamps(contest: Path) -> dict[str, int]:
    found = (contest / "out").rglob("*.mp4")
    return {str(each.relative_to(contest / "out")): each.stat().st_mtime_ns for each in found}


def identities(contest: Path) -> set[str]:
    """Whose face the swaps say that they show."""
    claims = [verify(each).claim or {} for each in (contest / "out/swaps").rglob("*.mp4")]
    return {each["parameters"]["identity"] for each in claims}


def test_everything_is_converted_once_and_evaluated(
    contest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = compared(contest)
    # The performer is one of the identities, so both play on their own face as well.
    kinds = ("swaps", "self_swaps")
    converted = stamps(contest)
    assert set(converted) == {
        f"{kind}/{name}/clip.mp4" for kind in kinds for name in ("one", "two")
    }
    table = (contest / "out" / TABLE).read_text()
    assert table.startswith("| | one | two |")
    assert table in capsys.readouterr().out
    kept = json.loads((contest / "out" / ROWS).read_text())
    assert kept["identity"] == "bob"
    assert kept["clips"] == {str(contest / "clip.mp4"): "alice"}
    means = {row.name: {name: each.mean for name, each in row.means.items()} for row in rows}
    assert any(each["one"] != each["two"] for each in means.values() if each["one"] == each["one"])
    for name in ("one", "two"):
        (page,) = kept["reports"][name]
        told = json.loads(Path(page).with_name("report.json").read_text())
        assert told["facts"]["self-swap"] == str(contest / f"out/self_swaps/{name}/clip.mp4")
        for measure, mean in means.items():
            value = told["measures"][measure]["value"]
            assert mean[name] == pytest.approx(math.nan if value is None else value, nan_ok=True)
            assert kept["measures"][measure]["models"][name][0] == value
    compared(contest, performers=[])
    assert stamps(contest) == converted
    for page in (contest / "out").rglob("report.json"):
        assert json.loads(page.read_text())["facts"]["self-swap"] == "not measured"


@pytest.mark.slow
def test_what_has_changed_is_converted_again(contest: Path, tmp_path: Path) -> None:
    shutil.copytree(contest, tmp_path, dirs_exist_ok=True)
    compared(tmp_path, self_swaps=False)
    assert identities(tmp_path) == {"bob"}
    compared(tmp_path, self_swaps=False, identity="alice")
    assert identities(tmp_path) == {"alice"}
    before = stamps(tmp_path)
    later = (tmp_path / "clip.mp4").stat().st_mtime + 60
    os.utime(tmp_path / "clip.mp4", (later, later))
    compared(tmp_path, self_swaps=False, identity="alice")
    after = stamps(tmp_path)
    assert all(after[name] != before[name] for name in before if name.startswith("swaps/"))


class Absent:
    """A recogniser whose package is missing."""

    def prepare(self, device: object) -> None:
        raise EstimatorError("recogniser=dlib: needs dlib")


def test_what_cannot_end_well_is_not_begun(contest: Path, tmp_path: Path) -> None:
    taught_by = load_estimator("actors", "training")
    output = str(tmp_path / "out")
    with pytest.raises(ModelError, match=r"one.*'carol'"):
        compared(contest, NOBODY, output=output, identity="carol")
    with pytest.raises(UsageError, match="affect=actors"):
        compared(contest, NOBODY | {"make_estimator": lambda: taught_by}, output=output)
    with pytest.raises(UsageError, match=r"faceset=bob: .* recogniser="):
        compared(contest, NOBODY, output=output, faceset="bob")
    with pytest.raises(EstimatorError, match="needs dlib"):
        compared(contest, NOBODY | {"make_recogniser": Absent}, output=output)
    assert not Path(output).exists()


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
        compare(options, **NOBODY)
