"""A concept: a word such as "tired" as a direction in an estimator's embedding, and its two files.

``NAME.safetensors`` holds the direction, ``NAME.json`` its metadata: the results of its validation
(`affect.concept_fit`), the rights to its pictures, and the sha256 of the other file. A concept
describes how faces *look*, not what people felt.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from swapper.errors import EstimatorError
from swapper.files import one_line, read_json, read_regular, replacing

CONCEPT: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""Legal names of concepts: they are option keys and file names."""
NAMING: Final = "a letter, then letters, digits, _ or -, at most 64"
_LINEAGE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}:[0-9a-f]{64}")
_SCHEMA: Final = 1
_TENSOR: Final = "direction"
_MAX_FEATURES: Final = 4096
_MAX_BYTES: Final = 4 * _MAX_FEATURES + (1 << 16)
_MAX_CARD_BYTES: Final = 1 << 20
_MAX_ENTRIES: Final = 64
_MAX_TEXT: Final = 10_000
_FIELDS: Final = ("name", "lineage", "verdict", "accepted", "figures", "provenance")
"""What the metadata has of a concept."""
_CURE: Final = "restore both files, or make it anew with swapper concept"

Plain = None | bool | int | float | str


@dataclass(frozen=True, eq=False)
class Concept:
    """A named direction and the results of its validation.

    Attributes:
        name: A letter, then letters, digits, ``_`` or ``-``; at most 64.
        lineage: Of the estimator in whose embedding it lies, "name:sha256 of its weights".
        direction: (D,) float32, mean difference of positives and negatives: adding it once gives
            the effect seen in the pictures.
        figures: Validation results, plain values; see `affect.concept_fit.FIGURES`.
        verdict: "accepted", or "rejected: " and the reasons.
        accepted: Whether it passed.
        provenance: Rights to the pictures, how many there were, and so on; plain values.

    Raises:
        ValueError: A value is not as described.
    """

    name: str
    lineage: str
    direction: NDArray[np.float32]
    figures: Mapping[str, Plain]
    verdict: str
    accepted: bool
    provenance: Mapping[str, Plain] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not CONCEPT.fullmatch(_text("name", self.name)):
            raise ValueError(f"name must be {NAMING}, got {self.name[:80]!r}")
        if not _LINEAGE.fullmatch(_text("lineage", self.lineage)):
            raise ValueError(f"lineage must be name:sha256, got {self.lineage[:80]!r}")
        shape, dtype = self.direction.shape, self.direction.dtype
        if len(shape) != 1 or not 1 <= shape[0] <= _MAX_FEATURES or dtype != np.float32:
            raise ValueError(
                f"direction must be (D,) float32, D at most {_MAX_FEATURES}, got {dtype} {shape}"
            )
        if not np.isfinite(self.direction).all():
            raise ValueError("direction is not finite")
        if type(self.accepted) is not bool:
            raise ValueError("accepted must be true or false")
        if self.accepted and not self.direction.any():
            raise ValueError("direction is zero, but accepted is true")
        _text("verdict", self.verdict)
        _check_plain("figures", self.figures)
        _check_plain("provenance", self.provenance)


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_TEXT:
        raise ValueError(f"{key} must be a text of 1 to {_MAX_TEXT} letters")
    return value


def _check_plain(key: str, values: object) -> None:
    """Check that `values` is a flat mapping of short names to plain values."""
    if not isinstance(values, Mapping) or len(values) > _MAX_ENTRIES:
        raise ValueError(f"{key} must be an object of at most {_MAX_ENTRIES} entries")
    for entry, value in values.items():
        if not isinstance(entry, str) or not 0 < len(entry) <= 64:
            raise ValueError(f"{key} has a key that is not a short text")
        if value is not None and not isinstance(value, bool | int | float | str):
            raise ValueError(f"{key} {entry!r} must be a number, a text or null")
        if isinstance(value, str) and len(value) > _MAX_TEXT:
            raise ValueError(f"{key} {entry!r} is longer than {_MAX_TEXT} letters")
        if isinstance(value, int | float) and not abs(value) < 2**53:
            raise ValueError(f"{key} {entry!r} is not a usable number")


def save_concept(concept: Concept, folder: Path) -> Path:
    """Write a concept's two files to `folder`, which is created; return its ``.safetensors``.

    It is written whether it is accepted or rejected.

    Raises:
        EstimatorError: They cannot be written.
    """
    path = folder / f"{concept.name}.safetensors"
    data = save({_TENSOR: np.ascontiguousarray(concept.direction)})
    card = {
        "schema": _SCHEMA,
        **{name: getattr(concept, name) for name in _FIELDS},
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    contents = {path: data, path.with_suffix(".json"): text.encode()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Between the two moves card and direction may disagree; load_concept then says so.
        for target, content in contents.items():
            with replacing(target) as stream:
                stream.write(content)
    except OSError as error:
        raise EstimatorError(
            f"{path}: cannot be written ({error.strerror or error}); make room or check permissions"
        ) from error
    return path


def load_concept(path: Path) -> Concept:
    """Read ``FOLDER/NAME``, with or without the suffix of a file; its files are not trusted.

    Raises:
        EstimatorError: A file is missing, damaged, too large, or does not fit the other.
    """
    path = Path(path)
    has_suffix = path.suffix in (".safetensors", ".json")
    weights = path.with_name(f"{path.stem if has_suffix else path.name}.safetensors")
    description = weights.with_suffix(".json")
    card = _read_card(description)
    _check_present(weights)
    data = read_regular(weights, _MAX_BYTES, EstimatorError, links=True)
    if hashlib.sha256(data).hexdigest() != card.get("sha256"):
        raise EstimatorError(
            f"{weights}: does not match {description.name} (sha256 differs); {_CURE}"
        )
    try:
        concept = Concept(direction=_direction(weights), **{name: card[name] for name in _FIELDS})
    except KeyError as error:
        raise EstimatorError(f"{description}: {error} is missing; {_CURE}") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise EstimatorError(f"{description}: {one_line(error)}; {_CURE}") from error
    if concept.name != weights.stem:
        raise EstimatorError(
            f"{description}: is of {concept.name!r}; rename both files to that name"
        )
    return concept


def _direction(path: Path) -> NDArray[np.float32]:
    with safe_open(path, framework="np") as file:
        if list(file.keys()) != [_TENSOR]:
            raise ValueError(f"{path.name} must hold one tensor, {_TENSOR}")
        view = file.get_slice(_TENSOR)
        kind, shape = view.get_dtype(), view.get_shape()
        if kind != "F32" or len(shape) != 1:
            raise ValueError(f"{path.name} holds a direction of {kind} {tuple(shape)[:4]}")
        direction: NDArray[np.float32] = file.get_tensor(_TENSOR)
    return direction


def _read_card(path: Path) -> dict[str, Any]:
    _check_present(path)
    card = read_json(path, _MAX_CARD_BYTES, EstimatorError, _CURE, links=True)
    if type(card.get("schema")) is not int:
        raise EstimatorError(f"{path}: is not a concept; {_CURE}")
    if card["schema"] != _SCHEMA:
        raise EstimatorError(
            f"{path}: has schema {card['schema'] % 10**9}, this swapper reads {_SCHEMA}; upgrade "
            "swapper, or make it anew"
        )
    return card


def _check_present(path: Path) -> None:
    if not path.is_file():
        raise EstimatorError(
            f"{path}: missing; a concept is NAME.safetensors and NAME.json, made by swapper concept"
        )
