"""Render pseudo-targets from stored faces, on their device.

Conventions, besides those of `swapper.kernels.warp`: a place is a share of the stored face's side,
``(pixel + 0.5) / S``. With ``p`` the place of ``faces_from_target @ (x, y, 1)``::

    pseudo_target(x, y) = faces[base](p + flow(p))              all channels
    colours                            * exp(shade(p) / 128)
    colours inside the lips: faces[donor](donor_from_place @ (p, 1)) * scale + shift

Flow and shade are interpolated bilinearly between G × G nodes, node (i, j) at the place (j, i) /
(G - 1). The lips' outline gets a soft edge. There is no kernel of its own for it: it reads half of
what `warp_pair` does, once a step.
"""

from __future__ import annotations

import torch
from torch import Tensor

from swapper.kernels.warp import read_bilinear, transform

SHADE_SCALE = 128
"""A shade is the logarithm of a factor of brightness times this, so within e^-1 to e."""
_EDGE = 0.008
"""Half the width of the lips' soft edge, as a share of the side; at least half a pixel is drawn."""


def draw_pseudo_targets(
    faces: Tensor,
    faces_from_target: Tensor,
    *,
    base: Tensor,
    flow: Tensor,
    donor: Tensor,
    donor_from_place: Tensor,
    lips: Tensor,
    gain: Tensor,
    shade: Tensor,
    size: int,
) -> Tensor:
    """Render pseudo-targets; without gradient.

    Args:
        faces: (M, S, S, C) uint8, C >= 3, stored faces.
        faces_from_target: (N, 2, 3), target pixels to pixels of `faces`.
        base: (N,) int64, row of `faces` that is warped.
        flow: (N, G, G, 2), from a place of the pseudo-target to that of the base, in sides.
        donor: (N,) int64, row of `faces` whose mouth is taken, or -1.
        donor_from_place: (N, 2, 3).
        lips: (N, L, 2), outline of the mouth's inside, places.
        gain: (N, 3, 2), scale and shift of the donor's colours on [0, 1].
        shade: (N, G', G'), logarithm of the factor of the base's colours, times `SHADE_SCALE`.
        size: Side of the result in pixels.

    Returns:
        (N, C, size, size) in [0, 1], float32.
    """
    side = faces.shape[1]
    with torch.no_grad():
        ramp = torch.arange(size, device=faces.device, dtype=torch.float32)
        pixels = transform(faces_from_target.float(), ramp[None, None, :], ramp[None, :, None])
        x, y = ((each + 0.5) / side for each in pixels)
        moved = _interpolated(flow.float(), x, y) * side
        factor = _interpolated(shade[..., None].float() / SHADE_SCALE, x, y).exp()
        # From the pixel, not from the place and back, which would round off unwarped faces.
        across, down = (each + moved[..., n] for n, each in enumerate(pixels))
        picture = read_bilinear(faces, base, across, down) / 255
        picture[..., :3] = (picture[..., :3] * factor).clamp(0, 1)
        # On a GPU all of them: selecting those with a donor would synchronise with the device.
        all_rows = torch.arange(len(donor), device=donor.device)
        filled = all_rows if faces.is_cuda else torch.nonzero(donor >= 0)[:, 0]
        if len(filled):
            x, y = x[filled], y[filled]
            mapped = transform(donor_from_place[filled].float(), x, y)
            across, down = (each * side - 0.5 for each in mapped)
            colours = read_bilinear(faces, donor[filled].clamp_min(0), across, down, channels=3)
            scale, shift = gain[filled, None, None].float().unbind(-1)
            colours = (colours / 255 * scale + shift).clamp(0, 1)
            edge = max(_EDGE, 0.5 / size)
            inside = _inside(lips[filled].float(), x, y, edge)[..., None]
            inside *= (donor[filled] >= 0)[:, None, None, None]
            picture[filled, ..., :3] += (colours - picture[filled, ..., :3]) * inside
    return picture.permute(0, 3, 1, 2)


def _interpolated(grid: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values (N, h, w, D) at places (N, h, w), from nodes (N, G, G, D); the rim held."""
    samples, nodes = grid.shape[:2]
    u, v = ((place * (nodes - 1)).clamp(0, nodes - 1) for place in (x, y))
    left, top = (place.floor().clamp(max=nodes - 2) for place in (u, v))
    right, below = (u - left)[..., None], (v - top)[..., None]
    first = torch.arange(samples, device=grid.device)[:, None, None] * nodes
    row = (first + top.long()) * nodes + left.long()
    table = grid.flatten(0, 2)
    upper = torch.lerp(table[row], table[row + 1], right)
    lower = torch.lerp(table[row + nodes], table[row + nodes + 1], right)
    return torch.lerp(upper, lower, below)


def _inside(outline: Tensor, x: Tensor, y: Tensor, edge: float) -> Tensor:
    """How far places (N, h, w) lie inside polygons (N, L, 2), 0 to 1 over twice `edge`."""
    place = torch.stack([x, y], dim=-1)
    odd = torch.zeros_like(x, dtype=torch.bool)
    nearest = torch.full_like(x, torch.inf)
    for start, end in zip(outline.unbind(1), outline.roll(-1, dims=1).unbind(1), strict=True):
        a, b = start[:, None, None], end[:, None, None]
        along = b - a
        share = ((place - a) * along).sum(-1) / along.square().sum(-1).clamp_min(1e-12)
        foot = a + share.clamp(0, 1)[..., None] * along
        nearest = torch.minimum(nearest, (place - foot).square().sum(-1))
        crosses = (a[..., 1] > y) != (b[..., 1] > y)
        level = (y - a[..., 1]) / torch.where(along[..., 1] == 0, 1e-12, along[..., 1])
        odd ^= crosses & (x < a[..., 0] + level * along[..., 0])
    signed = torch.where(odd, 1.0, -1.0) * nearest.sqrt()
    return (signed / (2 * edge) + 0.5).clamp(0, 1)
