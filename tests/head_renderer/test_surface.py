from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from swapper.head_renderer.landmarks import face_triangles, landmark_vertices
from swapper.head_renderer.noise import fbm, lattice_noise, value_noise
from swapper.head_renderer.raster import rasterise, vertex_normals
from swapper.head_renderer.sculpt import step
from swapper.head_renderer.surface import skin_grid, spline


def test_splines_pass_through_their_knots_and_straight_lines_stay_straight() -> None:
    knots = np.array([0.0, 1.0, 2.5, 4.0])
    values = np.array([3.0, -1.0, 2.0, 0.5])
    np.testing.assert_allclose(spline(knots, values, knots), values, atol=1e-12)
    at = np.linspace(0, 4, 17)
    np.testing.assert_allclose(spline(knots, 2 * knots - 1, at), 2 * at - 1, atol=1e-12)
    two = np.stack([values, 2 * values], axis=1)
    np.testing.assert_allclose(spline(knots, two, at)[:, 1], 2 * spline(knots, values, at))


@pytest.mark.parametrize("detail", [1, 2])
def test_the_skin_is_one_sheet_with_three_slits(detail: int) -> None:
    """After welding, every inner edge has two triangles; open ones lie on slits and the neck."""
    skin = skin_grid(detail)
    edges: Counter[tuple[int, int]] = Counter()
    welded = skin.weld[skin.triangles]
    for a, b in ((0, 1), (1, 2), (2, 0)):
        for i, j in welded[:, [a, b]]:
            edges[(min(i, j), max(i, j))] += 1
    assert max(edges.values()) == 2
    open_edges = np.array([edge for edge, count in edges.items() if count == 1])
    rows = np.unique(open_edges // skin.shape[1])
    heights = np.unique(skin.height[rows])
    assert set(heights) == {0.0, -66.0, -190.0}


def test_triangles_face_outwards() -> None:
    skin = skin_grid(1)
    normals = vertex_normals(skin.points, skin.triangles, skin.weld)
    axis = np.stack([skin.points[:, 0], 0 * skin.points[:, 0], skin.points[:, 2]], axis=1)
    outside = (normals * axis).sum(axis=1)
    # Rows that roll into a slit have no extent before lids and lips are sculpted.
    flat = np.repeat(skin.roll == 0, skin.shape[1]) & (np.abs(skin.points[:, 1]) < 60)
    assert (outside[flat] > 0).mean() > 0.995


def test_both_sides_are_mirror_images() -> None:
    skin = skin_grid(1)
    points = skin.points.reshape(*skin.shape, 3)
    np.testing.assert_allclose(points[:, ::-1] * [-1, 1, 1], points, atol=1e-9)


def test_landmarks_are_68_places_in_order() -> None:
    for detail in (1, 2):
        skin = skin_grid(detail)
        places = skin.points[landmark_vertices(skin)]
        assert len(places) == 68
        assert (np.diff(places[1:16, 0]) > 0).all()  # jaw, from the actor's right to the left
        assert (np.diff(places[17:27, 0]) > 0).all()  # brows
        assert (np.diff(places[27:31, 1]) < 0).all()  # down the nose
        mirror = [(36, 45), (39, 42), (48, 54), (31, 35), (17, 26)]
        for right, left in mirror:
            assert abs(places[right, 0] + places[left, 0]) < 2.5
        assert places[37:39, 1].min() >= places[40:42, 1].max()


def test_the_face_is_a_part_of_the_skin() -> None:
    skin = skin_grid(1)
    inside = face_triangles(skin)
    assert 0.2 < inside.mean() < 0.9
    assert (skin.points[skin.triangles[inside].ravel(), 1] < 26).all()


def test_the_raster_keeps_what_is_nearest_and_drops_backs() -> None:
    points = np.array(
        [[0, 0, 1], [0, 9, 1], [9, 0, 1], [0, 0, 2], [0, 4, 2], [4, 0, 2]], np.float32
    )
    triangles = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    seen, near = np.empty((10, 10), np.int32), np.empty((10, 10), np.float32)
    rasterise(points, triangles, np.ones(2, np.bool_), seen, near)
    assert seen[1, 1] == 1
    assert near[1, 1] == 2
    assert seen[4, 4] == 0
    assert near[4, 4] == 1
    assert seen[9, 9] == -1
    assert near[9, 9] == 0
    backwards = triangles[:, ::-1].copy()
    rasterise(points, backwards, np.ones(2, np.bool_), seen, near)
    assert (seen == -1).all()
    rasterise(points, backwards, np.zeros(2, np.bool_), seen, near)
    assert seen[1, 1] == 1
    behind = points * np.array([1, 1, -1], np.float32)
    rasterise(behind, triangles, np.zeros(2, np.bool_), seen, near)
    assert (seen == -1).all()


def test_noise_depends_on_place_and_seed_alone() -> None:
    x, y = np.meshgrid(np.linspace(-5, 5, 64), np.linspace(-5, 5, 64))
    np.testing.assert_array_equal(fbm(x, y, 3), fbm(x, y, 3))
    assert np.abs(fbm(x, y, 3) - fbm(x, y, 4)).mean() > 0.05
    assert value_noise(x, y, 1).min() >= 0
    assert value_noise(x, y, 1).max() <= 1
    numbers = lattice_noise(np.arange(20_000), np.zeros(20_000, np.int64), 9)
    assert abs(numbers.mean() - 0.5) < 0.01
    assert abs(numbers.std() - 12**-0.5) < 0.01
    assert step(np.array([0.0, 5.0, 10.0]), 10, 0).tolist() == [1.0, 0.5, 0.0]
