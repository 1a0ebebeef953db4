"""Performances of drawn traces, and the faults that a swap of them may have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from swapper.head_renderer.units import INDEX
from swapper.synth.curves import bump
from swapper.synth.emotions import NUM_EMOTIONS
from swapper.synth.performance import play
from swapper.synth.timeline import random_timeline

Floats = NDArray[np.float64]

UNITS = 8
FEELINGS = 5


@dataclass(frozen=True)
class Take:
    """What is shown: units (T, U) in [0, 1] and emotions (T, C); `slow` without what is brief."""

    fps: float
    units: Floats
    slow: Floats
    emotions: Floats
    lids: tuple[int, ...] = ()


Plant = Callable[[Take, np.random.Generator], tuple[Floats, Floats]]


def drawn(seed: int, seconds: float, fps: float) -> Take:
    """Onset, apex and offset of feelings that use units of their own, and micro-expressions."""
    rng = np.random.default_rng([seed, 1])
    times = np.arange(round(seconds * fps)) / fps
    # Each feeling's units; what one uses another may use as well.
    face = np.where(rng.random((FEELINGS, UNITS)) < 0.45, rng.uniform(0.4, 1.0, (5, UNITS)), 0.0)
    face[0] = 0.0
    face[np.arange(1, FEELINGS), np.arange(1, FEELINGS)] = 0.9
    slow = np.zeros((len(times), UNITS))
    weights = np.zeros((len(times), FEELINGS))
    start, last = rng.uniform(0.1, 0.6), 0
    while start < seconds - 1.2:
        feeling = int(rng.choice([f for f in range(1, FEELINGS) if f != last]))
        attack, hold, release = rng.uniform((0.3, 0.3, 0.5), (0.7, 1.2, 1.0))
        course = bump(times, start, attack, hold, release) * rng.uniform(0.6, 1.0)
        slow = np.maximum(slow, course[:, None] * face[feeling])
        weights[:, feeling] = np.maximum(weights[:, feeling], course)
        start, last = start + attack + hold + rng.uniform(0.3, 0.9), feeling
    weights[:, 0] = np.maximum(1 - weights.sum(axis=1), 0)
    units = slow.copy()
    moments = np.linspace(0.5, seconds - 1.0, round(seconds / 1.7))
    for state in moments + rng.uniform(-0.2, 0.2, len(moments)):
        lasts = rng.uniform(0.1, 0.3)
        shape = bump(times, state, 0.35 * lasts, 0.25 * lasts, 0.4 * lasts)
        feeling = int(rng.integers(1, FEELINGS))
        units = 1 - (1 - units) * (1 - shape[:, None] * face[feeling] * rng.uniform(0.4, 0.6))
    return Take(fps, units, slow, weights / weights.sum(axis=1, keepdims=True))


def acted(seed: int, seconds: float, fps: float) -> Take:
    """What an actor plays, with many micro-expressions; `slow` is the same take without them."""
    score = random_timeline(seed, seconds)
    full, calm = (play(score, fps, seed, micro=micro) for micro in (60.0, 0.0))
    assert full.emotion.shape[1] == NUM_EMOTIONS
    sides = [each.units.astype(np.float64).mean(axis=1) for each in (full, calm)]
    return Take(fps, sides[0], sides[1], full.emotion.astype(np.float64), (INDEX[43],))


def readings(take: Take, plant: Plant, seed: int, noise: float) -> dict[str, Any]:
    """Arguments of `diagnosis.figures`: both sides as a noisy reader sees them."""
    rng = np.random.default_rng([seed, 2])
    swap, emotions = plant(take, rng)
    return {
        "swap": swap + rng.normal(0, noise, swap.shape),
        "performer": take.units + rng.normal(0, noise, take.units.shape),
        "fps": take.fps,
        "emotions": (_noisy(emotions, rng, noise), _noisy(take.emotions, rng, noise)),
        "lids": take.lids,
    }


def copy(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Nothing wrong."""
    return take.units, take.emotions


def damping(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """0.6 of everything; what is missing of a feeling is neutral."""
    emotions = 0.6 * take.emotions
    emotions[:, 0] += 0.4
    return 0.6 * take.units, emotions


def jittering(share: float, hertz: float | None = None) -> Plant:
    """Noise of `share` of the motion: white, or in a band about `hertz`."""

    def plant(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
        noise = rng.normal(0, 1, take.units.shape)
        if hertz is not None:
            band = signal.butter(
                2, (hertz / 1.4, hertz * 1.4), "bandpass", fs=take.fps, output="sos"
            )
            noise = signal.sosfiltfilt(band, noise, axis=0)
            noise /= noise.std(axis=0)
        return take.units + share * take.units.std(axis=0) * noise, take.emotions

    return plant


def lagging(frames: int) -> Plant:
    """All of it, so many frames later."""

    def plant(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
        return _later(take.units, frames), _later(take.emotions, frames)

    return plant


def shuffling(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The same performance at another time: seconds of it in another order."""
    shift = int(rng.uniform(0.35, 0.65) * len(take.units))
    return np.roll(take.units, shift, axis=0), np.roll(take.emotions, shift, axis=0)


def renaming(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The units as they should be, but each feeling is read as another."""
    classes = take.emotions.shape[1]
    order = np.concatenate([[0], np.roll(np.arange(1, classes), 1)])
    return take.units, take.emotions[:, order]


def without_brief(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Micro-expressions never happened."""
    return take.slow, take.emotions


def smoothing(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A filter over time that takes everything faster than 2 Hz, as one against flicker does."""
    sections = signal.butter(2, 2.0, fs=take.fps, output="sos")
    return signal.sosfiltfilt(sections, take.units, axis=0), take.emotions


def damped_jitter(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """As lively as the performer by its spread, and a 0.6 of it by its feeling."""
    noise = rng.normal(0, 1, take.units.shape) * 0.8 * take.units.std(axis=0)
    return 0.6 * take.units + noise, damping(take, rng)[1]


def freezing(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """One face throughout."""
    still = np.broadcast_to(take.units.mean(axis=0), take.units.shape)
    neutral = np.zeros_like(take.emotions)
    neutral[:, 0] = 1.0
    return still, neutral


def overdoing(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Half as much again."""
    return 1.5 * take.units, take.emotions


def between_frames(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Half a frame late, as where two files count time differently."""
    return (take.units + _later(take.units, 1)) / 2, take.emotions


def both(first: Plant, second: Plant) -> Plant:
    """One fault, and another on top of it."""

    def plant(take: Take, rng: np.random.Generator) -> tuple[Floats, Floats]:
        units, emotions = first(take, rng)
        return second(replace(take, units=units, emotions=emotions), rng)

    return plant


def _later(values: Floats, frames: int) -> Floats:
    moved = np.roll(values, frames, axis=0)
    if frames > 0:
        moved[:frames] = values[0]
    elif frames < 0:
        moved[frames:] = values[-1]
    return moved


def _noisy(emotions: Floats, rng: np.random.Generator, noise: float) -> Floats:
    rough = np.clip(emotions + rng.normal(0, noise, emotions.shape), 1e-3, None)
    read: Floats = rough / rough.sum(axis=1, keepdims=True)
    return read
