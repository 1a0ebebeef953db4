"""Pictures of drawn actors become a concept, and mistakes are told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.affect.concepts import load_concept
from swapper.cli import main as cli
from swapper.concept import concept
from swapper.errors import UsageError
from swapper.estimators import actors_net
from swapper.estimators.base import Estimator
from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.pose import HeadState
from swapper.head_renderer.stage import sample_stage
from swapper.media.images import list_images, write_image
from swapper.options.verbs import ConceptOptions
from swapper.synth.actor import Actor
from swapper.synth.emotions import EMOTION_BY_NAME
from swapper.types import Face, Readings
from tests.drawing import write_openface
from tests.facesets.making import make_faceset

FIRST_SEED = 4_100_000  # of people whom no set that the networks learn from holds
PEOPLE = 6
Landmarks = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Landmarks]:
    """Pictures EMOTION/PERSON/n.png and the landmarks of each by its path in there."""
    root = tmp_path_factory.mktemp("stock")
    landmarks: Landmarks = {}
    for number in range(PEOPLE):
        seed = FIRST_SEED + number
        actor, random = Actor(sample_identity(seed), detail=2), np.random.default_rng(seed)
        for emotion, count in (("happy", 4), ("neutral", 8)):
            variants = EMOTION_BY_NAME[emotion].variants
            for index in range(count):
                state = HeadState(
                    variants[index % len(variants)].intensities(),
                    pose=tuple(random.normal(0, (6, 4, 3))),
                )
                stage = sample_stage(10 * seed + index % 4)
                shot = actor.render(state, stage, 160, supersample=1)
                name = f"{emotion}/actor{number}/{index}.png"
                write_image(root / name, shot.image)
                landmarks[name] = shot.landmarks.astype(np.float32)
    return root, landmarks


@pytest.fixture
def work(
    stock: tuple[Path, Landmarks], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Landmarks]:
    """A copy of the stock, in the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(stock[0], tmp_path, dirs_exist_ok=True)
    return tmp_path, stock[1]


def write_csv(root: Path, landmarks: Mapping[str, NDArray[np.float32]], *folders: str) -> None:
    """Landmarks of all pictures in the order in which they are looked at."""
    rows = []
    for folder in folders:
        for person in [root / folder, *sorted(each for each in (root / folder).iterdir())]:
            if person.is_dir() and any(each.is_file() for each in person.iterdir()):
                rows += [_known(root, landmarks, path) for path in list_images(person)]
    write_openface(root / "all.csv", rows)


def _known(
    root: Path, landmarks: Mapping[str, NDArray[np.float32]], path: Path
) -> NDArray[np.float32]:
    return landmarks.get(str(path.relative_to(root)), np.full((68, 2), 5, np.float32))


def line(*more: str) -> list[str]:
    return [
        "concept", "name=glad", "positives=happy", "negatives=neutral", "rights=drawn",
        "affect=actors", "device=cpu", "aligner=openface", "aligner.csv=all.csv", *more,
    ]  # fmt: skip


