"""Metadata of a model file: architecture, identities and provenance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from swapper.types import COVERAGES, Coverage

SCHEMA = 1
MAX_TEXT = 10_000
MAX_LINEAGE = 1000


@dataclass(frozen=True)
class ModelIdentity:
    """One identity of the model.

    Attributes:
        name: As in the architecture.
        rights: By what right the faces are used, as stated at extraction.
        faceset: Content hash of the faceset it was trained on; empty if unknown.
    """

    name: str
    rights: str
    faceset: str = ""


@dataclass(frozen=True)
class ModelMetadata:
    """The content of ``model.json``.

    Attributes:
        architecture: `Autoencoder.config`.
        identities: In the order of the architecture's.
        coverage: How much of the head an aligned crop holds.
        step: Number of training steps.
        software: That wrote it, "swapper/<version>".
        aligned_size: Side in pixels of the facesets' pictures; 0 if unknown.
        lineage: "name:sha256" of the estimators that it was trained against, conditioned by or
            selected with; evaluation must not use them. "landmarks:NAME" of an aligner whose
            landmarks were used in training; evaluation marks results by it as partial.
        affect_space: Summary of the affect space, plain values; its arrays are stored with the
            weights. None if the model is not conditioned.
        weights_sha256: Of the weights file, hex; filled in by `save_model`.
    """

    architecture: Mapping[str, Any]
    identities: Sequence[ModelIdentity]
    coverage: Coverage
    step: int
    software: str
    aligned_size: int = 0
    lineage: Sequence[str] = field(default=())
    affect_space: Mapping[str, Any] | None = None
    weights_sha256: str = ""

    def to_json(self) -> str:
        """Return the JSON text; the inverse is `parse_metadata`.

        Raises:
            ValueError: A field is not valid.
        """
        data = {
            "schema": SCHEMA,
            **vars(self),
            "architecture": dict(self.architecture),
            "identities": [vars(each) for each in self.identities],
            "lineage": list(self.lineage),
            "affect_space": None if self.affect_space is None else dict(self.affect_space),
        }
        parse_metadata(data)
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def parse_metadata(data: object) -> ModelMetadata:
    """Validate parsed JSON, which is not trusted.

    Raises:
        ValueError: In one line; unknown keys are refused.
    """
    if not isinstance(data, dict):
        raise ValueError("is not a model card; restore the file")
    schema = data.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        raise ValueError(
            f"has schema {shortened(schema)}, this version reads {SCHEMA}; update swapper, or save "
            "the model again"
        )
    fields = {key: value for key, value in data.items() if key != "schema"}
    for key in _CHECKS.keys() ^ fields.keys():
        raise ValueError(f"{'lacks' if key in _CHECKS else 'has the unknown key'} {shortened(key)}")
    for key, (check, legal) in _CHECKS.items():
        if not check(fields[key]):
            raise ValueError(f"{key} must be {legal}, is {shortened(fields[key])}")
    fields["identities"] = tuple(ModelIdentity(**each) for each in fields["identities"])
    fields["lineage"] = tuple(fields["lineage"])
    return ModelMetadata(**fields)


def _text(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair: it could not be printed or signed later
        return False
    return True


def _count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _identity(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"name", "rights", "faceset"}
        and all(_text(each) for each in value.values())
    )


def _sha256_or_empty(value: object) -> bool:
    return (
        isinstance(value, str) and len(value) in (0, 64) and set(value) <= set("0123456789abcdef")
    )


def _list_of(check: Callable[[object], bool], most: int) -> Callable[[object], bool]:
    return lambda value: (
        isinstance(value, list) and len(value) <= most and all(check(each) for each in value)
    )


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "architecture": (lambda value: isinstance(value, dict), "a mapping"),
    "identities": (_list_of(_identity, 64), "a list of name, rights and faceset"),
    "coverage": (lambda value: _text(value) and value in COVERAGES, f"one of {COVERAGES}"),
    "step": (_count, "a count"),
    "software": (_text, "a text"),
    "aligned_size": (_count, "a count of pixels"),
    "lineage": (_list_of(_text, MAX_LINEAGE), "a list of texts"),
    "affect_space": (lambda value: value is None or isinstance(value, dict), "null or a mapping"),
    "weights_sha256": (_sha256_or_empty, "64 hexadecimal digits"),
}


def shortened(value: object) -> str:
    """Return `repr` of an untrusted value, bounded and on one line."""
    try:
        text = repr(value)
    except RecursionError:
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."
