"""Sites of the hot operations in the models: shapes, inputs as in training, bytes, predictions.

Sites of `film_lrelu` are recorded from the networks: all that upscale, and the largest of the
others. `dssim_l1` and `warp_pair` run once a step, at the model's resolution.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from swapper.data.augment import Augment
from swapper.kernels.film import film_lrelu_reference
from swapper.models import blocks, original64
from swapper.models.autoencoder import Autoencoder, DfAutoencoder, OriginalAutoencoder

CODE_DIM = 16
MODELS: dict[str, Callable[[], Autoencoder]] = {
    "original": partial(OriginalAutoencoder, ("a", "b")),
    "df128": partial(DfAutoencoder, ("a", "b"), resolution=128, code_dim=CODE_DIM),
    "df256": partial(DfAutoencoder, ("a", "b"), resolution=256, code_dim=CODE_DIM),
}
STORED_PX = 256
"""Largest side of a stored face; otherwise it is twice the target's."""
CHANNELS = 5

BANDWIDTH = 3.87e12
"""Bytes a second: nine tenths of a copy on an H200. Predictions below are for that device; as
bounds they also apply to an H100, whose memory is slower. None has been measured yet."""
PREDICTED_FOR = ("H100", "H200")
FILM_PASSES = {
    ("naive", "full"): 20,
    ("inductor", "fwd"): 2,
    ("inductor", "bwd"): 5,
    ("inductor", "full"): 7,
    ("kernel", "fwd"): 2,
    ("kernel", "bwd"): 3,
    ("kernel", "full"): 5,
}
"""Passes over a site's features, from inductor's generated code: its backward reduces and
differentiates in separate passes."""
PREDICTED_PIXELS = 64 * 256**2
PREDICTED_MS = {
    ("dssim_l1", "naive", "full"): (17.9, 27.9),
    ("dssim_l1", "inductor shifted", "full"): (1.6, 2.0),
    ("dssim_l1", "kernel", "full"): (0.6, 1.0),
    ("warp_pair", "naive", "fwd"): (0.65, 0.65),
    ("warp_pair", "inductor", "fwd"): (0.28, 0.28),
    ("warp_pair", "kernel", "fwd"): (0.02, 0.05),
}
"""Of `PREDICTED_PIXELS` pixels: 64 pictures of 256 px. Naive DSSIM: fused-ssim's published curve of
depthwise convolutions (15 to 25 ms) and 11 GB of passes; its kernel: instructions counted in the
compiled code; the rest bytes over `BANDWIDTH`."""

FORWARD, ALL = ("fwd",), ("fwd", "bwd", "full")


@dataclass(frozen=True)
class Case:
    """An operation at one site of a model.

    Attributes:
        operation: As in `kernel_variants.OPERATIONS`.
        model: One of `MODELS`.
        shape: Shape of its largest input.
        pixels: Pixels of all images of a step.
        dtype: dtype of that input and of the output.
        layout: Memory layout of that input.
        arguments: Keywords of every variant.
        leaves: Names of the arguments that require gradients.
        upstream: Gradient of each output; empty without leaves.
        bytes: Least bytes read and written, by direction.
        calls: Calls per step.
    """

    operation: str
    model: str
    shape: tuple[int, ...]
    pixels: int
    dtype: torch.dtype
    layout: str
    arguments: Mapping[str, Any] = field(repr=False)
    leaves: tuple[str, ...]
    upstream: tuple[Tensor, ...] = field(repr=False)
    bytes: Mapping[str, int]
    calls: int = 1

    @property
    def directions(self) -> tuple[str, ...]:
        """Directions that can be timed."""
        return ALL if self.leaves else FORWARD

    def exact(self) -> Case:
        """Return the case in float64."""
        wide = {
            name: value.double()
            if isinstance(value, Tensor) and value.is_floating_point()
            else value
            for name, value in self.arguments.items()
        }
        if "dtype" in wide:
            wide["dtype"] = torch.float64
        return replace(self, arguments=wide, upstream=tuple(map(Tensor.double, self.upstream)))


