"""Pictures that show a word, and pictures that do not, to a direction of affect."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from swapper import __version__
from swapper.affect.concepts import CONCEPT, NAMING, Concept, Plain, save_concept
from swapper.affect.contrast import (
    LEAST_AUC,
    LEAST_COSINE,
    LEAST_PEOPLE,
    LEAST_POSITIVES,
    MOST_OVERLAP,
    Examples,
    fit_concept,
)
from swapper.data.card import CARD_NAME
from swapper.data.faceset import Faceset
from swapper.errors import MediaError, UsageError
from swapper.faces.aligners import Aligner, check_claim
from swapper.faces.geometry import head_pose, similarity_from_landmarks, warp
from swapper.media.image import list_images, read_image, sha256_file
from swapper.options import ConceptOptions
from swapper.progress import progress
from swapper.types import Coverage, Face

if TYPE_CHECKING:
    from swapper.affect.estimator import Estimator

Picture = NDArray[np.uint8]

_RIGHTS_CURE: Final = (
    'rights is missing: say by what right these pictures are used, such as rights="signed '
    'releases, 2026-03-01"; it is kept with the concept'
)
_SIDE: Final = 256
_COVERAGE: Final[Coverage] = "face"
_BATCH: Final = 64
_FEWEST: Final = 2
_MOST_OF_A_FACESET: Final = 2000
"""Faces, spread evenly: people count alike, and nobody's count more for being many."""
_NAMED: Final = 3
_MOST_TEXT: Final = 5000
_UNREADABLE, _FACELESS, _AGAIN = "cannot be read", "without a face", "the same picture again"


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


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One folder, or list of folders: pictures with the person on each, and facesets."""

    option: str
    pictures: list[tuple[Path, str]]
    facesets: list[Faceset]


@dataclass(frozen=True, slots=True, eq=False)
class _Crop:
    picture: Picture
    person: str
    pose: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class _Still:
    """A picture as the frame that aligners look at."""

    index: int
    image: Picture


@dataclass(slots=True, eq=False)
class _Sorting:
    """What has been seen of all pictures, and what was left out and why."""

    seen: set[str] = field(default_factory=set)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave(self, path: Path, why: str) -> None:
        self.left_out.setdefault(why, []).append(str(path))

    def is_new(self, digest: str, path: Path) -> bool:
        """Whether this picture is met for the first time."""
        if digest in self.seen:
            self.leave(path, _AGAIN)
            return False
        self.seen.add(digest)
        return True


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
    sides = [_side(options.positives, "positives"), _side(options.negatives, "negatives")]
    estimator = make_estimator()
    if estimator is None:
        raise UsageError(
            "affect is missing: pass affect=... to say who reads (swapper concept --help lists "
            "them), the same as in training"
        )
    # Here, since nothing before needs torch.
    from swapper.devices import pick_device

    estimator = estimator.to(pick_device(options.device))
    sorting = _Sorting()
    (positives, negatives), aligner = _read_all(options, sides, estimator, make_aligner, sorting)
    made = fit_concept(
        options.name,
        estimator.lineage,
        positives,
        negatives,
        provenance=_provenance(options, sides, aligner, sorting),
    )
    path = save_concept(made, Path(options.output))
    summary = ConceptSummary(made, path, sorting.left_out)
    print("\n".join(describe(summary)))
    return summary


def describe(summary: ConceptSummary) -> list[str]:
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
    turned = ", ".join(f"{key} {_number(figures[key]):+.0f}" for key in ("yaw", "pitch", "roll"))
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


def _number(value: Plain) -> float:
    assert isinstance(value, float)
    return value + 0.0


def _percent(value: Plain) -> str:
    return "unknown" if value is None else f"{value:.0%}"


def _plain(value: Plain) -> str:
    return "unknown" if value is None else f"{value:.2f}"


def _check(options: ConceptOptions) -> None:
    if not options.rights.strip():
        raise UsageError(_RIGHTS_CURE)
    if not CONCEPT.fullmatch(options.name):
        raise UsageError(f"name={options.name}: must be {NAMING}")
    path = Path(options.output) / f"{options.name}.safetensors"
    if path.exists() and not options.overwrite:
        raise UsageError(f"{path}: exists; pass overwrite=true to replace it, or another name")


# --- finding pictures -----------------------------------------------------------------------------


def _side(spec: object, option: str) -> _Side:
    """The pictures and facesets in the folders of an option.

    Raises:
        UsageError: There is no folder in it.
        MediaError: A folder is missing, or holds nothing of the kind.
        FacesetError: A faceset is damaged or has no faces.
    """
    folders = [Path(str(each)) for each in (spec if isinstance(spec, list) else [spec])]
    if not folders:
        raise UsageError(f"{option} is empty: pass {option}=FOLDER")
    side = _Side(option, [], [])
    for folder in folders:
        if not folder.is_dir():
            raise MediaError(
                f"{folder}: no such folder; {option} is a folder with a sub-folder of pictures for "
                "each person, or facesets"
            )
        before = len(side.pictures) + len(side.facesets)
        if not _take(side, folder, person=""):
            inside = (each for each in folder.iterdir() if each.is_dir())
            for each in sorted(inside):
                if not each.name.startswith("."):
                    _take(side, each, person=each.name)
        if len(side.pictures) + len(side.facesets) == before:
            raise MediaError(
                f"{folder}: holds no picture, and no folder of pictures; {option} is a folder with "
                "a sub-folder of pictures for each person, or facesets"
            )
    return side


def _take(side: _Side, folder: Path, person: str) -> bool:
    """Add what lies directly in `folder`; returns whether it is a faceset."""
    if (folder / CARD_NAME).exists():
        faceset = Faceset.open(folder)
        if not faceset.records:
            raise MediaError(f"{folder}: has no faces; run swapper extract on footage of them")
        side.facesets.append(faceset)
        return True
    with suppress(MediaError):  # none here, which only matters if there are none at all
        side.pictures.extend((path, person) for path in list_images(folder))
    return False


# --- reading faces --------------------------------------------------------------------------------


def _read_all(
    options: ConceptOptions,
    sides: list[_Side],
    estimator: Estimator,
    make_aligner: Callable[[], Aligner],
    sorting: _Sorting,
) -> tuple[list[Examples], str]:
    """What the estimator says of either side, and the aligner's fingerprint ("" without one)."""
    total = sum(len(side.pictures) for side in sides)
    if not total:
        return [_read_side(side, iter(()), estimator, sorting) for side in sides], ""
    aligner = make_aligner()
    try:
        if getattr(aligner, "video", False):
            raise UsageError(
                "aligner.video=true: follows a face from frame to frame, and these are pictures; "
                "pass aligner.video=false"
            )
        aligner.prepare()
        check_claim(aligner, total)
        found, first = [], 0
        for side in sides:
            crops = _cut(side, aligner, first, options.min_size, sorting)
            found.append(_read_side(side, crops, estimator, sorting))
            first += len(side.pictures)
        aligner.finish(total)
        return found, aligner.fingerprint
    finally:
        aligner.close()


