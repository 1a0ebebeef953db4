"""Speech-like mouth movement from random visemes at the pace of speech."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from swapper.head_renderer.units import INDEX, NUM_UNITS, rest, unit_values
from swapper.synth.curves import Floats, bump, interpolate_keys
from swapper.synth.gestures import Gesture

# Mouth shapes by sound, after the viseme groups of MPEG-4 (ISO/IEC 14496-2).
_VOWELS: Final = tuple(
    unit_values(**shape)
    for shape in (
        {"au25": 0.6, "au26": 0.55},  # father
        {"au25": 0.5, "au26": 0.35, "au10": 0.15},  # bed
        {"au25": 0.45, "au26": 0.15, "au20": 0.35, "au12": 0.2},  # see
        {"au25": 0.45, "au26": 0.4, "au23": 0.35},  # law
        {"au25": 0.3, "au26": 0.2, "au23": 0.55},  # too
        {"au25": 0.4, "au26": 0.25},  # about
    )
)
_CONSONANTS: Final = tuple(
    unit_values(**shape)
    for shape in (
        {"au24": 0.5, "au17": 0.15},  # m, b, p: the lips meet
        {"au25": 0.12, "au10": 0.2, "au17": 0.2},  # f, v
        {"au25": 0.2, "au20": 0.2},  # s, z
        {"au25": 0.2, "au26": 0.05},  # t, d, n, l
        {"au25": 0.2, "au23": 0.35, "au26": 0.05},  # sh, r, w
        {"au25": 0.25, "au26": 0.1},  # k, g
    )
)
_LIPS: Final = [INDEX[unit] for unit in (12, 15, 17, 20, 23, 24, 25, 26, 27)]
_SLOWEST, _FASTEST = 3.2, 5.8
"""Syllables a second (Chandrasekaran et al., 2009, measured 2 to 7)."""


def add_speech(
    units: Floats, speech: Sequence[tuple[float, float]], times: Floats, rng: np.random.Generator
) -> tuple[Floats, list[Gesture]]:
    """Add spans of speech, (start, end) in seconds, to the emotion's (T, 2, 19) units.

    Returns:
        (T, 2, 19) units, and the nods and brow flashes of stressed syllables.
    """
    result = units.copy()
    stresses: list[Gesture] = []
    for start, end in speech:
        keys, shapes, stressed = _syllables(start, end, rng)
        stresses += [_stress(time, rng) for time in stressed]
        ease = min(0.25, (end - start) / 4)
        talking = bump(times, start, ease, end - start - 2 * ease, ease)[:, None, None]
        # The emotion keeps half of its effect on lips and jaw during speech.
        result[..., _LIPS] *= 1 - 0.5 * talking
        spoken = interpolate_keys(times, keys, shapes.reshape(len(keys), -1))
        spoken = spoken.reshape(-1, 2, NUM_UNITS)
        result = 1 - (1 - result) * (1 - talking * spoken)
    return result, stresses


def _syllables(
    start: float, end: float, rng: np.random.Generator
) -> tuple[Floats, Floats, list[float]]:
    """Return key times, their (K, 2, 19) shapes, and the times of stressed syllables."""
    still = rest()
    keys, shapes, stressed = [start], [still], []
    time = start
    while time < end - 0.15:
        phrase = min(end, time + float(rng.uniform(0.9, 2.4)))
        pace = float(rng.uniform(_SLOWEST, _FASTEST))
        while time < phrase - 0.1:
            lasts = float(rng.uniform(0.85, 1.2)) / pace
            loud = float(rng.uniform(0.55, 1.0))
            if rng.random() < 0.15:
                loud = 1.15
                stressed.append(time)
            keys += [time + 0.35 * lasts, time + 0.7 * lasts]
            shapes += [
                _CONSONANTS[int(rng.integers(len(_CONSONANTS)))] * np.float32(min(loud, 1.0)),
                _VOWELS[int(rng.integers(len(_VOWELS)))] * np.float32(loud),
            ]
            time += lasts
        pause = float(rng.uniform(0.15, 0.45))
        keys += [time + 0.1, time + 0.1 + pause]
        shapes += [still, still]
        time += 0.1 + pause
    return np.array(keys), np.stack(shapes).astype(np.float64), stressed


def _stress(time: float, rng: np.random.Generator) -> Gesture:
    """Return a small nod, sometimes with raised brows."""
    brows = float(rng.choice((0.0, 0.25, 0.4)))
    return Gesture(
        "nod", time, 0.16, 0.02, 0.3, unit_values(au1=brows, au2=brows),
        (float(rng.normal(0, 1)), -float(rng.uniform(1, 3.5)), 0.0),
    )  # fmt: skip
