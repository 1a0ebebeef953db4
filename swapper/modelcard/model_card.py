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
        "Its decoders are conditioned on the performer's affect, so that the feeling comes through."
        if space is not None
        else "Its decoders see the performer's face only; they are not conditioned on affect."
    )
    return [
        f"# Face swap model: {', '.join(escaped(each) for each in net.identities)}",
        "",
        f"Puts the face of {_bold_list(net.identities)} onto a performer's footage and keeps what "
        f"the performer does. {conditioning}",
        "",
        *markdown_table(
            ("", ""),
            [
                ("network", f"{net.name}, {_millions(net)} parameters"),
                ("draws at", f"{net.resolution} x {net.resolution} pixels"),
                ("sees", _COVERAGE[card.coverage]),
                ("trained for", f"{card.step:,} steps"),
                ("made by", escaped(card.software)),
            ],
        ),
    ]


def _millions(net: Any) -> str:
    return f"{sum(each.numel() for each in net.parameters()) / 1e6:.1f} million"


def _identities(model: LoadedModel) -> list[str]:
    return [
        "## Whose faces, and by what right",
        "",
        *markdown_table(
            ("identity", "rights, as stated when the faces were extracted"),
            [
                (f"**{escaped(each.name)}**", escaped(each.rights) or "*nothing was stated*")
                for each in model.card.identities
            ],
        ),
        "",
        "Nobody has checked these statements. They bind whoever uses the model: do nothing with it "
        "that they do not allow. They are written into every file that `swapper convert` makes.",
    ]


def _use(model: LoadedModel, space: AffectSpace | None) -> list[str]:
    name = model.net.identities[0]
    identity_argument = name if re.fullmatch(r"[A-Za-z0-9_.-]+", name) else "NAME"
    lines = [
        "## How to use it",
        "",
        "From this folder, on a clip:",
        "",
        "```sh",
        f"swapper convert model=. video=clip.mp4 identity={identity_argument} output=swapped.mp4",
        "```",
        "",
        "From Python, on one picture (height x width x 3, uint8, RGB):",
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
            "`affect.guidance_scale=` (0 to 1.5; 1 by default) scales what the performer's affect "
            "does to the swap. It needs the estimator named under *Affect*, with the same weights.",
        ]
    return lines


def _onnx(model: LoadedModel, files: Sequence[OnnxFile]) -> list[str]:
    if not files:
        return []

    def shape(sizes: Sequence[str | int]) -> str:
        return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"

    meaning = {
        "face": "aligned crop of the performer's face, RGB in [0, 1], channels first",
        "code": "affect code; see *Affect*",
        "guidance_scale": "0: no affect code, 1: as trained, to 1.5: extrapolated",
        "image": "the identity's face, RGB in [0, 1], channels first",
        "mask": "1 where that is face, 0 where it is not",
    }
    rows = [
        (way, f"`{name}`", f"`{shape(sizes)}`", meaning[name])
        for way, values in (("in", inputs_of(model.net)), ("out", outputs_of(model.net)))
        for name, sizes in values.items()
    ]
    return [
        "## ONNX files",
        "",
        "One for each identity, encoder and decoder together, float32; the batch is free.",
        "",
        *markdown_table(
            ("file", "identity", "opset", "furthest from torch"),
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
        *markdown_table(("", "name", "shape", "what"), rows),
        "",
        f"At most {TOLERANCE:g} of difference is allowed, on random faces in batches of 1 and 3. "
        "Identity, rights and the sha256 of `model.safetensors` stand in each file's metadata. The "
        "files find no faces, fit no colours and blend nothing, and what they draw is not signed.",
    ]


def _limits(model: LoadedModel, space: AffectSpace | None, origin: ModelOrigin) -> list[str]:
    side = model.net.resolution
    lines = [
        "## What it cannot do, and must not be used for",
        "",
        "- **Not for** live impersonation, for deceiving anyone about who was filmed, for getting "
        "past identity checks, or for any use that the rights above leave out.",
        f"- It draws {side} pixels across the crop. Where the face is larger in the frame than "
        "that, the swap is softer than the film around it.",
        "- What an identity's footage never showed is guessed: feelings, views from the side, "
        "light, hands before the face.",
        "- It draws the identities above and nobody else. Hair, ears and neck stay the "
        "performer's.",
        "- An expression can come through weaker than it was played. Look at the result before "
        "you believe in it.",
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
            "what a face shows is not what a person feels."
        )
    lines += [f"- {line}" for line in sparse_data_lines(space, origin)]
    return lines


def _evaluation(evaluations: Sequence[StoredReport]) -> list[str]:
    if not evaluations:
        return [
            "## Evaluation",
            "",
            "Not evaluated yet. `swapper evaluate performer=clip.mp4 swap=swapped.mp4` holds a "
            "swap against the performance with instruments that took no part in training.",
        ]
    lines = [
        "## Evaluation",
        "",
        "By instruments that took no part in training, but where *partial* is said. The floor is "
        "what another moment of the same performance gives, the ceiling the performer's own clip "
        "encoded anew.",
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
        lines += markdown_table(("figure", "swap", "floor", "ceiling"), rows, numbers=3)
    return lines


def _figure(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "–"


def _provenance(model: LoadedModel) -> list[str]:
    lines = [
        "## Provenance",
        "",
        f"`model.safetensors` has the sha256 `{model.sha256}`; `model.json` says so, and a model "
        "whose two files disagree is not loaded.",
    ]
    if model.card.lineage:
        lines += [
            "",
            "These took part in training, so they must not judge the result:",
            "",
            *(_estimator(each) for each in model.card.lineage),
        ]
    return [
        *lines,
        "",
        "What `swapper convert` makes of it is signed: a C2PA manifest names this model by its "
        "hash, the identity and its rights, and says that the picture is a composite with "
        "AI-generated parts. Read it back with `swapper verify FILE`. What `swap_frame` or an ONNX "
        "file draws carries no mark: mark it yourself.",
    ]


def _estimator(lineage: str) -> str:
    name, _, digest = lineage.partition(":")
    if name == "landmarks":
        return f"- landmarks by {escaped(digest)}"
    return f"- {escaped(name)}, {format_hash(digest)}"
