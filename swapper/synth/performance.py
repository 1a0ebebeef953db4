"""Performances: expression, gaze and head motion over time, independent of the identity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swapper.errors import UsageError
from swapper.head_renderer.pose import HeadState
from swapper.synth.anatomy import feasible
from swapper.synth.emotions import AROUSAL, VALENCE
from swapper.synth.gaze import eye_rotation, head_motion, sample_fixations
from swapper.synth.gestures import blinks, habitual_gestures, micro_expressions, overlay
from swapper.synth.speech import add_speech
from swapper.synth.timeline import Timeline
from swapper.synth.unit_curves import build_phases, play_units, play_weights

SLOWEST, FASTEST = 1.0, 120.0
_SETTINGS = ("fps", "seed", "variety", "micro")
_STREAMS = ("phases", "units", "habits", "speech", "micro", "gaze", "blinks", "head")


@dataclass(frozen=True)
class Event:
    """A short event.

    Attributes:
        kind: "blink", "closure", "micro", "yawn", "sigh", "flash", "press", "roll" or "nod".
        start: Seconds.
        end: Seconds.
        emotion: Emotion of a micro-expression; else empty.
    """

    kind: str
    start: float
    end: float
    emotion: str = ""


@dataclass(frozen=True, eq=False)
class Performance:
    """T frames of motion and the parameters that reproduce them.

    Attributes:
        score: Timeline that was played.
        fps: Frames per second.
        seed: Random seed.
        variety: Amount of random variation.
        micro: Micro-expressions per minute.
        units: (T, 2, 19) float32 in [0, 1], intended intensities; rows are left and right.
        gaze: (T, 2) float64 degrees relative to the head, as in `HeadState`.
        pose: (T, 3) float64 degrees, as in `HeadState`.
        shift: (T, 3) float64 mm, as in `HeadState`.
        emotion: (T, 11) float32 weights of `EMOTIONS`, summing to 1.
        events: Blinks, micro-expressions and other gestures, by start.
    """

    score: Timeline
    fps: float
    seed: int
    variety: float
    micro: float
    units: NDArray[np.float32]
    gaze: NDArray[np.float64]
    pose: NDArray[np.float64]
    shift: NDArray[np.float64]
    emotion: NDArray[np.float32]
    events: tuple[Event, ...]

    def __len__(self) -> int:
        return len(self.units)

    @property
    def times(self) -> NDArray[np.float64]:
        """(T,) seconds."""
        return np.arange(len(self)) / self.fps

    @property
    def valence(self) -> NDArray[np.float32]:
        """(T,) in [-1, 1]."""
        return np.asarray(self.emotion @ VALENCE, np.float32)

    @property
    def arousal(self) -> NDArray[np.float32]:
        """(T,) in [-1, 1]."""
        return np.asarray(self.emotion @ AROUSAL, np.float32)

    def head_state(self, index: int) -> HeadState:
        """Return the head state of one frame.

        Raises:
            IndexError: If there is no such frame.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of a performance of {len(self)}")
        angles = (tuple(each[index].tolist()) for each in (self.gaze, self.pose, self.shift))
        return HeadState(self.units[index], *angles)

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as JSON values; `from_dict` plays them again."""
        settings = {name: getattr(self, name) for name in _SETTINGS}
        return {"score": self.score.to_dict(), **settings}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Performance:
        """Reproduce a performance from its parameters, bit for bit."""
        settings = {name: values[name] for name in _SETTINGS}
        return play(Timeline.from_dict(values["score"]), **settings)


def play(
    score: Timeline, fps: float = 25.0, seed: int = 0, *, variety: float = 1.0, micro: float = 6.0
) -> Performance:
    """Play a timeline; deterministic in its arguments.

    Args:
        score: Timeline to play.
        fps: Frames per second, 1 to 120. Another rate samples the same movements.
        seed: Random seed, 0 or more.
        variety: Amount of random variation, in [0, 2]: 0 plays prototypes on a still head, 1 is
            natural.
        micro: Micro-expressions per minute, in [0, 60].

    Raises:
        UsageError: If an argument is out of its range.
    """
    _check(fps, seed, variety, micro)
    times = np.arange(max(1, round(score.duration * fps))) / fps
    streams = {name: np.random.default_rng([seed, number]) for number, name in enumerate(_STREAMS)}
    phases = build_phases(score, streams["phases"], variety)
    units = play_units(phases, times, streams["units"], variety)
    units, stresses = add_speech(units, score.speech, times, streams["speech"])
    fixations = sample_fixations(phases, streams["gaze"], variety)
    gestures = habitual_gestures(phases, streams["habits"], variety) + stresses
    gestures += micro_expressions(phases, micro, streams["micro"])
    gestures += blinks(phases, fixations.large_jumps(), streams["blinks"])
    gestures.sort(key=lambda gesture: gesture.start)
    pose, shift = head_motion(phases, fixations, gestures, times, streams["head"], variety)
    return Performance(
        score=score,
        fps=float(fps),
        seed=seed,
        variety=float(variety),
        micro=float(micro),
        units=feasible(overlay(units, gestures, times)),
        gaze=eye_rotation(fixations, gestures, pose, times),
        pose=pose,
        shift=shift,
        emotion=play_weights(phases, times).astype(np.float32),
        events=tuple(
            Event(each.kind, round(each.start, 4), round(each.end, 4), each.emotion)
            for each in gestures
        ),
    )


def _check(fps: float, seed: int, variety: float, micro: float) -> None:
    for name, value, least, most in (
        ("fps", fps, SLOWEST, FASTEST),
        ("variety", variety, 0.0, 2.0),
        ("micro", micro, 0.0, 60.0),
    ):
        if not (math.isfinite(value) and least <= value <= most):
            raise UsageError(f"{name}={value}: must be a number from {least:g} to {most:g}")
    if seed < 0:
        raise UsageError(f"seed={seed}: must be 0 or more")
