"""Load all faces of a run into the training device's memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from swapper.data.cache import CHANNELS, FaceCache

log = logging.getLogger(__name__)

MAX_SHARE = 0.25
"""Share of the device's free memory that faces may take; network and features need the rest."""
_AT_ONCE = 1 << 28
"""Bytes copied at a time."""


def fits(caches: Sequence[FaceCache], device: torch.device) -> bool:
    """Whether `device` is a GPU with room for all faces."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return sum(each.array.nbytes for each in caches) <= MAX_SHARE * free


def resident_faces(caches: Sequence[FaceCache], device: torch.device) -> Tensor:
    """Return the faces of all `caches`, of one size S, as (M, S, S, 5) uint8 on `device`."""
    size = caches[0].size
    table = torch.empty(
        (sum(map(len, caches)), size, size, CHANNELS), dtype=torch.uint8, device=device
    )
    rows = max(1, _AT_ONCE // (size**2 * CHANNELS))
    first = 0
    for cache in caches:
        for begin in range(0, len(cache), rows):
            # A copy: torch warns about read-only memory, such as the cache's map.
            batch = torch.from_numpy(cache.array[begin : begin + rows].copy())
            table[first : first + len(batch)].copy_(batch)
            first += len(batch)
    log.info("%d faces (%.2f GiB) stay on %s", len(table), table.nbytes / 2**30, device)
    return table
