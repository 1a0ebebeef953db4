"""Preview sheet of pseudo-targets, for inspection before training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from swapper.data.cache import FaceCache
from swapper.data.datamodule import FaceDataModule
from swapper.data.pseudo_recipes import Table
from swapper.data.pseudo_samples import draw_rows
from swapper.files import replacing
from swapper.training.preview_sheet import CELL_PX, LABEL_PX

_PER_RANK: Final = 2
_RANKS: Final = {"best": 0.02, "median": 0.5, "worst": 0.98}
"""Places among the faces that have a pseudo-target, by confidence."""


def draw_pseudo_sheet(
    data: FaceDataModule, tables: Mapping[tuple[int, int], Table], path: Path
) -> Path:
    """Write a picture: for each ordered pair the best, median and worst of its pseudo-targets.

    Each is shown as performer | base | pseudo-target, with its confidence.

    Args:
        data: Set up.
        tables: By places of performer and identity.
        path: Of the picture, replaced in one move.
    """
    pairs = [pair for pair, table in tables.items() if (table["base"] >= 0).any()]
    columns = 3 * _PER_RANK * len(_RANKS)
    height = (CELL_PX + LABEL_PX) * len(pairs)
    sheet = Image.new("RGB", (columns * CELL_PX, height), "#16181d")
    draw = ImageDraw.Draw(sheet)
    for row, pair in enumerate(pairs):
        top = row * (CELL_PX + LABEL_PX)
        title = f"{data.identities[pair[0]]} as {data.identities[pair[1]]}"
        usable = data.trained[pair[0]]
        chosen = _ranked(tables[pair], usable)
        pictures = _pictures(
            data.caches, pair, tables[pair], np.array([face for _, face in chosen])
        )
        for place, ((rank, face), triple) in enumerate(zip(chosen, pictures, strict=True)):
            left = 3 * place * CELL_PX
            confidence = tables[pair]["confidence"][face]
            draw.text((left + 4, top + 3), f"{title}: {rank}, {confidence:.2f}", fill="#e6e6e6")
            for cell, picture in enumerate(triple):
                sheet.paste(Image.fromarray(picture), (left + cell * CELL_PX, top + LABEL_PX))
    with replacing(path, durable=False) as stream:
        sheet.save(stream, format="PNG")
    return path


def _ranked(table: Table, usable: NDArray[np.int64]) -> list[tuple[str, int]]:
    """Select faces with a pseudo-target by rank of confidence."""
    covered = usable[table["base"][usable] >= 0]
    covered = covered[np.argsort(-table["confidence"][covered], kind="stable")]
    ranked = []
    for rank, share in _RANKS.items():
        first = min(int(share * len(covered)), max(len(covered) - _PER_RANK, 0))
        # Neighbours in rank are often neighbours in time, so take every sixth.
        ranked += [
            (rank, int(covered[min(first + 6 * n, len(covered) - 1)])) for n in range(_PER_RANK)
        ]
    return ranked


def _pictures(
    caches: tuple[FaceCache, ...], pair: tuple[int, int], table: Table, faces: NDArray[np.int64]
) -> list[tuple[NDArray[np.uint8], ...]]:
    """Performer, base and pseudo-target of each face, (CELL_PX, CELL_PX, 3)."""
    performer, identity = pair
    drawn = draw_rows(caches, pair, table, faces, CELL_PX)
    colours = (drawn[:, :3] * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    triples = []
    for face, picture in zip(faces, colours, strict=True):
        stored = caches[performer].array[face], caches[identity].array[table["base"][face]]
        triples.append((*(_cell(each[..., :3]) for each in stored), picture))
    return triples


def _cell(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    resized = Image.fromarray(np.ascontiguousarray(picture)).resize(
        (CELL_PX, CELL_PX), Image.Resampling.BICUBIC
    )
    return np.asarray(resized)
