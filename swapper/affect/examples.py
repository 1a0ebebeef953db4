"""Load a concept's example pictures, crop the faces and read them with an estimator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from swapper.affect.concept_fit import MIN_PEOPLE, MIN_POSITIVES, Examples
from swapper.errors import EstimatorError, MediaError, UsageError
from swapper.faces.aligner import Aligner, check_frame_count
from swapper.faces.crop import crop_face
from swapper.faces.geometry import head_pose
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_metadata import CARD_NAME
from swapper.files import sha256_of
from swapper.media.images import list_images, read_image
from swapper.media.video_reader import Frame
from swapper.progress import progress
from swapper.types import Coverage, Face

if TYPE_CHECKING:
    from swapper.estimators.base import Estimator

Picture = NDArray[np.uint8]

_SIDE: Final = 256
_COVERAGE: Final[Coverage] = "face"
_BATCH: Final = 64
_MIN_FACES: Final = 2
_MAX_FACESET_FACES: Final = 2000
"""Faces, evenly spaced: people are weighted equally, however many faces each has."""
_UNREADABLE, _FACELESS, _DUPLICATE = "cannot be read", "without a face", "duplicate"


@dataclass(frozen=True, slots=True, eq=False)
class ExampleSet:
    """An option's pictures, each with the person on it ("" if unknown), and its facesets."""

    option: str
    pictures: list[tuple[Path, str]]
    facesets: list[Faceset]


@dataclass(slots=True, eq=False)
class ExampleSelection:
    """Which pictures are used (`digests`, their sha256), and names of those skipped, by reason."""

    digests: set[str] = field(default_factory=set)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, path: Path, why: str) -> None:
        """Record a picture that is not used."""
        self.skipped.setdefault(why, []).append(str(path))

    def is_new(self, digest: str, path: Path) -> bool:
        """Whether this picture is not a duplicate; a duplicate is recorded."""
        if digest in self.digests:
            self.skip(path, _DUPLICATE)
            return False
        self.digests.add(digest)
        return True


@dataclass(frozen=True, slots=True, eq=False)
class _Crop:
    picture: Picture
    person: str
    pose: tuple[float, float, float]


def find_examples(spec: object, option: str) -> ExampleSet:
    """List the pictures and facesets in the folders of an option.

    Args:
        spec: A folder or a list of them. One that is a faceset is taken as such, likewise its
            sub-folders; the name of any other sub-folder is the person on its pictures.
        option: Its name, for errors.

    Raises:
        UsageError: No folder is given.
        MediaError: A folder is missing, or holds no pictures or facesets.
        FacesetError: A faceset is damaged or has no faces.
    """
    folders = [Path(str(path)) for path in (spec if isinstance(spec, list) else [spec])]
    if not folders:
        raise UsageError(f"{option} is empty: pass {option}=FOLDER")
    examples = ExampleSet(option, [], [])
    for folder in folders:
        if not folder.is_dir():
            raise MediaError(
                f"{folder}: no such folder; {option} is a folder with a sub-folder of pictures for "
                "each person, or facesets"
            )
        before = len(examples.pictures) + len(examples.facesets)
        if not _collect(examples, folder, person=""):
            inside = (path for path in folder.iterdir() if path.is_dir())
            for path in sorted(inside):
                if not path.name.startswith("."):
                    _collect(examples, path, person=path.name)
        if len(examples.pictures) + len(examples.facesets) == before:
            raise MediaError(
                f"{folder}: holds no picture, and no folder of pictures; {option} is a folder with "
                "a sub-folder of pictures for each person, or facesets"
            )
    return examples


def _collect(examples: ExampleSet, folder: Path, person: str) -> bool:
    """Add what lies directly in `folder`; returns whether it is a faceset."""
    if (folder / CARD_NAME).exists():
        faceset = Faceset.open(folder)
        if not faceset.records:
            raise MediaError(f"{folder}: has no faces; run swapper extract on footage of them")
        examples.facesets.append(faceset)
        return True
    with suppress(MediaError):  # none here, which only matters if there are none at all
        examples.pictures.extend((path, person) for path in list_images(folder))
    return False


