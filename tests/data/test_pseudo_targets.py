"""Pseudo-targets: whose face, warped how far, trusted how much; made once, and made again."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.affect.neutral import find_neutrals
from swapper.data.augment import Augment
from swapper.data.cache import FaceCache
from swapper.data.dataset import StepDataset, pseudo_targets, warped_and_target
from swapper.data.device_cache import resident_faces
from swapper.data.pseudo_recipes import ROW, RecipeMaker, Table
from swapper.data.pseudo_samples import PseudoSamples, draw_rows, swapped_as
from swapper.data.pseudo_targets import PseudoTargets, describe_pseudo_targets
from swapper.data.sampling import FaceSampler
from swapper.errors import FacesetError
from swapper.faces.geometry import similarity_from_landmarks, transform_points, warp
from swapper.faces.shape import SIGNALS, Shapes, aligned_points, signals
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_metadata import Source
from swapper.facesets.writer import FacesetWriter, face_id
from swapper.types import FaceRecord
from tests.drawing import ALICE, BOB, Look, draw
from tests.facesets.making import make_card

SIDE = 96
ALL = np.arange(10_000)
OPENING = SIGNALS.index("mouth_opening")


def film(
    folder: Path, name: str, look: Look, times: NDArray[np.float64], shift: float = 0.0
) -> Faceset:
    """A faceset of a drawn head at some moments; `shift` moves all landmarks, in pixels."""
    with FacesetWriter(folder / name, make_card(name, size=SIDE)) as writer:
        digest = f"{len(name):02x}" * 32
        writer.add_source(Source(f"{name}.mp4", digest))
        for number, state in enumerate(times):
            picture, landmarks = draw(160, float(state), look)
            landmarks = landmarks + np.float32(shift)
            matrix = similarity_from_landmarks(landmarks, SIDE, "face")
            writer.add(
                FaceRecord(
                    id=face_id(digest, number, 0), image="", source=digest, frame_index=number,
                    pts=number, landmarks=landmarks, aligned_from_frame=matrix, yaw=0.0,
                    pitch=0.0, roll=0.0, sharpness=1.0, confidence=1.0, sha256="",
                ),
                warp(picture, matrix, SIDE),
            )  # fmt: skip
    return Faceset.open(folder / name)


class Run:
    """Two people with everything that pseudo-targets are made of."""

    def __init__(self, alice: Faceset, bob: Faceset) -> None:
        self.facesets = [alice, bob]
        self.caches = [FaceCache.open(each, SIDE) for each in self.facesets]
        self.usable = [np.arange(len(each)) for each in self.facesets]
        self.shapes = [
            Shapes.of(aligned_points(each.records, SIDE, "face", mesh=False))
            for each in self.facesets
        ]
        names = [each.card.identity for each in self.facesets]
        found = find_neutrals(dict(zip(names, self.shapes, strict=True)))
        self.rests = [found[name].shape for name in names]

    def tables(self, *, detail: bool = False, **settings: float) -> dict[tuple[int, int], Table]:
        return PseudoTargets(detail=detail, **settings).prepare(  # type: ignore[arg-type]
            self.facesets, self.caches, self.usable, self.shapes, self.rests
        )


TALK = np.arange(40) / 25
"""Moments over which the mouth opens wide and shuts twice, with a blink."""
SHUT = 0.6 + np.arange(-6, 7) / 200
"""Moments at which it is all but shut."""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """alice talks; bob is only ever seen with his mouth shut."""
    return Run(film(tmp_path, "alice", ALICE, TALK), film(tmp_path, "bob", BOB, np.tile(SHUT, 3)))


def darkness(picture: NDArray[np.floating], middle: NDArray[np.floating]) -> float:
    """Share of dark pixels around a mouth."""
    x, y = np.round(middle).astype(int)
    some = picture[y - 8 : y + 9, x - 6 : x + 7, :3]
    return float((some.mean(axis=2) < 0.2).mean())


def mouth_of(faceset: Faceset) -> NDArray[np.float32]:
    record = faceset.records[0]
    points = transform_points(record.aligned_from_frame, record.landmarks)
    return np.asarray(points[60:68].mean(axis=0))


def test_a_shut_mouth_opens_as_the_performers_does(run: Run) -> None:
    table = run.tables()[0, 1]
    opening = signals(run.shapes[0].landmarks)[:, OPENING]
    wide, narrow = int(opening.argmax()), int(opening.argmin())
    faces = np.array([wide, narrow])
    assert (table["base"][faces] >= 0).all()
    assert table["donor"][wide] == wide
    assert table["own_mouth"][wide] == 0
    assert table["donor"][narrow] == -1
    drawn = draw_rows(run.caches, (0, 1), table, faces, SIDE)
    pictures = drawn.permute(0, 2, 3, 1).numpy()
    middle = mouth_of(run.facesets[1])
    assert darkness(pictures[0], middle) > darkness(pictures[1], middle) + 0.1
    base = run.caches[1].array[table["base"][wide], ..., :3] / 255
    assert darkness(pictures[0], middle) > darkness(base, middle) + 0.1


def test_the_picture_stays_the_identitys(run: Run) -> None:
    table = run.tables()[0, 1]
    drawn = draw_rows(run.caches, (0, 1), table, ALL[: len(TALK)], SIDE)
    inside = drawn[:, 3] > 0.9
    skin = np.array(
        [
            np.median(each[:3, mask].numpy(), axis=1)
            for each, mask in zip(drawn, inside, strict=True)
        ]
    )
    assert np.abs(skin * 255 - BOB.skin).max() < 12
    assert np.abs(skin * 255 - ALICE.skin).max() > 40


def test_masks_follow_the_warp(run: Run) -> None:
    table = run.tables()[0, 1]
    wide = int(signals(run.shapes[0].landmarks)[:, OPENING].argmax())
    drawn = draw_rows(run.caches, (0, 1), table, np.array([wide]), SIDE)[0]
    stored = run.caches[1].array[table["base"][wide]]
    chin, x = np.flatnonzero(drawn[3, :, SIDE // 2] > 0.5).max(), SIDE // 2
    assert chin > np.flatnonzero(stored[:, x, 3] > 127).max()


def test_an_open_mouth_of_the_identitys_own_is_taken_as_it_is(tmp_path: Path) -> None:
    run = Run(film(tmp_path, "alice", ALICE, TALK), film(tmp_path, "bob", BOB, TALK))
    table = run.tables()[0, 1]
    ours = signals(run.shapes[0].landmarks)[:, OPENING]
    theirs = signals(run.shapes[1].landmarks)[:, OPENING]
    assert np.corrcoef(ours, theirs[table["base"]])[0, 1] > 0.95
    assert (table["donor"] >= 0).mean() < 0.2
    assert table["move"].max() < 0.08


def test_the_nearest_face_of_an_identity_that_performs_alike_needs_no_warp(run: Run) -> None:
    same = Run(run.facesets[0], film(run.facesets[0].path.parent, "carol", ALICE, TALK))
    table = same.tables()[0, 1]
    assert np.abs(table["flow"].astype(np.float64)).max() * SIDE < 1.0
    assert table["confidence"].min() > 0.9


def test_of_like_faces_the_one_in_like_light_is_taken(tmp_path: Path) -> None:
    run = Run(film(tmp_path, "alice", ALICE, TALK), film(tmp_path, "bob", BOB, np.tile(TALK, 2)))
    side = np.linspace(1.3, 0.7, SIDE)[None, :, None]
    half = len(TALK)

    def relit(faces: NDArray[np.uint8], ramp: NDArray[np.float64]) -> NDArray[np.uint8]:
        lit = faces.astype(np.float64)
        lit[..., :3] = (lit[..., :3] * ramp).clip(0, 255)
        return lit.astype(np.uint8)

    # The first half of bob's faces is lit from one side, the second from the other.
    own = [each.array for each in run.caches]
    run.caches[1].array = np.concatenate(
        [relit(own[1][:half], side), relit(own[1][half:], 2 - side)]
    )
    for ramp, first in ((side, True), (2 - side, False)):
        run.caches[0].array = relit(own[0], ramp)
        for old in (run.facesets[0].path / "cache").glob("pseudo_*"):
            old.unlink()
        base = run.tables()[0, 1]["base"]
        assert ((base < half) == first).mean() > 0.95


def test_held_out_faces_are_neither_base_nor_donor(run: Run) -> None:
    run.usable[1] = np.arange(5, 20)
    table = run.tables()[0, 1]
    assert set(table["base"].tolist()) <= set(range(5, 20))


def test_a_mouth_that_is_never_shut_gives_shut_ones_no_target(tmp_path: Path) -> None:
    gaping = np.array([0.2, 0.21, 0.19, 0.22] * 6)
    run = Run(film(tmp_path, "alice", ALICE, TALK), film(tmp_path, "bob", BOB, gaping))
    run.rests[1] = run.rests[0].copy()  # what rest would be is known from elsewhere
    table = run.tables()[0, 1]
    shut = signals(run.shapes[0].landmarks)[:, OPENING] < 0.1
    assert (table["base"][shut] < 0).mean() > 0.9
    assert "lips are never that closed" in describe_pseudo_targets(table)


def test_people_whose_poses_never_meet_have_none(run: Run) -> None:
    turn = np.radians(70)
    away = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    run.shapes[0].rotation[:] = away @ run.shapes[0].rotation
    table = run.tables()[0, 1]
    assert (table["base"] == -1).all()
    assert f"{len(TALK)} turned as the identity never is" in describe_pseudo_targets(table)


def test_landmarks_that_jump_have_no_target(tmp_path: Path) -> None:
    alice = film(tmp_path, "alice", ALICE, TALK)
    run = Run(alice, film(tmp_path, "bob", BOB, np.tile(SHUT, 3)))
    shapes = run.shapes[0]
    shapes.front[7, 48:68, 0] += 0.9
    table = run.tables()[0, 1]
    assert table["base"][7] == -1
    assert (np.delete(table["base"], 7) >= 0).mean() > 0.9
    assert "of the others 1 " in describe_pseudo_targets(table)


def test_confidence_falls_with_the_distance_and_a_smaller_reach_leaves_more_out(run: Run) -> None:
    far, near = run.tables()[0, 1], run.tables(move=0.02)[0, 1]
    made = far["base"] >= 0
    assert np.corrcoef(far["move"][made], far["confidence"][made])[0, 1] < -0.5
    assert (near["base"] >= 0).sum() < made.sum()
    assert (near["confidence"] <= far["confidence"] + 1e-6).all()


def test_they_are_made_once_and_found_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run.tables()
    monkeypatch.setattr("swapper.data.pseudo_recipes.RecipeMaker.make", None)
    again = run.tables()
    for pair, table in first.items():
        assert table.tobytes() == again[pair].tobytes()
        assert table.dtype == ROW
        assert not table.flags.writeable


def test_another_setting_another_face_or_another_split_makes_them_anew(run: Run) -> None:
    run.tables()
    folder = run.facesets[0].path / "cache"
    assert len(list(folder.glob("pseudo_bob_*.npy"))) == 1
    run.tables(move=0.2)
    run.usable[0] = run.usable[0][1:]
    run.tables()
    (run.facesets[1].path / "images" / run.facesets[1].records[0].image).unlink()
    thinner = Run(run.facesets[0], Faceset.open(run.facesets[1].path))
    thinner.tables()
    assert len(list(folder.glob("pseudo_bob_*.npy"))) == 4
    for move in (0.1, 0.15):  # the newest four are kept
        run.tables(move=move)
    assert len(list(folder.glob("pseudo_bob_*.npy"))) == 4


@pytest.mark.parametrize("where", ["header", "middle", "short", "base", "nan"])
def test_a_damaged_table_is_made_anew(run: Run, where: str) -> None:
    whole = run.tables()[0, 1].tobytes()
    (path,) = (run.facesets[0].path / "cache").glob("pseudo_bob_*.npy")
    data = bytearray(path.read_bytes())
    if where == "header":
        data[:8] = b"garbage!"
    elif where == "short":
        data = data[:-100]
    else:
        table = np.load(path).copy()
        if where == "base":
            table["base"][3] = 10_000
        elif where == "nan":
            table["flow"][3, 0, 0] = np.nan
        else:
            table["donor"][3] = 9_999
        np.save(path, table)
        data = bytearray(path.read_bytes())
    path.write_bytes(bytes(data))
    assert run.tables()[0, 1].tobytes() == whole


def test_parts_of_a_killed_making_are_used(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swapper.data.pseudo_targets._PART", 8)
    whole = run.tables()[0, 1].tobytes()
    folder = run.facesets[0].path / "cache"
    (path,) = folder.glob("pseudo_bob_*.npy")
    table = np.load(path)
    path.unlink()
    for first in (0, 8):  # two parts had been written, and half of a third
        part = folder / f".{path.stem}.{first:08d}.partial"
        part.write_bytes(table[first : first + 8].tobytes())
    (folder / f".{path.stem}.{16:08d}.partial").write_bytes(table[16:19].tobytes())
    made: list[int] = []
    make = RecipeMaker.make

    def count(maker: RecipeMaker, faces: NDArray[np.int64]) -> Table:
        made.extend(faces.tolist())
        return make(maker, faces)

    monkeypatch.setattr(RecipeMaker, "make", count)
    assert run.tables()[0, 1].tobytes() == whole
    assert sorted(each for each in made if each < len(TALK)) == list(range(16, len(TALK)))
    assert not list(folder.glob("*.partial"))


def test_a_full_disk_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("swapper.data.pseudo_targets.replacing", full)
    with pytest.raises(FacesetError, match=r"pseudo-targets .*No space left"):
        run.tables()


def test_what_has_none_is_counted_by_reason(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        table = run.tables(move=0.01)[0, 1]
    line = next(each for each in caplog.messages if each.startswith("alice as bob"))
    made = int((table["base"] >= 0).sum())
    assert f"{made} of {len(TALK)} faces" in line
    assert f"{len(TALK) - made} too far" in line


def dataset(run: Run, tables: dict[tuple[int, int], Table], **settings: object) -> StepDataset:
    return StepDataset(
        run.caches,
        run.usable,
        Augment(),
        [np.zeros((len(each), 0), np.float32) for each in run.caches],
        samplers=[FaceSampler(0, n, len(each), 4) for n, each in enumerate(run.caches)],
        resolution=48,
        pseudo=PseudoSamples(tables),
        **settings,  # type: ignore[arg-type]
    )


def test_a_batch_draws_the_same_targets_with_and_without_resident_faces(run: Run) -> None:
    tables = run.tables()
    brought, staying = dataset(run, tables)[3], dataset(run, tables, resident=True)[3]
    from dataclasses import replace

    import torch

    staying = replace(staying, faces=resident_faces(run.caches, torch.device("cpu")))
    assert torch.equal(pseudo_targets(brought, 48), pseudo_targets(staying, 48))
    for ours, theirs in zip(
        warped_and_target(brought, 48), warped_and_target(staying, 48), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_pseudo_targets_change_no_other_draw(run: Run) -> None:
    import torch

    tables = run.tables()
    with_them = dataset(run, tables)
    without = dataset(run, tables)
    without.pseudo = None
    for step in (0, 5):
        a, b = with_them[step], without[step]
        for ours, theirs in zip(warped_and_target(a, 48), warped_and_target(b, 48), strict=True):
            assert torch.equal(ours, theirs)


def test_a_target_shares_the_affine_of_its_sample(run: Run) -> None:
    tables = run.tables()
    batch = dataset(run, tables)[2]
    assert batch.pseudo is not None
    straight = draw_rows(run.caches, (0, 1), tables[0, 1], np.arange(4), 48)
    assert pseudo_targets(batch, 48).shape == (8, 5, 48, 48)
    assert straight.shape == (4, 5, 48, 48)
    sample = int(batch.pseudo.sample[0])
    moved = batch.faces_from_target[sample].numpy()
    centre = moved @ np.array([23.5, 23.5, 1.0])
    # The face mask's middle moves with the sample's own.
    _, target = warped_and_target(batch, 48)
    ours, own = pseudo_targets(batch, 48)[0, 3].numpy(), target[sample, 3].numpy()
    places = [np.argwhere(each > 0.5).mean(axis=0) for each in (ours, own)]
    assert np.abs(places[0] - places[1]).max() < 3
    assert np.isfinite(centre).all()


def test_performers_take_turns_as_each_other_identity() -> None:
    assert [swapped_as(step, 2)[0] for step in range(3)] == [1, 1, 1]
    turns = np.array([swapped_as(step, 4) for step in range(3)])
    for who in range(4):
        assert set(turns[:, who].tolist()) == set(range(4)) - {who}
    for step in range(3):
        assert sorted(turns[step].tolist()) == [0, 1, 2, 3]


def test_a_share_of_the_faces_is_swapped(run: Run) -> None:
    tables = run.tables()
    some = dataset(run, tables)
    some.pseudo = PseudoSamples(tables, faces=0.5)
    batch = some[0]
    assert batch.pseudo is not None
    assert batch.pseudo.sample.tolist() == [0, 1, 4, 5]
    assert pseudo_targets(batch, 48).shape[0] == 4


@pytest.mark.parametrize(
    "wrong", [{"weight": -1}, {"faces": 0}, {"resolution": 1}, {"move": 0}, {"pose_share": 2}]
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be between"):
        PseudoTargets(**wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_kill_in_the_middle_leaves_a_faceset_that_goes_on(tmp_path: Path) -> None:
    film(tmp_path, "alice", ALICE, np.tile(TALK, 8))
    film(tmp_path, "bob", BOB, np.tile(SHUT, 3))
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "import swapper.data.pseudo_targets as m; m._PART = 16\n"
        "from swapper.facesets.faceset import Faceset\n"
        "from tests.data.test_pseudo_targets import Run\n"
        "f = Path(sys.argv[1])\n"
        "Run(Faceset.open(f / 'alice'), Faceset.open(f / 'bob')).tables()\n"
    )
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(root)])
    cache = tmp_path / "alice" / "cache"
    deadline = time.monotonic() + 120
    while not list(cache.glob(".pseudo_*.partial")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    run = Run(Faceset.open(tmp_path / "alice"), Faceset.open(tmp_path / "bob"))
    assert len(run.tables()[0, 1]) == 8 * len(TALK)