def predicted_ms(
    case: Case, variant: str, direction: str, device: str
) -> tuple[float, float] | None:
    """Return the range of predicted milliseconds; None without a prediction.

    Args:
        case: Case to predict.
        variant: Name of the variant, as in `kernel_variants.NAMES`.
        direction: "fwd", "bwd" or "full".
        device: Its name; only H100 and H200 have predictions.
    """
    if not any(name in device for name in PREDICTED_FOR):
        return None
    if case.operation == "film_lrelu":
        passes = FILM_PASSES.get((variant, direction))
        if passes is None:
            return None
        # "fwd" is two passes: in and out.
        milliseconds = 1e3 * passes * case.bytes["fwd"] / 2 / BANDWIDTH
        return milliseconds, milliseconds
    bounds = PREDICTED_MS.get((case.operation, variant, direction))
    share = case.pixels / PREDICTED_PIXELS
    return None if bounds is None else (bounds[0] * share, bounds[1] * share)


def cases_of(
    operation: str, model: str, pictures: int, device: torch.device, *, largest: bool = False
) -> Iterator[Case]:
    """Yield the cases of an operation in a step.

    Args:
        operation: Name of the operation.
        model: One of `MODELS`.
        pictures: Images of both identities in a step, even.
        device: Device of the inputs; on CUDA features are bfloat16 and channels_last, as trained
            there, else float32 and contiguous.
        largest: Only the largest site.
    """
    random = torch.Generator().manual_seed(0)
    if operation == "film_lrelu":
        sites = film_sites(model, pictures)
        for site in sites[-1:] if largest else sites:
            yield film_case(site, model, device, random)
    else:
        with torch.device("meta"):
            resolution = MODELS[model]().resolution
        make = dssim_case if operation == "dssim_l1" else warp_case
        yield make(model, resolution, pictures, device, random)


# --- film_lrelu -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class FilmSite:
    """A call site of `film_lrelu`: its arguments and calls per step."""

    shape: tuple[int, int, int, int]
    upscale: int
    scaled: bool
    per_sample: bool
    calls: int = 1


def film_sites(model: str, pictures: int) -> list[FilmSite]:
    """Return the sites of a step that upscale, and the largest other one; the largest last."""
    counts: Counter[FilmSite] = Counter()

    def record(
        x: Tensor, gamma: Tensor | None, beta: Tensor, *, slope: float, upscale: int = 1
    ) -> Tensor:
        _, c, h, w = x.shape
        counts[FilmSite((len(x), c, h, w), upscale, gamma is not None, beta.ndim == 2)] += 1
        return film_lrelu_reference(x, gamma, beta, slope=slope, upscale=upscale)

    with (
        torch.device("meta"),
        mock.patch.object(blocks, "film_lrelu", record),
        mock.patch.object(original64, "film_lrelu", record),
    ):
        net = MODELS[model]()
        faces = torch.empty(pictures, 3, net.resolution, net.resolution)
        half = pictures // 2
        code = torch.empty(half, net.code_dim) if net.code_dim else None
        for latent, name in zip(net.encode(faces).chunk(2), net.identities, strict=True):
            net.decode(latent, name, code)
    sites = [replace(site, calls=count) for site, count in counts.items()]
    enlarging = [site for site in sites if site.upscale > 1]
    unscaled = [site for site in sites if site.upscale == 1]
    chosen = enlarging + sorted(unscaled, key=_elements)[-1:]
    return sorted(chosen, key=lambda site: (site.upscale, _elements(site)))


def _elements(site: FilmSite) -> int:
    return int(np.prod(site.shape))


