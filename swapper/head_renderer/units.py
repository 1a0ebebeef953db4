"""Facial action units of actors and the layout of their intensities.

Units are numbered as in the Facial Action Coding System (Ekman and Friesen, 1978).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

NAMES: Final[dict[int, str]] = {
    1: "inner brow raiser", 2: "outer brow raiser", 4: "brow lowerer", 5: "upper lid raiser",
    6: "cheek raiser", 7: "lid tightener", 9: "nose wrinkler", 10: "upper lip raiser",
    12: "lip corner puller", 14: "dimpler", 15: "lip corner depressor", 17: "chin raiser",
    20: "lip stretcher", 23: "lip tightener", 24: "lip pressor", 25: "lips part", 26: "jaw drop",
    27: "mouth stretch", 43: "eyes closed",
}  # fmt: skip
UNITS: Final[tuple[int, ...]] = tuple(NAMES)
INDEX: Final[dict[int, int]] = {unit: column for column, unit in enumerate(UNITS)}
"""Unit number to its column in an array of intensities."""
NUM_UNITS: Final = len(UNITS)
LEFT, RIGHT = 0, 1
"""Rows of an array of intensities: the actor's own left and right."""
MIDLINE: Final[frozenset[int]] = frozenset({17, 23, 24, 25, 26, 27})
"""Units of the jaw and the lips' ring, which have no sides: the mean of both rows is used."""


def rest() -> NDArray[np.float32]:
    """Return (2, 19) zero intensities: a face at rest."""
    return np.zeros((2, NUM_UNITS), np.float32)


def unit_values(**strengths: float) -> NDArray[np.float32]:
    """Return (2, 19) intensities from names such as ``au12=0.8``, ``au1_left=0.4``.

    Raises:
        ValueError: If a name is not a unit of actors.
    """
    intensities = rest()
    for name, strength in strengths.items():
        number, _, side = name.removeprefix("au").partition("_")
        if not number.isdigit() or int(number) not in INDEX or side not in ("", "left", "right"):
            raise ValueError(f"{name} is no action unit; they are au{', au'.join(map(str, UNITS))}")
        rows = {"": [LEFT, RIGHT], "left": [LEFT], "right": [RIGHT]}[side]
        intensities[rows, INDEX[int(number)]] = strength
    return intensities
