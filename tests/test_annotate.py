"""Affect is read once a face, kept through kills, and read anew where it no longer holds."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from swapper.affect.annotation import annotate_faceset, describe_annotation
from swapper.annotate import annotate
from swapper.cli import main as cli
from swapper.downloads import cache_folder
from swapper.errors import EstimatorError, FacesetError
from swapper.estimators.base import AffectBatch, Estimator
from swapper.estimators.preprocess import Preprocess, Window
from swapper.facesets.affect_sheet import draw_affect, label_shares
from swapper.facesets.affect_store import read_readings, read_stored, write_stored
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_metadata import Source
from swapper.facesets.writer import FacesetWriter
from swapper.options.verbs import AnnotateOptions
from swapper.types import Readings
from tests.drawing import ALICE, write_clip
from tests.facesets.making import SOURCE, make_card, make_faceset, make_image, make_record

LABELS = ("dark", "light", "purple")


class Light(nn.Module):
    """Feels what the picture's brightness is."""

    def __init__(self, gain: float, *, broken: bool = False) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))
        self.broken = broken

    def forward(self, x: Tensor) -> AffectBatch:
        mean = x.mean(dim=(1, 2, 3)) * self.gain
        logits = torch.stack([-mean, mean, mean - 50], dim=1) * (np.nan if self.broken else 2)
        return AffectBatch(x.flatten(1)[:, :6], logits, mean.tanh(), -mean.tanh())


class Counting(Estimator):
    """Counts what it has read, and can be stopped while reading."""

    def __init__(
        self, gain: float = 1.0, *, labels: Sequence[str] = LABELS, right: float = 60.0,
        stop_after: int = 1_000_000, broken: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            "light", Preprocess(Window(-60, -30, right, 90), (8, 8)), Light(gain, broken=broken),
            labels=labels,
        )  # fmt: skip
        self.seen = 0
        self.stop_after = stop_after

    def readings(
        self, pictures: NDArray[np.uint8], coverage: str = "face", batch_size: int = 64
    ) -> Readings:
        if self.seen + len(pictures) > self.stop_after:
            raise KeyboardInterrupt
        self.seen += len(pictures)
        return super().readings(pictures, "face", batch_size)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_faceset(tmp_path, count=150)


def read(path: Path, estimator: Estimator | None = None, *, refresh: bool = False) -> int:
    """Reads, and tells how many faces it had to read."""
    return annotate_faceset(Faceset.open(path), estimator or Counting(), refresh=refresh).read


def add(path: Path, *frames: int, shift: int = 0) -> None:
    with FacesetWriter(path, make_card()) as writer:
        writer.add_source(Source("clip.mp4", SOURCE))
        for frame in frames:
            writer.add(make_record(frame), make_image(frame + shift))


def expected(path: Path, estimator: Estimator) -> Readings:
    faceset = Faceset.open(path)
    return estimator.readings(np.stack([faceset.image(each) for each in faceset.records]))


def test_every_face_is_read_once_and_as_the_estimator_reads_it(path: Path) -> None:
    estimator = Counting()
    summary = annotate_faceset(Faceset.open(path), estimator)
    assert (summary.read, summary.reused, estimator.seen) == (150, 0, 150)
    whole = expected(path, Counting())
    for found in (summary.readings, read_readings(Faceset.open(path), "light")):
        assert (found.lineage, found.labels) == (estimator.lineage, LABELS)
        np.testing.assert_allclose(found.embedding, whole.embedding, atol=1e-5)
        np.testing.assert_allclose(found.probabilities, whole.probabilities, atol=1e-5)
        np.testing.assert_allclose(found.valence, whole.valence, atol=1e-5)
        assert found.intensities is None
    again = annotate_faceset(Faceset.open(path), estimator)
    assert (again.read, again.reused, estimator.seen) == (0, 150, 150)


def test_nothing_new_writes_nothing(path: Path) -> None:
    read(path)
    file = path / "faceset.db"
    before = file.stat().st_mtime_ns
    assert read(path) == 0
    assert file.stat().st_mtime_ns == before
    assert read(path, refresh=True) == 150
    assert file.stat().st_mtime_ns != before


def test_added_faces_are_read_and_deleted_ones_come_back_known(path: Path) -> None:
    read(path)
    picture = path / "images" / Faceset.open(path).records[3].image
    picture.rename(path / "away")
    add(path, 200, 201)
    assert read(path) == 2
    assert len(read_readings(Faceset.open(path), "light")) == 151
    (path / "away").rename(picture)
    assert read(path) == 0
    whole = expected(path, Counting())
    found = read_readings(Faceset.open(path), "light")
    np.testing.assert_allclose(found.embedding, whole.embedding, atol=1e-5)


