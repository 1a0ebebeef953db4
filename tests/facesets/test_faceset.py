from __future__ import annotations

import dataclasses
import hashlib
import os
import sqlite3
import struct
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swapper.errors import FacesetError
from swapper.facesets import database
from swapper.facesets.faceset import Faceset, check_together
from swapper.facesets.faceset_metadata import Source
from swapper.facesets.writer import FacesetWriter
from tests.facesets.making import SIZE, SOURCE, make_card, make_faceset, make_image, make_record


def refused(path: Path, words: str) -> None:
    with pytest.raises(FacesetError, match=words) as caught:
        Faceset.open(path)
    assert len(str(caught.value).splitlines()) == 1


def edit(path: Path, statement: str, *values: Any) -> None:
    """Change the database behind swapper's back."""
    with closing(sqlite3.connect(path / "faceset.db")) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(statement, values)


def set_value(path: Path, name: str, row: int, value: Any) -> None:
    face = Faceset.open(path).records[row].id
    edit(path, f"UPDATE faces SET {name} = ? WHERE id = ?", value, face)


@pytest.mark.parametrize("image_format", ["png", "webp", "jpg"])
def test_what_is_written_is_read(tmp_path: Path, image_format: Any) -> None:
    faceset = Faceset.open(make_faceset(tmp_path, image_format=image_format))
    assert faceset.card == make_card(image_format=image_format).with_source(
        Source("clip.mp4", SOURCE)
    )
    assert len(faceset) == len(faceset.records) == 5
    assert faceset.num_deleted == 0
    assert faceset.unindexed == ()
    for frame, record in enumerate(faceset.records):
        want = make_record(frame)
        for name in ("id", "source", "frame_index", "pts", "yaw", "pitch", "roll", "confidence"):
            assert getattr(record, name) == getattr(want, name)
        np.testing.assert_array_equal(record.landmarks, want.landmarks)
        np.testing.assert_array_equal(record.aligned_from_frame, want.aligned_from_frame)
        assert record.landmarks.dtype == np.float32
        assert record.aligned_from_frame.dtype == np.float64
        image = faceset.image(record)
        assert image.shape == (SIZE, SIZE, 3)
        assert image.dtype == np.uint8
        difference = image.astype(int) - make_image(frame)
        assert np.abs(difference).max() <= (8 if image_format == "jpg" else 0)


def test_a_deleted_picture_drops_its_row_and_comes_back(tmp_path: Path) -> None:
    path = make_faceset(tmp_path)
    picture = path / "images" / Faceset.open(path).records[2].image
    data = picture.read_bytes()
    picture.unlink()
    thinned = Faceset.open(path)
    assert [record.frame_index for record in thinned.records] == [0, 1, 3, 4]
    assert thinned.num_deleted == 1
    picture.write_bytes(data)
    assert len(Faceset.open(path)) == 5


def test_an_added_picture_is_told_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_faceset(tmp_path)
    (path / "images" / "zoe.png").write_bytes(b"anything")
    (path / "images" / "notes.txt").write_text("not a picture")
    faceset = Faceset.open(path)
    assert faceset.unindexed == ("zoe.png",)
    assert len(faceset) == 5
    assert "zoe.png" in caplog.text


def test_an_edited_picture_is_named_when_it_is_read(tmp_path: Path) -> None:
    path = make_faceset(tmp_path)
    faceset = Faceset.open(path)
    first, second = faceset.records[:2]
    (path / "images" / first.image).write_bytes((path / "images" / second.image).read_bytes())
    with pytest.raises(FacesetError, match=rf"images/{first.image}: "):
        faceset.image(first)
    (path / "images" / first.image).unlink()
    with pytest.raises(FacesetError, match="was deleted meanwhile"):
        faceset.image(first)
    assert faceset.image(second).shape == (SIZE, SIZE, 3)


def bomb(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a PNG"),
        (b"GIF89a" + bytes(100), "not a PNG"),
        (bomb(60_000, 60_000), "claims far too many pixels"),
        (bomb(9_000, 9_000), "9000 x 9000 pixels instead of 32 x 32"),
        (bomb(SIZE, SIZE), "cannot be decoded"),
        (b"\xff\xd8\xff\xe0" + bytes(200), "not a PNG"),
    ],
)
def test_a_hostile_picture_with_the_right_hash(tmp_path: Path, data: bytes, words: str) -> None:
    path = make_faceset(tmp_path, count=1)
    (image,) = (path / "images").iterdir()
    image.write_bytes(data)
    set_value(path, "sha256", 0, hashlib.sha256(data).hexdigest())
    faceset = Faceset.open(path)
    with pytest.raises(FacesetError, match=words):
        faceset.image(faceset.records[0])


def test_missing_parts(tmp_path: Path) -> None:
    refused(tmp_path / "nobody", "no such faceset; make it")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"faceset\.json: missing")
    path = make_faceset(tmp_path)
    (path / "images").rename(path / "pictures")
    refused(path, "images: No such file")
    (path / "images").symlink_to(path / "pictures")
    refused(path, "images: is a link")


