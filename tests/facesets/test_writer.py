from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swapper.errors import FacesetError
from swapper.facesets import writer as writer_module
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_metadata import Source, read_metadata
from swapper.facesets.writer import FacesetWriter, face_id
from tests.facesets.making import SOURCE, make_card, make_faceset, make_image, make_record

OTHER = "a7" * 32


def frames(path: Path) -> list[int]:
    return [record.frame_index for record in Faceset.open(path).records]


def open_writer(path: Path, **changes: Any) -> FacesetWriter:
    writer = FacesetWriter(path, make_card(**changes))
    writer.add_source(Source("clip.mp4", SOURCE))
    return writer


def abandon(writer: FacesetWriter) -> None:
    """What a kill leaves: nothing more is committed, the lock is gone."""
    assert writer._database is not None
    writer._database.close()
    writer._database = None


def test_a_second_source_extends_and_the_first_is_known(tmp_path: Path) -> None:
    path = make_faceset(tmp_path)
    with FacesetWriter(path, make_card(aligner="another")) as writer:
        assert len(writer) == 5
        assert writer.has(SOURCE, 4, 0)
        assert not writer.has(SOURCE, 4, 1)
        assert not writer.has(OTHER, 4, 0)
        writer.add_source(Source("more.mp4", OTHER, 7))
        writer.add(make_record(4, OTHER), make_image(4))
    faceset = Faceset.open(path)
    assert len(faceset) == 6
    assert [source.name for source in faceset.card.sources] == ["clip.mp4", "more.mp4"]
    assert faceset.card.aligner == "drawn"


def test_a_kill_loses_what_was_not_committed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_COMMIT_EVERY", 2)
    monkeypatch.setattr(writer_module, "_COMMIT_SECONDS", 1e9)
    writer = open_writer(tmp_path / "anna")
    for frame in range(3):
        stored = writer.add(make_record(frame), make_image(frame))
    assert stored.image == face_id(SOURCE, 2, 0) + ".png"
    assert frames(tmp_path / "anna") == [0, 1]
    abandon(writer)
    assert frames(tmp_path / "anna") == [0, 1]
    with open_writer(tmp_path / "anna") as again:
        assert again.has(SOURCE, 1, 0)
        assert not again.has(SOURCE, 2, 0)
        again.add(make_record(2), make_image(2))
    faceset = Faceset.open(tmp_path / "anna")
    assert [record.frame_index for record in faceset.records] == [0, 1, 2]
    assert faceset.unindexed == ()


def test_faces_can_be_read_while_others_are_added(tmp_path: Path) -> None:
    path = make_faceset(tmp_path)
    with open_writer(path) as writer:
        writer.add(make_record(7), make_image(7))
        assert frames(path) == [0, 1, 2, 3, 4]
        writer.flush()
        assert frames(path) == [0, 1, 2, 3, 4, 7]


def test_deleted_faces_stay_known(tmp_path: Path) -> None:
    path = make_faceset(tmp_path)
    (path / "images" / Faceset.open(path).records[1].image).unlink()
    with FacesetWriter(path, make_card()) as writer:
        assert writer.has(SOURCE, 1, 0)
        writer.add(make_record(7), make_image(7))
    assert frames(path) == [0, 2, 3, 4, 7]


SECOND = """
import sys
from pathlib import Path
from swapper.errors import FacesetError
from swapper.facesets.writer import FacesetWriter
from tests.facesets.making import make_card
try:
    FacesetWriter(Path(sys.argv[1]), make_card()).close()
except FacesetError as error:
    print(error)
"""


def test_reading_in_the_same_process_keeps_the_lock(tmp_path: Path) -> None:
    """POSIX drops a process's locks on a file when any descriptor of it is closed."""
    path = make_faceset(tmp_path)
    with open_writer(path):
        assert frames(path) == [0, 1, 2, 3, 4]
        with pytest.raises(FacesetError, match="another process"):
            FacesetWriter(path, make_card())
        second = [sys.executable, "-c", SECOND, str(path)]
        output = subprocess.run(second, capture_output=True, text=True, check=True).stdout
    assert "another process" in output
    FacesetWriter(path, make_card()).close()