def test_a_face_cut_anew_is_read_anew(path: Path, tmp_path: Path) -> None:
    """The same name with another picture, as from an extraction into a folder of its own."""
    read(path)
    other = make_faceset(tmp_path / "other", count=150, seed=1)
    readings = read_stored(path, "light")
    assert readings is not None
    write_stored(other, "light", [readings])
    (other / "images" / Faceset.open(other).records[0].image).unlink()
    with pytest.raises(FacesetError, match=r"149 faces .*149 changed"):
        read_readings(Faceset.open(other), "light")
    assert read(other) == 149
    stored = read_stored(other, "light")
    assert stored is not None
    assert len(set(stored.ids)) == len(stored) == 150  # the one without a picture is kept
    found = read_readings(Faceset.open(other), "light")
    np.testing.assert_allclose(found.embedding, expected(other, Counting()).embedding, atol=1e-5)


@pytest.mark.parametrize(
    "other",
    [
        lambda: Counting(2.0),
        lambda: Counting(right=70.0),
        lambda: Counting(labels=("dark", "bright", "purple")),
    ],
    ids=["weights", "window", "labels"],
)
def test_another_reader_reads_all_anew(path: Path, other: type[Counting]) -> None:
    read(path)
    estimator = other()
    assert read(path, estimator) == 150
    found = read_readings(Faceset.open(path), "light")
    assert (found.lineage, found.labels) == (estimator.lineage, estimator.labels)
    np.testing.assert_allclose(found.embedding, expected(path, other()).embedding, atol=1e-5)
    assert read(path, other()) == 0


def test_what_was_read_before_a_stop_is_not_read_again(path: Path) -> None:
    stopped = Counting(stop_after=100)
    with pytest.raises(KeyboardInterrupt):
        read(path, stopped)
    assert 0 < stopped.seen < 150
    rest = Counting()
    assert read(path, rest) == 150 - stopped.seen == rest.seen
    np.testing.assert_allclose(
        read_readings(Faceset.open(path), "light").embedding,
        expected(path, Counting()).embedding,
        atol=1e-5,
    )


