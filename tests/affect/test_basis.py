"""The basis of the affect space: what an estimator says comes first, what is wide comes after."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.affect.basis import expression_basis, outputs
from swapper.types import Readings

D, FACES = 10, 400
MIX = np.linalg.qr(np.random.default_rng(3).normal(size=(D, D)))[0]
"""Columns: two feelings, a wide one of light, the rest noise."""

People = tuple[dict[str, NDArray[np.float64]], dict[str, Readings]]


def faces(seed: int) -> tuple[NDArray[np.float64], Readings]:
    """Embeddings (N, D) and readings of two feelings under light that varies four times as much."""
    random = np.random.default_rng(seed)
    felt, light = random.normal(size=(FACES, 2)), 4 * random.normal(size=(FACES, 1))
    noise = 0.05 * random.normal(size=(FACES, D - 3))
    embedding = np.concatenate([felt, light, noise], axis=1) @ MIX.T
    logits = np.concatenate([np.zeros((FACES, 1)), felt], axis=1)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    readings = Readings(
        lineage="test:00",
        labels=("neutral", "glad", "sad"),
        units=(),
        embedding=embedding.astype(np.float32),
        probabilities=shares.astype(np.float32),
        valence=(felt[:, 0] - felt[:, 1]).astype(np.float32),
    )
    return embedding, readings


@pytest.fixture
def people() -> People:
    both = {name: faces(seed) for seed, name in enumerate(("alice", "bob"))}
    return {n: e for n, (e, _) in both.items()}, {n: r for n, (_, r) in both.items()}


def share_of_light(basis: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much of each column's variance is light."""
    parts = MIX.T @ basis
    power = parts**2 * np.array([1, 1, 16, *[0.05**2] * (D - 3)])[:, None]
    shares: NDArray[np.float64] = power[2] / power.sum(axis=0)
    return shares


def test_what_is_said_comes_before_what_is_wide(people: People) -> None:
    light = share_of_light(expression_basis(*people, 2))
    assert light.max() < 0.02
    silent = {
        name: Readings(each.lineage, (), (), each.embedding) for name, each in people[1].items()
    }
    assert share_of_light(expression_basis(people[0], silent, 2))[0] > 0.98


def test_what_is_left_is_filled_with_what_is_wide(people: People) -> None:
    basis = expression_basis(*people, 4)
    assert share_of_light(basis)[2:].max() > 0.9


def test_directions_are_uncorrelated_and_of_unit_size(people: People) -> None:
    basis = expression_basis(*people, 8)
    pooled = sum(each.T @ each / len(each) for each in people[0].values()) / 2
    gram = basis.T @ pooled @ basis
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-6)


def test_outputs_that_do_not_follow_from_the_embedding_lead_nowhere(people: People) -> None:
    random = np.random.default_rng(5)
    deaf = {
        name: Readings(
            each.lineage, (), (), each.embedding,
            valence=random.normal(size=FACES).astype(np.float32),
        )
        for name, each in people[1].items()
    }  # fmt: skip
    silent = {name: Readings(e.lineage, (), (), e.embedding) for name, e in deaf.items()}
    found, widest = (expression_basis(people[0], each, 3) for each in (deaf, silent))
    np.testing.assert_allclose(np.abs(found), np.abs(widest), atol=1e-9)


def test_outputs_are_all_that_is_said(people: People) -> None:
    assert outputs(people[1]["alice"]).shape == (FACES, 4)
    silent = Readings("test:00", (), (), people[1]["alice"].embedding)
    assert outputs(silent).shape == (FACES, 0)