def test_a_writer_killed_before_its_first_commit(tmp_path: Path) -> None:
    path = make_faceset(tmp_path, count=0)
    (path / "faceset.db").write_bytes(b"")
    assert frames(path) == []
    with open_writer(path) as writer:
        writer.add(make_record(0), make_image(0))
    assert frames(path) == [0]


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with open_writer(tmp_path / "anna"), pytest.raises(FacesetError, match="another process"):
        FacesetWriter(tmp_path / "anna", make_card())
    FacesetWriter(tmp_path / "anna", make_card()).close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"identity": "bert"}, "has identity anna, not bert; pass identity=anna"),
        ({"size": 64}, "has size 32, not 64"),
        ({"coverage": "head"}, "has coverage face, not head"),
        ({"rights": "found it"}, "states other rights"),
    ],
)
def test_refuses_another_card(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = make_faceset(tmp_path)
    before = {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}
    with pytest.raises(FacesetError, match=words):
        FacesetWriter(path, make_card(**change))
    assert {each: each.read_bytes() for each in path.rglob("*") if each.is_file()} == before
    (path / "faceset.json").unlink()
    with pytest.raises(FacesetError, match="missing though there are faces"):
        FacesetWriter(path, make_card())


def test_refuses_bad_arguments(tmp_path: Path) -> None:
    with open_writer(tmp_path / "anna") as writer:
        good = make_record()
        with pytest.raises(ValueError, match="image must be uint8"):
            writer.add(good, make_image(size=16))
        with pytest.raises(ValueError, match="image must be uint8"):
            writer.add(good, make_image().astype(np.float32))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="has not been added"):
            writer.add(make_record(0, OTHER), make_image())
        with pytest.raises(ValueError, match=r"id '\.\./x'"):
            writer.add(dataclasses.replace(good, id="../x"), make_image())
        with pytest.raises(ValueError, match="yaw is no finite"):
            writer.add(dataclasses.replace(good, yaw=float("nan")), make_image())
        writer.add(dataclasses.replace(good, yaw=np.float32(3)), make_image())  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="added before"):
            writer.add(good, make_image())
    assert len(Faceset.open(tmp_path / "anna")) == 1
    assert len(list((tmp_path / "anna" / "images").iterdir())) == 1


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "anna"
    writer = open_writer(path)
    writer.add(make_record(0), make_image(0))
    writer.flush()
    database = writer._database
    assert database is not None
    database.execute(
        f"PRAGMA max_page_count = {database.execute('PRAGMA page_count').fetchone()[0]}"
    )

    def fill() -> None:
        for frame in range(1, 50):
            writer.add(make_record(frame), make_image(frame))

    with pytest.raises(FacesetError, match=r"faceset\.db: cannot be written .*full"):
        fill()
    with suppress(FacesetError):
        writer.close()
    assert 0 in frames(path)
    with open_writer(path) as again:
        for frame in range(50):
            if not again.has(SOURCE, frame, 0):
                again.add(make_record(frame), make_image(frame))
    assert frames(path) == list(range(50))
    assert not list(path.rglob("*.partial"))


def test_an_error_in_between_keeps_what_was_found(tmp_path: Path) -> None:
    def stumble() -> None:
        with open_writer(tmp_path / "anna") as writer:
            writer.add(make_record(0), make_image(0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        stumble()
    assert frames(tmp_path / "anna") == [0]


CHILD = """
import sys
from pathlib import Path
from swapper.facesets import writer as writer_module
from swapper.facesets.faceset_metadata import Source
from tests.facesets.making import SOURCE, make_card, make_image, make_record
writer_module._COMMIT_EVERY = 5
with writer_module.FacesetWriter(Path(sys.argv[1]), make_card()) as writer:
    writer.add_source(Source("clip.mp4", SOURCE))
    print("open", len(writer), flush=True)
    for frame in range(100000):
        if not writer.has(SOURCE, frame, 0):
            writer.add(make_record(frame), make_image(frame))
            print(frame, flush=True)
"""


def test_kill_at_any_moment(tmp_path: Path) -> None:
    """All but the last few faces are there after SIGKILL, and the next run goes on behind them."""
    path, done = tmp_path / "anna", -1
    for attempt in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline().split()[0] == "open"
        for _ in range(7 * attempt + 1):
            done = int(process.stdout.readline())
        time.sleep(0.003 * attempt)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split("\n")[:-1]
        process.wait()
        process.stdout.close()
        done = int(rest[-1]) if rest else done
        found = frames(path)
        assert found == list(range(len(found)))
        assert done - 5 <= len(found) <= done + 2  # one may be written and not yet reported
        faceset = Faceset.open(path)
        for record in faceset.records:
            faceset.image(record)
    assert read_metadata(path).sources[0].name == "clip.mp4"
