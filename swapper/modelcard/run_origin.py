"""Run config and facesets that a model was trained with, as far as they still exist."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from swapper.affect.observed_range import missing_emotions
from swapper.errors import FacesetError
from swapper.facesets.affect_sheet import label_shares
from swapper.facesets.affect_store import read_readings
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_metadata import FacesetMetadata
from swapper.files import read_regular
from swapper.models.model_file import LoadedModel
from swapper.types import Readings

log = logging.getLogger(__name__)

CONFIG: Final = "config.yaml"
_MAX_CONFIG_BYTES: Final = 1 << 20
_MAX_FACESETS: Final = 64


@dataclass(frozen=True)
class FacesetSummary:
    """A faceset that the model was trained on.

    Attributes:
        metadata: Of the faceset.
        faces: Number of faces.
        emotions: Share of faces by predicted emotion, largest first; empty if the model's
            estimator has not annotated the faceset.
    """

    metadata: FacesetMetadata
    faces: int
    emotions: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelOrigin:
    """What a model was trained with.

    Attributes:
        config: The run's resolved config, untrusted plain data; empty if missing.
        footage: By identity; those whose faceset exists and is unchanged.
        missing_emotions: Emotions that one identity lacks and another has, a line each.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    footage: Mapping[str, FacesetSummary] = field(default_factory=dict)
    missing_emotions: tuple[str, ...] = ()


def find_origin(model: LoadedModel, facesets: Iterable[Path] = ()) -> ModelOrigin:
    """Find the run config and the facesets of a model.

    Args:
        model: Loaded.
        facesets: That it was trained on; empty to use the paths in the run's config.

    Raises:
        FacesetError: One of `facesets` cannot be read, or is not what the model was trained on.
    """
    config = _run_config(model.path)
    faceset_hashes = {each.name: each.faceset for each in model.card.identities}
    requested = list(facesets)
    opened: dict[str, Faceset] = {}
    for path in requested or _faceset_paths(config):
        try:
            faceset = Faceset.open(path)
            name = faceset.card.identity
            if faceset_hashes.get(name) != faceset.content_hash:
                raise FacesetError(
                    f"{path}: is not what {model.path} was trained on, or has changed since; drop "
                    "it from facesets="
                )
        except FacesetError as error:
            if requested:
                raise
            log.info("left out of model.md: %s", error)
            continue
        opened[name] = faceset
    readings = _readings(model, opened)
    return ModelOrigin(
        config,
        {
            name: FacesetSummary(each.card, len(each), _emotion_shares(readings.get(name)))
            for name, each in opened.items()
        },
        tuple(missing_emotions(readings)) if len(readings) == len(faceset_hashes) else (),
    )


def _run_config(weights: Path) -> dict[str, Any]:
    """Read the config in the folder of `weights`; empty if it is missing or unreadable."""
    path = weights.with_name(CONFIG)
    try:
        config = yaml.safe_load(read_regular(path, _MAX_CONFIG_BYTES, FacesetError))
    except FileNotFoundError:
        return {}
    except (FacesetError, OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        log.warning("%s: is not a run config (%s); ignored", path, " ".join(str(error).split()))
        return {}
    return config if isinstance(config, dict) else {}


def _faceset_paths(config: Mapping[str, Any]) -> list[Path]:
    paths = config.get("facesets")
    entries = paths if isinstance(paths, list) else []
    return [
        Path(each) for each in entries[:_MAX_FACESETS] if isinstance(each, str) and "\0" not in each
    ]


def _readings(model: LoadedModel, facesets: Mapping[str, Faceset]) -> dict[str, Readings]:
    """Readings by the model's estimator, for the identities whose faceset has them."""
    lineage = (model.card.affect_space or {}).get("lineage")
    readings: dict[str, Readings] = {}
    if not isinstance(lineage, str):
        return readings
    for name, faceset in facesets.items():
        try:
            readings[name] = read_readings(faceset, lineage.partition(":")[0], lineage=lineage)
        except (FacesetError, ValueError) as error:
            log.info("left out of model.md: %s", error)
    return readings


def _emotion_shares(readings: Readings | None) -> dict[str, float]:
    shares = {} if readings is None else label_shares(readings)
    return dict(sorted(shares.items(), key=lambda each: -each[1]))
