"""Model files: round trip, refusal of whatever is damaged or hostile, and survival of accidents."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from swapper.errors import ModelError
from swapper.files import sha256_of
from swapper.models import model_file
from swapper.models.autoencoder import DfAutoencoder
from swapper.models.model_file import ModelIdentity, ModelMetadata, load_model, save_model
from tests.refusals import refusal_of

NAMES = ("alice", "bob.b-1")


@pytest.fixture(scope="module")
def net() -> DfAutoencoder:
    torch.manual_seed(0)
    return DfAutoencoder(NAMES, resolution=64, width=4, latent=8, shared_stages=1, code_dim=2)


@pytest.fixture(scope="module")
def card(net: DfAutoencoder) -> ModelMetadata:
    return ModelMetadata(
        architecture=net.config,
        identities=[ModelIdentity(name, f"{name} agreed, 2026 ✓", "f" * 64) for name in NAMES],
        coverage="face",
        step=7,
        software="swapper/0.1.0",
        aligned_size=128,
        lineage=["emotieff:abc"],
    )


@pytest.fixture(scope="module")
def pristine(
    tmp_path_factory: pytest.TempPathFactory, net: DfAutoencoder, card: ModelMetadata
) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(folder, card, net.state_dict())
    return folder


@pytest.fixture
def saved(tmp_path: Path, pristine: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "run"))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Edit model.json as a hostile author would."""
    path = folder / "model.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps(change(data) or data))


def trust(folder: Path) -> None:
    """Make the card vouch for whatever the weights file holds now."""
    digest = sha256_of(folder / "model.safetensors")
    rewrite(folder, lambda data: data.update(weights_sha256=digest))


def refusal(path: Path) -> str:
    message = refusal_of(ModelError, load_model, path)
    assert str(path) in message
    return message


def test_round_trip_is_bit_equal(saved: Path, net: DfAutoencoder, card: ModelMetadata) -> None:
    loaded = load_model(saved)
    for name, value in net.state_dict().items():
        assert torch.equal(loaded.net.state_dict()[name], value), name
    x, code = torch.rand(2, 3, 64, 64), torch.randn(2, 2)
    assert torch.equal(loaded.net(x, "bob.b-1", code).image, net(x, "bob.b-1", code).image)
    assert loaded.card == replace(
        card,
        identities=tuple(card.identities),
        lineage=tuple(card.lineage),
        weights_sha256=loaded.sha256,
    )
    assert loaded.net.config == net.config
    assert not loaded.net.training
    assert not any(each.requires_grad for each in loaded.net.parameters())
    assert len(loaded.sha256) == 64
    assert sorted(each.name for each in saved.iterdir()) == ["model.json", "model.safetensors"]


def test_weights_under_earlier_names_load(saved: Path, net: DfAutoencoder) -> None:
    path = saved / "model.safetensors"
    tensors = load_file(path)
    earlier = {name.replace(".code_film.", ".listen."): each for name, each in tensors.items()}
    assert earlier.keys() != tensors.keys()
    save_file(earlier, path)
    trust(saved)
    loaded = load_model(saved).net.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in net.state_dict().items())


def test_any_of_its_paths_will_do(saved: Path) -> None:
    for path in (saved, saved / "model.safetensors", saved / "model.json"):
        assert load_model(path).path == saved / "model.safetensors"
    (saved / "model.safetensors").rename(saved / "final.safetensors")
    (saved / "model.json").rename(saved / "final.json")
    assert load_model(saved / "final.safetensors").identity("alice").rights.startswith("alice")


def test_unknown_identity_lists_the_known_ones(saved: Path) -> None:
    loaded = load_model(saved)
    assert loaded.identity("alice").faceset == "f" * 64
    with pytest.raises(ModelError, match=r"'carol'.*alice, bob\.b-1"):
        loaded.identity("carol")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_the_size_on_request(
    tmp_path: Path, net: DfAutoencoder, card: ModelMetadata, dtype: torch.dtype
) -> None:
    save_model(tmp_path / "full", card, net.state_dict())
    save_model(tmp_path / "half", card, net.state_dict(), dtype=dtype)
    sizes = [(tmp_path / each / "model.safetensors").stat().st_size for each in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    for name, value in load_model(tmp_path / "half").net.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, net.state_dict()[name].to(dtype).float())


