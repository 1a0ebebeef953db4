"""Several models on the same clips: what each keeps of the performers, and what truly differs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.affect.estimator import Estimator
from swapper.convert import convert
from swapper.errors import UsageError
from swapper.evaluation import FIGURES, REPORT, evaluate
from swapper.faces.aligners import Aligner
from swapper.faces.recognition import Recogniser
from swapper.measures.intervals import Interval
from swapper.measures.statistics import Test, difference, holm, interval
from swapper.media.image import write_atomically
from swapper.media.provenance import verify
from swapper.models.portable import load_model
from swapper.options import CompareOptions, ConvertOptions, EvaluateOptions

log = logging.getLogger(__name__)

TABLE, ROWS = "comparison.md", "comparison.json"
REAL: Final = 0.05
"""Below, after Holm's correction over all that is compared, a difference is real."""
SHOWN: Final = (
    *("gain", "correlation", "lag", "jitter", "velocity_correlation", "fast_coherence"),
    *("sidedness_correlation", "gaze_correlation", "emotion_kappa", "divergence", "valence_ccc"),
    *("arousal_ccc", "pose_error", "landmark_error", "identity_similarity", "warping_error"),
)
"""Measures that the table tells, where they were taken."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """One measure over all clips.

    Attributes:
        name, title: Of the measure.
        better: Which way is better; "one" is best at 1.
        means: By model, with intervals over performers.
        best: The model that is best, if it is better than each other beyond chance; else "".
        p: By rival of the best, after Holm's correction; NaN where too few performers tell.
    """

    name: str
    title: str
    better: str
    means: Mapping[str, Interval]
    best: str
    p: Mapping[str, float]


def compare(
    options: CompareOptions,
    make_aligner: Callable[[], Aligner],
    make_estimator: Callable[[], Estimator | None] = lambda: None,
    make_own: Callable[[], Estimator | None] = lambda: None,
    make_recogniser: Callable[[], Recogniser | None] = lambda: None,
) -> list[Row]:
    """Convert every clip with every model, evaluate each, and sum up.

    What an earlier call converted with the same model is not converted again.

    Args:
        options: Models, clips and identity.
        make_aligner: Called for every pass over a clip.
        make_estimator: Of emotions; must have taught none of the models.
        make_own: Of what the models hear; None to take the one that each names.
        make_recogniser: Of whose face appears, or None.

    Raises:
        SwapperError: In one line; what was converted and evaluated before stays.
    """
    models, clips = _named(options.models, "models"), _named(options.clips, "clips")
    performers = _performers(options, clips)
    folder = Path(options.output)
    found: dict[str, list[dict[str, Any]]] = {}
    for model, path in models.items():
        for clip, video in clips.items():
            swap = folder / "swaps" / model / f"{clip}.mp4"
            _convert(options, path, video, swap, make_aligner, make_own)
            told = _evaluated(
                options, path, video, swap, make_aligner, make_estimator, make_recogniser
            )
            found.setdefault(model, []).append(told)
            log.info("%s, %s: %s", model, clip, told["verdict"])
    rows = summed(found, performers)
    write_atomically(folder / TABLE, ("\n".join(table(rows, list(models))) + "\n").encode())
    write_atomically(folder / ROWS, _plain(rows, found, clips, performers).encode())
    print("\n".join(table(rows, list(models))))
    return rows


def _named(paths: Any, option: str) -> dict[str, Path]:
    """Paths by their names, which must differ."""
    given = [paths] if isinstance(paths, str) else [str(each) for each in paths]
    found: dict[str, Path] = {}
    for each in map(Path, given):
        name = each.parent.name if each.name == "model.safetensors" else each.stem
        if name in found:
            raise UsageError(f"{option}: {found[name]} and {each} have one name; rename one")
        if not each.exists():
            raise UsageError(f"{option}: {each}: no such file")
        found[name] = each
    least = 2 if option == "models" else 1
    if len(found) < least:
        raise UsageError(f"{option}: needs {least} at least, pass {option}=[...]")
    return found


def _performers(options: CompareOptions, clips: Mapping[str, Path]) -> list[str]:
    """Who performs in each clip: clips of one performer are one witness."""
    given = [str(each) for each in options.performers]
    if not given:
        return list(clips)
    if len(given) != len(clips):
        raise UsageError(f"performers: names {len(given)}, clips {len(clips)}; pass one a clip")
    return given


def _convert(
    options: CompareOptions,
    model: Path,
    video: Path,
    swap: Path,
    make_aligner: Callable[[], Aligner],
    make_own: Callable[[], Estimator | None],
) -> None:
    if swap.exists():
        claim = verify(swap).claim or {}
        if claim.get("model_sha256") == load_model(model).sha256:
            return
    swap.parent.mkdir(parents=True, exist_ok=True)
    convert(
        ConvertOptions(
            model=str(model), video=str(video), output=str(swap), identity=options.identity,
            overwrite=True, device=options.device,
        ),
        make_aligner,
        make_estimator=make_own,
    )  # fmt: skip


def _evaluated(
    options: CompareOptions,
    model: Path,
    video: Path,
    swap: Path,
    make_aligner: Callable[[], Aligner],
    make_estimator: Callable[[], Estimator | None],
    make_recogniser: Callable[[], Recogniser | None],
) -> dict[str, Any]:
    output = Path(options.output) / "reports" / swap.parent.name / swap.stem
    evaluate(
        EvaluateOptions(
            performer=str(video), swap=str(swap), identity=options.faceset, model=str(model),
            output=str(output), overwrite=True, ceiling=options.ceiling, device=options.device,
        ),
        make_aligner,
        make_estimator,
        make_recogniser,
    )  # fmt: skip
    told: dict[str, Any] = json.loads((output / FIGURES).read_text(encoding="utf-8"))
    return told | {"report": str(output / REPORT)}


def summed(
    found: Mapping[str, Sequence[Mapping[str, Any]]], performers: Sequence[str]
) -> list[Row]:
    """Means, and where one model is better than the others beyond chance.

    Args:
        found: By model, what `Report.to_dict` says of each clip, in one order.
        performers: Of each clip.
    """
    first = next(iter(found.values()))[0]["measures"]
    rows, tests = [], {}
    for name in (each for each in SHOWN if each in first):
        values = {model: _values(told, name) for model, told in found.items()}
        means = {model: interval(each, performers) for model, each in values.items()}
        better = first[name]["better"]
        ahead = _ahead(values, better, performers)
        rows.append(Row(name, first[name]["title"], better, means, ahead, {}))
        for rival in values:
            if ahead and rival != ahead:
                tests[name, rival] = _test(values, ahead, rival, better, performers)
    raised = holm({f"{name} {rival}": test.p for (name, rival), test in tests.items()})
    told = []
    for row in rows:
        p = {rival: raised[f"{row.name} {rival}"] for name, rival in tests if name == row.name}
        real = bool(p) and all(each < REAL for each in p.values())
        told.append(replace(row, p=p, best=row.best if real else ""))
    return told


def _values(told: Sequence[Mapping[str, Any]], name: str) -> Floats:
    values = [each["measures"].get(name, {}).get("value") for each in told]
    return np.array([np.nan if each is None else each for each in values], np.float64)


def _loss(values: Floats, better: str, name: str = "") -> Floats:
    """Less is better, whatever the measure."""
    if better == "one":
        return np.abs(values - 1)
    return np.abs(values) if better == "lower" else -values


def _ahead(values: Mapping[str, Floats], better: str, performers: Sequence[str]) -> str:
    means = {
        model: interval(_loss(each, better), performers).mean for model, each in values.items()
    }
    told = {model: mean for model, mean in means.items() if np.isfinite(mean)}
    return min(told, key=lambda model: told[model]) if len(told) > 1 else ""


def _test(
    values: Mapping[str, Floats], best: str, rival: str, better: str, performers: Sequence[str]
) -> Test:
    return difference(_loss(values[best], better), _loss(values[rival], better), performers)


def table(rows: Sequence[Row], models: Sequence[str]) -> list[str]:
    """As Markdown; bold is better than every other beyond chance."""
    arrows = {"higher": "↑", "lower": "↓", "one": "→ 1"}
    lines = ["| | " + " | ".join(models) + " |", "|" + "---|" * (len(models) + 1)]
    for row in rows:
        cells = [f"{row.means[model]}" for model in models]
        cells = [
            f"**{cell}**" if model == row.best else cell
            for cell, model in zip(cells, models, strict=True)
        ]
        lines.append(f"| {row.title} {arrows[row.better]} | " + " | ".join(cells) + " |")
    few = all(not np.isfinite(p) for row in rows for p in row.p.values())
    said = (
        "Too few performers for a test: nothing is marked as best."
        if few
        else "Bold: better than every other (Wilcoxon over performers, Holm over the table)."
    )
    return [*lines, "", f"Mean [95 %] over performers. {said}"]


def _plain(
    rows: Sequence[Row],
    found: Mapping[str, Sequence[Mapping[str, Any]]],
    clips: Mapping[str, Path],
    performers: Sequence[str],
) -> str:
    def number(value: float) -> float | None:
        return value if np.isfinite(value) else None

    told = {
        "clips": dict(zip(map(str, clips.values()), performers, strict=True)),
        "measures": {
            row.name: {
                "title": row.title,
                "better": row.better,
                "best": row.best,
                "models": {
                    model: [number(each.mean), number(each.low), number(each.high)]
                    for model, each in row.means.items()
                },
                "p": {rival: number(p) for rival, p in row.p.items()},
            }
            for row in rows
        },
        "reports": {model: [each["report"] for each in told] for model, told in found.items()},
    }
    return json.dumps(told, indent=2, allow_nan=False) + "\n"
