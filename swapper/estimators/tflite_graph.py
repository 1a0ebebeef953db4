"""Run a TensorFlow Lite model in torch: any batch size, differentiable, on any device.

Only the operators that MediaPipe's face networks use are there. Tensors keep TFLite's layout
(N, H, W, C); convolutions see it as torch's channels-last, which moves no data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import tflite
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swapper.errors import EstimatorError
from swapper.estimators.preprocess import pad_same

Operation = Callable[..., Tensor]
_SAME: Final = 0  # `Padding` of the schema; VALID is 1
_RELU: Final = {0: nn.Identity(), 1: nn.ReLU()}  # fused activations of the schema


class TfliteGraph(nn.Module):
    """A TFLite model's first subgraph with its constants as buffers.

    Args:
        model: Bytes of a ``.tflite`` file; trusted, so check their hash first.

    Raises:
        EstimatorError: The model has an unknown operator.
    """

    def __init__(self, model: bytes) -> None:
        super().__init__()
        root = tflite.Model.GetRootAs(model, 0)
        graph = root.Subgraphs(0)
        self.input = int(graph.Inputs(0))
        self.output = int(graph.Outputs(0))
        self._steps: list[tuple[Operation, tuple[str | int, ...], int]] = []
        tensors = (_constant(root, graph.Tensors(each)) for each in range(graph.TensorsLength()))
        constants = {index: each for index, each in enumerate(tensors) if each is not None}
        used: set[int] = set()
        for index in range(graph.OperatorsLength()):
            operator = graph.Operators(index)
            name = tflite.opcode2name(root.OperatorCodes(operator.OpcodeIndex()).BuiltinCode())
            sources = [int(each) for each in operator.InputsAsNumpy()]
            result = int(operator.Outputs(0))
            if name == "DEQUANTIZE":
                constants[result] = constants[sources[0]].astype(np.float32)
                continue
            if name not in _BUILDERS:
                raise EstimatorError(f"affect=mediapipe: cannot run the operator {name}")
            operation, count = _BUILDERS[name](operator, [constants.get(each) for each in sources])
            used |= {each for each in sources[:count] if each in constants}
            arguments = tuple(
                f"constant_{each}" if each in constants else each for each in sources[:count]
            )
            self._steps.append((operation, arguments, result))
        for each in sorted(used):
            weight = torch.from_numpy(constants[each].astype(np.float32))
            self.register_buffer(f"constant_{each}", weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch of inputs, with TFLite's layout and any batch size, to the first output."""
        values: dict[str | int, Tensor] = {self.input: x}
        for operation, arguments, result in self._steps:
            inputs = [
                getattr(self, each) if isinstance(each, str) else values[each] for each in arguments
            ]
            values[result] = operation(*inputs)
        return values[self.output]


def _constant(root: Any, tensor: Any) -> np.ndarray[Any, Any] | None:
    buffer = root.Buffers(tensor.Buffer())
    if not buffer.DataLength():
        return None
    kinds = {0: np.float32, 1: np.float16, 2: np.int32, 4: np.int64}
    shape = tensor.ShapeAsNumpy() if tensor.ShapeLength() else ()
    return np.frombuffer(buffer.DataAsNumpy().tobytes(), kinds[tensor.Type()]).reshape(shape)


# --- operators: each builder returns a function, and how many inputs it takes ---------------------

Constants = Sequence[Any]
Built = tuple[Operation, int]


def _options(kind: str, operator: Any) -> Any:
    options = getattr(tflite, kind)()
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return options


