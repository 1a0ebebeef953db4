"""Pseudo-targets as drawn on a device, against numpy in float64 and OpenCV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from swapper.kernels.pseudo_target import SHADE_SCALE, draw_pseudo_targets

Floats = NDArray[np.float64]

STRAIGHT = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
SQUARE = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])
NODES = 32
WHITE = torch.tensor([0.0, 1.0]).expand(3, 2)
"""A gain that draws the inside of the lips white, whatever the donor."""


def pictures(count: int, side: int, seed: int = 0) -> Tensor:
    """(M, side, side, 5) noise."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, side, side, 5), dtype=torch.uint8, generator=random)


def drawn(faces: Tensor, samples: int = 1, size: int | None = None, **changes: Any) -> Tensor:
    """Pseudo-targets of the first face, unwarped and without a donor, but for `changes`."""
    arguments: dict[str, Any] = {
        "faces_from_target": STRAIGHT.expand(samples, 2, 3),
        "base": torch.zeros(samples, dtype=torch.int64),
        "flow": torch.zeros(samples, 2, 2, 2),
        "donor": torch.full((samples,), -1),
        "donor_from_place": STRAIGHT.expand(samples, 2, 3),
        "lips": SQUARE.expand(samples, 4, 2),
        "gain": torch.tensor([1.0, 0.0]).expand(samples, 3, 2),
        "shade": torch.zeros(samples, 2, 2, dtype=torch.int8),
    } | changes
    return draw_pseudo_targets(faces, size=size or faces.shape[1], **arguments)


def some_samples(side: int = 24) -> tuple[Tensor, dict[str, Any]]:
    """Faces, and five samples with everything in them: some have a donor, some have none."""
    random = torch.Generator().manual_seed(1)

    def near(*shape: int, by: float) -> Tensor:
        return by * torch.randn(shape, generator=random)

    return pictures(6, side), {
        "samples": 5,
        "faces_from_target": STRAIGHT + near(5, 2, 3, by=0.1),
        "base": torch.tensor([0, 3, 3, 1, 5]),
        "flow": near(5, NODES, NODES, 2, by=0.03),
        "donor": torch.tensor([2, -1, 0, -1, 4]),
        "donor_from_place": STRAIGHT + near(5, 2, 3, by=0.1),
        "lips": SQUARE + near(5, 4, 2, by=0.05),
        "gain": torch.tensor([1.1, -0.05]) + near(5, 3, 2, by=0.1),
        "shade": near(5, NODES, NODES, by=40).clamp(-127, 127).to(torch.int8),
    }


def one_of(arguments: dict[str, Any], rows: slice | list[int]) -> dict[str, Any]:
    """Some samples of those arguments."""
    kept = {name: each[rows] for name, each in arguments.items() if name != "samples"}
    return {"samples": len(kept["base"]), **kept}


# --- the base -------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 7, 32, 37, 256])
def test_nothing_to_do_returns_the_stored_face_exactly(side: int) -> None:
    faces = pictures(2, side)
    found = drawn(faces, 2, base=torch.tensor([1, 0]))
    assert found.dtype == torch.float32
    assert torch.equal(found, faces.flip(0).permute(0, 3, 1, 2) / 255)