def test_it_is_saved_on_the_way(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill, which lets nobody save, loses only what came after the last saving."""
    stored = []
    real = Counting.readings

    def watched(self: Counting, pictures: NDArray[np.uint8], *rest: object) -> Readings:
        found = read_stored(path, "light")
        stored.append(0 if found is None else len(found))
        return real(self, pictures)

    monkeypatch.setattr(Counting, "readings", watched)
    annotate_faceset(Faceset.open(path), Counting(), save_seconds=0.0)
    assert stored[0] == 0
    assert 0 < stored[1] < 150


def test_an_edited_picture_is_named_and_the_others_are_kept(path: Path) -> None:
    faceset = Faceset.open(path)
    edited = path / "images" / faceset.records[140].image
    cv2.imwrite(str(edited), np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(FacesetError, match="was changed"):
        read(path)
    stored = read_stored(path, "light")
    assert stored is not None
    kept = len(stored)
    assert kept >= 64
    edited.unlink()
    assert read(path) == 149 - kept


def test_an_answer_that_is_none_is_told_and_not_kept(path: Path) -> None:
    with pytest.raises(EstimatorError, match="affect=light: invalid output"):
        read(path, Counting(broken=True))
    assert read_stored(path, "light") is None


def test_damaged_readings_are_named_and_a_refresh_mends_them(path: Path) -> None:
    read(path)
    with closing(sqlite3.connect(path / "faceset.db")) as database, database:
        database.execute("UPDATE readings SET embedding = 'x' WHERE rowid = 7")
    with pytest.raises(FacesetError, match=r"swapper annotate .* refresh=true"):
        read(path)
    assert read(path, refresh=True) == 150


def test_the_line_tells_what_is_shown_and_what_is_not(tmp_path: Path) -> None:
    path = tmp_path / "anna"
    with FacesetWriter(path, make_card()) as writer:
        writer.add_source(Source("clip.mp4", SOURCE))
        for frame, level in enumerate([10, 20, 30, 250]):
            writer.add(make_record(frame), np.full((32, 32, 3), level, np.uint8))
    summary = annotate_faceset(Faceset.open(path), Counting())
    assert label_shares(summary.readings) == {"dark": 0.75, "light": 0.25, "purple": 0.0}
    line = describe_annotation(summary)
    assert line.startswith(
        f"{path}: 4 faces read, 0 reused; dark 75%, light 25%; no purple; valence"
    )
    assert "\n" not in line


def test_the_sheet_has_the_surest_faces_of_each_label_and_gaps(tmp_path: Path) -> None:
    path = tmp_path / "anna"
    levels = np.linspace(0, 255, 60).astype(int)
    with FacesetWriter(path, make_card()) as writer:
        writer.add_source(Source("clip.mp4", SOURCE))
        for frame, level in enumerate(levels):
            writer.add(make_record(frame), np.full((32, 32, 3), level, np.uint8))
    faceset = Faceset.open(path)
    sheet = draw_affect(faceset, annotate_faceset(faceset, Counting()).readings)
    # Grey tiles only, so a tile is a run of one value along its row's middle line.
    rows = [30 + row * 102 + 48 for row in range(7)]
    drawn = [
        [int(sheet[row, left + 48, 0]) for left in _tiles(sheet) if sheet[row, left + 48, 0] != 250]
        for row in rows
    ]
    dark, light, purple, most, least, aroused, calm = drawn
    assert dark[0] == levels[0]
    assert light[0] == levels[-1]
    assert purple == []
    assert sorted(dark) == dark
    assert sorted(light, reverse=True) == light
    assert all(later - earlier >= 12 * 4 for earlier, later in pairwise(dark))
    assert most == calm
    assert least == aroused
    assert (most[0], least[0]) == (levels[-1], levels[0])


def _tiles(sheet: NDArray[np.uint8]) -> list[int]:
    """Left edges of the columns; they end at the right margin."""
    return [sheet.shape[1] - 6 - (8 - column) * 102 for column in range(8)]


def test_facesets_are_held_to_be_sound_before_an_estimator_is_loaded(path: Path) -> None:
    def never() -> Estimator:
        raise AssertionError("loaded")

    with pytest.raises(FacesetError, match="no such faceset"):
        annotate(AnnotateOptions(facesets=[str(path), str(path.parent / "none")]), never)


def test_the_verb_reads_prints_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = make_faceset(tmp_path, "anna"), make_faceset(tmp_path, "ben", 3, 1)
    line = ["annotate", f"facesets=[{one},{two}]", "affect=actors", "device=cpu", "sheet=true"]
    assert cli.run(line) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [each.partition(";")[0] for each in shown[::2]] == [
        f"{one}: 5 faces read, 0 reused",
        f"{two}: 3 faces read, 0 reused",
    ]
    for folder in (one, two):
        assert cv2.imread(str(folder / "affect" / "actors.png")) is not None
    assert cli.run(["annotate", f"facesets={two}", "affect=actors", "device=cpu"]) == 0
    assert "0 faces read, 3 reused" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "status", "expected"),
    [
        ((), 2, "affect is missing: pass affect=..."),
        (("affect=actors", "device=moon"), 2, "device=moon: not available here"),
        (("affect=torchvision", "affect.arch=resnet18", "affect.weights=no.pth",
          "affect.labels=[a,b]"), 1, "no.pth"),
    ],
)  # fmt: skip
def test_the_verb_refuses_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
    status: int,
    expected: str,
) -> None:
    path = make_faceset(tmp_path)
    assert cli.run(["annotate", f"facesets=[{path}]", *more]) == status
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_a_faceset_without_faces_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_faceset(tmp_path, count=1)
    next((path / "images").iterdir()).unlink()
    assert cli.run(["annotate", f"facesets=[{path}]", "affect=actors"]) == 1
    assert "has no faces; run swapper extract" in capsys.readouterr().err


def extraction(folder: Path, clip: tuple[Path, Path], *more: str) -> list[str]:
    return [
        "extract", f"input={clip[0]}", "identity=alice", "rights=mine", f"facesets={folder}",
        "size=96", "aligner=openface", f"aligner.csv={clip[1]}", *more,
    ]  # fmt: skip


def test_extraction_reads_what_it_cut_also_when_resumed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = write_clip(tmp_path / "alice.mp4", ALICE, frames=24)
    caplog.set_level("INFO")
    unusable = cache_folder() / "face_landmarker.task"
    unusable.parent.mkdir(parents=True, exist_ok=True)
    unusable.write_bytes(b"another version")
    assert cli.run(extraction(tmp_path, clip, "every=4")) == 0
    path = tmp_path / "alice"
    assert f"affect is not read: {unusable}: " in caplog.text
    assert f"to add it: swapper annotate facesets=[{path}]" in caplog.text
    assert not (path / "affect").exists()
    assert cli.run(extraction(tmp_path, clip, "every=2", "affect=actors")) == 0
    assert "12 faces read, 0 reused" in caplog.text
    assert cli.run(extraction(tmp_path, clip, "affect=actors")) == 0
    assert "12 faces read, 12 reused" in caplog.text
    found = read_readings(Faceset.open(path), "actors")
    assert len(found) == 24
    assert found.intensities is not None


def test_extraction_finds_out_that_nobody_can_read_before_it_cuts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "alice.mp4", ALICE, frames=6)
    more = ("affect=xception", "affect.weights=none.hdf5")
    assert cli.run(extraction(tmp_path, clip, *more)) == 1
    assert "none.hdf5" in capsys.readouterr().err
    assert not (tmp_path / "alice").exists()


@pytest.mark.slow
def test_a_killed_reading_goes_on(tmp_path: Path) -> None:
    path = make_faceset(tmp_path, count=400)
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.test_annotate import Counting\n"
        "from swapper.facesets.faceset import Faceset\n"
        "from swapper.affect.annotation import annotate_faceset\n"
        "annotate_faceset(Faceset.open(Path(sys.argv[1])), Counting(), save_seconds=0.0)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while (
        time.monotonic() < deadline
        and read_stored(path, "light") is None
        and process.poll() is None
    ):
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    stored = read_stored(path, "light")
    assert stored is not None
    assert len(stored) >= 64
    assert read(path) == 400 - len(stored)
    assert len(read_readings(Faceset.open(path), "light")) == 400
