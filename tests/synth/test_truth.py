from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from swapper.errors import MediaError
from swapper.head_renderer.pose import HeadState, RenderedFrame
from swapper.head_renderer.stage import Stage
from swapper.head_renderer.units import INDEX, unit_values
from swapper.synth.performance import Performance, play
from swapper.synth.timeline import parse_timeline
from swapper.synth.truth import (
    OPENFACE_COLUMNS,
    TRUTH_COLUMNS,
    csv_table,
    openface_row,
    read_landmarks,
    read_truth,
    truth_row,
)

RNG = np.random.default_rng(0)


def shot(units: np.ndarray | None = None) -> RenderedFrame:
    shown = np.zeros((2, 19), np.float32) if units is None else units
    return RenderedFrame(
        np.zeros((8, 8, 3), np.uint8),
        RNG.uniform(0, 256, (68, 2)),
        np.zeros((8, 8), np.float32),
        shown,
    )


def row(state: HeadState, stage: Stage | None = None, **units: float) -> dict[str, float]:
    cells = openface_row(4, 25, state, shot(unit_values(**units)), stage or Stage(), 256)
    return {name: float(cell) for name, cell in zip(OPENFACE_COLUMNS, cells, strict=True)}


@pytest.fixture(scope="module")
def played() -> Performance:
    return play(parse_timeline("neutral:1,happy:2,fear:2+speech"), seed=1, micro=60)


@pytest.fixture
def truth_csv(tmp_path: Path, played: Performance) -> Path:
    path = tmp_path / "a.truth.csv"
    rows = [truth_row(i, played, shot(played.units[i])) for i in range(len(played))]
    path.write_bytes(csv_table(TRUTH_COLUMNS, rows))
    return path


def test_a_face_ahead_has_no_angles() -> None:
    found = row(HeadState())
    assert (found["frame"], found["timestamp"], found["success"]) == (5, 0.16, 1)
    for name in ("pose_Rx", "pose_Ry", "pose_Rz", "gaze_angle_x", "gaze_angle_y", "pose_Tx"):
        assert found[name] == pytest.approx(0, abs=1e-4)
    assert 300 < found["pose_Tz"] < 3000


def test_angles_have_openface_s_signs() -> None:
    # Axes are x right, y down, z away: looking up turns about -x, to the picture's right about -y.
    angle = np.radians(20)
    assert row(HeadState(pose=(0, 20, 0)))["pose_Rx"] == pytest.approx(-angle, abs=1e-4)
    assert row(HeadState(pose=(20, 0, 0)))["pose_Ry"] == pytest.approx(-angle, abs=1e-4)
    assert row(HeadState(pose=(0, 0, 20)))["pose_Rz"] == pytest.approx(angle, abs=1e-4)
    assert row(HeadState(gaze=(20, 0)))["gaze_angle_x"] == pytest.approx(angle, abs=1e-4)
    assert row(HeadState(gaze=(0, 20)))["gaze_angle_y"] == pytest.approx(-angle, abs=1e-4)
    turned = row(HeadState(pose=(20, 0, 0), gaze=(-20, 0)))
    assert turned["gaze_angle_x"] == pytest.approx(0, abs=1e-4)


def test_places_are_in_the_camera_s_axes() -> None:
    ahead = row(HeadState())
    moved = row(HeadState(shift=(10, 20, 30)))
    assert moved["pose_Tx"] - ahead["pose_Tx"] == pytest.approx(10, abs=1e-3)
    assert moved["pose_Ty"] - ahead["pose_Ty"] == pytest.approx(-20, abs=1e-3)
    assert moved["pose_Tz"] - ahead["pose_Tz"] == pytest.approx(-30, abs=1e-3)
    # A camera that looks down sees a face that looks up.
    assert row(HeadState(), Stage(camera_height=-15))["pose_Rx"] != pytest.approx(0, abs=0.1)


def test_units_run_to_5_and_a_blink_is_45() -> None:
    found = row(HeadState(), au12_left=1.0, au43=1.0, au4=0.5)
    assert found["AU12_r"] == pytest.approx(2.5)
    assert found["AU45_r"] == pytest.approx(5)
    assert found["AU04_r"] == pytest.approx(2.5)
    assert found["AU01_r"] == 0


def test_landmarks_come_back_to_four_decimals(tmp_path: Path) -> None:
    shots = [shot() for _ in range(3)]
    rows = [openface_row(i, 25, HeadState(), each, Stage(), 256) for i, each in enumerate(shots)]
    path = tmp_path / "a.openface.csv"
    path.write_bytes(csv_table(OPENFACE_COLUMNS, rows))
    found = read_landmarks(path)
    assert found.shape == (3, 68, 2)
    np.testing.assert_allclose(found, [each.landmarks for each in shots], atol=5.1e-5)


def test_everything_comes_back(truth_csv: Path, played: Performance) -> None:
    truth = read_truth(truth_csv)
    assert len(truth) == len(played)
    np.testing.assert_allclose(truth.times, played.times, atol=1e-4)
    for name in ("emotion", "valence", "arousal", "pose", "shift", "gaze"):
        np.testing.assert_allclose(getattr(truth, name), getattr(played, name), atol=1e-6)
    np.testing.assert_allclose(truth.intended, played.units, atol=1e-6)
    np.testing.assert_allclose(truth.observed, played.units, atol=1e-6)
    names = {name for each in truth.events for name in each}
    assert "blink" in names
    assert any(name.startswith("micro:") for name in names)
    blink = next(event for event in played.events if event.kind == "blink")
    inside = int(np.ceil((blink.start + blink.end) / 2 * 25))
    assert "blink" in truth.events[inside]


def test_units_are_named_by_side(truth_csv: Path) -> None:
    with truth_csv.open(newline="") as handle:
        first = next(csv.DictReader(handle))
    assert "intended_AU12_left" in first
    column = TRUTH_COLUMNS.index("shown_AU12_right") - TRUTH_COLUMNS.index("shown_AU01_left")
    assert column == 19 + INDEX[12]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda text: "", "not a table"),
        (lambda text: text.split("\n")[0], "no rows"),
        (lambda text: text.replace("valence", "valenz"), "other columns"),
        (lambda text: text.replace("\n2,", "\n3,"), "row 2 is damaged"),
        (lambda text: text.replace("\n2,0.0400,", "\n2,nan,"), "row 2 holds what is no number"),
        (lambda text: text.replace("\n2,0.0400,", "\n2,x,"), "row 2 holds what is no number"),
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: text.replace("\n2,", '\n"2,'), "render it again"),
        (lambda text: "\x00\udcff", "not a table"),
    ],
)
def test_hostile_tables_are_refused_in_one_line(truth_csv: Path, spoil, said: str) -> None:  # type: ignore[no-untyped-def]
    text = truth_csv.read_text()
    truth_csv.write_bytes(spoil(text).encode("utf-8", "surrogateescape"))
    with pytest.raises(MediaError) as caught:
        read_truth(truth_csv)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"b\.truth\.csv: cannot be read"):
        read_truth(tmp_path / "b.truth.csv")
