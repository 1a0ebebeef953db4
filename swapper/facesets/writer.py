"""Write faces to a faceset; it stays valid and resumable if the process is killed at any time."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from swapper.errors import FacesetError
from swapper.facesets.faceset import IMAGES_NAME, picture_names
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
from swapper.facesets.index import (
    INDEX_NAME,
    JOURNAL_NAME,
    MAX_ROWS,
    extend_index,
    journal_line,
    make_record,
    plain_row,
    read_index,
    read_journal,
    table_to_records,
    write_index,
)
from swapper.files import PARTIAL, replacing, sync
from swapper.types import FaceRecord

_SYNC_EVERY = 64
# Rows that wait pin the heap between the pictures that come and go: with more of them it grows.
_FLUSH_EVERY = 512


def face_id(source: str, frame_index: int, face: int) -> str:
    """Return the id of the `face`-th face of a frame, both from 0, of a file by its sha256."""
    return f"{source[:12]}_{frame_index:07d}_{face}"


class FacesetWriter(AbstractContextManager["FacesetWriter"]):
    """Creates or extends a faceset; a context manager.

    A face is safe against a kill as soon as `add` returns, and against a power cut within
    64 faces. Rows of deleted pictures are kept, so that those faces are not extracted again.

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
        self._journal = self._lock_journal()
        try:
            self._open(card)
        except BaseException:
            os.close(self._journal)
            raise

    def _lock_journal(self) -> int:
        path = self.path / JOURNAL_NAME
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        with writing(path):
            journal = os.open(path, flags, 0o666)
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(journal)
            raise damaged(
                self.path, "another process is adding faces to it", "wait for that to end"
            ) from error
        return journal

    def _open(self, card: FacesetMetadata) -> None:
        rows = read_index(self.path)
        late = read_journal(self.path)
        if (self.path / CARD_NAME).exists():
            self.card = read_metadata(self.path)
            check_extends(self.path, self.card, card)
            # Pictures made from now on are written as the newer card says.
            self.card = dataclasses.replace(self.card, image_format=card.image_format)
        elif rows.num_rows or late:
            raise damaged(
                self.path / CARD_NAME, "missing though there are faces", "restore it from a copy"
            )
        else:
            self.card = card
            write_metadata(self.path, card)
        picture_names(self.path)
        for leftover in self._images.glob(f".*{PARTIAL}"):
            leftover.unlink(missing_ok=True)
        self._ids = {record.id for record in table_to_records(rows, self.path / INDEX_NAME)}
        self._pending = [record for record in late if record.id not in self._ids]
        self._ids.update(record.id for record in self._pending)
        self._unsynced: list[Path] = []
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
        if record.id in self._ids:
            raise ValueError(f"face {record.id} has been added before")
        if record.source not in self._sources:
            raise ValueError(f"source {record.source} has not been added to the card")
        if len(self._ids) >= MAX_ROWS:
            raise damaged(self.path, f"holds {MAX_ROWS} faces", "start another faceset")
        data = encode_picture(image, self.card.image_format)
        row = plain_row(record)
        row["image"] = f"{record.id}.{self.card.image_format}"
        row["sha256"] = hashlib.sha256(data).hexdigest()
        record = make_record(row)
        self._write_card_if_stale()
        path = self._images / record.image
        with writing(path), replacing(path, durable=False) as stream:
            stream.write(data)
        self._append(journal_line(record))
        self._ids.add(record.id)
        self._pending.append(record)
        self._unsynced.append(path)
        if len(self._pending) >= _FLUSH_EVERY:
            self.flush()
        elif len(self._unsynced) >= _SYNC_EVERY:
            self._sync()
        return record

    def _append(self, line: bytes) -> None:
        path = self.path / JOURNAL_NAME
        end = os.lseek(self._journal, 0, os.SEEK_END)
        try:
            with writing(path):
                written = 0
                while written < len(line):
                    written += os.write(self._journal, line[written:])
        except FacesetError:
            os.ftruncate(self._journal, end)  # no half a line before the next one
            raise

    def _sync(self) -> None:
        """Fsync pictures before the journal: a row on the disk implies its picture."""
        with writing(self._images):
            for path in self._unsynced:
                if path.exists():  # a person may thin out while we write
                    sync(path)
            sync(self._images)
        self._unsynced.clear()
        with writing(self.path / JOURNAL_NAME):
            os.fsync(self._journal)

    def _write_card_if_stale(self) -> None:
        if self._card_is_stale:
            write_metadata(self.path, self.card)
            self._card_is_stale = False

    def flush(self) -> None:
        """Move the journal's rows to the index atomically.

        Raises:
            FacesetError: It cannot be written; the journal still has the rows.
        """
        self._write_card_if_stale()
        if self._pending:
            self._sync()
            table = read_index(self.path, everything=True)
            write_index(self.path, extend_index(table, self._pending))
            self._pending = []
        elif not (self.path / INDEX_NAME).exists():
            write_index(self.path, extend_index(read_index(self.path), []))
        with writing(self.path / JOURNAL_NAME):
            os.ftruncate(self._journal, 0)
            os.fsync(self._journal)

    def close(self) -> None:
        """Flush and release the lock; idempotent."""
        if self._journal < 0:
            return
        try:
            self.flush()
        finally:
            os.close(self._journal)
            self._journal = -1

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.close()
        except FacesetError:
            if error is None:  # else the first error tells more, and the journal has the rows
                raise
