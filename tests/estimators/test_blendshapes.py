"""``affect=mediapipe``: parity with the official runtime, gradients, and files that are not it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from swapper.errors import EstimatorError
from swapper.estimators import blendshapes
from swapper.estimators.base import Estimator, load_default, load_estimator
from swapper.faces.crop import crop_face
from swapper.faces.mediapipe import MediapipeAligner
from swapper.media.video_reader import VideoReader
from swapper.types import Face

SHARED = Path(os.environ.get("SWAPPER_SHARED", Path(__file__).parents[3] / "shared"))
TASK = SHARED / "weights" / "face_landmarker.task"
CLIP = SHARED / "real" / "clip_a.mp4"

needs_task = pytest.mark.skipif(not TASK.is_file(), reason=f"{TASK}: not on this machine")


@pytest.fixture(scope="module")
def estimator() -> Estimator:
    return load_estimator("mediapipe", "training", weights=str(TASK))


@pytest.fixture(scope="module")
def official() -> list[tuple[NDArray[np.uint8], Face]]:
    """Frames, each with the face that the official runtime settles on when it sees it again."""
    pytest.importorskip("mediapipe", reason="pip install 'swapper[mediapipe]'")
    if not CLIP.is_file():
        pytest.skip(f"{CLIP}: not on this machine")
    rows = []
    for frame in VideoReader(CLIP):
        if frame.index % 60 == 5:
            aligner = MediapipeAligner(str(TASK))
            for index in range(12):
                (face,) = aligner(SimpleNamespace(index=index, image=frame.image))
            rows.append((frame.image, face))
            aligner.close()
    return rows


def tracked_crop(image: NDArray[np.uint8], points: NDArray[np.float32]) -> tuple[object, ...]:
    """The crop (256, 256, 3) that the official tracker cuts around points, and the way back."""
    low, high = points.min(axis=0), points.max(axis=0)
    middle, scale = (low + high) / 2, 1.5 * (high - low).max() / 256
    x, y = points[263] - points[33]
    angle = np.arctan2(y, x)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    frame_from_crop = np.concatenate(
        [turn * scale, (middle - turn @ (np.full(2, 128) * scale))[:, None]], axis=1
    )
    crop = cv2.warpAffine(
        image, frame_from_crop, (256, 256), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return crop, frame_from_crop


@needs_task
def test_networks_agree_with_the_official_runtime(
    estimator: Estimator, official: list[tuple[NDArray[np.uint8], Face]]
) -> None:
    net = estimator.net
    assert isinstance(net, blendshapes.BlendshapeNet)
    for image, face in official:
        assert face.mesh is not None
        assert face.blendshapes is not None
        assert tuple(face.blendshapes) == blendshapes.BLENDSHAPES
        theirs = np.array(list(face.blendshapes.values()))
        points = face.mesh[:, :2]
        # From the same points: the blendshape network alone.
        own = net.scores(torch.from_numpy(points[None]))[0].numpy()
        assert np.abs(own - theirs).max() < 1e-4
        # The whole chain, at the fixed point where the tracker's window no longer moves.
        for _ in range(4):
            crop, frame_from_crop = tracked_crop(image, points)
            assert isinstance(crop, np.ndarray)
            assert isinstance(frame_from_crop, np.ndarray)
            x = torch.from_numpy(crop[None].astype(np.float32) / 255).permute(0, 3, 1, 2)
            at = net.points(x)[0, :, :2].numpy()
            points = at @ frame_from_crop[:, :2].T + frame_from_crop[:, 2]
        scale = np.linalg.norm(frame_from_crop[:, 0])
        apart = np.linalg.norm(points - face.mesh[:, :2], axis=1).mean() / scale
        assert apart < 0.2, "pixels of the 256 px crop"
        chain = net.scores(torch.from_numpy(points[None].astype(np.float32)))[0].numpy()
        assert np.abs(chain - theirs).mean() < 0.006
        assert np.abs(chain - theirs).max() < 0.06


@needs_task
def test_aligned_crops_follow_the_official_scores(estimator: Estimator) -> None:
    pytest.importorskip("mediapipe", reason="pip install 'swapper[mediapipe]'")
    if not CLIP.is_file():
        pytest.skip(f"{CLIP}: not on this machine")
    aligner = MediapipeAligner(str(TASK))
    crops, theirs = [], []
    for frame in VideoReader(CLIP):
        (face,) = aligner(frame)
        if frame.index % 8 == 0:
            assert face.blendshapes is not None
            crops.append(crop_face(frame.image, face.landmarks, 128)[0])
            theirs.append([face.blendshapes[name] for name in blendshapes.EMBEDDED])
    aligner.close()
    ours, official = estimator.read(np.stack(crops)).embedding.numpy(), np.array(theirs)
    moving = np.flatnonzero(official.std(axis=0) > 0.05)
    assert len(moving) > 20
    r = [np.corrcoef(ours[:, each], official[:, each])[0, 1] for each in moving]
    assert np.mean(r) > 0.9
    # Sizes agree as well: lids read a little too closed in small pictures, hence the margin.
    small = np.stack([cv2.resize(each, (64, 64), interpolation=cv2.INTER_AREA) for each in crops])
    assert np.abs(estimator.read(small).embedding.numpy() - ours).mean() < 0.03


@needs_task
def test_units_are_the_mean_of_both_sides(estimator: Estimator) -> None:
    faces = torch.rand(2, 3, 64, 64)
    batch = estimator(faces)
    assert estimator.units == tuple(blendshapes.UNITS)
    assert batch.embedding.shape == (2, len(blendshapes.EMBEDDED)) == (2, 45)
    assert batch.units is not None
    assert batch.asymmetry is not None
    column = estimator.units.index(12)
    left, right = (
        batch.embedding[:, blendshapes.EMBEDDED.index(f"mouthSmile{side}")]
        for side in ("Left", "Right")
    )
    assert torch.allclose(batch.units[:, column], (left + right) / 2)
    assert torch.allclose(batch.asymmetry[:, column], left - right)
    assert set(batch.asymmetry[:, estimator.units.index(26)].tolist()) == {0.0}


@needs_task
def test_gradients_reach_every_face_and_batches_do_not_mix(estimator: Estimator) -> None:
    torch.manual_seed(0)
    faces = torch.rand(3, 3, 64, 64, requires_grad=True)
    estimator(faces).embedding.sum().backward()
    assert faces.grad is not None
    assert (faces.grad.flatten(1).abs().sum(1) > 0).all()
    assert not list(estimator.parameters())
    assert not estimator.state_dict()
    alone = estimator(faces[1:2].detach()).embedding
    assert torch.allclose(alone, estimator(faces.detach()).embedding[1:2], atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 another version", b"\0" * 4096])
def test_another_file_is_refused_by_its_hash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(content)
    with pytest.raises(EstimatorError, match=r"affect\.weights=PATH") as caught:
        load_estimator("mediapipe", "training", weights=str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@needs_task
def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(TASK.read_bytes()[:-1000])
    with pytest.raises(EstimatorError, match="sha256"):
        load_estimator("mediapipe", "training", weights=str(path))


@needs_task
def test_aligner_and_estimator_share_the_file_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWAPPER_HOME", str(tmp_path))
    placed = tmp_path / "weights" / "face_landmarker.task"
    placed.parent.mkdir()
    placed.symlink_to(TASK)
    assert load_estimator("mediapipe", "training").name == "mediapipe"
    default = load_default()
    assert default is not None
    assert default.lineage.startswith("mediapipe:")
    pytest.importorskip("mediapipe", reason="pip install 'swapper[mediapipe]'")
    aligner = MediapipeAligner()
    aligner.prepare()
    aligner.close()
