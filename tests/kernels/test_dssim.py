"""dssim_l1 against scikit-image, float64 and the edges of its contract."""

from __future__ import annotations

import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from swapper.kernels.dssim import dssim_l1


def draw(
    n: int, c: int, h: int, w: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(h * 100 + w)
    target = torch.rand(n, c, h, w, generator=generator, dtype=torch.float64)
    noise = torch.randn(n, c, h, w, generator=generator, dtype=torch.float64)
    mask = torch.rand(n, 1, h, w, generator=generator, dtype=torch.float64)
    return (target + 0.1 * noise).clamp(0, 1).to(dtype), target.to(dtype), mask.to(dtype)


@pytest.mark.parametrize(("h", "w"), [(37, 29), (32, 48)])
def test_one_scale_equals_skimage_inside(h: int, w: int) -> None:
    pred, target, _ = draw(1, 3, h, w)
    _, ssim = structural_similarity(
        pred[0].numpy(),
        target[0].numpy(),
        channel_axis=0,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    inside = torch.zeros(1, 1, h, w, dtype=torch.float64)
    inside[..., 5:-5, 5:-5] = 1
    dssim, l1 = dssim_l1(pred, target, inside, scales=1)
    assert dssim.item() == pytest.approx((1 - ssim[:, 5:-5, 5:-5].mean()) / 2, abs=1e-12)
    error = (pred - target).abs()[0, :, 5:-5, 5:-5].mean().item()
    assert l1.item() == pytest.approx(error, abs=1e-12)


def test_scales_are_the_mean_of_one_scale_on_halved_pictures() -> None:
    pred, target, mask = draw(2, 3, 32, 48)
    expected = torch.zeros(2, dtype=torch.float64)
    x, y, m = pred, target, mask
    for _ in range(3):
        expected += dssim_l1(x, y, m, scales=1)[0] / 3
        x, y, m = (torch.nn.functional.avg_pool2d(t, 2) for t in (x, y, m))
    torch.testing.assert_close(dssim_l1(pred, target, mask)[0], expected)


def test_the_scales_see_different_things() -> None:
    """Fine noise vanishes at the coarse scales, a smooth stain does not."""
    target = torch.full((1, 1, 64, 64), 0.5, dtype=torch.float64)
    checker = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 0.2 - 0.1
    wave = 0.1 * torch.sin(torch.arange(64) * (2 * torch.pi / 32)).expand(64, 64)
    fine, coarse = target + checker, target + wave
    for s in (1, 2):
        before = [dssim_l1(p, target, scales=s)[0].item() * s for p in (fine, coarse)]
        after = [dssim_l1(p, target, scales=s + 1)[0].item() * (s + 1) for p in (fine, coarse)]
        assert after[0] - before[0] < 1e-9
        assert after[1] - before[1] > 0.05


@pytest.mark.parametrize("h_w", [(1, 1), (2, 3), (5, 5), (7, 1), (13, 10), (64, 64)])
def test_any_size_fits(h_w: tuple[int, int]) -> None:
    pred, target, mask = draw(2, 3, *h_w)
    pred.requires_grad_()
    dssim, l1 = dssim_l1(pred, target, mask)
    (dssim.sum() + l1.sum()).backward()
    assert dssim.shape == l1.shape == (2,)
    assert ((dssim >= 0) & (dssim <= 1)).all()
    assert pred.grad is not None
    assert torch.isfinite(pred.grad).all()


def test_range_and_extremes() -> None:
    _, target, _ = draw(2, 3, 24, 24)
    same, l1 = dssim_l1(target, target.clone())
    assert same.abs().max() < 1e-12
    assert l1.abs().max() == 0
    opposite = dssim_l1(1 - target, target)[0]
    assert (opposite > 0.6).all()
    assert (opposite <= 1).all()
    black_white = dssim_l1(torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16))
    assert black_white[0].item() == pytest.approx(0.5, abs=1e-3)
    assert black_white[1].item() == 1


def test_samples_do_not_mix_and_weights_are_relative() -> None:
    pred, target, mask = draw(3, 3, 20, 20)
    whole = dssim_l1(pred, target, mask)
    alone = [dssim_l1(pred[i : i + 1], target[i : i + 1], 0.1 * mask[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(whole[0], torch.cat([a[0] for a in alone]))
    torch.testing.assert_close(whole[1], torch.cat([a[1] for a in alone]))


def test_masked_out_pixels_have_no_l1_and_only_near_dssim_gradient() -> None:
    pred, target, _ = draw(1, 3, 48, 48, torch.float32)
    mask = torch.zeros(1, 1, 48, 48)
    mask[..., :16] = 1
    pred.requires_grad_()
    dssim, l1 = dssim_l1(pred, target, mask, scales=1)
    (gradient,) = torch.autograd.grad(l1.sum(), pred, retain_graph=True)
    assert (gradient[..., 16:] == 0).all()
    assert (gradient[..., :16] != 0).any()
    (gradient,) = torch.autograd.grad(dssim.sum(), pred)
    assert (gradient[..., 16 + 5 :] == 0).all()
    assert (gradient[..., 16 : 16 + 5] != 0).any()


def test_all_zero_mask_is_zero_with_finite_gradient() -> None:
    pred, target, mask = draw(2, 3, 16, 16, torch.float32)
    mask[0] = 0
    pred.requires_grad_()
    dssim, l1 = dssim_l1(pred, target, mask)
    (dssim + l1).sum().backward()
    assert dssim[0] == 0
    assert l1[0] == 0
    assert dssim[1] > 0
    assert pred.grad is not None
    assert torch.isfinite(pred.grad).all()
    assert (pred.grad[0] == 0).all()
    assert (pred.grad[1] != 0).any()


def test_gradients_in_float64() -> None:
    pred, target, mask = draw(2, 2, 6, 7)
    pred.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p: dssim_l1(p, target, mask, window=5, scales=2), (pred,)
    )


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-4), (torch.float16, 1e-3), (torch.bfloat16, 8e-3)],
)
@pytest.mark.parametrize("low", [0.0, 0.9])
def test_float32_is_enough(dtype: torch.dtype, tolerance: float, low: float) -> None:
    """Even for nearly flat bright pictures, where E[x^2] - E[x]^2 cancels."""
    pred, target, mask = draw(2, 3, 37, 29)
    pred, target = (low + (1 - low) * 0.2 * t for t in (pred, target))
    pred, target, mask = (t.to(dtype) for t in (pred, target, mask))
    leaf = pred.clone().requires_grad_()
    exact_leaf = pred.double().requires_grad_()
    dssim, l1 = dssim_l1(leaf, target, mask)
    exact = dssim_l1(exact_leaf, target.double(), mask.double())
    assert dssim.dtype == l1.dtype == torch.float32
    torch.testing.assert_close(dssim.double(), exact[0], rtol=1e-5, atol=5e-6)
    torch.testing.assert_close(l1.double(), exact[1], rtol=1e-5, atol=1e-7)
    (got,) = torch.autograd.grad(dssim.sum(), leaf)
    (want,) = torch.autograd.grad(exact[0].sum(), exact_leaf)
    assert got.dtype == dtype
    assert (got.double() - want).norm() / want.norm() <= tolerance