def _read_side(
    side: _Side, crops: Iterator[_Crop], estimator: Estimator, sorting: _Sorting
) -> Examples:
    parts = list(_readings(crops, _COVERAGE, estimator))
    for faceset in side.facesets:
        parts += _readings(_crops_of(faceset, sorting), faceset.card.coverage, estimator)
    count = sum(len(each.people) for each in parts)
    if count < _FEWEST:
        why = "; ".join(f"{len(names)} {why}" for why, names in sorting.left_out.items())
        raise MediaError(
            f"{side.option}: {count} {'face' if count == 1 else 'faces'} found"
            f"{f' ({why})' if why else ''}, which is too few; {LEAST_POSITIVES} positives of "
            f"{LEAST_PEOPLE} people are needed, and as many negatives"
        )
    return Examples(
        np.concatenate([each.embedding for each in parts]),
        [name for each in parts for name in each.people],
        np.concatenate([each.pose for each in parts]),
        np.concatenate([each.light for each in parts]),
    )


def _readings(
    crops: Iterable[_Crop], coverage: Coverage, estimator: Estimator
) -> Iterator[Examples]:
    coming = iter(crops)
    while some := list(islice(coming, _BATCH)):
        pictures = np.stack([each.picture for each in some])
        yield Examples(
            estimator.readings(pictures, coverage).embedding,
            [each.person for each in some],
            np.array([each.pose for each in some]),
            pictures.mean(axis=(1, 2, 3)) / 255,
        )


def _cut(
    side: _Side, aligner: Aligner, first: int, min_size: int, sorting: _Sorting
) -> Iterator[_Crop]:
    """The largest face of each picture; `first` is the number of the first among all pictures."""
    bar = progress(len(side.pictures), f"look at {side.option}", "picture")
    for index, (path, person) in enumerate(side.pictures, first):
        bar.update()
        try:
            image = read_image(path)
            digest = sha256_file(path)
        except MediaError:
            sorting.leave(path, _UNREADABLE)
            continue
        crop = _crop(image, aligner(_Still(index, image)), person, min_size)
        if crop is None:
            sorting.leave(path, _FACELESS)
        elif sorting.is_new(digest, path):
            yield crop
    bar.close()


def _crop(image: Picture, faces: list[Face], person: str, min_size: int) -> _Crop | None:
    if not faces:
        return None
    left, top, right, bottom = faces[0].box
    if min(right - left, bottom - top) < min_size:
        return None
    landmarks = faces[0].landmarks
    try:
        aligned_from_frame = similarity_from_landmarks(landmarks, _SIDE, _COVERAGE)
    except ValueError:  # landmarks fallen into a point: nothing that could be cut
        return None
    height, width = image.shape[:2]
    return _Crop(
        warp(image, aligned_from_frame, _SIDE), person, head_pose(landmarks, (width, height))
    )


def _crops_of(faceset: Faceset, sorting: _Sorting) -> Iterator[_Crop]:
    records = faceset.records
    if len(records) > _MOST_OF_A_FACESET:
        chosen = np.linspace(0, len(records) - 1, _MOST_OF_A_FACESET).round().astype(int)
        records = [records[index] for index in chosen]
    for record in records:
        if sorting.is_new(record.sha256, faceset.path / record.image):
            pose = (record.yaw, record.pitch, record.roll)
            yield _Crop(faceset.image(record), faceset.card.identity, pose)


def _provenance(
    options: ConceptOptions, sides: list[_Side], aligner: str, sorting: _Sorting
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
