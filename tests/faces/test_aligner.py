from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.errors import AlignerError, UsageError
from swapper.faces.aligner import (
    Aligner,
    check_frame_count,
    check_num_faces,
    valid_faces,
)
from swapper.faces.fan import FanAligner
from swapper.faces.geometry import similarity_from_landmarks
from swapper.faces.mediapipe import MediapipeAligner
from swapper.faces.openface import OpenfaceAligner
from tests.drawing import draw, write_openface
from tests.faces.conftest import placed


def test_sound_faces_come_largest_first(face_mm: NDArray[np.float64]) -> None:
    small, large = placed(face_mm, scale=0.5), placed(face_mm, scale=1.5, at=(400, 300))
    faces = valid_faces([(small, 0.9), (large, 7.0)], (800, 600))
    assert [face.area for face in faces] == sorted((face.area for face in faces), reverse=True)
    np.testing.assert_array_equal(faces[0].landmarks, large)
    assert faces[0].confidence == 1.0
    assert faces[1].confidence == 0.9


def test_what_no_crop_can_be_fitted_to_is_dropped(face_mm: NDArray[np.float64]) -> None:
    good = placed(face_mm)
    holed = good.copy()
    holed[5, 1] = np.nan
    huge = good.astype(np.float64)
    huge[3] = 1e300
    one_eye = good.copy()
    one_eye[36:48] = one_eye[36]
    far = good + np.float32(5000)
    dead = [holed, huge, one_eye, far, np.full((68, 2), 3.0), placed(face_mm, scale=0.005)]
    faces = valid_faces([(each, 1.0) for each in (*dead, good)], (640, 480))
    assert len(faces) == 1
    assert np.isfinite(similarity_from_landmarks(faces[0].landmarks, 64, "face")).all()


def test_a_face_cut_by_the_frame_is_kept(face_mm: NDArray[np.float64]) -> None:
    assert len(valid_faces([(placed(face_mm, at=(-10, 20)), float("nan"))], (640, 480))) == 1


def test_every_aligner_keeps_the_protocol() -> None:
    aligners: list[Aligner] = [FanAligner(), MediapipeAligner(), OpenfaceAligner("absent.csv")]
    assert [aligner.name for aligner in aligners] == ["fan", "mediapipe", "openface"]
    for aligner in aligners:
        assert aligner.fingerprint.startswith(f"{aligner.name}(")
        aligner.close()
        aligner.close()


def test_a_container_may_miscount_by_a_frame_but_not_by_a_clip(tmp_path: Path) -> None:
    landmarks = [draw(96, number / 25)[1] for number in range(30)]
    aligner = OpenfaceAligner(str(write_openface(tmp_path / "clip.csv", landmarks)))
    aligner.prepare()
    for claimed in (None, 28, 29, 30, 31, 32):
        check_frame_count(aligner, claimed)
    for claimed in (20, 40, 300):
        with pytest.raises(AlignerError, match=r"clip\.csv"):
            check_frame_count(aligner, claimed)
    with pytest.raises(AlignerError, match="29"):
        aligner.finish(29)


def test_all_faces_are_not_looked_for_by_an_aligner_that_finds_one() -> None:
    with pytest.raises(UsageError, match=r"faces=all: aligner=mediapipe .*aligner\.max_faces=N"):
        check_num_faces(MediapipeAligner(), "all")
    with pytest.raises(UsageError, match=r"person=left: aligner=mediapipe .*aligner\.max_faces=N"):
        check_num_faces(MediapipeAligner(), "largest", "left")
    check_num_faces(MediapipeAligner(max_faces=2), "all")
    check_num_faces(MediapipeAligner(max_faces=2), "largest", "left")
    check_num_faces(MediapipeAligner(), "largest")
    check_num_faces(OpenfaceAligner("x.csv"), "all")