def test_a_picture_that_is_a_link_is_refused(tmp_path: Path) -> None:
    path = make_faceset(tmp_path)
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    (path / "images" / "x.png").symlink_to(secret)
    refused(path, r"x\.png: is a link")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("id", "../../x", "id '../../x'"),
        ("image", "../../etc/x.png", "is not its id"),
        ("image", "/etc/passwd", "is not its id"),
        ("source", "clip.mp4", "64 hex digits"),
        ("sha256", "Z" * 64, "64 hex digits"),
        ("frame_index", -1, "negative"),
        ("yaw", float("inf"), "no finite number"),
        ("yaw", "left", "no finite number"),
        ("landmarks", np.full(136, np.inf, "<f4").tobytes(), "landmarks are not finite"),
        ("landmarks", np.full(136, 1e30, "<f4").tobytes(), "landmarks are not finite or far out"),
        ("landmarks", bytes(135 * 4), "landmarks is not 136 numbers"),
        ("landmarks", "text", "landmarks is not 136 numbers"),
        ("mesh", bytes(8), "mesh is not 1434 numbers"),
        ("aligned_from_frame", bytes(48), "flattens"),
        ("frame_index", 0.5, "frame_index 0.5 is no whole number"),
        ("image", b"blob", "image is no text"),
        ("id", "line\nbreak", "id"),
    ],
)
def test_hostile_rows(tmp_path: Path, name: str, value: Any, words: str) -> None:
    path = make_faceset(tmp_path)
    set_value(path, name, 3, value)
    refused(path, words)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE TABLE more (a)", "other tables than ours"),
        ("CREATE VIEW more AS SELECT load_extension('x')", "other tables than ours"),
        (
            "CREATE TRIGGER more AFTER DELETE ON faces BEGIN DELETE FROM readings; END",
            "other tables than ours",
        ),
        ("DROP TABLE readings", "other tables than ours"),
        ("ALTER TABLE faces ADD COLUMN more", "other tables than ours"),
        ("PRAGMA user_version = 9", "has version 9; upgrade swapper"),
        ("PRAGMA application_id = 7", "a foreign database"),
        ("PRAGMA journal_mode = WAL", "no database of ours"),
        (
            "UPDATE sqlite_schema SET rootpage = 99 WHERE name = 'faces'",
            "is damaged",
        ),
    ],
)
def test_foreign_databases(tmp_path: Path, statement: str, words: str) -> None:
    path = make_faceset(tmp_path)
    edit(path, statement)
    refused(path, words)
    with pytest.raises(FacesetError, match=words):
        FacesetWriter(path, make_card())


def test_what_is_no_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_faceset(tmp_path)
    place = path / "faceset.db"
    data = place.read_bytes()
    for bad in (b"short", b"GIF89a" + bytes(200), data[:50], bytes(100)):
        place.write_bytes(bad)
        refused(path, "is no database of ours")
    place.write_bytes(data[: len(data) // 2])
    refused(path, "is damaged")
    place.unlink()
    os.mkfifo(place)
    refused(path, "not a plain file")
    place.unlink()
    (tmp_path / "elsewhere.db").write_bytes(data)
    place.symlink_to(tmp_path / "elsewhere.db")
    refused(path, "is a link")
    place.unlink()
    place.write_bytes(data)
    monkeypatch.setattr(database, "MAX_ROWS", 4)
    refused(path, "holds 5 faces, more than 4")


def test_a_journal_that_names_another_file_deletes_nothing(tmp_path: Path) -> None:
    """SQLite deletes the file that a journal of several databases names."""
    path = make_faceset(tmp_path)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    name = str(victim).encode()
    record = len(name).to_bytes(4, "big") + sum(name).to_bytes(4, "big")
    magic = bytes.fromhex("d9d505f920a163d7")
    journal = magic + bytes(504) + bytes(4) + name + record + magic
    (path / "faceset.db-journal").write_bytes(journal)
    refused(path, r"faceset\.db-journal: is no journal of ours; delete it")
    assert victim.read_text() == "precious"


def test_a_faceset_of_an_earlier_version_names_the_cure(tmp_path: Path) -> None:
    path = make_faceset(tmp_path)
    (path / "faceset.db").rename(path / "faces.parquet")
    refused(path, r"faces\.parquet: was written by an earlier swapper; extract")


def test_large_values_are_not_read(tmp_path: Path) -> None:
    path = make_faceset(tmp_path)
    set_value(path, "mesh", 0, bytes(2 << 20))
    refused(path, "too big")


def test_content_hash_is_of_what_training_sees(tmp_path: Path) -> None:
    path = make_faceset(tmp_path / "a")
    digest = Faceset.open(path).content_hash
    assert Faceset.open(make_faceset(tmp_path / "b", rights="other")).content_hash == digest
    assert Faceset.open(make_faceset(tmp_path / "c", seed=1)).content_hash != digest
    assert Faceset.open(make_faceset(tmp_path / "d", coverage="head")).content_hash != digest
    set_value(path, "landmarks", 0, np.ones(136, "<f4").tobytes())
    assert Faceset.open(path).content_hash != digest


def test_which_facesets_go_together(tmp_path: Path) -> None:
    anna = Faceset.open(make_faceset(tmp_path))
    bert = Faceset.open(make_faceset(tmp_path, "bert"))
    check_together([anna, bert])
    with pytest.raises(FacesetError, match="two identities at least"):
        check_together([anna])
    with pytest.raises(FacesetError, match="is of anna, as is"):
        check_together([anna, bert, anna])
    empty = Faceset.open(make_faceset(tmp_path, "zoe", count=0))
    with pytest.raises(FacesetError, match="zoe: has no faces"):
        check_together([anna, empty])
    bert.card = dataclasses.replace(bert.card, coverage="head")
    with pytest.raises(FacesetError, match=r"bert: .*coverage head.*anna .*face"):
        check_together([anna, bert])
