"""One identity's network as an ONNX file, for programs that have no torch.

The file holds encoder and decoder of one identity in float32, in plain ONNX operators. What it is,
whose face it draws and by what right stand in its metadata.
"""

from __future__ import annotations

import importlib.util
import logging
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from swapper.errors import ModelError, UsageError
from swapper.kernels.dispatch import using
from swapper.models.autoencoder import Autoencoder
from swapper.models.model_file import LoadedModel

OPSETS: Final = (18, 23)
"""Least and most that torch's exporter writes."""
TOLERANCE: Final = 1e-4
"""By how much a value in [0, 1] may differ from torch's."""
APART_BYTES: Final = 1 << 30
"""Weights of more lie in a file of their own: protobuf ends at 2 GiB."""
INSTALL: Final = "pip install 'swapper[onnx]'"
_BATCHES: Final = (1, 3)


class _Swap(nn.Module):
    """What the file computes: a performer's face to an identity's."""

    def __init__(self, net: Autoencoder, identity: str) -> None:
        super().__init__()
        self.net = net
        self.identity = identity

    def forward(
        self, face: Tensor, code: Tensor | None = None, guidance_scale: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if code is not None and guidance_scale is not None:
            code = self.net.guide(code, guidance_scale)
        output = self.net(face, self.identity, code)
        return output.image, output.mask


def inputs_of(net: Autoencoder) -> dict[str, tuple[str | int, ...]]:
    """Names and shapes of the file's inputs; all are float32."""
    side = net.resolution
    inputs: dict[str, tuple[str | int, ...]] = {"face": ("batch", 3, side, side)}
    if net.code_dim:
        inputs |= {"code": ("batch", net.code_dim), "guidance_scale": ("batch",)}
    return inputs


def outputs_of(net: Autoencoder) -> dict[str, tuple[str | int, ...]]:
    """Names and shapes of the file's outputs; all are float32."""
    side = net.resolution
    return {"image": ("batch", 3, side, side), "mask": ("batch", 1, side, side)}


def check_installed() -> None:
    """Refuse early where the libraries that write ONNX are missing.

    Raises:
        UsageError: One is.
    """
    missing = [each for each in ("onnx", "onnxscript") if not _installed(each)]
    if missing:
        raise UsageError(f"onnx=true: needs {' and '.join(missing)}; {INSTALL}")


def write_onnx(model: LoadedModel, identity: str, path: Path, opset: int = 20) -> None:
    """Write the network of one identity.

    ::

        image, mask = identity's decoder(encoder(face), null + guidance_scale * (code - null))

    Inputs and outputs are those of `inputs_of` and `outputs_of`; the first axis is free.

    Args:
        model: Loaded.
        identity: One of the model's.
        path: The file, in a folder that is there. Weights of more than 1 GiB lie beside it, in
            the same name with ``.data`` added.
        opset: Version of ONNX's operators, in `OPSETS`.

    Raises:
        ModelError: The model does not know the identity, or the file cannot be written.
        UsageError: A library is missing.
        ValueError: `opset` is out of range.
    """
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ValueError(f"opset must be between {OPSETS[0]} and {OPSETS[1]}, got {opset}")
    rights = model.identity(identity).rights
    check_installed()
    program = _program(model, identity, opset)
    _forget_where_it_was_made(program.model)
    program.model.producer_name = "swapper"
    program.model.producer_version = model.card.software.removeprefix("swapper/")
    program.model.metadata_props.update(
        {
            "identity": identity,
            "rights": rights,
            "model_sha256": model.sha256,
            "coverage": model.card.coverage,
            "software": model.card.software,
            "colours": "RGB in [0, 1], channels first",
        }
    )
    size = sum(each.numel() * each.element_size() for each in model.net.parameters())
    try:
        program.save(str(path), external_data=size > APART_BYTES)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be written ({error.strerror or error}); free space or check "
            "permissions"
        ) from error


def _program(model: LoadedModel, identity: str, opset: int) -> Any:
    """The network as torch's exporter gives it."""
    swap = _Swap(model.net, identity).eval()
    names = list(inputs_of(model.net))
    batch = torch.export.Dim("batch")
    for name in ("onnxscript", "onnx_ir"):  # they tell of every node
        logging.getLogger(name).setLevel(logging.WARNING)
    # Its warnings speak of torch's own inner workings. A kernel would not be plain operators.
    with warnings.catch_warnings(), using("reference"), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            swap,
            tuple(_sample(model, 2).values()),
            dynamo=True,
            verbose=False,
            opset_version=opset,
            input_names=names,
            output_names=list(outputs_of(model.net)),
            dynamic_shapes={name: {0: batch} for name in names},
        )


def _forget_where_it_was_made(model: Any) -> None:
    """Drop the exporter's notes, which hold lines and paths of this machine's source."""
    graphs = [model.graph, *(each.graph for each in model.functions.values())]
    for graph in graphs:
        graph.metadata_props.clear()
        values = [*graph.inputs, *graph.outputs, *graph.initializers.values()]
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            values += node.outputs
        for value in values:
            value.metadata_props.clear()
    model.metadata_props.clear()


def torch_difference(model: LoadedModel, identity: str, path: Path) -> float | None:
    """How far the file is from torch, at most, on random faces in batches of 1 and 3.

    Args:
        model: That was written.
        identity: Whose file it is.
        path: The file.

    Returns:
        In units of the outputs, which lie in [0, 1]; None where onnxruntime is not installed.

    Raises:
        ModelError: ONNX Runtime cannot run the file.
    """
    if not _installed("onnxruntime"):
        return None
    import onnxruntime

    swap = _Swap(model.net, identity).eval()
    worst = 0.0
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for count in _BATCHES:
            sample = _sample(model, count)
            with using("reference"), torch.no_grad():
                expected = swap(*sample.values())
            feed = {name: each.cpu().numpy() for name, each in sample.items()}
            for found, wanted in zip(session.run(None, feed), expected, strict=True):
                apart = float(np.abs(found - wanted.cpu().numpy()).max())
                worst = apart if not apart <= worst else worst  # nan stays
    except Exception as error:  # its own errors have no base of theirs
        raise ModelError(
            f"{path}: ONNX Runtime cannot run it ({' '.join(str(error).split())[:200]}); pass "
            "another opset= or onnx=false"
        ) from error
    return worst


def _sample(model: LoadedModel, count: int) -> dict[str, Tensor]:
    """Inputs at random, always the same; guidance scales from 0 to 1.5."""
    net = model.net
    draw = torch.Generator().manual_seed(count)
    found = {"face": torch.rand(count, 3, net.resolution, net.resolution, generator=draw)}
    if net.code_dim:
        found["code"] = torch.randn(count, net.code_dim, generator=draw)
        found["guidance_scale"] = 1.5 * torch.rand(count, generator=draw)
    device = next(net.parameters()).device
    return {name: each.to(device) for name, each in found.items()}


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
