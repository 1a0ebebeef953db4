"""A direction that holds for other people passes; chance, people, pose and light do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from swapper.affect.concept_fit import FIGURES, Examples, fit_concept
from swapper.affect.concepts import Concept

DIM = 64
LINEAGE = f"made-up:{'0' * 64}"
PEOPLE = tuple(f"person{index}" for index in range(8))
RANDOM = np.random.default_rng(7)
TRUTH = np.eye(DIM)[0] * 3.0
YAW, LIGHT = np.eye(DIM)[1] * 0.2, np.eye(DIM)[2] * 20.0
"""What a degree of yaw, and full brightness, do to the embedding."""
WHO = {name: RANDOM.normal(0, 2, DIM) for name in (*PEOPLE, *(f"other{i}" for i in range(8)))}


def faces(
    seed: int,
    amount: float,
    people: Sequence[str] = PEOPLE,
    each: int = 5,
    yaw: float = 0.0,
    light: float = 0.5,
) -> Examples:
    """Embeddings of a person's look, `amount` of the concept, pose, light and noise."""
    random = np.random.default_rng(seed)
    names = [name for name in people for _ in range(each)]
    pose = random.normal((yaw, 0, 0), 8, (len(names), 3))
    bright = (light + random.normal(0, 0.05, len(names))).clip(0, 1)
    embedding = np.stack([WHO[name] for name in names]) + amount * TRUTH
    embedding += pose[:, :1] * YAW + bright[:, None] * LIGHT + random.normal(0, 1, embedding.shape)
    return Examples(embedding.astype(np.float32), names, pose, bright)


def fit(positives: Examples, negatives: Examples) -> Concept:
    return fit_concept("tired", LINEAGE, positives, negatives)


def cosine(concept: Concept, truth: np.ndarray = TRUTH) -> float:
    found = concept.direction
    return float(found @ truth / np.linalg.norm(found) / np.linalg.norm(truth))


def test_a_true_direction_is_found_at_its_length_and_accepted() -> None:
    concept = fit(faces(0, 1.0), faces(1, 0.0))
    assert concept.accepted
    assert concept.verdict == "accepted"
    assert cosine(concept) > 0.8
    assert concept.direction[0] == pytest.approx(3.0, abs=0.3)
    figures = concept.figures
    assert set(figures) == set(FIGURES)
    assert (figures["people"], figures["positives"], figures["negatives"]) == (8, 40, 40)
    assert figures["auc"] > 0.9
    assert figures["cosine"] == pytest.approx(cosine(concept), abs=0.1)


def test_the_same_faces_give_the_same_concept() -> None:
    first, second = (fit(faces(0, 1.0), faces(1, 0.0)) for _ in range(2))
    np.testing.assert_array_equal(first.direction, second.direction)
    assert first.figures == second.figures


def test_every_person_counts_alike() -> None:
    """One person with very many pictures, who shows it otherwise, does not carry the rest."""
    positives, negatives = faces(0, 1.0), faces(1, 0.0)
    crowd = faces(2, 0.0, PEOPLE[:1], each=400)
    shifted = replace(crowd, embedding=crowd.embedding + np.float32(3.0) * np.eye(DIM)[5])
    concept = fit(_joined(positives, shifted), negatives)
    assert cosine(concept) > 0.8
    assert abs(concept.direction[5]) < 1.0


def _joined(first: Examples, second: Examples) -> Examples:
    return Examples(
        np.concatenate([first.embedding, second.embedding]).astype(np.float32),
        [*first.people, *second.people],
        np.concatenate([first.pose, second.pose]),
        np.concatenate([first.light, second.light]),
    )


def test_random_splits_are_rejected() -> None:
    seeds = range(12)
    found = [fit(faces(2 * seed, 0.5), faces(2 * seed + 1, 0.5)) for seed in seeds]
    assert not any(each.accepted for each in found)
    assert all(each.verdict.startswith("rejected: ") for each in found)
    assert np.mean([each.figures["auc"] for each in found]) < 0.65
    assert np.mean([each.figures["cosine"] for each in found]) < 0.3


