"""Thin plates against what defines them, and the area that a warp reads."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator

from swapper.faces.thin_plate import smallest_area, thin_plate_flow

Floats = NDArray[np.float64]

NODES = np.stack(np.meshgrid(*[np.linspace(-1, 1, 9)] * 2), axis=-1).reshape(-1, 2)
MATRIX, MOVE = np.array([[1.2, 0.3], [-0.1, 0.8]]), np.array([0.5, -0.2])


def points(seed: int, count: int = 20) -> Floats:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 2))


def grid(side: int, spacing: float) -> Floats:
    places = np.arange(side) * spacing
    return np.stack(np.meshgrid(places, places), axis=-1)


# --- thin plates ----------------------------------------------------------------------------------


def test_without_smoothing_it_goes_through_the_points() -> None:
    destination, source = points(0), points(0) + 0.1 * points(1)
    flow = thin_plate_flow(destination, source, destination, smoothing=0)
    np.testing.assert_allclose(destination + flow, source, atol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 1e-3, 1.0])
def test_points_that_stay_leave_everything_where_it_is(smoothing: float) -> None:
    flow = thin_plate_flow(points(0), points(0), NODES, smoothing)
    np.testing.assert_allclose(flow, 0, atol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 1e-3, 1.0])
def test_an_affine_map_comes_back_everywhere(smoothing: float) -> None:
    far = 3 * NODES
    flow = thin_plate_flow(points(0), points(0) @ MATRIX.T + MOVE, far, smoothing)
    np.testing.assert_allclose(far + flow, far @ MATRIX.T + MOVE, atol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 1e-3, 0.1])
def test_against_scipy(smoothing: float) -> None:
    destination, moved = points(0), 0.1 * points(1)
    known = RBFInterpolator(
        destination, moved, kernel="thin_plate_spline", smoothing=smoothing, degree=1
    )
    flow = thin_plate_flow(destination, destination + moved, NODES, smoothing)
    np.testing.assert_allclose(flow, known(NODES), atol=1e-9)


def test_smoothing_is_in_squared_units_of_the_points() -> None:
    destination, source = points(0), points(0) + 0.1 * points(1)
    flow = thin_plate_flow(destination, source, NODES, smoothing=0.05)
    larger = thin_plate_flow(7 * destination, 7 * source, 7 * NODES, smoothing=49 * 0.05)
    np.testing.assert_allclose(larger, 7 * flow, atol=1e-9)


def test_a_smoothed_warp_no_longer_needs_different_points() -> None:
    destination, source = points(0), points(0) + 0.1 * points(1)
    twice = thin_plate_flow(
        np.tile(destination, (2, 1)), np.tile(source, (2, 1)), NODES, smoothing=0.2
    )
    np.testing.assert_allclose(twice, thin_plate_flow(destination, source, NODES, 0.1), atol=1e-9)


# --- area -----------------------------------------------------------------------------------------


def test_no_warp_reads_every_cell_once() -> None:
    area = smallest_area(np.zeros((5, 5, 2)), 0.3)
    assert area.shape == (4, 4)
    np.testing.assert_array_equal(area, 1)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_a_zoom_reads_the_square_of_its_scale(scale: float) -> None:
    np.testing.assert_allclose(smallest_area((scale - 1) * grid(5, 0.3), 0.3), scale**2)


def test_an_affine_map_reads_its_determinant() -> None:
    flow = grid(5, 0.3) @ (MATRIX - np.eye(2)).T + MOVE
    np.testing.assert_allclose(smallest_area(flow, 0.3), np.linalg.det(MATRIX))


def test_a_turn_is_no_fold() -> None:
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    flow = grid(5, 0.3) @ (quarter - np.eye(2)).T
    np.testing.assert_allclose(smallest_area(flow, 0.3), 1)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_fold_is_negative_where_it_is(axis: int) -> None:
    flow = np.zeros((6, 6, 2))
    # The fourth line of nodes reads what lies before the third.
    flow[(slice(None), 3) if axis == 0 else 3] = -1.5 * np.eye(2)[axis]
    area = smallest_area(flow, 1.0)
    lines = area if axis == 0 else area.T
    np.testing.assert_allclose(lines, np.tile([1, 1, -0.5, 2.5, 1], (5, 1)))
