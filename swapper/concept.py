"""Pictures that show a word, and pictures that do not, to a direction of affect."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from swapper import __version__
from swapper.affect.concept_fit import LEAST_AUC, LEAST_COSINE, MOST_OVERLAP, fit_concept
from swapper.affect.concepts import CONCEPT, NAMING, Concept, Plain, save_concept
from swapper.affect.examples import ExampleSet, Sorting, find_examples, read_examples
from swapper.errors import UsageError
from swapper.faces.aligner import Aligner
from swapper.options.verbs import ConceptOptions

if TYPE_CHECKING:
    from swapper.estimators.base import Estimator

_RIGHTS_CURE: Final = (
    'rights is missing: say by what right these pictures are used, such as rights="signed '
    'releases, 2026-03-01"; it is kept with the concept'
)
_RESERVED: Final = ("valence", "arousal")
"""Dials that conversion has of its own."""
_NAMED: Final = 3
_MOST_TEXT: Final = 5000


@dataclass(frozen=True, slots=True, eq=False)
class ConceptSummary:
    """What was made of two folders.

    Attributes:
        concept: Accepted or rejected.
        path: Its file.
        left_out: Names of pictures that could not be used, by why.
    """

    concept: Concept
    path: Path
    left_out: dict[str, list[str]]


def concept(
    options: ConceptOptions,
    make_aligner: Callable[[], Aligner],
    make_estimator: Callable[[], Estimator | None],
) -> ConceptSummary:
    """Make a direction of two sets of pictures, check it, print what came out, and keep it.

    Args:
        options: Which pictures, and what it shall be called.
        make_aligner: Called if there are pictures that are no faceset's.
        make_estimator: Called once the folders have proved sound.

    Returns:
        Of an accepted concept or a rejected one, which is written, too.

    Raises:
        UsageError: No rights, no name, no estimator, or an output that exists.
        MediaError, FacesetError, AlignerError, EstimatorError: By kind of what is wrong, in one
            line. A picture that cannot be used is none of these, it is left out and named.
    """
    _check(options)
    sides = [
        find_examples(options.positives, "positives"),
        find_examples(options.negatives, "negatives"),
    ]
    estimator = make_estimator()
    if estimator is None:
        raise UsageError(
            "affect is missing: pass affect=... to say who reads (swapper concept --help lists "
            "them), the same as in training"
        )
    # Here, since nothing before needs torch.
    from swapper.devices import pick_device

    estimator = estimator.to(pick_device(options.device))
    sorting = Sorting()
    (positives, negatives), aligner = read_examples(
        sides, estimator, make_aligner, options.min_size, sorting
    )
    made = fit_concept(
        options.name,
        estimator.lineage,
        positives,
        negatives,
        provenance=_provenance(options, sides, aligner, sorting),
    )
    path = save_concept(made, Path(options.output))
    summary = ConceptSummary(made, path, sorting.left_out)
    print("\n".join(describe_concept(summary)))
    return summary


def describe_concept(summary: ConceptSummary) -> list[str]:
    """Lines for a person: the verdict, what it rests on, what was left out, where it is."""
    made = summary.concept
    lines = [f"{made.name}: {made.verdict}", *_checks(made.figures)]
    for why, names in summary.left_out.items():
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        lines.append(f"  left out, {why}: {', '.join(names[:_NAMED])}{more}")
    lines.append(f"  {summary.path} (read by {made.lineage.partition(':')[0]})")
    if not made.accepted:
        lines.append("  swapper convert takes it only with affect.force=true")
    return lines


def _checks(figures: Mapping[str, Plain]) -> list[str]:
    if not figures["people"]:
        return [f"  {figures['unused']} faces, of nobody who is known to be in both"]
    turned = ", ".join(f"{key} {_degrees(figures[key])}" for key in ("yaw", "pitch", "roll"))
    return [
        f"  {figures['positives']} faces that show it, {figures['negatives']} that do not, of the "
        f"same {figures['people']} people; {figures['unused']} of others, not used",
        f"  on a person left out, {_percent(figures['auc'])} of pairs are the right way round, of "
        f"the worst {_percent(figures['auc_lowest'])}; chance is 50%, {LEAST_AUC:.0%} is needed",
        f"  other people and pictures would agree by {_plain(figures['cosine'])}; 1 is fully, "
        f"{LEAST_COSINE:.2f} is needed",
        f"  of the difference pose makes {_percent(figures['pose_overlap'])}, brightness "
        f"{_percent(figures['light_overlap'])}: taken off, less than {MOST_OVERLAP:.0%} is needed",
        f"  faces that show it are turned more by {turned} degrees",
        f"  likeness to how these people differ: {_plain(figures['identity_overlap'])}, not judged",
    ]


def _degrees(value: Plain) -> str:
    assert isinstance(value, float)
    return f"{round(value):+d}"


def _percent(value: Plain) -> str:
    return "unknown" if value is None else f"{value:.0%}"


def _plain(value: Plain) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _check(options: ConceptOptions) -> None:
    if not options.rights.strip():
        raise UsageError(_RIGHTS_CURE)
    if not CONCEPT.fullmatch(options.name):
        raise UsageError(f"name={options.name}: must be {NAMING}")
    if options.name in _RESERVED:
        raise UsageError(f"name={options.name}: is a dial already; choose another word")
    path = Path(options.output) / f"{options.name}.safetensors"
    if path.exists() and not options.overwrite:
        raise UsageError(f"{path}: exists; pass overwrite=true to replace it, or another name")


def _provenance(
    options: ConceptOptions, sides: list[ExampleSet], aligner: str, sorting: Sorting
) -> dict[str, Plain]:
    rights = sorted({each.card.rights for side in sides for each in side.facesets})
    return {
        "rights": options.rights,
        "faceset_rights": "; ".join(rights)[:_MOST_TEXT],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "swapper": __version__,
        "aligner": aligner,
        "pictures": len(sorting.seen),
        "pictures_sha256": hashlib.sha256("\n".join(sorted(sorting.seen)).encode()).hexdigest(),
        "left_out": sum(map(len, sorting.left_out.values())),
    }