@pytest.mark.parametrize(("right", "down"), [(3.25, -2.5), (-1.0, 0.75), (0.0, 40.0)])
def test_a_constant_flow_shifts_all_channels_as_opencv_does(right: float, down: float) -> None:
    side = 32
    faces = pictures(1, side)
    flow = torch.tensor([right, down]).expand(1, NODES, NODES, 2) / side
    found = drawn(faces, flow=flow)[0].permute(1, 2, 0).numpy()
    y, x = np.mgrid[:side, :side].astype(np.float32)
    for channel in range(5):
        expected = cv2.remap(
            faces[0, ..., channel].numpy().astype(np.float32),
            x + np.float32(right),
            y + np.float32(down),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        np.testing.assert_allclose(found[..., channel], expected / 255, atol=1e-5)


def reference(face: Floats, transform: Floats, flow: Floats, shade: Floats, size: int) -> Floats:
    """(size, size, C): the docstring's formula, pixel by pixel in float64."""
    side, nodes = len(face), len(flow)

    def read(table: Floats, right: float, down: float) -> Floats:
        last = len(table) - 1
        right, down = min(max(right, 0), last), min(max(down, 0), last)
        left, top = min(int(right), max(last - 1, 0)), min(int(down), max(last - 1, 0))
        a, b = right - left, down - top
        upper = (1 - a) * table[top, left] + a * table[top, left + 1]
        lower = (1 - a) * table[top + 1, left] + a * table[top + 1, left + 1]
        return np.asarray((1 - b) * upper + b * lower)

    found = np.empty((size, size, face.shape[2]))
    for row in range(size):
        for column in range(size):
            place = (transform @ (column, row, 1) + 0.5) / side
            moved = place + read(flow, *(place * (nodes - 1)))
            found[row, column] = read(face, *(moved * side - 0.5)) / 255
            factor = np.exp(read(shade, *(place * (nodes - 1))) / SHADE_SCALE)
            found[row, column, :3] = np.clip(found[row, column, :3] * factor, 0, 1)
    return found


@pytest.mark.parametrize(("side", "size", "nodes"), [(24, 17, 32), (20, 31, 32), (16, 16, 2)])
def test_against_the_formula_in_float64(side: int, size: int, nodes: int) -> None:
    """The transform turns, zooms and looks over the rim; flow and shade differ by node."""
    random = np.random.default_rng(0)
    zoom = side / size
    transform = np.array([[0.9, -0.3, 0.2 * size], [0.3, 0.9, -0.1 * size]]) * zoom
    flow = random.normal(0, 0.05, (nodes, nodes, 2))
    shade = random.integers(-127, 128, (nodes, nodes)).astype(np.int8)
    faces = pictures(1, side)
    found = drawn(
        faces,
        size=size,
        faces_from_target=torch.from_numpy(transform)[None].float(),
        flow=torch.from_numpy(flow)[None].float(),
        shade=torch.from_numpy(shade)[None],
    )
    expected = reference(
        faces[0].numpy().astype(np.float64), transform, flow, shade.astype(np.float64), size
    )
    np.testing.assert_allclose(found[0].permute(1, 2, 0).numpy(), expected, atol=1e-4)


def test_a_node_moves_its_own_place_and_its_cells_only() -> None:
    side, row, column = 62, 11, 20
    faces = pictures(1, side)
    flow = torch.zeros(1, NODES, NODES, 2)
    flow[0, row, column, 0] = 0.5
    changed = (drawn(faces, flow=flow) != drawn(faces)).any(dim=1)[0]
    rows, columns = torch.nonzero(changed).unbind(1)
    # A cell is two pixels wide: node n stands at pixel 2 n - 0.5.
    assert set(rows.tolist()) <= {2 * row - 2, 2 * row - 1, 2 * row, 2 * row + 1}
    assert set(columns.tolist()) <= {2 * column - 2, 2 * column - 1, 2 * column, 2 * column + 1}
    assert changed[2 * row - 1 : 2 * row + 1, 2 * column - 1 : 2 * column + 1].all()


def test_no_gradient_flows() -> None:
    flow = torch.zeros(1, 4, 4, 2, requires_grad=True)
    assert not drawn(pictures(1, 8), flow=flow).requires_grad


# --- the inside of the lips -----------------------------------------------------------------------


def filled(outline: Tensor, size: int, **changes: Any) -> Floats:
    """(size, size) how far each pixel lies inside: white drawn on black."""
    black = torch.zeros(1, 64, 64, 5, dtype=torch.uint8)
    whole = torch.tensor([[64 / size, 0, 32 / size - 0.5], [0, 64 / size, 32 / size - 0.5]])
    arguments: dict[str, Any] = {
        "faces_from_target": whole[None],
        "donor": torch.tensor([0]),
        "lips": outline[None],
        "gain": WHITE[None],
    } | changes
    found = drawn(black, size=size, **arguments)[0]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    return found[0].numpy().astype(np.float64)


def outlines() -> dict[str, Tensor]:
    around = torch.arange(20) * (2 * torch.pi / 20)
    mouth = torch.stack([0.5 + 0.3 * around.cos(), 0.6 + 0.12 * around.sin()], dim=1)
    crescent = mouth.clone()
    crescent[10:, 1] = 0.66 - 0.06 * (mouth[10:, 0] - 0.5).abs()
    twice = mouth.clone()
    twice[[4, 5, 13]] = mouth[[3, 3, 12]]
    return {
        "mouth": mouth,
        "other way round": mouth.flip(0),
        "crescent": crescent,
        "points that coincide": twice,
        "square": SQUARE,
        "over the rim": mouth + 0.4,
    }


@pytest.mark.parametrize("name", outlines())
@pytest.mark.parametrize("size", [64, 200])
def test_lips_are_filled_as_opencv_fills_them(name: str, size: int) -> None:
    outline = outlines()[name]
    found, wide = filled(outline, size), by_opencv(outline, size)
    reach = int(np.ceil(max(0.008 * size, 0.5))) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    within, around = cv2.erode(wide, kernel) > 0, cv2.dilate(wide, kernel) > 0
    assert within.sum() > 10
    np.testing.assert_array_equal(found[within], 1)
    np.testing.assert_array_equal(found[~around], 0)
    between = found[around & ~within]
    assert ((between > 0) & (between < 1)).sum() > 10
    area = by_opencv(outline, 16 * size).sum() / 16**2
    assert found.sum() == pytest.approx(area, rel=0.02)


def by_opencv(outline: Tensor, size: int) -> NDArray[np.uint8]:
    """(size, size) 1 inside and on the outline. Its corners are told in 1/256 of a pixel."""
    corners = np.round((outline.numpy() * size - 0.5) * 256).astype(np.int32)
    drawing = np.zeros((size, size), np.uint8)
    cv2.fillPoly(drawing, [corners], 1, shift=8)
    return drawing


@pytest.mark.parametrize(("size", "edge"), [(200, 0.008), (40, 0.5 / 40)])
def test_the_edge_is_soft_over_its_width_and_half_at_the_outline(size: int, edge: float) -> None:
    found = filled(SQUARE + 0.005, size)[size // 2]
    places = (np.arange(size) + 0.5) / size
    inside = np.minimum(places - 0.255, 0.755 - places)
    np.testing.assert_allclose(found, (inside / (2 * edge) + 0.5).clip(0, 1), atol=1e-4)


def test_lips_stay_where_they_are_whatever_the_base_is_warped_by() -> None:
    flow = torch.full((1, NODES, NODES, 2), 0.2)
    np.testing.assert_array_equal(filled(SQUARE, 64, flow=flow), filled(SQUARE, 64))


def test_donor_colours_with_gain_land_inside_only() -> None:
    side = 64
    faces = pictures(3, side)
    gain = torch.tensor([[[0.5, 0.1], [1.0, -0.2], [2.0, 0.0]]])
    move = torch.tensor([[[1.0, 0.0, 4 / side], [0.0, 1.0, -6 / side]]])
    found = drawn(faces, donor=torch.tensor([2]), donor_from_place=move, gain=gain)[0]
    plain = drawn(faces)[0]
    lent = faces[2, 17 - 6 : 47 - 6, 17 + 4 : 47 + 4, :3].permute(2, 0, 1) / 255
    expected = (lent * gain[0, :, 0, None, None] + gain[0, :, 1, None, None]).clamp(0, 1)
    inner = (slice(17, 47), slice(17, 47))
    torch.testing.assert_close(found[:3, *inner], expected, rtol=0, atol=1e-5)
    assert expected.min() == 0
    assert expected.max() == 1
    outer = torch.ones(side, side, dtype=torch.bool)
    outer[15:49, 15:49] = False
    assert torch.equal(found[:, outer], plain[:, outer])


def test_the_masks_are_the_bases() -> None:
    faces = pictures(2, 32)
    found = drawn(faces, donor=torch.tensor([1]))
    assert not torch.equal(found[:, :3], drawn(faces)[:, :3])
    assert torch.equal(found[:, 3:], drawn(faces)[:, 3:])


def test_the_mouth_is_read_from_the_donor_by_places_not_by_pixels_of_the_target() -> None:
    """Half the size, so that a pixel of the target covers two by two."""
    faces = pictures(2, 64)
    halved = torch.tensor([[[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]]])
    found = drawn(faces, size=32, faces_from_target=halved, donor=torch.tensor([1]))[0]
    box = torch.nn.functional.avg_pool2d(faces.permute(0, 3, 1, 2) / 255.0, 2)
    inner = (slice(9, 23), slice(9, 23))
    torch.testing.assert_close(found[:3, *inner], box[1, :3, *inner], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[:, :6], box[0, :, :6], rtol=0, atol=1e-5)


# --- the batch ------------------------------------------------------------------------------------


def test_without_a_donor_lips_and_gain_mean_nothing() -> None:
    faces, arguments = some_samples()
    found = drawn(faces, size=19, **arguments)
    none = drawn(faces, size=19, **arguments | {"donor": torch.full((5,), -1)})
    same = [torch.equal(a, b) for a, b in zip(found, none, strict=True)]
    assert same == [False, True, False, True, False]


def test_a_sample_does_not_see_the_batch_around_it() -> None:
    faces, arguments = some_samples()
    together = drawn(faces, size=19, **arguments)
    for row in range(5):
        alone = drawn(faces, size=19, **one_of(arguments, slice(row, row + 1)))
        assert torch.equal(alone[0], together[row])
    order = [4, 1, 0]
    assert torch.equal(drawn(faces, size=19, **one_of(arguments, order)), together[order])


def test_flow_and_lips_may_be_of_half_precision() -> None:
    faces, arguments = some_samples()
    half = arguments | {name: arguments[name].half() for name in ("flow", "lips")}
    rounded = half | {name: half[name].float() for name in ("flow", "lips")}
    found = drawn(faces, size=19, **half)
    assert found.dtype == torch.float32
    assert torch.equal(found, drawn(faces, size=19, **rounded))


def test_values_stay_within_the_picture_and_the_shape_is_as_told() -> None:
    faces, arguments = some_samples()
    wild = arguments | {"gain": 5 * torch.randn(5, 3, 2), "flow": 3 * arguments["flow"]}
    found = drawn(faces, size=19, **wild)
    assert found.shape == (5, 5, 19, 19)
    assert found.min() >= 0
    assert found.max() <= 1


def test_three_channels_will_do() -> None:
    faces, arguments = some_samples()
    found = drawn(faces[..., :3].contiguous(), size=19, **arguments)
    assert torch.equal(found, drawn(faces, size=19, **arguments)[:, :3])
