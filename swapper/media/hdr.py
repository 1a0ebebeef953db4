"""Bring HDR pictures into the range of an ordinary display."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Transfer = Literal["PQ", "HLG"]
TRANSFERS: Final[dict[int, Transfer]] = {16: "PQ", 18: "HLG"}
"""By AVColorTransferCharacteristic (ITU-T H.273)."""

# cd/m2 of diffuse white in HDR (ITU-R BT.2408), which becomes the display's white.
_WHITE: Final = 203.0
_HLG_PEAK: Final = 1000.0
# Share of the display's range above which light is compressed.
_KNEE: Final = 0.75
_STEPS: Final = 4096
# BT.2020 to BT.709 primaries, linear light (ITU-R BT.2087).
_BT709_FROM_BT2020: Final = np.array([
    [1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187],
], np.float32)  # fmt: skip
_LUMA: Final = np.array([0.2627, 0.6780, 0.0593], np.float32)

Floats = NDArray[np.float32]


def display_picture(picture: Floats, transfer: Transfer) -> NDArray[np.uint8]:
    """Return a picture for a display of BT.709, as an ordinary camera would have taken it.

    Light up to 150 cd/m2 is kept, brighter light is compressed, hues stay.

    Args:
        picture: (H, W, 3) BT.2020 code values, float32 in [0, 255].
        transfer: Its curve.
    """
    codes = np.clip(picture * np.float32((_STEPS - 1) / 255), 0, _STEPS - 1)
    light = _light(transfer)[np.rint(codes).astype(np.int32)]
    if transfer == "HLG":  # the system's gamma, of the luminance (BT.2100)
        light = light * np.maximum(light @ _LUMA, 1e-6)[..., None] ** np.float32(0.2)
        light *= np.float32(_HLG_PEAK / _WHITE)
    light = np.maximum(light @ _BT709_FROM_BT2020.T, 0)
    brightest = light.max(axis=2, keepdims=True)
    above = np.maximum(brightest - _KNEE, 0) / (1 - _KNEE)
    compressed = np.where(above > 0, _KNEE + (1 - _KNEE) * np.tanh(above), brightest)
    light *= compressed / np.maximum(brightest, 1e-6)
    encoded = np.clip(light, 0, 1) ** np.float32(1 / 2.2)
    return np.asarray(np.rint(encoded * 255), np.uint8)


@lru_cache(maxsize=2)
def _light(transfer: Transfer) -> Floats:
    """Linear light of code values 0 to 1 in `_STEPS` steps.

    PQ: of the display, 1 = diffuse white. HLG: of the scene, 1 = peak.

    Source: ITU-R BT.2100-2, tables 4 and 5.
    """
    code = np.linspace(0, 1, _STEPS)
    if transfer == "PQ":
        m1, m2 = 2610 / 16384, 2523 / 4096 * 128
        c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
        root = code ** (1 / m2)
        nits = 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
        return (nits / _WHITE).astype(np.float32)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    low, high = code**2 / 3, (np.exp((code - c) / a) + b) / 12
    return np.where(code <= 0.5, low, high).astype(np.float32)
