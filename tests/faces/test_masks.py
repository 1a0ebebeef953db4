from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.faces import masks
from swapper.faces.compositing import shape_mask
from swapper.faces.geometry import similarity_from_landmarks, transform_points, warp
from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.pose import HeadState
from swapper.head_renderer.stage import Stage
from swapper.options.groups import BlendOptions
from swapper.synth.actor import Actor
from tests.faces.conftest import drawn_landmarks, placed
from tests.faces.heads import flip_landmarks

SIZE = 192


@pytest.fixture
def aligned(face_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    landmarks = placed(face_mm, scale=2.0)
    return transform_points(similarity_from_landmarks(landmarks, SIZE, "face"), landmarks)


def value(mask: NDArray[np.uint8], point: NDArray[np.float32]) -> int:
    x, y = (round(float(v)) for v in point)
    return int(mask[y, x])


def test_face_mask_holds_the_face_and_some_forehead(aligned: NDArray[np.float32]) -> None:
    mask = masks.face_mask(aligned, SIZE)
    assert mask.shape == (SIZE, SIZE)
    assert mask.dtype == np.uint8
    assert all(value(mask, point) == 255 for point in aligned[17:])
    nose = aligned[27] - aligned[33]
    assert value(mask, aligned[21] + 0.4 * nose) == 255
    assert not mask[:, 0].any()
    assert not mask[-1].any()
    assert value(mask, aligned[8] + (0, 4)) == 0
    assert 0.3 < (mask / 255).mean() < 0.7


def test_face_mask_is_antialiased_and_exact_in_area(aligned: NDArray[np.float32]) -> None:
    mask = masks.face_mask(aligned, SIZE)
    assert len(np.unique(mask)) > 8
    larger = masks.face_mask(aligned * 4 + 1.5, SIZE * 4)
    assert (mask / 255).mean() == pytest.approx((larger / 255).mean(), rel=0.01)


def test_face_mask_sits_where_the_points_are() -> None:
    # The mask of a tilted square has the square's centre and area, to a quarter of a pixel.
    square = np.zeros((68, 2), np.float32)
    square[:] = [(40, 20), (70, 50), (40, 80), (10, 50)] * 17
    square[27] = square[33] = (40, 50)
    mask = masks.face_mask(square, 96) / 255.0
    rows, columns = np.indices(mask.shape)
    assert (mask * columns).sum() / mask.sum() == pytest.approx(40, abs=0.25)
    assert (mask * rows).sum() / mask.sum() == pytest.approx(50, abs=0.25)
    assert mask.sum() == pytest.approx(60 * 60 / 2, rel=0.03)


@pytest.mark.parametrize("draw", [masks.face_mask, masks.eyes_mouth_mask])
def test_masks_are_symmetric_for_a_symmetric_face(draw) -> None:  # type: ignore[no-untyped-def]
    landmarks = placed(drawn_landmarks(), scale=0.9, at=(95.5, 70.0))
    mask = draw(landmarks, SIZE).astype(int)
    mirrored = draw(flip_landmarks(landmarks, SIZE), SIZE).astype(int)[:, ::-1]
    assert np.abs(mask - mirrored).mean() < 1.0


def test_eyes_and_mouth_count_fully_brows_by_half(aligned: NDArray[np.float32]) -> None:
    mask = masks.eyes_mouth_mask(aligned, SIZE)
    assert value(mask, aligned[36:42].mean(axis=0)) > 240
    assert value(mask, aligned[42:48].mean(axis=0)) > 240
    assert value(mask, aligned[48:60].mean(axis=0)) > 240
    assert 60 < value(mask, aligned[19]) < 150
    assert value(mask, aligned[30]) == 0
    assert value(mask, aligned[8]) == 0
    assert np.abs(np.diff(mask.astype(int), axis=1)).max() < 110


def test_an_open_mouth_is_covered(face_mm: NDArray[np.float64]) -> None:
    face_mm[55:60] += (0, 26)
    landmarks = placed(face_mm, at=(96, 60), scale=0.9)
    mask = masks.eyes_mouth_mask(landmarks, SIZE)
    assert value(mask, landmarks[48:60].mean(axis=0)) > 250


@pytest.mark.parametrize("draw", [masks.face_mask, masks.eyes_mouth_mask])
def test_faces_off_the_crop_and_flat_ones_do_no_harm(draw) -> None:  # type: ignore[no-untyped-def]
    landmarks = placed(drawn_landmarks())
    assert not draw(landmarks + np.float32(5000), 64).any()
    assert draw(landmarks * np.float32(1e5), 64).shape == (64, 64)
    assert draw(np.full((68, 2), 9, np.float32), 64).mean() < 5
    for bad in (landmarks[:5], landmarks * np.float32(np.nan)):
        with pytest.raises(ValueError, match="landmarks"):
            draw(bad, 64)


def test_regions_hold_their_own_features_and_not_the_others(aligned: NDArray[np.float32]) -> None:
    regions = masks.region_masks(aligned, SIZE)
    assert tuple(regions) == masks.REGIONS
    points = {"brows": aligned[17:27], "eyes": aligned[36:48], "mouth": aligned[48:68]}
    for name, mask in regions.items():
        assert mask.shape == (SIZE, SIZE)
        assert mask.dtype == np.uint8
        for owner, features in points.items():
            inside = [value(mask, point) == 255 for point in features]
            assert all(inside) if owner == name else not any(inside), (name, owner)
        assert 0.01 < (mask / 255).mean() < 0.15


def test_regions_grow_with_the_face(aligned: NDArray[np.float32]) -> None:
    small, large = (masks.region_masks(aligned * f, SIZE * f) for f in (1, 2))
    for name in masks.REGIONS:
        assert (small[name] / 255).mean() == pytest.approx((large[name] / 255).mean(), rel=0.06)


def test_regions_refuse_what_is_no_face() -> None:
    with pytest.raises(ValueError, match="finite"):
        masks.region_masks(np.full((68, 2), np.nan, np.float32), SIZE)


@pytest.mark.parametrize("brow_height", [-1.0, 1.0])
@pytest.mark.parametrize(
    "pose",
    [
        (25.0, 0.0, 0.0),
        pytest.param((0.0, 0.0, 0.0), marks=pytest.mark.slow),
        pytest.param((0.0, 15.0, 0.0), marks=pytest.mark.slow),
    ],
)
def test_no_brow_of_the_performer_is_left_in_the_swapped_face(
    brow_height: float, pose: tuple[float, float, float]
) -> None:
    """A performer with high brows and an identity with low ones, and the other way round."""
    size = 64
    performer = replace(
        sample_identity(1), brow_height=brow_height, brow_thickness=0.5, stubble=0.0
    )
    identity = replace(sample_identity(11), brow_height=-brow_height)
    state, stage = HeadState(pose=pose), Stage()
    # Brows are where the colour of the hair makes a difference.
    dark, light, truth = (
        Actor(each, detail=2).render(state, stage, 256, supersample=1)
        for each in (
            replace(performer, hair_colour="black"),
            replace(performer, hair_colour="white"),
            identity,
        )
    )
    differs = np.abs(dark.image.astype(int) - light.image).max(axis=2) > 25
    crops = {}
    for name, frame, picture in (
        ("performer", dark, differs.astype(np.float32)),
        ("identity", truth, truth.face_mask),
    ):
        points = frame.landmarks.astype(np.float32)
        matrix = similarity_from_landmarks(points, 256, "face")
        aligned = transform_points(matrix, points)
        crop = warp(picture, matrix, 256, border="zero", interpolation="linear")
        hull = masks.face_mask((aligned + 0.5) * size / 256 - 0.5, size) / np.float32(255)
        crops[name] = crop, hull, masks.region_masks(aligned, 256)["brows"] > 250
    hair, performer_hull, near_brows = crops["performer"]
    face, identity_hull, _ = crops["identity"]
    # As in conversion, with the mask that a decoder is trained to predict.
    blend = BlendOptions()
    mask = shape_mask(performer_hull * identity_hull, blend.erode * size, blend.feather * size)
    brows = hair * near_brows * (face > 0.5)
    left = brows * (1 - cv2.resize(mask, (256, 256), interpolation=cv2.INTER_LINEAR))
    assert brows.sum() > 200
    assert left.sum() < 0.01 * brows.sum()
