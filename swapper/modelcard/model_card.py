"""``model.md``: the model card.

Built from the model's metadata, and from its run and facesets if they still exist. All text from
files is escaped; missing facts are stated as unknown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from swapper.affect.space import AffectSpace
from swapper.modelcard.markdown import escaped, markdown_table, percent
from swapper.modelcard.run_origin import ModelOrigin
from swapper.modelcard.training_facts import (
    affect_lines,
    data_lines,
    format_hash,
    identity_probe_scores,
    sparse_data_lines,
    training_lines,
)
from swapper.models.model_file import LoadedModel
from swapper.models.onnx_export import TOLERANCE, inputs_of, outputs_of
from swapper.report.report_file import StoredReport

_MEASURES: Final = (
    *("gain", "correlation", "lag", "jitter", "sidedness_correlation", "gaze_correlation"),
    *("emotion_kappa", "valence_ccc", "arousal_ccc", "warping_error"),
)
"""Measures of an evaluation on the card; the report has all of them."""
_COVERAGE: Final = {
    "face": "the face from brows to chin",
    "full": "the face with forehead and jaw",
    "head": "the whole head",
}


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
    sections = [
        _head(model, space),
        _identities(model),
        _use(model, space),
        _onnx(model, onnx),
        _limits(model, space, origin),
        _evaluation(evaluations),
        affect_lines(space, origin),
        data_lines(model, origin),
        training_lines(model, origin),
        _provenance(model),
    ]
    return "\n\n".join("\n".join(each) for each in sections if each) + "\n"


def _bold_list(names: Iterable[str]) -> str:
    *most, last = (f"**{escaped(each)}**" for each in names)
    return f"{', '.join(most)} or {last}" if most else last


def _head(model: LoadedModel, space: AffectSpace | None) -> list[str]:
    net, card = model.net, model.card
    conditioning = (
        "Its decoders are conditioned on the performer's affect."
        if space is not None
        else "Its decoders are not conditioned on affect."
    )
    return [
        f"# Face swap model: {', '.join(escaped(each) for each in net.identities)}",
        "",
        f"Swaps the face of {_bold_list(net.identities)} onto a performer's footage, with the "
        f"performer's expression. {conditioning}",
        "",
        *markdown_table(
            ("", ""),
            [
                ("network", f"{net.name}, {_millions(net)} parameters"),
                ("resolution", f"{net.resolution} x {net.resolution} pixels"),
                ("crop", _COVERAGE[card.coverage]),
                ("training", f"{card.step:,} steps"),
                ("made by", escaped(card.software)),
            ],
        ),
    ]


def _millions(net: Any) -> str:
    return f"{sum(each.numel() for each in net.parameters()) / 1e6:.1f} million"


def _identities(model: LoadedModel) -> list[str]:
    return [
        "## Identities and rights",
        "",
        *markdown_table(
            ("identity", "rights, as stated when the faces were extracted"),
            [
                (f"**{escaped(each.name)}**", escaped(each.rights) or "*nothing was stated*")
                for each in model.card.identities
            ],
        ),
        "",
        "These statements have not been verified. Use the model only as they permit. `swapper "
        "convert` writes them into every file that it makes.",
    ]


def _use(model: LoadedModel, space: AffectSpace | None) -> list[str]:
    name = model.net.identities[0]
    identity_argument = name if re.fullmatch(r"[A-Za-z0-9_.-]+", name) else "NAME"
    lines = [
        "## Usage",
        "",
        "Convert a clip, from this folder:",
        "",
        "```sh",
        f"swapper convert model=. video=clip.mp4 identity={identity_argument} output=swapped.mp4",
        "```",
        "",
        "Swap one picture in Python (height x width x 3, uint8, RGB):",
        "",
        "```python",
        "import swapper",
        "",
        'model = swapper.load_model(".")',
        f'swapped = swapper.swap_frame(model, picture, "{identity_argument}").frame',
        "```",
    ]
    if space is not None:
        lines += [
            "",
            "`affect.guidance_scale=` (0 to 1.5, default 1) scales the effect of the performer's "
            "affect code. It needs the estimator named under *Affect*, with the same weights.",
        ]
    return lines


def _onnx(model: LoadedModel, files: Sequence[OnnxFile]) -> list[str]:
    if not files:
        return []

    def shape(sizes: Sequence[str | int]) -> str:
        return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"

    meaning = {
        "face": "aligned crop of the performer's face, RGB in [0, 1], channels first",
        "code": "affect code, see *Affect*",
        "guidance_scale": "0: no affect code, 1: as trained, to 1.5: extrapolated",
        "image": "the identity's face, RGB in [0, 1], channels first",
        "mask": "in [0, 1], 1 = face",
    }
    rows = [
        (way, f"`{name}`", f"`{shape(sizes)}`", meaning[name])
        for way, values in (("in", inputs_of(model.net)), ("out", outputs_of(model.net)))
        for name, sizes in values.items()
    ]
    return [
        "## ONNX files",
        "",
        "One for each identity, encoder and decoder together, float32, dynamic batch size.",
        "",
        *markdown_table(
            ("file", "identity", "opset", "largest difference from torch"),
            [
                (
                    f"`{file.name}`",
                    escaped(file.identity),
                    str(file.opset),
                    "not measured" if file.max_difference is None else f"{file.max_difference:.1e}",
                )
                for file in files
            ],
            numbers=2,
        ),
        "",
        *markdown_table(("", "name", "shape", "content"), rows),
        "",
        f"A difference of {TOLERANCE:g} is allowed, on random faces in batches of 1 and 3. Each "
        "file's metadata has the identity, its rights and the sha256 of `model.safetensors`. Face "
        "detection, colour transfer, blending and signing are not included.",
    ]


def _limits(model: LoadedModel, space: AffectSpace | None, origin: ModelOrigin) -> list[str]:
    side = model.net.resolution
    lines = [
        "## Limitations and prohibited uses",
        "",
        "- **Not for** live impersonation, for deceiving anyone about who was filmed, for passing "
        "identity checks, or for any use that the rights above do not permit.",
        f"- The output is {side} pixels across the crop. Where the face is larger in the frame, "
        "the swap is softer than its surroundings.",
        "- Anything missing from an identity's footage is extrapolated: expressions, poses, "
        "light, occlusions by hands.",
        "- It renders only the identities above. Hair, ears and neck remain the performer's.",
        "- Expressions can be weaker than the performer's. Check the result by eye.",
    ]
    probe_scores = identity_probe_scores(space)
    if probe_scores is not None:
        code, chance = probe_scores
        lines.append(
            "- The affect codes should carry affect and no identity. A linear probe still "
            f"identifies the person from a code in {percent(code)} of held-out faces (chance: "
            f"{percent(chance)}), so some of the performer's identity reaches the swap."
        )
    if space is not None:
        synthetic = space.lineage.startswith("actors:")
        lines.append(
            "- Its emotion estimator was trained on synthetic actors only; its predictions for "
            "real people are unreliable."
            if synthetic
            else "- Its emotion estimator can be wrong for people unlike its training data, and "
            "measures how a face looks, not what a person feels."
        )
    lines += [f"- {line}" for line in sparse_data_lines(space, origin)]
    return lines


def _evaluation(evaluations: Sequence[StoredReport]) -> list[str]:
    if not evaluations:
        return [
            "## Evaluation",
            "",
            "Not evaluated yet. `swapper evaluate performer=clip.mp4 swap=swapped.mp4` compares a "
            "swap with its performer, by instruments that were not used in training.",
        ]
    lines = [
        "## Evaluation",
        "",
        "By instruments that were not used in training, except where marked *partial*. The floor "
        "is the score against the performer shifted in time, the ceiling that of the ground truth "
        "or of the performer's own clip, re-encoded.",
    ]
    for report in evaluations:
        rows = [
            (
                escaped(f"{each.title} ({each.unit})" if each.unit else each.title)
                + (", *partial*" if each.partial else ""),
                *(_figure(value) for value in (each.value, each.floor, each.ceiling)),
            )
            for name in _MEASURES
            if (each := report.measures.get(name)) is not None and math.isfinite(each.value)
        ]
        lines += ["", f"**{escaped(report.title)}.** {escaped(report.verdict)}", ""]
        lines += markdown_table(("measure", "swap", "floor", "ceiling"), rows, numbers=3)
    return lines


def _figure(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def _provenance(model: LoadedModel) -> list[str]:
    lines = [
        "## Provenance",
        "",
        f"The sha256 of `model.safetensors` is `{model.sha256}`; `model.json` contains the same, "
        "and a model whose files disagree is not loaded.",
    ]
    if model.card.lineage:
        lines += [
            "",
            "Used in training, so they must not be used to evaluate the result:",
            "",
            *(_estimator(each) for each in model.card.lineage),
        ]
    return [
        *lines,
        "",
        "Files made by `swapper convert` are signed: their C2PA manifest names this model by its "
        "hash, the identity and its rights, and declares a composite with AI-generated parts. "
        "Check it with `swapper verify FILE`. The output of `swap_frame` and of the ONNX files is "
        "not marked: mark it yourself.",
    ]


def _estimator(lineage: str) -> str:
    name, _, digest = lineage.partition(":")
    if name == "landmarks":
        return f"- landmarks by {escaped(digest)}"
    return f"- {escaped(name)}, {format_hash(digest)}"