def test_autocast_changes_nothing() -> None:
    pred, target, mask = draw(2, 3, 32, 32, torch.float32)
    plain = dssim_l1(pred, target, mask)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = dssim_l1(pred, target, mask)
    assert torch.equal(plain[0], cast[0])
    assert torch.equal(plain[1], cast[1])


def test_layout_changes_nothing() -> None:
    pred, target, mask = draw(2, 3, 17, 16)
    last = [t.contiguous(memory_format=torch.channels_last) for t in (pred, target, mask)]
    torch.testing.assert_close(dssim_l1(*last), dssim_l1(pred, target, mask))


def test_bad_arguments_name_what_and_how() -> None:
    pred, target, mask = draw(2, 3, 8, 8)
    with pytest.raises(ValueError, match=r"target .*\(2, 3, 8, 8\).*\(2, 3, 8, 7\)"):
        dssim_l1(pred, target[..., :7])
    with pytest.raises(ValueError, match=r"mask must be \(2, 1, 8, 8\), got \(2, 8, 8\)"):
        dssim_l1(pred, target, mask[:, 0])
    with pytest.raises(ValueError, match=r"window .* 4"):
        dssim_l1(pred, target, window=4)
    with pytest.raises(ValueError, match=r"sigma .* 0"):
        dssim_l1(pred, target, sigma=0)
    with pytest.raises(ValueError, match=r"scales .* 0"):
        dssim_l1(pred, target, scales=0)
    with pytest.raises(ValueError, match=r"pred must have 4 dimensions"):
        dssim_l1(pred[0], target[0])
