"""Extraction refuses what it must, in one line, and loses nothing."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from swapper.cli import main as cli
from swapper.errors import FacesetError
from swapper.extract import extract
from swapper.faces.openface import OpenfaceAligner
from swapper.facesets.faceset import Faceset
from swapper.options.verbs import ExtractOptions
from tests.drawing import ALICE, cut_clip, draw, write_clip, write_openface


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_clip(tmp_path_factory.mktemp("clip") / "alice.mp4", ALICE, frames=40)


def line(folder: Path, video: Path, csv: Path, *more: str) -> list[str]:
    return [
        "extract", f"input={video}", "identity=alice", "rights=mine", f"facesets={folder}",
        "size=96", "aligner=openface", f"aligner.csv={csv}", "affect=none", *more,
    ]  # fmt: skip


def only_error(capsys: pytest.CaptureFixture[str]) -> str:
    (error,) = [row for row in capsys.readouterr().err.splitlines() if "swapper: " in row]
    return error


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"this is no video" * 100, "clip.mp4"),
    ],
)
def test_footage_that_is_none_is_named(
    clip: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    expected: str,
) -> None:
    video = tmp_path / "clip.mp4"
    if content is not None:
        video.write_bytes(content)
    assert cli.run(line(tmp_path, video, clip[1])) == 1
    error = only_error(capsys)
    assert "clip.mp4" in error
    assert expected in error.lower() or expected in error
    assert not (tmp_path / "alice").exists()


def test_sound_without_picture_is_named(
    clip: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert cli.run(line(tmp_path, sound, clip[1])) == 1
    assert "sound.mp4" in only_error(capsys)


def test_a_csv_without_its_columns_names_them(
    clip: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = clip[1].read_text().splitlines()
    broken = tmp_path / "broken.csv"
    broken.write_text("\n".join([rows[0].replace("x_33", "z_33"), *rows[1:]]))
    assert cli.run(line(tmp_path, clip[0], broken)) == 1
    error = only_error(capsys)
    assert "broken.csv" in error
    assert "x_33" in error


def test_another_clip_s_csv_is_told_by_its_frames(
    clip: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.csv"
    other.write_text("\n".join(clip[1].read_text().splitlines()[:31]) + "\n")
    assert cli.run(line(tmp_path, clip[0], other)) == 1
    error = only_error(capsys)
    assert "other.csv" in error
    assert "30" in error
    assert "40" in error
    assert not (tmp_path / "alice").exists()


def test_a_folder_of_csvs_serves_several_clips(
    clip: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = write_clip(tmp_path / "second.mp4", ALICE, frames=20)
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "alice.openface.csv").write_bytes(clip[1].read_bytes())
    both = ["every=10", f"input=[{clip[0]},{second[0]}]"]
    asked = [each for each in line(tmp_path, clip[0], tables) if not each.startswith("input=")]
    assert cli.run([*asked, *both]) == 1
    assert "has neither second.openface.csv nor second.csv for" in only_error(capsys)
    (tables / "second.csv").write_bytes(second[1].read_bytes())
    assert cli.run([*asked, *both]) == 0
    assert len(Faceset.open(tmp_path / "alice").records) == 6


def test_a_truncated_video_keeps_the_faces_before_the_damage(
    clip: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = cut_clip(clip[0], tmp_path / "cut.mp4")
    assert cli.run(line(tmp_path, cut, clip[1])) == 1
    assert "cut.mp4: damaged or truncated, decoding stopped at" in only_error(capsys)
    assert 0 < len(Faceset.open(tmp_path / "alice")) < 40


def test_another_person_s_rights_are_not_mixed_in(
    clip: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(line(tmp_path, *clip, "every=20")) == 0
    capsys.readouterr()
    assert cli.run(line(tmp_path, *clip, "rights=somebody else's")) == 1
    assert "rights" in only_error(capsys)
    assert cli.run(line(tmp_path, *clip, "size=128")) == 1
    assert "size" in only_error(capsys)


def test_pictures_and_lists_of_inputs_feed_one_faceset(
    clip: tuple[Path, Path], tmp_path: Path
) -> None:
    from swapper.media.images import write_image

    stills = tmp_path / "stills"
    stills.mkdir()
    for number in range(3):
        picture, _ = draw(160, number / 25)
        write_image(stills / f"{number}.png", picture)
    rows = clip[1].read_text().splitlines()
    three = tmp_path / "three.csv"
    three.write_text("\n".join(rows[:4]) + "\n")
    assert cli.run(line(tmp_path, *clip, "every=10")) == 0
    assert cli.run(line(tmp_path, stills, three)) == 0
    faceset = Faceset.open(tmp_path / "alice")
    assert len(faceset) == 4 + 3
    assert len(faceset.card.sources) == 1 + 3


def test_faces_that_are_too_small_are_dropped(
    clip: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(line(tmp_path, *clip, "min_size=500")) == 1
    assert "alice.mp4: all faces were dropped: 40 smaller than min_size=500" in only_error(capsys)


def test_faces_that_the_frame_cuts_off_are_dropped_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of 12 frames the last 5 show half a face, which is filled with smeared pixels."""
    caplog.set_level(logging.INFO)
    stills, landmarks = tmp_path / "stills", []
    stills.mkdir()
    for index in range(12):
        picture, points = draw(160, index / 25, ALICE)
        if index >= 7:
            picture = picture[:, : round(float(points[30, 0]))]
        Image.fromarray(picture).save(stills / f"{index:02}.png")
        landmarks.append(points)
    csv = write_openface(tmp_path / "stills.csv", landmarks)
    assert cli.run(line(tmp_path, stills, csv)) == 0
    assert "7 faces of 12 frames; dropped: 5 cut off by the frame's edge" in caplog.text
    assert len(Faceset.open(tmp_path / "alice")) == 7
    again = tmp_path / "again"
    assert cli.run(line(again, stills, csv, "min_visible=0")) == 0
    assert len(Faceset.open(again / "alice")) == 12


