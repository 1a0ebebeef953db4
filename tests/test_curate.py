"""``swapper faceset``: what is found, what is taken out, and that it comes back."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.cli import main as cli
from swapper.data.face_table import face_columns, names_in, select_faces
from swapper.data.picture_measures import duplicate_ranks, perceptual_hash
from swapper.errors import FacesetError, UsageError
from swapper.facesets.affect_store import read_readings, write_stored
from swapper.facesets.faceset import Faceset
from swapper.facesets.faceset_metadata import Source
from swapper.facesets.removal import remove_faces, undo_removal
from swapper.facesets.writer import FacesetWriter
from tests.drawing import Look, draw
from tests.facesets.making import SOURCE, make_card, make_faceset, make_image, make_record
from tests.facesets.test_affect_store import stored_of

COLUMNS = {
    "yaw": np.array([0.0, 10.0, 20.0, 30.0]),
    "sharpness": np.array([0.1, 0.2, 0.3, 0.4]),
    "emotion": ["happy", "sad", "happy", "it's"],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make_faceset(tmp_path)


def frames(path: Path) -> list[int]:
    return [record.frame_index for record in Faceset.open(path).records]


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("yaw > 5", [1, 2, 3]),
        ("yaw > 5 and sharpness < .35", [1, 2]),
        ("abs(yaw - 20) < 11 or emotion = 'happy'", [0, 1, 2, 3]),
        ("emotion = 'it''s'", [3]),
        ("emotion in ('sad', 'angry')", [1]),
        ("YAW between 10 and 20", [1, 2]),
        ("not yaw", [0]),
        ("1", [0, 1, 2, 3]),
        ("yaw > 99", []),
    ],
)
def test_expressions(expression: str, rows: list[int]) -> None:
    assert select_faces(COLUMNS, expression).tolist() == rows


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("yaw >", "where=yaw >: "),
        ("yw > 3", "no column yw; .*did you mean yaw"),
        ("valence > 0", "no estimator has read valence; run swapper annotate"),
        ("yaw > 1); DROP TABLE faces; --", "where="),
        ("0) UNION SELECT 9999 /*", "where="),
        ("1) group by (1", "parentheses do not match"),
        ('"yawn" > 5', "where="),
        ("yaw > 5 -- of all", "where="),
        ("(SELECT sql FROM sqlite_schema)", "prohibited|not authorized"),
        ("load_extension('x')", "not authorized|no such function"),
        ("randomblob(999999999) = 1", "not authorized"),
        ("yaw IN (WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n)",
         "not authorized|interrupted"),
    ],
)  # fmt: skip
def test_what_is_no_expression_is_refused(expression: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as error:
        select_faces(COLUMNS, expression)
    assert len(str(error.value).splitlines()) == 1


def test_columns_that_are_named() -> None:
    assert names_in("Yaw > 3 and emotion = 'valence' or size*2 < roll") == [
        "yaw", "emotion", "size", "roll"
    ]  # fmt: skip
    assert names_in("AU12 > .5 or au4x") == ["au12"]


def test_near_duplicates_are_found_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    looks = [Look(width=width) for width in (0.85, 1.0, 1.15)]
    different = [draw(128, time, look)[0] for look in looks for time in (0.1, 0.2, 0.65, 1.6)]

    def again(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Saved anew: brighter, noisy, compressed, another size."""
        noisy = picture * 0.9 + 12 + rng.normal(0, 3, picture.shape)
        _, data = cv2.imencode(".jpg", np.clip(noisy, 0, 255).astype(np.uint8))
        decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        return np.asarray(cv2.resize(decoded, (96, 96), interpolation=cv2.INTER_AREA), np.uint8)

    pictures = [*different, *(again(each) for each in different[:5]), again(different[2])]
    hashes = np.stack(
        [
            perceptual_hash(np.asarray(cv2.cvtColor(each, cv2.COLOR_RGB2GRAY), np.uint8))
            for each in pictures
        ]
    )
    sharpness = np.arange(len(pictures), 0, -1.0)
    ranks = duplicate_ranks(hashes, sharpness)
    assert ranks[:12].tolist() == [0] * 12
    assert ranks[12:].tolist() == [1, 1, 1, 1, 1, 2]


