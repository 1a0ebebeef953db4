"""Views: the right part of the face, at any size, without aliasing, with a gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from swapper.estimators.preprocess import Preprocess, Window
from swapper.faces.geometry import similarity_from_landmarks, transform_points
from swapper.types import COVERAGES, NUM_LANDMARKS, Coverage

# Points of the average face that steer an alignment, in millimetres; see faces.geometry.
_EYES_NOSE_MM = {36: (-45, 0), 39: (-16.5, 1), 42: (16.5, 1), 45: (45, 0), 27: (0, -2),
                 28: (0, 11), 29: (0, 23), 30: (0, 34), 31: (-15, 43), 32: (-8, 46), 33: (0, 48),
                 34: (8, 46), 35: (15, 43), 48: (-25.5, 68), 54: (25.5, 68)}  # fmt: skip


def plain(window: Window, size: tuple[int, int]) -> Preprocess:
    return Preprocess(window, size, (0.0,) * 3, (1.0,) * 3)


def ramps(size: int) -> Tensor:
    """(1, 3, S, S): x, y and nothing, in pixels."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)])[None].double()


@pytest.mark.parametrize("coverage", COVERAGES)
@pytest.mark.parametrize("size", [48, 256])
def test_looks_where_the_alignment_puts_the_face(coverage: Coverage, size: int) -> None:
    landmarks = np.zeros((NUM_LANDMARKS, 2), np.float32)
    for index, place in _EYES_NOSE_MM.items():
        landmarks[index] = place
    aligned_from_mm = similarity_from_landmarks(landmarks, size, coverage)
    view = plain(Window(-60, -30, 60, 110), (28, 12))
    x_mm, y_mm = -60 + 120 / 12 * (np.arange(12) + 0.5), -30 + 140 / 28 * (np.arange(28) + 0.5)
    x = transform_points(aligned_from_mm, np.stack([x_mm, 0 * x_mm], axis=1))[:, 0]
    y = transform_points(aligned_from_mm, np.stack([0 * y_mm, y_mm], axis=1))[:, 1]
    seen = view.double()(ramps(size), coverage)[0]
    np.testing.assert_allclose(seen[0, 5], x, atol=0.06)
    np.testing.assert_allclose(seen[1, :, 5], y, atol=0.06)


@pytest.mark.parametrize("size", [40, 80, 123, 320])
def test_resizes_like_torch_with_antialiasing(size: int) -> None:
    faces = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(size))
    seen = plain(Window.of("face"), (80, 80))(faces)
    expected = F.interpolate(faces, (80, 80), mode="bilinear", antialias=True)
    # Near the border torch leaves taps out where we repeat pixels.
    torch.testing.assert_close(seen[..., 3:-3, 3:-3], expected[..., 3:-3, 3:-3])


def test_a_fine_pattern_turns_grey_when_it_shrinks() -> None:
    y, x = torch.meshgrid(torch.arange(240), torch.arange(240), indexing="ij")
    checks = ((x + y) % 2).float().expand(1, 3, 240, 240)
    seen = plain(Window(-60, 0, 60, 96), (48, 60))(checks)
    torch.testing.assert_close(seen, torch.full_like(seen, 0.5), atol=1e-3, rtol=0)


def test_repeats_the_border_where_the_crop_ends() -> None:
    faces = torch.rand(1, 3, 64, 64)
    seen = plain(Window(-400, -400, -300, 400), (8, 4))(faces)
    torch.testing.assert_close(seen[:, :, 0], faces[:, :, :1, 0].expand(-1, -1, 4))
    torch.testing.assert_close(seen[:, :, -1], faces[:, :, -1:, 0].expand(-1, -1, 4))


def test_the_gradient_is_exact() -> None:
    view = Preprocess(Window(-50, -20, 70, 100), (5, 4), (0.3,), (0.2,)).double()
    faces = torch.rand(1, 3, 9, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(view, (faces,))


def test_a_first_look_in_inference_mode_does_not_spoil_a_later_gradient() -> None:
    view = plain(Window(-51, -21, 71, 101), (5, 4))
    faces = torch.rand(1, 3, 17, 17, requires_grad=True)
    with torch.inference_mode():
        view(faces)
    view(faces).sum().backward()
    assert faces.grad is not None
    assert faces.grad.abs().sum() > 0


def test_normalises_colours_and_grey() -> None:
    red = torch.zeros(1, 3, 8, 8)
    red[:, 0] = 1
    whole = Window.of("face")
    colours = Preprocess(whole, (4, 4), (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))(red)
    torch.testing.assert_close(colours[0, :, 0, 0], torch.tensor([1.0, -1.0, 0.0]))
    grey = Preprocess(whole, (4, 4), (0.0,), (0.5,))(red)
    torch.testing.assert_close(grey, torch.full((1, 1, 4, 4), 0.598))


def test_refuses_what_is_no_view() -> None:
    with pytest.raises(ValueError, match="empty window"):
        Window(10, 0, 10, 5)
    with pytest.raises(ValueError, match="1 or 3 numbers"):
        Preprocess(Window.of("face"), (4, 4), (0.5, 0.5), (0.5, 0.5))
    with pytest.raises(ValueError, match="std > 0"):
        Preprocess(Window.of("face"), (4, 4), (0.5,), (0.0,))
