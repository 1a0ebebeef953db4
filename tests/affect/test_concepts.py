"""A concept comes back from disk as it was, and nothing else does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from swapper.affect.concepts import Concept, load_concept, save_concept
from swapper.errors import EstimatorError

LINEAGE = f"actors:{'ab' * 32}"


def make(**changes: Any) -> Concept:
    values: dict[str, Any] = {
        "name": "tired",
        "lineage": LINEAGE,
        "direction": np.arange(6, dtype=np.float32),
        "figures": {"auc": 0.9, "people": 6, "identity_overlap": None},
        "verdict": "accepted",
        "accepted": True,
        "provenance": {"rights": "signed releases, 2026 – müde"},
    }
    return Concept(**{**values, **changes})


@pytest.mark.parametrize("suffix", ["", ".json", ".safetensors"])
def test_it_comes_back_as_it_was(tmp_path: Path, suffix: str) -> None:
    concept = make()
    path = save_concept(concept, tmp_path / "concepts")
    assert path == tmp_path / "concepts" / "tired.safetensors"
    found = load_concept(path.with_suffix(suffix))
    np.testing.assert_array_equal(found.direction, concept.direction)
    for name in ("name", "lineage", "figures", "verdict", "accepted", "provenance"):
        assert getattr(found, name) == getattr(concept, name)


def test_a_rejected_one_is_kept_and_replaces_what_was_there(tmp_path: Path) -> None:
    save_concept(make(), tmp_path)
    save_concept(make(accepted=False, verdict="rejected: 2 people"), tmp_path)
    assert load_concept(tmp_path / "tired").accepted is False
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "tired.json",
        "tired.safetensors",
    ]


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "tired.json").mkdir()
    with pytest.raises(EstimatorError, match="cannot be written"):
        save_concept(make(), tmp_path)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../tired"},
        {"name": "ti.red"},
        {"lineage": "actors"},
        {"direction": np.zeros((2, 3), np.float32)},
        {"direction": np.zeros(5000, np.float32)},
        {"direction": np.zeros(6)},
        {"direction": np.full(6, np.nan, np.float32)},
        {"direction": np.zeros(6, np.float32)},
        {"accepted": 1},
        {"verdict": ""},
        {"figures": {"auc": float("nan")}},
        {"figures": {"auc": [1]}},
        {"figures": {str(number): 0 for number in range(100)}},
        {"provenance": {"rights": "x" * 20_000}},
    ],
)
def test_a_concept_is_what_it_should_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be|finite|zero|usable number|longer"):
        make(**changes)


def _card(folder: Path, **changes: Any) -> None:
    path = folder / "tired.json"
    card = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in card.items() if value != "gone"}))


def _tensors(folder: Path, data: bytes) -> None:
    (folder / "tired.safetensors").write_bytes(data)
    _card(folder, sha256=hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda at: (at / "tired.json").unlink(), "tired.json: missing; a concept is"),
        (lambda at: (at / "tired.safetensors").unlink(), "tired.safetensors: missing"),
        (lambda at: (at / "tired.json").write_text("{"), "is not JSON"),
        (lambda at: (at / "tired.json").write_bytes(b"\xff\xfe"), "is not JSON"),
        (lambda at: (at / "tired.json").write_text("[" * 100_000), "is not JSON"),
        (lambda at: (at / "tired.json").write_text("[]"), "not a JSON object"),
        (lambda at: (at / "tired.json").write_text(" " * (2 << 20)), "more than 1048576"),
        (lambda at: _card(at, schema=2), "has schema 2, this swapper reads 1"),
        (lambda at: _card(at, verdict="gone"), "'verdict' is missing"),
        (lambda at: _card(at, name="../../etc"), "name must be a letter"),
        (lambda at: _card(at, name="other"), "is of 'other'"),
        (lambda at: _card(at, lineage=3), "lineage must be a text"),
        (lambda at: _card(at, accepted="yes"), "accepted must be true or false"),
        (lambda at: _card(at, figures=[]), "figures must be an object"),
        (lambda at: _card(at, figures={"auc": float("nan")}), "NaN is no number"),
        (lambda at: _card(at, figures={"auc": 10**400}), "not a usable number"),
        (lambda at: _card(at, sha256="0" * 64), "sha256 differs"),
        (lambda at: _tensors(at, b"\0" * (1 << 20)), "more than 81920"),
        (lambda at: _tensors(at, b"\xff" * 100), "tired.json: "),
        (lambda at: _tensors(at, save({"x": np.ones(6, np.float32)})), "one tensor, direction"),
        (lambda at: _tensors(at, save({"direction": np.ones((2, 3), np.float32)})), "of F32"),
        (lambda at: _tensors(at, save({"direction": np.ones(6)})), "of F64"),
        (lambda at: _tensors(at, save({"direction": np.ones(5000, np.float32)})), "at most 4096"),
        (
            lambda at: _tensors(at, save({"direction": np.full(6, np.inf, np.float32)})),
            "not finite",
        ),
    ],
)
def test_a_hostile_file_is_refused_in_one_line(tmp_path: Path, spoil: Any, expected: str) -> None:
    save_concept(make(), tmp_path)
    spoil(tmp_path)
    with pytest.raises(EstimatorError) as caught:
        load_concept(tmp_path / "tired")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "tired") in str(caught.value)
