"""Evaluate a swap against its performer, by instruments that took no part in training."""

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
from swapper.evaluation.clips import CEILING_CRF, Instruments, ReadingsCache, read_clips
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
    mark_dependent_aligner,
    shared_landmark_warnings,
)
from swapper.evaluation.likeness import IdentityFaces, identity_faces, likeness_group
from swapper.evaluation.scorecard import (
    NEUTRAL,
    OTHER_FACE_GAIN,
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
from swapper.files import sha256_of, write_atomically
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
    """What a swap's model was trained with, None if unknown; and facts for the report."""

    lineage: tuple[str, ...] | None
    facts: dict[str, str]


def evaluate(
    options: EvaluateOptions,
    make_aligner: Callable[[], Aligner],
    make_estimator: Callable[[], Estimator | AutoEstimator | None] = lambda: None,
    make_recogniser: Callable[[], Recogniser | None] = lambda: None,
    cache: ReadingsCache | None = None,
) -> Report:
    """Read performer and swap, compute all measures and write the report.

    Args:
        options: Which clips, and where to write.
        make_aligner: Called once per clip.
        make_estimator: Builds the estimator of emotions and, if supported, action units; may
            return None.
        make_recogniser: Builds the face recogniser; may return None.
        cache: Performer readings of earlier calls with the same instruments; updated in place.

    Raises:
        SwapperError: In one line; then nothing is written.
    """
    folder = Path(options.output)
    if (folder / REPORT).exists() and not options.overwrite:
        raise UsageError(f"{folder / REPORT}: exists; pass overwrite=true or another output=")
    report = build_report(options, make_aligner, make_estimator, make_recogniser, cache)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / REPORT, render(report).encode())
    text = json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n"
    write_atomically(folder / FIGURES, text.encode())
    log.info("%s", report.verdict)
    log.info("%s", folder / REPORT)
    return report


def build_report(
    options: EvaluateOptions,
    make_aligner: Callable[[], Aligner],
    make_estimator: Callable[[], Estimator | AutoEstimator | None] = lambda: None,
    make_recogniser: Callable[[], Recogniser | None] = lambda: None,
    cache: ReadingsCache | None = None,
) -> Report:
    """Compute the report of `evaluate` without writing it."""
    origin = _swap_origin(options)
    estimator, skipped = independent_estimator(
        make_estimator(), origin.lineage or (), options.device
    )
    identity = identity_faces(options, make_recogniser())
    recogniser = None if identity is None else identity.recogniser
    readings = read_clips(options, Instruments(make_aligner, estimator, recogniser, cache))
    return _report(options, readings, _Judges(estimator, identity, skipped), origin)


# --- origin and independence ----------------------------------------------------------------------


def _swap_origin(options: EvaluateOptions) -> SwapOrigin:
    """Read the origin from the named model, else from the swap's own manifest."""
    verdict = verify(Path(options.swap))
    claim = (verdict.claim or {}) if verdict.state in ("trusted", "unknown signer") else {}
    facts: dict[str, str] = {"provenance": verdict.state}
    for key in ("model_name", "model_sha256", "software", "performer_rights"):
        if claim.get(key):
            facts[key.replace("_", " ")] = str(claim[key])
    if options.model:
        model = load_model(Path(options.model))
        model_sha256 = claim.get("model_sha256")
        if model_sha256 and model_sha256 != model.sha256:
            raise UsageError(
                f"model={options.model}: did not make {options.swap}, which names a model of "
                f"sha256 {str(model_sha256)[:12]}; pass that one"
            )
        return SwapOrigin(tuple(model.card.lineage), facts | {"model sha256": model.sha256})
    parameters = claim.get("parameters")
    trained_with = parameters.get("trained_with") if isinstance(parameters, dict) else None
    if isinstance(trained_with, list) and all(isinstance(each, str) for each in trained_with):
        return SwapOrigin(tuple(trained_with), facts)
    return SwapOrigin(None, facts)


