from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from swapper.errors import AlignerError
from swapper.faces.aligner import opened
from swapper.faces.openface import OpenfaceAligner
from tests.faces.conftest import StillFrame, drawn_landmarks, placed
from tests.refusals import refusal_of

HEADER = ["frame", "face_id", "timestamp", "confidence", "success"]
HEADER += [f"x_{i}" for i in range(68)] + [f"y_{i}" for i in range(68)]
POINTS = placed(drawn_landmarks())
Write = Callable[..., str]


def row(
    frame: object = 1,
    face: object = 0,
    confidence: object = 0.98,
    success: object = 1,
    points: NDArray[np.float32] = POINTS,
) -> list[str]:
    numbers = [f"{value:.3f}" for value in (*points[:, 0], *points[:, 1])]
    return [str(frame), str(face), "0.0", str(confidence), str(success), *numbers]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(rows: list[list[str]], header: list[str] = HEADER, separator: str = ",") -> str:
        path = tmp_path / "clip.csv"
        path.write_text("\n".join(separator.join(cells) for cells in [header, *rows]) + "\n")
        return str(path)

    return written


def still(index: int) -> StillFrame:
    return StillFrame(index, np.zeros((480, 640, 3), np.uint8))


def refused(path: str, *words: str, **options: float) -> None:
    message = refusal_of(AlignerError, lambda: OpenfaceAligner(path, **options).prepare())  # type: ignore[arg-type]
    for word in (path, *words):
        assert word in message


def test_rows_are_found_by_frame_from_one(write: Write) -> None:
    other = POINTS + np.float32(20)
    aligner = OpenfaceAligner(write([row(2, points=other), row(1)]))
    np.testing.assert_allclose(aligner(still(0))[0].landmarks, POINTS, atol=1e-3)
    np.testing.assert_allclose(aligner(still(1))[0].landmarks, other, atol=1e-3)
    assert aligner(still(2)) == []
    assert aligner.expected_frames == 2
    aligner.finish(2)
    aligner.close()
    assert aligner(still(0))[0].confidence == pytest.approx(0.98)


def test_several_faces_come_largest_first(write: Write) -> None:
    large = placed(drawn_landmarks(), scale=1.6, at=(400, 200))
    aligner = OpenfaceAligner(write([row(1, 0), row(1, 1, points=large), row(2)]))
    faces = aligner(still(0))
    assert [round(face.area) for face in faces] == sorted(
        (round(face.area) for face in faces), reverse=True
    )
    assert len(faces) == 2
    assert len(aligner(still(1))) == 1


def test_failed_and_doubtful_rows_hold_no_face_but_count(write: Write) -> None:
    failed = row(2, success=0)
    failed[3:] = ["nan", "0", *["-nan"] * 136]
    aligner = OpenfaceAligner(write([row(1), failed, row(3, confidence=0.2)]))
    assert [len(aligner(still(i))) for i in range(3)] == [1, 0, 0]
    aligner.finish(3)
    generous = OpenfaceAligner(str(aligner.csv), min_confidence=0.1)
    assert len(generous(still(2))) == 1


def test_openface_spells_its_header_with_spaces_and_windows_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "clip.csv"
    text = "\r\n".join(
        ", ".join(cells) for cells in [[*HEADER, "X_0", "AU01_r"], [*row(), "1", "2"]]
    )
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n\r\n")
    aligner = OpenfaceAligner(str(path))
    assert len(aligner(still(0))) == 1
    assert aligner.expected_frames == 1


def test_another_clips_count_is_refused(write: Write) -> None:
    path = write([row(i + 1) for i in range(5)])
    for seen in (4, 6):
        with pytest.raises(AlignerError, match=rf"clip\.csv: .* 5 frames .* {seen}:"):
            OpenfaceAligner(path).finish(seen)
    OpenfaceAligner(path).finish(5)


def test_a_hole_in_the_count_is_refused_unless_sparse(write: Write) -> None:
    path = write([row(1), row(4)])
    with pytest.raises(AlignerError, match=r"2 frames .* 4: .*sparse=true"):
        OpenfaceAligner(path).finish(4)
    sparse = OpenfaceAligner(path, sparse=True)
    sparse.finish(4)
    sparse.finish(9)
    assert sparse.expected_frames is None
    with pytest.raises(AlignerError, match=r"4 frames .* 3"):
        sparse.finish(3)


@pytest.mark.parametrize("missing", ["frame", "face_id", "confidence", "success", "x_67", "y_0"])
def test_missing_columns_are_named(write: Write, missing: str) -> None:
    at = HEADER.index(missing)
    cells = row()
    path = write([cells[:at] + cells[at + 1 :]], header=HEADER[:at] + HEADER[at + 1 :])
    refused(path, "lacks the columns", missing)


def test_a_csv_of_something_else_is_refused_briefly(write: Write) -> None:
    refused(write([["1", "2"]], header=["a", "b"]), "lacks the columns frame", "134 more")


@pytest.mark.parametrize("cell", ["left", "nan", "inf", "", "1e400", "0x10", "1 2", "\x00"])
@pytest.mark.parametrize("column", ["frame", "face_id", "confidence", "success", "x_5", "y_60"])
def test_cells_that_are_no_numbers_name_their_row(write: Write, cell: str, column: str) -> None:
    bad = row(2)
    bad[HEADER.index(column)] = cell
    refused(write([row(1), bad]), "line 3", column)


