"""Weights of small networks as safetensors: written atomically, validated when read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from swapper.downloads import cache_folder
from swapper.errors import EstimatorError
from swapper.files import one_line, partial_path

Net = TypeVar("Net", bound=nn.Module)

OWN: Final = Path(__file__).parent / "weights"
"""Folder of the bundled weights."""
_MAX_HEADER: Final = 1 << 20
_DTYPES: Final = ("F32", "F16")
_CURE: Final = "restore it, or train it with scripts/train_actor_affect.py"


def blank(build: Callable[[], Net]) -> Net:
    """Build a network whose weights will be loaded, without advancing the global generators."""
    with torch.random.fork_rng(devices=()):
        return build()


def cached(network: str) -> Path:
    """Where ``scripts/convert_weights.py`` leaves the weights of a network."""
    return cache_folder() / f"{network}.safetensors"


def load_converted(
    build: Callable[[], Net], network: str, weights: str | Path | None, metadata: Mapping[str, str]
) -> Net:
    """Build somebody else's network with its converted weights.

    Args:
        build: Returns it, randomly initialised.
        network: As ``affect=`` names it.
        weights: The file; None takes the one in the cache.
        metadata: What the file must say of itself.

    Raises:
        EstimatorError: There is no file, or it cannot be used.
    """
    path = Path(weights) if weights else cached(network)
    if path.suffix != ".safetensors" or not path.is_file():
        problem = "no such file" if not path.exists() else "is no safetensors file"
        raise EstimatorError(
            f"{path}: {problem}; make it by python scripts/convert_weights.py {network}, or pass "
            "affect.weights=FILE.safetensors"
        )
    net = blank(build)
    load_weights(net, path, metadata, f"make it anew by scripts/convert_weights.py {network}")
    return net


def save_weights(
    net: nn.Module, path: Path, metadata: Mapping[str, str], dtype: torch.dtype = torch.float16
) -> None:
    """Write a network's weights atomically, as float16 or float32, without its integer counters.

    Raises:
        EstimatorError: A weight is not finite in that precision, or the file cannot be written.
    """
    tensors = {name: value.to(dtype).contiguous() for name, value in _weights(net).items()}
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise EstimatorError(f"{path}: not written, {name} is not finite; train it anew")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial_path(path) as partial:
            save_file(tensors, partial, dict(metadata))
    except (OSError, SafetensorError) as error:
        raise EstimatorError(f"{path}: cannot be written ({one_line(error)})") from error


def load_weights(
    net: nn.Module, path: Path, metadata: Mapping[str, str], cure: str = _CURE
) -> None:
    """Fill a network with the weights of a file that may be hostile.

    Args:
        net: Receives them, as float32.
        path: Of the file.
        metadata: What the file must say of itself; it may say more.
        cure: What to do about a file that cannot be used, for the message.

    Raises:
        EstimatorError: The file is missing, damaged, too large or of another network.
    """
    expected = _weights(net)
    try:
        _check_size(path, 4 * sum(value.numel() for value in expected.values()))
        with safe_open(path, framework="pt", device="cpu") as file:
            actual = file.metadata() or {}
            for key, value in metadata.items():
                if actual.get(key) != value:
                    found = str(actual.get(key))[:80]
                    raise ValueError(f"says {key} {found!r} instead of {value!r}")
            tensors = _read(file, expected)
    except FileNotFoundError as error:
        raise EstimatorError(f"{path}: no such file; {cure}") from error
    except (OSError, SafetensorError, ValueError) as error:
        raise EstimatorError(f"{path}: {one_line(error)}; {cure}") from error
    net.load_state_dict(tensors, strict=False)


def fill(net: nn.Module, tensors: Mapping[str, Tensor], path: Path, network: str) -> None:
    """Copy third-party weights into a network, if names and shapes match exactly.

    Args:
        net: Receives them, as float32.
        tensors: By the names of its state; integer counters may be missing.
        path: Where they came from, for errors.
        network: What it is called, for errors.

    Raises:
        EstimatorError: They are another network's or not finite.
    """
    expected = _weights(net)
    weights = {name: value for name, value in tensors.items() if value.is_floating_point()}
    if wrong := set(expected) ^ set(weights):
        raise EstimatorError(f"{path}: is not {network}, {min(wrong)[:80]!r} differs")
    for name, value in expected.items():
        if weights[name].shape != value.shape:
            raise EstimatorError(
                f"{path}: is not {network}, {name} is {tuple(weights[name].shape)} instead of "
                f"{tuple(value.shape)}"
            )
        if not torch.isfinite(weights[name]).all():
            raise EstimatorError(f"{path}: holds numbers in {name} that are not finite")
    net.load_state_dict(weights, strict=False)


def _check_size(path: Path, largest: int) -> None:
    if path.stat().st_size > largest + _MAX_HEADER:
        raise ValueError("is larger than its network")
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > _MAX_HEADER:
        raise ValueError("is not a safetensors file")


def _read(file: Any, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if wrong := set(file.keys()) ^ set(expected):
        raise ValueError(f"is of another network, {min(wrong)[:80]!r} differs")
    tensors = {}
    for name, value in expected.items():
        view = file.get_slice(name)
        kind, shape = view.get_dtype(), tuple(view.get_shape())
        if shape != tuple(value.shape) or kind not in _DTYPES:
            raise ValueError(f"holds {name} as {kind} {shape} instead of {tuple(value.shape)}")
        tensors[name] = file.get_tensor(name).to(torch.float32, copy=True)
        if not torch.isfinite(tensors[name]).all():
            raise ValueError(f"holds numbers in {name} that are not finite")
    return tensors


def _weights(net: nn.Module) -> dict[str, Tensor]:
    """The state without BatchNorm's integer counters, which only training uses."""
    return {name: value for name, value in net.state_dict().items() if value.is_floating_point()}
