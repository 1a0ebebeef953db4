"""The public 64 px reference, layer for layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swapper.models.autoencoder import OriginalAutoencoder
from swapper.models.original64 import OriginalDown


@pytest.fixture(scope="module")
def net() -> OriginalAutoencoder:
    torch.manual_seed(0)
    return OriginalAutoencoder(["alice", "bob"])


def size(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def test_has_the_published_number_of_parameters(net: OriginalAutoencoder) -> None:
    masks = sum(size(decoder.mask) for decoder in net.decoders)
    assert masks == 2 * 577
    assert size(net) - masks == 82_062_470
    assert f"{size(net) / 1e6:.2f}" == "82.06"
    assert f"{size(net.encoder) / 1e6:.2f}" == "69.66"
    assert f"{size(net.decoders[0]) / 1e6:.2f}" == "6.20"


def test_has_the_published_layers(net: OriginalAutoencoder) -> None:
    def layers(module: nn.Module) -> list[tuple[int, ...]]:
        return [
            (each.in_channels, each.out_channels, *each.kernel_size, *each.stride)
            if isinstance(each, nn.Conv2d)
            else (each.in_features, each.out_features)
            for each in module.modules()
            if isinstance(each, nn.Conv2d | nn.Linear)
        ]

    assert layers(net.encoder) == [
        (3, 128, 5, 5, 2, 2),
        (128, 256, 5, 5, 2, 2),
        (256, 512, 5, 5, 2, 2),
        (512, 1024, 5, 5, 2, 2),
        (16384, 1024),
        (1024, 16384),
        (1024, 2048, 3, 3, 1, 1),
    ]
    for decoder in net.decoders:
        assert layers(decoder) == [
            (512, 1024, 3, 3, 1, 1),
            (256, 512, 3, 3, 1, 1),
            (128, 256, 3, 3, 1, 1),
            (64, 3, 5, 5, 1, 1),
            (64, 1, 3, 3, 1, 1),
        ]


def test_convolutions_start_as_he_uniform_without_bias(net: OriginalAutoencoder) -> None:
    for each in net.modules():
        if isinstance(each, nn.Conv2d):
            bound = (6 / each.weight[0].numel()) ** 0.5
            assert 0.98 * bound < each.weight.abs().max() <= bound
            assert each.bias is None or not each.bias.any()


def test_pads_as_keras_does() -> None:
    """For an even side, kernel 5 and stride 2, "same" pads one before and two after."""
    down = OriginalDown(1, 1)
    nn.init.zeros_(down.conv.weight)
    assert down.conv.bias is not None
    nn.init.zeros_(down.conv.bias)
    x = torch.arange(36.0).reshape(1, 1, 6, 6)
    with torch.no_grad():
        down.conv.weight[0, 0, 1, 1] = 1
        assert torch.equal(down(x), x[..., ::2, ::2])
        down.conv.weight.zero_()
        down.conv.weight[0, 0, 4, 4] = 1
        assert torch.equal(down(x)[0, 0], torch.tensor([[21.0, 23, 0], [33, 35, 0], [0, 0, 0]]))


def test_draws_a_face_and_a_mask(net: OriginalAutoencoder) -> None:
    latent = net.encode(torch.rand(2, 3, 64, 64))
    assert latent.shape == (2, 512, 8, 8)
    output = net.decode(latent, "bob")
    assert output.image.shape == (2, 3, 64, 64)
    assert output.mask.shape == (2, 1, 64, 64)
    assert output.image.min() >= 0
    assert output.image.max() <= 1


def test_is_of_64_px_only() -> None:
    with pytest.raises(ValueError, match="resolution must be 64, got 128"):
        OriginalAutoencoder(["a", "b"], resolution=128)