def independent_estimator(
    estimator: Estimator | AutoEstimator | None, lineage: Sequence[str], device: str
) -> tuple[Estimator | None, tuple[str, ...]]:
    """Select an emotion estimator that took no part in training.

    Args:
        estimator: The requested one, or an `AutoEstimator` that picks one.
        lineage: Estimators that the model was trained with.
        device: As options name it.

    Returns:
        The estimator on the device, or None; and why others were skipped, one reason each.

    Raises:
        UsageError: The requested estimator took part in training.
    """
    skipped: tuple[str, ...] = ()
    if isinstance(estimator, AutoEstimator):
        chooser, estimator = estimator, estimator.pick(lineage)
        skipped = chooser.skipped
    if estimator is None:
        return None, skipped
    if estimator.lineage in lineage:
        raise UsageError(
            f"affect={estimator.name}: the swap's model was trained with it, so it is not "
            "independent; pass another affect="
        )
    return estimator.to(pick_device(device)), skipped


@dataclass(frozen=True, eq=False)
class _Judges:
    """Instruments besides the aligner, and why other estimators were skipped."""

    estimator: Estimator | None
    identity: IdentityFaces | None
    skipped: tuple[str, ...]


# --- report ---------------------------------------------------------------------------------------


def _report(
    options: EvaluateOptions, readings: PairReadings, judges: _Judges, origin: SwapOrigin
) -> Report:
    estimator = judges.estimator
    figures, diagnosis = diagnose_pair(readings)
    strength, strongest_captions = _expression_strength(readings)
    distance, worst_captions = _expression_distance(readings)
    strongest = peak_frames(strength, STRONGEST, readings.swap.fps)
    worst = peak_frames(distance, WORST, readings.swap.fps)
    truth = readings.ceiling if readings.has_truth else None
    comparison = compare_frames(readings.swap, readings.performer, [*strongest, *worst], truth)
    estimator_name = "no emotion estimator" if estimator is None else estimator.name
    unit_instrument = readings.expression().instrument
    report = Report(
        title=f"{Path(options.swap).name} after {Path(options.performer).name}",
        verdict=_verdict(readings, figures, diagnosis),
        expressive=None if not np.isfinite(figures.units.gain) else diagnosis.expressive,
        findings=tuple(finding.message for finding in diagnosis.findings),
        undetermined=(*diagnosis.undetermined, *_limitations(readings, judges, origin)),
        seconds=readings.performer.seconds,
        strongest=key_frames(
            sorted(strongest), strongest_captions, comparison, readings.performer.seconds
        ),
        worst=key_frames(worst, worst_captions, comparison, readings.performer.seconds),
        emotions=emotion_traces(readings),
        units=unit_agreement(readings),
        unit_instrument=unit_instrument,
        groups=tuple(_groups(readings, figures, estimator_name, comparison, judges.identity)),
        lineage=_report_lineage(judges, unit_instrument, readings.swap.aligner, origin),
        facts=_report_facts(options, readings, origin),
    )
    return mark_dependent_aligner(report, readings, origin.lineage or ())


def _groups(
    readings: PairReadings,
    figures: Figures,
    estimator_name: str,
    comparison: FrameComparison,
    identity: IdentityFaces | None,
) -> list[Group]:
    groups = [expression_group(readings, figures)]
    if readings.swap.probabilities is not None or readings.swap.circumplex is not None:
        groups.insert(0, emotion_group(readings, estimator_name))
    if not readings.shared_landmarks:
        groups += [geometry_group(readings, figures.lag_frames), head_group(readings)]
    if identity is not None:
        groups.append(likeness_group(readings, identity))
    groups.append(steadiness_group(comparison.steadiness))
    if comparison.truth_scores:
        groups.append(truth_group(comparison.truth_scores))
    return groups


def _expression_strength(readings: PairReadings) -> tuple[Floats, dict[int, str]]:
    """(T,) strength of the performer's expression, and a caption for each frame that has one."""
    probabilities = readings.performer.probabilities
    emotions = (
        None if probabilities is None else probabilities.select(lambda name: name not in NEUTRAL)
    )
    if emotions is not None and emotions.names:
        is_complete = np.isfinite(emotions.values).all(axis=1)
        strength = np.where(is_complete, emotions.values.max(axis=1), np.nan)
        return strength, _captions(
            emotions.values, lambda t, top: f"{emotions.names[top]} {emotions.values[t, top]:.2f}"
        )
    performer = readings.expression().performer
    deviations = np.abs(readings.performer.deviations(performer))
    return np.linalg.norm(deviations, axis=1), _captions(
        deviations, lambda t, top: f"{performer.names[top]} {performer.values[t, top]:.2f}"
    )


