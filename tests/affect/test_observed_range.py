"""What an identity has shown: how far it reaches, what asks for more, and what is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.affect.observed_range import (
    MAX_CODES,
    ObservedRange,
    missing_emotions,
    subsample_codes,
)
from swapper.affect.readout import readable_axes, readout_step
from swapper.types import Readings


def read_as(**counts: int) -> Readings:
    """Readings in which so many faces look most like each label."""
    labels = tuple(counts)
    rows = np.repeat(np.arange(len(labels)), list(counts.values()))
    probabilities = np.full((len(rows), len(labels)), 0.1, np.float32)
    probabilities[np.arange(len(rows)), rows] = 0.7
    return Readings("test:00", labels, (), np.zeros((len(rows), 2), np.float32), probabilities)


def test_the_sample_is_spread_over_the_footage() -> None:
    codes = np.arange(3000.0)[:, None]
    kept = subsample_codes(codes)
    assert kept.shape == (MAX_CODES, 1)
    assert kept.dtype == np.float32
    assert (kept[0, 0], kept[-1, 0]) == (0, 2999)
    assert 11 <= np.diff(kept[:, 0]).min() <= np.diff(kept[:, 0]).max() <= 12
    np.testing.assert_array_equal(subsample_codes(codes[:7]), codes[:7])


def test_reach_is_what_most_of_the_faces_stay_within() -> None:
    shown = ObservedRange(
        np.stack([np.linspace(-1, 3, 201), np.zeros(201)], axis=1).astype(np.float32)
    )
    assert shown.extent(np.eye(2)) == pytest.approx([2.96, 0])
    assert shown.extent(-np.eye(2)) == pytest.approx([0.96, 0], abs=1e-6)


@pytest.mark.parametrize("dim", [2, 16, 40])
def test_an_identity_does_not_ask_for_more_than_itself(dim: int) -> None:
    random = np.random.default_rng(dim)
    footage = random.normal(size=(4000, dim))
    footage[:, 0] *= 0.1  # what it hardly ever does
    shown = ObservedRange(subsample_codes(footage))
    assert shown.exceeds(footage).mean() < 0.05  # a quantile of 256 is no better known
    never = np.zeros((1, dim))
    never[0, 0] = 4.0
    assert shown.exceeds(never).all()
    assert not shown.exceeds(0.01 * random.normal(size=(9, dim))).any()


def test_half_as_far_again_is_more() -> None:
    ring = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    shown = ObservedRange(np.stack([np.cos(ring), np.sin(ring)], axis=1).astype(np.float32))
    along = np.array([[1.4, 0.0], [0.0, -1.4], [1.6, 0.0], [1.1, 1.2]])
    assert shown.exceeds(along).tolist() == [False, False, True, True]


def test_only_what_is_told_is_more() -> None:
    shown = ObservedRange(np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32))
    heard = replace(shown, readout_axes=np.eye(3, 2, dtype=np.float32))
    far = np.array([[0.0, 0.0, 9.0], [9.0, 0.0, 0.0]])
    assert shown.exceeds(far).tolist() == [True, True]
    assert heard.exceeds(far).tolist() == [False, True]


def test_gaps_are_told_in_words() -> None:
    people = {
        "alice": read_as(neutral=988, happy=2, surprise=0, anger=10),
        "bob": read_as(neutral=880, happy=90, surprise=120, anger=10),
        "carol": read_as(neutral=50, happy=40, surprise=6, anger=0),
    }
    assert missing_emotions(people) == [
        "alice shows hardly any happy, 2 faces (carol: 42 %, bob: 8 %); a swap will have to guess "
        "it",
        "alice shows no surprise (bob: 11 %, carol: 6 %); a swap will have to guess it",
    ]


def test_no_gaps_where_all_is_shown_or_nothing_is_classified() -> None:
    both = {"alice": read_as(neutral=50, happy=50), "bob": read_as(neutral=90, happy=10)}
    assert missing_emotions(both) == []
    few = {"alice": read_as(neutral=60, happy=0), "bob": read_as(neutral=60, happy=4)}
    assert missing_emotions(few) == []
    mute = Readings("test:00", (), (), np.zeros((9, 2), np.float32))
    assert missing_emotions({"alice": mute, "bob": mute}) == []


def made(count: int, seed: int, noise: float, rest: float) -> tuple[NDArray[np.float64], ...]:
    random = np.random.default_rng(seed)
    codes = random.normal(size=(count, 3)) + 5 * rest
    return codes, codes @ (0.2, -0.1, 0.0) + rest + noise * random.normal(size=count)


def test_a_step_of_one_raises_the_prediction_by_one() -> None:
    people = {name: made(3000, seed, 0.01, seed) for name, seed in (("alice", 1), ("bob", 2))}
    step = readout_step(*({n: each[part] for n, each in people.items()} for part in (0, 1)))
    assert float(step @ (0.2, -0.1, 0.0)) == pytest.approx(1, abs=0.03)
    assert step[2] == pytest.approx(0, abs=0.05)
    assert np.linalg.norm(step) == pytest.approx(1 / np.hypot(0.2, 0.1), rel=0.03)


def test_the_axes_told_are_those_that_outputs_rise_along() -> None:
    people = {name: made(3000, seed, 0.01, seed) for name, seed in (("alice", 1), ("bob", 2))}
    codes = {name: each[0] for name, each in people.items()}
    random = np.random.default_rng(0)
    said = {n: np.stack([each[1], random.normal(size=3000)], 1) for n, each in people.items()}
    axes = readable_axes(codes, said)
    assert axes.shape == (3, 1)
    assert abs(axes[:, 0] @ (0.2, -0.1, 0.0)) == pytest.approx(np.hypot(0.2, 0.1), rel=0.01)
    assert readable_axes(codes, {n: each[:, 1:] for n, each in said.items()}).shape == (3, 0)
    assert readable_axes(codes, {n: each[:, :0] for n, each in said.items()}).shape == (3, 0)


def test_there_is_no_step_where_codes_do_not_tell() -> None:
    noisy = made(3000, 1, 9.0, 0.0)
    assert readout_step({"alice": noisy[0]}, {"alice": noisy[1]}).shape == (0,)
    assert readout_step({"alice": noisy[0]}, {"alice": None}).shape == (0,)
