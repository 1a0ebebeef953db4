from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from swapper import synthesize
from swapper.cli import main as cli
from swapper.errors import UsageError
from swapper.extract import extract
from swapper.faces.geometry import head_pose
from swapper.faces.openface import OpenfaceAligner
from swapper.head_renderer.identity import Identity, sample_identity
from swapper.head_renderer.pose import HeadState, RenderedFrame
from swapper.head_renderer.stage import FilmStock, Stage, sample_stage
from swapper.media.clip_writer import read_masks
from swapper.media.images import read_image
from swapper.media.video_reader import VideoReader
from swapper.options.verbs import ExtractOptions
from swapper.synth.actor import Actor
from swapper.synth.performance import play
from swapper.synth.scenarios import Take, build_casting
from swapper.synth.timeline import parse_timeline
from swapper.synth.truth import read_landmarks, read_truth
from swapper.synthesize import ClipFiles, render_casting, render_take

SIZE = 64


class Puppet:
    """Draws its frame's number as grey, at once and from any thread."""

    def __init__(self, identity: Identity, fail_at: int | None = None) -> None:
        self.identity = identity
        self.fail_at = fail_at
        self.shots: list[tuple[int, bool]] = []
        self.threads: set[int] = set()

    def render(
        self,
        state: HeadState,
        stage: Stage,
        size: int = 256,
        *,
        before: HeadState | None = None,
        index: int = 0,
        supersample: int = 2,
    ) -> RenderedFrame:
        if index == self.fail_at:
            raise RuntimeError("the lamp broke")
        self.shots.append((index, before is not None))
        self.threads.add(threading.get_ident())
        image = np.full((size, size, 3), 16 + 2 * index, np.uint8)
        mask = np.zeros((size, size), np.float32)
        mask[: index + 1] = 1.0
        points = np.arange(136.0).reshape(68, 2) / 4 + index
        return RenderedFrame(image, points, mask, state.units)


def take(name: str = "a", text: str = "neutral:0.8,happy:1.2", seed: int = 1) -> Take:
    stage = replace(sample_stage(0), film=FilmStock(crf=4))
    return Take(name, Identity(), play(parse_timeline(text), 25, seed), stage)


@pytest.fixture
def puppet() -> Puppet:
    return Puppet(Identity())


def shot_by(puppet: Puppet):  # type: ignore[no-untyped-def]
    return lambda identity: puppet


def test_every_frame_is_drawn_once_and_stands_in_its_place(tmp_path: Path, puppet: Puppet) -> None:
    files = render_take(take(), tmp_path, SIZE, workers=3, make_actor=shot_by(puppet))
    assert sorted(puppet.shots) == [(i, i > 0) for i in range(50)]
    frames = list(VideoReader(files.video))
    assert len(frames) == 50
    for i, frame in enumerate(frames):
        assert abs(int(frame.image.mean()) - (16 + 2 * i)) <= 2
    masks = list(read_masks(files.masks))
    assert [int(mask[:, 0].sum()) for mask in masks] == list(range(1, 51))
    landmarks = read_landmarks(files.landmarks)
    np.testing.assert_allclose(landmarks[:, 0, 0], np.arange(50), atol=1e-9)
    truth = read_truth(files.truth)
    np.testing.assert_allclose(truth.intended, take().performance.units, atol=1e-6)


def test_the_openface_aligner_reads_the_landmarks(tmp_path: Path, puppet: Puppet) -> None:
    files = render_take(take(), tmp_path, SIZE, make_actor=shot_by(puppet))
    aligner = OpenfaceAligner(str(files.landmarks))
    assert aligner.expected_frames == 50
    for frame in VideoReader(files.video):
        (face,) = aligner(frame)
        np.testing.assert_allclose(
            face.landmarks, np.arange(136).reshape(68, 2) / 4 + frame.index, atol=1e-3
        )
    aligner.finish(50)


def test_finished_takes_are_left_alone(tmp_path: Path, puppet: Puppet) -> None:
    first = render_take(take(), tmp_path, SIZE, make_actor=shot_by(puppet))
    stamps = {path: path.stat().st_mtime_ns for path in vars(first).values()}
    again = render_take(take(), tmp_path, SIZE, make_actor=shot_by(puppet))
    assert again == first
    assert len(puppet.shots) == 50
    assert stamps == {path: path.stat().st_mtime_ns for path in vars(again).values()}


