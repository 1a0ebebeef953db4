"""Extract the faces of one identity from footage into a faceset."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from swapper.errors import MediaError, UsageError
from swapper.faces.aligner import Aligner, check_num_faces, opened
from swapper.faces.crop import crop_face
from swapper.faces.geometry import head_pose, sharpness, transform_points
from swapper.faces.landmark_check import LEAST_DETAIL, feature_detail
from swapper.faces.person import PersonFollower, find_reference, make_follower
from swapper.faces.recognition import Recogniser
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_metadata import FacesetMetadata, ImageFormat, Source
from swapper.facesets.writer import FacesetWriter, face_id
from swapper.files import sha256_of
from swapper.media.source import Footage, faults_text, list_footage, open_footage
from swapper.media.video_reader import Frame, VideoReader
from swapper.options.verbs import ExtractOptions
from swapper.progress import progress
from swapper.types import Coverage, Face, FaceRecord

if TYPE_CHECKING:
    from swapper.estimators.base import Estimator

log = logging.getLogger(__name__)

_MIN_CHECKED, _MAX_CHECKED = 8, 200
"""Least and most faces of a clip on which its landmarks are checked."""

RIGHTS_CURE = (
    'rights is missing: say by what right these faces are used, such as rights="signed release of '
    'Jane Doe, 2026-03-01"; it is kept in the faceset, the model and every converted file'
)


@dataclass
class ExtractSummary:
    """Result of an extraction, counted as it goes on.

    Attributes:
        faceset: Folder of the faceset.
        frames: Frames processed.
        added: Faces added.
        skipped: Frames that an earlier run had processed.
        dropped: Faces that were found and not added, by reason.
        faults: What of the footage could not be read, one line each.
    """

    faceset: Path
    frames: int = 0
    added: int = 0
    skipped: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """Return one line for the log."""
        words = f"{self.faceset}: {self.added} faces of {self.frames - self.skipped} frames"
        if self.skipped:
            words += f"; {self.skipped} frames were extracted before"
        if self.dropped:
            words += f"; dropped: {self._reasons()}"
        return words

    def _reasons(self) -> str:
        return ", ".join(f"{count} {reason}" for reason, count in self.dropped.items())

    def check(self, inputs: Sequence[str]) -> None:
        """Refuse a result without any face.

        Raises:
            MediaError: No face was found, or all were dropped.
        """
        if self.added or self.skipped:
            return
        names = ", ".join(inputs)
        if self.dropped:
            raise MediaError(f"{names}: all faces were dropped: {self._reasons()}")
        raise MediaError(f"{names}: no face found; try another aligner=")


def extract(
    options: ExtractOptions,
    make_aligner: Callable[[], Aligner],
    make_estimator: Callable[[], Estimator | None] = lambda: None,
    make_recogniser: Callable[[], Recogniser | None] = lambda: None,
) -> ExtractSummary:
    """Add the faces of `options.input` to the identity's faceset.

    Frames processed by an earlier run are skipped, so an interrupted extraction can be resumed.

    Args:
        options: Of the command line.
        make_aligner: Called once the cheap checks have passed; once for each input.
        make_estimator: Called before extraction; the estimator annotates the faces at the end.
        make_recogniser: For ``person=`` by pictures.

    Raises:
        UsageError: No rights statement.
        MediaError, AlignerError, FacesetError, EstimatorError: In one line. Faces extracted
            before are kept.
    """
    if not options.rights.strip():
        raise UsageError(RIGHTS_CURE)
    _card(options, "")
    inputs = [options.input] if isinstance(options.input, str) else list(options.input)
    if not inputs:
        raise UsageError("input is empty: pass a video, a folder of pictures or a list of them")
    inputs = [path for each in inputs for path in list_footage(each)]
    estimator = make_estimator()
    reference = find_reference(options.person, make_aligner, make_recogniser)
    total = ExtractSummary(Path(options.facesets) / options.identity)
    for path in inputs:
        with open_footage(str(path)) as footage:
            aligner = make_aligner()
            check_num_faces(aligner, options.faces, options.person)
            with opened(aligner, footage.info.path, footage.info.num_frames):
                still = not isinstance(footage, VideoReader)
                follower = make_follower(options.faces, options.person, reference, still=still)
                _extract_one(options, aligner, follower, footage, total)
    if total.faults and not (total.added or total.skipped):
        raise MediaError(faults_text(total.faults, str(total.faceset)))
    total.check([str(path) for path in inputs])
    log.info("%s", total.describe())
    _read_affect(total.faceset, estimator)
    if total.faults:
        raise MediaError(faults_text(total.faults, str(total.faceset)))
    return total


def _read_affect(path: Path, estimator: Estimator | None) -> None:
    if estimator is None:
        log.info(
            "affect was not read; to add it: swapper annotate facesets=[%s] affect=mediapipe", path
        )
        return
    # Imported here, since extraction alone does not need torch.
    from swapper.affect.annotation import annotate_faceset, describe_annotation
    from swapper.devices import pick_device

    faceset = Faceset.open(path)
    if faceset.records:  # a person may have deleted them all
        annotation = annotate_faceset(faceset, estimator.to(pick_device("auto")))
        log.info("%s", describe_annotation(annotation))


def _card(options: ExtractOptions, aligner: str) -> FacesetMetadata:
    """Metadata of the faceset.

    Raises:
        UsageError: The identity cannot name a faceset.
    """
    try:
        return FacesetMetadata(
            identity=options.identity,
            rights=options.rights,
            size=options.size,
            coverage=cast("Coverage", options.coverage),
            aligner=aligner,
            image_format=cast("ImageFormat", options.format),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _extract_one(
    options: ExtractOptions,
    aligner: Aligner,
    follower: PersonFollower | None,
    footage: Footage,
    total: ExtractSummary,
) -> None:
    """Extract one input and add its numbers to `total`."""
    card = _card(options, aligner.fingerprint)
    hashes = {path: sha256_of(path) for path in footage.paths}
    frames, before = 0, total.added
    several = getattr(aligner, "max_faces", None) != 1
    follows = isinstance(footage, VideoReader) and several
    detail: list[float] = []
    name = footage.paths[0].name if len(footage.paths) == 1 else footage.paths[0].parent.name
    with (
        FacesetWriter(total.faceset, card) as writer,
        progress(footage.info.num_frames, f"extract {name}", "frame") as bar,
    ):
        for path, digest in hashes.items():
            writer.add_source(Source(name=path.name, sha256=digest))
        for frame in footage:
            bar.update()
            frames += 1
            total.frames += 1
            single = len(footage.paths) == 1
            digest = hashes[footage.paths[0 if single else frame.index]]
            number = frame.index if single else 0
            if frame.index % options.every:
                continue
            if writer.has(digest, number, 0):
                total.skipped += 1
                if follower is not None and follows:  # the frames before decide whom
                    follower(frame, aligner(frame))
                continue
            faces = aligner(frame)
            if follower is not None:
                faces = follower(frame, faces)
            faces = _large_and_whole(options, frame, faces, total.dropped)
            total.added += _add_faces(options, writer, frame, faces, digest, number, detail)
            bar.set_postfix(faces=total.added, refresh=False)
    if footage.stopped is not None:
        total.faults.append(
            f"{footage.paths[0]}: damaged or truncated, decoding stopped at "
            f"{footage.stopped:.3f} s after {frames} frames; its {total.added - before} faces are "
            "kept"
        )
        return
    if follower is not None and (line := follower.describe()):
        log.warning("%s: %s", name, line)
    total.faults += footage.faults
    for note in footage.notes:
        log.warning("%s: %s", name, note)
    aligner.finish(frames + len(footage.faults))
    if len(detail) >= _MIN_CHECKED and np.median(detail) < LEAST_DETAIL:
        log.warning(
            "%s: the landmarks do not seem to lie on the face; look at %s, and if they are another "
            "clip's, delete that faceset and pass the right ones",
            footage.paths[0],
            writer.path / "images",
        )


def _large_and_whole(
    options: ExtractOptions, frame: Frame, faces: list[Face], dropped: Counter[str]
) -> list[Face]:
    """Return the faces of a frame that can be used; count the others by reason."""
    kept = []
    size = np.array(frame.image.shape[1::-1])
    for face in faces:
        inside = np.all((face.landmarks >= 0) & (face.landmarks <= size - 1), axis=1).mean()
        if np.subtract(face.box[2:], face.box[:2]).min() < options.min_size:
            dropped[f"smaller than min_size={options.min_size}"] += 1
        elif inside < options.min_visible:
            dropped[f"cut off by the frame's edge (min_visible={options.min_visible:g})"] += 1
        else:
            kept.append(face)
    return kept


def _add_faces(
    options: ExtractOptions,
    writer: FacesetWriter,
    frame: Frame,
    faces: list[Face],
    source: str,
    number: int,
    detail: list[float],
) -> int:
    """Crop and index faces of one frame; return how many, append to `detail`."""
    height, width = frame.image.shape[:2]
    added = 0
    for index, face in enumerate(faces):
        try:
            aligned, aligned_from_frame = crop_face(
                frame.image, face.landmarks, options.size, writer.card.coverage
            )
        except ValueError:  # degenerate landmarks: no crop
            continue
        if len(detail) < _MAX_CHECKED:
            points = transform_points(aligned_from_frame, face.landmarks)
            detail.append(feature_detail(aligned, points))
        yaw, pitch, roll = head_pose(face.landmarks, (width, height))
        writer.add(
            FaceRecord(
                id=face_id(source, number, index),
                image="",
                source=source,
                frame_index=number,
                pts=-1 if frame.pts is None else frame.pts,
                landmarks=face.landmarks,
                aligned_from_frame=aligned_from_frame,
                yaw=yaw,
                pitch=pitch,
                roll=roll,
                sharpness=sharpness(aligned),
                confidence=face.confidence,
                sha256="",
                mesh=face.mesh,
            ),
            aligned,
        )
        added += 1
    return added
