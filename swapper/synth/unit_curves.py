"""Action unit curves of a timeline: onset, apex and offset of each emotion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from swapper.head_renderer.units import LEFT, MIDLINE, NUM_UNITS, RIGHT, UNITS, rest
from swapper.synth.curves import Floats, bump, rise, smooth_noise
from swapper.synth.emotions import EMOTION_BY_NAME, EMOTIONS, NUM_EMOTIONS, Dynamics, Variant
from swapper.synth.timeline import Segment, Timeline

_NEUTRAL: Final = EMOTIONS.index("neutral")
_BLENDED: Final = 0.8
"""Share of its strength that an emotion keeps when blended with another."""


@dataclass(frozen=True, eq=False)
class Phase:
    """An interval of the timeline with constant active segments.

    Attributes:
        start: Seconds.
        end: Seconds.
        units: (2, 19) target intensities.
        weights: (11,) of `EMOTIONS`, summing to 1.
        dynamics: Dynamics of the strongest segment.
        strength: Strength of that segment; scales its posture.
        pulse: Modulation frequency in Hz; 0 for none.
        side: 1 or -1, the side of its posture.
    """

    start: float
    end: float
    units: NDArray[np.float32]
    weights: Floats
    dynamics: Dynamics
    strength: float
    pulse: float
    side: float

    @property
    def emotion(self) -> str:
        """The emotion with the largest weight."""
        return EMOTIONS[int(self.weights.argmax())]


def build_phases(score: Timeline, rng: np.random.Generator, variety: float) -> list[Phase]:
    """Split a timeline where segments start and end, and sample each segment's variant."""
    chosen = [_choose(beat, rng, variety) for beat in score.beats]
    posture_signs = rng.choice((-1.0, 1.0), len(score.beats) + 1)
    edges = {0.0, score.duration}
    for beat in score.beats:
        edges |= {beat.start, min(beat.end, score.duration)}
    cuts = sorted(edges)
    phases = []
    for start, end in pairwise(cuts):
        if end - start < 1e-6:
            continue
        active = [i for i, beat in enumerate(score.beats) if beat.start <= start < beat.end - 1e-6]
        phases.append(_phase(start, end, score, active, chosen, posture_signs))
    return phases


def _choose(
    beat: Segment, rng: np.random.Generator, variety: float
) -> tuple[Variant, NDArray[np.float32]]:
    """Sample a variant and its randomly varied intensities."""
    variants = EMOTION_BY_NAME[beat.emotion].variants
    shares = np.array([variant.share for variant in variants])
    variant = variants[int(rng.choice(len(variants), p=shares / shares.sum()))]
    units = variant.intensities() * beat.strength
    gain = np.exp(rng.normal(0.0, 0.12 * variety, NUM_UNITS))
    lean = rng.normal(0.0, 0.04 * variety, NUM_UNITS)
    lean[[UNITS.index(unit) for unit in MIDLINE]] = 0.0
    units[LEFT] *= gain * (1 + lean)
    units[RIGHT] *= gain * (1 - lean)
    return variant, np.clip(units, 0.0, 1.0).astype(np.float32)


def _phase(
    start: float, end: float, score: Timeline, active: list[int],
    chosen: Sequence[tuple[Variant, NDArray[np.float32]]], posture_signs: Floats,
) -> Phase:  # fmt: skip
    weights = np.zeros(NUM_EMOTIONS)
    if not active:
        weights[_NEUTRAL] = 1.0
        calm = EMOTION_BY_NAME["neutral"].dynamics
        return Phase(start, end, rest(), weights, calm, 1.0, 0.0, posture_signs[-1])
    absent = np.ones_like(rest())
    for i in active:
        share = 1.0 if len(active) == 1 else _BLENDED
        absent *= 1 - share * chosen[i][1]
        weights[EMOTIONS.index(score.beats[i].emotion)] += score.beats[i].strength / len(active)
    weights[_NEUTRAL] += 1 - weights.sum()
    lead = max(active, key=lambda i: score.beats[i].strength)
    beat = score.beats[lead]
    dynamics = EMOTION_BY_NAME[beat.emotion].dynamics
    return Phase(start, end, 1 - absent, weights, dynamics, beat.strength, chosen[lead][0].pulse,
                 float(posture_signs[lead]))  # fmt: skip


def onset_of(phase: Phase, previous: Phase | None) -> float:
    """Return the onset of a phase in seconds; at most 0.6 of the phase."""
    fading = phase.emotion == "neutral" and previous is not None
    slow = previous.dynamics.offset if fading and previous is not None else phase.dynamics.onset
    return min(slow, 0.6 * (phase.end - phase.start))


def play_units(
    phases: Sequence[Phase], times: Floats, rng: np.random.Generator, variety: float
) -> Floats:
    """Return (T, 2, 19) units: each moves from its current value to the next phase's target.

    Units start with individual lags of about 0.1 s and have individual durations; falling units use
    the offset of their own emotion.
    """
    units = np.zeros((len(times), 2, NUM_UNITS))
    target = rest()
    previous: Phase | None = None
    for phase in phases:
        onset = onset_of(phase, previous)
        offset = min(
            previous.dynamics.offset if previous else onset, 0.7 * (phase.end - phase.start)
        )
        lags = np.abs(rng.normal(0.0, 0.05 * variety, NUM_UNITS)).clip(0, 0.15)
        paces = np.exp(rng.normal(0.0, 0.15 * variety, NUM_UNITS)).clip(0.7, 1.4)
        level = _level(phase, onset, times, rng, variety)
        for column in range(NUM_UNITS):
            for row in (LEFT, RIGHT):
                grows = phase.units[row, column] >= target[row, column]
                lasts = (onset if grows else offset) * paces[column]
                moved = rise(times, phase.start + lags[column], lasts)
                goal = np.clip(phase.units[row, column] * level, 0, 1)
                now = units[:, row, column]
                units[:, row, column] = now + moved * (goal - now)
        target, previous = phase.units, phase
    return units


def _level(
    phase: Phase, onset: float, times: Floats, rng: np.random.Generator, variety: float
) -> Floats:
    """Return (T,) the level of a phase relative to its apex: decay, slow noise and pulse."""
    apex = phase.start + onset
    level = 1 - (1 - phase.dynamics.sustain) * rise(times, apex + 0.4, 1.5)
    level = level * (1 + 0.06 * variety * smooth_noise(times, 0.35, rng))
    if phase.pulse:
        lasts = max(phase.end - apex, 0.2)
        window = bump(times, apex - 0.2, 0.4, 0.5 * lasts, 0.5 * lasts)
        level = level * (1 + 0.14 * window * np.sin(2 * np.pi * phase.pulse * times))
    return level


def play_weights(phases: Sequence[Phase], times: Floats) -> Floats:
    """Return (T, 11) emotion weights that sum to 1, in step with the mean of the units."""
    weights = np.zeros((len(times), NUM_EMOTIONS))
    weights[:, _NEUTRAL] = 1.0
    previous: Phase | None = None
    for phase in phases:
        moved = rise(times, phase.start + 0.04, onset_of(phase, previous))[:, None]
        weights = weights + moved * (phase.weights - weights)
        previous = phase
    return weights
