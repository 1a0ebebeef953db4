"""DfAutoencoder, what every Autoencoder promises, and building from data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from swapper.errors import ModelError
from swapper.models.autoencoder import Autoencoder, DfAutoencoder, build_model
from swapper.models.encoder import latent_side, num_downs

NAMES = ("alice", "bob.b-1")


def make(**options: Any) -> DfAutoencoder:
    torch.manual_seed(0)
    return DfAutoencoder(NAMES, **{"resolution": 64, "width": 8, "latent": 32, **options})


def size(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def wake(net: nn.Module) -> None:
    """Move every weight off the values at which branches are silent."""
    torch.manual_seed(1)
    with torch.no_grad():
        for each in net.parameters():
            each += 0.05 * torch.randn_like(each)


def reached(net: nn.Module) -> set[str]:
    """Top-level parts, decoders by number, that have a gradient."""
    names = {
        name for name, each in net.named_parameters() if each.grad is not None and each.grad.any()
    }
    return {".".join(name.split(".")[: 2 if name.startswith("decoders") else 1]) for name in names}


@pytest.mark.parametrize(
    ("resolution", "side"),
    [(64, 4), (96, 6), (128, 8), (160, 5), (192, 6), (224, 7), (256, 8), (480, 15), (512, 8)],
)
def test_latent_side(resolution: int, side: int) -> None:
    assert latent_side(resolution) == side
    assert side << num_downs(resolution) == resolution


@pytest.mark.parametrize("resolution", [64, 96, 128, 256])
def test_shapes_and_ranges(resolution: int) -> None:
    net = make(resolution=resolution, width=4, latent=16)
    latent = net.encode(torch.rand(2, 3, resolution, resolution))
    assert latent.shape[0] == 2
    assert latent.shape[2:] == (latent_side(resolution),) * 2
    output = net.decode(latent, "alice")
    assert output.image.shape == (2, 3, resolution, resolution)
    assert output.mask.shape == (2, 1, resolution, resolution)
    for each in (output.image, output.mask):
        assert each.dtype == torch.float32
        assert 0 <= each.min() <= each.max() <= 1


@pytest.mark.parametrize("resolution", range(64, 513, 32))
def test_every_multiple_of_32_fits(resolution: int) -> None:
    with torch.device("meta"):
        net = make(resolution=resolution)
        output = net(torch.rand(1, 3, resolution, resolution), "alice")
    assert output.image.shape == (1, 3, resolution, resolution)
    assert output.mask.shape == (1, 1, resolution, resolution)


def test_working_sizes() -> None:
    """Parameters of the presets; a change here is a change of every model file."""
    for options, millions in (
        ({"resolution": 64, "width": 16, "latent": 256}, 3.63),
        ({"resolution": 128, "width": 64, "latent": 512}, 83.10),
        ({"resolution": 256, "width": 64, "latent": 512}, 137.63),
    ):
        with torch.device("meta"):
            assert size(DfAutoencoder(NAMES, **options)) / 1e6 == pytest.approx(millions, abs=0.005)


def test_starts_the_same_from_the_same_seed_and_runs_the_same() -> None:
    first, second = make(), make()
    x = torch.rand(2, 3, 64, 64)
    assert torch.equal(first(x, "alice").image, first(x, "alice").image)
    assert torch.equal(first(x, "alice").image, second(x, "alice").image)


def test_decoders_are_separate() -> None:
    net = make()
    latent = net.encode(torch.rand(2, 3, 64, 64))
    before = net.decode(latent, "alice").image
    assert not torch.equal(before, net.decode(latent, "bob.b-1").image)
    nn.init.normal_(net.decoders[1].colour.conv.weight)
    assert torch.equal(before, net.decode(latent, "alice").image)
    net.decode(latent, "bob.b-1").image.sum().backward()
    assert reached(net) == {"encoder", "decoders.1"}


def test_mask_and_colour_have_their_own_heads() -> None:
    net = make()
    output = net(torch.rand(2, 3, 64, 64), "alice")
    output.mask.sum().backward(retain_graph=True)
    decoder = net.decoders[0]
    assert all(each.grad is None for each in decoder.colour.parameters())
    assert all(each.grad is not None and each.grad.any() for each in decoder.mask.parameters())
    net.zero_grad(set_to_none=True)
    output.image.sum().backward()
    assert all(each.grad is None for each in decoder.mask.parameters())
    assert all(each.grad is not None and each.grad.any() for each in decoder.colour.parameters())


@pytest.mark.parametrize("shared", [0, 1, 2, 3])
def test_trunk_is_held_once_and_learns_from_everyone(shared: int) -> None:
    net = make(shared_stages=shared)
    separate = make()
    stages = separate.decoders[0].stages
    films = sum(2 * stages[level].refine.bias.numel() for level in range(shared))
    saved = sum(size(stages[level]) for level in range(shared))
    assert size(net) == size(separate) - saved + 2 * films
    assert len(net.trunk) == shared
    assert all(len(decoder.stages) == 3 - shared for decoder in net.decoders)

    x = torch.rand(2, 3, 64, 64)
    gradients = []
    for index, name in enumerate(NAMES):
        net.zero_grad(set_to_none=True)
        output = net(x, name)
        (output.image.sum() + output.mask.sum()).backward()
        parts = {"encoder", f"decoders.{index}"} | ({"trunk"} if shared else set())
        assert reached(net) == parts
        for film in net.decoders[index].films:
            assert film.gamma.grad.any()
            assert film.beta.grad.any()
        gradients.append([each.grad.clone() for each in net.trunk.parameters() if each.grad.any()])
    assert len(gradients[0]) == len(gradients[1]) >= 3 * shared


def test_identities_start_equal_in_the_trunk_and_are_tuned_apart() -> None:
    net = make(shared_stages=3)
    net.decoders[1].load_state_dict(net.decoders[0].state_dict())
    x = torch.rand(2, 3, 64, 64)
    assert torch.equal(net(x, NAMES[0]).image, net(x, NAMES[1]).image)
    nn.init.constant_(net.decoders[1].films[0].gamma, 0.5)
    assert not torch.equal(net(x, NAMES[0]).image, net(x, NAMES[1]).image)


@pytest.mark.parametrize("shared", [0, 2])
def test_code_conditions_all_but_the_finest_stage(shared: int) -> None:
    net = make(code_dim=5, shared_stages=shared)
    x, code = torch.rand(2, 3, 64, 64), torch.randn(2, 5)
    latent = net.encode(x)
    plain = net.decode(latent, "alice").image
    assert torch.equal(net.decode(latent, "alice", code).image, plain), "must start silent"
    net.decode(latent, "alice", code).image.sum().backward()
    names = [name for name, _ in net.named_parameters()]
    conditioned = [name for name in names if ".code_film." in name or name.startswith("shift.")]
    assert len(conditioned) == (5 if shared == 0 else 3)
    heard = dict(net.named_parameters())
    for name in conditioned:
        gradient = heard[name].grad
        assert (gradient is not None) == ("decoders.1" not in name)
        assert gradient is None or gradient.any()

    wake(net)
    latent = net.encode(x)
    plain = net.decode(latent, "alice").image
    assert torch.equal(net.decode(latent, "alice", net.null.expand(2, -1)).image, plain)
    assert not torch.equal(net.decode(latent, "alice", torch.zeros(2, 5)).image, plain)
    swapped = net.decode(latent, "alice", code.flip(0)).image
    assert not torch.equal(net.decode(latent, "alice", code).image, swapped)
    assert not torch.equal(swapped, plain)


def test_what_is_told_can_be_blended_and_exaggerated() -> None:
    net = make(code_dim=5)
    wake(net)
    code = torch.randn(3, 5)
    torch.testing.assert_close(net.guide(code, 1.0), code)
    torch.testing.assert_close(net.guide(code, 0.0), net.null.expand(3, -1))
    torch.testing.assert_close(net.guide(code, 1.5), code + 0.5 * (code - net.null))
    mixed = net.guide(code, torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(mixed[1], net.null)
    torch.testing.assert_close(mixed[2], code[2])
    # Modulation is linear in the code.
    film = net.decoders[0].stages[0].code_film
    whole, half, none = (film(net.guide(code, share)).gamma for share in (1.0, 0.5, 0.0))
    torch.testing.assert_close(half, (whole + none) / 2)


@pytest.mark.parametrize("resolution", [64, 256])
def test_a_code_shifts_the_latent_for_all_identities_alike(resolution: int) -> None:
    net = make(resolution=resolution, latent=64, code_dim=5)
    assert net.shift is not None
    latent, code = net.encode(torch.rand(2, 3, resolution, resolution)), torch.randn(2, 5)
    assert net.shift(code).shape == latent.shape
    wake(net)
    with torch.no_grad():
        for name, each in net.named_parameters():
            if ".code_film." in name:
                each.zero_()
    for identity in net.identities:
        moved = net.decode(latent + net.shift(code), identity, torch.zeros(2, 5)).image
        torch.testing.assert_close(net.decode(latent, identity, code).image, moved)
    without = make(resolution=resolution, latent=64, code_dim=5, code_shift=False)
    assert without.shift is None
    assert not any(name.startswith("shift.") for name, _ in without.named_parameters())


@pytest.mark.parametrize("shared", [0, 2])
@pytest.mark.parametrize("resolution", [64, 256])
def test_what_an_expression_loss_may_train(resolution: int, shared: int) -> None:
    net = make(resolution=resolution, latent=64, code_dim=3, shared_stages=shared)
    names = {name for name, _ in net.named_parameters()}
    conditioned = {name for name in names if ".code_film." in name or name == "shift.linear.weight"}
    assert net.trained_by_expression(fine=False) == conditioned
    coarse = net.trained_by_expression(fine=True)
    assert coarse > conditioned
    assert {name for name in names if name.startswith("encoder.")} < coarse
    rest = names - coarse
    # At 64 px colours, masks and what tunes the trunk are left alone; at 256 also the last stage.
    kinds = {name.split(".")[2] for name in rest if name.startswith("decoders")}
    assert kinds == {"colour", "mask"} | ({"stages"} if resolution == 256 else set()) | (
        {"films"} if shared else set()
    )
    assert make(latent=64).trained_by_expression(fine=False) == set()


@pytest.mark.parametrize("resolution", [64, 128])
def test_a_local_neck_keeps_places_apart(resolution: int) -> None:
    net = make(resolution=resolution, latent=64, neck="local")
    x = torch.rand(1, 3, resolution, resolution)
    other = x.clone()
    other[:, :, : resolution // 16, : resolution // 16] = 0
    with torch.no_grad():
        difference = (net.encode(x) - net.encode(other)).abs().amax(dim=1)[0]
    # But for the common size a corner is not heard of in the opposite one.
    assert difference[0, 0] > 20 * difference[-1, -1]
    assert build_model(net.config).config == net.config


def test_a_local_neck_needs_cells_evenly_filled() -> None:
    with pytest.raises(ValueError, match=r"latent .*16 .*neck=local"):
        make(latent=40, neck="local")
    with pytest.raises(ValueError, match=r"neck .*dense, local.*'round'"):
        make(neck="round")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_is_close_and_finite(dtype: torch.dtype) -> None:
    net = make(code_dim=2, shared_stages=1)
    wake(net)
    x, code = torch.rand(2, 3, 64, 64), torch.randn(2, 2)
    exact = net(x, "alice", code)
    with torch.autocast("cpu", dtype=dtype):
        output = net(x, "alice", code)
        loss = (output.image - 0.5).square().mean() + output.mask.mean()
    loss.backward()
    assert output.image.dtype == output.mask.dtype == torch.float32
    torch.testing.assert_close(output.image, exact.image, rtol=0, atol=0.05)
    torch.testing.assert_close(output.mask, exact.mask, rtol=0, atol=0.05)
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_float64_and_channels_last_agree_with_float32() -> None:
    net = make(shared_stages=1)
    wake(net)
    x = torch.rand(2, 3, 64, 64)
    expected = net(x, "alice").image
    last = net.to(memory_format=torch.channels_last)(
        x.to(memory_format=torch.channels_last), "alice"
    )
    assert last.image.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(last.image, expected, rtol=0, atol=1e-4)
    exact = net.double()(x.double(), "alice").image
    assert exact.dtype == torch.float64
    torch.testing.assert_close(exact.float(), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 100}, "resolution must be a multiple of 32, got 100"),
        ({"resolution": 32}, "resolution must be a whole number from 64 to 512, got 32"),
        ({"resolution": 128.0}, "resolution must be a whole number .* got 128.0"),
        ({"width": True}, "width must be a whole number from 4 to 256, got True"),
        ({"width": 1 << 40}, "width must be .* got 1099511627776"),
        ({"latent": 0}, "latent must be"),
        ({"shared_stages": 4}, "shared_stages must be a whole number from 0 to 3, got 4"),
        ({"code_dim": -1}, "code_dim must be"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["alice"], "2 to 64 names, got 1"),
        (["alice", "alice"], "must all differ"),
        (["alice", "bob\n"], "printable names"),
        (["alice", ""], "printable names"),
        (["alice", 3], "printable names"),
        ("ab", "a list of names, got 'ab'"),
        ([str(i) for i in range(65)], "got 65"),
    ],
)
def test_bad_identities(names: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DfAutoencoder(names, resolution=64, width=8, latent=32)


def test_bad_inputs() -> None:
    net = make(code_dim=2)
    with pytest.raises(ValueError, match=r"x must be \(N, 3, 64, 64\), got \(1, 3, 32, 32\)"):
        net.encode(torch.rand(1, 3, 32, 32))
    latent = net.encode(torch.rand(2, 3, 64, 64))
    with pytest.raises(ValueError, match=r"identity .*\['alice', 'bob.b-1'\]"):
        net.decode(latent, "carol")
    with pytest.raises(ValueError, match=r"code must be \(2, 2\), got \(2, 3\)"):
        net.decode(latent, "alice", torch.zeros(2, 3))


def test_config_makes_the_same_network() -> None:
    net = make(shared_stages=1, code_dim=3)
    again = build_model(net.config)
    assert type(again) is DfAutoencoder
    assert again.config == net.config
    assert again.identities == NAMES
    again.load_state_dict(net.state_dict())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "os.system"}, r"unknown architecture 'os.system'; this version has df, origin"),
        ({}, "unknown architecture None"),
        ({"name": ["df"]}, "unknown architecture"),
        ({"name": "x" * 5000}, "unknown architecture 'xxx"),
        ([], "architecture must be a mapping, got list"),
        ({"name": "df", "_target_": "os.system"}, "'df' has no option '_target_'"),
        ({"name": "df"}, "'df' lacks its identities"),
        ({"name": "df", "identities": 5}, "'df': identities must be a list"),
        ({"name": "df", "identities": ["a", "b"], "width": "64"}, "'df': width must be"),
        ({"name": "df", "identities": ["a", "b"], "width": 1e30}, "'df': width must be"),
        ({"name": "original", "identities": ["a", "b"], "resolution": 128}, "must be 64"),
        (
            {"name": "df", "identities": [*map(str, range(64))], "width": 256, "resolution": 512},
            "billion parameters; at most 2",
        ),
    ],
)
def test_hostile_configs_are_refused_in_one_short_line(config: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        build_model(config)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_base_class_cannot_be_built() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Autoencoder(NAMES, 64, 0)  # type: ignore[abstract]
