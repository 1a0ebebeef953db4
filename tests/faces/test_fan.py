from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from swapper.errors import AlignerError
from swapper.faces.fan import FanAligner
from tests.faces.conftest import StillFrame


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("offline")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture(scope="module")
def random_fan(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of the real weights' names and shapes, with random values."""
    from face_alignment.models import FAN

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "fan.pth"
    torch.save(FAN(4).state_dict(), path)
    return str(path)


@pytest.fixture
def blazeface(shared: Path) -> dict[str, str]:
    folder = shared / "weights"
    return {
        "detector": "blazeface",
        "detector_weights": str(folder / "blazeface.pth"),
        "detector_anchors": str(folder / "anchors.npy"),
        "device": "cpu",
    }


@pytest.fixture
def portrait(shared: Path) -> StillFrame:
    picture = cv2.imread(str(shared / "real" / "portrait.jpg"))
    return StillFrame(0, np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8))


def test_the_portraits_face_is_detected(
    blazeface: dict[str, Any], random_fan: str, portrait: StillFrame
) -> None:
    aligner = FanAligner(**blazeface, landmark_weights=random_fan)
    before = portrait.image.copy()
    (box,) = _boxes(aligner, portrait)
    assert box[0] < 200 < 250 < box[2]
    assert box[1] < 250 < 300 < box[3]
    assert 100 < box[2] - box[0] < 300
    assert 0.5 <= box[4] <= 1.0
    np.testing.assert_array_equal(portrait.image, before)


@pytest.mark.slow  # the package compiles parts of itself on its first call
@pytest.mark.parametrize("landmarks", ["2d", "3d"])
def test_the_portrait_gets_its_landmarks(
    blazeface: dict[str, Any], random_fan: str, portrait: StillFrame, landmarks: Any
) -> None:
    aligner = FanAligner(**blazeface, landmark_weights=random_fan, landmarks=landmarks)
    (face,) = aligner(portrait)
    assert 0.5 <= face.confidence <= 1.0
    assert np.isfinite(face.landmarks).all()
    # Random weights put the points anywhere, but within the network's crop of the box.
    assert (np.abs(face.landmarks.mean(axis=0) - (225, 280)) < 150).all()
    aligner.finish(1)
    aligner.close()


def _boxes(aligner: FanAligner, frame: StillFrame) -> list[Any]:
    aligner.prepare()
    return aligner._boxes(frame.image)


def test_a_large_frame_is_shrunk_for_the_detector_only(
    blazeface: dict[str, Any], random_fan: str, portrait: StillFrame
) -> None:
    aligner = FanAligner(**blazeface, landmark_weights=random_fan, detection_size=300)
    (small,) = _boxes(aligner, portrait)
    aligner.detection_size = 0
    (full,) = _boxes(aligner, portrait)
    np.testing.assert_allclose(small[:4], full[:4], atol=15)


def test_nobody_is_an_empty_list(blazeface: dict[str, Any], random_fan: str) -> None:
    aligner = FanAligner(**blazeface, landmark_weights=random_fan)
    for shape in ((40, 60, 3), (7, 5, 3), (200, 3, 3)):
        assert aligner(StillFrame(0, np.zeros(shape, np.uint8))) == []


def test_the_back_camera_model_is_an_option_of_the_detector(
    shared: Path, blazeface: dict[str, Any], random_fan: str, portrait: StillFrame
) -> None:
    blazeface["detector_weights"] = str(shared / "weights" / "blazefaceback.pth")
    blazeface["detector_anchors"] = str(shared / "weights" / "anchorsback.npy")
    aligner = FanAligner(
        **blazeface, landmark_weights=random_fan, detector_options={"back_model": True}
    )
    assert len(_boxes(aligner, portrait)) == 1
    assert "back_model=True" in aligner.fingerprint


