"""Frowns that the landmarks do not show: found in the pictures, and transferred."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from swapper.data.pseudo_bases import Person
from swapper.data.pseudo_detail import DetailReader
from swapper.data.pseudo_samples import draw_rows
from swapper.faces.geometry import transform_points
from swapper.faces.shape import pixels_per_unit
from tests.data.test_pseudo_targets import SHUT, SIDE, TALK, Run, film
from tests.drawing import ALICE, BOB

FROWNS = range(20, 26)
LOWERED = 0.04
"""Eye distances by which a frown lowers the brows."""


def frown(picture: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Lower the brows and darken the skin between them, in an aligned crop."""
    unit = pixels_per_unit(SIDE, "face")
    brows = landmarks[17:27]
    zone = np.zeros((SIDE, SIDE), np.float32)
    cv2.fillConvexPoly(zone, cv2.convexHull(np.rint(brows).astype(np.int32)), 1)
    soft = cv2.GaussianBlur(cv2.dilate(zone, np.ones((9, 9))), (0, 0), 2)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    moved = cv2.remap(picture, x, y - soft * np.float32(LOWERED * unit), cv2.INTER_LINEAR)
    middle = brows[[4, 5]].mean(axis=0)
    wrinkle = np.exp(-np.square((x - middle[0]) / 2) - np.square((y - middle[1]) / 5))
    return np.asarray(np.rint(moved * (1 - 0.4 * wrinkle[..., None])), np.uint8)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """alice keeps her mouth shut and frowns now and then; bob never frowns."""
    states = np.concatenate([np.tile(SHUT, 3), TALK])
    alice = film(tmp_path, "alice", ALICE, states)
    bob = film(tmp_path, "bob", BOB, np.tile(SHUT, 3))
    run = Run(alice, bob)
    faces = run.caches[0].array.copy()
    for row in FROWNS:
        record = alice.records[row]
        points = transform_points(record.aligned_from_frame, record.landmarks)
        faces[row, ..., :3] = frown(faces[row, ..., :3], points)
    run.caches[0].array = faces
    return run


def brow_places(run: Run, person: int, row: int) -> NDArray[np.float32]:
    record = run.facesets[person].records[row]
    points = transform_points(record.aligned_from_frame, record.landmarks)
    return np.asarray(points[17:27])


def reader(run: Run) -> DetailReader:
    count = len(run.caches[0])
    person = Person(
        shapes=run.shapes[0], rest=run.rests[0], usable=np.arange(count),
        sharpness=np.ones(count), light=np.full((count, 3), 0.5), shading=np.zeros((count, 2)),
    )  # fmt: skip
    return DetailReader(person, run.caches[0].array, "face")


def test_a_frown_is_found_and_a_face_at_rest_has_none(run: Run) -> None:
    unit = pixels_per_unit(SIDE, "face") / SIDE
    details = reader(run)
    frowning, calm = details.read(FROWNS[2]), details.read(FROWNS[2] + 13)
    # From the frown back to rest: up.
    assert -1.5 * LOWERED < frowning.flow[..., 1].min() / unit < -0.5 * LOWERED
    assert np.abs(calm.flow).max() / unit < 0.25 * LOWERED
    assert frowning.shade.min() < -0.1
    assert np.quantile(np.abs(calm.shade), 0.99) < 0.05
    column, line = brow_places(run, 0, FROWNS[2])[[4, 5]].mean(axis=0) / SIDE * 63
    darkest = np.unravel_index(frowning.shade.argmin(), frowning.shade.shape)
    assert np.hypot(darkest[0] - line, darkest[1] - column) < 5
    assert abs(calm.shade[darkest]) < 0.3 * abs(frowning.shade[darkest])


def test_a_frown_is_transferred_and_nothing_else_changes(run: Run) -> None:
    rows = np.array([FROWNS[2], FROWNS[2] + 13])
    pictures = {}
    for detail in (True, False):
        table = run.tables(detail=detail)[0, 1]
        assert (table["base"][rows] >= 0).all()
        pictures[detail] = draw_rows(run.caches, (0, 1), table, rows, SIDE)[:, :3].numpy() * 255
    frowning, calm = np.abs(pictures[True] - pictures[False]).mean(axis=1)
    middle = brow_places(run, 1, 0)[[4, 5]].mean(axis=0)
    x, y = np.rint(middle).astype(int)
    between = np.s_[y - 2 : y + 5, x - 1 : x + 2]
    change = (pictures[True] - pictures[False])[0].mean(axis=0)
    assert change[between].mean() < -8
    assert np.quantile(calm, 0.99) < 6
    assert frowning[2 * SIDE // 3 :].mean() < 1


def test_the_brows_come_down(run: Run) -> None:
    row = np.array([FROWNS[2]])
    lines = {}
    for detail in (True, False):
        table = run.tables(detail=detail)[0, 1]
        drawn = draw_rows(run.caches, (0, 1), table, row, SIDE)[0, :3].numpy().mean(axis=0)
        left = np.rint(brow_places(run, 1, int(table["base"][row[0]]))[2]).astype(int)
        column = 1 - drawn[left[1] - 7 : left[1] + 8, left[0]]
        dark = np.maximum(column - np.median(column), 0)
        lines[detail] = float((dark * np.arange(15)).sum() / dark.sum())
    assert lines[True] > lines[False] + 0.3 * LOWERED * pixels_per_unit(SIDE, "face")


def test_pictures_of_another_size_give_the_same(run: Run) -> None:
    before = reader(run).read(FROWNS[0])
    faces = [cv2.resize(each, (192, 192)) for each in run.caches[0].array]
    run.caches[0].array = np.stack(faces).astype(np.uint8)
    after = reader(run).read(FROWNS[0])
    assert np.abs(after.flow - before.flow).max() < 0.01
    assert np.abs(after.shade - before.shade).max() < 0.15
