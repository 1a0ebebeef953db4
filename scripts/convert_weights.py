r"""Convert weights that others published into the safetensors files that swapper's estimators read.

    python scripts/convert_weights.py xception [fer2013_mini_XCEPTION.102-0.66.hdf5]
    python scripts/convert_weights.py emotieff --licence research-only [enet_b0_8_va_mtl.pt]

Without a path the file is fetched. The result is ``$SWAPPER_HOME/weights/NAME.safetensors`` (or
``--output``), where ``affect=NAME`` finds it. xception's file is Keras HDF5 (needs h5py:
``pip install '.[convert]'``) and pinned by its sha256. emotieff's is a pickled module, which is
never unpickled (`torch_pickle`), and no hash of it is known: the first run prints the hash of what
it fetched and stops; pass it back as ``--sha256`` if you trust it. Its weights grew from AffectNet
and VGGFace2, whose owners allow research only.

**emotieff was never tried with the real file**, which could not be had where this was written: only
with files of the same layout and random values.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import torch
from keras_weights import Layer, read_layers
from torch import Tensor
from torch_pickle import harvest

from swapper.downloads import download, download_cached, require_file
from swapper.errors import EstimatorError, SwapperError, UsageError
from swapper.estimators import emotieff, xception
from swapper.estimators.weights_file import blank, cached, fill, save_weights
from swapper.files import one_line, sha256_of

XCEPTION_URL: Final = (
    "https://github.com/oarriaga/face_classification/raw/master/trained_models/emotion_models/"
    "fer2013_mini_XCEPTION.102-0.66.hdf5"
)
XCEPTION_SHA256: Final = "59534287fdfb125e30a94400296c25ea9f5d706fca93dd8adbbbed916799ea0e"
EMOTIEFF_URL: Final = (
    "https://github.com/sb-ai-lab/EmotiEffLib/blob/main/models/affectnet_emotions/"
    "enet_b0_8_va_mtl.pt?raw=true"
)
LICENCE: Final = "research-only"
_KINDS: Final = ("Conv2D", "SeparableConv2D", "BatchNormalization", "MaxPooling2D")
_OPTION: Final = "the path of the file"


def convert_xception(source: Path, output: Path) -> None:
    """Convert mini-XCEPTION from Keras HDF5.

    Raises:
        EstimatorError: It is another network, damaged or hostile.
    """
    layers = read_layers(source, _KINDS)
    net = blank(xception.MiniXception)
    try:
        _fill_xception(net, iter(layers))
    except (KeyError, TypeError, ValueError) as error:
        raise EstimatorError(
            f"{source}: is not mini-XCEPTION for 64x64 grey ({one_line(error)}); pass the file "
            f"that {XCEPTION_URL} names"
        ) from error
    save_weights(net, output, xception.METADATA | {"sha256": sha256_of(source)}, torch.float32)


def convert_emotieff(source: Path, output: Path) -> None:
    """Convert EmotiEffLib's ``enet_b0_8_va_mtl`` from its pickled module.

    Raises:
        EstimatorError: It is another network, damaged or hostile.
    """
    net = blank(emotieff.EmotiEffNet)
    # A head of one layer may have been wrapped in a Sequential.
    tensors = {
        f"net.{name.replace('classifier.0.', 'classifier.')}": value
        for name, value in harvest(source).items()
    }
    fill(net, tensors, source, emotieff.NETWORK)
    save_weights(net, output, emotieff.METADATA | {"sha256": sha256_of(source)}, torch.float32)


def fetched_emotieff(sha256: str | None) -> Path:
    """The published file, once its hash has been confirmed.

    Raises:
        UsageError: The hash is none, or not confirmed yet.
        EstimatorError: It cannot be fetched, or is another file.
    """
    if sha256 is None:
        path = download(EMOTIEFF_URL, _OPTION, EstimatorError)
        raise UsageError(
            f"{path}: fetched from {EMOTIEFF_URL}, but no hash of it is known: if you trust it, "
            f"pass --sha256 {sha256_of(path)}"
        )
    if len(sha256) != 64 or not set(sha256.lower()) <= set("0123456789abcdef"):
        raise UsageError(f"--sha256 {one_line(sha256, 80)}: must be 64 hex digits")
    return download_cached(EMOTIEFF_URL, sha256.lower(), _OPTION, EstimatorError)


def _fill_xception(net: xception.MiniXception, layers: Iterator[Layer]) -> None:
    """Copy the layers in the order in which Keras counts them.

    Raises:
        ValueError: They are another network's.
    """
    for conv, norm in ((net.first, net.first_norm), (net.second, net.second_norm)):
        _conv(conv, _next(layers, "Conv2D", strides=[1, 1], padding="valid"))
        _batch_norm(norm, layers)
    for block in net.blocks:
        assert isinstance(block, xception.Block)
        for separable, norm in ((block.first, block.first_norm), (block.second, block.second_norm)):
            layer = _next(layers, "SeparableConv2D", strides=[1, 1], padding="same")
            # (height, width, channel, 1) to one kernel a channel.
            _check_names(layer, "depthwise_kernel", "pointwise_kernel")
            _copy(separable.depthwise.weight, layer, "depthwise_kernel", (2, 3, 0, 1))
            _copy(separable.pointwise.weight, layer, "pointwise_kernel", (3, 2, 0, 1))
            _batch_norm(norm, layers)
        _conv(block.around, _next(layers, "Conv2D", strides=[2, 2], padding="same"))
        _next(layers, "MaxPooling2D", strides=[2, 2], padding="same", pool_size=[3, 3])
        _batch_norm(block.around_norm, layers)
    _conv(net.classes, _next(layers, "Conv2D", strides=[1, 1], padding="same"))
    if more := next(layers, None):
        raise ValueError(f"it goes on with a {more.kind[:40]}")


def _next(layers: Iterator[Layer], kind: str, **config: object) -> Layer:
    layer = next(layers, None)
    if layer is None or layer.kind != kind:
        raise ValueError(f"a {kind} was expected, not {layer.kind[:40] if layer else 'its end'}")
    for key, value in config.items():
        if layer.config.get(key) != value:
            raise ValueError(f"a {kind} has {key} {str(layer.config.get(key))[:40]}, not {value}")
    return layer


def _conv(conv: torch.nn.Conv2d, layer: Layer) -> None:
    _check_names(layer, *(("kernel",) if conv.bias is None else ("kernel", "bias")))
    _copy(conv.weight, layer, "kernel", (3, 2, 0, 1))
    if conv.bias is not None:
        _copy(conv.bias, layer, "bias", (0,))


def _batch_norm(norm: torch.nn.BatchNorm2d, layers: Iterator[Layer]) -> None:
    layer = _next(layers, "BatchNormalization")
    if float(layer.config["epsilon"]) != norm.eps:
        raise ValueError(f"a BatchNormalization has epsilon {layer.config['epsilon']}")
    _check_names(layer, "gamma", "beta", "moving_mean", "moving_variance")
    assert norm.running_mean is not None
    assert norm.running_var is not None
    _copy(norm.weight, layer, "gamma", (0,))
    _copy(norm.bias, layer, "beta", (0,))
    _copy(norm.running_mean, layer, "moving_mean", (0,))
    _copy(norm.running_var, layer, "moving_variance", (0,))
    if norm.running_var.min() < 0:
        raise ValueError("a variance is negative")


def _check_names(layer: Layer, *names: str) -> None:
    if set(layer.weights) != set(names):
        raise ValueError(f"a {layer.kind} holds {', '.join(layer.weights)[:80]}")


@torch.no_grad()
def _copy(to: Tensor, layer: Layer, name: str, order: tuple[int, ...]) -> None:
    """Copy an array whose axes come in another order."""
    values = torch.from_numpy(layer.weights[name])
    if values.ndim != len(order) or values.permute(order).shape != to.shape:
        raise ValueError(f"a {layer.kind}'s {name} is {tuple(values.shape)}")
    to.copy_(values.permute(order))


def run(arguments: argparse.Namespace) -> Path:
    """Fetch where no path was given, convert, and return where the result lies."""
    output: Path = arguments.output or cached(arguments.network)
    source = arguments.source and require_file(arguments.source, _OPTION, EstimatorError)
    if arguments.network == "xception":
        source = source or download_cached(XCEPTION_URL, XCEPTION_SHA256, _OPTION, EstimatorError)
        convert_xception(source, output)
        return output
    if arguments.licence != LICENCE:
        raise UsageError(
            "emotieff: its weights were trained on AffectNet and VGGFace2, whose owners allow "
            f"non-commercial research only: pass --licence {LICENCE} to accept that"
        )
    if source and arguments.sha256 and sha256_of(source) != arguments.sha256.lower():
        raise EstimatorError(f"{source}: its sha256 is {sha256_of(source)}, not the one given")
    convert_emotieff(source or fetched_emotieff(arguments.sha256), output)
    return output


NETWORKS: Final[Mapping[str, str]] = {"xception": "Keras HDF5", "emotieff": "pickled module"}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("network", choices=tuple(NETWORKS))
    made.add_argument("source", nargs="?", help="the published file; without one it is fetched")
    made.add_argument("--output", type=Path, help="safetensors file to write")
    made.add_argument("--licence", help=f"{LICENCE} accepts emotieff's")
    made.add_argument("--sha256", help="confirms the hash of emotieff's file")
    return made


def main() -> int:
    """Convert, and say where the result is."""
    try:
        print(run(parser().parse_args()))
    except SwapperError as error:
        print(f"convert_weights: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