def test_saving_again_replaces_both(saved: Path, net: DfAutoencoder, card: ModelMetadata) -> None:
    first = load_model(saved)
    state = {name: value + 1 for name, value in net.state_dict().items()}
    save_model(saved, replace(card, step=8), state)
    second = load_model(saved)
    assert second.card.step == 8
    assert second.sha256 != first.sha256
    # The model loaded before does not change under its user's feet.
    assert torch.equal(first.net.state_dict()["encoder.squeeze.bias"], torch.zeros(8))


@pytest.mark.parametrize("broken", ["weights", "card", "replace"])
def test_full_disk_leaves_the_earlier_model(
    saved: Path,
    net: DfAutoencoder,
    card: ModelMetadata,
    broken: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = load_model(saved).sha256

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    if broken == "weights":
        monkeypatch.setattr(model_file, "save_file", full)
    elif broken == "card":
        monkeypatch.setattr(model_file, "sha256_of", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    state = {name: value + 1 for name, value in net.state_dict().items()}
    with pytest.raises(ModelError, match=r"No space left"):
        save_model(saved, card, state)
    monkeypatch.undo()
    assert load_model(saved).sha256 == before
    assert len(list(saved.iterdir())) == 2


def test_weights_that_are_not_finite_are_not_saved(
    saved: Path, net: DfAutoencoder, card: ModelMetadata
) -> None:
    before = load_model(saved).sha256
    for value, dtype in ((float("nan"), torch.float32), (1e6, torch.float16)):
        state = {name: each.clone() for name, each in net.state_dict().items()}
        state["encoder.squeeze.bias"][0] = value
        with pytest.raises(ModelError, match=r"encoder\.squeeze\.bias "):
            save_model(saved, card, state, dtype=dtype)
    assert load_model(saved).sha256 == before


def test_a_state_of_another_network_is_our_mistake(
    tmp_path: Path, net: DfAutoencoder, card: ModelMetadata
) -> None:
    state = {f"_orig_mod.{name}": value for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="state does not fit"):
        save_model(tmp_path, card, state)
    with pytest.raises(ValueError, match="dtype must be"):
        save_model(tmp_path, card, net.state_dict(), dtype=torch.int8)
    people = replace(card, identities=card.identities[::-1])
    with pytest.raises(ValueError, match="different people"):
        save_model(tmp_path, people, net.state_dict())
    rights = replace(
        card, identities=[replace(each, rights="x" * 20_000) for each in people.identities[::-1]]
    )
    with pytest.raises(ModelError, match="not written, identities must be"):
        save_model(tmp_path, rights, net.state_dict())
    assert not list(tmp_path.iterdir())


def test_missing_files(saved: Path, tmp_path: Path) -> None:
    assert "model.safetensors: missing" in refusal(tmp_path)
    assert "neither a folder" in refusal(tmp_path / "model.pth")
    (saved / "model.json").unlink()
    with pytest.raises(ModelError, match=r"model\.json: missing"):
        load_model(saved / "model.safetensors")


def test_a_pipe_does_not_hang(saved: Path) -> None:
    (saved / "model.json").unlink()
    os.mkfifo(saved / "model.json")
    assert "model.json: missing" in refusal(saved)


def test_swapped_weights_are_noticed(saved: Path) -> None:
    path = saved / "model.safetensors"
    tensors = load_file(path)
    tensors["encoder.squeeze.bias"] += 1
    save_file(tensors, path)
    assert "sha256 differs" in refusal(saved)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"step": ' + b"9" * 100_000 + b"}", "is not JSON"),
        (b" " * (2 << 20), "more than 1048576"),
        (b"[]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b"{}", "has schema None, this version reads 1"),
        (b'{"schema": 2}', "has schema 2, this version reads 1; update swapper"),
        (b'{"schema": true}', "has schema True"),
        (b'{"schema": 1}', "lacks"),
    ],
)
def test_foreign_cards(saved: Path, content: bytes, message: str) -> None:
    (saved / "model.json").write_bytes(content)
    assert message in refusal(saved)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("architecture", [], "architecture must be a mapping"),
        ("architecture", {"name": "subprocess.Popen"}, "unknown architecture 'subprocess.Popen'"),
        ("architecture", {"_target_": "os.system"}, "unknown architecture None"),
        ("identities", {}, "identities must be a list"),
        ("identities", [], "different people"),
        ("identities", [{"name": "alice"}], "identities must be a list"),
        ("identities", [{"name": "alice", "rights": 1, "faceset": ""}], "identities must be"),
        ("coverage", "elbow", "coverage must be one of"),
        ("coverage", [], "coverage must be one of"),
        ("step", -1, "step must be a count"),
        ("step", 1.5, "step must be a count"),
        ("step", True, "step must be a count"),
        ("software", "\ud800", "software must be a text"),
        ("software", "x" * 20_000, "software must be a text"),
        ("lineage", ["x"] * 2000, "lineage must be a list"),
        ("affect_space", [], "affect_space must be null or a mapping"),
        ("weights_sha256", "../../etc/passwd", "weights_sha256 must be 64"),
        ("weights_sha256", None, "weights_sha256 must be 64"),
        ("extra", 1, "has the unknown key 'extra'"),
    ],
)
def test_hostile_cards(saved: Path, key: str, value: Any, message: str) -> None:
    rewrite(saved, lambda data: data.update({key: value}))
    assert message in refusal(saved)


