"""Emotion models of actors: action units, valence and arousal, dynamics.

Units follow the prototypes and major variants of EMFACS (Friesen and Ekman, 1983) and the FACS
Investigator's Guide (Ekman, Friesen and Hager, 2002). Tired, bored and seductive are not basic
emotions: they are compositions that differ less in their units than in lids, gaze, head and pace.
Valence and arousal follow affective norms of the words (Russell, 1980; Warriner et al.,
2013). Blink rates follow Bentivoglio et al. (1997): about 17 a minute at rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.units import unit_values

BASIC: Final = ("neutral", "happy", "sad", "surprise", "fear", "anger", "disgust", "contempt")
EMOTIONS: Final = (*BASIC, "tired", "bored", "seductive")
"""Order of every array of emotion weights."""
NUM_EMOTIONS: Final = len(EMOTIONS)


@dataclass(frozen=True)
class Variant:
    """One expression of an emotion at full strength.

    Attributes:
        units: Intensity in [0, 1] of each active unit, by name: ``au12``, or ``au12_left`` for the
            actor's own left side alone.
        share: Relative frequency among the variants.
        pulse: Modulation frequency in Hz, as in a laugh; 0 for none.
    """

    units: Mapping[str, float]
    share: float = 1.0
    pulse: float = 0.0

    def intensities(self) -> NDArray[np.float32]:
        """(2, 19) unit intensities in [0, 1]; rows are the actor's left and right."""
        return unit_values(**self.units)


@dataclass(frozen=True)
class Dynamics:
    """Dynamics of an emotion: timing, blinks, gaze and head.

    Attributes:
        onset: Seconds from the first movement to the apex.
        offset: Seconds from the apex back to rest.
        sustain: Share of the apex that a lasting emotion keeps; low for surprise.
        blinks: Blinks per minute.
        lids: Share of the time with the eyes shut beyond blinks (PERCLOS), in long slow closures.
        averted: Share of fixations away from the camera.
        away: Direction of those, degrees to either side and up.
        dwell: Median duration of a fixation in seconds.
        pose: Yaw, pitch and roll of the head in degrees; yaw and roll to a random side.
        lean: Millimetres towards the camera.
        stir: Amount of idle head movement; 1 is that of a calm listener.
    """

    onset: float = 0.5
    offset: float = 0.8
    sustain: float = 0.9
    blinks: float = 17.0
    lids: float = 0.0
    averted: float = 0.25
    away: tuple[float, float] = (12.0, 0.0)
    dwell: float = 1.2
    pose: tuple[float, float, float] = (0.0, 0.0, 0.0)
    lean: float = 0.0
    stir: float = 1.0


@dataclass(frozen=True)
class Emotion:
    """An emotion with its expressions and dynamics.

    Attributes:
        name: One of `EMOTIONS`.
        valence: Unpleasant to pleasant, in [-1, 1].
        arousal: Calm to excited, in [-1, 1].
        variants: Its expressions; one is sampled each time it is played.
        dynamics: Its dynamics.
    """

    name: str
    valence: float
    arousal: float
    variants: tuple[Variant, ...]
    dynamics: Dynamics = Dynamics()


def _mirrored(units: Mapping[str, float], share: float = 1.0) -> tuple[Variant, Variant]:
    """Return a one-sided expression on either side."""
    swap = {"left": "right", "right": "left"}
    other = {
        f"{stem}_{swap[side]}" if side else stem: strength
        for name, strength in units.items()
        for stem, _, side in [name.partition("_")]
    }
    return Variant(units, share / 2), Variant(other, share / 2)


