"""Grids of labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_PAPER: Final = 250
_INK: Final = (40, 40, 40)
_GAP: Final = 6
_LINE: Final = 30
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


def draw_strip(
    rows: Sequence[tuple[str, Sequence[Picture]]], captions: Sequence[str], tile: int = 192
) -> Picture:
    """Draw a grid of images with row labels and column captions.

    Args:
        rows: A label and one image per column each, (H, W, 3) RGB; resized to squares.
        captions: One per column.
        tile: Side of a tile in pixels.

    Raises:
        ValueError: A row has a wrong number of images, or there are none.
    """
    columns = len(captions)
    if not rows or not columns or any(len(pictures) != columns for _, pictures in rows):
        raise ValueError(f"each row needs {columns} pictures, one a caption, and at least one")
    margin = max(_width(label) for label, _ in rows) + 3 * _GAP
    step = tile + _GAP
    sheet = np.full(
        (_LINE + len(rows) * step + _GAP, margin + columns * step + _GAP, 3), _PAPER, np.uint8
    )
    for column, caption in enumerate(captions):
        left = margin + column * step + max(0, (tile - _width(caption)) // 2)
        _write(sheet, caption, left, _LINE - 10)
    for row, (label, pictures) in enumerate(rows):
        top = _LINE + row * step
        _write(sheet, label, 2 * _GAP, top + tile // 2)
        for column, picture in enumerate(pictures):
            left = margin + column * step
            kind = cv2.INTER_AREA if picture.shape[0] > tile else cv2.INTER_CUBIC
            sheet[top : top + tile, left : left + tile] = cv2.resize(
                picture, (tile, tile), interpolation=kind
            )
    return sheet


def _width(text: str) -> int:
    return int(cv2.getTextSize(text, _FONT, 0.5, 1)[0][0])


def _write(sheet: Picture, text: str, left: int, baseline: int) -> None:
    cv2.putText(sheet, text, (left, baseline), _FONT, 0.5, _INK, 1, cv2.LINE_AA)
