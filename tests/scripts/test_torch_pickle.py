"""Tensors are harvested to the bit; nothing that a file asks for is ever run."""

from __future__ import annotations

import io
import os
import pickle
import time
import zipfile
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch_pickle import harvest

from swapper.errors import EstimatorError
from tests.refusals import Hostile, refusal_of


class Odd(nn.Module):
    """Holds all that modules are pickled with: wrapped functions, sets, slices, shared storage."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU(inplace=True))
        self.nothing = None
        self.make = partial(nn.Linear, 3, bias=False)
        self.config = {"size": (3, 224, 224), "mean": [0.5, 0.25], "kept": {1, 2}, "on": True}
        self.register_buffer("empty", torch.zeros(0, 3))
        whole = torch.arange(12.0).reshape(3, 4)
        self.register_buffer("turned", whole.T)
        self.register_buffer("part", whole[1:, 2])
        self.register_buffer("short", torch.rand(2).half())
        self.register_buffer("missing", None)
        self.head = nn.ModuleDict({"a": nn.Linear(2, 2, bias=False)})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_tensor_to_the_bit(tmp_path: Path, protocol: int) -> None:
    torch.manual_seed(0)
    net = Odd()
    torch.save(net, tmp_path / "net.pt", pickle_protocol=protocol)
    found, wanted = harvest(tmp_path / "net.pt"), net.state_dict()
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name
        assert found[name].dtype == value.dtype
        assert found[name].is_contiguous()


def refusal(path: Path) -> str:
    message = refusal_of(EstimatorError, harvest, path)
    assert message.startswith(f"{path}: no module that torch saved (")
    return message


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_is_hostile_does_not_run(tmp_path: Path, protocol: int) -> None:
    proof, path = tmp_path / "proof", tmp_path / "net.pt"
    torch.save(Hostile(proof), path, pickle_protocol=protocol)
    refusal(path)
    net = nn.Linear(2, 2)
    net.extra = Hostile(proof)
    torch.save(net, path, pickle_protocol=protocol)
    assert set(harvest(path)) == {"weight", "bias"}
    assert not proof.exists()
    # The file is a real trap: torch itself would have fallen into it.
    torch.load(path, weights_only=False)
    assert proof.is_dir()


def program(path: Path, code: bytes) -> Path:
    """A file of torch's layout whose pickle is `code`."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", code)
        archive.writestr("net/data/0", bytes(64))
    return path


def test_no_instruction_takes_a_stub_for_more_than_a_stub(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    calls = (
        # getattr(os, "mkdir")(proof), by way of the stack
        b"\x80\x04\x8c\x08builtins\x8c\x07getattr\x93\x8c\x02os\x8c\x05mkdir\x93"
        + b"\x8c\x05mkdir\x86R"
        + b"\x8c" + bytes([len(str(proof))]) + str(proof).encode() + b"\x85R."
    )  # fmt: skip
    refusal(program(tmp_path / "calls.pt", calls))
    assert not proof.exists()
    for code in (b"ios\nmkdir\n.", b"(cos\nmkdir\no.", b"\x82\x01.", b"Vtext\n."):
        assert "asks for" in refusal(program(tmp_path / "odd.pt", b"(" + code))


@pytest.mark.parametrize(
    "code",
    [
        b"",
        b".",
        b"0.",
        b"N",
        b"R.",
        b"\x85.",
        b"t.",
        b"NNb.",
        b"}]Ns.",
        b"NNNs.",
        b"h\x05.",
        b"\x8c\x01a]\x93.",
        b"X\xff\xff\xff\x7fa.",
        b"N" * 10 + b".",
    ],
)
def test_nonsense_is_refused(tmp_path: Path, code: bytes) -> None:
    refusal(program(tmp_path / "net.pt", code))


def module(state: bytes) -> bytes:
    return b"\x80\x02ctorch\nModule\n)\x81" + state + b"b."


def test_what_doubles_and_redoubles_ends_soon(tmp_path: Path) -> None:
    began = time.monotonic()
    # A key of tuples within tuples; then modules that each hold the one before twice.
    nested = b"N" + b"".join(b"q\x00h\x00\x86" for _ in range(60))
    refusal(program(tmp_path / "keys.pt", module(b"}" + nested + b"Ns")))
    inner = b"ctorch\nModule\n)\x81"
    for _ in range(60):
        inner = (
            inner + b"q\x010"
            b"ctorch\nModule\n)\x81}X\x08\x00\x00\x00_modules}X\x01\x00\x00\x00ah\x01s"
            b"X\x01\x00\x00\x00bh\x01sb"
        )  # fmt: skip
        inner = inner.replace(b"bh\x01sb", b"bh\x01ssb")
    assert "more than 4096" in refusal(program(tmp_path / "dag.pt", b"\x80\x02" + inner + b"."))
    assert time.monotonic() - began < 10


def saved(path: Path, **arguments: Any) -> Path:
    """A linear layer whose tensors' layout in the pickle is replaced."""
    net = nn.Linear(2, 2, bias=False)
    torch.save(net, path)
    with zipfile.ZipFile(path) as archive:
        entries = {each.filename: archive.read(each) for each in archive.infolist()}
    with zipfile.ZipFile(path, "w", arguments.pop("compression", zipfile.ZIP_STORED)) as archive:
        for name, content in entries.items():
            for old, new in arguments.get("replace", {}).items():
                content = content.replace(old, new)
            archive.writestr(name, content)
    return path


def test_a_tensor_stays_in_its_storage(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    layout = b"K\x00K\x02K\x02\x86"  # offset 0, size (2, 2)
    assert set(harvest(saved(path))) == {"weight"}
    for other in (b"K\x01K\x02K\x02\x86", b"K\x00K\x02K\x03\x86", b"K\x00K\xffK\xff\x86"):
        assert "beyond its storage" in refusal(saved(path, replace={layout: other}))
    negative = b"J\xff\xff\xff\xffK\x02K\x02\x86"
    assert "no shape" in refusal(saved(path, replace={layout: negative}))
    refusal(saved(path, replace={b"FloatStorage": b"QuantStorage"}))
    refusal(saved(path, replace={b"_rebuild_tensor_v2": b"_rebuild_tensor_v9"}))
    assert "compressed" in refusal(saved(path, compression=zipfile.ZIP_DEFLATED))


def test_files_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    refusal(path)
    path.write_bytes(b"not a zip")
    refusal(path)
    torch.save(nn.Linear(2, 2), path)
    os.truncate(path, path.stat().st_size // 2)
    refusal(path)
    torch.save(nn.Linear(2, 2), path, _use_new_zipfile_serialization=False)
    refusal(path)
    torch.save(OrderedDict(weight=torch.zeros(2)), path)
    assert "it is no module" in refusal(path)
    plain = io.BytesIO()
    pickle.dump(nn.Linear(2, 2), plain)
    path.write_bytes(plain.getvalue())
    refusal(path)
