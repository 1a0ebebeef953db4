from __future__ import annotations

import dataclasses
import hashlib
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from swapper.errors import FacesetError
from swapper.facesets import index
from swapper.facesets.faceset import Faceset, check_together
from swapper.facesets.faceset_metadata import Source
from swapper.facesets.writer import FacesetWriter
from tests.facesets.making import SIZE, SOURCE, make_card, make_faceset, make_image, make_record


def refused(path: Path, words: str) -> None:
    with pytest.raises(FacesetError, match=words) as caught:
        Faceset.open(path)
    assert len(str(caught.value).splitlines()) == 1


def rewrite(path: Path, change: Any) -> None:
    """Pass the index through `change`, a function of the table."""
    index.write_index(path, change(index.read_index(path, everything=True)))


def set_value(table: pa.Table, name: str, row: int, value: Any) -> pa.Table:
    values = table.column(name).to_pylist()
    values[row] = value
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(name), pa.array(values, table[name].type))


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
    rewrite(path, lambda table: set_value(table, "sha256", 0, hashlib.sha256(data).hexdigest()))
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
        ("yaw", float("nan"), "no finite number"),
        ("landmarks", [float("inf")] * 136, "landmarks are not finite"),
        ("landmarks", [1e30] * 136, "landmarks are not finite or far out"),
        ("aligned_from_frame", [0.0] * 6, "flattens"),
        ("id", "line\nbreak", "id"),
    ],
)
def test_hostile_rows(tmp_path: Path, name: str, value: Any, words: str) -> None:
    path = make_faceset(tmp_path)
    rewrite(path, lambda table: set_value(table, name, 3, value))
    refused(path, words)


def test_hostile_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_faceset(tmp_path)
    good = index.read_index(path)
    place = path / "faces.parquet"

    def write(table: pa.Table, **settings: Any) -> None:
        plain: dict[str, Any] = {"compression": "none", "use_dictionary": False}
        pq.write_table(table, place, **plain | settings)

    write(pa.table({"a": [1]}))
    refused(path, "foreign Parquet")
    write(good.drop_columns(["pts"]))
    refused(path, "column pts is missing")
    write(good.set_column(4, "frame_index", pa.array([0.5] * 5)))
    refused(path, "column frame_index is missing or not int64")
    write(good.replace_schema_metadata({b"swapper.faceset.schema": b"9"}))
    refused(path, "upgrade swapper")
    write(good, compression="zstd")
    refused(path, "compressed by another program")
    write(good, use_dictionary=True)
    refused(path, "compressed by another program")
    nullable = pa.schema([each.with_nullable(True) for each in good.schema], good.schema.metadata)
    write(set_value(good.cast(nullable), "source", 0, None))
    refused(path, "column source has gaps")
    write(pa.concat_tables([good, good]))
    refused(path, "lists a face twice")
    write(good)
    assert len(Faceset.open(path)) == 5
    data = place.read_bytes()
    for bad, words in (
        (b"", "too short"),
        (data[:-1], "footer is damaged"),
        (data[:-8] + b"\xff\xff\xff\x7fPAR1", "footer is damaged"),
        (data[:4] + b"\x00" * 8 + b"PAR1", "footer is damaged"),
        (b"PAR1" + b"\x1c" * 200 + b"\xc8\x00\x00\x00PAR1", "nested too deeply"),
    ):
        place.write_bytes(bad)
        refused(path, words)
    write(good)
    monkeypatch.setattr(index, "MAX_ROWS", 4)
    refused(path, "claims 5 rows, more than 4")


def test_other_columns_are_ignored_and_kept(tmp_path: Path) -> None:
    path = make_faceset(tmp_path)
    values = pa.array([0.1, 0.2, 0.3, 0.4, 0.5], pa.float32())
    rewrite(path, lambda table: table.append_column("affect.actors.valence", values))
    assert len(Faceset.open(path)) == 5
    with FacesetWriter(path, make_card()) as writer:
        writer.add(make_record(9), make_image(9))
    assert len(Faceset.open(path)) == 6
    column = index.read_index(path, everything=True)["affect.actors.valence"].to_pylist()
    assert column == [*values.to_pylist(), None]


def test_content_hash_is_of_what_training_sees(tmp_path: Path) -> None:
    path = make_faceset(tmp_path / "a")
    digest = Faceset.open(path).content_hash
    assert Faceset.open(make_faceset(tmp_path / "b", rights="other")).content_hash == digest
    assert Faceset.open(make_faceset(tmp_path / "c", seed=1)).content_hash != digest
    assert Faceset.open(make_faceset(tmp_path / "d", coverage="head")).content_hash != digest
    rewrite(path, lambda table: set_value(table, "landmarks", 0, [1.0] * 136))
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
