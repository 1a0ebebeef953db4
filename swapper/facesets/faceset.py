"""Read and validate a faceset.

::

    facesets/<identity>/
      faceset.json     the card: identity, rights, sources, size
      faceset.db       a row per face, and readings of estimators (`swapper.facesets.database`)
      images/          the pictures; may be browsed, and deleted one by one
      removed/         pictures that `swapper faceset filter` took out, by batch
      cache/           of training; may be deleted at any time

A row whose picture was deleted is left out (and comes back with it). A picture without a row has no
landmarks and is not used; `Faceset.unindexed` names those.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swapper.errors import FacesetError
from swapper.facesets.faceset_errors import damaged, refuse_link
from swapper.facesets.faceset_metadata import FACESET_SCHEMA, FacesetMetadata, read_metadata
from swapper.facesets.image_codec import MAX_PICTURE_BYTES, decode_picture
from swapper.facesets.index import read_faces
from swapper.files import read_regular
from swapper.types import FaceRecord

__all__ = ["FACESET_SCHEMA", "IMAGES_NAME", "Faceset"]

log = logging.getLogger(__name__)

IMAGES_NAME = "images"
_CURE = "delete it to go on without it, or put the extracted picture back"
_SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")


@dataclass(repr=False, eq=False)
class Faceset:
    """The faces of one identity; use `open`.

    Attributes:
        path: Its folder.
        card: Metadata.
        records: Rows whose picture is there, sorted by id.
        unindexed: Names of pictures without a row, sorted; they are not used.
        num_deleted: Rows whose picture is not there.
    """

    path: Path
    card: FacesetMetadata
    records: list[FaceRecord]
    unindexed: tuple[str, ...]
    num_deleted: int

    @classmethod
    def open(cls, path: str | Path) -> Faceset:
        """Read and validate everything but the pictures.

        Raises:
            FacesetError: The folder is missing, not a faceset or damaged.
        """
        path = Path(path)
        if not path.is_dir():
            raise damaged(
                path, "no such faceset", "make it with swapper extract, or correct the path"
            )
        card = read_metadata(path)
        # Rows first: a writer makes the pictures before them.
        records = read_faces(path)
        present = picture_names(path)
        alive = [record for record in records if record.image in present]
        deleted = len(records) - len(alive)
        unindexed = sorted(present - {record.image for record in records})
        if deleted:
            log.info("%s: %d faces left out, their pictures were deleted", path, deleted)
        if unindexed:
            log.warning(
                "%s: %d pictures are not used, such as %s: they are not in the index; add faces "
                "with swapper extract",
                path / IMAGES_NAME,
                len(unindexed),
                unindexed[0],
            )
        return cls(path, card, alive, tuple(unindexed), deleted)

    def __len__(self) -> int:
        return len(self.records)

    def image(self, record: FaceRecord) -> NDArray[np.uint8]:
        """Read the picture of `record`, (S, S, 3) RGB, S = ``card.size``.

        Raises:
            FacesetError: The picture was edited, damaged or deleted.
        """
        data = self.picture_bytes(record)
        try:
            return decode_picture(data, self.card.size)
        except ValueError as error:
            raise damaged(self.path / IMAGES_NAME / record.image, error, _CURE) from error

    def picture_bytes(self, record: FaceRecord) -> bytes:
        """Read the file of `record`'s picture; raises as `image`, but does not decode it."""
        path = self.path / IMAGES_NAME / record.image
        try:
            data = read_regular(path, MAX_PICTURE_BYTES, FacesetError)
        except FileNotFoundError as error:
            raise damaged(
                path, "was deleted meanwhile", "start again to go on without it"
            ) from error
        if hashlib.sha256(data).hexdigest() != record.sha256:
            raise damaged(path, "was changed since it was extracted", _CURE)
        return data

    @cached_property
    def content_hash(self) -> str:
        """sha256 (hex) of all that training depends on: size, coverage, and each face's picture and
        geometry. Independent of the folder's path and the card's texts.
        """
        essentials = (FACESET_SCHEMA, self.card.size, self.card.coverage, len(self.records))
        digest = hashlib.sha256(repr(essentials).encode())
        for record in self.records:
            digest.update(f"{record.id} {record.sha256}\n".encode())
            digest.update(np.ascontiguousarray(record.landmarks, "<f4").tobytes())
            digest.update(np.ascontiguousarray(record.aligned_from_frame, "<f8").tobytes())
            if record.mesh is not None:
                digest.update(np.ascontiguousarray(record.mesh, "<f4").tobytes())
        return digest.hexdigest()


def picture_names(folder: Path) -> set[str]:
    """Return the names of the pictures of the faceset in `folder`.

    Raises:
        FacesetError: A link, or the folder of pictures is missing.
    """
    images = folder / IMAGES_NAME
    refuse_link(images)
    try:
        with os.scandir(images) as entries:
            return set(_pictures(images, entries))
    except OSError as error:
        raise damaged(images, error.strerror, "restore the folder of pictures") from error


def _pictures(images: Path, entries: Iterable[os.DirEntry[str]]) -> Iterable[str]:
    for entry in entries:
        if entry.name.startswith(".") or not entry.name.lower().endswith(_SUFFIXES):
            continue
        if entry.is_symlink():
            raise damaged(images / entry.name, "is a link", "put the picture itself there")
        if entry.is_file():
            yield entry.name


def check_together(facesets: Sequence[Faceset]) -> None:
    """Refuse facesets that cannot be trained on together.

    Raises:
        FacesetError: Fewer than two, an identity twice, unlike coverage, or one without faces.
    """
    if len(facesets) < 2:
        raise FacesetError(
            f"facesets lists {len(facesets)}: a swap needs two identities at least; "
            "extract another and add it"
        )
    first = facesets[0]
    paths: dict[str, Path] = {}
    for faceset in facesets:
        identity, coverage = faceset.card.identity, faceset.card.coverage
        if not faceset.records:
            raise damaged(faceset.path, "has no faces", "run swapper extract on footage of them")
        if identity in paths:
            raise damaged(
                faceset.path,
                f"is of {identity}, as is {paths[identity]}",
                "list each identity once; swapper extract can add footage to a faceset",
            )
        if coverage != first.card.coverage:
            raise damaged(
                faceset.path,
                f"has coverage {coverage}, but {first.path} has {first.card.coverage}",
                "extract both with the same coverage",
            )
        paths[identity] = faceset.path