def test_filter_counts_before_it_removes(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["faceset", "filter", f"facesets={path}", "where=frame > 2"]
    assert cli.run(line) == 0
    assert "2 of 5 faces" in capsys.readouterr().out
    assert frames(path) == [0, 1, 2, 3, 4]
    assert cli.run([*line, "apply=true"]) == 0
    assert frames(path) == [0, 1, 2]
    assert len(list((path / "removed" / "1").iterdir())) == 2
    assert Faceset.open(path).unindexed == ()
    with FacesetWriter(path, make_card()) as writer:
        assert writer.has(SOURCE, 4, 0)  # so that it is not extracted again
    assert cli.run(["faceset", "undo", f"facesets={path}"]) == 0
    assert "2 faces brought back" in capsys.readouterr().out
    assert frames(path) == [0, 1, 2, 3, 4]
    assert cli.run(["faceset", "undo", f"facesets={path}"]) == 0
    assert "none to undo" in capsys.readouterr().out


def test_batches_come_back_one_by_one(path: Path) -> None:
    faceset = Faceset.open(path)
    before = faceset.content_hash
    remove_faces(faceset, faceset.records[:1])
    remove_faces(faceset, faceset.records[1:3])
    assert frames(path) == [3, 4]
    assert undo_removal(faceset) == 2
    assert frames(path) == [1, 2, 3, 4]
    assert undo_removal(faceset) == 1
    assert Faceset.open(path).content_hash == before


def test_a_kill_between_rows_and_pictures(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faceset = Faceset.open(path)
    with monkeypatch.context() as patch:
        patch.setattr("swapper.facesets.removal._move", lambda *_: None)
        remove_faces(faceset, faceset.records[:2])
    assert frames(path) == [2, 3, 4]
    assert undo_removal(Faceset.open(path)) == 2
    assert frames(path) == [0, 1, 2, 3, 4]


def test_faces_are_removed_once(path: Path) -> None:
    stale = Faceset.open(path)
    remove_faces(stale, stale.records[:3])
    remove_faces(stale, stale.records[2:4])  # opened before the first
    assert undo_removal(Faceset.open(path)) == 1
    assert undo_removal(Faceset.open(path)) == 3
    assert frames(path) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("image", ["../../payload", "link/payload", b"A", "x.png"])
def test_rows_of_removed_faces_move_nothing_outside(path: Path, image: str | bytes) -> None:
    victim = path.parent / "victim"
    victim.mkdir()
    (victim / "payload").write_text("precious")
    (path / "images" / "link").symlink_to(victim)
    (path / "removed" / "1" / "link").mkdir(parents=True)
    (path / "removed" / "1" / "link" / "payload").write_text("hostile")
    with closing(sqlite3.connect(path / "faceset.db")) as database, database:
        database.execute("UPDATE faces SET removed = 1, image = ?", [image])
    with pytest.raises(FacesetError, match="is not its id"):
        undo_removal(Faceset.open(path))
    assert (victim / "payload").read_text() == "precious"


@pytest.mark.parametrize("place", ["removed", "removed/1"])
def test_links_are_not_followed(path: Path, place: str) -> None:
    (path.parent / "out").mkdir()
    (path / place).parent.mkdir(exist_ok=True)
    (path / place).symlink_to(path.parent / "out")
    faceset = Faceset.open(path)
    with pytest.raises(FacesetError, match="is a link"):
        remove_faces(faceset, faceset.records)
    assert frames(path) == [0, 1, 2, 3, 4]
    assert not list((path.parent / "out").iterdir())


@pytest.mark.parametrize("value", [2**63 - 1, -5])
def test_batches_that_cannot_be(path: Path, value: int) -> None:
    with closing(sqlite3.connect(path / "faceset.db")) as database, database:
        database.execute("UPDATE faces SET removed = ? WHERE frame_index = 0", [value])
    faceset = Faceset.open(path)
    with pytest.raises(FacesetError, match="batch"):
        remove_faces(faceset, faceset.records)


def test_stats_and_sort_tell_what_is_there(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_stored(path, "drawn", [stored_of(Faceset.open(path))])
    assert cli.run(["faceset", "stats", f"facesets=[{path}]"]) == 0
    out = capsys.readouterr().out
    assert "5 faces of 1 files" in out
    for word in ("yaw", "exposure", "duplicate", "valence", "emotion: ", "clip.mp4 100.0%"):
        assert word in out
    sheet = path.parent / "s.png"
    assert cli.run(["faceset", "sort", f"facesets={path}", "by=yaw", f"sheet={sheet}"]) == 0
    found = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:-1]]
    assert [float(each) for each in found] == [0, 1, 2, 3, 4]
    picture = cv2.imread(str(path.parent / "s-anna.png"))
    assert picture is not None
    assert picture.std() > 20
    assert cli.run(["faceset", "filter", f"facesets={path}", "where=valence > 2"]) == 0
    assert "0 of 5 faces" in capsys.readouterr().out
    assert cli.run(["faceset", "filter", f"facesets={path}", "where=au12 between 0 and 1"]) == 0
    assert "5 of 5 faces" in capsys.readouterr().out
    assert cli.run(["faceset", "sort", f"facesets={path}", "by=au1"]) == 0
    assert "by au1" in capsys.readouterr().out


def test_columns_of_the_pictures(tmp_path: Path) -> None:
    with FacesetWriter(tmp_path / "anna", make_card()) as writer:
        writer.add_source(Source("clip.mp4", SOURCE))
        for frame, level in enumerate((0, 128, 255)):
            writer.add(make_record(frame), np.full((32, 32, 3), level, np.uint8))
        writer.add(make_record(3), make_image(3))
    columns = face_columns(Faceset.open(tmp_path / "anna"))
    np.testing.assert_allclose(columns["exposure"][:3], [0, 128 / 255, 1])  # type: ignore[arg-type]
    np.testing.assert_allclose(columns["clipped"][:3], [1, 0, 1])  # type: ignore[arg-type]
    assert "emotion" not in columns


def test_verify_names_what_is_damaged(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["faceset", "verify", f"facesets={path}"]) == 0
    assert "5 of 5 pictures are intact" in capsys.readouterr().out
    first, second = (path / "images" / each.image for each in Faceset.open(path).records[:2])
    shutil.copyfile(first, second)
    assert cli.run(["faceset", "verify", f"facesets={path}"]) == 1
    assert f"{second}: was changed" in capsys.readouterr().out


def test_split_and_merge_keep_files_and_readings(tmp_path: Path) -> None:
    path = make_faceset(tmp_path, image_format="jpg")
    whole = Faceset.open(path)
    write_stored(path, "drawn", [stored_of(whole)])
    for number, where in enumerate(("frame < 2", "frame >= 2")):
        line = ["faceset", "split", f"facesets={path}", f"where={where}"]
        assert cli.run([*line, f"output={tmp_path / str(number)}"]) == 0
    assert frames(tmp_path / "0") == [0, 1]
    assert frames(tmp_path / "1") == [2, 3, 4]
    parts = f"facesets=[{tmp_path / '0'},{tmp_path / '1'},{tmp_path / '0'}]"
    assert cli.run(["faceset", "merge", parts, f"output={tmp_path / 'both'}"]) == 0
    merged = Faceset.open(tmp_path / "both")
    assert merged.content_hash == whole.content_hash
    assert merged.card.sources == whole.card.sources
    assert merged.card.rights == whole.card.rights
    np.testing.assert_array_equal(
        read_readings(merged, "drawn").embedding, read_readings(whole, "drawn").embedding
    )
    assert frames(path) == [0, 1, 2, 3, 4]


def test_facesets_of_two_people_do_not_merge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = make_faceset(tmp_path), make_faceset(tmp_path, "bert")
    line = ["faceset", "merge", f"facesets=[{one},{other}]", f"output={tmp_path / 'both'}"]
    assert cli.run(line) != 0
    assert "has identity anna, not bert" in capsys.readouterr().err
    assert not (tmp_path / "both").exists()


def test_readings_of_other_pictures_are_not_taken_over(tmp_path: Path) -> None:
    """The same clip extracted twice: the same ids, other pictures."""
    one, other = make_faceset(tmp_path / "a"), make_faceset(tmp_path / "b", seed=1)
    for seed, path in enumerate((one, other)):
        write_stored(path, "drawn", [stored_of(Faceset.open(path), seed)])
    before = read_readings(Faceset.open(one), "drawn").embedding
    assert cli.run(["faceset", "merge", f"facesets={other}", f"output={one}"]) == 0
    np.testing.assert_array_equal(read_readings(Faceset.open(one), "drawn").embedding, before)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["filter"], "where is missing"),
        (["split", "where=yaw > 1"], "where or output is missing"),
        (["merge"], "output is missing"),
        (["filter", "where=yw > 1"], "did you mean yaw"),
        (["filter", "where=yaw > 1", "readings=judge"], "readings=judge: not there"),
        (["sort", "by=beauty"], "by=beauty: choose from"),
        (["sort", "by=Yaw"], "by=Yaw: choose from"),
        (["split", "where=shaprness > 1", "output=x"], "did you mean sharpness"),
        (["sort", "by=valence"], "by=valence: no estimator has read it; run swapper annotate"),
        (["tidy"], "action=tidy: choose from"),
        ([], "action is missing"),
    ],
)
def test_mistakes_in_one_line(
    path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["faceset", *words, f"facesets={path}"]) != 0
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
