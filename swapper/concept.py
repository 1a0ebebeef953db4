"""Fit a concept from positive and negative pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from swapper import __version__
from swapper.affect.concept_fit import MAX_OVERLAP, MIN_AUC, MIN_COSINE, fit_concept
from swapper.affect.concepts import CONCEPT, NAMING, Concept, Plain, save_concept
from swapper.affect.examples import ExampleSelection, ExampleSet, find_examples, read_examples
from swapper.errors import UsageError
from swapper.faces.aligner import Aligner
from swapper.options.verbs import ConceptOptions

if TYPE_CHECKING:
    from swapper.estimators.base import Estimator

_RESERVED: Final = ("valence", "arousal")
"""Names of conversion's built-in controls."""
_NAMED: Final = 3
_MAX_TEXT: Final = 5000


@dataclass(frozen=True, slots=True, eq=False)
class ConceptSummary:
    """A fitted concept, accepted or rejected, its file, and names of skipped pictures by reason."""

    concept: Concept
    path: Path
    skipped: dict[str, list[str]]


def concept(
    options: ConceptOptions,
    make_aligner: Callable[[], Aligner],
    make_estimator: Callable[[], Estimator | None],
) -> ConceptSummary:
    """Fit a concept to two sets of pictures, validate it, print a summary and save it.

    Args:
        options: The pictures and the name.
        make_aligner: Called if there are pictures outside facesets.
        make_estimator: Called once the folders are validated.

    Returns:
        Summary of the concept; a rejected one is saved, too.

    Raises:
        UsageError: No rights, no name, no estimator, or an output that exists.
        MediaError, FacesetError, AlignerError, EstimatorError: In one line. A picture that
            cannot be used is not an error; it is skipped and named.
    """
    _check(options)
    example_sets = [
        find_examples(options.positives, "positives"),
        find_examples(options.negatives, "negatives"),
    ]
    estimator = make_estimator()
    if estimator is None:
        raise UsageError(
            "affect is missing: pass affect=... (swapper concept --help lists the estimators), "
            "the same as in training"
        )
    # Imported here, since nothing before needs torch.
    from swapper.devices import pick_device

    estimator = estimator.to(pick_device(options.device))
    selection = ExampleSelection()
    (positives, negatives), aligner = read_examples(
        example_sets, estimator, make_aligner, options.min_size, selection
    )
    result = fit_concept(
        options.name,
        estimator.lineage,
        positives,
        negatives,
        provenance=_provenance(options, example_sets, aligner, selection),
    )
    path = save_concept(result, Path(options.output))
    summary = ConceptSummary(result, path, selection.skipped)
    print("\n".join(describe_concept(summary)))
    return summary


def describe_concept(summary: ConceptSummary) -> list[str]:
    """Return a summary in plain text: verdict, figures, skipped pictures, path."""
    fitted = summary.concept
    lines = [f"{fitted.name}: {fitted.verdict}", *_checks(fitted.figures)]
    for reason, names in summary.skipped.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        lines.append(f"  skipped, {reason}: {', '.join(names[:_NAMED])}{more}")
    lines.append(f"  {summary.path} (read by {fitted.lineage.partition(':')[0]})")
    if not fitted.accepted:
        lines.append("  swapper convert takes it only with affect.force=true")
    return lines


def _checks(figures: Mapping[str, Any]) -> list[str]:
    if not figures["people"]:
        return [f"  {figures['unused']} faces, none of people who are in both sets"]
    turned = ", ".join(f"{key} {round(figures[key]):+d}" for key in ("yaw", "pitch", "roll"))
    return [
        f"  {figures['positives']} faces that show it, {figures['negatives']} that do not, of the "
        f"same {figures['people']} people; {figures['unused']} of others, not used",
        f"  on a person left out, {_percent(figures['auc'])} of pairs are the right way round, of "
        f"the worst {_percent(figures['auc_lowest'])}; chance is 50%, {MIN_AUC:.0%} is needed",
        f"  agreement with other people and pictures: {_plain(figures['cosine'])}; 1 is full, "
        f"{MIN_COSINE:.2f} is needed",
        f"  of the difference pose makes {_percent(figures['pose_overlap'])}, brightness "
        f"{_percent(figures['light_overlap'])}: taken off, less than {MAX_OVERLAP:.0%} is needed",
        f"  faces that show it differ in pose by {turned} degrees",
        f"  overlap with identity: {_plain(figures['identity_overlap'])}, not tested",
    ]


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0%}"


def _plain(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _check(options: ConceptOptions) -> None:
    if not options.rights.strip():
        raise UsageError(
            "rights is missing: say by what right these pictures are used, such as rights="
            '"signed releases, 2026-03-01"; it is kept with the concept'
        )
    if not CONCEPT.fullmatch(options.name):
        raise UsageError(f"name={options.name}: must be {NAMING}")
    if options.name in _RESERVED:
        raise UsageError(f"name={options.name}: is a built-in control; choose another name")
    path = Path(options.output) / f"{options.name}.safetensors"
    if path.exists() and not options.overwrite:
        raise UsageError(f"{path}: exists; pass overwrite=true to replace it, or another name")


def _provenance(
    options: ConceptOptions,
    example_sets: list[ExampleSet],
    aligner: str,
    selection: ExampleSelection,
) -> dict[str, Plain]:
    rights = sorted({each.card.rights for side in example_sets for each in side.facesets})
    digests = "\n".join(sorted(selection.digests))
    return {
        "rights": options.rights,
        "faceset_rights": "; ".join(rights)[:_MAX_TEXT],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "swapper": __version__,
        "aligner": aligner,
        "pictures": len(selection.digests),
        "pictures_sha256": hashlib.sha256(digests.encode()).hexdigest(),
        "left_out": sum(map(len, selection.skipped.values())),
    }