@pytest.mark.parametrize("value", ["0", "-3", "1.5", "1e12"])
def test_impossible_frame_numbers(write: Write, value: str) -> None:
    refused(write([row(value)]), "line 2", "frame")


def test_wild_coordinates(write: Write) -> None:
    refused(write([row(points=POINTS * 1e6)]), "line 2", "outside any frame")


def test_doubled_columns_and_rows(write: Write) -> None:
    refused(write([[*row(), "1"]], header=[*HEADER, "x_3"]), "x_3 twice")
    refused(write([row(1), row(1)]), "line 3", "frame 1 has face_id 0 twice")


def test_short_rows_and_open_quotes(write: Write) -> None:
    refused(write([row()[:-1]]), "line 2", "140 cells but the header 141")
    broken = row(2)
    broken[0] = '"2'
    refused(write([row(1), broken, row(3)]), "CSV")


def test_a_folder_has_a_file_for_each_clip(write: Write, tmp_path: Path) -> None:
    other = POINTS + np.float32(20)
    folder = tmp_path / "tables"
    folder.mkdir()
    for name, points in (
        ("anna.openface.csv", POINTS),
        ("anna.csv", other),
        ("bert.csv", other),
        ("take.2.csv", POINTS),
    ):
        (folder / name).write_text(Path(write([row(1, points=points)])).read_text())
    aligner = OpenfaceAligner(str(folder))
    for clip, points in (("anna.mp4", POINTS), ("far/bert.mov", other), ("anna.mkv", POINTS)):
        aligner.set_clip(Path(clip))
        np.testing.assert_allclose(aligner(still(0))[0].landmarks, points, atol=1e-3)
    aligner.set_clip(Path("bert.mp4"))
    with pytest.raises(AlignerError, match=r"bert\.csv: .*1 frames .* 2"):
        aligner.finish(2)
    pictures = tmp_path / "take.2"
    pictures.mkdir()
    with opened(aligner, pictures, 1):
        pass
    assert len(aligner(still(0))) == 1
    with (
        pytest.raises(
            AlignerError,
            match=r"tables: .*carl\.openface\.csv .*carl\.csv .*shots/carl\.mp4",
        ),
        opened(aligner, Path("shots/carl.mp4"), None),
    ):
        pass


def test_one_file_is_for_whichever_clip(write: Write) -> None:
    aligner = OpenfaceAligner(write([row(1)]))
    with opened(aligner, Path("anna.mp4"), 1):
        assert len(aligner(still(0))) == 1
    with (
        pytest.raises(AlignerError, match=r"1 frames .* 90"),
        opened(aligner, Path("bert.mp4"), 90),
    ):
        pass


def test_a_folder_without_a_clip_is_no_file(tmp_path: Path) -> None:
    refused(str(tmp_path), "is not a file")


def test_empty_files(write: Write, tmp_path: Path) -> None:
    refused(write([]), "no rows")
    empty = tmp_path / "empty.csv"
    empty.touch()
    refused(str(empty), "lacks the columns")


def test_files_that_are_no_csv(tmp_path: Path) -> None:
    refused(str(tmp_path / "absent.csv"), "no such file", "aligner.csv=PATH")
    refused(str(tmp_path), "not a file")
    binary = tmp_path / "video.csv"
    binary.write_bytes(bytes(range(256)) * 50)
    refused(str(binary), "not text")
    endless = tmp_path / "endless.csv"
    endless.write_text("1," * 300_000)
    refused(str(endless), "line too long")
    vast = tmp_path / "vast.csv"
    with vast.open("wb") as handle:
        handle.truncate(3 * 1024**3)
    refused(str(vast), "at most 2 GiB")


def test_confidence_outside_its_range() -> None:
    with pytest.raises(AlignerError, match=r"min_confidence=1\.5"):
        OpenfaceAligner("clip.csv", min_confidence=1.5)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_text_does_more_than_be_refused(tmp_path: Path, data: st.DataObject) -> None:
    cells = row(1)
    for _ in range(data.draw(st.integers(0, 3))):
        cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(st.text(max_size=6))
    path = tmp_path / "fuzzed.csv"
    path.write_text(",".join(HEADER) + "\n" + ",".join(cells) + "\n", encoding="utf-8", newline="")
    refusal = ""
    try:
        faces = OpenfaceAligner(str(path))(still(0))
    except AlignerError as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith(str(path))
        assert "\n" not in refusal
    else:
        assert all(np.isfinite(face.landmarks).all() for face in faces)


def test_the_real_csvs(shared: Path, real_landmarks: dict[str, NDArray[np.float32]]) -> None:
    for clip, frames in (("clip_a", 354), ("clip_b", 1008)):
        aligner = OpenfaceAligner(str(shared / "real" / f"{clip}.openface.csv"))
        assert aligner.expected_frames == frames
        aligner.finish(frames)
        for index in (0, frames // 2, frames - 1):
            found = aligner(still(index))
            np.testing.assert_array_equal(found[0].landmarks, real_landmarks[clip][index])
        with pytest.raises(AlignerError, match=rf"{frames} frames .* 700"):
            aligner.finish(700)
