"""``model.md``: the model card.

Built from the model's metadata, and from its run and facesets if they still exist. All text from
files is escaped; missing facts are stated as unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from swapper.affect.space import AffectSpace
from swapper.modelcard.run_origin import ModelOrigin
from swapper.modelcard.training_facts import (
    identity_probe_scores,
    narrow_ranges,
    observed_ranges,
    training_settings,
)
from swapper.models.model_file import LoadedModel
from swapper.models.onnx_export import TOLERANCE, inputs_of, outputs_of
from swapper.report.markup import templates
from swapper.report.report_file import StoredReport

_MEASURES: Final = (
    *("gain", "correlation", "lag", "jitter", "sidedness_correlation", "gaze_correlation"),
    *("emotion_kappa", "valence_ccc", "arousal_ccc", "warping_error"),
)
"""Measures of an evaluation on the card; the report has all of them."""
_MAX_SOURCES: Final = 100
_MAX_TEXT: Final = 2000
_MIN_SHARE: Final = 0.005
"""Share of faces from which an emotion is listed."""


@dataclass(frozen=True)
class OnnxFile:
    """An exported ONNX file.

    Attributes:
        name: File name.
        identity: That it renders.
        opset: Operator set version.
        max_difference: Largest difference from torch on random faces; None if not measured.
    """

    name: str
    identity: str
    opset: int
    max_difference: float | None


def model_page(
    model: LoadedModel,
    space: AffectSpace | None,
    origin: ModelOrigin,
    onnx: Sequence[OnnxFile] = (),
    evaluations: Sequence[StoredReport] = (),
) -> str:
    """Render the model card as Markdown; deterministic.

    Args:
        model: Loaded.
        space: The model's affect space; None if it is not conditioned.
        origin: Run config and facesets, as far as available.
        onnx: ONNX files in the same folder.
        evaluations: Reports on its swaps.
    """
    net = model.net
    first = net.identities[0]
    ranges = observed_ranges(space)
    return _TEMPLATES.get_template("model.md.jinja").render(
        card=model.card,
        emotions=_emotions(space, origin),
        evaluations=[(report, _measures(report)) for report in evaluations],
        identity_argument=first if re.fullmatch(r"[A-Za-z0-9_.-]+", first) else "NAME",
        inputs=inputs_of(net),
        max_sources=_MAX_SOURCES,
        model=model,
        narrow_ranges=narrow_ranges(ranges),
        net=net,
        num_parameters=sum(each.numel() for each in net.parameters()),
        onnx=onnx,
        origin=origin,
        outputs=outputs_of(net),
        probe_scores=identity_probe_scores(space),
        ranges=ranges,
        settings=training_settings(model, origin),
        space=space,
        tolerance=TOLERANCE,
    )


def escaped(value: object) -> str:
    """Escape untrusted text for Markdown: one line, bounded, without markup or links."""
    text = " ".join(str(value).split())
    text = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    if len(text) > _MAX_TEXT:
        text = text[:_MAX_TEXT] + " ... (the rest is in model.json)"
    return re.sub(r"([\\`*_\[\]<>|~&#@!$]|:(?=//)|(?<=www)\.)", r"\\\1", text)


def _emotions(space: AffectSpace | None, origin: ModelOrigin) -> dict[str, dict[str, float]]:
    """Share of faces by identity and emotion, of the identities where it is known."""
    shares = {
        name: {emotion: each for emotion, each in footage.emotions.items() if each >= _MIN_SHARE}
        for name, footage in origin.footage.items()
        if space is not None and name in space.neutrals
    }
    return {name: each for name, each in shares.items() if each}


def _measures(report: StoredReport) -> list[Any]:
    found = (report.measures.get(name) for name in _MEASURES)
    return [each for each in found if each is not None and math.isfinite(each.value)]


def _figure(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def _hash(value: str) -> str:
    """A hash as code, and anything else as text."""
    if re.fullmatch(r"[0-9a-f]{16,64}", value):
        return Markup(f"`{value}`")  # noqa: S704, hex digits only
    return value if value.split() else "unknown"


_TEMPLATES: Final = templates(
    "swapper.modelcard",
    autoescape=False,  # Markdown is escaped by `finalize`
    finalize=lambda value: escaped(value) if type(value) is str else value,
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {
    "figure": _figure,
    "hash": _hash,
    "percent": lambda share: f"{100 * share:.0f} %",
}
