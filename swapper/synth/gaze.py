"""Gaze direction and head pose over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swapper.synth.curves import Floats, interpolate_keys, rise, smooth_noise
from swapper.synth.gestures import Gesture, phase_at
from swapper.synth.unit_curves import Phase, onset_of


@dataclass(frozen=True, eq=False)
class Fixations:
    """Gaze fixations in degrees to the image's right and up; the camera is at (0, 0).

    Attributes:
        starts: (K,) seconds at which each saccade begins.
        targets: (K, 2) degrees.
    """

    starts: Floats
    targets: Floats

    def at(self, times: Floats, slow: float = 0.0) -> Floats:
        """Return (T, 2) direction; a saccade takes 21 ms + 2.2 ms per degree (Bahill et al., 1975).

        Args:
            times: Seconds.
            slow: Least duration of a saccade in seconds, for the head, which follows the eyes.
        """
        if len(self.starts) == 1:
            return np.repeat(self.targets, len(times), axis=0)
        jumps = np.linalg.norm(np.diff(self.targets, axis=0), axis=1)
        lasts = np.maximum(slow, 0.021 + 0.0022 * jumps)
        room = np.diff(np.append(self.starts[1:], np.inf))
        arrive = self.starts[1:] + np.minimum(lasts, 0.9 * room)
        keys = np.stack([self.starts[1:], arrive], axis=1).ravel()
        values = np.stack([self.targets[:-1], self.targets[1:]], axis=1).reshape(-1, 2)
        return interpolate_keys(times, keys, values)

    def large_jumps(self) -> list[float]:
        """Return the times of saccades beyond 9 degrees, which often coincide with blinks."""
        far = np.linalg.norm(np.diff(self.targets, axis=0), axis=1) > 9
        return [float(time) for time in self.starts[1:][far]]


def sample_fixations(
    phases: Sequence[Phase], rng: np.random.Generator, variety: float
) -> Fixations:
    """Sample fixations by the gaze statistics of each emotion."""
    starts, targets = [0.0], [rng.normal(0, 0.8 * variety, 2)]
    time = 0.0
    while True:
        dynamics = phase_at(phases, time).dynamics
        time += dynamics.dwell * float(np.exp(rng.normal(0, 0.5))) * 0.9 + 0.15
        if time >= phases[-1].end:
            return Fixations(np.array(starts), np.array(targets))
        dynamics = phase_at(phases, time).dynamics
        if rng.random() < dynamics.averted * min(variety, 1.0):
            side = float(rng.choice((-1.0, 1.0)))
            x, y = dynamics.away
            target = np.array([side * x, y]) + rng.normal(0, 3.5, 2)
        else:
            target = rng.normal(0, 1.6 * variety, 2)
        starts.append(time)
        targets.append(target)


def head_motion(
    phases: Sequence[Phase],
    fixations: Fixations,
    gestures: Sequence[Gesture],
    times: Floats,
    rng: np.random.Generator,
    variety: float,
) -> tuple[Floats, Floats]:
    """Compute head motion: posture of the emotion, turns, gaze, nods and idle motion.

    Returns:
        (T, 3) yaw, pitch, roll in degrees and (T, 3) shift in mm, as in `HeadState`.
    """
    pose, shift = np.zeros((len(times), 3)), np.zeros((len(times), 3))
    stir = np.ones(len(times))
    previous: Phase | None = None
    for phase in phases:
        # A head is slower than a face.
        moved = rise(times, phase.start + 0.05, max(0.5, 1.3 * onset_of(phase, previous)))
        yaw, pitch, roll = phase.dynamics.pose
        target = np.array([phase.side * yaw, pitch, phase.side * roll]) * phase.strength
        pose += moved[:, None] * (target - pose)
        shift[:, 2] += moved * (phase.dynamics.lean * phase.strength - shift[:, 2])
        stir += moved * (phase.dynamics.stir - stir)
        if phase.pulse:
            shake = rise(times, phase.start, 0.4) * (1 - rise(times, phase.end - 0.4, 0.5))
            shift[:, 1] += 1.2 * phase.strength * shake * np.sin(2 * np.pi * phase.pulse * times)
        previous = phase
    pose += variety * _turns(phases[-1].end, times, rng)
    pose[:, :2] += 0.3 * fixations.at(times, slow=0.45)
    idle = np.stack([smooth_noise(times, 0.22, rng) for _ in range(6)], axis=1)
    idle *= variety * stir[:, None]
    pose += idle[:, :3] * (2.2, 1.4, 1.2)
    shift += idle[:, 3:] * (2.5, 1.2, 2.5)
    shift[:, 1] += 0.8 * np.sin(2 * np.pi * 0.27 * times + float(rng.uniform(0, 6)))
    for gesture in gestures:
        if any(gesture.pose):
            pose += gesture.amount(times)[:, None] * gesture.pose
    limits = np.array([40.0, 25.0, 22.0])
    return limits * np.tanh(pose / limits), shift


def _turns(end: float, times: Floats, rng: np.random.Generator) -> Floats:
    """Return (T, 3) random head turns, as between two people and a camera."""
    keys, values = [0.0], [rng.normal(0, (7, 2, 1.5))]
    time = float(rng.uniform(1.5, 4.0))
    while time < end + 2:
        target = rng.normal(0, (10, 3, 2))
        keys += [time, time + float(rng.uniform(0.6, 1.1))]
        values += [values[-1], target]
        time = keys[-1] + float(rng.uniform(1.5, 5.0))
    keys.append(end + 60)
    values.append(values[-1])
    return interpolate_keys(times, np.array(keys), np.stack(values))


def eye_rotation(
    fixations: Fixations, gestures: Sequence[Gesture], pose: Floats, times: Floats
) -> Floats:
    """Return (T, 2) gaze relative to the head: the eyes hold their target while the head moves."""
    gaze = fixations.at(times) - 0.92 * pose[:, :2]
    for gesture in gestures:
        if any(gesture.gaze):
            gaze += gesture.amount(times)[:, None] * gesture.gaze
    limits = np.array([30.0, 22.0])
    return np.asarray(limits * np.tanh(gaze / limits))
