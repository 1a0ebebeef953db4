"""Affect through every verb, on drawn faces: read, train, resume, convert; and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

import swapper
from swapper.affect.concepts import Concept, save_concept
from swapper.affect.controls import AffectControls, ClampCounts
from swapper.affect.observed_range import ObservedRange
from swapper.affect.space import AffectSpace
from swapper.cli import main as cli
from swapper.convert import convert
from swapper.data.cache import FaceCache
from swapper.data.dataset import ValidationDataset, warped_and_target
from swapper.demo.pipeline import check_unbiased
from swapper.errors import EstimatorError, MediaError, ModelError, UsageError
from swapper.estimators.base import load_estimator
from swapper.faces.geometry import resized, warp
from swapper.faces.openface import OpenfaceAligner
from swapper.facesets.faceset import Faceset
from swapper.inference.affect_conditioner import (
    ConditioningStats,
    affect_space_of,
    conditioning_claim,
    describe_controls,
    make_conditioner,
    make_controls,
)
from swapper.inference.clip_neutral import estimate_neutral
from swapper.media.video_reader import Frame, VideoReader
from swapper.models.model_file import load_model
from swapper.options.groups import AffectOptions
from swapper.options.verbs import ConvertOptions
from swapper.training.checkpoint import read_checkpoint
from swapper.training.preview_sheet import preview_rows
from swapper.types import Face, Readings
from tests import world as made
from tests.world import FRAMES, SIDE, train_line

CPU = torch.device("cpu")


def never(*_: object) -> NoReturn:
    raise AssertionError


def convert_line(world: Path, output: Path, *more: str) -> list[str]:
    quick = ("provenance=none", "codec.crf=0", "codec.preset=ultrafast")
    return made.convert_line(world, output, *quick, *more)


def test_the_model_says_what_it_was_trained_with(world: Path) -> None:
    estimator = load_estimator("actors", "training")
    card = json.loads((world / "runs/run/model.json").read_text())
    assert card["lineage"] == [estimator.lineage, "landmarks:openface"]
    assert card["aligned_size"] == SIDE
    assert card["affect_space"]["identities"] == ["alice", "bob"]
    assert 0 <= card["affect_space"]["figures"]["identity_leak"]["code"] <= 1
    names = load_file(world / "runs/run/model.safetensors")
    assert not [name for name in names if "expression" in name or "estimator" in name]


def test_a_resumed_run_keeps_its_affect_space(world: Path) -> None:
    saved = read_checkpoint(world / "runs/run/checkpoints/last.ckpt")["swapper"]["affect_space"]
    model = load_model(world / "runs/run")
    assert saved["summary"] == model.card.affect_space
    for name, tensor in saved["tensors"].items():
        torch.testing.assert_close(model.affect_space[name], tensor, rtol=0, atol=0)


def test_everything_is_logged_by_name(world: Path) -> None:
    header = (world / "runs/run/metrics.csv").read_text().splitlines()[0].split(",")
    assert {
        "train/recon_affect",
        "train/recon_bound",
        "train/swap_affect",
        "train/color_anchor",
    } <= {*header}


def test_more_or_less_of_the_performers_affect_is_another_picture(
    world: Path, tmp_path: Path
) -> None:
    pictures = {}
    for strength in (0, 1, 1.5):
        output = tmp_path / f"{strength}.mp4"
        assert cli.run(convert_line(world, output, f"affect.guidance_scale={strength}")) == 0
        pictures[strength] = [frame.image.astype(int) for frame in VideoReader(output)]
    assert len(pictures[0]) == FRAMES
    step = np.abs(np.array(pictures[1]) - pictures[0]).sum()
    further = np.abs(np.array(pictures[1.5]) - pictures[0]).sum()
    assert 0 < step < further


def write_concept(world: Path, folder: Path, name: str, **changes: object) -> Path:
    """A concept along one of the directions that the model hears."""
    space = affect_space_of(load_model(world / "runs/run"))
    assert space is not None
    matrix, _ = space.linear("bob")
    told = np.linalg.pinv(matrix)[0].astype(np.float32)
    values = {
        "name": name,
        "lineage": space.lineage,
        "direction": told,
        "figures": {"auc": 0.9},
        "verdict": "accepted",
        "accepted": True,
        "provenance": {},
    }
    return save_concept(Concept(**(values | changes)), folder)


def frames_of(world: Path, output: Path, *more: str) -> list[bytes]:
    assert cli.run(convert_line(world, output, "affect.performer=alice", *more)) == 0
    return [frame.image.tobytes() for frame in VideoReader(output)]


def test_dials_change_the_picture_and_at_zero_do_not(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = f"affect.concept_folder={tmp_path / 'concepts'}"
    path = write_concept(world, tmp_path / "concepts", "tired")
    plain = frames_of(world, tmp_path / "plain.mp4")
    zero = frames_of(world, tmp_path / "0.mp4", "affect.concepts={tired: 0}", folder)
    assert zero == plain
    caplog.clear()
    with caplog.at_level("INFO"):
        much = frames_of(world, tmp_path / "1.mp4", "affect.concepts.tired=1.5", folder)
    assert much != plain
    assert "; tired +1.50" in caplog.text
    assert frames_of(world, tmp_path / "2.mp4", f"affect.concepts={{{path}: 1.5}}") == much
    assert frames_of(world, tmp_path / "3.mp4", "affect.concepts.tired=-1.5", folder) != much


def test_a_cap_binds_and_is_told(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model(world / "runs/run")
    space = affect_space_of(model)
    assert space is not None
    far = 50 * np.linalg.pinv(space.linear("bob")[0])[0].astype(np.float32)
    write_concept(world, tmp_path, "tired", direction=far)
    more = ("affect.concepts.tired=1", f"affect.concept_folder={tmp_path}")
    with caplog.at_level("INFO"):
        frames_of(world, tmp_path / "a.mp4", *more)
    assert re.search(r"went no further than bob has shown in \d+ \(tired in \d+\)", caplog.text)
    options = AffectOptions(concepts={"tired": 1.0}, concept_folder=str(tmp_path))
    feeling = make_conditioner(
        model, "bob", replace(options, performer="alice"), lambda: None, never, CPU
    )
    assert feeling is not None
    codes = feeling.codes([np.full((96, 96, 3), 128, np.uint8)]).numpy()
    most = np.quantile(space.observed["bob"][:, 0], 0.99)
    bare = replace(feeling, controls=make_controls(AffectOptions())).codes(
        [np.full((96, 96, 3), 128, np.uint8)]
    )
    assert codes[0, 0] == pytest.approx(max(most, float(bare[0, 0])), abs=1e-3)
    assert feeling.stats.faces == 1


def test_valence_is_a_dial(world: Path) -> None:
    model = load_model(world / "runs/run")
    options = AffectOptions(performer="alice")
    plain = make_conditioner(model, "bob", options, lambda: None, never, CPU)
    assert plain is not None
    along = np.array([0.0, 0.6, 0.8, 0.0], np.float32)
    pleasant = replace(plain.space, valence=along)
    crop = [np.full((96, 96, 3), 128, np.uint8)]
    before = plain.codes(crop).numpy()[0]
    # Towards the middle of what was shown, where no cap is.
    amount = -0.5 * float(np.sign(before @ along))
    dialled_so = replace(plain, space=pleasant, controls=AffectControls(valence=amount))
    np.testing.assert_allclose(
        dialled_so.codes(crop).numpy()[0] - before, amount * along, atol=1e-5
    )
    assert dialled_so.stats.clamped.any == 0


@pytest.mark.parametrize(
    ("changes", "more", "what"),
    [
        ({"lineage": f"other:{0:064x}"}, [], "affect.concepts.tired: was read by other:000"),
        ({"verdict": "rejected: AUC .6", "accepted": False}, [], "pass affect.force=true"),
        ({}, ["affect.concepts.bored=1"], "affect.concepts.bored: no "),
        ({}, ["affect.concepts.tired=2"], "affect.concepts.tired=2.0: must be between -1.5 and"),
        ({}, ["affect.valence=-1.1"], "affect.valence=-1.1: must be between -1 and 1"),
        ({}, ["affect.regions.jaw=2.1"], "affect.regions.jaw=2.1: must be between 0 and 2"),
        (
            {},
            ["affect.regions.cheeks=0"],
            "affect.regions: no landmarks of cheeks by this aligner; pass aligner=mediapipe",
        ),
        ({}, ["affect.regions.lips=0", "faces=all"], "affect.regions: scale deviations from one"),
    ],
)
def test_a_dial_that_does_not_fit_is_refused_in_one_line(
    world: Path,
    tmp_path: Path,
    changes: dict[str, object],
    more: list[str],
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_concept(world, tmp_path, "tired", **changes)
    dial = ["affect.concepts.tired=0.5", f"affect.concept_folder={tmp_path}", *more]
    assert cli.run(convert_line(world, tmp_path / "a.mp4", *dial)) != 0
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("swapper: ")]
    assert what in line
    assert not (tmp_path / "a.mp4").exists()


def test_a_rejected_concept_can_be_forced(world: Path, tmp_path: Path) -> None:
    write_concept(world, tmp_path, "tired", verdict="rejected: AUC .6", accepted=False)
    more = ("affect.concepts.tired=1.5", f"affect.concept_folder={tmp_path}", "affect.force=true")
    assert frames_of(world, tmp_path / "a.mp4", *more) != frames_of(world, tmp_path / "b.mp4")


def test_a_concept_that_the_model_hardly_hears_is_told(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    space = affect_space_of(load_model(world / "runs/run"))
    assert space is not None
    span, _ = np.linalg.qr(space.basis.astype(np.float64))
    direction = np.random.default_rng(0).normal(size=len(span))
    direction -= span @ (span.T @ direction)
    write_concept(world, tmp_path, "tired", direction=direction.astype(np.float32))
    line = ("affect.concepts.tired=1", f"affect.concept_folder={tmp_path}")
    frames_of(world, tmp_path / "a.mp4", *line)
    assert "tired: the model's codes express 0 % of it, only that is added" in caplog.text


def test_a_damaged_concept_is_told(world: Path, tmp_path: Path) -> None:
    write_concept(world, tmp_path, "tired").write_bytes(b"x" * 99)
    with pytest.raises(EstimatorError, match=r"tired\.safetensors"):
        make_controls(AffectOptions(concepts={"tired": 0.5}, concept_folder=str(tmp_path)))


def test_what_is_said_of_dials_names_no_folder() -> None:
    options = AffectOptions(concepts={"/home/me/tired.json": 0.5, "bored": 0.0}, arousal=-0.25)
    assert describe_controls(options) == "tired +0.50, arousal -0.25"
    assert conditioning_claim(options)["concepts"] == {"tired": 0.5, "bored": 0.0}
    assert "/" not in json.dumps(conditioning_claim(options))


def test_the_tally_tells_what_was_too_much_only() -> None:
    shown = ObservedRange(np.linspace(-1, 1, 100, dtype=np.float32)[:, None])
    asked = ConditioningStats("bob", shown)
    asked.add(np.zeros((60, 1), np.float32), ClampCounts(60, 0, {"tired": 0}))
    assert asked.describe() == ""
    asked.add(np.full((40, 1), 3, np.float32), ClampCounts(40, 7, {"tired": 7}))
    assert asked.describe() == (
        "40 % of the faces go beyond what bob has shown and are extrapolated; of 100 faces, "
        "controls went no further than bob has shown in 7 (tired in 7)"
    )


def test_a_known_performer_needs_no_first_look(world: Path, tmp_path: Path) -> None:
    assert cli.run(convert_line(world, tmp_path / "a.mp4", "affect.performer=alice")) == 0


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["affect.performer=carol"], "affect.performer=carol: the model has alice, bob"),
        (["affect.guidance_scale=9"], "affect.guidance_scale=9"),
        (["affect@estimator=actors", "estimator.name=judge", "estimator.purpose=measuring"],
         "the model was trained with actors:"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_in_one_line(
    world: Path, tmp_path: Path, more: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(convert_line(world, tmp_path / "a.mp4", *more)) != 0
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("swapper: ")]
    assert what in line
    assert not (tmp_path / "a.mp4").exists()


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["affect=none"], "need an estimator; pass affect=mediapipe"),
        (["affect=actors", "model.code_dim=0", "~expression"],
         "affect=actors: nothing uses it"),
        (["affect=actors", "affect.name=judge"], "reserved for measuring"),
        (["affect=actors", "model.code_dim=0"], "trains no layer of this model"),
    ],
)  # fmt: skip
def test_a_training_that_does_not_fit_together_is_refused(
    world: Path, tmp_path: Path, more: list[str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = train_line(world, tmp_path, "wrong", 6, *more)
    if "~expression" in more:
        line = [each for each in line if not each.startswith(("expression", "~"))]
    assert cli.run(line) != 0
    assert what in capsys.readouterr().err
    assert not (tmp_path / "wrong/model.json").exists()


def test_a_training_says_what_one_identity_lacks(
    world: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: dict[str, Readings] = {}

    def gaps(readings: dict[str, Readings]) -> list[str]:
        seen.update(readings)
        return ["alice shows no surprise (bob: 12 %); a swap will have to guess it"]

    monkeypatch.setattr("swapper.training.affect_setup.missing_emotions", gaps)
    with caplog.at_level("INFO"):
        assert cli.run(train_line(world, tmp_path, "gaps", 1, "affect=actors")) == 0
    assert "alice shows no surprise" in caplog.text
    trained = {name: len(each) for name, each in seen.items()}
    assert list(trained) == ["alice", "bob"]
    assert all(0 < count < FRAMES for count in trained.values())  # without those held out


def test_a_run_of_an_older_swapper_is_not_continued(
    world: Path, own_runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def older(path: Path) -> dict[str, Any]:
        saved = read_checkpoint(path)
        for name in [*saved["swapper"]["affect_space"]["tensors"]]:
            if name.startswith("observed"):
                del saved["swapper"]["affect_space"]["tensors"][name]
        return saved

    monkeypatch.setattr("swapper.training.affect_setup.read_checkpoint", older)
    assert cli.run(train_line(world, own_runs, "run", 13, "affect=actors")) != 0
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("swapper: ")]
    assert "last.ckpt: the affect space lacks its identities' observed codes" in line
    assert line.endswith("pass another name=")


def test_the_manifest_tells_the_dials(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_concept(world, tmp_path, "tired")
    more = (f"affect.concepts={{{path}: 0.5}}", "provenance=c2pa")
    frames_of(world, tmp_path / "a.mp4", *more)
    capsys.readouterr()
    assert cli.run(["verify", str(tmp_path / "a.mp4"), "json=true"]) == 0
    said = capsys.readouterr().out
    assert re.search(r'"concepts": \{\s*"tired": 0.5\s*\}', said)
    assert str(tmp_path / "tired") not in said


def test_faces_that_were_never_read_are_told_with_the_cure(
    own_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(own_world / "facesets/bob/faceset.db")) as database, database:
        database.executescript("DELETE FROM estimators; DELETE FROM readings")
    assert cli.run(train_line(own_world, tmp_path, "new", 6, "affect=actors")) != 0
    told = capsys.readouterr().err
    assert "actors has not read these faces" in told
    assert "swapper annotate facesets=" in told


def test_a_model_with_a_torn_affect_space_is_refused(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "runs/run", tmp_path / "run")
    path = tmp_path / "run/model.safetensors"
    tensors = load_file(path)
    save_file({k: v for k, v in tensors.items() if k != "affect_space.neutral.1"}, path)
    card = tmp_path / "run/model.json"
    data = json.loads(card.read_text())
    data["weights_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    card.write_text(json.dumps(data))
    with pytest.raises(ModelError, match="of its identities"):
        affect_space_of(load_model(tmp_path / "run"))


def test_a_model_that_hears_nothing_asks_for_no_estimator(world: Path) -> None:
    model = load_model(world / "runs/run")
    net, card = model.net, model.card
    assert net.code_dim == 4
    deaf = replace(model, card=replace(card, affect_space=None), affect_space={})

    assert make_conditioner(deaf, "bob", AffectOptions(), never, never, CPU) is None
    with pytest.raises(UsageError, match=r"valence \+0.20: "):
        make_conditioner(deaf, "bob", AffectOptions(valence=0.2), never, never, CPU)


def test_a_crop_of_another_size_shows_the_same_square() -> None:
    ramp = np.linspace(0, 255, 200)[None, :, None].repeat(200, 0).repeat(3, 2).astype(np.uint8)
    small_from_frame = np.array([[0.32, 0.0, 3.0], [0.0, 0.32, 1.0]])
    small = warp(ramp, small_from_frame, 64).astype(float)
    large = warp(ramp, resized(small_from_frame, 64, 128), 128).astype(float)
    halved = large.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - small)[2:-2, 2:-2].max() < 2


def test_a_model_is_not_judged_by_what_trained_it(world: Path) -> None:
    check_unbiased(world / "runs/run", load_estimator("judge", "measuring"))
    with pytest.raises(ModelError, match=r"run: was trained with actors"):
        check_unbiased(world / "runs/run", load_estimator("actors", "measuring"))


def test_a_run_resumed_without_pseudo_targets_still_names_what_taught_it(
    world: Path, own_runs: Path
) -> None:
    assert cli.run(train_line(world, own_runs, "run", 14, "affect=actors", "pseudo=none")) == 0
    card = json.loads((own_runs / "run/model.json").read_text())
    assert "landmarks:openface" in card["lineage"]


@pytest.mark.parametrize("known", [True, False])
def test_the_neutral_is_looked_for_all_over_a_clip_of_unknown_length(
    world: Path, known: bool
) -> None:
    """As MKV and WebM are: their containers may not say how many frames they hold."""
    total = 2000
    table = OpenfaceAligner(str(world / "alice.csv"))
    with VideoReader(world / "alice.mp4") as reader:
        landmarks = table(next(iter(reader)))[0].landmarks

    class Clip:
        info = SimpleNamespace(num_frames=total if known else None)

        def __iter__(self) -> Iterator[Frame]:
            for index in range(total):  # each frame's brightness is its place in the clip
                level = np.uint8(1 + 250 * index / total)
                yield Frame(index, index / 25, lambda level=level: np.full((200, 200, 3), level))

    levels: list[NDArray[np.uint8]] = []

    class Recording:
        def readings(self, crops: NDArray[np.uint8], coverage: str) -> Readings:
            levels.append(crops.max(axis=(1, 2, 3)))
            return Readings("x", (), (), np.zeros((len(crops), 3), np.float32))

    estimate_neutral(Clip(), lambda _: [Face(landmarks)], Recording(), "face", 64)  # type: ignore[arg-type]
    assert 150 <= len(levels[0]) <= 400
    quarters = np.histogram(levels[0], bins=4, range=(0, 251))[0]
    assert quarters.min() > 0.8 * quarters.max()


def test_cheap_checks_come_before_the_search_for_the_neutral(world: Path, tmp_path: Path) -> None:
    options = ConvertOptions(
        model=str(world / "runs/run"), video=str(world / "alice.mp4"), identity="bob",
        output=str(tmp_path / "out.txt"), provenance="none",
    )  # fmt: skip
    with pytest.raises(MediaError, match=r"out\.txt"):
        convert(options, lambda: pytest.fail("looked for faces"))


def test_the_api_restores_the_affect_space_once(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restored = []
    restore = AffectSpace.restore
    monkeypatch.setattr(
        AffectSpace,
        "restore",
        lambda *a: restored.append(1) or restore(*a),  # type: ignore[func-returns-value]
    )
    model = swapper.load_model(world / "runs/run", device="cpu")
    with VideoReader(world / "alice.mp4") as reader:
        picture = next(iter(reader)).image
    aligner = OpenfaceAligner(str(world / "alice.csv"))
    for _ in range(3):
        assert swapper.swap_frame(model, picture, "bob", aligner=aligner).faces
    assert model.has_affect
    assert len(restored) == 1


def test_previews_show_what_conversion_will(world: Path) -> None:
    torch.manual_seed(0)
    net = load_model(world / "runs/run").net
    with torch.no_grad():
        for each in net.parameters():
            each.add_(0.05 * torch.randn_like(each))
    facesets = [Faceset.open(world / "facesets" / name) for name in ("alice", "bob")]
    caches = [FaceCache.open(each, net.resolution) for each in facesets]
    codes = [np.random.default_rng(0).normal(size=(len(each), net.code_dim)) for each in facesets]
    chosen = [[np.arange(2), np.arange(2)]]
    batch = ValidationDataset(caches, [each.astype(np.float32) for each in codes], chosen, 64)[0]
    assert batch.code.shape == (len(batch.identity), net.code_dim)
    rows = preview_rows(net, batch)
    plain = preview_rows(net, replace(batch, code=net.null.expand(len(batch.identity), -1)))
    inputs, _ = warped_and_target(batch, net.resolution)
    output = net.decode(net.encode(inputs), "bob", batch.code)
    column = 1 + net.identities.index("bob")
    expected = (output.image * (0.25 + 0.75 * output.mask)).clamp(0, 1).mul(255).round()
    assert (rows[0].cells[column] == expected[0].byte().permute(1, 2, 0).numpy()).all()
    assert (rows[0].cells[column] != plain[0].cells[column]).any()
