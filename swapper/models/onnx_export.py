"""Export one identity's network as ONNX, for programs without torch.

The file holds encoder and decoder of one identity in float32, in plain ONNX operators. Its metadata
has the model's hash, the identity and its rights.
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
"""Range that torch's exporter supports."""
TOLERANCE: Final = 1e-4
"""Largest difference from torch's output, which is in [0, 1]."""
EXTERNAL_DATA_BYTES: Final = 1 << 30
"""Larger weights are stored in a separate file: protobuf is limited to 2 GiB."""
INSTALL: Final = "pip install 'swapper[onnx]'"
_BATCHES: Final = (1, 3)


class _Swap(nn.Module):
    """The exported function: from a performer's face to an identity's."""

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
    """Check that the libraries that write ONNX are installed.

    Raises:
        UsageError: One is missing.
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
        path: The file, in an existing folder. Weights of more than 1 GiB are stored next to it,
            under the same name with ``.data`` appended.
        opset: Version of ONNX's operators, in `OPSETS`.

    Raises:
        ModelError: Unknown identity, or the file cannot be written.
        UsageError: A library is missing.
        ValueError: `opset` is out of range.
    """
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ValueError(f"opset must be between {OPSETS[0]} and {OPSETS[1]}, got {opset}")
    rights = model.identity(identity).rights
    check_installed()
    program = _program(model, identity, opset)
    _strip_source_metadata(program.model)
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
        program.save(str(path), external_data=size > EXTERNAL_DATA_BYTES)
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be written ({error.strerror or error}); free space or check "
            "permissions"
        ) from error


def _program(model: LoadedModel, identity: str, opset: int) -> Any:
    """Run torch's exporter."""
    swap = _Swap(model.net, identity).eval()
    names = list(inputs_of(model.net))
    batch = torch.export.Dim("batch")
    for name in ("onnxscript", "onnx_ir"):  # they log every node
        logging.getLogger(name).setLevel(logging.WARNING)
    # Its warnings concern torch's internals. Kernels cannot be exported as plain operators.
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


def _strip_source_metadata(model: Any) -> None:
    """Remove the exporter's metadata, which holds source lines and paths of this machine."""
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
    """Return the exported file's largest difference from torch, on random batches of 1 and 3.

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
            for output, reference in zip(session.run(None, feed), expected, strict=True):
                difference = float(np.abs(output - reference.cpu().numpy()).max())
                worst = difference if not difference <= worst else worst  # nan stays
    except Exception as error:  # its errors have no common base class
        raise ModelError(
            f"{path}: ONNX Runtime cannot run it ({' '.join(str(error).split())[:200]}); pass "
            "another opset= or onnx=false"
        ) from error
    return worst


def _sample(model: LoadedModel, count: int) -> dict[str, Tensor]:
    """Return random but reproducible inputs; guidance scales from 0 to 1.5."""
    net = model.net
    draw = torch.Generator().manual_seed(count)
    inputs = {"face": torch.rand(count, 3, net.resolution, net.resolution, generator=draw)}
    if net.code_dim:
        inputs["code"] = torch.randn(count, net.code_dim, generator=draw)
        inputs["guidance_scale"] = 1.5 * torch.rand(count, generator=draw)
    device = next(net.parameters()).device
    return {name: each.to(device) for name, each in inputs.items()}


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None