def _convolution(operator: Any, depthwise: bool) -> Built:
    options = _options("DepthwiseConv2DOptions" if depthwise else "Conv2DOptions", operator)
    stride = (options.StrideH(), options.StrideW())
    same, activate = options.Padding() == _SAME, _RELU[options.FusedActivationFunction()]

    def run(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        # (out, h, w, in) for ordinary, (1, h, w, out) for depthwise ones.
        kernel = weight.permute(3, 0, 1, 2) if depthwise else weight.permute(0, 3, 1, 2)
        x = x.permute(0, 3, 1, 2)
        if same:
            x = pad_same(x, kernel.shape[2:], stride)
        groups = x.shape[1] if depthwise else 1
        y: Tensor = activate(F.conv2d(x, kernel, bias, stride, groups=groups))
        return y.permute(0, 2, 3, 1)

    return run, 3


def _max_pool(operator: Any, _: Constants) -> Built:
    options = _options("Pool2DOptions", operator)
    kernel = (options.FilterHeight(), options.FilterWidth())
    stride = (options.StrideH(), options.StrideW())

    def run(x: Tensor) -> Tensor:
        x = pad_same(x.permute(0, 3, 1, 2), kernel, stride, -torch.inf)
        return F.max_pool2d(x, kernel, stride).permute(0, 2, 3, 1)

    return run, 1


def _pad(operator: Any, constants: Constants) -> Built:
    ends = [int(each) for pair in constants[1][::-1] for each in pair]
    return lambda x: F.pad(x, ends), 1


def _reshape(operator: Any, constants: Constants) -> Built:
    shape = [int(each) for each in constants[1]]
    return lambda x: x.reshape(x.shape[0], *shape[1:]), 1


def _strided_slice(operator: Any, constants: Constants) -> Built:
    """Slice all axes but the batch."""
    options = _options("StridedSliceOptions", operator)
    slices = [slice(None)]
    for axis in range(1, len(constants[1])):
        begin, end, step = (int(constants[each][axis]) for each in (1, 2, 3))
        slices.append(
            slice(
                None if options.BeginMask() >> axis & 1 else begin,
                None if options.EndMask() >> axis & 1 else end,
                step,
            )
        )
    return lambda x: x[tuple(slices)], 1


def _concatenate(operator: Any, _: Constants) -> Built:
    axis = _options("ConcatenationOptions", operator).Axis()

    def run(*parts: Tensor) -> Tensor:
        batch = max(each.shape[0] for each in parts)
        return torch.cat([each.expand(batch, *each.shape[1:]) for each in parts], dim=axis)

    return run, operator.InputsLength()


def _reduce(function: Callable[..., Tensor]) -> Callable[[Any, Constants], Built]:
    def build(operator: Any, constants: Constants) -> Built:
        axes = [int(each) for each in np.atleast_1d(constants[1])]
        keep = bool(_options("ReducerOptions", operator).KeepDims())
        return lambda x: function(x, dim=axes, keepdim=keep), 1

    return build


def _transpose(operator: Any, constants: Constants) -> Built:
    order = [int(each) for each in constants[1]]
    return lambda x: x.permute(order), 1


def _plain(function: Operation, inputs: int) -> Callable[[Any, Constants], Built]:
    return lambda operator, constants: (function, inputs)


_BUILDERS: Final[dict[str, Callable[[Any, Constants], Built]]] = {
    "CONV_2D": lambda operator, _: _convolution(operator, depthwise=False),
    "DEPTHWISE_CONV_2D": lambda operator, _: _convolution(operator, depthwise=True),
    "MAX_POOL_2D": _max_pool,
    "PAD": _pad,
    "RESHAPE": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "CONCATENATION": _concatenate,
    "TRANSPOSE": _transpose,
    "MEAN": _reduce(torch.mean),
    "SUM": _reduce(torch.sum),
    "PRELU": _plain(lambda x, slope: torch.where(x >= 0, x, x * slope), 2),
    "ADD": _plain(torch.add, 2),
    "SUB": _plain(torch.sub, 2),
    "MUL": _plain(torch.mul, 2),
    "DIV": _plain(torch.div, 2),
    "NEG": _plain(torch.neg, 1),
    "SQUARED_DIFFERENCE": _plain(lambda x, y: (x - y).square(), 2),
    "SQRT": _plain(torch.sqrt, 1),
    "RSQRT": _plain(torch.rsqrt, 1),
    "LOGISTIC": _plain(torch.sigmoid, 1),
}
