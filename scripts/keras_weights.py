"""Weights of Keras networks from their HDF5 files, read with h5py and without Keras.

A file from strangers is hostile until checked: HDF5 can point to other files, unpack to any size
and hold numbers of any kind. Links are not followed, and only plain float32 arrays are read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.errors import EstimatorError

_LARGEST_FILE: Final = 64 << 20
_LONGEST_CONFIG: Final = 1 << 20
_LARGEST_TENSOR: Final = 1 << 22
"""Numbers."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a Keras network, in the order of its config.

    Attributes:
        kind: Keras's name of its class.
        config: What it was made with.
        weights: Its arrays by Keras's name, such as ``kernel``; empty if it has none.
    """

    kind: str
    config: Mapping[str, Any]
    weights: Mapping[str, NDArray[np.float32]]


def read_layers(path: Path, kinds: Sequence[str]) -> list[Layer]:
    """The layers of those kinds, with their weights.

    Args:
        path: Of the HDF5 file that Keras's ``model.save`` wrote.
        kinds: Keras's names of classes; other layers are left out.

    Raises:
        EstimatorError: h5py is missing, or the file is no such file, damaged or hostile.
    """
    try:
        import h5py
    except ImportError as error:
        raise EstimatorError(
            f"{path}: Keras's files need h5py: pip install 'swapper[convert]'"
        ) from error
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError("larger than 64 MiB")
        with h5py.File(path, "r") as file:
            described = _config(file)
            root = _group(file, "model_weights")
            return [
                Layer(kind, config, _weights(root, name))
                for kind, name, config in described
                if kind in kinds
            ]
    # What h5py raises for a damaged file differs from place to place, RuntimeError included.
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise EstimatorError(f"{path}: no usable Keras file ({reason})") from error


def _config(file: Any) -> list[tuple[str, str, Mapping[str, Any]]]:
    text = file.attrs["model_config"]
    if not isinstance(text, (str, bytes)) or len(text) > _LONGEST_CONFIG:
        raise ValueError("its model_config is no text of a sensible length")
    layers = json.loads(text)["config"]["layers"]
    described: list[tuple[str, str, Mapping[str, Any]]] = []
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        if not isinstance(config, dict) or not isinstance(name := config["name"], str):
            raise ValueError("its model_config describes no layers")
        described.append((str(kind), name, config))
    return described


def _weights(root: Any, layer: str) -> dict[str, NDArray[np.float32]]:
    group = _group(root, layer)
    weights = {}
    for each in np.asarray(group.attrs["weight_names"]).ravel()[:16]:
        name = each.decode() if isinstance(each, bytes) else str(each)
        *folders, last = name.split("/")
        within = group
        for folder in folders:
            within = _group(within, folder)
        weights[last.partition(":")[0]] = _array(within, last)
    return weights


def _child(group: Any, name: str) -> Any:
    """What lies in the file itself: links may lead to any file that the user can read."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name[:80]!r} is missing or a link")
    return group[name]


def _group(parent: Any, name: str) -> Any:
    import h5py

    found = _child(parent, name)
    if not isinstance(found, h5py.Group):
        raise ValueError(f"{name[:80]!r} is no group")
    return found


def _array(group: Any, name: str) -> NDArray[np.float32]:
    import h5py

    found = _child(group, name)
    # Keras writes plain arrays; chunks could unpack to gigabytes.
    if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external or found.chunks:
        raise ValueError(f"{name[:80]!r} is no plain array of this file")
    if found.dtype != np.float32 or found.size is None or found.size > _LARGEST_TENSOR:
        raise ValueError(f"{name[:80]!r} is {found.dtype} {found.shape}, not a layer's float32")
    values = np.asarray(found[()], np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{name[:80]!r} holds numbers that are not finite")
    return values