def _expression_distance(readings: PairReadings) -> tuple[Floats, dict[int, str]]:
    """(T,) distance of the two expressions, each relative to its own rest, and captions."""
    expression = readings.expression()
    performer, swap = expression.performer, expression.swap
    differences = np.abs(readings.swap.deviations(swap) - readings.performer.deviations(performer))
    return np.linalg.norm(differences, axis=1), _captions(
        differences,
        lambda t, top: (
            f"{performer.names[top]}: {performer.values[t, top]:.2f}, "
            f"swap {swap.values[t, top]:.2f}"
        ),
    )


def _captions(rows: Floats, caption: Callable[[int, int], str]) -> dict[int, str]:
    """Captions by frame and largest column, of the complete rows of (T, U)."""
    complete = np.flatnonzero(np.isfinite(rows).all(axis=1)).tolist()
    return {t: caption(t, int(rows[t].argmax())) for t in complete}


def _verdict(readings: PairReadings, figures: Figures, diagnosis: Diagnosis) -> str:
    if not np.isfinite(figures.units.gain):
        return diagnosis.summary
    if diagnosis.findings:
        return diagnosis.findings[0].message
    expected_gain = OTHER_FACE_GAIN[readings.expression().instrument]
    return (
        f"The performance comes through: {figures.units.gain:.0%} of the performer's strength, "
        f"correlation {figures.units.correlation:.2f}"
        + ("." if readings.has_truth else f" ({expected_gain:.0%} is usual for a perfect copy).")
    )


def _limitations(readings: PairReadings, judges: _Judges, origin: SwapOrigin) -> list[str]:
    limitations = []
    if judges.estimator is None:
        reason = (
            "; ".join(judges.skipped)
            or "pass affect= with an estimator that the model was not trained with"
        )
        limitations.append(f"emotions were not read: {reason}")
    if judges.identity is None:
        limitations.append("identity was not measured: pass recogniser=dlib identity=FACESET")
    elif judges.identity.embeddings is None:
        limitations.append(
            "distance to the identity was not measured, only to the performer: pass "
            "identity=FACESET"
        )
    if readings.swap.blendshapes is None:
        limitations.append("gaze was not read: pass aligner=mediapipe")
    limitations += shared_landmark_warnings(readings)
    if origin.lineage is None:
        limitations.append(
            "what the swap's model was trained with is not known: pass model= to have it checked"
        )
    missing = int((readings.performer.has_face & ~readings.swap.has_face).sum())
    if missing:
        limitations.append(
            f"in {missing} frames the performer's face was found, but none in the swap"
        )
    return limitations


def _report_lineage(
    judges: _Judges, unit_instrument: str, aligner: str, origin: SwapOrigin
) -> tuple[str, ...]:
    trained_with: Sequence[str] = ("unknown",) if origin.lineage is None else origin.lineage
    measured_by = [unit_instrument, f"landmarks by {aligner}"]
    if judges.estimator is not None:
        measured_by.append(judges.estimator.lineage)
    if judges.identity is not None:
        recogniser = judges.identity.recogniser
        measured_by.append(f"{recogniser.lineage} (licence: {recogniser.licence})")
    return (
        f"trained with: {', '.join(trained_with) or 'no estimator'}",
        f"measured by: {', '.join(measured_by)}",
    )


def _report_facts(
    options: EvaluateOptions, readings: PairReadings, origin: SwapOrigin
) -> dict[str, str]:
    facts: dict[str, Any] = {
        "performer": options.performer,
        "performer sha256": sha256_of(Path(options.performer)),
        "swap": options.swap,
        "swap sha256": sha256_of(Path(options.swap)),
        "frames": f"{len(readings.swap)} at {readings.swap.fps:.3g} per second",
        "frames with both faces": str(
            int((readings.swap.has_face & readings.performer.has_face).sum())
        ),
        "ceiling": _ceiling_text(readings),
        "self-swap": options.self_swap or "not measured",
        "evaluated by": f"swapper {__version__}",
        **origin.facts,
    }
    if options.truth:
        facts["truth"] = options.truth
    return facts


def _ceiling_text(readings: PairReadings) -> str:
    """Describe what the ceiling was measured on."""
    if readings.ceiling is None:
        return "not measured"
    if readings.has_truth:
        return "the ground truth"
    text = f"performer re-encoded (H.264, CRF {CEILING_CRF})"
    shared = share_landmarks(readings.ceiling, readings.performer)
    return f"{text}; its landmarks are the performer's" if shared else text
