"""Preview sheets: inputs and their decodings as every identity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from swapper.data.dataset import warped_and_target
from swapper.models.autoencoder import Autoencoder
from swapper.types import FaceBatch

LABEL_PX = 18
CELL_PX = 128


@dataclass(frozen=True)
class SheetRow:
    """One performer's face: the input and its decoding as each identity.

    Attributes:
        performer: Index into the identities.
        cells: Each (R, R, 3) uint8: the input, then one an identity in their order.
    """

    performer: int
    cells: list[NDArray[np.uint8]]


def _pictures(images: torch.Tensor) -> NDArray[np.uint8]:
    scaled = images.float().clamp(0, 1).mul(255).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).cpu().numpy()


def preview_rows(net: Autoencoder, batch: FaceBatch) -> list[SheetRow]:
    """Decode every face of `batch` as every identity, with its affect code if the net takes one."""
    inputs, _ = warped_and_target(batch, net.resolution)
    code = batch.code if net.code_dim else None
    latent = net.encode(inputs)
    columns = [_pictures(inputs)]
    for identity in net.identities:
        output = net.decode(latent, identity, code)
        # Dim what the mask excludes from compositing.
        columns.append(_pictures(output.image * (0.25 + 0.75 * output.mask)))
    return [
        SheetRow(int(performer), [column[index] for column in columns])
        for index, performer in enumerate(batch.identity)
    ]


def draw_preview_sheet(
    rows: Sequence[SheetRow], identities: Sequence[str], title: str
) -> Image.Image:
    """One picture of all rows, labelled; reconstructions have a frame around them."""
    cell = max(CELL_PX, rows[0].cells[0].shape[0])
    width = cell * (len(identities) + 1)
    sheet = Image.new("RGB", (width, (cell + LABEL_PX) * len(rows) + LABEL_PX), "#16181d")
    draw = ImageDraw.Draw(sheet)
    draw.text((4, 3), title, fill="#e6e6e6")
    for column, name in enumerate(identities, 1):
        draw.text((column * cell + 4, 3), f"as {name}", fill="#e6e6e6")
    for index, row in enumerate(rows):
        top = LABEL_PX + index * (cell + LABEL_PX)
        for column, picture in enumerate(row.cells):
            tile = Image.fromarray(picture).resize((cell, cell), Image.Resampling.BICUBIC)
            sheet.paste(tile, (column * cell, top))
        left = (row.performer + 1) * cell
        draw.rectangle((left, top, left + cell - 1, top + cell - 1), outline="#4fa3ff")
        draw.text((4, top + cell + 3), f"performer {identities[row.performer]}", fill="#9aa4b2")
    return sheet