@pytest.mark.parametrize("detector", ["sfd", "blazeface", "retinaface", "yunet"])
def test_without_a_network_the_cure_is_named(detector: Any) -> None:
    with pytest.raises(AlignerError) as caught:
        FanAligner(detector=detector, device="cpu").prepare()
    message = str(caught.value)
    assert "could not be fetched" in message
    assert "aligner.detector_weights=PATH and aligner.landmark_weights=PATH" in message
    assert "\n" not in message


def test_landmark_weights_missing_offline(blazeface: dict[str, Any]) -> None:
    with pytest.raises(AlignerError, match=r"2DFAN-4 .*landmark_weights=PATH"):
        FanAligner(**blazeface).prepare()


class Bomb:
    """Unpickling this would run code."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


@pytest.mark.parametrize("which", ["detector_weights", "landmark_weights"])
def test_pickles_execute_nothing(
    blazeface: dict[str, Any],
    random_fan: str,
    tmp_path: Path,
    which: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"conv.weight": Bomb()}, "bomb.pth")
    options = {**blazeface, "landmark_weights": random_fan, which: "bomb.pth"}
    with pytest.raises(AlignerError, match=r"bomb\.pth.* do not fit"):
        FanAligner(**options).prepare()
    assert not Path("exploded").exists()


def test_weights_of_something_else(
    blazeface: dict[str, Any], random_fan: str, tmp_path: Path
) -> None:
    text = tmp_path / "text.pth"
    text.write_text("hello")
    listed = tmp_path / "list.pth"
    torch.save([1, 2], listed)
    for path in (text, listed, random_fan):
        with pytest.raises(AlignerError, match="do not fit"):
            FanAligner(**{**blazeface, "detector_weights": str(path)}).prepare()
    with pytest.raises(AlignerError, match="do not fit"):
        FanAligner(**{**blazeface, "detector_anchors": str(listed)}).prepare()
    with pytest.raises(AlignerError, match="do not fit"):
        FanAligner(**blazeface, landmark_weights=blazeface["detector_weights"]).prepare()
    with pytest.raises(AlignerError, match=r"absent\.pth: no such file"):
        FanAligner(**blazeface, landmark_weights="absent.pth").prepare()


def test_detector_options_that_it_does_not_know(blazeface: dict[str, Any], random_fan: str) -> None:
    with pytest.raises(AlignerError, match=r"aligner\.detector_options.*speed.*blazeface"):
        FanAligner(
            **blazeface, landmark_weights=random_fan, detector_options={"speed": 9}
        ).prepare()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"detector": "dlib"}, "aligner.detector=dlib: must be one of sfd, blazeface, retinaface"),
        ({"landmarks": "4d"}, "aligner.landmarks=4d: must be one of 2d, 3d"),
        ({"min_confidence": 2}, "aligner.min_confidence=2"),
        ({"detection_size": -1}, "aligner.detection_size=-1"),
        ({"detector": "blazeface", "detector_weights": "a.pth"}, "belong together"),
    ],
)
def test_bad_settings_are_refused_at_once(options: dict[str, Any], words: str) -> None:
    with pytest.raises(AlignerError, match=words):
        FanAligner(**options)


@pytest.mark.parametrize("device", ["tpu", "cuda:0", "mps"])
def test_devices_that_are_not_here(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(AlignerError, match=f"aligner.device={device}"):
        FanAligner(device=device).prepare()


def test_scrfd_names_the_package_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(AlignerError, match="scrfd needs the package onnxruntime"):
        FanAligner(detector="scrfd", device="cpu").prepare()


def test_settings_are_told_apart() -> None:
    prints = {
        FanAligner().fingerprint,
        FanAligner(detector="yunet").fingerprint,
        FanAligner(landmarks="3d").fingerprint,
        FanAligner(min_confidence=0.7).fingerprint,
        FanAligner(landmark_weights="other.pth").fingerprint,
    }
    assert len(prints) == 5
    assert FanAligner(device="cpu").fingerprint == FanAligner(device="cuda").fingerprint
