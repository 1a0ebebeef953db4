"""Clips are compared frame for frame, and what differs is found where it differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.errors import MediaError
from swapper.evaluation.ground_truth import CROP, compare_with_truth
from swapper.faces.openface import OpenfaceAligner
from swapper.metrics.clip_truth import Clip, GroundTruth
from swapper.metrics.truth_scores import AREAS
from tests.drawing import ALICE, BOB, Look, draw, write_clip

FRAMES, SIZE = 40, 160


def clip(folder: Path, name: str, look: Look, phase: float = 0.0, frames: int = FRAMES) -> Clip:
    path, _ = write_clip(
        folder / f"{name}.mp4", look, frames=frames, size=SIZE, sound=False, phase=phase
    )
    landmarks = [draw(SIZE, index / 25 + phase, look)[1] for index in range(frames)]
    return Clip(path, np.stack(landmarks))


def answer_of(known: Clip) -> GroundTruth:
    frames = len(known.landmarks)
    rows, columns = np.indices((SIZE, SIZE))
    disc = (np.hypot(rows - SIZE / 2, columns - SIZE / 2) < 40).astype(np.float32)
    return GroundTruth(
        known.video, known.landmarks, [disc] * frames, np.zeros((frames, 1)),
        np.ones((frames, 1)), ("AU26",), ("neutral",),
    )  # fmt: skip


def mouth(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How much of the dark inside of the mouth is seen."""
    assert crops.shape[1:] == (CROP, CROP, 3)
    return (crops.sum(axis=3) < 150).mean(axis=(1, 2))[:, None].astype(np.float32)


@pytest.fixture(scope="module")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return clip(tmp_path_factory.mktemp("bob"), "bob", BOB)


def test_a_clip_is_its_own_answer(bob: Clip) -> None:
    answer = answer_of(bob)
    found = compare_with_truth(bob, answer, mouth, blend_masks=answer.masks)
    assert (found.square == 0).all()
    assert (found.overlap == 1).all()
    assert (found.opacity == 1).all()
    assert (found.sharpness == 1).all()
    assert found.areas.shape == (FRAMES, len(AREAS))
    assert found.areas.max() < 1e-3
    assert np.isnan(found.landmarks).all()
    np.testing.assert_array_equal(found.readings, found.answer_readings)
    assert found.readings.shape == (FRAMES, 1)
    assert found.readings.std() > 0.002


def test_another_moment_differs_most_where_the_face_moves(bob: Clip, tmp_path: Path) -> None:
    late = clip(tmp_path, "late", BOB, phase=0.3)
    found = compare_with_truth(late, answer_of(bob), mouth)
    face, eyes, _, lips = found.areas.mean(axis=0)
    assert lips > 2 * face
    assert eyes > face
    assert np.isnan(found.overlap).all()
    assert np.isnan(found.opacity).all()
    assert np.corrcoef(found.readings[:, 0], found.answer_readings[:, 0])[0, 1] < 0.5


def test_skin_of_another_colour_is_no_expression(bob: Clip, tmp_path: Path) -> None:
    pale = Look((200, 150, 120), BOB.lips, BOB.eyes, BOB.background, BOB.width)
    found = compare_with_truth(clip(tmp_path, "pale", pale), answer_of(bob), mouth)
    assert found.square[:, 0].mean() > 500
    late = compare_with_truth(clip(tmp_path, "late", BOB, phase=0.3), answer_of(bob), mouth)
    assert found.areas[:, 3].mean() < late.areas[:, 3].mean()


def test_a_landmark_reader_is_asked_of_both_clips(bob: Clip, tmp_path: Path) -> None:
    alice = clip(tmp_path, "alice", ALICE)
    readers = [OpenfaceAligner(str(each.video.with_suffix(".csv"))) for each in (alice, bob)]
    found = compare_with_truth(alice, answer_of(bob), mouth, make_aligner=iter(readers).__next__)
    eyes = np.linalg.norm(bob.landmarks[:, 36] - bob.landmarks[:, 45], axis=1)
    expected = np.linalg.norm(alice.landmarks - bob.landmarks, axis=2).mean(axis=1) / eyes
    np.testing.assert_allclose(found.landmarks, expected, atol=1e-3)


@pytest.mark.parametrize("frames", [FRAMES - 5, FRAMES + 5])
def test_clips_of_different_length_are_refused(bob: Clip, tmp_path: Path, frames: int) -> None:
    other = clip(tmp_path, "other", ALICE, frames=frames)
    with pytest.raises(MediaError, match=r"other\.mp4: .*bob\.mp4"):
        compare_with_truth(other, answer_of(bob), mouth)


def test_clips_of_different_size_are_refused(bob: Clip, tmp_path: Path) -> None:
    path, _ = write_clip(tmp_path / "small.mp4", BOB, frames=3, size=96, sound=False)
    with pytest.raises(MediaError, match=r"small\.mp4: is .*96"):
        compare_with_truth(Clip(path, bob.landmarks), answer_of(bob), mouth)
