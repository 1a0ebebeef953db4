"""The database of a faceset, ``faceset.db``: an SQLite file of its faces and readings of affect.

One writer at a time, any number of readers; a rollback journal lies beside the file, since
write-ahead logs need shared memory, which network drives lack. Files from strangers are opened with
care: header, schema and pages are checked before a row is read, nothing in the file is executed,
and each value's size is limited.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from swapper.errors import FacesetError
from swapper.facesets.faceset_errors import damaged
from swapper.files import open_regular

DATABASE_NAME: Final = "faceset.db"
MAX_ROWS: Final = 5_000_000
CURE: Final = "restore it from a copy, or extract into a new folder"

_APPLICATION: Final = 0x73776670
_VERSION: Final = 1
_JOURNAL_MAGIC: Final = bytes.fromhex("d9d505f920a163d7")
_HEADER: Final = b"SQLite format 3\x00"
_MAX_BYTES: Final = 64 << 30
_MAX_VALUE: Final = 1 << 20
_WAIT_SECONDS: Final = 10.0
_COMMIT_SECONDS: Final = 600
_ANOTHER: Final = "another process is adding to this faceset, or reads it", "wait for that to end"
_written: Final[set[Path]] = set()
"""Files that this process writes. Closing a file that was opened by other means than SQLite's drops
all locks that the process holds on it."""
_EARLIER: Final = "faces.parquet"
_SCHEMA: Final = {
    "faces": (
        "CREATE TABLE faces (id TEXT PRIMARY KEY NOT NULL, image TEXT NOT NULL, source TEXT NOT"
        " NULL, sha256 TEXT NOT NULL, frame_index INTEGER NOT NULL, pts INTEGER NOT NULL, yaw REAL"
        " NOT NULL, pitch REAL NOT NULL, roll REAL NOT NULL, sharpness REAL NOT NULL, confidence"
        " REAL NOT NULL, landmarks BLOB NOT NULL, aligned_from_frame BLOB NOT NULL, mesh BLOB,"
        " removed INTEGER)"
    ),
    "estimators": "CREATE TABLE estimators (name TEXT PRIMARY KEY NOT NULL, about TEXT NOT NULL)",
    "readings": (
        "CREATE TABLE readings (estimator TEXT NOT NULL, face TEXT NOT NULL, picture TEXT NOT NULL,"
        " embedding BLOB NOT NULL, probabilities BLOB, intensities BLOB, valence REAL, arousal"
        " REAL, PRIMARY KEY (estimator, face))"
    ),
}
_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_REFUSED: Final = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
}  # fmt: skip


@contextmanager
def checked(path: Path) -> Iterator[None]:
    """Turn errors of the database at `path` into a `FacesetError`."""
    try:
        yield
    except UnicodeError as error:
        raise damaged(path, f"is damaged ({error})", CURE) from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _BUSY:
            problem = _ANOTHER
        elif code in _REFUSED:
            problem = (
                f"cannot be written ({error})",
                "make room or mend the permissions, then run the same command again",
            )
        else:
            problem = f"is damaged ({error})", CURE
        raise damaged(path, *problem) from error


@contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the database of the faceset in `folder` for reading; None if there is none yet.

    Raises:
        FacesetError: It is foreign, damaged, too large or of another version.
    """
    path = folder / DATABASE_NAME
    if not _exists(path):
        yield None
        return
    # Not read-only: what a killed writer left half done is rolled back first.
    with checked(path), closing(_connect(path, "rw")) as database:
        database.execute("PRAGMA query_only = ON")
        if _is_empty(database):  # a writer was killed before its first commit
            yield None
            return
        _check(path, database)
        yield database


