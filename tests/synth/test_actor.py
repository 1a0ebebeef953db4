from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from swapper.errors import UsageError
from swapper.head_renderer.camera import move_head
from swapper.head_renderer.identity import Identity, sample_identity
from swapper.head_renderer.landmarks import landmark_vertices
from swapper.head_renderer.pose import HeadState, RenderedFrame
from swapper.head_renderer.stage import FilmStock, Stage, sample_stage
from swapper.head_renderer.units import INDEX, LEFT, MIDLINE, RIGHT, UNITS, unit_values
from swapper.synth.actor import Actor

SMILE = unit_values(au6=0.8, au12=0.9, au25=0.8)
BUSY = Stage(film=FilmStock(grain=0.02, softness=0.002, shutter=0.5), distortion=-0.05)


def digest(shot: RenderedFrame) -> str:
    parts = (shot.image, shot.landmarks, shot.face_mask, shot.observed_units)
    return hashlib.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts)).hexdigest()


def psnr(one: np.ndarray, two: np.ndarray) -> float:
    error = ((one.astype(float) - two.astype(float)) ** 2).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def test_drawing_again_gives_the_same_bits(somebody: Actor) -> None:
    state, before = HeadState(units=SMILE, pose=(10.0, -4.0, 3.0)), HeadState(pose=(6.0, 0.0, 0.0))
    first = digest(somebody.render(state, BUSY, 128, before=before, index=7))
    again = Actor(somebody.identity)
    assert digest(again.render(state, BUSY, 128, before=before, index=7)) == first
    with ThreadPoolExecutor(2) as pool:
        side_by_side = pool.map(
            lambda _: digest(somebody.render(state, BUSY, 128, before=before, index=7)), range(4)
        )
        assert set(side_by_side) == {first}


def test_a_self_swap_is_exact(somebody: Actor) -> None:
    """The answer for an identity that is the performer is the performance itself."""
    state = HeadState(units=SMILE, gaze=(8.0, -3.0), pose=(-12.0, 5.0, 2.0))
    twin = Actor(Identity.from_dict(somebody.identity.to_dict()))
    performed = somebody.render(state, BUSY, 128, index=3)
    assert psnr(performed.image, twin.render(state, BUSY, 128, index=3).image) > 60
    other = Actor(sample_identity(48)).render(state, BUSY, 128, index=3)
    assert psnr(performed.image, other.image) < 25


def test_landmarks_are_projections_of_the_mesh(somebody: Actor) -> None:
    """Recomputed here with the pinhole's formula from the posed vertices."""
    state = HeadState(units=SMILE, pose=(20.0, 8.0, -6.0), shift=(9.0, -4.0, 12.0))
    stage, size = Stage(camera_height=7.0, distortion=0.06), 192
    shot = somebody.render(state, stage, size)
    posed = somebody.body.pose(shot.observed_units, state.gaze)
    world = move_head(posed.points, somebody.body.follow, state)
    corners = world[landmark_vertices(somebody.body.grid)]
    down = np.radians(7.0)
    forward = np.array([0.0, np.sin(down), np.cos(down)])
    up = np.array([0.0, np.cos(down), -np.sin(down)])
    offset = corners - np.array([0.0, 2.0, 0.0])
    depth = stage.focal / 36 * 227.0 / stage.framing - offset @ forward
    flat = np.stack([offset[:, 0], -offset @ up], axis=1) / depth[:, None] * stage.focal / 18
    flat *= 1 + 0.06 * (flat**2).sum(axis=1, keepdims=True)
    expected = (size - 1) / 2 + flat * size / 2
    assert np.abs(shot.landmarks - expected).max() < 0.01
    assert np.abs(somebody.landmarks(state, stage, size) - shot.landmarks).max() < 0.01


def test_landmarks_do_not_depend_on_sampling(plain: Actor, stage: Stage) -> None:
    state = HeadState(units=SMILE)
    coarse = plain.render(state, stage, 64, supersample=1)
    fine = plain.render(state, stage, 64, supersample=3)
    np.testing.assert_allclose(coarse.landmarks, fine.landmarks, atol=1e-6)
    assert psnr(coarse.image, fine.image) > 24