def read_examples(
    example_sets: list[ExampleSet],
    estimator: Estimator,
    make_aligner: Callable[[], Aligner],
    min_size: int,
    selection: ExampleSelection,
) -> tuple[list[Examples], str]:
    """Read each set; return examples and the aligner's fingerprint ("" if it was not needed).

    Args:
        example_sets: Their pictures are numbered in one sequence, as frame indices.
        estimator: On its device.
        make_aligner: Called if there are pictures outside facesets.
        min_size: Least span of a face's landmarks, in pixels.
        selection: Records every picture.

    Raises:
        UsageError: The aligner is set to follow faces.
        MediaError: Too few faces are found in a set.
        AlignerError, FacesetError, EstimatorError: By kind of what is wrong, in one line.
    """
    total = sum(len(examples.pictures) for examples in example_sets)
    if not total:
        return [
            _read_set(examples, iter(()), estimator, selection) for examples in example_sets
        ], ""
    aligner = make_aligner()
    try:
        if getattr(aligner, "video", False):
            raise UsageError(
                "aligner.video=true: follows a face from frame to frame, and these are pictures; "
                "pass aligner.video=false"
            )
        aligner.prepare()
        check_frame_count(aligner, total)
        results, first = [], 0
        for examples in example_sets:
            crops = _cut(examples, aligner, first, min_size, selection)
            results.append(_read_set(examples, crops, estimator, selection))
            first += len(examples.pictures)
        aligner.finish(total)
        return results, aligner.fingerprint
    finally:
        aligner.close()


def _read_set(
    examples: ExampleSet, crops: Iterator[_Crop], estimator: Estimator, selection: ExampleSelection
) -> Examples:
    parts = list(_readings(crops, _COVERAGE, estimator))
    for faceset in examples.facesets:
        parts += _readings(_crops_of(faceset, selection), faceset.card.coverage, estimator)
    count = sum(len(each.people) for each in parts)
    if count < _MIN_FACES:
        why = "; ".join(f"{len(names)} {why}" for why, names in selection.skipped.items())
        raise MediaError(
            f"{examples.option}: {count} {'face' if count == 1 else 'faces'} found"
            f"{f' ({why})' if why else ''}, which is too few; {MIN_POSITIVES} positives of "
            f"{MIN_PEOPLE} people are needed, and as many negatives"
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
    pending = iter(crops)
    while batch := list(islice(pending, _BATCH)):
        pictures = np.stack([each.picture for each in batch])
        embedding = estimator.readings(pictures, coverage).embedding
        if not np.isfinite(embedding).all():
            raise EstimatorError(
                f"affect={estimator.name}: output is not finite; its weights are damaged or "
                "another network's"
            )
        yield Examples(
            embedding,
            [each.person for each in batch],
            np.array([each.pose for each in batch]),
            pictures.mean(axis=(1, 2, 3)) / 255,
        )


def _cut(
    examples: ExampleSet, aligner: Aligner, first: int, min_size: int, selection: ExampleSelection
) -> Iterator[_Crop]:
    """The largest face of each picture; `first` is the number of the first among all pictures."""
    with progress(len(examples.pictures), f"read {examples.option}", "picture") as bar:
        for index, (path, person) in enumerate(examples.pictures, first):
            bar.update()
            try:
                image = read_image(path)
                digest = sha256_of(path)
            except MediaError:
                selection.skip(path, _UNREADABLE)
                continue
            crop = _crop(image, aligner(Frame.of(image, index)), person, min_size)
            if crop is None:
                selection.skip(path, _FACELESS)
            elif selection.is_new(digest, path):
                yield crop


def _crop(image: Picture, faces: list[Face], person: str, min_size: int) -> _Crop | None:
    if not faces:
        return None
    left, top, right, bottom = faces[0].box
    if min(right - left, bottom - top) < min_size:
        return None
    landmarks = faces[0].landmarks
    try:
        crop, _ = crop_face(image, landmarks, _SIDE, _COVERAGE)
    except ValueError:  # landmarks fallen into a point: nothing that could be cut
        return None
    height, width = image.shape[:2]
    return _Crop(crop, person, head_pose(landmarks, (width, height)))


def _crops_of(faceset: Faceset, selection: ExampleSelection) -> Iterator[_Crop]:
    records = faceset.records
    if len(records) > _MAX_FACESET_FACES:
        chosen = np.linspace(0, len(records) - 1, _MAX_FACESET_FACES).round().astype(int)
        records = [records[index] for index in chosen]
    for record in records:
        if selection.is_new(record.sha256, faceset.path / record.image):
            pose = (record.yaw, record.pitch, record.roll)
            yield _Crop(faceset.image(record), faceset.card.identity, pose)