def film_case(site: FilmSite, model: str, device: torch.device, random: torch.Generator) -> Case:
    """Create a case with random features at a site."""
    on_gpu = device.type == "cuda"
    dtype = torch.bfloat16 if on_gpu else torch.float32
    layout = torch.channels_last if on_gpu else torch.contiguous_format
    channels = site.shape[1]
    parameter_shape = (site.shape[0], channels) if site.per_sample else (channels,)
    x = torch.randn(site.shape, generator=random).to(device, dtype, memory_format=layout)
    gamma = torch.randn(parameter_shape, generator=random).to(device) / 4 if site.scaled else None
    beta = torch.randn(parameter_shape, generator=random).to(device) / 4
    n, _, h, w = site.shape
    r = site.upscale
    upstream = torch.randn(n, channels // r**2, r * h, r * w, generator=random)
    once = x.numel() * x.element_size()
    return Case(
        operation="film_lrelu",
        model=model,
        shape=site.shape,
        pixels=n * h * w,
        dtype=dtype,
        layout="NHWC" if on_gpu else "NCHW",
        arguments={
            "x": x, "gamma": gamma, "beta": beta, "slope": blocks.SLOPE, "upscale": site.upscale
        },
        leaves=("x", "gamma", "beta") if site.scaled else ("x", "beta"),
        upstream=(upstream.to(device, dtype, memory_format=layout),),
        bytes={"fwd": 2 * once, "bwd": 3 * once, "full": 5 * once},
        calls=site.calls,
    )  # fmt: skip


# --- dssim_l1 and warp_pair -----------------------------------------------------------------------


def dssim_case(
    model: str, side: int, pictures: int, device: torch.device, random: torch.Generator
) -> Case:
    """Create a case with an image, and colours and weights sliced from a 5-channel target."""
    pred, goal = (
        torch.rand(pictures, side, side, channels, generator=random).to(device).permute(0, 3, 1, 2)
        for channels in (3, CHANNELS)
    )
    if device.type != "cuda":
        pred = pred.contiguous()
    mask = 0.1 + 0.9 * goal[:, 3:4].round()
    plane = pictures * side**2 * pred.element_size()
    return Case(
        operation="dssim_l1",
        model=model,
        shape=tuple(pred.shape),
        pixels=pictures * side**2,
        dtype=pred.dtype,
        layout="NHWC" if device.type == "cuda" else "NCHW",
        arguments={
            "pred": pred, "target": goal[:, :3], "mask": mask,
            "window": 11, "sigma": 1.5, "scales": 3,
        },
        leaves=("pred",),
        upstream=tuple(torch.rand(2, pictures, generator=random).to(device)),
        bytes={"fwd": 7 * plane, "bwd": 10 * plane, "full": 17 * plane},
    )  # fmt: skip


def warp_case(
    model: str, side: int, pictures: int, device: torch.device, random: torch.Generator
) -> Case:
    """Create a case with noise images, warped as in training, without degradation."""
    stored = min(2 * side, STORED_PX)
    faces = torch.randint(
        0, 256, (2 * pictures, stored, stored, CHANNELS), dtype=torch.uint8, generator=random
    )
    augment, numbers = Augment(), np.random.default_rng(0)
    draws = [augment.draw(numbers, stored, side) for _ in range(pictures)]
    named = {
        name: torch.from_numpy(np.stack([getattr(each, name) for each in draws])).to(device)
        for name in ("faces_from_target", "grid", "gain")
    }
    output = torch.float32
    written = pictures * side**2 * (3 + CHANNELS) * output.itemsize
    return Case(
        operation="warp_pair",
        model=model,
        shape=(pictures, stored, stored, CHANNELS),
        pixels=pictures * side**2,
        dtype=output,
        layout="NHWC",
        arguments={
            "faces": faces.to(device), **named, "size": side, "dtype": output,
            "index": torch.randperm(len(faces), generator=random)[:pictures].to(device),
        },
        leaves=(),
        upstream=(),
        bytes={"fwd": written + pictures * stored**2 * CHANNELS},
    )  # fmt: skip
