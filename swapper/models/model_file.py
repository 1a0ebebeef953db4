"""A trained network as two files: ``model.safetensors`` and ``model.json``.

The weights, and the card: architecture, identities and their rights, provenance, and the sha256 of
the weights. The arrays of the affect space are stored with the weights under the prefix `AFFECT`.
No pickle; files are not trusted and validated when read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from swapper.errors import ModelError
from swapper.files import one_line, partial_path, read_json, replacing, sha256_of
from swapper.models.autoencoder import Autoencoder, build_model
from swapper.models.decoder import current_weight_name
from swapper.models.model_metadata import ModelIdentity, ModelMetadata, parse_metadata, shortened

WEIGHTS = "model.safetensors"
CARD = "model.json"
MAX_CARD_BYTES = 1 << 20
MAX_HEADER_BYTES = 16 << 20
AFFECT = "affect_space."
MAX_AFFECT_TENSORS = 1024
MAX_AFFECT_NUMBERS = 1 << 26

__all__ = ["LoadedModel", "ModelIdentity", "ModelMetadata", "load_model", "save_model"]


@dataclass(frozen=True)
class LoadedModel:
    """A network ready to run.

    Attributes:
        net: On the requested device, in eval mode, its weights frozen.
        card: Its metadata.
        sha256: Of the weights file, hex.
        path: Of the weights file.
        affect_space: Arrays of the affect space by name, float32 on the CPU; empty without one.
    """

    net: Autoencoder
    card: ModelMetadata
    sha256: str
    path: Path
    affect_space: Mapping[str, Tensor] = field(default_factory=dict)

    def identity(self, name: str) -> ModelIdentity:
        """Return the card's entry of an identity.

        Raises:
            ModelError: Unknown identity.
        """
        for each in self.card.identities:
            if each.name == name:
                return each
        names = ", ".join(each.name for each in self.card.identities)
        raise ModelError(f"{self.path}: has no identity {name!r}; it has {names}")


def save_model(
    directory: Path,
    card: ModelMetadata,
    state: Mapping[str, Tensor],
    *,
    affect_space: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write ``model.safetensors`` and ``model.json`` into `directory`.

    Both are written and flushed to temporary files before either is replaced, so a full disk or a
    kill leaves the previous model.

    Args:
        directory: Created if missing.
        card: Its `weights_sha256` is filled in here.
        state: Weights of the network of ``card.architecture``, averaged ones if there are any.
        affect_space: Arrays of ``card.affect_space``, by name; stored as float32.
        dtype: Of the stored weights: float32, or float16 or bfloat16 for half the size.

    Raises:
        ModelError: The files cannot be written, a weight is not finite (in `dtype`), or the card
            is not valid.
        ValueError: The weights, the identities or `dtype` do not fit the architecture.
    """
    weights, description = directory / WEIGHTS, directory / CARD
    tensors = _checked_weights(directory, card, state, dtype)
    for name, value in (affect_space or {}).items():
        tensors[AFFECT + name] = value.detach().to("cpu", torch.float32, copy=True).contiguous()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # The weights are moved first: until the card follows, load_model says that they disagree.
        with replacing(description) as stream, partial_path(weights) as partial:
            save_file(tensors, partial)
            card = replace(card, weights_sha256=sha256_of(partial))
            stream.write(card.to_json().encode())
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{weights}: cannot be written ({one_line(error)}); free space or check permissions"
        ) from error


def _checked_weights(
    directory: Path, card: ModelMetadata, state: Mapping[str, Tensor], dtype: torch.dtype
) -> dict[str, Tensor]:
    """Return copies of the weights as they will be stored; raises as `save_model`."""
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"dtype must be float32, float16 or bfloat16, got {dtype}")
    expected = _shapes(_outline(card.architecture))
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    if shapes != expected:
        wrong = sorted(name for name, _ in shapes.items() ^ expected.items())
        raise ValueError(f"state does not fit the architecture: {', '.join(wrong[:5])}")
    if [each.name for each in card.identities] != list(card.architecture["identities"]):
        raise ValueError("card.identities and card.architecture name different people")
    try:
        card.to_json()
    except ValueError as error:
        raise ModelError(f"{directory / CARD}: not written, {error}") from error
    tensors = {
        name: value.detach().to("cpu", dtype, copy=True).contiguous()
        for name, value in state.items()
    }
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise ModelError(
                f"{directory / WEIGHTS}: not written, {name} is not finite as {dtype}; go back to "
                "an earlier checkpoint or store float32"
            )
    return tensors


