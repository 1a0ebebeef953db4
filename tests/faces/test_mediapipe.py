from __future__ import annotations

import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.errors import AlignerError
from swapper.faces import mediapipe as room
from swapper.faces.mediapipe import MESH_OF_LANDMARK, MediapipeAligner
from tests.faces.conftest import StillFrame, real_frames
from tests.faces.heads import flip_landmarks


@pytest.fixture
def installed() -> None:
    # Not importorskip: a missing system library must fail the test, not skip it.
    import importlib.util

    if importlib.util.find_spec("mediapipe") is None:
        pytest.skip("mediapipe is not installed: pip install 'swapper[mediapipe]'")


@pytest.fixture
def model(shared: Path) -> str:
    return str(shared / "weights" / "face_landmarker.task")


def test_the_68_are_distinct_points_of_the_mesh() -> None:
    assert MESH_OF_LANDMARK.shape == (68,)
    assert len(set(MESH_OF_LANDMARK.tolist())) == 68
    assert MESH_OF_LANDMARK.min() >= 0
    assert MESH_OF_LANDMARK.max() < 478


def test_settings_out_of_range_name_their_option() -> None:
    with pytest.raises(AlignerError, match=r"aligner\.min_confidence=-1"):
        MediapipeAligner(min_confidence=-1)
    with pytest.raises(AlignerError, match=r"aligner\.max_faces=0"):
        MediapipeAligner(max_faces=0)


def test_settings_are_told_apart() -> None:
    assert MediapipeAligner().fingerprint != MediapipeAligner(min_confidence=0.6).fingerprint
    assert "/" not in MediapipeAligner(model="/somewhere/else.task").fingerprint


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "any.task"
    file.touch()
    for name in [n for n in sys.modules if n.split(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(AlignerError, match=r"swapper\[mediapipe\]"):
        MediapipeAligner(model=str(file)).prepare()


def test_a_missing_system_library_names_its_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Vision:
        class RunningMode:
            VIDEO = IMAGE = None

        @staticmethod
        def FaceLandmarkerOptions(**_: Any) -> None:
            return None

        class FaceLandmarker:
            @staticmethod
            def create_from_options(_: None) -> None:
                raise OSError("libEGL.so.1: cannot open shared object file")

    file = tmp_path / "any.task"
    file.touch()
    monkeypatch.setattr(room, "_package", lambda: (lambda **_: None, Vision))
    with pytest.raises(AlignerError, match=r"libEGL\.so\.1.*apt-get install libegl1 libgles2"):
        MediapipeAligner(model=str(file)).prepare()


def test_models_that_are_absent_foreign_or_out_of_reach(
    installed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AlignerError, match=r"absent\.task: no such file"):
        MediapipeAligner(model="absent.task").prepare()
    foreign = tmp_path / "foreign.task"
    foreign.write_bytes(b"not a model at all")
    with pytest.raises(AlignerError, match=r"foreign\.task: "):
        MediapipeAligner(model=str(foreign)).prepare()

    def offline(url: str, **_: Any) -> None:
        raise urllib.error.URLError("offline")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(AlignerError, match=r"https://storage\.googleapis\.com.*model=PATH"):
        MediapipeAligner().prepare()


def test_real_footage_gives_the_csvs_landmarks(
    installed: None,
    shared: Path,
    model: str,
    real_landmarks: dict[str, NDArray[np.float32]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    aligner = MediapipeAligner(model=model)
    distances = []
    for frame in real_frames(shared / "real" / "clip_a.mp4", 20):
        (face,) = aligner(frame)
        distances.append(np.abs(face.landmarks - real_landmarks["clip_a"][frame.index]).max())
    # Equal but for two decimals and the colour conversion of another decoder.
    assert max(distances) < 1.0
    aligner.finish(20)
    aligner.close()
    aligner.close()
    assert capfd.readouterr().err == ""


def test_another_shot_size_or_order_starts_anew(installed: None, shared: Path, model: str) -> None:
    aligner = MediapipeAligner(model=model)
    (frame,) = real_frames(shared / "real" / "clip_b.mp4", 1)
    first = aligner(frame)[0].landmarks
    assert aligner(StillFrame(1, np.zeros((50, 70, 3), np.uint8))) == []
    np.testing.assert_allclose(aligner(frame)[0].landmarks, first, atol=1e-3)
    aligner.finish(2)
    np.testing.assert_allclose(aligner(frame)[0].landmarks, first, atol=1e-3)
    aligner.close()


def test_left_and_right_are_not_mixed_up(installed: None, shared: Path, model: str) -> None:
    aligner = MediapipeAligner(model=model, video=False)
    (frame,) = real_frames(shared / "real" / "clip_a.mp4", 1)
    plain = aligner(frame)[0].landmarks
    mirrored = aligner(StillFrame(1, np.ascontiguousarray(frame.image[:, ::-1])))[0].landmarks
    aligner.close()
    back = flip_landmarks(mirrored, frame.image.shape[1])
    assert np.linalg.norm(back - plain, axis=1).max() < 20
    assert np.linalg.norm(back - plain, axis=1).mean() < 6


def test_a_profiling_signal_does_not_end_the_process() -> None:
    before = signal.signal(signal.SIGPROF, signal.SIG_DFL)
    try:
        room._ignore_sigprof()
        signal.raise_signal(signal.SIGPROF)
        assert signal.getsignal(signal.SIGPROF) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGPROF, before)
