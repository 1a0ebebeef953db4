"""What a model's affect space and its run's config say of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.affect.space import AffectSpace
from swapper.modelcard.run_origin import ModelOrigin
from swapper.models.model_file import LoadedModel

_MAX_SETTINGS: Final = 40
_SPARSE_SHARE: Final = 0.5
"""Share of the widest identity's range below which an identity's footage is sparse."""
_EXCLUDED_KEYS: Final = ("name", "identities")
_GROUPS: Final = (
    ("reconstruction", "loss"),
    ("expression", "expression"),
    ("optimiser", "optim"),
    ("data", "data"),
    ("augmentation", "augment"),
)

Ranges = Mapping[str, Mapping[str, tuple[float, float]]]
"""By axis and identity: 1st and 99th percentile of the deviation from rest."""


def identity_probe_scores(space: AffectSpace | None) -> tuple[float, float] | None:
    """Accuracy of the identity probe on affect codes, and chance; None if unknown."""
    scores = space.figures.get("identity_leak") if space is not None else None
    if not isinstance(scores, dict):
        return None
    code, chance = (scores.get(each) for each in ("code", "chance"))
    if not isinstance(code, (int, float)) or not isinstance(chance, (int, float)):
        return None
    return (code, chance) if 0 <= code <= 1 and 0 <= chance <= 1 else None


def observed_ranges(space: AffectSpace | None) -> Ranges:
    """Ranges of the axes that the space has."""
    if space is None:
        return {}
    axes = {"valence": space.valence, "arousal": space.arousal}
    return {
        axis: {name: _range(codes, step) for name, codes in space.observed.items()}
        for axis, step in axes.items()
        if step.any()
    }


def _range(codes: NDArray[np.float32], step: NDArray[np.float32]) -> tuple[float, float]:
    # `step` raises the axis by 1, so this is the predicted change of the axis by the codes (M, K).
    projections = codes.astype(np.float64) @ step / float(step.astype(np.float64) @ step)
    low, high = np.quantile(projections, (0.01, 0.99))
    return float(low), float(high)


def narrow_ranges(ranges: Ranges) -> list[tuple[str, str, str]]:
    """Axis, identity, and the identity that moves more than twice as far in it."""
    found = []
    for axis, each in ranges.items():
        widths = {name: high - low for name, (low, high) in each.items()}
        widest = max(widths, key=lambda name: widths[name])
        found += [
            (axis, name, widest)
            for name, width in widths.items()
            if width < _SPARSE_SHARE * widths[widest]
        ]
    return found


def training_settings(model: LoadedModel, origin: ModelOrigin) -> list[tuple[str, str]]:
    """Name and settings of each group, untrusted; empty where unknown."""
    config = origin.config
    network = {key: value for key, value in model.net.config.items() if key not in _EXCLUDED_KEYS}
    return [
        ("network", f"{model.net.name}, {_settings(network)}"),
        *((name, _settings(config.get(group))) for name, group in _GROUPS),
        ("seed", _setting("seed", config.get("seed"))),
    ]


def _settings(values: object) -> str:
    """Plain settings on one line; sub-groups by the class of their ``_target_``."""
    if not isinstance(values, dict):
        return ""
    return ", ".join(
        f"{key} {text}"
        for key, value in list(values.items())[:_MAX_SETTINGS]
        if isinstance(key, str) and not key.startswith("_") and (text := _setting(key, value))
    )


def _setting(key: str, value: object) -> str:
    """A plain value, or the class of a sub-group if it differs from the key."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (float, str)) or (isinstance(value, int) and abs(value) < 2**63):
        return str(value)
    target = value.get("_target_") if isinstance(value, dict) else None
    class_name = target.rpartition(".")[2] if isinstance(target, str) else ""
    return "" if class_name.lower() == key.lower() else class_name
