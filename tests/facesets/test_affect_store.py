"""What an estimator said comes back as it was, of the right faces, or not at all."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swapper.errors import FacesetError
from swapper.facesets.affect_store import (
    _rows,
    annotated_by,
    read_readings,
    read_stored,
    reserving,
    rows_of,
    write_stored,
)
from swapper.facesets.affect_table import StoredReadings, about_text
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_metadata import Source
from swapper.facesets.writer import FacesetWriter
from swapper.types import Readings
from tests.facesets.making import SOURCE, make_card, make_faceset, make_image, make_record

LINEAGE = "drawn:" + "ab" * 32
LOOK = "cd" * 32
LABELS = ("neutral", "happy", "sad")
UNITS = (1, 12)
ARRAYS = ("embedding", "probabilities", "valence", "arousal", "intensities")


def invented(count: int, seed: int = 0, lineage: str = LINEAGE) -> Readings:
    rng = np.random.default_rng(seed)
    shares = rng.random((count, len(LABELS)))
    return Readings(
        lineage,
        LABELS,
        UNITS,
        rng.normal(size=(count, 7)).astype(np.float32),
        (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32),
        rng.uniform(-1, 1, count).astype(np.float32),
        rng.uniform(-1, 1, count).astype(np.float32),
        rng.random((count, len(UNITS))).astype(np.float32),
    )


def stored_of(faceset: Faceset, seed: int = 0, lineage: str = LINEAGE) -> StoredReadings:
    return StoredReadings(
        tuple(record.id for record in faceset.records),
        tuple(record.sha256 for record in faceset.records),
        LOOK,
        invented(len(faceset.records), seed, lineage),
    )


def same(one: Readings, other: Readings) -> None:
    assert (one.lineage, one.labels, one.units) == (other.lineage, other.labels, other.units)
    for name in ARRAYS:
        left, right = getattr(one, name), getattr(other, name)
        assert (left is None) == (right is None)
        if left is not None:
            assert right.dtype == np.float32
            np.testing.assert_array_equal(left, right)


def one_line(error: pytest.ExceptionInfo[FacesetError] | FacesetError) -> str:
    text = str(error.value if isinstance(error, pytest.ExceptionInfo) else error)
    assert text.isprintable()
    assert len(text) < 700
    return text


@pytest.fixture
def faceset(tmp_path: Path) -> Faceset:
    return Faceset.open(make_faceset(tmp_path))


def test_what_is_written_comes_back_in_the_order_of_the_records(faceset: Faceset) -> None:
    stored = stored_of(faceset)
    shuffled = stored.take(np.array([3, 0, 4, 1, 2]))
    write_stored(
        faceset.path, "drawn", [shuffled.take(np.arange(2)), shuffled.take(np.arange(2, 5))]
    )
    same(read_readings(faceset, "drawn"), stored.readings)
    same(read_readings(faceset, "drawn", lineage=LINEAGE, preprocessing_hash=LOOK), stored.readings)
    back = read_stored(faceset.path, "drawn")
    assert back is not None
    assert (back.ids, back.pictures, back.preprocessing_hash) == (
        stored.ids,
        stored.pictures,
        LOOK,
    )


@pytest.mark.parametrize("kept", [(), ("probabilities",), ("valence", "arousal"), ("intensities",)])
def test_what_an_estimator_has_no_opinion_of_stays_none(
    faceset: Faceset, kept: tuple[str, ...]
) -> None:
    whole = invented(5)
    some = dataclasses.replace(
        whole,
        labels=LABELS if "probabilities" in kept else (),
        units=UNITS if "intensities" in kept else (),
        **{name: None for name in ARRAYS[1:] if name not in kept},
    )
    write_stored(faceset.path, "drawn", [dataclasses.replace(stored_of(faceset), readings=some)])
    same(read_readings(faceset, "drawn"), some)


def test_estimators_keep_out_of_each_other_s_way(faceset: Faceset) -> None:
    other = "other:" + "12" * 32
    write_stored(faceset.path, "drawn", [stored_of(faceset)])
    write_stored(faceset.path, "other", [stored_of(faceset, 1, other)])
    same(read_readings(faceset, "drawn"), invented(5))
    same(read_readings(faceset, "other"), invented(5, 1, other))
    assert Faceset.open(faceset.path).content_hash == faceset.content_hash


def test_readings_that_are_not_there_name_the_command(faceset: Faceset) -> None:
    with pytest.raises(FacesetError) as error:
        read_readings(faceset, "drawn")
    assert f"run swapper annotate facesets=[{faceset.path}] affect=drawn" in one_line(error)
    assert "drawn has not read these faces" in one_line(error)


def test_a_deleted_picture_needs_no_reading(faceset: Faceset) -> None:
    write_stored(faceset.path, "drawn", [stored_of(faceset)])
    (faceset.path / "images" / faceset.records[1].image).unlink()
    thinned = Faceset.open(faceset.path)
    same(read_readings(thinned, "drawn"), invented(5).take(np.array([0, 2, 3, 4])))


def test_faces_added_or_changed_since_are_counted(faceset: Faceset) -> None:
    stored = stored_of(faceset)
    pictures = ("0" * 64, *stored.pictures[1:])
    write_stored(faceset.path, "drawn", [dataclasses.replace(stored, pictures=pictures)])
    with FacesetWriter(faceset.path, make_card()) as writer:
        writer.add_source(Source("clip.mp4", SOURCE))
        for frame in (5, 6):
            writer.add(make_record(frame), make_image(frame))
    grown = Faceset.open(faceset.path)
    with pytest.raises(FacesetError) as error:
        read_readings(grown, "drawn")
    assert "of 7 faces 2 were never read and 1 changed since; run swapper annotate" in one_line(
        error
    )
    back = read_stored(faceset.path, "drawn")
    assert back is not None
    assert rows_of(grown, back).tolist() == [-1, 1, 2, 3, 4, -1, -1]


def test_other_weights_and_another_window_are_told(faceset: Faceset) -> None:
    write_stored(faceset.path, "drawn", [stored_of(faceset)])
    with pytest.raises(FacesetError, match="was read by other weights of drawn"):
        read_readings(faceset, "drawn", lineage="drawn:" + "00" * 32)
    with pytest.raises(FacesetError, match="drawn read it through another window"):
        read_readings(faceset, "drawn", preprocessing_hash="00" * 32)


def test_readings_are_added_to(faceset: Faceset) -> None:
    stored = stored_of(faceset)
    write_stored(faceset.path, "drawn", [stored.take(np.arange(3))])
    write_stored(faceset.path, "drawn", [stored.take(np.arange(2, 5))], add=True)
    same(read_readings(faceset, "drawn"), stored.readings)
    write_stored(faceset.path, "drawn", [stored.take(np.arange(1))])
    back = read_stored(faceset.path, "drawn")
    assert back is not None
    assert back.ids == stored.ids[:1]


@pytest.mark.parametrize("name", ["../x", "", "a/b", "A", "x" * 65])
def test_a_name_is_no_path(faceset: Faceset, name: str) -> None:
    with pytest.raises(ValueError, match="an estimator's name"):
        read_stored(faceset.path, name)


def test_one_process_reads_at_a_time(faceset: Faceset) -> None:
    holder = os.open(faceset.path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(FacesetError, match="another process is reading"), reserving(faceset.path):
        pass
    os.close(holder)
    for _ in range(2):
        with reserving(faceset.path):
            pass


def test_annotation_waits_for_no_extraction(faceset: Faceset) -> None:
    with (
        FacesetWriter(faceset.path, make_card()),
        pytest.raises(FacesetError, match="another process is adding"),
        reserving(faceset.path),
    ):
        pass


@pytest.mark.parametrize("name", ["X!", "../a", b"blob"])
def test_estimators_with_improper_names(faceset: Faceset, name: str | bytes) -> None:
    edit(faceset.path, "INSERT INTO estimators VALUES (?, '{}')", name)
    with pytest.raises(FacesetError, match="names an estimator"):
        annotated_by(faceset.path)


def _with(**changes: Any) -> Callable[[StoredReadings], StoredReadings]:
    def change(stored: StoredReadings) -> StoredReadings:
        own = {key: value for key, value in changes.items() if hasattr(stored, key)}
        inner = {key: value for key, value in changes.items() if key not in own}
        return dataclasses.replace(
            stored, **own, readings=dataclasses.replace(stored.readings, **inner)
        )

    return change


SPOILED = {
    "not a number": (_with(embedding=np.full((5, 7), np.nan, np.float32)), "embedding are not"),
    "endless": (_with(valence=np.full(5, np.inf, np.float32)), "valence are not"),
    "shares above one": (_with(probabilities=np.full((5, 3), 1.0, np.float32)), "sum to 1"),
    "negative intensity": (_with(intensities=np.full((5, 2), -0.5, np.float32)), "intensities"),
    "a label too few": (_with(labels=LABELS[:2]), "do not fit"),
    "a label twice": (_with(labels=("sad", "sad", "happy")), "labels"),
    "a label that moves the cursor": (_with(labels=("a\n", "b", "c")), "labels"),
    "units without intensities": (_with(intensities=None), "do not fit"),
    "another reader": (_with(lineage="judge:" + "ab" * 32), "not by drawn"),
    "no weights": (_with(lineage="drawn:x"), "not by drawn"),
    "no look": (_with(preprocessing_hash="x"), "not by drawn"),
    "a path for a face": (_with(ids=("../../x", "b", "c", "d", "e")), "proper name"),
    "a face twice": (_with(ids=("a", "a", "c", "d", "e")), "twice"),
    "no hash": (_with(pictures=("x",) * 5), "64 hex"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_cannot_be_is_neither_written_nor_read(faceset: Faceset, how: str) -> None:
    change, expected = SPOILED[how]
    spoiled = change(stored_of(faceset))
    with pytest.raises(ValueError, match=expected):
        write_stored(faceset.path, "drawn", [spoiled])
    assert read_stored(faceset.path, "drawn") is None
    if how == "a face twice":
        return  # a database cannot hold it
    _raw(faceset.path, spoiled)
    with pytest.raises(FacesetError, match=expected) as error:
        read_stored(faceset.path, "drawn")
    assert "run swapper annotate" in one_line(error)
    assert "refresh=true" in one_line(error)


def test_parts_of_different_readings_are_not_mixed(faceset: Faceset) -> None:
    stored = stored_of(faceset)
    one, two = stored.take(np.arange(2)), stored.take(np.arange(2, 5))
    with pytest.raises(ValueError, match="different readings"):
        write_stored(faceset.path, "drawn", [one, _with(lineage="drawn:" + "00" * 32)(two)])
    with pytest.raises(ValueError, match="twice"):
        write_stored(faceset.path, "drawn", [one, one])


def edit(path: Path, statement: str, *values: Any) -> None:
    """Change the database behind swapper's back."""
    with closing(sqlite3.connect(path / "faceset.db")) as database, database:
        database.execute(statement, values)