def test_pose_turns_the_way_the_trackers_count(plain: Actor, stage: Stage) -> None:
    straight = plain.landmarks(HeadState(), stage, 256)
    right = plain.landmarks(HeadState(pose=(25.0, 0.0, 0.0)), stage, 256)
    up = plain.landmarks(HeadState(pose=(0.0, 20.0, 0.0)), stage, 256)
    tipped = plain.landmarks(HeadState(pose=(0.0, 0.0, 15.0)), stage, 256)
    assert right[30, 0] > straight[30, 0] + 8
    assert up[30, 1] < straight[30, 1] - 4
    assert tipped[27, 0] > straight[27, 0] + 5
    assert tipped[45, 1] > tipped[36, 1]


def test_the_pose_agrees_with_the_aligners_own_solver(plain: Actor, stage: Stage) -> None:
    from swapper.faces.geometry import head_pose

    for pose in ((0.0, 0.0, 0.0), (25.0, 0.0, 0.0), (-18.0, 10.0, 0.0), (0.0, 0.0, 14.0)):
        points = plain.landmarks(HeadState(pose=pose), stage, 256).astype(np.float32)
        found = head_pose(points, (256, 256))
        assert np.abs(np.array(found) - np.array(pose)).max() < 9.0, (pose, found)


def test_the_mask_is_the_visible_face(plain: Actor, stage: Stage) -> None:
    shot = plain.render(HeadState(), stage, 128)
    assert shot.face_mask.dtype == np.float32
    assert shot.face_mask.min() >= 0
    assert shot.face_mask.max() <= 1
    inner = shot.landmarks[17:].mean(axis=0).round().astype(int)
    assert shot.face_mask[inner[1], inner[0]] == 1
    assert shot.face_mask[:20].max() == 0
    assert shot.face_mask[-12:].max() == 0
    box = shot.landmarks.min(axis=0) - 2, shot.landmarks.max(axis=0) + 2
    rows, columns = np.nonzero(shot.face_mask > 0.5)
    assert rows.min() > box[0][1]
    assert rows.max() < box[1][1]
    assert columns.min() > box[0][0]
    assert columns.max() < box[1][0]
    turned = plain.render(HeadState(pose=(80.0, 0.0, 0.0)), stage, 128).face_mask
    assert turned.sum() < 0.75 * shot.face_mask.sum()


@pytest.mark.parametrize(
    ("unit", "points", "moves"),
    [
        (1, (20, 21, 22, 23), (0, -1)),
        (2, (17, 18, 25, 26), (0, -1)),
        (4, (20, 21, 22, 23), (0, 1)),
        (5, (37, 38, 43, 44), (0, -1)),
        (7, (40, 41, 46, 47), (0, -1)),
        (9, (31, 35), (0, -1)),
        (10, (50, 51, 52), (0, -1)),
        (12, (48, 54), (0, -1)),
        (15, (48, 54), (0, 1)),
        (17, (7, 8, 9), (0, -1)),
        (25, (65, 66, 67), (0, 1)),
        (26, (57, 8), (0, 1)),
        (27, (57, 8), (0, 1)),
        (43, (37, 38, 43, 44), (0, 1)),
    ],
)
def test_units_move_what_they_are_named_for(
    plain: Actor, stage: Stage, unit: int, points: tuple[int, ...], moves: tuple[int, int]
) -> None:
    still = plain.landmarks(HeadState(), stage, 256)
    moved = plain.landmarks(HeadState(units=unit_values(**{f"au{unit}": 1.0})), stage, 256)
    along = (moved - still)[list(points)] @ np.array(moves)
    assert (along > 0.4).all(), along