def test_an_absurd_architecture_allocates_nothing(saved: Path) -> None:
    people = [{"name": str(i), "rights": "", "faceset": ""} for i in range(64)]
    giant = {
        "name": "df",
        "identities": [str(i) for i in range(64)],
        "resolution": 512,
        "width": 256,
        "latent": 8192,
    }
    rewrite(saved, lambda data: data.update(identities=people, architecture=giant))
    assert "billion parameters" in refusal(saved)


def test_a_card_of_another_architecture(saved: Path) -> None:
    rewrite(saved, lambda data: data["architecture"].update(width=8))
    assert "of another architecture" in refusal(saved)
    rewrite(saved, lambda data: data["architecture"].update(width=4, shared_stages=0))
    assert "of another architecture" in refusal(saved)


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "giant header", "dtype", "nan"])
def test_damaged_weights(saved: Path, kind: str) -> None:
    path = saved / "model.safetensors"
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "text":
        path.write_bytes(b"not tensors at all")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "giant header":
        path.write_bytes(struct.pack("<Q", 1 << 60) + content[8:])
    else:
        tensors = load_file(path)
        bias = tensors["encoder.squeeze.bias"]
        tensors["encoder.squeeze.bias"] = bias.int() if kind == "dtype" else bias * float("nan")
        save_file(tensors, path)
    trust(saved)
    message = refusal(saved)
    assert {"dtype": "another architecture", "nan": "not finite"}.get(kind, "restore it") in message


def test_a_file_larger_than_its_architecture_is_not_even_read(saved: Path) -> None:
    with (saved / "model.safetensors").open("r+b") as file:
        file.truncate(1 << 40)  # sparse
    assert "is larger than its architecture" in refusal(saved)


@pytest.mark.parametrize("seed", range(24))
def test_no_flipped_byte_gets_through_or_crashes(saved: Path, seed: int) -> None:
    """Whatever is damaged ends in a ModelError, or in a card that is still a legal one."""
    draw = torch.Generator().manual_seed(seed)
    path = saved / ("model.json" if seed % 2 else "model.safetensors")
    content = bytearray(path.read_bytes())
    place = int(torch.randint(len(content), (1,), generator=draw))
    content[place] ^= 1 << int(torch.randint(8, (1,), generator=draw))
    path.write_bytes(content)
    if path.suffix == ".safetensors":
        refusal(saved)
        return
    message = ""
    try:
        load_model(saved)
    except ModelError as error:
        message = str(error)
    assert "\n" not in message