def open_for_writing(folder: Path, wait: float = 0.0) -> sqlite3.Connection:
    """Open or create the database of the faceset in `folder`, in a transaction.

    Until it is committed nobody else can write.

    Args:
        folder: Of the faceset.
        wait: Seconds to wait for another writer.

    Raises:
        FacesetError: As `reading`, or another is writing, or it cannot be written.
    """
    path = folder / DATABASE_NAME
    if path.absolute() in _written:
        raise damaged(path, *_ANOTHER)
    exists = _exists(path)
    with checked(path):
        database = _connect(path, "rw" if exists else "rwc", wait, _Writer)
        try:
            database.execute("PRAGMA synchronous = FULL")
            database.execute("BEGIN IMMEDIATE")
            # A commit waits for those who read.
            database.execute(f"PRAGMA busy_timeout = {1000 * _COMMIT_SECONDS}")
            if not _is_empty(database):
                _check(path, database)
            else:
                for statement in _SCHEMA.values():
                    database.execute(statement)
                database.execute(f"PRAGMA application_id = {_APPLICATION}")
                database.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            database.close()
            raise
    assert isinstance(database, _Writer)
    database.path = path.absolute()
    _written.add(database.path)
    return database


class _Writer(sqlite3.Connection):
    """A connection that writes; while it is open the file is not opened by any other means."""

    path: Path | None = None

    def close(self) -> None:
        super().close()
        if self.path is not None:
            _written.discard(self.path)


def _is_empty(database: sqlite3.Connection) -> bool:
    ((count,),) = database.execute("SELECT count(*) FROM sqlite_schema")
    return not count


def _exists(path: Path) -> bool:
    """Check what the file's header tells, before SQLite opens it."""
    if path.absolute() in _written:
        return True
    try:
        with open_regular(path, _MAX_BYTES, FacesetError) as stream:
            header = stream.read(100)
    except FileNotFoundError:
        earlier = path.with_name(_EARLIER)
        if earlier.exists():
            raise damaged(
                earlier, "was written by an earlier swapper", "extract into a new folder"
            ) from None
        return False
    _check_journal(path.with_name(path.name + "-journal"))
    if not header:  # a writer was killed before its first commit
        return True
    if len(header) < 100 or header[:16] != _HEADER or header[18:20] != b"\x01\x01":
        raise damaged(path, "is no database of ours", CURE)
    if int.from_bytes(header[68:72], "big") != _APPLICATION:
        raise damaged(path, "is a foreign database", CURE)
    version = int.from_bytes(header[60:64], "big")
    if version != _VERSION:
        raise damaged(path, f"has version {version}", "upgrade swapper, or extract again")
    return True


def _check_journal(path: Path) -> None:
    """Refuse a journal of several databases: SQLite would delete the file that it names."""
    with suppress(FileNotFoundError), open_regular(path, _MAX_BYTES, FacesetError) as stream:
        size = stream.seek(0, 2)
        stream.seek(max(size - len(_JOURNAL_MAGIC), 0))
        if stream.read() == _JOURNAL_MAGIC:
            raise damaged(path, "is no journal of ours", "delete it")


def _connect(
    path: Path,
    mode: str,
    wait: float = _WAIT_SECONDS,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
) -> sqlite3.Connection:
    address = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    database = sqlite3.connect(
        address, timeout=wait, isolation_level=None, uri=True, factory=factory
    )
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
    for setting in ("trusted_schema = OFF", "cell_size_check = ON", "mmap_size = 0"):
        database.execute(f"PRAGMA {setting}")
    return database


def _check(path: Path, database: sqlite3.Connection) -> None:
    """Check schema and pages, and that no table has more rows than ours have."""
    found = database.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    if {(kind, name): sql for kind, name, sql in found} != {
        ("table", name): sql for name, sql in _SCHEMA.items()
    }:
        raise damaged(path, "has other tables than ours", CURE)
    ((verdict,),) = database.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise damaged(path, f"is damaged ({verdict})", CURE)
    ((count,),) = database.execute("SELECT count(*) FROM faces").fetchall()
    if count > MAX_ROWS:
        raise damaged(path, f"holds {count} faces, more than {MAX_ROWS}", CURE)