def test_lips_widen_dimple_and_press(plain: Actor, stage: Stage) -> None:
    def mouth(**units: float) -> np.ndarray:
        return plain.landmarks(HeadState(units=unit_values(**units)), stage, 256)

    width = np.ptp(mouth()[[48, 54], 0])
    assert np.ptp(mouth(au20=1.0)[[48, 54], 0]) > width + 4
    assert np.ptp(mouth(au12=1.0)[[48, 54], 0]) > width + 4
    assert np.ptp(mouth(au14=1.0)[[48, 54], 0]) > width + 1
    height = mouth()[57, 1] - mouth()[51, 1]
    for unit in ("au23", "au24"):
        pressed = mouth(**{unit: 1.0})
        assert pressed[57, 1] - pressed[51, 1] < 0.85 * height
    assert not np.allclose(mouth(au6=1.0)[[40, 41]], mouth()[[40, 41]], atol=0.3)


def test_shut_eyes_leave_no_gap_and_hide_the_eyeball(plain: Actor, stage: Stage) -> None:
    shut = plain.render(HeadState(units=unit_values(au43=1.0)), stage, 256)
    gap = shut.landmarks[[41, 40]] - shut.landmarks[[37, 38]]
    assert np.abs(gap).max() < 0.6
    wide = plain.render(HeadState(units=unit_values(au5=1.0)), stage, 256)
    x, y = wide.landmarks[36:42].mean(axis=0).round().astype(int)
    eye = np.s_[y - 3 : y + 4, x - 9 : x + 10]

    def white(shot: RenderedFrame) -> int:
        """Pixels that are bright and nearly without colour, as no skin is."""
        patch = shot.image[eye].astype(float)
        return int(
            ((patch[..., 0] - patch[..., 2] < 0.2 * patch[..., 0]) & (patch[..., 0] > 90)).sum()
        )

    assert white(wide) > 15
    assert white(shut) == 0


def test_the_eyes_look_where_they_are_told(plain: Actor, stage: Stage) -> None:
    def dark(gaze: tuple[float, float]) -> float:
        shot = plain.render(HeadState(units=unit_values(au5=0.6), gaze=gaze), stage, 256)
        left, right = shot.landmarks[36], shot.landmarks[39]
        y = round((left[1] + right[1]) / 2)
        columns = np.arange(int(left[0]) + 3, int(right[0]) - 2)
        darkness = 255.0 - shot.image[y - 1 : y + 2, columns].mean(axis=(0, 2))
        weight = np.maximum(darkness - np.median(darkness), 0)
        return float((weight * columns).sum() / weight.sum())

    assert dark((-22.0, 0.0)) < dark((0.0, 0.0)) - 1.5 < dark((22.0, 0.0)) - 3


def test_manner_shows_the_same_feeling_differently() -> None:
    gain = tuple(0.6 if unit == 12 else 1.0 for unit in UNITS)
    asymmetry = tuple(0.3 if unit == 12 else 0.0 for unit in UNITS)
    lopsided = Actor(Identity(gain=gain, asymmetry=asymmetry), detail=2)
    shown = lopsided.observed_units(HeadState(units=unit_values(au12=0.8, au26=0.5, au43=1.0)))
    np.testing.assert_allclose(shown[LEFT, INDEX[12]], 0.8 * 0.6 * 1.3, rtol=1e-5)
    np.testing.assert_allclose(shown[RIGHT, INDEX[12]], 0.8 * 0.6 * 0.7, rtol=1e-5)
    assert (shown[:, INDEX[43]] == 1).all()
    one_sided = lopsided.observed_units(HeadState(units=unit_values(au26_left=1.0)))
    assert 26 in MIDLINE
    assert one_sided[LEFT, INDEX[26]] == one_sided[RIGHT, INDEX[26]] == 0.5


