"""The networks: one shared encoder, one decoder for each identity.

`build_model` picks from a fixed table, never by import path: a model file is data.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from swapper.errors import ModelError
from swapper.models.blocks import Down, Head
from swapper.models.conditioning import CodeShift
from swapper.models.decoder import Decoder, DecoderStage, make_stages, stage_widths
from swapper.models.encoder import NECKS, Encoder, Neck, latent_side, num_downs
from swapper.models.model_metadata import shortened
from swapper.models.original64 import (
    OriginalDecoder,
    OriginalDown,
    OriginalEncoder,
    OriginalUp,
)
from swapper.types import SwapOutput

MAX_IDENTITIES = 64
MAX_NAME = 128
MAX_PARAMETERS = 2_000_000_000
FINEST_PX = 64
"""Expression is shape: layers finer than this are not trained by the expression loss."""


class Autoencoder(nn.Module, ABC):
    """Base class of networks: a shared encoder and one decoder for each identity.

    Subclasses set `encoder` and `decoders` and implement `_decode`.

    Args:
        identities: Their names, at least two, all different; the order is that of `decoders`.
        resolution: R, side of input and output in pixels.
        code_dim: Length of the code that conditions the decoders; 0 = unconditioned.

    Attributes:
        config: Plain data from which `build_model` builds the same network.
        null: (code_dim,) learnt null code ("no condition"); where `code_dim` is above 0.

    Raises:
        ValueError: An argument is out of range.
    """

    name: str
    encoder: nn.Module
    decoders: nn.ModuleList

    def __init__(self, identities: Sequence[str], resolution: int, code_dim: int) -> None:
        super().__init__()
        self.identities = _checked_identities(identities)
        self.resolution = resolution
        self.code_dim = code_dim
        if code_dim:
            self.null = nn.Parameter(torch.zeros(code_dim))
        self.config: dict[str, Any] = {"name": self.name, "identities": list(self.identities)}

    def encode(self, x: Tensor) -> Tensor:
        """Encode performers' faces.

        Args:
            x: (N, 3, R, R), RGB in [0, 1].

        Returns:
            Latent (N, C, h, w).

        Raises:
            ValueError: Another shape.
        """
        expected = (3, self.resolution, self.resolution)
        if x.ndim != 4 or tuple(x.shape[1:]) != expected:
            raise ValueError(
                f"x must be (N, {', '.join(map(str, expected))}), got {tuple(x.shape)}"
            )
        latent: Tensor = self.encoder(x)
        return latent

    def decode(self, latent: Tensor, identity: str, code: Tensor | None = None) -> SwapOutput:
        """Decode a latent as `identity`.

        Args:
            latent: (N, C, h, w), from `encode`.
            identity: One of `identities`.
            code: (N, code_dim); None for the unconditioned result (the null code).

        Returns:
            Image and mask, at least float32.

        Raises:
            ValueError: Unknown identity, or a code of another shape.
        """
        if identity not in self.identities:
            raise ValueError(f"identity must be one of {list(self.identities)}, got {identity!r}")
        if code is not None and tuple(code.shape) != (latent.shape[0], self.code_dim):
            raise ValueError(
                f"code must be ({latent.shape[0]}, {self.code_dim}), got {tuple(code.shape)}"
            )
        if not self.code_dim:
            code = None
        elif code is None:
            code = self.null.expand(latent.shape[0], -1)
        return self._decode(latent, self.identities.index(identity), code)

    def guide(self, code: Tensor, guidance_scale: Tensor | float) -> Tensor:
        """Codes (N, code_dim) on the line from the null code (0) through `code` (1) and beyond.

        The stages are linear in the code, so this scales what conditioning does to them, without
        the second pass of classifier-free guidance.

        Args:
            code: (N, code_dim).
            guidance_scale: Scalar or (N,).
        """
        if not isinstance(guidance_scale, Tensor):
            guidance_scale = torch.full_like(code[:, 0], guidance_scale)
        return self.null + guidance_scale[:, None] * (code - self.null)

    def regions(self) -> list[nn.Module]:
        """Blocks to be compiled separately."""
        return [each for each in self.modules() if isinstance(each, REGIONS)]

    def trained_by_expression(self, *, fine: bool) -> set[str]:
        """Names of the weights that `losses.expression.TrainedLayers` selects.

        Args:
            fine: Besides the layers conditioned on the code also the encoder and all stages up to
                64 px, but not the colour and mask heads.
        """
        return set()

    def forward(self, x: Tensor, identity: str, code: Tensor | None = None) -> SwapOutput:
        """Encode and decode."""
        return self.decode(self.encode(x), identity, code)

    @abstractmethod
    def _decode(self, latent: Tensor, index: int, code: Tensor | None) -> SwapOutput: ...


class OriginalAutoencoder(Autoencoder):
    """The public 64 px reference, layer for layer: 82.06 M parameters for two identities.

    The mask is an added 3x3 convolution of each decoder's last features, 577 parameters.

    Args:
        identities: Names, at least two.
        resolution: 64 only.

    Raises:
        ValueError: An argument is out of range.
    """

    name = "original"

    def __init__(self, identities: Sequence[str], resolution: int = 64) -> None:
        _check_range("resolution", resolution, 64, 64)
        super().__init__(identities, resolution, code_dim=0)
        self.config["resolution"] = resolution
        self.encoder = OriginalEncoder()
        self.decoders = nn.ModuleList(OriginalDecoder() for _ in self.identities)

    def _decode(self, latent: Tensor, index: int, code: Tensor | None) -> SwapOutput:
        output: SwapOutput = self.decoders[index](latent)
        return output


class DfAutoencoder(Autoencoder):
    """The default model: residual decoders, sub-pixel upsampling, heads at half size.

    Args:
        identities: Names, at least two.
        resolution: 64 to 512, a multiple of 32.
        width: Channels of the decoders' finest features, 4 to 256; all other widths scale with it.
        latent: Size of the encoder's bottleneck, 8 to 8192.
        neck: "dense" or "local"; see `Encoder`.
        shared_stages: Number of the decoders' coarsest stages shared by all identities, with a
            learnt scale and shift for each identity; 0 = fully separate.
        code_dim: Length of the code that conditions all but the finest stage; 0 = none.
        code_shift: Whether the code also shifts the latent, by one linear map for all identities.

    Raises:
        ValueError: An argument is out of range.
    """

    name = "df"

    def __init__(
        self,
        identities: Sequence[str],
        resolution: int = 128,
        width: int = 64,
        latent: int = 512,
        shared_stages: int = 0,
        code_dim: int = 0,
        neck: Neck = "dense",
        code_shift: bool = True,
    ) -> None:
        _check_range("resolution", resolution, 64, 512)
        if neck not in NECKS:
            raise ValueError(f"neck must be one of {', '.join(NECKS)}, got {shortened(neck)}")
        if not isinstance(code_shift, bool):
            raise ValueError(f"code_shift must be true or false, got {shortened(code_shift)}")
        if resolution % 32:
            raise ValueError(f"resolution must be a multiple of 32, got {resolution}")
        num_stages = num_downs(resolution) - 1
        _check_range("width", width, 4, 256)
        _check_range("latent", latent, 8, 8192)
        _check_range("shared_stages", shared_stages, 0, num_stages)
        _check_range("code_dim", code_dim, 0, 1024)
        super().__init__(identities, resolution, code_dim)
        self.config |= {
            "resolution": resolution,
            "width": width,
            "latent": latent,
            "shared_stages": shared_stages,
            "code_dim": code_dim,
            "neck": neck,
            "code_shift": code_shift,
        }
        widths = stage_widths(num_stages, width)
        self._num_stages = num_stages
        channels = min(8 * width, 2 * widths[0])
        self.encoder = Encoder(resolution, width, latent, channels, neck)
        self.shift = None
        if code_dim and code_shift:
            self.shift = CodeShift(code_dim, channels, latent_side(resolution))
        shared, own = range(shared_stages), range(shared_stages, num_stages)
        self.trunk = nn.ModuleList(make_stages(channels, widths, code_dim, shared))
        self.decoders = nn.ModuleList(
            Decoder(
                make_stages(channels, widths, code_dim, own), widths[-1], widths[:shared_stages]
            )
            for _ in self.identities
        )

    def _decode(self, latent: Tensor, index: int, code: Tensor | None) -> SwapOutput:
        if self.shift is not None and code is not None:
            latent = latent + self.shift(code)
        output: SwapOutput = self.decoders[index](latent, self.trunk, code)
        return output

    def trained_by_expression(self, *, fine: bool) -> set[str]:
        """See `Autoencoder.trained_by_expression`."""
        conditioned = {
            name
            for name, _ in self.named_parameters()
            if ".code_film." in name or name.startswith("shift.")
        }
        if not fine:
            return conditioned
        side = latent_side(self.resolution)
        levels = sum(1 for level in range(self._num_stages) if side << (level + 1) <= FINEST_PX)
        shared = len(self.trunk)
        coarse = {f"trunk.{level}." for level in range(min(levels, shared))}
        coarse |= {
            f"decoders.{index}.stages.{level - shared}."
            for index in range(len(self.identities))
            for level in range(shared, levels)
        }
        coarse.add("encoder.")
        named = {name for name, _ in self.named_parameters() if name.startswith(tuple(coarse))}
        return named | conditioned


REGIONS = (Down, DecoderStage, Head, OriginalDown, OriginalUp)
ARCHITECTURES: dict[str, type[Autoencoder]] = {
    each.name: each for each in (DfAutoencoder, OriginalAutoencoder)
}


def build_model(config: Mapping[str, Any]) -> Autoencoder:
    """Build the network that `Autoencoder.config` describes; its size is checked before allocation.

    Args:
        config: ``name`` and the constructor's arguments, plain data; not trusted.

    Raises:
        ModelError: Unknown name or key, or a value out of range.
    """
    if not isinstance(config, Mapping):
        raise ModelError(f"architecture must be a mapping, got {type(config).__name__}")
    names = ", ".join(sorted(ARCHITECTURES))
    name = config.get("name")
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise ModelError(f"unknown architecture {shortened(name)}; this version has {names}")
    architecture = ARCHITECTURES[name]
    accepted = inspect.signature(architecture).parameters
    arguments = {key: value for key, value in config.items() if key != "name"}
    for key in arguments:
        if key not in accepted:
            raise ModelError(
                f"architecture {name!r} has no option {shortened(key)}; "
                f"it has {', '.join(accepted)}"
            )
    if "identities" not in arguments:
        raise ModelError(f"architecture {name!r} lacks its identities")
    try:
        with torch.device("meta"):
            size = sum(each.numel() for each in architecture(**arguments).parameters())
        if size > MAX_PARAMETERS:
            raise ModelError(
                f"architecture {name!r} would have {size / 1e9:.1f} billion parameters; "
                f"at most {MAX_PARAMETERS / 1e9:.0f} are allowed"
            )
        return architecture(**arguments)
    except ValueError as error:
        raise ModelError(f"architecture {name!r}: {error}") from error


def _checked_identities(identities: object) -> tuple[str, ...]:
    if isinstance(identities, str) or not isinstance(identities, Sequence):
        raise ValueError(f"identities must be a list of names, got {shortened(identities)}")
    if not 2 <= len(identities) <= MAX_IDENTITIES:
        raise ValueError(f"identities must be 2 to {MAX_IDENTITIES} names, got {len(identities)}")
    for name in identities:
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= MAX_NAME:
            raise ValueError(
                f"identities must be printable names of 1 to {MAX_NAME} characters, "
                f"got {shortened(name)}"
            )
    if len(set(identities)) < len(identities):
        raise ValueError(f"identities must all differ, got {shortened(list(identities))}")
    return tuple(identities)


def _check_range(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        legal = str(low) if low == high else f"a whole number from {low} to {high}"
        raise ValueError(f"{name} must be {legal}, got {shortened(value)}")