def test_happy_passes_and_is_kept(
    work: tuple[Path, Landmarks], capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(*work, "happy", "neutral")
    assert cli.run(line()) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("glad: accepted\n  24 faces that show it, 48 that do not")
    assert "concepts/glad.safetensors (read by actors)" in shown
    found = load_concept(Path("concepts/glad"))
    assert found.accepted
    assert (found.figures["people"], found.figures["unused"]) == (PEOPLE, 0)
    assert found.figures["auc"] > 0.9
    assert found.lineage == actors_net.load().lineage
    assert found.provenance["rights"] == "drawn"
    assert found.provenance["pictures"] == 72
    assert str(work[0]) not in Path("concepts/glad.json").read_text()
    # It points where the estimator says happy.
    told = actors_net.load().net.readings.classes.weight.numpy() @ found.direction
    assert actors_net.LABELS[int(told.argmax())] == "happy"


def test_a_random_split_is_rejected_and_kept(
    work: tuple[Path, Landmarks], capsys: pytest.CaptureFixture[str]
) -> None:
    root, landmarks = work
    moved = {}
    for path in sorted(root.glob("neutral/*/*.png")):
        folder = "neutral" if int(path.stem) < 4 else "other"
        name = f"{folder}/{path.parent.name}/{path.name}"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        path.replace(root / name)
        moved[name] = landmarks[str(path.relative_to(root))]
    write_csv(root, moved, "other", "neutral")
    assert cli.run(line("positives=other")) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("glad: rejected: ")
    assert "affect.force=true" in shown
    assert not load_concept(Path("concepts/glad")).accepted


def test_pictures_that_cannot_be_used_are_named_and_the_rest_is_used(
    work: tuple[Path, Landmarks], capsys: pytest.CaptureFixture[str]
) -> None:
    root, landmarks = work
    (root / "happy/actor0/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50)
    (root / "happy/actor1/notes.txt").write_text("not a picture")
    write_image(root / "neutral/actor2/empty.png", np.zeros((64, 64, 3), np.uint8))
    shutil.copy(root / "happy/actor3/0.png", root / "neutral/actor3/again.png")
    more = {**landmarks, "neutral/actor3/again.png": landmarks["happy/actor3/0.png"]}
    write_csv(root, more, "happy", "neutral")
    assert cli.run(line()) == 0
    shown = capsys.readouterr().out
    assert "accepted" in shown
    assert "skipped, cannot be read: happy/actor0/broken.png" in shown
    assert "skipped, without a face: neutral/actor2/empty.png" in shown
    assert "skipped, duplicate: neutral/actor3/again.png" in shown
    assert load_concept(Path("concepts/glad")).provenance["left_out"] == 3


def test_flat_folders_say_that_people_are_unknown(
    work: tuple[Path, Landmarks], capsys: pytest.CaptureFixture[str]
) -> None:
    root, landmarks = work
    flat = {}
    for path in sorted(root.glob("*/*/*.png")):
        name = f"{path.parts[-3]}_flat/{path.parent.name}_{path.name}"
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(path, root / name)
        flat[name] = landmarks[str(path.relative_to(root))]
    write_csv(root, flat, "happy_flat", "neutral_flat")
    assert cli.run(line("positives=happy_flat", "negatives=neutral_flat")) == 0
    shown = capsys.readouterr().out
    assert "rejected: the people on the pictures are unknown" in shown
    assert "sub-folders, one a person" in shown
    assert "72 faces, none of people who are in both" in shown
    assert "right way round" not in shown


def test_facesets_are_taken_as_they_are_without_an_aligner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("anna", "ben", "cleo")
    for offset, folder in enumerate(("yes", "no")):
        for index, name in enumerate(names):
            make_faceset(tmp_path / folder, name, 4, seed=10 * offset + index)
    listed = ",".join(str(tmp_path / "no" / name) for name in names)
    status = cli.run([
        "concept", "name=glad", f"positives={tmp_path / 'yes'}", f"negatives=[{listed}]",
        "rights=made up", "affect=actors", "device=cpu", f"output={tmp_path / 'out'}",
    ])  # fmt: skip
    assert status == 0, capsys.readouterr().err
    found = load_concept(tmp_path / "out" / "glad")
    assert found.figures["people"] == 3
    assert found.figures["positives"] == found.figures["negatives"] == 12
    assert "3 people are in both folders, 5 are needed" in found.verdict
    assert found.provenance["faceset_rights"]
    assert found.provenance["aligner"] == ""


@pytest.mark.parametrize(
    ("more", "status", "expected"),
    [
        (("positives=nowhere",), 1, "nowhere: no such folder; positives is a folder with"),
        (("negatives=void",), 1, "void: holds no picture, and no folder of pictures"),
        (("positives=[]",), 2, "positives is empty: pass positives=FOLDER"),
        (("rights=",), 2, "rights is missing: say by what right these pictures are used"),
        (("affect=none",), 2, "affect is missing: pass affect=..."),
        (("name=../up",), 2, "name=../up: must be a letter"),
        (("affect=xception", "affect.weights=none.hdf5"), 1, "none.hdf5"),
        (("aligner.csv=none.csv",), 1, "none.csv: no such file"),
        (("min_size=4000",), 1, "positives: 0 faces found (24 without a face), which is too few"),
        (("output=all.csv",), 1, "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    work: tuple[Path, Landmarks],
    capsys: pytest.CaptureFixture[str],
    more: Sequence[str],
    status: int,
    expected: str,
) -> None:
    write_csv(*work, "happy", "neutral")
    (work[0] / "void" / "nothing").mkdir(parents=True)
    assert cli.run(line(*more)) == status
    error = capsys.readouterr().err
    (said,) = [each for each in error.splitlines() if each.startswith("swapper: ")]
    assert expected in said
    assert not (work[0] / "concepts").exists()


def test_landmarks_of_other_pictures_are_refused(
    work: tuple[Path, Landmarks], capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(*work, "happy")
    assert cli.run(line()) == 1
    assert "describes 24 frames but the clip has 72" in capsys.readouterr().err


def test_a_concept_is_not_replaced_unasked(
    work: tuple[Path, Landmarks], capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(*work, "happy", "neutral")
    assert cli.run(line()) == 0
    before = json.loads(Path("concepts/glad.json").read_text())
    assert cli.run(line("positives=neutral", "negatives=happy")) == 2
    assert "pass overwrite=true to replace it" in capsys.readouterr().err
    assert json.loads(Path("concepts/glad.json").read_text()) == before
    write_csv(*work, "neutral", "happy")
    assert cli.run(line("positives=neutral", "negatives=happy", "overwrite=true")) == 0
    assert json.loads(Path("concepts/glad.json").read_text())["sha256"] != before["sha256"]


def test_an_estimator_that_answers_nothing_finite_is_named(
    work: tuple[Path, Landmarks],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_csv(*work, "happy", "neutral")
    real = Estimator.readings

    def broken(self: Estimator, *faces: Any) -> Readings:
        found = real(self, *faces)
        return replace(found, embedding=found.embedding * np.float32(np.nan))

    monkeypatch.setattr(Estimator, "readings", broken)
    assert cli.run(line()) == 1
    assert "affect=actors: output is not finite" in capsys.readouterr().err


class Following:
    """An aligner that takes pictures for a film."""

    name = fingerprint = "following"
    expected_frames = None
    video = True

    def prepare(self) -> None: ...

    def __call__(self, frame: object) -> list[Face]:
        raise AssertionError("asked")

    def finish(self, num_frames: int) -> None: ...

    def close(self) -> None: ...


def test_an_aligner_that_follows_faces_is_refused(work: tuple[Path, Landmarks]) -> None:
    options = ConceptOptions(name="glad", positives="happy", negatives="neutral", rights="drawn")

    def estimator() -> Estimator:
        return actors_net.load()

    with pytest.raises(UsageError, match=r"aligner\.video=true: .*aligner\.video=false"):
        concept(options, Following, estimator)
