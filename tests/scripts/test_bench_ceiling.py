"""Bounds of swaps: own faces composited change nothing, pseudo-targets show the identity."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.facesets.faceset import Faceset
from swapper.media.video_reader import VideoReader


@pytest.fixture(scope="module")
def bench(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("bench_ceiling")


@pytest.fixture(scope="module")
def folder(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, since recipes are stored with the facesets."""
    copy = tmp_path_factory.mktemp("ceiling")
    shutil.copytree(world / "facesets", copy / "facesets")
    return copy


@pytest.fixture(scope="module")
def pair(bench: ModuleType, folder: Path) -> Any:
    facesets = [Faceset.open(folder / "facesets" / name) for name in ("alice", "bob")]
    return facesets[0], bench.PseudoPair(*facesets, mesh=False)


def frames(path: Path) -> NDArray[np.float64]:
    with VideoReader(path) as reader:
        return np.array([frame.image for frame in reader], np.float64)


def test_own_faces_leave_the_clip_and_pseudo_targets_do_not(
    bench: ModuleType, world: Path, folder: Path, pair: Any
) -> None:
    faces, recipes = pair
    clip = frames(world / "alice.mp4")
    differences = []
    for draw in (bench.own, bench.pseudo):
        output = folder / f"{draw.__name__}.mp4"
        bench.composite_clip(world / "alice.mp4", faces, partial(draw, recipes), 96, output)
        composited = frames(output)
        assert composited.shape == clip.shape
        differences.append(np.abs(composited - clip).mean())
    own, pseudo = differences
    assert own < 1.5
    assert pseudo > 1.3 * own


def test_frames_without_a_face_have_no_landmarks(bench: ModuleType, pair: Any) -> None:
    faces, _ = pair
    landmarks = bench.landmarks_of(faces, len(faces) + 3)
    assert landmarks.shape == (len(faces) + 3, 68, 2)
    assert np.isnan(landmarks[-3:]).all()
    np.testing.assert_array_equal(landmarks[5], faces.records[5].landmarks)
