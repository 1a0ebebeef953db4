from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from swapper.data.augment import Augment, AugmentParams, light_of
from swapper.data.sampling import generator
from swapper.kernels.warp import warp_pair
from tests.facesets.making import make_image

ROOT = Path(__file__).resolve().parents[2]


def only(**changes: Any) -> Augment:
    """One kind of augmentation by itself."""
    quiet: dict[str, Any] = dict.fromkeys(
        ("rotation", "scale", "shift", "warp", "gain", "tint", "bias", "degrade"), 0
    )
    return Augment(**quiet | changes)


def draws(
    augment: Augment, count: int = 200, stored: int = 64, size: int = 64
) -> list[AugmentParams]:
    return [augment.draw(generator(0, step, 0, 0), stored, size) for step in range(count)]


def pair(
    draw: AugmentParams, image: NDArray[np.uint8], size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    return warp_pair(
        torch.from_numpy(image)[None],
        torch.from_numpy(draw.faces_from_target)[None],
        torch.from_numpy(draw.grid)[None],
        torch.from_numpy(draw.gain)[None],
        size=size,
    )


@pytest.mark.parametrize("augment", [Augment.none(), only(cells=(2, 3))])
def test_nothing_is_exactly_nothing(augment: Augment) -> None:
    image = make_image(size=48)
    for draw in draws(augment, 5, 48, 48):
        warped, target = pair(draw, image, 48)
        assert torch.equal(warped, target)
        assert torch.equal(target[0].permute(1, 2, 0), torch.from_numpy(image).float() / 255)
    assert not augment.degrades(generator(0, 0, 0, 0))
    assert not Augment.none().borrows(generator(0, 0, 0, 0))


def test_nothing_at_half_the_size_is_a_box() -> None:
    (draw,) = draws(Augment.none(), 1, 64, 32)
    np.testing.assert_array_equal(draw.faces_from_target, [[2, 0, 0.5], [0, 2, 0.5]])


@pytest.mark.parametrize(("stored", "size"), [(64, 64), (100, 64), (64, 96)])
def test_the_affine_keeps_its_promises(stored: int, size: int) -> None:
    middle_stored, middle = (stored - 1) / 2, (size - 1) / 2
    turned = draws(only(rotation=20), stored=stored, size=size)
    angles, zooms = [], []
    for draw in turned:
        m = draw.faces_from_target.astype(float)
        np.testing.assert_allclose(m @ (middle, middle, 1), middle_stored, atol=1e-4)
        angles.append(np.degrees(np.arctan2(m[1, 0], m[0, 0])))
        zooms.append(np.hypot(m[0, 0], m[1, 0]) * size / stored)
    assert -20 <= min(angles) < -17
    assert 17 < max(angles) <= 20
    np.testing.assert_allclose(zooms, 1, atol=1e-6)
    zooms = [
        d.faces_from_target[0, 0] * size / stored
        for d in draws(only(scale=0.25), 200, stored, size)
    ]
    assert 0.8 <= min(zooms) < 0.82
    assert 1.22 < max(zooms) <= 1.25
    moves = np.array([
        draw.faces_from_target.astype(float) @ (middle, middle, 1) - middle_stored
        for draw in draws(only(shift=0.1), 200, stored, size)
    ])  # fmt: skip
    assert np.abs(moves).max() <= 0.1 * stored + 1e-4
    assert (moves.max(0) > 0.08 * stored).all()
    assert (moves.min(0) < -0.08 * stored).all()


def test_a_flip_is_the_mirrored_face() -> None:
    image = make_image(size=32)
    (draw,) = draws(only(flip=1), 1, 32, 32)
    warped, target = pair(draw, image, 32)
    assert torch.equal(target[0].permute(1, 2, 0), torch.from_numpy(image[:, ::-1].copy()) / 255)
    assert torch.equal(warped, target)
    mirrored = [np.linalg.det(d.faces_from_target[:, :2]) < 0 for d in draws(only(flip=0.3), 400)]
    assert 0.22 < np.mean(mirrored) < 0.38
    assert not any(np.linalg.det(d.faces_from_target[:, :2]) < 0 for d in draws(Augment()))


def test_the_warp_is_in_shares_of_a_cell_and_leaves_the_border() -> None:
    augment = only(warp=0.3, cells=(2, 4, 8))
    size, largest = 65, {2: 0.0, 4: 0.0, 8: 0.0}
    for draw in draws(augment, 300, 65, size):
        grid = draw.grid
        assert grid.shape == (9, 9, 2)
        for edge in (grid[0], grid[-1], grid[:, 0], grid[:, -1]):
            assert (edge == 0).all()
        odd_between_even = grid[1:-1:2, ::2] - (grid[:-2:2, ::2] + grid[2::2, ::2]) / 2
        cells = 8 if np.abs(odd_between_even).max() > 1e-4 else 4
        if cells == 4:
            coarse = grid[2:-2:4, ::4] - (grid[:-4:4, ::4] + grid[4::4, ::4]) / 2
            cells = 4 if np.abs(coarse).max() > 1e-4 else 2
        largest[cells] = max(largest[cells], float(np.abs(grid).max()))
    for cells, value in largest.items():
        limit = 0.3 * (size - 1) / cells
        assert 0.8 * limit < value <= limit * (1 + 1e-5), cells


def test_gain_is_small_and_about_mid_grey() -> None:
    for draw in draws(only(gain=0.1)):
        scale, shift = draw.gain.T
        assert (scale == scale[0]).all()
        assert 0.9 <= scale[0] <= 1.1
        np.testing.assert_allclose(0.5 * scale + shift, 0.5, atol=1e-6)
    tints = np.array([draw.gain[:, 0] for draw in draws(only(tint=0.05))])
    assert np.abs(tints - 1).max() <= 0.05
    assert np.abs(np.corrcoef(tints.T) - np.eye(3)).max() < 0.3
    assert max(abs(draw.gain[0, 1]) for draw in draws(only(bias=0.04))) <= 0.04


def test_degradation_is_as_frequent_as_asked_and_varied() -> None:
    image = make_image(size=64)
    before = image.copy()
    augment = Augment(degrade=0.4)
    chances = [generator(0, step, 0, 0) for step in range(300)]
    done = [augment.degrade(random, image) for random in chances if augment.degrades(random)]
    assert 0.3 < len(done) / 300 < 0.5
    assert all(each.shape == image.shape and each.dtype == np.uint8 for each in done)
    assert np.array_equal(image, before)
    assert len({each.tobytes() for each in done}) > 0.8 * len(done)
    assert np.mean([np.abs(each.astype(int) - image).mean() for each in done]) > 1


def test_each_strength_can_be_turned_off() -> None:
    quiet = Augment(degrade=1, blur=0, downscale=1, noise=0, jpeg=100)
    for step in range(20):
        treated = quiet.degrade(generator(0, step, 0, 0), make_image())
        assert np.array_equal(treated, make_image())


def fingerprint(augment: Augment, steps: list[int]) -> list[str]:
    image = make_image(size=64)
    found = []
    for step in steps:
        random = generator(7, step, 0, 3)
        draw = augment.draw(random, 64, 48)
        treated = augment.degrade(random, image) if augment.degrades(random) else None
        digest = hashlib.sha256(b"" if treated is None else treated.tobytes())
        for each in (draw.faces_from_target, draw.grid, draw.gain):
            assert each.dtype == np.float32
            digest.update(each.tobytes())
        found.append(digest.hexdigest())
    return found


def test_a_draw_is_a_function_of_its_key() -> None:
    """In any order, after pickling, in another process, whatever global state there is."""
    augment, steps = Augment(degrade=0.7), list(range(24))
    want = fingerprint(augment, steps)
    np.random.seed(5)  # noqa: NPY002 (the global state that must not matter)
    torch.manual_seed(5)
    assert fingerprint(augment, steps[::-1])[::-1] == want
    assert fingerprint(pickle.loads(pickle.dumps(augment)), steps) == want
    code = (
        "import json; from tests.data.test_augment import Augment, fingerprint; "
        "print(json.dumps(fingerprint(Augment(degrade=0.7), list(range(24)))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == want


@pytest.mark.parametrize(
    "bad",
    [
        {"rotation": -1}, {"scale": 9}, {"shift": 2}, {"flip": 1.5}, {"warp": 0.6}, {"cells": ()},
        {"cells": (1,)}, {"cells": (7, 9)}, {"gain": 1}, {"degrade": -0.1}, {"blur": 1},
        {"downscale": 0}, {"noise": 2}, {"jpeg": 0}, {"rotation": float("nan")},
    ],
)  # fmt: skip
def test_refuses_impossible_values(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Augment(**bad)


def _lit(mean: float, deviation: float) -> NDArray[np.uint8]:
    """A face of noise with this light inside its mask, and another outside."""
    random = np.random.default_rng(3)
    face = np.full((64, 64, 5), 255, dtype=np.uint8)
    noise = random.standard_normal((64, 64, 3)) * deviation + mean
    face[..., :3] = (noise.clip(0, 1) * 255).round()
    face[:20, :, 3] = 0
    face[:20, :, :3] = 7
    return face


def test_borrowed_light_lies_between_the_two_faces() -> None:
    augment = Augment(gain=0, tint=0, bias=0, borrow=1.0)
    own, other = _lit(0.3, 0.05), _lit(0.6, 0.1)
    mean, deviation = light_of(own)
    goal_mean, goal_deviation = light_of(other)
    degrees = []
    for sample in range(20):
        random = generator(0, 0, 0, sample)
        draw = augment.draw(random, 64, 64)
        assert augment.borrows(random)
        draw = augment.borrow(random, draw, light_of(own), light_of(other))
        scale, shift = draw.gain.T
        degree = (mean * scale + shift - mean) / (goal_mean - mean)
        assert np.allclose(degree, degree[0], atol=1e-5)
        assert np.allclose(deviation * scale, deviation + degree * (goal_deviation - deviation))
        degrees.append(float(degree[0]))
    assert 0 <= min(degrees) < 0.2
    assert 0.8 < max(degrees) <= 1


def test_light_is_borrowed_as_often_as_asked_and_bounded() -> None:
    own, other = light_of(_lit(0.5, 0.001)), light_of(_lit(0.5, 0.3))
    augment = Augment(gain=0, tint=0, bias=0, borrow=0.5)
    scales = []
    for sample in range(400):
        random = generator(1, 0, 0, sample)
        draw = augment.draw(random, 64, 64)
        if augment.borrows(random):
            draw = augment.borrow(random, draw, own, other)
        scales.append(draw.gain[0, 0])
    assert 0.4 < np.mean(np.array(scales) != 1) < 0.6
    assert max(scales) <= 2.5