@pytest.mark.parametrize("change", ["score", "seed", "size", "stage", "code", "lost"])
def test_whatever_changed_is_filmed_anew(
    tmp_path: Path, puppet: Puppet, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = render_take(take(), tmp_path, SIZE, make_actor=shot_by(puppet))
    other, size = take(), SIZE
    if change == "score":
        other = take(text="neutral:0.8,sad:1.2")
    elif change == "seed":
        other = take(seed=2)
    elif change == "size":
        size = 66
    elif change == "stage":
        other = replace(other, stage=replace(other.stage, warmth=0.5))
    elif change == "code":
        monkeypatch.setattr(synthesize, "renderer_hash", lambda: "another hand")
    else:
        files.masks.unlink()
    render_take(other, tmp_path, size, make_actor=shot_by(puppet))
    assert len(puppet.shots) == 100
    assert files.is_complete()


def test_a_take_that_fails_leaves_nothing_that_looks_whole(tmp_path: Path, puppet: Puppet) -> None:
    with pytest.raises(RuntimeError, match="lamp"):
        render_take(take(), tmp_path, SIZE, make_actor=lambda who: Puppet(who, fail_at=30))
    assert list(tmp_path.iterdir()) == []
    files = render_take(take(), tmp_path, SIZE, make_actor=shot_by(puppet))
    with pytest.raises(RuntimeError, match="lamp"):
        render_take(take(seed=2), tmp_path, SIZE, make_actor=lambda who: Puppet(who, fail_at=30))
    assert not files.record.exists()  # what stands is of no known take
    assert {path.name[0] for path in tmp_path.iterdir()} == {"a"}  # and nothing half is left


def test_the_record_films_the_same_take_again(tmp_path: Path, puppet: Puppet) -> None:
    files = render_take(take(), tmp_path, SIZE, make_actor=shot_by(puppet))
    again = Take.from_dict(json.loads(files.record.read_text()))
    np.testing.assert_array_equal(again.performance.units, take().performance.units)
    render_take(again, tmp_path, SIZE, make_actor=shot_by(puppet))
    assert len(puppet.shots) == 50
    record = json.loads(files.record.read_text())
    assert record["size"] == SIZE
    assert record["identity"]["name"] == "actor"
    assert any(event["kind"] == "blink" for event in record["events"])


@pytest.mark.parametrize(
    ("name", "size", "workers", "said"),
    [
        ("../a", 64, 1, "name='../a'"),
        (".a", 64, 1, "plain name"),
        ("", 64, 1, "plain name"),
        ("a", 65, 1, "size=65: must be an even number from 32 to 2048"),
        ("a", 16, 1, "size=16"),
        ("a", 64, 0, "workers=0"),
    ],
)
def test_what_cannot_be_filmed_is_named(
    tmp_path: Path, puppet: Puppet, name: str, size: int, workers: int, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        render_take(take(name), tmp_path, size, workers=workers, make_actor=shot_by(puppet))
    assert list(tmp_path.iterdir()) == []


def test_a_casting_fills_four_folders(tmp_path: Path) -> None:
    casting = build_casting(
        "rare", sample_identity(1), sample_identity(2), seconds=4.4, fps=5, held_out=1
    )
    casting_clips = render_casting(casting, tmp_path, SIZE, make_actor=Puppet)
    assert {path.name for path in tmp_path.iterdir()} == set(synthesize.ROLES)
    for role in synthesize.ROLES:
        takes = getattr(casting, role)
        assert casting_clips[role] == tuple(
            ClipFiles.at(tmp_path / role, each.name) for each in takes
        )
        assert all(files.is_complete() for files in casting_clips[role])
    asked, answer = (read_truth(casting_clips[role][0].truth) for role in ("held_out", "truth"))
    np.testing.assert_array_equal(asked.intended, answer.intended)
    np.testing.assert_array_equal(asked.pose, answer.pose)


# --- with the real actor --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Take, ClipFiles]:
    who = sample_identity(47)
    shown = Take(
        "real", who, play(parse_timeline("happy:1.2"), 10, seed=5), Stage(film=FilmStock(crf=4))
    )
    folder = tmp_path_factory.mktemp("filmed")
    return shown, render_take(shown, folder, 128, make_actor=lambda each: Actor(each, detail=2))


def test_a_real_take_agrees_with_drawing_it_directly(filmed: tuple[Take, ClipFiles]) -> None:
    shown, files = filmed
    actor, performance = Actor(shown.identity, detail=2), shown.performance
    shots = [
        actor.render(
            performance.head_state(i),
            shown.stage,
            128,
            before=performance.head_state(i - 1) if i else None,
            index=i,
        )
        for i in range(len(performance))
    ]
    landmarks = read_landmarks(files.landmarks)
    np.testing.assert_allclose(landmarks, [shot.landmarks for shot in shots], atol=1e-4)
    truth = read_truth(files.truth)
    np.testing.assert_allclose(truth.observed, [shot.observed_units for shot in shots], atol=1e-6)
    for frame, mask, shot in zip(
        VideoReader(files.video), read_masks(files.masks), shots, strict=True
    ):
        assert np.abs(frame.image.astype(int) - shot.image).mean() < 2
        assert np.abs(mask - shot.face_mask).max() <= 0.5 / 255 + 1e-6


def test_the_pose_written_is_the_pose_seen(filmed: tuple[Take, ClipFiles]) -> None:
    _, files = filmed
    points, truth = read_landmarks(files.landmarks), read_truth(files.truth)
    seen = np.array([head_pose(each.astype(np.float32), (128, 128)) for each in points])
    assert np.abs(seen[:, 0] - truth.pose[:, 0]).max() < 8
    assert np.abs(seen[:, 2] - truth.pose[:, 2]).max() < 5
    assert np.ptp(seen[:, 0]) > 0.3 * np.ptp(truth.pose[:, 0])


def test_extract_takes_the_clip_with_its_landmarks(
    filmed: tuple[Take, ClipFiles], tmp_path: Path
) -> None:
    shown, files = filmed
    options = ExtractOptions(
        input=str(files.video), identity="actor", rights="drawn; nobody's face",
        facesets=str(tmp_path), size=64, min_size=20,
    )  # fmt: skip
    summary = extract(options, lambda: OpenfaceAligner(str(files.landmarks)))
    assert summary.added == len(shown.performance)


# --- the verb -------------------------------------------------------------------------------------


def test_the_verb_films_one_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = [
        "synthesize", f"output={tmp_path}", "score=neutral:0.4,sad+anger:0.4@0.5+speech", "size=32",
        "fps=5", "identity=7", "name=shot", "stage.warmth=0.4", "stage.film.grain=0.1", "workers=1",
    ]  # fmt: skip
    assert cli.run(line) == 0, capsys.readouterr().err
    shown = Take.from_dict(json.loads((tmp_path / "shot.json").read_text()))
    assert shown.identity == sample_identity(7)
    assert shown.performance.score == parse_timeline("neutral:0.4,sad+anger:0.4@0.5+speech")
    assert (shown.stage.warmth, shown.stage.film.grain) == (0.4, 0.1)
    assert shown.stage.focal == sample_stage(0).focal
    assert VideoReader(tmp_path / "shot.mp4").info.num_frames == 4


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "output is missing"),
        (["output=o", "score=hapy:2"], "did you mean happy"),
        (["output=o", "scenario=reach"], "did you mean rich"),
        (["output=o", "scenario=rich", "score=happy:2"], "score does not go with scenario"),
        (["output=o", "scenario=rich", "stage.warmth=1"], "stage does not go with scenario"),
        (["output=o", "scenario=rich", "seconds=2"], "seconds=2"),
        (["output=o", "stage.warmth=3"], "stage.warmth=3: must be between -1 and 1"),
        (["output=o", "stage.warmth=hot"], "stage.warmth=hot: must be a number"),
        (["output=o", "stage.film.grain=9"], "film.grain=9: must be between 0 and 0.2"),
        (["output=o", "stage.warmt=0"], "did you mean warmth"),
        (["output=o", "size=33"], "size=33: must be an even number"),
        (["output=o", "fps=0"], "fps=0"),
        (["output=o", "name=../x", "score=sad:1"], "plain name"),
        (["sheet=a.gif"], "sheet=a.gif: must end in one of .png"),
    ],
)
def test_the_verb_says_in_one_line_what_is_wrong(
    overrides: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["synthesize", *overrides]) != 0
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error
    assert list(tmp_path.iterdir()) == []


def test_stage_options_are_the_stage_s_fields() -> None:
    from dataclasses import fields

    from swapper.options.groups import FilmOptions, StageOptions

    for ours, theirs in ((StageOptions, Stage), (FilmOptions, FilmStock)):
        assert [each.name for each in fields(ours)] == [each.name for each in fields(theirs)]


def test_a_sheet_has_a_row_for_each_and_a_column_for_every_emotion(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    synthesize.draw_actor_sheet(path, seeds=(1, 2), tile=32)
    height, width, _ = read_image(path).shape
    assert width > 8 * 32
    assert 2 * 32 < height < 4 * 32