def load_model(path: Path, device: torch.device | str = "cpu") -> LoadedModel:
    """Read a model that `save_model` wrote.

    Args:
        path: A folder that holds the two files, or one of them.
        device: Where the network will run.

    Raises:
        ModelError: A file is missing, damaged, not a model, or does not fit the other.
    """
    weights, description = _locate(Path(path))
    data = read_json(description, MAX_CARD_BYTES, ModelError, "restore the file", links=True)
    try:
        card = parse_metadata(data)
        net = _outline(card.architecture)
    except (ValueError, ModelError) as error:
        raise ModelError(f"{description}: {error}") from error
    if [each.name for each in card.identities] != list(net.identities):
        raise ModelError(
            f"{description}: identities and architecture name different people; restore the file"
        )
    try:
        numbers = sum(each.numel() for each in net.state_dict().values())
        if card.affect_space is not None:
            numbers += MAX_AFFECT_NUMBERS
        if weights.stat().st_size > 4 * numbers + MAX_HEADER_BYTES:
            raise ModelError(f"{weights}: is larger than its architecture; restore the file")
        digest = sha256_of(weights)
        if digest != card.weights_sha256:
            raise ModelError(
                f"{weights}: is not the file that {description.name} describes (sha256 differs); "
                "restore both, or save the model again"
            )
        tensors, affect_space = _read_weights(weights, _shapes(net), card)
    except OSError as error:
        raise ModelError(f"{weights}: cannot be read ({one_line(error)})") from error
    net.load_state_dict(tensors, strict=True, assign=True)
    net = net.to(device).eval().requires_grad_(False)
    return LoadedModel(net, card, digest, weights, affect_space)


def _outline(architecture: Mapping[str, Any]) -> Autoencoder:
    """Build the network on the meta device."""
    with torch.device("meta"):
        return build_model(architecture)


def _shapes(net: Autoencoder) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in net.state_dict().items()}


def _locate(path: Path) -> tuple[Path, Path]:
    """Resolve `path` to the two files."""
    if path.is_dir():
        weights = path / WEIGHTS
    elif path.suffix in (".safetensors", ".json"):
        weights = path.with_suffix(".safetensors")
    else:
        raise ModelError(
            f"{path}: is neither a folder with {WEIGHTS} nor such a file; pass model=runs/NAME"
        )
    description = weights.with_suffix(".json")
    for each in (weights, description):
        if not each.is_file():
            raise ModelError(f"{each}: missing; a model is {WEIGHTS} and {CARD} side by side")
    return weights, description


def _read_weights(
    path: Path, expected: Mapping[str, tuple[int, ...]], card: ModelMetadata
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Read and validate the tensors as float32: weights and affect space."""
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > MAX_HEADER_BYTES:
        raise ModelError(f"{path}: is not a safetensors file; restore it")
    tensors, affect = {}, {}
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            extra = {name for name in file.keys() if name.startswith(AFFECT)}  # noqa: SIM118
            if bool(extra) != (card.affect_space is not None) or len(extra) > MAX_AFFECT_TENSORS:
                raise ModelError(
                    f"{path}: its affect space does not fit {CARD} beside it; restore both"
                )
            stored = {current_weight_name(name): name for name in file.keys()}  # noqa: SIM118
            if set(stored) - extra != set(expected):
                wrong = min((set(stored) - extra) ^ set(expected))
                raise ModelError(f"{path}: is of another architecture ({wrong[:80]!r} differs)")
            for name, shape in expected.items():
                view = file.get_slice(stored[name])
                if tuple(view.get_shape()) != shape or view.get_dtype() not in _DTYPES:
                    raise ModelError(
                        f"{path}: {name} should be {shape}, is {view.get_dtype()} "
                        f"{tuple(view.get_shape())}; it is of another architecture"
                    )
                tensors[name] = _finite(path, name, file.get_tensor(stored[name]))
            for name in extra:
                affect[name.removeprefix(AFFECT)] = _finite(path, name, file.get_tensor(name))
    except SafetensorError as error:
        raise ModelError(f"{path}: is damaged ({one_line(error)}); restore it") from error
    return tensors, affect


def _finite(path: Path, name: str, tensor: Tensor) -> Tensor:
    tensor = tensor.to(torch.float32, copy=True)
    if not torch.isfinite(tensor).all():
        raise ModelError(f"{path}: {shortened(name)} is not finite; use an earlier model")
    return tensor


_DTYPES = ("F32", "F16", "BF16")
