"""Several models on the same clips: what each keeps of the performers, and what truly differs."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from swapper.media.images import write_atomically
from swapper.models.model_file import load_model
from swapper.options.verbs import CompareOptions, ConvertOptions, EvaluateOptions
from swapper.provenance.manifest import verify

log = logging.getLogger(__name__)

TABLE, ROWS = "comparison.md", "comparison.json"
_SWAPS, _SELF_SWAPS = "swaps", "self_swaps"


@dataclass(frozen=True)
class PartFactories:
    """What builds the parts, each time anew.

    Attributes:
        aligner: Called for every pass over a clip.
        estimator: Of emotions; must have taught none of the models; None for none.
        own: Of what the models hear; None to take the one that each names.
        recogniser: Of whose face appears, or None.
    """

    aligner: Callable[[], Aligner]
    estimator: Callable[[], Estimator | AutoEstimator | None] = lambda: None
    model_estimator: Callable[[], Estimator | None] = lambda: None
    recogniser: Callable[[], Recogniser | None] = lambda: None


@dataclass(frozen=True)
class _Candidate:
    """A model that is compared: its weights' sha256, whom it knows, and who taught it."""

    path: Path
    sha256: str
    identities: frozenset[str]
    lineage: tuple[str, ...]


def compare(options: CompareOptions, makers: PartFactories) -> list[LeaderboardRow]:
    """Convert every clip with every model, evaluate each, and sum up.

    What an earlier call converted with the same model is not converted again.

    Args:
        options: Models, clips and identity.
        makers: Of aligner, readers and recogniser.

    Raises:
        SwapperError: In one line; what was converted and evaluated before stays.
    """
    paths, clips = _paths_by_name(options, "models"), _paths_by_name(options, "clips")
    performers = _clip_performers(options, clips)
    models = {name: _load_candidate(options, path) for name, path in paths.items()}
    # One reader for all, that taught none of them, or their figures could not be compared.
    taught = [each for entrant in models.values() for each in entrant.lineage]
    reader, missed = independent_estimator(makers.estimator(), taught, options.device)
    if reader is None:
        log.warning("emotions are not read: %s", "; ".join(missed) or "affect=none")
    recogniser = _prepare_recogniser(options, makers)
    makers = replace(makers, estimator=lambda: reader, recogniser=lambda: recogniser)
    found: dict[str, list[dict[str, Any]]] = {}
    memory: ReadingsCache = {}
    for model, entrant in models.items():
        for (clip, video), performer in zip(clips.items(), performers, strict=True):
            told = _evaluate_clip(
                options, makers, (model, entrant), (clip, video), performer, memory
            )
            found.setdefault(model, []).append(told)
            log.info("%s, %s: %s", model, clip, told["verdict"])
    rows = rank_models(found, performers, options.margin)
    lines = "\n".join(leaderboard_table(rows, list(models), options.margin))
    folder = Path(options.output)
    write_atomically(folder / TABLE, f"{lines}\n".encode())
    write_atomically(folder / ROWS, _json(rows, found, clips, performers, options).encode())
    print(lines)
    return rows


def _prepare_recogniser(options: CompareOptions, makers: PartFactories) -> Recogniser | None:
    """Who tells whose face appears, missing packages told before the first hour of converting.

    Raises:
        UsageError: A faceset was named, and no recogniser.
        EstimatorError: The recogniser's package or weights are missing.
    """
    recogniser = makers.recogniser()
    if recogniser is not None:
        recogniser.prepare(pick_device(options.device))
    elif options.faceset:
        raise UsageError(
            f"faceset={options.faceset}: needs a recogniser: pass recogniser=dlib as well"
        )
    return recogniser


def _paths_by_name(options: CompareOptions, option: str) -> dict[str, Path]:
    """Paths by their names, which must differ."""
    paths = getattr(options, option)
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


def _clip_performers(options: CompareOptions, clips: Mapping[str, Path]) -> list[str]:
    """Who performs in each clip: clips of one performer are one witness."""
    given = [str(each) for each in options.performers]
    if not given:
        return list(clips)
    if len(given) != len(clips):
        raise UsageError(f"performers: names {len(given)}, clips {len(clips)}; pass one a clip")
    return given


def _load_candidate(options: CompareOptions, path: Path) -> _Candidate:
    """A model, looked at before the first hour of converting is spent.

    Raises:
        ModelError: It cannot be read, or does not know the identity.
    """
    model = load_model(path)
    model.identity(options.identity)
    known = frozenset(each.name for each in model.card.identities)
    return _Candidate(path, model.sha256, known, tuple(model.card.lineage))


def _evaluate_clip(
    options: CompareOptions,
    makers: PartFactories,
    model: tuple[str, _Candidate],
    clip: tuple[str, Path],
    performer: str,
    memory: ReadingsCache,
) -> dict[str, Any]:
    """What the report of one swap says, as JSON holds it, and where the report lies."""
    name, entrant = model
    title, video = clip
    folder = Path(options.output)
    swap = folder / _SWAPS / name / f"{title}.mp4"
    _convert_clip(options, makers, entrant, options.identity, video, swap)
    self_swap = None
    if options.self_swaps and performer in entrant.identities - {options.identity}:
        self_swap = folder / _SELF_SWAPS / name / f"{title}.mp4"
        _convert_clip(options, makers, entrant, performer, video, self_swap)
    output = folder / "reports" / name / title
    evaluate(
        EvaluateOptions(
            performer=str(video), swap=str(swap), identity=options.faceset,
            model=str(entrant.path), output=str(output), overwrite=True, ceiling=options.ceiling,
            self_swap="" if self_swap is None else str(self_swap), device=options.device,
        ),
        makers.aligner,
        makers.estimator,
        makers.recogniser,
        memory,
    )  # fmt: skip
    told: dict[str, Any] = json.loads((output / FIGURES).read_text(encoding="utf-8"))
    return told | {"report": str(output / REPORT)}


def _convert_clip(
    options: CompareOptions,
    makers: PartFactories,
    entrant: _Candidate,
    identity: str,
    video: Path,
    swap: Path,
) -> None:
    """Convert a clip, unless that lies there already."""
    if swap.exists() and swap.stat().st_mtime >= video.stat().st_mtime:
        claim = verify(swap).claim or {}
        worn = (claim.get("parameters") or {}).get("identity")
        if (claim.get("model_sha256"), worn) == (entrant.sha256, identity):
            return
    swap.parent.mkdir(parents=True, exist_ok=True)
    convert(
        ConvertOptions(
            model=str(entrant.path), video=str(video), output=str(swap), identity=identity,
            overwrite=True, device=options.device,
        ),
        makers.aligner,
        make_estimator=makers.model_estimator,
    )  # fmt: skip


def _json(
    rows: Sequence[LeaderboardRow],
    found: Mapping[str, Sequence[Mapping[str, Any]]],
    clips: Mapping[str, Path],
    performers: Sequence[str],
    options: CompareOptions,
) -> str:
    told = {
        "clips": dict(zip(map(str, clips.values()), performers, strict=True)),
        "identity": options.identity,
        "margin": options.margin,
        "measures": leaderboard_json(rows),
        "reports": {model: [each["report"] for each in told] for model, told in found.items()},
    }
    return json.dumps(told, indent=2, allow_nan=False) + "\n"