def test_what_only_tells_people_apart_is_rejected() -> None:
    """The negatives are of other people: nobody can tell the word from who they are."""
    concept = fit(faces(0, 1.0), faces(1, 0.0, [f"other{index}" for index in range(8)]))
    assert not concept.accepted
    assert "0 people are in both folders, 5 are needed" in concept.verdict
    assert concept.figures["auc"] is None
    assert concept.figures["unused"] == 80


def test_people_of_one_set_only_are_left_out() -> None:
    positives = _joined(faces(0, 1.0), faces(3, 1.0, ["other0", "other1"]))
    concept = fit(positives, faces(1, 0.0))
    np.testing.assert_allclose(
        concept.direction, fit(faces(0, 1.0), faces(1, 0.0)).direction, atol=1e-4
    )
    assert concept.figures["unused"] == 10
    assert concept.accepted


def test_a_small_difference_in_pose_is_taken_off() -> None:
    straight = fit(faces(0, 1.0), faces(1, 0.0))
    turned = fit(faces(0, 1.0, yaw=6.0), faces(1, 0.0))
    assert turned.figures["yaw"] - straight.figures["yaw"] == pytest.approx(6.0, abs=0.1)
    # It alone would have moved the direction by 1.2 along what yaw does.
    assert abs(turned.direction[1] - straight.direction[1]) < 0.2
    assert turned.figures["pose_overlap"] > straight.figures["pose_overlap"]


@pytest.mark.parametrize("amount", [0.0, 1.0])
def test_a_large_difference_in_pose_is_rejected(amount: float) -> None:
    concept = fit(faces(0, amount, yaw=25.0), faces(1, 0.0, yaw=-5.0))
    assert not concept.accepted
    assert "pose differs between the folders (yaw by +28 degrees" in concept.verdict


def test_pictures_lit_unlike_are_rejected() -> None:
    concept = fit(faces(0, 1.0, light=0.7), faces(1, 0.0, light=0.4))
    assert not concept.accepted
    assert "brightness differs between the folders (by +0.30" in concept.verdict


@pytest.mark.parametrize(
    ("people", "each", "reason"),
    [(4, 6, "4 people are in both folders"), (6, 3, "18 positives of them, 20 are needed")],
)
def test_too_little_is_rejected_however_clear_it_is(people: int, each: int, reason: str) -> None:
    some = PEOPLE[:people]
    concept = fit(faces(0, 2.0, some, each), faces(1, 0.0, some, each))
    assert not concept.accepted
    assert reason in concept.verdict


def test_unknown_people_cannot_be_checked() -> None:
    concept = fit(faces(0, 1.0, each=5), faces(1, 0.0, each=5))
    nobody = [""] * 40
    unknown = fit(replace(faces(0, 1.0), people=nobody), replace(faces(1, 0.0), people=nobody))
    assert concept.accepted
    assert not unknown.accepted
    assert "cannot be checked on a person left out; sort" in unknown.verdict
    assert unknown.figures["auc"] is None


def test_one_set_twice_has_no_direction() -> None:
    concept = fit(faces(0, 1.0), faces(0, 1.0))
    assert not concept.accepted
    np.testing.assert_allclose(concept.direction, 0, atol=1e-5)
    assert concept.figures["auc"] == pytest.approx(0.5, abs=0.01)


def test_embeddings_of_two_estimators_are_an_error_of_the_caller() -> None:
    other = replace(faces(1, 0.0), embedding=faces(1, 0.0).embedding[:, :10])
    with pytest.raises(ValueError, match="one estimator"):
        fit(faces(0, 1.0), other)
    with pytest.raises(ValueError, match="must be finite"):
        replace(faces(0, 1.0), light=np.full(40, np.nan))
