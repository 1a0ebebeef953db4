"""Somebody's face at rest: found among talk, the same from any part of it, guessed where absent."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.affect.neutral import (
    Neutral,
    calmness,
    find_neutrals,
    most_at_rest,
    neutral_embedding,
)
from swapper.faces.mediapipe import MESH_OF_LANDMARK
from swapper.faces.shape import (
    MEAN_FACE,
    SIGNALS,
    Shapes,
    aligned_landmarks,
    landmarks_of,
    signals,
)
from swapper.types import Readings
from tests.affect.talkers import (
    LOWER_LIP,
    Talker,
    anatomy,
    filmed,
    talker,
    talking,
    with_shut_eyes,
)

Floats = NDArray[np.float64]

GOOD = 0.02
"""Eye distances within which a rest must be known."""
PEOPLE = range(4)
OPENING, JAW = SIGNALS.index("mouth_opening"), SIGNALS.index("jaw")
BROWS = [SIGNALS.index("brow_left"), SIGNALS.index("brow_right")]
LIDS = [SIGNALS.index("lid_left"), SIGNALS.index("lid_right")]

someone = cache(talker)


def rest_of(shapes: Shapes, **others: Shapes) -> Neutral:
    """The rest of one person, found together with others."""
    return find_neutrals({"one": shapes, **others})["one"]


def apart(one: Floats, other: Floats) -> float:
    """Mean distance of the landmarks of two faces (P, 3), as they look from the front."""
    difference = landmarks_of(one)[:, :2] - landmarks_of(other)[:, :2]
    return float(np.linalg.norm(difference, axis=1).mean())


def at_rest(person: Talker) -> Floats:
    """(8,) signals of what is to be found."""
    return np.asarray(signals(landmarks_of(person.truth)[None])[0])


def furthest_parts(shapes: Shapes, parts: int, draws: int) -> float:
    """How far rests of random parts of the same footage are from each other at most."""
    random = np.random.default_rng(0)
    furthest = 0.0
    for _ in range(draws):
        rows = np.array_split(random.permutation(len(shapes)), parts)
        rests = [rest_of(shapes.take(np.sort(each))).shape for each in rows]
        furthest = max(furthest, *(apart(a, b) for a in rests for b in rests))
    return furthest


# --- what is found --------------------------------------------------------------------------------


@pytest.mark.parametrize("mesh", [False, True])
@pytest.mark.parametrize("who", PEOPLE)
def test_rest_is_found_among_talk_smiles_blinks_and_turned_heads(who: int, mesh: bool) -> None:
    person = someone(who, mesh=mesh)
    neutral = rest_of(person.shapes)
    assert neutral.missing == ()
    assert apart(neutral.shape, person.truth) < GOOD / 2
    assert neutral.signals[OPENING] == pytest.approx(at_rest(person)[OPENING], abs=0.01)
    assert neutral.uncertainty < GOOD


def test_a_few_closed_moments_between_words_are_enough() -> None:
    for who in PEOPLE:
        rest = anatomy(who)
        person = filmed(talking(rest, 600, who, pauses=0.04), rest, who)
        neutral = rest_of(person.shapes)
        assert neutral.missing == ()
        assert apart(neutral.shape, person.truth) < GOOD


def test_of_short_footage_a_third_is_enough() -> None:
    rest = anatomy(0)
    faces = rest + np.random.default_rng(0).normal(0, 0.002, (42, 68, 3))
    faces[:28, LOWER_LIP, 1] += 0.1
    person = filmed(faces, rest, 0)
    assert rest_of(person.shapes).signals[OPENING] < at_rest(person)[OPENING] + 0.01


def test_what_counts_adds_up_to_one_and_to_the_shape() -> None:
    shapes = someone(0).shapes
    neutral = rest_of(shapes)
    assert neutral.weights.shape == (len(shapes),)
    assert neutral.weights.sum() == pytest.approx(1)
    assert (neutral.weights >= 0).all()
    whole = np.einsum("n,npd->pd", neutral.weights, shapes.front)
    np.testing.assert_allclose(neutral.shape, whole, atol=1e-12)


def test_open_mouths_and_shut_eyes_do_not_count() -> None:
    shapes = someone(0).shapes
    seen, weights = signals(shapes.landmarks), rest_of(shapes).weights
    assert weights[seen[:, OPENING] > 0.08].sum() < 1e-3
    assert weights[seen[:, LIDS].mean(axis=1) < 0.03].sum() < 0.03


@pytest.mark.parametrize(
    ("brows", "share"), [(slice(17, 27), 0.5), (slice(17, 22), 0.75), (slice(22, 27), 0.75)]
)
def test_brows_are_low_and_level_at_rest_however_often_they_rise(
    brows: slice, share: float
) -> None:
    for who in PEOPLE:
        rest = anatomy(who)
        faces = talking(rest, 600, who)
        raised = np.random.default_rng(who).random(600) < share
        faces[:, brows, 1] -= 0.06 * raised[:, None]
        person = filmed(faces, rest, who)
        found = rest_of(person.shapes).signals
        np.testing.assert_allclose(found[BROWS], at_rest(person)[BROWS], atol=0.012)


def test_a_grin_that_is_held_most_of_the_time_is_not_rest() -> None:
    for who in PEOPLE:
        rest = anatomy(who)
        faces = talking(rest, 600, who)
        grins = np.random.default_rng(who).random(600) < 0.65
        faces[:, [48, 60], 0] -= 0.11 * grins[:, None]
        faces[:, [54, 64], 0] += 0.11 * grins[:, None]
        person = filmed(faces, rest, who)
        found = rest_of(person.shapes).signals - at_rest(person)
        assert abs(found[SIGNALS.index("mouth_width")]) < 0.05


def test_the_mouth_that_the_footage_shows_most_is_the_one_at_rest() -> None:
    rest = anatomy(1)
    corners = [48, 54, 60, 64]
    faces = talking(rest, 600, 1)
    sulking = np.random.default_rng(0).random(600) < 0.35
    faces[:, corners, 1] += 0.08 * sulking[:, None]
    person = filmed(faces, rest, 1)
    found = rest_of(person.shapes).signals - at_rest(person)
    assert abs(found[SIGNALS.index("mouth_corners")]) < 0.02


def test_others_do_not_change_a_rest_that_is_shown() -> None:
    alone = rest_of(someone(0).shapes)
    together = rest_of(someone(0).shapes, two=someone(1).shapes)
    np.testing.assert_array_equal(alone.shape, together.shape)


# --- how sure it is -------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("who", PEOPLE)
def test_any_half_or_quarter_of_talk_has_the_same_rest(who: int, parts: int) -> None:
    assert furthest_parts(someone(who).shapes, parts, draws=3) < GOOD


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("clip", ["a", "b", "c"])
def test_any_half_or_quarter_of_a_real_clip_has_the_same_rest(
    shared: Path, clip: str, parts: int
) -> None:
    table = np.genfromtxt(shared / f"real/clip_{clip}.openface.csv", delimiter=",", skip_header=1)
    frames = np.stack([table[:, 5:73], table[:, 73:141]], axis=2)
    shapes = Shapes.of(aligned_landmarks(frames))
    assert rest_of(shapes).missing == ()
    assert furthest_parts(shapes, parts, draws=5) < GOOD


def test_short_footage_is_less_sure() -> None:
    short, long = (
        np.mean([rest_of(talker(who, count).shapes).uncertainty for who in PEOPLE])
        for count in (60, 1500)
    )
    assert short > 2 * long > 0


def test_a_rest_seen_in_one_stretch_only_is_not_sure() -> None:
    rest = anatomy(3)
    faces = np.repeat(rest[None], 400, axis=0)
    faces[:, LOWER_LIP, 1] += 0.15
    faces[100:150] = rest
    faces += np.random.default_rng(0).normal(0, 0.002, faces.shape)
    neutral = rest_of(filmed(faces, rest, 3).shapes)
    assert neutral.signals[OPENING] < 0.03
    assert neutral.uncertainty > GOOD


@pytest.mark.parametrize("mesh", [False, True])
@pytest.mark.parametrize("spread", [0.05, 0.5])
def test_misread_faces_hardly_move_the_rest(spread: float, mesh: bool) -> None:
    points = someone(2, mesh=mesh).points
    spoilt = points.copy()
    random = np.random.default_rng(0)
    rows = random.choice(len(points), 8, replace=False)
    spoilt[rows] += random.normal(0, spread, spoilt[rows].shape)
    spoilt[rows[:3], :, :2] += random.normal(0, 1, (3, 1, 2))
    clean, found = rest_of(Shapes.of(points)), rest_of(Shapes.of(spoilt))
    assert apart(found.shape, clean.shape) < 0.01


def test_one_expression_of_twenty_faces_is_the_rest() -> None:
    rest = anatomy(1)
    worried = rest.copy()
    worried[17:27, 1] -= 0.05
    faces = worried + np.random.default_rng(0).normal(0, 0.002, (20, 68, 3))
    person = filmed(faces, worried, 1)
    neutral = rest_of(person.shapes)
    assert apart(neutral.shape, person.truth) < 0.005
    assert 0 < neutral.uncertainty < GOOD


def test_a_single_face_is_its_own_rest_and_nothing_is_known_of_it() -> None:
    shapes = Shapes.of(MEAN_FACE[None, :, :2])
    neutral = rest_of(shapes)
    np.testing.assert_allclose(neutral.shape, shapes.front[0], atol=1e-12)
    assert neutral.uncertainty == float("inf")


def test_it_says_how_sure_it_is_and_what_it_guessed() -> None:
    shape, weights = np.zeros((68, 3)), np.ones(1)
    assert (
        Neutral(shape, weights, 0.0123).describe()
        == "neutral has a standard error of 0.012 eye distances"
    )
    assert Neutral(shape, weights, 0.0123, ("closed lips", "open eyes")).describe() == (
        "neutral has a standard error of 0.012 eye distances; the footage never shows closed "
        "lips or open eyes, so that is extrapolated"
    )


# --- what is never shown --------------------------------------------------------------------------


def agape(who: int, *, mesh: bool = False) -> Talker:
    return someone(who, mesh=mesh, least_opening=0.15)


def asleep(who: int, *, mesh: bool = False) -> Talker:
    rest = anatomy(who)
    return filmed(talking(with_shut_eyes(rest), 400, who), rest, who, mesh=mesh)


@pytest.mark.parametrize("mesh", [False, True])
@pytest.mark.parametrize("company", [False, True])
def test_lips_that_never_meet_are_shut_by_a_guess(company: bool, mesh: bool) -> None:
    for who in (0, 1):
        person = agape(who, mesh=mesh)
        others = {"two": someone(who + 1, mesh=mesh).shapes} if company else {}
        neutral = rest_of(person.shapes, **others)
        assert neutral.missing == ("closed lips",)
        assert neutral.signals[OPENING] == pytest.approx(0.01, abs=0.015)
        assert neutral.signals[JAW] == pytest.approx(at_rest(person)[JAW], abs=0.02)
        assert apart(neutral.shape, person.truth) < GOOD


@pytest.mark.parametrize("mesh", [False, True])
@pytest.mark.parametrize("company", [False, True])
def test_eyes_that_never_open_are_opened_by_a_guess(company: bool, mesh: bool) -> None:
    for who in (0, 1):
        person = asleep(who, mesh=mesh)
        others = {"two": someone(who + 1, mesh=mesh).shapes} if company else {}
        neutral = rest_of(person.shapes, **others)
        assert neutral.missing == ("open eyes",)
        np.testing.assert_allclose(neutral.signals[LIDS], at_rest(person)[LIDS], atol=0.015)
        assert apart(neutral.shape, person.truth) < GOOD


def test_both_can_be_missing() -> None:
    rest = anatomy(0)
    faces = talking(with_shut_eyes(rest), 400, 0, least_opening=0.15)
    person = filmed(faces, rest, 0)
    neutral = rest_of(person.shapes)
    assert neutral.missing == ("closed lips", "open eyes")
    assert apart(neutral.shape, person.truth) < GOOD


def test_a_guess_moves_what_moves_on_others() -> None:
    rest = anatomy(1)
    upper = [49, 50, 51, 52, 53, 61, 62, 63]
    faces = np.repeat(rest[None], 400, axis=0)
    opening = np.abs(np.random.default_rng(0).normal(0, 0.1, 400)).clip(0, 0.3)
    faces[:, upper, 1] -= opening[:, None]
    sneering = filmed(faces, rest, 1).shapes
    person = agape(0)
    shown = np.median(person.shapes.front, axis=0)
    moved = rest_of(person.shapes, two=sneering).shape - shown
    assert moved[[61, 62, 63], 1].min() > 0.1
    assert np.abs(moved[[65, 66, 67], 1]).max() < 0.05


def test_a_guess_takes_the_level_of_others() -> None:
    rest = anatomy(1)
    rest[[37, 38], 1] -= 0.08
    staring = filmed(talking(rest, 400, 1), rest, 1)
    levels = rest_of(asleep(0).shapes, two=staring.shapes).signals[LIDS]
    assert levels.mean() == pytest.approx(at_rest(staring)[LIDS].mean(), abs=0.01)


def test_a_guess_moves_the_skin_beside_what_moves() -> None:
    shapes = agape(0, mesh=True).shapes
    neutral = rest_of(shapes)
    shown = np.einsum("n,npd->pd", neutral.weights, shapes.front)
    moved = (neutral.shape - shown)[:, 1]
    skin = np.setdiff1d(np.arange(len(shown)), MESH_OF_LANDMARK)
    away = np.linalg.norm(shown[skin, None, :2] - landmarks_of(shown)[None, :, :2], axis=2)
    lip, brows = (
        skin[(away.min(axis=1) < 0.1) & np.isin(away.argmin(axis=1), points)]
        for points in ([56, 57, 58], [*range(17, 27)])
    )
    assert len(lip) >= 2
    assert len(brows) >= 2
    amount = moved[MESH_OF_LANDMARK[57]]
    assert amount < -0.1
    assert moved[lip] == pytest.approx(amount, rel=0.1)
    assert moved[brows] == pytest.approx(0, abs=0.01)


def test_who_lacks_the_same_is_no_help() -> None:
    alone = rest_of(agape(0).shapes)
    together = rest_of(agape(0).shapes, two=agape(1).shapes)
    np.testing.assert_array_equal(together.shape, alone.shape)


def test_who_never_moves_tells_the_level_but_not_the_way() -> None:
    rest = anatomy(1)
    still = rest + np.random.default_rng(0).normal(0, 0.002, (400, 68, 3))
    person = agape(0)
    neutral = rest_of(person.shapes, two=filmed(still, rest, 1).shapes)
    assert neutral.signals[OPENING] == pytest.approx(signals(rest[None])[0, OPENING], abs=0.01)
    assert apart(neutral.shape, person.truth) < GOOD


# --- embeddings -----------------------------------------------------------------------------------


def readings(count: int, **told: NDArray[np.float32]) -> Readings:
    """Of faces whose embedding is their number."""
    labels = ("angry", "neutral") if "probabilities" in told else ()
    embedding = np.arange(count, dtype=np.float32)[:, None].repeat(2, axis=1)
    return Readings("test:00", labels, (), embedding, **told)


@pytest.mark.parametrize(("count", "most"), [(10, 10), (100, 20), (1000, 50)])
def test_the_embedding_at_rest_is_the_median_of_those_most_at_rest(count: int, most: int) -> None:
    rest = np.zeros(count)
    rest[-most:] = np.linspace(1, 2, most) / most
    found = neutral_embedding(readings(count), rest)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.arange(count)[-most:].mean())


def test_an_outlier_among_those_at_rest_does_not_move_the_embedding() -> None:
    read = readings(100)
    read.embedding[99] = 1e6
    np.testing.assert_array_equal(neutral_embedding(read, np.arange(100.0)), 89.5)


def test_where_it_is_read_calm_decides_between_shapes_alike() -> None:
    calm = np.zeros((100, 2), np.float32)
    calm[30:50, 1] = 1
    rest = np.full(100, 0.01)
    np.testing.assert_array_equal(neutral_embedding(readings(100, probabilities=calm), rest), 39.5)
    arousal = np.where(calm[:, 1] > 0, 0.0, 0.9).astype(np.float32)
    np.testing.assert_array_equal(neutral_embedding(readings(100, arousal=arousal), rest), 39.5)


def test_calm_decides_alone_where_no_shape_is_at_rest() -> None:
    arousal = np.where(np.arange(100) < 20, 0, -0.9).astype(np.float32)
    found = neutral_embedding(readings(100, arousal=arousal[::-1].copy()), np.zeros(100))
    np.testing.assert_array_equal(found, 89.5)


def test_faces_most_at_rest_come_first_and_ties_keep_their_order() -> None:
    rest = np.arange(400) % 2 / 10
    order = [*range(1, 400, 2), *range(0, 400, 2)]
    np.testing.assert_array_equal(most_at_rest(readings(400), rest), order)


def test_calmness_is_the_neutral_class_times_quiet() -> None:
    neutral = np.array([[0.8, 0.2], [0.5, 0.5]], np.float32)
    arousal = np.array([-1.0, 0.5], np.float32)
    read = readings(2, probabilities=neutral, arousal=arousal)
    np.testing.assert_allclose(calmness(read), [0.2 * np.exp(-1), 0.5 * np.exp(-0.5)], rtol=1e-6)
    np.testing.assert_array_equal(calmness(readings(2)), 1)
    mute = Readings("test:00", ("angry", "happy"), (), read.embedding, probabilities=neutral)
    np.testing.assert_array_equal(calmness(mute), 1)
