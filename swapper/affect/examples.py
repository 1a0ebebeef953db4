"""Example pictures to what an estimator reads on them: faces that show a word, or that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from swapper.affect.concept_fit import LEAST_PEOPLE, LEAST_POSITIVES, Examples
from swapper.errors import EstimatorError, MediaError, UsageError
from swapper.faces.aligner import Aligner, check_frame_count
from swapper.faces.geometry import head_pose, similarity_from_landmarks, warp
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_metadata import CARD_NAME
from swapper.media.images import list_images, read_image, sha256_file
from swapper.progress import progress
from swapper.types import Coverage, Face

if TYPE_CHECKING:
    from swapper.estimators.base import Estimator

Picture = NDArray[np.uint8]

_SIDE: Final = 256
_COVERAGE: Final[Coverage] = "face"
_BATCH: Final = 64
_FEWEST: Final = 2
_MOST_OF_A_FACESET: Final = 2000
"""Faces, spread evenly: people count alike, and nobody's count more for being many."""
_UNREADABLE, _FACELESS, _AGAIN = "cannot be read", "without a face", "the same picture again"


@dataclass(frozen=True, slots=True, eq=False)
class ExampleSet:
    """What the folders of one option hold.

    Attributes:
        option: Its name.
        pictures: Each with the person on it, "" where that is not known.
        facesets: Taken as they are; their identity is the person.
    """

    option: str
    pictures: list[tuple[Path, str]]
    facesets: list[Faceset]


@dataclass(slots=True, eq=False)
class Sorting:
    """What became of all pictures.

    Attributes:
        seen: sha256 of each that is used.
        left_out: Names of those that are not, by why.
    """

    seen: set[str] = field(default_factory=set)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def leave(self, path: Path, why: str) -> None:
        """Note a picture that is not used."""
        self.left_out.setdefault(why, []).append(str(path))

    def is_new(self, digest: str, path: Path) -> bool:
        """Whether this picture is met for the first time; else it is noted."""
        if digest in self.seen:
            self.leave(path, _AGAIN)
            return False
        self.seen.add(digest)
        return True


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


def find_examples(spec: object, option: str) -> ExampleSet:
    """The pictures and facesets in the folders of an option.

    Args:
        spec: A folder or a list of them. One that is a faceset is taken as such, likewise its
            sub-folders; the name of any other sub-folder is the person on its pictures.
        option: Its name, for errors.

    Raises:
        UsageError: There is no folder in it.
        MediaError: A folder is missing, or holds nothing of the kind.
        FacesetError: A faceset is damaged or has no faces.
    """
    folders = [Path(str(each)) for each in (spec if isinstance(spec, list) else [spec])]
    if not folders:
        raise UsageError(f"{option} is empty: pass {option}=FOLDER")
    side = ExampleSet(option, [], [])
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


def _take(side: ExampleSet, folder: Path, person: str) -> bool:
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


def read_examples(
    sides: list[ExampleSet],
    estimator: Estimator,
    make_aligner: Callable[[], Aligner],
    min_size: int,
    sorting: Sorting,
) -> tuple[list[Examples], str]:
    """What the estimator says of each set, and the aligner's fingerprint ("" without one).

    Args:
        sides: Their pictures are counted through as frames, for aligners that read a list.
        estimator: On its device.
        make_aligner: Called if there are pictures that are no faceset's.
        min_size: Least span of a face's landmarks, in pixels.
        sorting: Is told of every picture.

    Raises:
        UsageError: The aligner is set to follow faces.
        MediaError: Too few faces are found in a set.
        AlignerError, FacesetError, EstimatorError: By kind of what is wrong, in one line.
    """
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
        check_frame_count(aligner, total)
        found, first = [], 0
        for side in sides:
            crops = _cut(side, aligner, first, min_size, sorting)
            found.append(_read_side(side, crops, estimator, sorting))
            first += len(side.pictures)
        aligner.finish(total)
        return found, aligner.fingerprint
    finally:
        aligner.close()


def _read_side(
    side: ExampleSet, crops: Iterator[_Crop], estimator: Estimator, sorting: Sorting
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
        embedding = estimator.readings(pictures, coverage).embedding
        if not np.isfinite(embedding).all():
            raise EstimatorError(
                f"affect={estimator.name}: it answers what is not finite; its weights are damaged "
                "or another network's"
            )
        yield Examples(
            embedding,
            [each.person for each in some],
            np.array([each.pose for each in some]),
            pictures.mean(axis=(1, 2, 3)) / 255,
        )


def _cut(
    side: ExampleSet, aligner: Aligner, first: int, min_size: int, sorting: Sorting
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


def _crops_of(faceset: Faceset, sorting: Sorting) -> Iterator[_Crop]:
    records = faceset.records
    if len(records) > _MOST_OF_A_FACESET:
        chosen = np.linspace(0, len(records) - 1, _MOST_OF_A_FACESET).round().astype(int)
        records = [records[index] for index in chosen]
    for record in records:
        if sorting.is_new(record.sha256, faceset.path / record.image):
            pose = (record.yaw, record.pitch, record.roll)
            yield _Crop(faceset.image(record), faceset.card.identity, pose)