def _raw(path: Path, stored: StoredReadings) -> None:
    """Store readings that are not valid."""
    edit(path, "INSERT INTO estimators VALUES ('drawn', ?)", about_text(stored))
    statement = "INSERT INTO readings VALUES ('drawn', ?, ?, ?, ?, ?, ?, ?)"
    for row in _rows(stored):
        edit(path, statement, *row)


@pytest.mark.parametrize(
    ("statement", "value", "expected"),
    [
        ("UPDATE estimators SET about = ?", "{", "Expecting"),
        ("UPDATE estimators SET about = ?", "7", "its estimator"),
        ("UPDATE estimators SET about = json_set(about, '$.lineage', ?)", 7, "its estimator"),
        ("UPDATE estimators SET about = json_set(about, '$.labels', ?)", "a", "labels and units"),
        ("UPDATE estimators SET about = json_set(about, '$.labels[0]', ?)", 1, "labels"),
        ("UPDATE estimators SET about = json_set(about, '$.units[0]', ?)", "x", "units"),
        ("UPDATE estimators SET about = ?", "[" * 100_000, "holds no readings of ours"),
        ("UPDATE readings SET embedding = ? WHERE rowid = 2", bytes(8), "embedding has gaps"),
        ("UPDATE readings SET embedding = ?", bytes(7), "embedding has 1.75 numbers"),
        ("UPDATE readings SET embedding = ?", "text", "embedding has gaps"),
        ("UPDATE readings SET valence = ? WHERE rowid = 2", None, "valence has gaps"),
        ("UPDATE readings SET valence = ?", "x", "valence has gaps"),
        ("UPDATE readings SET intensities = ?", None, "do not fit"),
        ("UPDATE readings SET picture = ?", "x", "64 hex"),
    ],
)
def test_foreign_rows_are_refused(
    faceset: Faceset, statement: str, value: Any, expected: str
) -> None:
    write_stored(faceset.path, "drawn", [stored_of(faceset)])
    edit(faceset.path, statement, value)
    with pytest.raises(FacesetError, match=expected) as error:
        read_stored(faceset.path, "drawn")
    one_line(error)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Faceset:
    faceset = Faceset.open(make_faceset(tmp_path_factory.mktemp("fuzz")))
    write_stored(faceset.path, "drawn", [stored_of(faceset)])
    return faceset


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_whatever_stands_in_the_file_it_reads_or_says_why(
    written: Faceset, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = written.path / "faceset.db"
    whole = path.read_bytes()
    spoiled = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        low = data.draw(st.sampled_from([0, len(whole) // 2]))
        place = data.draw(st.integers(low, len(whole) - 1))
        spoiled[place] = data.draw(st.integers(0, 255))
    end = data.draw(
        st.sampled_from([len(whole), len(whole), data.draw(st.integers(0, len(whole)))])
    )
    path.write_bytes(bytes(spoiled[:end]))
    try:
        read_readings(written, "drawn")
    except FacesetError as error:
        one_line(error)
    finally:
        path.write_bytes(whole)
        path.with_name("faceset.db-journal").unlink(missing_ok=True)
