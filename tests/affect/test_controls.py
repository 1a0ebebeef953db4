"""Dials: they turn as far as the identity was seen to go, and refuse what does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.affect.concepts import Concept
from swapper.affect.controls import AffectControls, ClampCounts
from swapper.affect.space import AffectSpace
from swapper.errors import UsageError

D, K = 6, 3
LINEAGE = f"test:{0:064x}"


@pytest.fixture
def space() -> AffectSpace:
    """Codes are the first three features; bob, twice as lively, has gone 1, 2 and .5 either way."""
    wide = np.linspace(-1, 1, 201)[:, None]
    shown = np.concatenate([wide * row for row in np.diag([1.0, 2.0, 0.5])])
    return AffectSpace(
        LINEAGE,
        np.eye(D, K, dtype=np.float32),
        {name: np.zeros(D, np.float32) for name in ("alice", "bob")},
        {"alice": np.eye(K, dtype=np.float32), "bob": 2 * np.eye(K, dtype=np.float32)},
        {name: shown.astype(np.float32) for name in ("alice", "bob")},
        np.array([0.0, 0.3, 0.0], np.float32),
        np.zeros(0, np.float32),
        np.eye(K, 2, dtype=np.float32),
    )


def concept(*direction: float, name: str = "tired", accepted: bool = True) -> Concept:
    padded = np.zeros(D, np.float32)
    padded[: len(direction)] = direction
    return Concept(
        name=name,
        lineage=LINEAGE,
        direction=padded,
        figures={},
        verdict="accepted" if accepted else "rejected: AUC .61 is below .75",
        accepted=accepted,
    )


def codes(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    return np.array(rows, np.float32)


def test_a_concept_is_a_step_in_the_identitys_own_manner(space: AffectSpace) -> None:
    dials, rest = AffectControls([(concept(0.1, 0.0, 0.0, 5.0), 0.5)]), codes((0, 0, 0))
    for name, step in (("alice", 0.05), ("bob", 0.1)):
        told, capped = dials.apply(space, rest, name)
        np.testing.assert_allclose(told, [(step, 0, 0)], atol=1e-6)
        assert (capped.faces, capped.any) == (1, 0)


def test_valence_is_a_step_in_its_own_units(space: AffectSpace) -> None:
    told, _ = AffectControls(valence=-1.0).apply(space, codes((0.1, 0.2, 0.3)), "bob")
    np.testing.assert_allclose(told, [(0.1, -0.1, 0.3)], atol=1e-6)


def test_it_is_known_how_much_of_a_concept_is_heard(space: AffectSpace) -> None:
    inside, half, outside = concept(1.0, 2.0), concept(1.0, 0, 0, 1.0, name="half"), [0.0] * 5
    dials = AffectControls([(inside, 1.0), (half, -0.5), (concept(*outside, 1.0, name="out"), 0.5)])
    assert dials.expressible_shares(space) == pytest.approx({"tired": 1.0, "half": 0.5, "out": 0.0})
    stretched = replace(space, basis=space.basis @ np.diag([1.0, 7.0, 0.1]).astype(np.float32))
    assert dials.expressible_shares(stretched) == pytest.approx(
        {"tired": 1.0, "half": 0.5, "out": 0.0}
    )
    assert AffectControls([(inside, 0.0)]).expressible_shares(space) == {}


def test_dials_at_zero_change_nothing(space: AffectSpace) -> None:
    before = codes((0.3, 9.0, -1.0))
    told, capped = AffectControls([(concept(1.0), 0.0)]).apply(space, before, "bob")
    assert told.tobytes() == before.tobytes()
    assert (capped.faces, capped.any, capped.share("tired")) == (1, 0, 0.0)


@pytest.mark.parametrize("way", [1.0, -1.0])
def test_the_cap_is_what_was_shown_and_turns_nobody_back(space: AffectSpace, way: float) -> None:
    most = float(np.quantile(space.observed["bob"][:, 0], 0.99))
    before = way * codes((0, 0.5, 0), (0.5, 0, 0), (1.7, 0.2, 0), (-3, 0, 0))
    told, capped = AffectControls([(concept(1.0), way)]).apply(space, before, "bob")
    wanted = way * np.array([(most, 0.5, 0), (most, 0, 0), (1.7, 0.2, 0), (-1, 0, 0)])
    np.testing.assert_allclose(told, wanted, atol=1e-5)
    assert (capped.any, capped.share("tired")) == (3, 0.75)


def test_two_dials_the_same_way_share_one_cap(space: AffectSpace) -> None:
    pair = [(concept(1.0, name="tired"), 1.0), (concept(0.8, 0.2, name="bored"), 1.0)]
    before = np.zeros((1, K), np.float32)
    told, capped = AffectControls(pair).apply(space, before, "bob")
    assert told[0, 0] <= np.quantile(space.observed["bob"][:, 0], 0.99) + 1e-5
    unit = np.array([0.8, 0.2, 0.0]) / np.hypot(0.8, 0.2)
    assert told[0] @ unit <= np.quantile(space.observed["bob"] @ unit, 0.99) + 1e-5
    assert told[0, 0] > 0.5
    assert capped.any == 1


def test_dials_against_each_other_leave_the_difference(space: AffectSpace) -> None:
    pair = [(concept(0.3, name="tired"), 1.0), (concept(-0.2, name="lively"), 1.0)]
    told, capped = AffectControls(pair).apply(space, codes((0, 0, 0)), "bob")
    np.testing.assert_allclose(told, [(0.2, 0, 0)], atol=1e-6)
    assert capped.any == 0


def test_counts_add_up() -> None:
    both = ClampCounts(4, 2, {"tired": 2}) + ClampCounts(6, 3, {"tired": 1, "valence": 3})
    assert both == ClampCounts(10, 5, {"tired": 3, "valence": 3})
    assert both.share("tired") == pytest.approx(0.3)


@pytest.mark.parametrize("amount", [1.6, -2.0, float("nan")])
def test_amounts_have_their_range(amount: float) -> None:
    with pytest.raises(ValueError, match=r"tired=.*must be between -1.5 and 1.5"):
        AffectControls([(concept(1.0), amount)])
    with pytest.raises(ValueError, match=r"arousal=.*must be between -1 and 1"):
        AffectControls(arousal=amount)


def test_one_name_is_one_dial() -> None:
    with pytest.raises(ValueError, match="two controls have one name"):
        AffectControls([(concept(1.0, name="valence"), 0.5)])


def test_what_does_not_fit_is_refused(space: AffectSpace) -> None:
    good = concept(1.0)
    AffectControls([(good, 0.5)]).check(space)
    other = replace(space, lineage="another:11")
    with pytest.raises(UsageError, match=r"affect.concepts.tired: .*test:0"):
        AffectControls([(good, 0.5)]).check(other)
    poor = AffectControls([(concept(1.0, accepted=False), 0.5)])
    with pytest.raises(UsageError, match=r"AUC .61.*.75.*affect.force=true"):
        poor.check(space)
    poor.check(space, force=True)
    with pytest.raises(UsageError, match=r"affect.arousal=0.2: "):
        AffectControls(arousal=0.2).check(space)
