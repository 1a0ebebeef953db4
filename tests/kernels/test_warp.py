from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from swapper.kernels.warp import warp_pair

IDENTITY = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def _faces(n: int, size: int, channels: int = 5, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (n, size, size, channels)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def _still(n: int, points: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    gain = torch.tensor([1.0, 0.0]).expand(n, 3, 2)
    return torch.zeros(n, points, points, 2), gain


def _affine(n: int, size: int, seed: int = 1) -> torch.Tensor:
    """Rotations about the centre, shifted so that part of the picture lies outside."""
    rng = np.random.default_rng(seed)
    matrices = np.empty((n, 2, 3))
    for matrix in matrices:
        angle, zoom = rng.uniform(-0.5, 0.5), rng.uniform(0.7, 1.4)
        rotation = zoom * np.array(
            [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        )
        centre = np.full(2, (size - 1) / 2)
        matrix[:, :2] = rotation
        matrix[:, 2] = centre - rotation @ centre + rng.uniform(-0.2, 0.2, 2) * size
    return torch.from_numpy(matrices)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 7, 16, 37])
def test_identity_is_exact(size: int, dtype: torch.dtype) -> None:
    faces = _faces(2, size)
    warped, target = warp_pair(faces, IDENTITY.expand(2, 2, 3), *_still(2), size=size, dtype=dtype)
    expected = faces.to(dtype).permute(0, 3, 1, 2) / 255
    assert torch.equal(target, expected)
    assert torch.equal(warped, expected[:, :3])
    assert warped.dtype == target.dtype == dtype


def test_affine_takes_target_pixels_to_face_pixels() -> None:
    faces = torch.zeros(1, 9, 9, 3, dtype=torch.uint8)
    faces[0, 2, 5] = 255  # row y=2, column x=5
    move = torch.tensor([[[1.0, 0.0, 3.0], [0.0, 1.0, -1.0]]])  # target (2, 3) -> face (5, 2)
    warped, target = warp_pair(faces, move, *_still(1), size=9)
    for image in (warped, target):
        assert image[0, 0].nonzero().tolist() == [[3, 2]]
        assert image[0, :, 3, 2].tolist() == [1, 1, 1]


def test_grid_is_dx_dy_in_target_pixels_and_moves_the_input_only() -> None:
    faces = torch.zeros(1, 18, 18, 3, dtype=torch.uint8)
    faces[0, 4:6, 10:12] = 255  # the 2 x 2 block under target pixel (x=5, y=2)
    half = torch.tensor([[[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]]])
    grid, gain = _still(1)
    grid[..., 0], grid[..., 1] = 1.0, -2.0
    warped, target = warp_pair(faces, half, grid, gain, size=9)
    assert target[0, 0].nonzero().tolist() == [[2, 5]]
    assert warped[0, 0].nonzero().tolist() == [[4, 4]]


def test_grid_rows_run_down_and_points_span_the_picture() -> None:
    faces = _faces(1, 9, 3)
    grid, gain = _still(1, points=2)
    grid[0, 0, 1, 0] = -8.0  # upper right corner reads the upper left pixel
    warped, target = warp_pair(faces, IDENTITY[None], grid, gain, size=9)
    assert torch.equal(warped[0, :, 0, 8], target[0, :, 0, 0])
    assert torch.equal(warped[0, :, 8], target[0, :, 8])
    assert torch.equal(warped[0, :, :, 0], target[0, :, :, 0])


def test_twice_the_size_is_read_as_a_box() -> None:
    faces = _faces(2, 32)
    affine = torch.tensor([[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]]).expand(2, 2, 3)
    _, target = warp_pair(faces, affine, *_still(2), size=16, dtype=torch.float64)
    box = F.avg_pool2d(faces.permute(0, 3, 1, 2).double() / 255, 2)
    torch.testing.assert_close(target, box, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("source", "size"), [(16, 16), (37, 20), (12, 29), (1, 5)])
def test_against_grid_sample(source: int, size: int) -> None:
    faces, affine = _faces(3, source), _affine(3, source) @ _scale(source / size)
    grid = torch.randn(3, 5, 5, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    gain = torch.rand(3, 3, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    warped, target = warp_pair(faces, affine, grid, gain, size=size, dtype=torch.float64)
    ramp = torch.arange(size, dtype=torch.float64)
    y, x = torch.meshgrid(ramp, ramp, indexing="ij")
    spread = F.interpolate(grid.permute(0, 3, 1, 2), size=(size, size), mode="bilinear",
                           align_corners=True)  # fmt: skip

    def sample(dx: torch.Tensor, dy: torch.Tensor) -> torch.Tensor:
        points = torch.stack([x + dx, y + dy, torch.ones_like(x + dx)], dim=-1)
        places = torch.einsum("nij,nhwj->nhwi", affine, points)
        normal = (places + 0.5) * 2 / source - 1
        images = faces.permute(0, 3, 1, 2).double() / 255
        return F.grid_sample(images, normal, padding_mode="border", align_corners=False)

    zero = torch.zeros(3, size, size, dtype=torch.float64)
    torch.testing.assert_close(target, sample(zero, zero), rtol=0, atol=1e-10)
    moved = sample(spread[:, 0], spread[:, 1])[:, :3] * gain[..., 0, None, None]
    expected = (moved + gain[..., 1, None, None]).clamp(0, 1)
    torch.testing.assert_close(warped, expected, rtol=0, atol=1e-10)


def _scale(factor: float) -> torch.Tensor:
    matrix = torch.eye(3, dtype=torch.float64) * factor
    matrix[:2, 2] = (factor - 1) / 2
    matrix[2, 2] = 1
    return matrix


def test_against_cv2_remap() -> None:
    faces, affine = _faces(1, 33, 3), _affine(1, 33)
    _, target = warp_pair(faces, affine, *_still(1), size=33, dtype=torch.float64)
    y, x = np.mgrid[:33, :33]
    place = affine[0].numpy() @ np.stack([x.ravel(), y.ravel(), np.ones(33 * 33)])
    maps = place.reshape(2, 33, 33).astype(np.float32)
    expected = cv2.remap(
        faces[0].numpy().astype(np.float32) / 255,
        maps[0], maps[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    # cv2 rounds places to 1/32 of a pixel: on noise that is up to a 1/32 of the range and a bit.
    np.testing.assert_allclose(target[0].permute(1, 2, 0).numpy(), expected, atol=2 / 32)
    assert np.abs(target[0].permute(1, 2, 0).numpy() - expected).mean() < 0.01


def test_degraded_feeds_the_input_only() -> None:
    faces, degraded = _faces(2, 11), _faces(2, 11, 3, seed=9)
    affine = IDENTITY.expand(2, 2, 3)
    warped, target = warp_pair(faces, affine, *_still(2), size=11, degraded=degraded)
    assert torch.equal(warped, degraded.float().permute(0, 3, 1, 2) / 255)
    assert torch.equal(target, faces.float().permute(0, 3, 1, 2) / 255)


def test_without_warp_gain_and_degradation_input_equals_target() -> None:
    faces, affine = _faces(3, 24), _affine(3, 24)
    warped, target = warp_pair(faces, affine, *_still(3), size=17)
    assert torch.equal(warped, target[:, :3])
    view = faces[..., :3]  # not contiguous
    again, _ = warp_pair(faces, affine, *_still(3), size=17, degraded=view)
    assert torch.equal(again, warped)


def test_gain_scales_shifts_and_clips_each_colour() -> None:
    faces = torch.full((1, 4, 4, 3), 51, dtype=torch.uint8)  # 0.2
    gain = torch.tensor([[[2.0, 0.1], [1.0, -0.5], [5.0, 0.5]]])
    warped, target = warp_pair(faces, IDENTITY[None], torch.zeros(1, 2, 2, 2), gain, size=4)
    torch.testing.assert_close(warped[0, :, 1, 1], torch.tensor([0.5, 0.0, 1.0]))
    torch.testing.assert_close(target[0, :, 1, 1], torch.full((3,), 0.2))


def test_float32_is_close_to_float64_and_a_sample_does_not_see_its_batch() -> None:
    faces, affine = _faces(5, 31), _affine(5, 31)
    grid = torch.randn(5, 4, 4, 2, generator=torch.Generator().manual_seed(5))
    gain = torch.tensor([1.05, -0.02]).expand(5, 3, 2)
    exact = warp_pair(faces, affine, grid, gain, size=23, dtype=torch.float64)
    single = warp_pair(faces, affine.float(), grid, gain, size=23)
    for got, want in zip(single, exact, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=0, atol=2e-5)
    for i in range(5):
        alone = warp_pair(
            faces[i : i + 1], affine[i : i + 1].float(), grid[i : i + 1], gain[i : i + 1], size=23
        )
        assert torch.equal(alone[0][0], single[0][i])
        assert torch.equal(alone[1][0], single[1][i])


def test_half_precision_is_rounded_once() -> None:
    faces, affine = _faces(1, 16), _affine(1, 16)
    full = warp_pair(faces, affine, *_still(1), size=16)
    half = warp_pair(faces, affine, *_still(1), size=16, dtype=torch.bfloat16)
    assert torch.equal(half[1], full[1].bfloat16())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"faces": torch.zeros(2, 8, 8, 5)}, "faces must be uint8"),
        ({"faces": torch.zeros(2, 8, 8, 2, dtype=torch.uint8)}, "faces must be uint8"),
        ({"faces": torch.zeros(0, 8, 8, 3, dtype=torch.uint8)}, "not be empty"),
        ({"faces_from_target": torch.zeros(1, 2, 3)}, "faces_from_target must be"),
        ({"grid": torch.zeros(2, 1, 1, 2)}, "grid must be"),
        ({"grid": torch.zeros(2, 3, 4, 2)}, "grid must be"),
        ({"gain": torch.zeros(2, 5, 2)}, "gain must be"),
        ({"size": 0}, "size must be"),
        ({"dtype": torch.uint8}, "dtype must be"),
        ({"degraded": torch.zeros(2, 8, 8, 5, dtype=torch.uint8)}, "degraded must be"),
        ({"degraded": torch.zeros(2, 8, 8, 3)}, "degraded must be"),
    ],
)
def test_refuses_what_does_not_fit(change: dict[str, object], words: str) -> None:
    grid, gain = _still(2)
    arguments: dict[str, object] = {
        "faces": _faces(2, 8),
        "faces_from_target": IDENTITY.expand(2, 2, 3),
        "grid": grid,
        "gain": gain,
        "size": 8,
    } | change
    with pytest.raises(ValueError, match=words):
        warp_pair(**arguments)  # type: ignore[arg-type]


def test_index_picks_rows_of_a_whole_faceset() -> None:
    faces, index = _faces(6, 16), torch.tensor([5, 0, 5])
    arguments = (_affine(3, 16), *_still(3))
    expected = warp_pair(faces[index], *arguments, size=9)
    for got, right in zip(warp_pair(faces, *arguments, size=9, index=index), expected, strict=True):
        assert torch.equal(got, right)
    with pytest.raises(ValueError, match=r"index .*int64 \(N,\).*torch.int32"):
        warp_pair(faces, *arguments, size=9, index=index.int())


def test_degraded_index_tells_who_reads_which_picture() -> None:
    faces, degraded = _faces(3, 16), _faces(2, 16, 3, seed=5)
    arguments = (_affine(3, 16), *_still(3))
    some = torch.tensor([1, -1, 0])
    got, target = warp_pair(faces, *arguments, size=9, degraded=degraded, degraded_index=some)
    whole = torch.stack([degraded[1], faces[1, ..., :3], degraded[0]])
    expected = warp_pair(faces, *arguments, size=9, degraded=whole)
    assert torch.equal(got, expected[0])
    assert torch.equal(target, expected[1])
    none = torch.full((3,), -1)
    for pictures in (degraded, degraded[:0]):
        plain = warp_pair(faces, *arguments, size=9, degraded=pictures, degraded_index=none)
        assert torch.equal(plain[0], warp_pair(faces, *arguments, size=9)[0])
    with pytest.raises(ValueError, match=r"degraded_index must be int64 \(3,\)"):
        warp_pair(faces, *arguments, size=9, degraded=degraded, degraded_index=some[:2])
    with pytest.raises(ValueError, match="degraded_index needs degraded"):
        warp_pair(faces, *arguments, size=9, degraded_index=some)


def test_more_samples_than_are_worked_on_at_once() -> None:
    faces, arguments = _faces(70, 12), (_affine(70, 12), *_still(70))
    whole = warp_pair(faces, *arguments, size=32)
    alone = warp_pair(faces[-1:], *(each[-1:] for each in arguments), size=32)
    assert torch.equal(whole[0][-1:], alone[0])
    assert torch.equal(whole[1][-1:], alone[1])