_ALL: Final = (
    Emotion("neutral", 0.0, 0.0, (
        Variant({}),
        Variant({"au25": 0.12}, 0.25),
        Variant({"au24": 0.15}, 0.2),
    )),
    Emotion("happy", 0.8, 0.5, (
        Variant({"au6": 0.6, "au12": 0.75, "au25": 0.45}, 1.2),
        Variant({"au6": 0.45, "au12": 0.65}, 0.9),
        Variant({"au6": 0.8, "au7": 0.3, "au12": 0.9, "au25": 0.7, "au26": 0.4}, 0.7, pulse=4.5),
        Variant({"au2": 0.2, "au6": 0.7, "au12": 0.9, "au25": 0.65}, 0.5),
    ), Dynamics(0.5, 1.1, 0.85, blinks=20, averted=0.2, pose=(3, 2, 4), lean=4, stir=1.4)),
    Emotion("sad", -0.65, -0.35, (
        Variant({"au1": 0.75, "au4": 0.5, "au15": 0.65, "au17": 0.3}, 1.2),
        Variant({"au1": 0.8, "au4": 0.45, "au6": 0.35, "au15": 0.6, "au17": 0.55, "au25": 0.1}),
        Variant({"au1": 0.65, "au4": 0.4, "au15": 0.5, "au43": 0.2}, 0.7),
        Variant({"au1": 0.7, "au4": 0.6, "au6": 0.5, "au7": 0.3, "au15": 0.4, "au20": 0.45,
                 "au25": 0.4}, 0.5),
    ), Dynamics(1.1, 1.6, 0.95, blinks=23, averted=0.6, away=(8, -14), dwell=2.0,
              pose=(3, -8, 3), lean=-4, stir=0.6)),
    Emotion("surprise", 0.2, 0.8, (
        Variant({"au1": 0.8, "au2": 0.8, "au5": 0.7, "au25": 0.6, "au26": 0.65}, 1.2),
        Variant({"au1": 0.9, "au2": 0.9, "au5": 0.8, "au25": 0.8, "au27": 0.7}, 0.7),
        Variant({"au1": 0.7, "au2": 0.75, "au5": 0.55}, 0.6),
    ), Dynamics(0.25, 0.8, 0.6, blinks=10, averted=0.08, pose=(2, 4, 2), lean=-10, stir=0.8)),
    Emotion("fear", -0.65, 0.75, (
        Variant({"au1": 0.8, "au2": 0.5, "au4": 0.55, "au5": 0.8, "au7": 0.4, "au20": 0.6,
                 "au25": 0.5}, 1.2),
        Variant({"au1": 0.85, "au2": 0.6, "au4": 0.6, "au5": 0.85, "au7": 0.35, "au20": 0.7,
                 "au25": 0.6, "au26": 0.5}),
        Variant({"au1": 0.7, "au2": 0.45, "au4": 0.5, "au5": 0.7, "au7": 0.45, "au25": 0.2}, 0.6),
        Variant({"au1": 0.8, "au2": 0.6, "au4": 0.55, "au5": 0.9, "au20": 0.6, "au25": 0.8,
                 "au27": 0.6}, 0.4),
    ), Dynamics(0.3, 1.1, 0.85, blinks=14, averted=0.55, away=(16, 3), dwell=0.45,
              pose=(5, -3, 2), lean=-14, stir=1.5)),
    Emotion("anger", -0.55, 0.75, (
        Variant({"au4": 0.85, "au5": 0.5, "au7": 0.6, "au23": 0.6, "au24": 0.35}, 1.2),
        Variant({"au4": 0.9, "au5": 0.55, "au7": 0.65, "au10": 0.5, "au23": 0.4, "au25": 0.6,
                 "au26": 0.35}),
        Variant({"au4": 0.8, "au7": 0.7, "au17": 0.5, "au24": 0.7}, 0.8),
        Variant({"au4": 0.95, "au5": 0.6, "au7": 0.5, "au9": 0.3, "au20": 0.3, "au25": 0.8,
                 "au27": 0.5}, 0.4),
    ), Dynamics(0.35, 1.3, 0.9, blinks=11, averted=0.1, dwell=2.2, pose=(3, -5, 2), lean=12,
              stir=1.0)),
    Emotion("disgust", -0.65, 0.35, (
        Variant({"au4": 0.3, "au7": 0.35, "au9": 0.8, "au10": 0.4, "au17": 0.45}),
        Variant({"au9": 0.65, "au10": 0.7, "au15": 0.35, "au17": 0.3, "au25": 0.3}),
        Variant({"au4": 0.4, "au7": 0.5, "au9": 0.75, "au10": 0.65, "au25": 0.6, "au26": 0.35},
                0.8),
        Variant({"au7": 0.3, "au10": 0.75, "au15": 0.4, "au17": 0.4}, 0.6),
    ), Dynamics(0.45, 0.9, 0.85, blinks=18, averted=0.45, away=(15, -6), pose=(8, 2, 4), lean=-10)),
    Emotion("contempt", -0.5, 0.15, (
        *_mirrored({"au12_left": 0.5, "au14_left": 0.75}),
        *_mirrored({"au2_right": 0.4, "au7": 0.2, "au14_left": 0.8, "au12_left": 0.25}, 0.7),
        *_mirrored({"au10_left": 0.4, "au14_left": 0.7, "au17": 0.25, "au43": 0.12}, 0.6),
    ), Dynamics(0.6, 1.0, 0.9, blinks=13, averted=0.35, away=(14, -2), dwell=1.6, pose=(8, 6, 6),
              stir=0.7)),
    Emotion("tired", -0.15, -0.85, (
        Variant({"au1": 0.15, "au4": 0.15, "au15": 0.2, "au43": 0.45}),
        Variant({"au25": 0.2, "au26": 0.15, "au43": 0.4}, 0.7),
        Variant({"au1": 0.35, "au2": 0.3, "au43": 0.5}, 0.5),
    ), Dynamics(1.5, 1.4, 0.95, blinks=26, lids=0.2, averted=0.5, away=(6, -12), dwell=2.6,
              pose=(3, -9, 5), lean=-6, stir=0.7)),
    Emotion("bored", -0.35, -0.6, (
        Variant({"au14": 0.25, "au15": 0.25, "au43": 0.3}),
        *_mirrored({"au14_left": 0.4, "au17": 0.25, "au43": 0.28}, 0.8),
        Variant({"au2": 0.2, "au17": 0.45, "au24": 0.3, "au43": 0.3}, 0.6),
    ), Dynamics(1.2, 1.0, 0.95, blinks=21, lids=0.03, averted=0.75, away=(17, 5), dwell=2.2,
              pose=(9, -4, 9), lean=-8, stir=0.8)),
    Emotion("seductive", 0.55, 0.4, (
        *_mirrored({"au12_left": 0.55, "au6_left": 0.25, "au25": 0.22, "au43": 0.3}),
        *_mirrored({"au2_right": 0.4, "au12_left": 0.45, "au14_left": 0.2, "au43": 0.28}, 0.8),
        *_mirrored({"au12_left": 0.35, "au12_right": 0.1, "au7": 0.3, "au25": 0.35, "au26": 0.1,
                    "au43": 0.25}, 0.7),
    ), Dynamics(0.95, 1.2, 0.95, blinks=9, averted=0.12, away=(10, -8), dwell=3.0,
              pose=(10, -6, 10), lean=6, stir=0.7)),
)  # fmt: skip

EMOTION_BY_NAME: Final[Mapping[str, Emotion]] = MappingProxyType({each.name: each for each in _ALL})
"""Every emotion by name, in the order of `EMOTIONS`."""
VALENCE: Final = np.array([EMOTION_BY_NAME[name].valence for name in EMOTIONS])
AROUSAL: Final = np.array([EMOTION_BY_NAME[name].arousal for name in EMOTIONS])
