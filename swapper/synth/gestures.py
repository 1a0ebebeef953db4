"""Short gestures added to an emotion: blinks, micro-expressions, yawns, sighs, brow flashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.units import INDEX, rest, unit_values
from swapper.synth.curves import Floats, bump
from swapper.synth.emotions import EMOTION_BY_NAME, EMOTIONS
from swapper.synth.unit_curves import Phase

MICRO_SECONDS: Final = (0.04, 0.2)
"""Duration of a micro-expression (Ekman and Friesen, 1969; Yan et al., 2013): at 25 frames per
second the shortest appear in one frame or in none."""
_NOT_MICRO: Final = [INDEX[26], INDEX[27], INDEX[43]]


@dataclass(frozen=True, eq=False)
class Gesture:
    """A transient movement.

    Attributes:
        kind: "blink", "closure", "micro", "yawn", "sigh", "flash", "press", "roll" or "nod".
        start: Seconds.
        attack: Seconds to the apex.
        hold: Seconds at the apex.
        release: Seconds back to zero.
        units: (2, 19) intensities added, in [0, 1].
        pose: (3,) degrees added.
        gaze: (2,) degrees added.
        emotion: Emotion of a micro-expression; else empty.
    """

    kind: str
    start: float
    attack: float
    hold: float
    release: float
    units: NDArray[np.float32] = field(default_factory=rest)
    pose: tuple[float, float, float] = (0.0, 0.0, 0.0)
    gaze: tuple[float, float] = (0.0, 0.0)
    emotion: str = ""

    @property
    def end(self) -> float:
        """Seconds."""
        return self.start + self.attack + self.hold + self.release

    def amount(self, times: Floats) -> Floats:
        """Return (T,) activation in [0, 1]."""
        return bump(times, self.start, self.attack, self.hold, self.release)


def overlay(units: Floats, gestures: Sequence[Gesture], times: Floats) -> Floats:
    """Return (T, 2, 19) units combined with the gestures; never above 1."""
    absent = 1.0 - units
    for gesture in gestures:
        near = slice(*np.searchsorted(times, (gesture.start, gesture.end)))
        absent[near] *= 1.0 - gesture.amount(times[near])[:, None, None] * gesture.units
    return 1.0 - absent


def phase_at(phases: Sequence[Phase], time: float) -> Phase:
    """Return the phase that is active at a time; the last one after the end."""
    return next((phase for phase in phases if time < phase.end), phases[-1])


def blinks(
    phases: Sequence[Phase], shifts: Sequence[float], rng: np.random.Generator
) -> list[Gesture]:
    """Sample blinks at each emotion's rate, more often at saccades and changes of emotion.

    A lid closes in about 80 ms and opens in about 160 (VanderWerf et al., 2003). Tired lids also
    stay closed for a while. `shifts` are the times of large saccades in seconds.
    """
    end = phases[-1].end
    prompts = [time for time in shifts if rng.random() < 0.5]
    prompts += [phase.start + 0.05 for phase in phases[1:] if rng.random() < 0.4]
    candidates = [(time, False) for time in prompts]
    time = float(rng.uniform(0.3, 3.0))
    while time < end:
        dynamics = phase_at(phases, time).dynamics
        closures = dynamics.lids / 0.9  # a second, for they last 0.9 s in the mean
        candidates.append((time, rng.random() < closures / (closures + dynamics.blinks / 60)))
        time += float(rng.gamma(2.5, 1 / 2.5)) / (dynamics.blinks / 60 + closures)
    gestures: list[Gesture] = []
    shut = unit_values(au43=1.0)
    for start, closure in sorted(candidates):
        if gestures and start < gestures[-1].end + 0.25:
            continue
        if closure:
            hold = float(rng.uniform(0.2, 0.8))
            gestures.append(Gesture("closure", start, 0.3, hold, 0.35, shut))
        else:
            down, held, up = rng.uniform((0.07, 0.045, 0.12), (0.1, 0.07, 0.19))
            gestures.append(Gesture("blink", start, float(down), float(held), float(up), shut))
    return gestures


def micro_expressions(
    phases: Sequence[Phase], per_minute: float, rng: np.random.Generator
) -> list[Gesture]:
    """Sample micro-expressions: brief expressions of another emotion."""
    end = phases[-1].end
    gestures = []
    for time in np.sort(rng.uniform(0, end, rng.poisson(per_minute * end / 60))):
        played = phase_at(phases, float(time)).emotion
        emotion = str(rng.choice([name for name in EMOTIONS[1:8] if name != played]))
        variants = EMOTION_BY_NAME[emotion].variants
        units = variants[int(rng.integers(len(variants)))].intensities()
        units[:, _NOT_MICRO] = 0.0
        lasts = float(rng.uniform(*MICRO_SECONDS))
        gestures.append(
            Gesture(
                "micro", float(time), 0.35 * lasts, 0.25 * lasts, 0.4 * lasts,
                units * np.float32(rng.uniform(0.35, 0.6)), emotion=emotion,
            )
        )  # fmt: skip
    return gestures


def habitual_gestures(
    phases: Sequence[Phase], rng: np.random.Generator, variety: float
) -> list[Gesture]:
    """Sample gestures that are typical of each emotion: yawns, sighs, eye rolls, brow flashes."""
    gestures: list[Gesture] = []
    for phase in phases:
        lasts, chance = phase.end - phase.start, rng.random() / max(variety, 1e-6)
        when = phase.start + float(rng.uniform(0.3, 0.5)) * lasts
        room = phase.end - when
        if phase.emotion == "tired" and room > 2.4 and chance < 0.45:
            units = unit_values(au25=0.9, au27=0.75, au43=0.85, au4=0.3, au7=0.3)
            gestures.append(Gesture("yawn", when, 0.9, 0.7, 0.8, units, (0, 7, 0)))
        elif phase.emotion in ("tired", "bored", "sad") and room > 1.3 and chance < 0.7:
            pressed, breath = unit_values(au24=0.4, au17=0.15), unit_values(au25=0.35, au26=0.2)
            gestures.append(Gesture("sigh", when, 0.25, 0.1, 0.3, pressed, (0, -3, 0)))
            gestures.append(Gesture("sigh", when + 0.4, 0.3, 0.1, 0.5, breath))
        elif phase.emotion == "bored" and room > 0.8:
            units = unit_values(au2=0.2, au5=0.1)
            gestures.append(Gesture("roll", when, 0.25, 0.2, 0.3, units, gaze=(8, 17)))
        elif phase.emotion in ("happy", "seductive") and room > 0.6 and chance < 0.45:
            gestures.append(Gesture("flash", when, 0.15, 0.12, 0.3, unit_values(au1=0.45, au2=0.5)))
        elif phase.emotion == "neutral" and room > 0.6 and chance < 0.3:
            units = unit_values(au24=0.35, au14=0.2)
            gestures.append(Gesture("press", when, 0.2, 0.15, 0.3, units))
    return gestures
