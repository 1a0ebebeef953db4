"""3DDFA_V2 in torch: crops, and that it sees on real clips what MediaPipe saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.torch import save_file

from swapper.errors import EstimatorError
from swapper.faces.geometry import transform_points
from swapper.faces.openface import OpenfaceAligner
from swapper.media.video_reader import VideoReader
from tests.drawing import canonical


@pytest.fixture(scope="module")
def tddfa(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("tddfa")


def test_the_crop_is_a_square_round_the_landmarks(tddfa: ModuleType) -> None:
    points = 300 + 90 * canonical(0.5, 0.0, 1.0)
    inside = transform_points(tddfa.crop_matrix(points), points)
    middle = (inside.min(axis=0) + inside.max(axis=0)) / 2
    np.testing.assert_allclose(middle, 59.5, atol=1e-3)
    span = float(np.ptp(inside, axis=0).max())
    assert span * tddfa.MARGIN == pytest.approx(120, abs=1e-3)


def test_weights_that_are_others_are_refused_in_one_line(tddfa: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(EstimatorError, match="no such file; pass --weights"):
        tddfa.Tddfa(path)
    state = tddfa.MobileNet().state_dict()
    save_file({name: value for name, value in state.items() if "dw6" not in name}, path)
    with pytest.raises(EstimatorError, match="does not hold 3DDFA_V2 mb05") as told:
        tddfa.Tddfa(path)
    assert "\n" not in str(told.value)
    path.write_bytes(b"nonsense")
    with pytest.raises(EstimatorError, match="does not hold 3DDFA_V2 mb05"):
        tddfa.Tddfa(path)


def test_no_face_stays_no_face(tddfa: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    state = tddfa.MobileNet().state_dict()
    save_file({k: v for k, v in state.items() if not k.endswith("batches_tracked")}, path)
    reader = tddfa.Tddfa(path)
    frames = [np.zeros((64, 64, 3), np.uint8)] * 2
    rough = np.stack([np.full((68, 2), np.nan), 30 + 10 * canonical(0.0, 0.0, 1.0)])
    found = reader.read(frames, rough)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    assert np.isnan(reader.read(frames[:1], rough[:1])).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a", "c"])
def test_it_sees_mouths_as_mediapipe_does(
    tddfa: ModuleType, load_script: Callable[[str], ModuleType], shared: Path, name: str
) -> None:
    shape = load_script("real_signals")
    reader = tddfa.Tddfa(shared / "weights" / tddfa.WEIGHTS)
    video = shared / "real" / f"clip_{name}.mp4"
    aligner = OpenfaceAligner(str(video.with_suffix(".openface.csv")))
    told, found = [], []
    with VideoReader(video) as clip:
        size = clip.info.width, clip.info.height
        for frame in clip:
            if frame.index % 3 == 0:
                rough = aligner(frame)[0].landmarks[None].astype(np.float64)
                told.append(rough[0])
                found.append(reader.read([frame.image], rough)[0])
    one, other = np.array(found), np.array(told)
    eye = np.linalg.norm(other[:, 36] - other[:, 45], axis=1)
    off = np.linalg.norm(one - other, axis=2).mean(axis=1) / eye
    assert off.mean() < 0.065
    pose = shape.pose_of(one, size)
    follows = shape.follow_scores(shape.signals(one, pose), shape.signals(other, pose))
    assert follows["mouth opening"]["r"] > 0.9
    assert follows["mouth width"]["r"] > 0.75
