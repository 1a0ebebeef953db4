"""Does the feeling survive? A swap against its performer, by readers that taught it nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper import __version__
from swapper.devices import pick_device
from swapper.errors import UsageError
from swapper.estimators.auto import AutoEstimator
from swapper.estimators.base import Estimator
from swapper.evaluation.clips import CEILING_CRF, Instruments, Memory, read_clips
from swapper.evaluation.frames import (
    FrameComparison,
    compare_frames,
    key_frames,
    peak_frames,
    steadiness_group,
    truth_group,
)
from swapper.evaluation.landmark_scores import (
    geometry_group,
    head_group,
    mark_partial,
    shared_tables,
)
from swapper.evaluation.likeness import IdentityFaces, identity_faces, likeness_group
from swapper.evaluation.scorecard import (
    NEUTRAL,
    OTHER_FACE,
    PairReadings,
    diagnose_pair,
    emotion_group,
    emotion_traces,
    expression_group,
    share_landmarks,
    unit_agreement,
)
from swapper.faces.aligner import Aligner
from swapper.faces.recognition import Recogniser
from swapper.media.images import sha256_file, write_atomically
from swapper.metrics.diagnosis import Diagnosis, Figures
from swapper.models.model_file import load_model
from swapper.options.verbs import EvaluateOptions
from swapper.provenance.manifest import verify
from swapper.report.content import Group, Report
from swapper.report.html_page import render

log = logging.getLogger(__name__)

REPORT: Final = "report.html"
FIGURES: Final = "report.json"
STRONGEST, WORST = 6, 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SwapOrigin:
    """What is known of how a swap was made.

    Attributes:
        lineage: Estimators that its model was trained with; None if nothing tells.
        facts: Name to text, for the report.
    """

    lineage: tuple[str, ...] | None
    facts: dict[str, str]


def evaluate(
    options: EvaluateOptions,
    make_aligner: Callable[[], Aligner],
    make_estimator: Callable[[], Estimator | AutoEstimator | None] = lambda: None,
    make_recogniser: Callable[[], Recogniser | None] = lambda: None,
    memory: Memory | None = None,
) -> Report:
    """Watch performer and swap, weigh what was seen, and write a report.

    Args:
        options: Which clips, and where to write.
        make_aligner: Called once for each clip.
        make_estimator: Of emotions and, where it reads them, action units; None for none.
        make_recogniser: Of whose face appears; None for none.
        memory: What earlier calls with the same instruments saw of performers; is added to.

    Raises:
        SwapperError: In one line; then nothing is written.
    """
    folder = Path(options.output)
    if (folder / REPORT).exists() and not options.overwrite:
        raise UsageError(f"{folder / REPORT}: exists; pass overwrite=true or another output=")
    report = evaluate_readings(options, make_aligner, make_estimator, make_recogniser, memory)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / REPORT, render(report).encode())
    told = json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n"
    write_atomically(folder / FIGURES, told.encode())
    log.info("%s", report.verdict)
    log.info("%s", folder / REPORT)
    return report


def evaluate_readings(
    options: EvaluateOptions,
    make_aligner: Callable[[], Aligner],
    make_estimator: Callable[[], Estimator | AutoEstimator | None] = lambda: None,
    make_recogniser: Callable[[], Recogniser | None] = lambda: None,
    memory: Memory | None = None,
) -> Report:
    """The same without writing anything."""
    origin = _origin(options)
    estimator, passed_over = independent_estimator(
        make_estimator(), origin.lineage or (), options.device
    )
    own = identity_faces(options, make_recogniser())
    recogniser = None if own is None else own.recogniser
    sides = read_clips(options, Instruments(make_aligner, estimator, recogniser, memory))
    return _weighed(options, sides, _Judges(estimator, own, passed_over), origin)


# --- what made the swap, and who may judge it -----------------------------------------------------


def _origin(options: EvaluateOptions) -> SwapOrigin:
    """From the model, where it is named, else from what the file itself carries."""
    verdict = verify(Path(options.swap))
    claim = (verdict.claim or {}) if verdict.state in ("trusted", "unknown signer") else {}
    facts: dict[str, str] = {"provenance": verdict.state}
    for key in ("model_name", "model_sha256", "software", "performer_rights"):
        if claim.get(key):
            facts[key.replace("_", " ")] = str(claim[key])
    if options.model:
        model = load_model(Path(options.model))
        made_by = claim.get("model_sha256")
        if made_by and made_by != model.sha256:
            raise UsageError(
                f"model={options.model}: did not make {options.swap}, which names a model of "
                f"sha256 {str(made_by)[:12]}; pass that one"
            )
        return SwapOrigin(tuple(model.card.lineage), facts | {"model sha256": model.sha256})
    parameters = claim.get("parameters")
    said = parameters.get("trained_with") if isinstance(parameters, dict) else None
    if isinstance(said, list) and all(isinstance(each, str) for each in said):
        return SwapOrigin(tuple(said), facts)
    return SwapOrigin(None, facts)


def independent_estimator(
    reader: Estimator | AutoEstimator | None, lineage: Sequence[str], device: str
) -> tuple[Estimator | None, tuple[str, ...]]:
    """A reader of emotions that took no part in the training.

    Args:
        reader: The one that was asked for, or what chooses one.
        lineage: Estimators that the model was trained with.
        device: As options name it.

    Returns:
        On the device, or None; and why others were passed over.

    Raises:
        UsageError: The one that was asked for would be pleased with whatever it taught.
    """
    passed_over: tuple[str, ...] = ()
    if isinstance(reader, AutoEstimator):
        chooser, reader = reader, reader.pick(lineage)
        passed_over = chooser.skipped
    if reader is None:
        return None, passed_over
    if reader.lineage in lineage:
        raise UsageError(
            f"affect={reader.name}: the swap's model was trained with it, so it would be pleased "
            "with whatever it taught; pass another affect="
        )
    return reader.to(pick_device(device)), passed_over


@dataclass(frozen=True, eq=False)
class _Judges:
    """Who judges, besides the aligner."""

    estimator: Estimator | None
    own: IdentityFaces | None
    passed_over: tuple[str, ...]


# --- weighing -------------------------------------------------------------------------------------


def _weighed(
    options: EvaluateOptions, sides: PairReadings, judges: _Judges, origin: SwapOrigin
) -> Report:
    estimator = judges.estimator
    found, diagnosis = diagnose_pair(sides)
    strength, strong_words = _strength(sides)
    distance, worst_words = _distance(sides)
    strongest = peak_frames(strength, STRONGEST, sides.swap.fps)
    worst = peak_frames(distance, WORST, sides.swap.fps)
    truth = sides.best if sides.exact else None
    looked = compare_frames(sides.swap, sides.performer, [*strongest, *worst], truth)
    reader = "no reader of emotions" if estimator is None else estimator.name
    unit_reader = sides.expression().reader
    report = Report(
        title=f"{Path(options.swap).name} after {Path(options.performer).name}",
        verdict=_verdict(sides, found, diagnosis),
        expressive=None if not np.isfinite(found.units.gain) else diagnosis.expressive,
        findings=tuple(each.words for each in diagnosis.findings),
        untold=(*diagnosis.untold, *_blind_spots(sides, judges, origin)),
        seconds=sides.performer.seconds,
        strongest=key_frames(sorted(strongest), strong_words, looked, sides.performer.seconds),
        worst=key_frames(worst, worst_words, looked, sides.performer.seconds),
        emotions=emotion_traces(sides),
        units=unit_agreement(sides),
        unit_reader=unit_reader,
        groups=tuple(_groups(sides, found, reader, looked, judges.own)),
        lineage=_lineage(judges, unit_reader, sides.swap.aligner, origin),
        facts=_facts(options, sides, origin),
    )
    return mark_partial(report, sides, origin.lineage or ())


def _groups(
    sides: PairReadings,
    found: Figures,
    reader: str,
    looked: FrameComparison,
    own: IdentityFaces | None,
) -> list[Group]:
    groups = [expression_group(sides, found)]
    if sides.swap.probabilities is not None or sides.swap.circumplex is not None:
        groups.insert(0, emotion_group(sides, reader))
    if not sides.one_table:
        groups += [geometry_group(sides, found.lag_frames), head_group(sides)]
    if own is not None:
        groups.append(likeness_group(sides, own))
    groups.append(steadiness_group(looked.steadiness))
    if looked.against_truth:
        groups.append(truth_group(looked.against_truth))
    return groups


def _strength(sides: PairReadings) -> tuple[Floats, dict[int, str]]:
    """How much the performer feels in each frame, and in words what."""
    probabilities = sides.performer.probabilities
    felt = None if probabilities is None else probabilities.only(lambda name: name not in NEUTRAL)
    if felt is not None and felt.names:
        strength = np.where(np.isfinite(felt.values).all(axis=1), felt.values.max(axis=1), np.nan)
        words = {
            t: f"{felt.names[int(row.argmax())]} {row.max():.2f}"
            for t, row in enumerate(felt.values)
            if np.isfinite(row).all()
        }
        return strength, words
    performer = sides.expression().performer
    away = np.abs(sides.performer.departures(performer))
    strength = np.linalg.norm(away, axis=1)
    words = {
        t: f"{performer.names[int(row.argmax())]} {performer.values[t, row.argmax()]:.2f}"
        for t, row in enumerate(away)
        if np.isfinite(row).all()
    }
    return strength, words


def _distance(sides: PairReadings) -> tuple[Floats, dict[int, str]]:
    """How far the faces are apart in each frame, each from its own rest, and in what most."""
    seen = sides.expression()
    performer, swap = seen.performer, seen.swap
    apart = np.abs(sides.swap.departures(swap) - sides.performer.departures(performer))
    words = {
        t: (
            f"{performer.names[int(row.argmax())]}: {performer.values[t, row.argmax()]:.2f}, "
            f"swap {swap.values[t, row.argmax()]:.2f}"
        )
        for t, row in enumerate(apart)
        if np.isfinite(row).all()
    }
    return np.linalg.norm(apart, axis=1), words


def _verdict(sides: PairReadings, found: Figures, diagnosis: Diagnosis) -> str:
    if not np.isfinite(found.units.gain):
        return diagnosis.words
    if diagnosis.findings:
        return diagnosis.findings[0].words
    usual = OTHER_FACE[sides.expression().reader]
    return (
        f"The performance comes through: {found.units.gain:.0%} of the performer's strength, "
        f"correlation {found.units.correlation:.2f}"
        + ("." if sides.exact else f" (this reader sees {usual:.0%} in a perfect copy).")
    )


def _blind_spots(sides: PairReadings, judges: _Judges, origin: SwapOrigin) -> list[str]:
    found = []
    if judges.estimator is None:
        why = (
            "; ".join(judges.passed_over)
            or "pass affect= with a reader that did not teach the model"
        )
        found.append(f"emotions were not read: {why}")
    if judges.own is None:
        found.append("whose face appears was not asked: pass recogniser=dlib identity=FACESET")
    elif judges.own.embeddings is None:
        found.append(
            "whether it is the identity's face was not asked, only how far from the performer's "
            "it is: pass identity=FACESET"
        )
    if sides.swap.blendshapes is None:
        found.append("gaze was not read: pass aligner=mediapipe")
    found += shared_tables(sides)
    if origin.lineage is None:
        found.append(
            "what the swap's model was trained with is not known: pass model= to have it checked"
        )
    lost = int((sides.performer.found & ~sides.swap.found).sum())
    if lost:
        found.append(f"in {lost} frames the performer's face was found, but none in the swap")
    return found


def _lineage(
    judges: _Judges, unit_reader: str, aligner: str, origin: SwapOrigin
) -> tuple[str, ...]:
    trained: Sequence[str] = ("unknown",) if origin.lineage is None else origin.lineage
    measured = [unit_reader, f"landmarks by {aligner}"]
    if judges.estimator is not None:
        measured.append(judges.estimator.lineage)
    if judges.own is not None:
        recogniser = judges.own.recogniser
        measured.append(f"{recogniser.lineage} (licence: {recogniser.licence})")
    return (
        f"trained with: {', '.join(trained) or 'no reader of affect'}",
        f"measured by: {', '.join(measured)}",
    )


def _facts(options: EvaluateOptions, sides: PairReadings, origin: SwapOrigin) -> dict[str, str]:
    facts: dict[str, Any] = {
        "performer": options.performer,
        "performer sha256": sha256_file(Path(options.performer)),
        "swap": options.swap,
        "swap sha256": sha256_file(Path(options.swap)),
        "frames": f"{len(sides.swap)} at {sides.swap.fps:.3g} per second",
        "frames with both faces": str(int((sides.swap.found & sides.performer.found).sum())),
        "ceiling": _ceiling_of(sides),
        "self-swap": options.self_swap or "not measured",
        "evaluated by": f"swapper {__version__}",
        **origin.facts,
    }
    if options.truth:
        facts["truth"] = options.truth
    return facts


def _ceiling_of(sides: PairReadings) -> str:
    """In words, what the best is that was measured."""
    if sides.best is None:
        return "not measured"
    if sides.exact:
        return "the exact answer"
    told = f"performer encoded anew (H.264, CRF {CEILING_CRF})"
    same = share_landmarks(sides.best, sides.performer)
    return f"{told}; its landmarks are the performer's" if same else told
