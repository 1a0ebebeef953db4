"""ONNX files compute what torch does, say whose face they draw, and nothing of who made them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from swapper.errors import ModelError, UsageError
from swapper.models import onnx_export
from swapper.models.autoencoder import build_model
from swapper.models.model_file import (
    LoadedModel,
    ModelIdentity,
    ModelMetadata,
    load_model,
    save_model,
)

RIGHTS = "drawn by this test ✓"
NAMES = ["alice", "bob"]
KINDS: dict[str, dict[str, Any]] = {
    "tiny": {"resolution": 64, "width": 8, "latent": 32},
    "tiny, told": {"resolution": 64, "width": 8, "latent": 32, "code_dim": 4, "shared_stages": 1},
    "df": {"resolution": 128, "width": 4, "latent": 64, "neck": "local", "shared_stages": 2},
    "df, told": {"resolution": 96, "width": 4, "latent": 32, "code_dim": 3, "code_shift": False},
    "original": {},
}


def made(folder: Path, kind: str) -> LoadedModel:
    """A model whose every weight matters: as it starts, much of it is zero."""
    torch.manual_seed(0)
    name = "original" if kind == "original" else "df"
    net = build_model({"name": name, "identities": NAMES, **KINDS[kind]})
    with torch.no_grad():
        for each in net.parameters():
            each.add_(0.05 * each.abs().mean().clamp_min(0.1) * torch.randn_like(each))
    card = ModelMetadata(
        net.config, [ModelIdentity(each, RIGHTS) for each in NAMES], "face", 1, "swapper/0.1.0",
    )  # fmt: skip
    if net.code_dim:
        card = ModelMetadata(**{**vars(card), "affect_space": {"lineage": "none:0"}})
    space = {"basis": torch.zeros(2, 2)} if net.code_dim else None
    save_model(folder, card, net.state_dict(), affect_space=space)
    return load_model(folder)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedModel, Path]:
    folder = tmp_path_factory.mktemp("onnx")
    model = made(folder, "tiny, told")
    onnx_export.write_onnx(model, "bob", folder / "bob.onnx")
    return model, folder / "bob.onnx"


# The larger ones take up to ten seconds each.
@pytest.mark.parametrize(
    "kind",
    [each if "tiny" in each else pytest.param(each, marks=pytest.mark.slow) for each in KINDS],
)
def test_it_computes_what_torch_does(kind: str, tmp_path: Path) -> None:
    model = made(tmp_path, kind)
    path = tmp_path / "bob.onnx"
    onnx_export.write_onnx(model, "bob", path)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    net = model.net
    for count in (1, 3):
        face = torch.rand(count, 3, net.resolution, net.resolution)
        feed, code = {"face": face.numpy()}, None
        if net.code_dim:
            code, strength = torch.randn(count, net.code_dim), 1.5 * torch.rand(count)
            feed |= {"code": code.numpy(), "guidance_scale": strength.numpy()}
            code = net.guide(code, strength)
        wanted = net(face, "bob", code)
        assert wanted.image.std() > 0.01
        image, mask = session.run(None, feed)
        np.testing.assert_allclose(image, wanted.image, atol=1e-4, rtol=0)
        np.testing.assert_allclose(mask, wanted.mask, atol=1e-4, rtol=0)
    apart = onnx_export.torch_difference(model, "bob", path)
    assert apart is not None
    assert apart <= onnx_export.TOLERANCE


def test_names_and_shapes_are_those_that_are_told(told: tuple[LoadedModel, Path]) -> None:
    model, path = told
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = {each.name: tuple(each.shape) for each in session.get_inputs()}
    outputs = {each.name: tuple(each.shape) for each in session.get_outputs()}
    assert inputs == onnx_export.inputs_of(model.net)
    assert outputs == onnx_export.outputs_of(model.net)


def test_strength_nought_is_told_nothing(told: tuple[LoadedModel, Path]) -> None:
    model, path = told
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    face, code = torch.rand(1, 3, 64, 64), np.ones((1, 4), np.float32)
    nothing, something = (
        session.run(["image"], {"face": face.numpy(), "code": code, "guidance_scale": strength})[0]
        for strength in (np.zeros(1, np.float32), np.ones(1, np.float32))
    )
    np.testing.assert_allclose(nothing, model.net(face, "bob").image, atol=1e-4, rtol=0)
    assert np.abs(nothing - something).max() > 1e-3


def test_it_says_whose_face_it_is_in_plain_operators(told: tuple[LoadedModel, Path]) -> None:
    model, path = told
    file = onnx.load(path)
    onnx.checker.check_model(file)
    said = {each.key: each.value for each in file.metadata_props}
    assert said["identity"] == "bob"
    assert said["rights"] == RIGHTS
    assert said["model_sha256"] == model.sha256
    assert {node.domain for node in file.graph.node} == {""}
    assert not file.functions


def test_it_tells_nothing_of_the_machine(told: tuple[LoadedModel, Path]) -> None:
    content = told[1].read_bytes()
    for trace in (b".py", b"line ", b"torch", str(Path.cwd()).encode()):
        assert trace not in content, trace


def test_a_wrong_file_is_noticed(told: tuple[LoadedModel, Path], tmp_path: Path) -> None:
    model, path = told
    apart = onnx_export.torch_difference(model, "alice", path)
    assert apart is not None
    assert apart > onnx_export.TOLERANCE
    (tmp_path / "no.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"no\.onnx: "):
        onnx_export.torch_difference(model, "bob", tmp_path / "no.onnx")


def test_numbers_that_are_none_are_no_match(
    told: tuple[LoadedModel, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Session:
        def __init__(self, *_: object, **__: object) -> None:
            self.calls = 0

        def run(self, _: object, feed: dict[str, Any]) -> list[Any]:
            self.calls += 1
            image = feed["face"] * (np.nan if self.calls == 1 else 1)
            return [image, image[:, :1]]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    apart = onnx_export.torch_difference(*told[:1], "bob", told[1])
    assert not apart <= onnx_export.TOLERANCE  # type: ignore[operator]


def test_large_weights_lie_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "EXTERNAL_DATA_BYTES", 1000)
    model = made(tmp_path, "tiny")
    onnx_export.write_onnx(model, "bob", tmp_path / "bob.onnx", 18)
    assert (tmp_path / "bob.onnx.data").stat().st_size > (tmp_path / "bob.onnx").stat().st_size
    assert onnx_export.torch_difference(model, "bob", tmp_path / "bob.onnx") <= 1e-4  # type: ignore[operator]


def test_what_is_missing_or_out_of_range_is_named(
    told: tuple[LoadedModel, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"opset .*18 .*23.*17"):
        onnx_export.write_onnx(told[0], "bob", tmp_path / "a.onnx", 17)
    with pytest.raises(ModelError, match="no identity 'carol'"):
        onnx_export.write_onnx(told[0], "carol", tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=r"a\.onnx: cannot be written"):
        onnx_export.write_onnx(told[0], "bob", tmp_path / "nowhere" / "a.onnx")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name.startswith("onnx") else find(name, *more),
    )
    with pytest.raises(UsageError, match=r"onnxscript.*swapper\[onnx\]"):
        onnx_export.check_installed()
    assert onnx_export.torch_difference(told[0], "bob", told[1]) is None
