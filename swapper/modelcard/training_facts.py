"""Sections of ``model.md`` on affect, data and training."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.affect.space import AffectSpace
from swapper.modelcard.markdown import escaped, markdown_table, percent
from swapper.modelcard.run_origin import FacesetSummary, ModelOrigin
from swapper.models.model_file import LoadedModel

_MAX_SOURCES: Final = 100
_MAX_SETTINGS: Final = 40
_SPARSE_SHARE: Final = 0.5
"""Share of the widest identity's range below which an identity's footage is sparse."""
_MIN_FACES: Final = 1000
_EXCLUDED_KEYS: Final = ("name", "identities")
_GROUPS: Final = (
    ("reconstruction", "loss"),
    ("expression", "expression"),
    ("optimiser", "optim"),
    ("data", "data"),
    ("augmentation", "augment"),
)


def identity_probe_scores(space: AffectSpace | None) -> tuple[float, float] | None:
    """Accuracy of the identity probe on affect codes, and chance; None if unknown."""
    scores = space.figures.get("identity_leak") if space is not None else None
    if not isinstance(scores, dict):
        return None
    code, chance = (scores.get(each) for each in ("code", "chance"))
    if not isinstance(code, (int, float)) or not isinstance(chance, (int, float)):
        return None
    return (code, chance) if 0 <= code <= 1 and 0 <= chance <= 1 else None


def sparse_data_lines(space: AffectSpace | None, origin: ModelOrigin) -> list[str]:
    """Sentences on identities with sparse footage."""
    lines = [f"{escaped(each)}." for each in origin.missing_emotions]
    for axis, ranges in _ranges(space).items():
        widths = {name: high - low for name, (low, high) in ranges.items()}
        widest = max(widths, key=lambda name: widths[name])
        lines += [
            f"**{escaped(name)}** has less than half the range of {escaped(widest)} in {axis}; "
            "swaps beyond it are extrapolated."
            for name, width in widths.items()
            if width < _SPARSE_SHARE * widths[widest]
        ]
    for name, each in origin.footage.items():
        if each.faces < _MIN_FACES:
            lines.append(f"**{escaped(name)}** was trained on only {each.faces:,} faces.")
    return lines


def _ranges(space: AffectSpace | None) -> dict[str, dict[str, tuple[float, float]]]:
    """By axis and identity: 1st and 99th percentile of the deviation from rest."""
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


def affect_lines(space: AffectSpace | None, origin: ModelOrigin) -> list[str]:
    """Section on the conditioning estimator and each identity's range; empty without a space."""
    if space is None:
        return []
    name, _, digest = space.lineage.partition(":")
    lines = [
        "## Affect: conditioning and observed range",
        "",
        f"The estimator **{escaped(name)}**, weights {format_hash(digest)}, predicts the "
        f"performer's affect. The affect code, {space.dim} numbers, is the deviation from the "
        "performer's own neutral: `(embedding - neutral) @ basis @ whitening`, all four in "
        "`model.safetensors` under `affect_space.`",
    ]
    ranges = _ranges(space)
    emotions = {name: _emotion_text(origin.footage.get(name)) for name in space.neutrals}
    head = ["identity", *(f"{axis} from neutral" for axis in ranges)]
    if any(emotions.values()):
        head.append("predicted emotions")
    rows = [
        [
            f"**{escaped(identity)}**",
            *(f"{low:+.2f} to {high:+.2f}" for low, high in (r[identity] for r in ranges.values())),
            *([emotions[identity] or "unknown"] if any(emotions.values()) else []),
        ]
        for identity in space.neutrals
    ]
    if len(head) > 1:
        lines += [
            "",
            "Observed range of each identity's footage, as predicted by the estimator:",
            "",
        ]
        lines += markdown_table(head, rows)
    if ranges:
        lines += [
            "",
            "Valence is unpleasant to pleasant, arousal calm to excited, each from -1 to 1. The "
            "ranges are the 1st to 99th percentiles of the deviations from each person's neutral.",
        ]
    return lines


def _emotion_text(footage: FacesetSummary | None) -> str:
    if footage is None:
        return ""
    return ", ".join(
        f"{escaped(name)} {percent(share)}"
        for name, share in footage.emotions.items()
        if share >= 0.005
    )


def format_hash(value: str) -> str:
    """Format a hash as code, and anything else as escaped text."""
    is_hash = re.fullmatch(r"[0-9a-f]{16,64}", value)
    return f"`{value}`" if is_hash else escaped(value) or "unknown"


def data_lines(model: LoadedModel, origin: ModelOrigin) -> list[str]:
    """Section on the facesets and their source files, by identity."""
    lines = ["## Data"]
    for identity in model.card.identities:
        lines += [
            "",
            f"### {escaped(identity.name)}",
            "",
            f"Faceset {format_hash(identity.faceset)}",
        ]
        footage = origin.footage.get(identity.name)
        if footage is None:
            lines[-1] += (
                ", which was not available when this page was written: its sources are not listed."
            )
            continue
        metadata = footage.metadata
        lines[-1] += (
            f": {footage.faces:,} faces of {metadata.size} x {metadata.size} pixels, aligned by "
            f"{escaped(metadata.aligner)}"
        )
        lines += [
            "",
            "Sources:",
            "",
            *markdown_table(
                ("file", "sha256", "frames"),
                [
                    (
                        escaped(source.name),
                        f"`{source.sha256}`",
                        "unknown" if source.num_frames is None else f"{source.num_frames:,}",
                    )
                    for source in metadata.sources[:_MAX_SOURCES]
                ],
                numbers=1,
            ),
        ]
        if len(metadata.sources) > _MAX_SOURCES:
            lines += [
                "",
                f"and {len(metadata.sources) - _MAX_SOURCES} more, listed in its faceset.json.",
            ]
    return lines


def training_lines(model: LoadedModel, origin: ModelOrigin) -> list[str]:
    """Section on training settings."""
    config = origin.config
    network = {key: value for key, value in model.net.config.items() if key not in _EXCLUDED_KEYS}
    rows = [("steps", f"{model.card.step:,}")]
    rows += [("network", f"{model.net.name}, {_settings(network)}")]
    rows += [(name, _settings(config.get(group))) for name, group in _GROUPS]
    rows += [("seed", _settings({"seed": config.get("seed")}).removeprefix("seed "))]
    lines = ["## Training", "", *markdown_table(("", ""), [row for row in rows if row[1]])]
    lines += [
        "",
        "Settings are from the run's `config.yaml`."
        if config
        else "The run's `config.yaml` was not available when this page was written: losses, data "
        "settings and seed are unknown.",
        "",
        f"Written by {escaped(model.card.software)}; a model does not record the versions of torch "
        "and other libraries.",
    ]
    return lines


def _settings(values: object) -> str:
    """Plain settings on one line; sub-groups by the class of their ``_target_``."""
    if not isinstance(values, dict):
        return ""
    settings = [
        f"{key} {text}"
        for key, value in list(values.items())[:_MAX_SETTINGS]
        if isinstance(key, str) and not key.startswith("_") and (text := _setting(key, value))
    ]
    return escaped(", ".join(settings))


def _setting(key: str, value: object) -> str:
    """A plain value, or the class of a sub-group if it differs from the key."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (float, str)) or (isinstance(value, int) and abs(value) < 2**63):
        return str(value)
    target = value.get("_target_") if isinstance(value, dict) else None
    class_name = target.rpartition(".")[2] if isinstance(target, str) else ""
    return "" if class_name.lower() == key.lower() else class_name
