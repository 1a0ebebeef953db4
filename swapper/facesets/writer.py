"""Write faces to a faceset; it stays valid and resumable if the process is killed at any time."""

from __future__ import annotations

import dataclasses
import hashlib
import sqlite3
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swapper.errors import FacesetError
from swapper.facesets.database import DATABASE_NAME, MAX_ROWS, checked, open_for_writing
from swapper.facesets.faceset import IMAGES_NAME, Faceset, picture_names
from swapper.facesets.faceset_errors import damaged, writing
from swapper.facesets.faceset_metadata import (
    CARD_NAME,
    FacesetMetadata,
    Source,
    check_extends,
    read_metadata,
    write_metadata,
)
from swapper.facesets.image_codec import encode_picture
from swapper.facesets.index import all_ids, insert_face, make_record, plain_row
from swapper.files import PARTIAL, replacing, sync
from swapper.types import FaceRecord

_COMMIT_EVERY = 64
_COMMIT_SECONDS = 1.0
_CURE = "restore it from a copy, or extract again"


def face_id(source: str, frame_index: int, face: int) -> str:
    """Return the id of the `face`-th face of a frame, both from 0, of a file by its sha256."""
    return f"{source[:12]}_{frame_index:07d}_{face}"


class FacesetWriter(AbstractContextManager["FacesetWriter"]):
    """Creates or extends a faceset; a context manager.

    Faces are committed every second, or every 64: a kill or a power cut loses at most those. Rows
    of deleted pictures are kept, so that those faces are not extracted again.

    Args:
        path: Folder; created if missing.
        card: Of the faceset. An existing one keeps its card and gains sources; identity, size,
            coverage and rights must be equal.

    Raises:
        FacesetError: The faceset there is another, is damaged or is being written to.
    """

    def __init__(self, path: str | Path, card: FacesetMetadata) -> None:
        self.path = Path(path)
        self._images = self.path / IMAGES_NAME
        with writing(self._images):
            self._images.mkdir(parents=True, exist_ok=True)
        # Before anything is written, so that a second writer changes nothing.
        self._database: sqlite3.Connection | None = open_for_writing(self.path)
        try:
            self._open(card)
        except BaseException:
            self._database.close()
            raise

    def _open(self, card: FacesetMetadata) -> None:
        assert self._database is not None
        self._ids = all_ids(self._database, self.path)
        if (self.path / CARD_NAME).exists():
            self.card = read_metadata(self.path)
            check_extends(self.path, self.card, card)
            # Pictures made from now on are written as the newer card says.
            self.card = dataclasses.replace(self.card, image_format=card.image_format)
        elif self._ids:
            raise damaged(
                self.path / CARD_NAME, "missing though there are faces", "restore it from a copy"
            )
        else:
            self.card = card
            write_metadata(self.path, card)
        picture_names(self.path)
        for leftover in self._images.glob(f".*{PARTIAL}"):
            leftover.unlink(missing_ok=True)
        self._uncommitted: list[Path] = []
        self._sources = {source.sha256 for source in self.card.sources}
        self._card_is_stale = False
        self.flush()

    def __len__(self) -> int:
        return len(self._ids)

    def has(self, source: str, frame_index: int, face: int) -> bool:
        """Whether that face has been added, in this or an earlier run; arguments as `face_id`."""
        return face_id(source, frame_index, face) in self._ids

    def add_source(self, source: Source) -> None:
        """Add a source to the card, before its faces are added; call again to update it."""
        card = self.card.with_source(source)
        if card != self.card:
            self.card = card
            self._sources.add(source.sha256)
            self._card_is_stale = True

    def add(self, record: FaceRecord, image: NDArray[np.uint8]) -> FaceRecord:
        """Write one face.

        Args:
            record: ``id`` made by `face_id`; ``image`` and ``sha256`` are filled in here.
            image: (S, S, 3) uint8 RGB, S = ``card.size``.

        Returns:
            The record as written.

        Raises:
            ValueError: Record or picture is malformed, known already, or its source not named.
            FacesetError: It cannot be written; what was written before is safe.
        """
        size = self.card.size
        if image.shape != (size, size, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"image must be uint8 ({size}, {size}, 3), got {image.dtype} {image.shape}"
            )
        self._check_new(record)
        data = encode_picture(image, self.card.image_format)
        row = plain_row(record)
        row["image"] = f"{record.id}.{self.card.image_format}"
        row["sha256"] = hashlib.sha256(data).hexdigest()
        record = make_record(row)
        self._store(record, data)
        return record

    def copy(self, faceset: Faceset, records: Sequence[FaceRecord]) -> int:
        """Copy faces of another faceset, with their files; return how many were new here.

        Raises:
            FacesetError: Another identity, size, coverage or rights; a picture is damaged; or as
                `add`.
        """
        check_extends(self.path, self.card, faceset.card)
        used = {record.source for record in records}
        for source in faceset.card.sources:
            if source.sha256 in used:
                self.add_source(source)
        new = [record for record in records if record.id not in self._ids]
        for record in new:
            if record.source not in self._sources:
                raise damaged(faceset.path, f"does not name the file of {record.id}", _CURE)
            self._check_new(record)
            self._store(record, faceset.picture_bytes(record))
        return len(new)

    def _check_new(self, record: FaceRecord) -> None:
        if record.id in self._ids:
            raise ValueError(f"face {record.id} has been added before")
        if record.source not in self._sources:
            raise ValueError(f"source {record.source} has not been added to the card")
        if len(self._ids) >= MAX_ROWS:
            raise damaged(self.path, f"holds {MAX_ROWS} faces", "start another faceset")

    def _store(self, record: FaceRecord, data: bytes) -> None:
        """Write a face's picture and row."""
        self._write_card_if_stale()
        path = self._images / record.image
        with writing(path), replacing(path, durable=False) as stream:
            stream.write(data)
        with checked(self._database_path):
            insert_face(self._open_database, record)
        self._ids.add(record.id)
        self._uncommitted.append(path)
        late = time.monotonic() - self._committed >= _COMMIT_SECONDS
        if late or len(self._uncommitted) >= _COMMIT_EVERY:
            self.flush()

    @property
    def _database_path(self) -> Path:
        return self.path / DATABASE_NAME

    @property
    def _open_database(self) -> sqlite3.Connection:
        if self._database is None:
            raise ValueError(f"{self.path} is closed")
        return self._database

    def _write_card_if_stale(self) -> None:
        if self._card_is_stale:
            write_metadata(self.path, self.card)
            self._card_is_stale = False

    def flush(self) -> None:
        """Commit the faces that were added.

        Raises:
            FacesetError: It cannot be written; those of the last commit are safe.
        """
        self._write_card_if_stale()
        # Pictures before rows: a row on the disk implies its picture.
        with writing(self._images):
            for path in self._uncommitted:
                if path.exists():  # a person may thin out while we write
                    sync(path)
            sync(self._images)
        with checked(self._database_path):
            self._open_database.execute("COMMIT")
            self._uncommitted.clear()
            self._committed = time.monotonic()
            self._open_database.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Commit and release the lock; idempotent."""
        if self._database is None:
            return
        try:
            self.flush()
        finally:
            self._database.close()
            self._database = None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.close()
        except FacesetError:
            if error is None:  # else the first error tells more
                raise