def test_film_and_motion_change_the_picture_and_nothing_else(somebody: Actor) -> None:
    state, before = HeadState(pose=(10.0, 0.0, 0.0)), HeadState(pose=(0.0, 0.0, 0.0))
    clean = somebody.render(state, Stage(film=FilmStock(vignette=0.0)), 96)
    for film in (FilmStock(grain=0.05), FilmStock(softness=0.01), FilmStock(vignette=0.8)):
        shot = somebody.render(state, Stage(film=film), 96)
        assert psnr(shot.image, clean.image) < 45
        np.testing.assert_array_equal(shot.landmarks, clean.landmarks)
        np.testing.assert_array_equal(shot.face_mask, clean.face_mask)
    shutter = Stage(film=FilmStock(shutter=1.0, vignette=0.0))
    smeared = somebody.render(state, shutter, 96, before=before)
    assert psnr(smeared.image, clean.image) < 35
    still = somebody.render(state, shutter, 96, before=state)
    np.testing.assert_array_equal(still.image, clean.image)
    grain = Stage(film=FilmStock(grain=0.05))
    assert (somebody.render(state, grain, 96, index=1).image
            != somebody.render(state, grain, 96, index=2).image).any()  # fmt: skip


def test_light_and_shadow(plain: Actor) -> None:
    def cheeks(**values: float) -> tuple[float, float]:
        shot = plain.render(HeadState(), Stage(film=FilmStock(vignette=0.0), **values), 128)
        left, right = shot.landmarks[[3, 31]].mean(axis=0), shot.landmarks[[13, 35]].mean(axis=0)
        return tuple(
            float(shot.image[int(y) - 2 : int(y) + 3, int(x) - 2 : int(x) + 3].mean())
            for x, y in (left, right)
        )

    left, right = cheeks(key_azimuth=60.0)
    assert right > left + 20
    left, right = cheeks(key_azimuth=-60.0)
    assert left > right + 20
    dim, bright = cheeks(exposure=-1.0), cheeks(exposure=0.5)
    assert min(bright) > max(dim)


def test_two_people_differ_at_a_glance(stage: Stage) -> None:
    pictures = [
        Actor(sample_identity(seed), detail=2).render(HeadState(), stage, 64).image
        for seed in range(6)
    ]
    for i, one in enumerate(pictures):
        for two in pictures[i + 1 :]:
            assert psnr(one, two) < 24


def test_sizes_out_of_range_are_refused(plain: Actor, stage: Stage) -> None:
    with pytest.raises(UsageError, match=r"size=8: .*16 to 2048"):
        plain.render(HeadState(), stage, 8)
    with pytest.raises(UsageError, match=r"supersample=9: .*1 to 4"):
        plain.render(HeadState(), stage, 64, supersample=9)


@pytest.mark.slow
def test_real_face_tools_see_them_as_faces(shared: Path) -> None:
    """At least 95 % of frontal frames, and the landmarks where ours are."""
    pytest.importorskip("mediapipe", reason="needs the mediapipe extra")
    from swapper.faces.mediapipe import MediapipeAligner

    expressions = (
        {}, {"au12": 0.9, "au6": 0.8, "au25": 0.8}, {"au43": 1.0},
        {"au1": 1.0, "au2": 1.0, "au5": 1.0, "au26": 1.0}, {"au4": 1.0, "au7": 0.6, "au23": 0.8},
    )  # fmt: skip
    aligner = MediapipeAligner(model=str(shared / "weights" / "face_landmarker.task"))
    found, errors, index = 0, [], 0
    for seed in range(8):
        actor = Actor(sample_identity(100 + seed))
        for units in expressions:
            shot = actor.render(HeadState(units=unit_values(**units)), sample_stage(seed), 192)
            faces = aligner(_Frame(shot.image, index))
            index += 1
            found += bool(faces)
            if faces:
                apart = np.linalg.norm(shot.landmarks[36] - shot.landmarks[45])
                off = np.linalg.norm(faces[0].landmarks - shot.landmarks, axis=1) / apart
                errors.append(off[17:].mean())
    aligner.close()
    assert found >= 0.95 * index
    assert np.mean(errors) < 0.06


class _Frame:
    def __init__(self, image: np.ndarray, index: int) -> None:
        self.image, self.index, self.time, self.pts = image, index, index / 25, index
