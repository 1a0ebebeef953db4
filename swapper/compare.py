"""Compare models on the same clips: convert, evaluate and rank them with significance tests."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from swapper.convert import convert
from swapper.devices import pick_device
from swapper.errors import UsageError
from swapper.estimators.auto import AutoEstimator
from swapper.estimators.base import Estimator
from swapper.evaluate import FIGURES, REPORT, evaluate, independent_estimator
from swapper.evaluation.clips import ReadingsCache
from swapper.evaluation.leaderboard import (
    LeaderboardRow,
    leaderboard_json,
    leaderboard_table,
    rank_models,
)
from swapper.faces.aligner import Aligner
from swapper.faces.recognition import Recogniser
from swapper.files import write_atomically
from swapper.models.model_file import load_model
from swapper.options.verbs import CompareOptions, ConvertOptions, EvaluateOptions
from swapper.provenance.manifest import verify

log = logging.getLogger(__name__)

TABLE, ROWS = "comparison.md", "comparison.json"
_SWAPS, _SELF_SWAPS = "swaps", "self_swaps"


@dataclass(frozen=True)
class _Candidate:
    """A model to compare: sha256 of its weights, its identities and its training lineage."""

    path: Path
    sha256: str
    identities: frozenset[str]
    lineage: tuple[str, ...]


def compare(
    options: CompareOptions,
    make_aligner: Callable[[], Aligner],
    make_estimator: Callable[[], Estimator | AutoEstimator | None] = lambda: None,
    make_recogniser: Callable[[], Recogniser | None] = lambda: None,
    make_model_estimator: Callable[[], Estimator | None] = lambda: None,
) -> list[LeaderboardRow]:
    """Convert every clip with every model, evaluate each swap and write the leaderboard.

    Swaps that an earlier call converted with the same model are reused.

    Args:
        options: What to compare, and where to write.
        make_aligner: Called for every pass over a clip.
        make_estimator: Builds the emotion estimator that measures; it must not be in the lineage of
            any model; may return None.
        make_recogniser: Builds the face recogniser; may return None.
        make_model_estimator: Builds the estimator that conditions the models; may return None to
            use the one that each model names.

    Raises:
        SwapperError: In one line; swaps and reports written before it stay.
    """
    paths, clips = _paths_by_name(options, "models"), _paths_by_name(options, "clips")
    performers = _clip_performers(options, clips)
    models = {name: _load_candidate(options, path) for name, path in paths.items()}
    # One estimator, independent of all models: otherwise their figures are not comparable.
    lineages = [each for candidate in models.values() for each in candidate.lineage]
    estimator, skipped = independent_estimator(make_estimator(), lineages, options.device)
    if estimator is None:
        log.warning("emotions are not read: %s", "; ".join(skipped) or "affect=none")
    recogniser = _prepared(options, make_recogniser())
    cache: ReadingsCache = {}
    convert_clip = partial(convert, make_aligner=make_aligner, make_estimator=make_model_estimator)
    evaluate_clip = partial(
        evaluate, make_aligner=make_aligner, make_estimator=lambda: estimator,
        make_recogniser=lambda: recogniser, cache=cache,
    )  # fmt: skip
    reports: dict[str, list[dict[str, Any]]] = {}
    for model, candidate in models.items():
        for (clip, video), performer in zip(clips.items(), performers, strict=True):
            report = _evaluate_clip(
                options, convert_clip, evaluate_clip, (model, candidate), (clip, video), performer
            )
            reports.setdefault(model, []).append(report)
            log.info("%s, %s: %s", model, clip, report["verdict"])
    rows = rank_models(reports, performers, options.margin)
    table = "\n".join(leaderboard_table(rows, list(models), options.margin))
    write_atomically(Path(options.output) / TABLE, f"{table}\n".encode())
    data = {
        "clips": dict(zip(map(str, clips.values()), performers, strict=True)),
        "identity": options.identity,
        "margin": options.margin,
        "measures": leaderboard_json(rows),
        "reports": {model: [each["report"] for each in clip] for model, clip in reports.items()},
    }
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    write_atomically(Path(options.output) / ROWS, text.encode())
    print(table)
    return rows


def _prepared(options: CompareOptions, recogniser: Recogniser | None) -> Recogniser | None:
    """Prepare the recogniser early, so that missing packages fail before converting."""
    if recogniser is not None:
        recogniser.prepare(pick_device(options.device))
    elif options.faceset:
        raise UsageError(
            f"faceset={options.faceset}: needs a recogniser: pass recogniser=dlib as well"
        )
    return recogniser


def _paths_by_name(options: CompareOptions, option: str) -> dict[str, Path]:
    """Return the paths of an option by name; names must be unique."""
    paths = getattr(options, option)
    paths_given = [paths] if isinstance(paths, str) else [str(path) for path in paths]
    named: dict[str, Path] = {}
    for path in map(Path, paths_given):
        name = path.parent.name if path.name == "model.safetensors" else path.stem
        if name in named:
            raise UsageError(f"{option}: {named[name]} and {path} have one name; rename one")
        if not path.exists():
            raise UsageError(f"{option}: {path}: no such file")
        named[name] = path
    minimum = 2 if option == "models" else 1
    if len(named) < minimum:
        raise UsageError(f"{option}: needs {minimum} at least, pass {option}=[...]")
    return named


def _clip_performers(options: CompareOptions, clips: Mapping[str, Path]) -> list[str]:
    """Return the performer of each clip; clips of one performer form one cluster."""
    performers = [str(each) for each in options.performers]
    if not performers:
        return list(clips)
    if len(performers) != len(clips):
        raise UsageError(
            f"performers: names {len(performers)}, clips {len(clips)}; pass one a clip"
        )
    return performers


def _load_candidate(options: CompareOptions, path: Path) -> _Candidate:
    """Load a model to check it, and that it has the identity, before converting."""
    model = load_model(path)
    model.identity(options.identity)
    identities = frozenset(each.name for each in model.card.identities)
    return _Candidate(path, model.sha256, identities, tuple(model.card.lineage))


def _evaluate_clip(
    options: CompareOptions,
    convert_clip: Callable[[ConvertOptions], object],
    evaluate_clip: Callable[[EvaluateOptions], object],
    model: tuple[str, _Candidate],
    clip: tuple[str, Path],
    performer: str,
) -> dict[str, Any]:
    """Convert and evaluate one clip; return report.json as a dict plus the path of the report."""
    name, candidate = model
    title, video = clip
    folder = Path(options.output)
    swap = folder / _SWAPS / name / f"{title}.mp4"
    _convert_once(convert_clip, options.device, candidate, options.identity, video, swap)
    self_swap = None
    if options.self_swaps and performer in candidate.identities - {options.identity}:
        self_swap = folder / _SELF_SWAPS / name / f"{title}.mp4"
        _convert_once(convert_clip, options.device, candidate, performer, video, self_swap)
    output = folder / "reports" / name / title
    evaluate_clip(
        EvaluateOptions(
            performer=str(video), swap=str(swap), identity=options.faceset,
            model=str(candidate.path), output=str(output), overwrite=True, ceiling=options.ceiling,
            self_swap="" if self_swap is None else str(self_swap), device=options.device,
        )
    )  # fmt: skip
    report: dict[str, Any] = json.loads((output / FIGURES).read_text(encoding="utf-8"))
    return report | {"report": str(output / REPORT)}


def _convert_once(
    convert_clip: Callable[[ConvertOptions], object],
    device: str,
    candidate: _Candidate,
    identity: str,
    video: Path,
    swap: Path,
) -> None:
    """Convert a clip, unless the same model and identity already did."""
    if swap.exists() and swap.stat().st_mtime >= video.stat().st_mtime:
        claim = verify(swap).claim or {}
        swapped_identity = (claim.get("parameters") or {}).get("identity")
        if (claim.get("model_sha256"), swapped_identity) == (candidate.sha256, identity):
            return
    swap.parent.mkdir(parents=True, exist_ok=True)
    convert_clip(
        ConvertOptions(
            model=str(candidate.path), video=str(video), output=str(swap), identity=identity,
            overwrite=True, device=device,
        )
    )  # fmt: skip