def test_broken_pictures_are_skipped_and_named_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stills, landmarks = tmp_path / "stills", []
    stills.mkdir()
    for index in range(20):
        picture, points = draw(160, index / 25, ALICE)
        Image.fromarray(picture).save(stills / f"{index:02}.png")
        landmarks.append(points)
    for broken in ("03.png", "11.png"):
        (stills / broken).write_bytes((stills / broken).read_bytes()[:400])
    csv = write_openface(tmp_path / "stills.csv", landmarks)
    assert cli.run(line(tmp_path, stills, csv)) == 1
    error = only_error(capsys)
    assert "2 files are damaged" in error
    assert "03.png: is damaged" in error
    assert "11.png: is damaged" in error
    assert len(Faceset.open(tmp_path / "alice")) == 18


def test_a_truncated_clip_does_not_hold_up_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, _ = write_clip(tmp_path / "b.mp4", ALICE, frames=10)
    long, _ = write_clip(tmp_path / "long.mp4", ALICE, frames=40)
    cut_clip(long, tmp_path / "a.mp4")
    (tmp_path / "long.csv").rename(tmp_path / "a.csv")
    args = line(tmp_path, Path(f"[{tmp_path / 'a.mp4'},{whole}]"), tmp_path)
    assert cli.run(args) == 1
    assert "a.mp4: damaged or truncated" in only_error(capsys)
    faceset = Faceset.open(tmp_path / "alice")
    assert {each.name for each in faceset.card.sources} == {"a.mp4", "b.mp4"}
    assert 10 < len(faceset) < 50


@pytest.mark.parametrize("spec", ["videos", "videos/*.mp4"])
def test_a_folder_or_glob_of_videos_is_extracted(tmp_path: Path, spec: str) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name, number in (("take10.mp4", 10), ("take2.mp4", 6)):
        write_clip(videos / name, ALICE, frames=number)
    (videos / "notes.txt").write_text("not footage")
    assert cli.run(line(tmp_path, tmp_path / spec, videos)) == 0
    sources = [each.name for each in Faceset.open(tmp_path / "alice").card.sources]
    assert sources == ["take2.mp4", "take10.mp4"]
    assert len(Faceset.open(tmp_path / "alice")) == 16


def test_extracting_again_says_what_was_extracted_before(
    clip: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for said in ("40 faces of 40 frames", "0 faces of 0 frames; 40 frames were extracted before"):
        assert cli.run(line(tmp_path, *clip)) == 0
        assert said in caplog.text


@pytest.mark.slow
def test_a_killed_extraction_opens_and_goes_on(clip: tuple[Path, Path], tmp_path: Path) -> None:
    program = (
        "import sys; from swapper.cli import main; from swapper.facesets import writer; "
        "writer._COMMIT_EVERY = 3; sys.exit(main.run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, *line(tmp_path, *clip, "size=512")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(FacesetError):
            if len(Faceset.open(tmp_path / "alice")):
                break
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    some = len(Faceset.open(tmp_path / "alice"))
    assert 0 < some < 40
    assert cli.run(line(tmp_path, *clip, "size=512")) == 0
    assert len(Faceset.open(tmp_path / "alice")) == 40


def test_landmarks_of_another_clip_are_noticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip, landmarks = write_clip(tmp_path / "a.mp4", frames=16, sound=False)
    table = landmarks.read_text(encoding="utf-8").splitlines()
    rng = np.random.default_rng(0)
    wrong = []
    for line in table[1:]:
        values = [float(each) for each in line.split(",")]
        # The same face, elsewhere and larger, as in a clip that was framed otherwise.
        points = (np.array(values[5:]).reshape(2, 68) - 80) * 0.7 + np.array([[47.0], [120.0]])
        points += rng.normal(0, 0.1, points.shape)
        wrong.append(",".join(str(each) for each in [*values[:5], *points.ravel()]))
    other = tmp_path / "other.csv"
    other.write_text("\n".join([table[0], *wrong]) + "\n", encoding="utf-8")
    for name, csv, warned in (("right", landmarks, False), ("wrong", other, True)):
        caplog.clear()
        options = ExtractOptions(
            input=str(clip), identity=name, rights="drawn by this test", facesets=str(tmp_path)
        )
        extract(options, lambda csv=csv: OpenfaceAligner(str(csv)))  # type: ignore[misc]
        assert any("do not seem to lie on the face" in each for each in caplog.messages) == warned
