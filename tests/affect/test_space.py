"""Affect space: what it makes comparable, what it keeps, and what it refuses to restore."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.affect.identity_probe import probe_identity
from swapper.affect.neutral import neutral_embedding
from swapper.affect.space import AffectSpace
from swapper.types import Readings

D, FEELINGS = 12, 3
WAYS = np.linalg.qr(np.random.default_rng(7).normal(size=(D, FEELINGS)))[0].T
"""Directions of the embedding in which feelings show, whoever feels them."""


def feelings(count: int, seed: int) -> NDArray[np.float64]:
    """(N, 3) over time: at rest mostly, and slow."""
    random = np.random.default_rng(seed)
    steps = random.normal(size=(count, FEELINGS)).cumsum(axis=0)
    waves = np.sin(steps / 4) * (np.sin(np.arange(count) / 15) > 0)[:, None]
    return np.asarray(waves)


def person(
    felt: NDArray[np.float64], offset: float = 0.0, manner: float = 1.0, seed: int = 0
) -> Readings:
    """What an estimator would read: feelings in one manner, on top of one face."""
    random = np.random.default_rng(seed)
    own = offset * np.random.default_rng(seed + 99).normal(size=D)
    embedding = own + manner * felt @ WAYS + 0.02 * random.normal(size=(len(felt), D))
    strength = np.linalg.norm(felt, axis=1)
    calm = 1 / (1 + strength)
    return Readings(
        lineage="test:00",
        labels=("neutral", "moved"),
        units=(),
        embedding=embedding.astype(np.float32),
        probabilities=np.stack([calm, 1 - calm], axis=1).astype(np.float32),
    )


def evenly(count: int) -> NDArray[np.float64]:
    """How much each face is at rest, where shapes tell nothing."""
    return np.full(count, 1 / count)


def fit(people: dict[str, Readings], **settings: Any) -> AffectSpace:
    rest = {name: evenly(len(each)) for name, each in people.items()}
    clips = {name: [name] * len(each) for name, each in people.items()}
    return AffectSpace.fit(people, rest, clips, **{"dim": FEELINGS, **settings})


@pytest.fixture
def two() -> dict[str, Readings]:
    return {
        "alice": person(feelings(600, 1), offset=1.0, seed=1),
        "bob": person(feelings(600, 2), offset=1.0, seed=2),
    }


def test_rest_is_zero_and_spread_is_one(two: dict[str, Readings]) -> None:
    space = fit(two)
    assert space.dim == FEELINGS
    for name, each in two.items():
        assert np.abs(space.code(space.neutrals[name][None], name, name)).max() < 1e-4
        assert space.own(each.embedding, name).std() == pytest.approx(0.9, abs=0.3)


def test_the_same_feeling_is_the_same_code_on_another_face(two: dict[str, Readings]) -> None:
    felt = feelings(200, 5)
    as_alice, as_bob = (person(felt, offset=1.0, seed=seed).embedding for seed in (1, 2))
    space = fit(two)
    ours, theirs = space.own(as_alice, "alice"), space.own(as_bob, "bob")
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98
    # Taken literally, alice's face is a feeling of bob's.
    literal = space.code(as_alice, "alice", "bob", relative=0.0)
    assert np.abs(literal - theirs).mean() > 5 * np.abs(ours - theirs).mean()
    half = space.code(as_alice, "alice", "bob", relative=0.5)
    assert np.abs(half - theirs).mean() < np.abs(literal - theirs).mean()


def test_a_loud_and_a_quiet_face_meet_where_there_is_much_footage() -> None:
    people = {
        "loud": person(feelings(4000, 1), manner=2.0, seed=1),
        "quiet": person(feelings(4000, 2), manner=0.5, seed=2),
    }
    spreads = {}
    for shrink in (0.0, 1e9):
        space = fit(people, shrink=shrink)
        codes = {name: space.own(each.embedding, name).std() for name, each in people.items()}
        spreads[shrink] = codes["loud"] / codes["quiet"]
    assert spreads[1e9] > 3
    assert spreads[0.0] == pytest.approx(1, abs=0.1)


def test_someone_filmed_at_rest_is_measured_by_all() -> None:
    people = {
        "lively": person(feelings(600, 1), seed=1),
        "resting": person(0.01 * feelings(600, 2), seed=2),
    }
    space = fit(people)
    codes = {name: space.own(each.embedding, name).std() for name, each in people.items()}
    assert codes["resting"] < 0.3 * codes["lively"]


def test_the_linear_form_is_the_code(two: dict[str, Readings]) -> None:
    space = fit(two)
    matrix, neutral = space.linear("bob")
    some = two["bob"].embedding[:9]
    np.testing.assert_allclose((some - neutral) @ matrix, space.own(some, "bob"), atol=1e-4)


def test_a_stranger_brings_a_neutral_of_its_own(two: dict[str, Readings]) -> None:
    space, stranger = fit(two), person(feelings(300, 8), offset=2.0, seed=8)
    rest = neutral_embedding(stranger, evenly(300))
    codes = space.code(stranger.embedding, rest, "bob")
    known = space.own(two["bob"].embedding, "bob")
    assert np.abs(np.median(codes, axis=0)).max() < 0.7
    assert codes.std() == pytest.approx(known.std(), rel=0.5)


def test_the_probe_finds_an_offset_and_the_code_hides_it(two: dict[str, Readings]) -> None:
    leak = fit(two).figures["identity_leak"]
    assert leak["chance"] == 0.5
    assert leak["embedding"] > 0.95
    assert leak["code"] < 0.7


def test_the_probe_says_chance_where_there_is_nothing() -> None:
    random = np.random.default_rng(0)
    codes = {name: random.normal(size=(400, 6)) for name in "abc"}
    clips = {name: [f"{name}{row // 50}" for row in range(400)] for name in "abc"}
    assert probe_identity(codes, clips) == pytest.approx(1 / 3, abs=0.08)
    codes["a"] += 3
    assert probe_identity(codes, clips) > 0.6


def test_neutral_is_the_calm_middle_whatever_an_estimator_can_say() -> None:
    felt = feelings(400, 3)
    full = person(felt, offset=1.0, seed=3)
    rest = person(np.zeros((200, FEELINGS)), offset=1.0, seed=3).embedding.mean(axis=0)
    mute = Readings("test:00", (), (), full.embedding)
    strength = np.linalg.norm(felt, axis=1)
    still = np.exp(-strength / 0.1)
    for each, shown in ((full, evenly(400)), (full, still), (mute, still)):
        assert np.abs(neutral_embedding(each, shown) - rest).max() < 0.15
    moved = np.where(strength < 0.1, 0.0, 1.0)
    assert np.abs(neutral_embedding(full, moved) - rest).max() > 0.02


def test_rest_is_where_shapes_say(two: dict[str, Readings]) -> None:
    mute = {name: replace(each, labels=(), probabilities=None) for name, each in two.items()}
    clips = {name: [name] * len(each) for name, each in mute.items()}
    rest = {name: np.where(np.arange(600) // 30 == 7, 1 / 30, 0) for name in mute}
    space = AffectSpace.fit(mute, rest, clips, dim=FEELINGS)
    for name, each in mute.items():
        middle = np.median(each.embedding[210:240], axis=0)
        np.testing.assert_allclose(space.neutrals[name], middle, atol=1e-6)


def test_it_comes_back_from_plain_values(two: dict[str, Readings]) -> None:
    space = fit(two)
    back = AffectSpace.restore(space.summary(), space.tensors())
    some = two["alice"].embedding[:5]
    np.testing.assert_array_equal(back.own(some, "alice"), space.own(some, "alice"))
    assert back.figures == space.figures
    assert {*space.tensors()} == {*back.tensors()}
    for name, tensor in space.tensors().items():
        np.testing.assert_array_equal(back.tensors()[name], tensor)


def test_arrays_under_earlier_names_come_back(two: dict[str, Readings]) -> None:
    space = fit(two)
    earlier = {
        {"readout_axes": "told"}.get(name, name.replace("observed.", "shown.")): each
        for name, each in space.tensors().items()
    }
    back = AffectSpace.restore(space.summary(), earlier).tensors()
    assert back.keys() == space.tensors().keys() != earlier.keys()
    for name, tensor in space.tensors().items():
        np.testing.assert_array_equal(back[name], tensor)


def test_what_was_shown_is_the_persons_own_codes(two: dict[str, Readings]) -> None:
    space = fit(two)
    for name, each in two.items():
        own = space.own(each.embedding, name)
        assert space.observed[name].shape == (256, FEELINGS)
        np.testing.assert_allclose(space.observed[name][[0, -1]], own[[0, -1]], atol=1e-4)


def test_valence_has_a_direction_where_it_is_told(two: dict[str, Readings]) -> None:
    assert fit(two).valence.shape == (0,)
    assert "valence" not in fit(two).tensors()
    pleasant = {
        name: replace(each, valence=(0.2 * each.embedding @ WAYS[1]).astype(np.float32))
        for name, each in two.items()
    }
    space = fit(pleasant)
    more = space.neutrals["bob"] + np.linalg.pinv(space.linear("bob")[0]).T @ space.valence
    risen = 0.2 * (more - space.neutrals["bob"]) @ WAYS[1]
    assert risen == pytest.approx(1, abs=0.2)
    assert space.arousal.shape == (0,)
    back = AffectSpace.restore(space.summary(), space.tensors())
    np.testing.assert_array_equal(back.valence, space.valence)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda s, _: s.update(dim=1 << 40), "dim must be 1 to 64"),
        (lambda s, _: s.update(lineage=None), "does not name its estimator"),
        (lambda s, _: s.update(identities=["alice", "alice"]), "different names"),
        (lambda s, _: s.update(identities="ab"), "1 to 64 identities"),
        (lambda s, _: s.update(identities=["alice"]), "not those of its identities"),
        (lambda _, t: t.pop("neutral.1"), "not those of its identities"),
        (lambda _, t: t.pop("observed.1"), "lacks .* observed codes"),
        (lambda _, t: t.update({"observed.0": np.zeros((300, 3), np.float32)}), "1 to 256 codes"),
        (lambda _, t: t.update({"observed.0": np.zeros((9, 4), np.float32)}), "not those of its"),
        (lambda _, t: t.update(readout_axes=np.zeros((3, 9), np.float32)), "more directions than"),
        (
            lambda _, t: t.update(readout_axes=np.zeros((2, 1), np.float32)),
            "not those of its identities",
        ),
        (lambda _, t: t.update(valence=np.zeros(2, np.float32)), "not those of its identities"),
        (lambda _, t: t.update(basis=np.zeros((9000, 3), np.float32)), "another shape"),
        (lambda _, t: t.update({"neutral.0": np.full(D, np.nan, np.float32)}), "not finite"),
    ],
)
def test_hostile_values_are_refused(
    two: dict[str, Readings], spoil: Callable[[Any, Any], Any], what: str
) -> None:
    summary, tensors = fit(two).summary(), fit(two).tensors()
    spoil(summary, tensors)
    with pytest.raises(ValueError, match=what):
        AffectSpace.restore(summary, tensors)


@pytest.mark.parametrize(
    ("settings", "what"), [({"dim": 0}, "dim must be"), ({"shrink": -1.0}, "shrink must be")]
)
def test_bad_settings_are_refused(
    two: dict[str, Readings], settings: dict[str, Any], what: str
) -> None:
    with pytest.raises(ValueError, match=what):
        fit(two, **settings)


def test_strangers_and_mixed_weights_are_refused(two: dict[str, Readings]) -> None:
    space = fit(two)
    with pytest.raises(ValueError, match="carol"):
        space.own(two["alice"].embedding, "carol")
    with pytest.raises(ValueError, match="relative must be"):
        space.code(two["alice"].embedding, "alice", "bob", relative=2.0)
    other = Readings("test:11", (), (), two["bob"].embedding)
    with pytest.raises(ValueError, match="different weights"):
        fit({"alice": two["alice"], "bob": other})
