"""Whose face appears: a swap between performer and identity; in how many frames nearer whom."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from swapper.errors import UsageError
from swapper.evaluation.likeness import IdentityFaces, identity_faces, likeness_group
from swapper.faces.recognition import COSINE, EUCLIDEAN, FaceMeasure
from swapper.options.verbs import EvaluateOptions
from swapper.report.content import Measure, normalised_score

PERFORMER, IDENTITY = np.array([1.0, 0.0, 0.2]), np.array([0.0, 1.0, 0.2])


class Somebody:
    """Stands for a recogniser."""

    name, lineage, licence = "somebody", "somebody:0", "of this test"

    def __init__(self, measure: FaceMeasure) -> None:
        self.measure = measure
        self.prepared = ""

    def prepare(self, device: object = "cpu") -> None:
        self.prepared = str(device)


def about(middle: np.ndarray[Any, Any], seed: int, frames: int = 20) -> np.ndarray[Any, Any]:
    return middle + 0.05 * np.random.default_rng(seed).normal(size=(frames, 3))


def rows(
    measure: FaceMeasure, swap: np.ndarray[Any, Any], named: bool = True
) -> dict[str, Measure]:
    performer = about(PERFORMER, 0)
    performer[3] = np.nan  # a frame without a face
    own = IdentityFaces(Somebody(measure))  # type: ignore[arg-type]
    if named:
        own = replace(own, identity="bob", embeddings=about(IDENTITY, 1).astype(np.float32))
    sides: Any = SimpleNamespace(
        swap=SimpleNamespace(embedding=swap), performer=SimpleNamespace(embedding=performer)
    )
    group = likeness_group(sides, own)
    assert (group.title, group.instrument) == ("Identity", "somebody")
    return {each.name: each for each in group.measures}


@pytest.mark.parametrize("measure", [COSINE, EUCLIDEAN], ids=lambda measure: measure.kind)
def test_a_swap_lies_between_the_performer_and_the_identity(measure: FaceMeasure) -> None:
    found = rows(measure, about(0.3 * PERFORMER + 0.7 * IDENTITY, 2))
    identity, performer, nearer = found.values()
    assert list(found) == [
        f"identity_{measure.key}", f"performer_{measure.key}", "nearer_identity",
    ]  # fmt: skip
    assert identity.title == f"{measure.title} to bob ({measure.kind})"
    assert performer.title == f"{measure.title} to the performer ({measure.kind})"
    assert identity.better == measure.nearer
    assert {identity.better, performer.better} == {"higher", "lower"}
    for each in (identity, performer):
        assert 0 < normalised_score(each) < 1
    assert (nearer.floor, nearer.value, nearer.ceiling) == (0, 1, 1)
    assert nearer.title == "Frames nearer bob than the performer"


@pytest.mark.parametrize("measure", [COSINE, EUCLIDEAN], ids=lambda measure: measure.kind)
def test_whose_face_it_is_puts_it_at_the_floor_or_at_the_ceiling(measure: FaceMeasure) -> None:
    for who, place in ((PERFORMER, 0), (IDENTITY, 1)):
        for each in rows(measure, about(who, 3)).values():
            assert normalised_score(each) == pytest.approx(place, abs=0.1)


def test_half_a_swap_is_told_by_frames() -> None:
    swap = np.concatenate([about(PERFORMER, 4, 15), about(IDENTITY, 5, 5), np.full((4, 3), np.nan)])
    assert rows(EUCLIDEAN, swap)["nearer_identity"].value == 0.25


def test_without_an_identity_the_performer_alone_is_told() -> None:
    (only,) = rows(EUCLIDEAN, about(IDENTITY, 6), named=False).values()
    assert only.name == "performer_distance"
    assert only.better == "higher"
    assert only.value > 1 > only.floor > 0
    assert np.isnan(only.ceiling)


def test_one_face_of_an_identity_has_no_ceiling_of_its_own() -> None:
    own = IdentityFaces(Somebody(EUCLIDEAN), "bob", IDENTITY[None].astype(np.float32))  # type: ignore[arg-type]
    sides: Any = SimpleNamespace(
        swap=SimpleNamespace(embedding=about(IDENTITY, 2)),
        performer=SimpleNamespace(embedding=about(PERFORMER, 0)),
    )
    identity, performer, nearer = likeness_group(sides, own).measures
    assert np.isnan(identity.ceiling)
    assert performer.ceiling > 1
    assert nearer.value == 1
    assert np.isnan(nearer.ceiling)


def test_an_identity_needs_a_recogniser_and_not_the_other_way_round() -> None:
    options = EvaluateOptions("a.mp4", "b.mp4", device="cpu")
    assert identity_faces(options, None) is None
    with pytest.raises(UsageError) as caught:
        identity_faces(replace(options, identity="facesets/bob"), None)
    told = "identity=facesets/bob: needs a recogniser: pass recogniser=dlib as well"
    assert str(caught.value) == told
    recogniser: Any = Somebody(EUCLIDEAN)
    found = identity_faces(options, recogniser)
    assert found is not None
    assert (found.identity, found.embeddings) == ("", None)
    assert recogniser.prepared == "cpu"
