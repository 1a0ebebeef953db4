"""Reports of swaps that never were: smooth drawn traces, drawn heads, and one of each kind."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np

from swapper.head_renderer.identity import sample_identity
from swapper.head_renderer.stage import Stage
from swapper.report.content import (
    Emotions,
    Floats,
    Group,
    KeyFrame,
    Measure,
    Report,
    UnitAgreement,
)
from swapper.synth.actor import Actor
from swapper.synth.performance import play
from swapper.synth.timeline import parse_timeline

NAN = float("nan")
NAMES = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
_BEATS = (  # second, class, valence, arousal
    (2.0, "happy", 0.8, 0.5),
    (5.0, "surprise", 0.25, 0.8),
    (8.2, "sad", -0.65, -0.35),
    (11.5, "anger", -0.6, 0.7),
    (14.2, "fear", -0.5, 0.75),
    (16.6, "disgust", -0.6, 0.3),
    (18.4, "happy", 0.7, 0.3),
)
SECONDS = 20.0
UNITS = (
    "jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp", "eyeBlinkLeft", "eyeBlinkRight",
    "browDownLeft", "browDownRight", "mouthPucker", "mouthFunnel", "eyeSquintLeft",
    "eyeSquintRight", "mouthFrownLeft", "mouthFrownRight", "noseSneerLeft", "noseSneerRight",
    "cheekPuff", "mouthPressLeft", "mouthPressRight", "browOuterUpLeft", "browOuterUpRight",
    "mouthStretchLeft", "mouthStretchRight", "mouthShrugUpper", "jawLeft", "tongueOut",
)  # fmt: skip


def traces(frames: int, strength: float, late: float, seed: int) -> tuple[Floats, Floats]:
    """(T, C) probabilities and (T, 2) valence and arousal of a face that plays the beats."""
    rng = np.random.default_rng(seed)
    seconds = np.linspace(0, SECONDS, frames)
    scores, affect = np.zeros((frames, len(NAMES))), np.zeros((frames, 2))
    scores[:, NAMES.index("neutral")] = 2.2
    for second, name, valence, arousal in _BEATS:
        bump = strength * np.exp(-(((seconds - second - late) / 0.85) ** 4))
        scores[:, NAMES.index(name)] += 5.5 * bump
        affect += bump[:, None] * [valence, arousal]
    kernel = np.hanning(15) / np.hanning(15).sum()
    noise = rng.normal(0, 1.3, (frames, len(NAMES) + 2))
    noise = np.stack([np.convolve(column, kernel)[7 : frames + 7] for column in noise.T], axis=1)
    scores += noise[:, :-2]
    odds = np.exp(scores)
    return odds / odds.sum(axis=1, keepdims=True), np.clip(affect + 0.12 * noise[:, -2:], -1, 1)


def emotions(frames: int) -> Emotions:
    """Of a performer and a swap that is weaker and a little late; both lose the face once."""
    theirs, felt = traces(frames, 1.0, 0.0, 1)
    ours, shown = traces(frames, 0.58, 0.12, 2)
    lost = slice(int(frames * 0.655), int(frames * 0.675))
    for trace in (theirs, felt, ours, shown):
        trace[lost] = NAN
    ours[int(frames * 0.32) : int(frames * 0.335)] = NAN
    return Emotions(NAMES, theirs, ours, felt, shown)


def units() -> tuple[UnitAgreement, ...]:
    """Most are damped, a few wild ones lie beyond the axes."""
    rng = np.random.default_rng(5)
    found = []
    for rank, name in enumerate(UNITS):
        trust = 1 / (1 + 0.09 * rank)
        gain = 0.6 * trust + rng.normal(0, 0.04 + 0.008 * rank)
        correlation = min(0.99, 0.93 * trust + rng.normal(0, 0.03 + 0.006 * rank))
        found.append(UnitAgreement(name, gain, correlation, 0.24 * 0.86**rank))
    found[-1] = UnitAgreement("tongueOut", 2.9, 0.1, 0.002)
    found[-2] = UnitAgreement("jawLeft", -0.6, -0.5, 0.003)
    return (*found, UnitAgreement("cheekPuffRight", NAN, NAN, 0.0))


@lru_cache(maxsize=1)
def faces() -> tuple[tuple[bytes, bytes, bytes], ...]:
    """JPEGs of drawn actors at each beat: performer, a damped swap, and the ground truth."""
    score = "neutral:1.5," + ",".join(
        f"{name}:2" for name in ("happy", "surprise", "sad", "anger", "fear", "disgust")
    )
    played = play(parse_timeline(score), fps=5, seed=3)
    weak = replace(played, units=(played.units * 0.55).astype(np.float32))
    one, other = Actor(sample_identity(1)), Actor(sample_identity(2))

    def shot(actor: Actor, index: int, damped: bool) -> bytes:
        state = (weak if damped else played).head_state(index)
        return jpeg(actor.render(state, Stage(), 160, supersample=1).image)

    frames = [min(len(played) - 1, int((1.5 + 2 * beat + 1.1) * 5)) for beat in range(6)]
    return tuple(
        (shot(one, at, False), shot(other, at, True), shot(other, at, False)) for at in frames
    )


def jpeg(picture: np.ndarray) -> bytes:
    """Of an RGB picture."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()


def flat() -> tuple[bytes, bytes, bytes]:
    """Three pictures of one colour each, for tests that look at none."""
    return tuple(jpeg(np.full((16, 16, 3), shade, np.uint8)) for shade in (60, 120, 180))  # type: ignore[return-value]


def moments(*, truth: bool, drawn: bool) -> tuple[tuple[KeyFrame, ...], tuple[KeyFrame, ...]]:
    """Strongest and worst."""
    pictures = faces() if drawn else (flat(),) * 6

    def state(place: int, second: float, words: str) -> KeyFrame:
        performer, swap, answer = pictures[place % 6]
        return KeyFrame(
            round(second * 25), second, words, performer, swap, answer if truth else None
        )

    strongest = [
        state(place, second, f"{name} {0.97 - 0.03 * place:.2f}")
        for place, (second, name, _, _) in enumerate(_BEATS[:6])
    ]
    worst = [
        state(
            5 - place % 6,
            19.3 - 1.87 * place,
            f"{UNITS[place]}: {0.8 - place / 30:.2f}, swap {place / 30:.2f}",
        )
        for place in range(10)
    ]
    return tuple(strongest), tuple(worst)


GROUPS = (
    Group("Emotion", "xception (FER2013, sha256 6f1e09ab…)", (
        Measure("emotion_accuracy", "Same emotion", 0.612, 0.201, 0.957),
        Measure("emotion_kappa", "Cohen's κ", 0.438, 0.021, 0.934),
        Measure("felt_kappa", "κ where not neutral", 0.561, -0.012, 0.951),
        Measure("divergence", "Jensen-Shannon divergence", 0.231, 0.544, 0.012, "lower", "bits"),
        Measure("valence_ccc", "Valence, CCC", 0.702, -0.03, 0.988),
        Measure("arousal_ccc", "Arousal, CCC", NAN, why_not="not measured"),
    )),
    Group("Expression over time", "MediaPipe blendshapes", (
        Measure("gain", "Gain β", 0.583, 0.018, 0.991, "one"),
        Measure("correlation", "Correlation ρ", 0.902, 0.034, 0.996),
        Measure("lag", "Lag", 2.9, NAN, 0.0, "lower", "frames"),
        Measure("onset_slope", "Slope of onsets", 1.62, 0.05, 0.99, "one"),
        Measure("fast_energy", "Energy, 2 to 12 Hz", 0.41, 1.0, 0.98, "one"),
        Measure("fast_coherence", "Coherence, 2 to 12 Hz", 0.03, 0.06, 0.81),
        Measure("jitter", "Jitter", 0.043, NAN, 0.0, "lower"),
        Measure("brief_lost", "Brief movements lost", NAN, NAN, 0.0, "lower",
                why_not="the performer makes none that can be assessed"),
        Measure("sidedness_gain", "Asymmetry, gain", 0.66, NAN, 0.97, "one"),
    )),
    Group("Head and gaze", "landmarks", (
        Measure("pose_error", "Pose error", 1.34, 9.8, 0.22, "lower", "°"),
        Measure("gaze_correlation", "Gaze, correlation", 0.87, 0.01, 0.98),
        Measure("landmark_error", "Landmark error, of the eyes' distance", 0.031, 0.112, 0.004,
                "lower"),
    )),
    Group("Temporal consistency", "optical flow of the performer (DIS)", (
        Measure("warping_error", "Temporal warping error", 3.12, NAN, 2.05, "lower",
                "grey levels"),
        Measure("flicker", "Flicker of the face's brightness", 0.42, NAN, 0.31, "lower",
                "grey levels"),
    )),
)  # fmt: skip

FINDINGS = (
    "The expression is damped: 58% of the performer's strength is left, where its own clip gives "
    "99%.",
    "It comes 2.9 frames late.",
)


def sample(frames: int = 500, *, truth: bool = False, drawn: bool = False) -> Report:
    """A damped, late swap; everything is told.

    Args:
        frames: Of the clip, which lasts 20 s whatever they are.
        truth: With the ground truth.
        drawn: With faces of actors, which take seconds to draw.
    """
    strongest, worst = moments(truth=truth, drawn=drawn)
    return Report(
        title="alice-take-03-swapped.mp4 after performer-take-03.mp4",
        verdict=FINDINGS[0],
        expressive=False,
        findings=FINDINGS,
        undetermined=("Brief movements: the performer makes none that can be assessed.",),
        seconds=np.linspace(0, SECONDS, frames),
        strongest=strongest,
        worst=worst,
        emotions=emotions(frames),
        units=units(),
        unit_instrument="MediaPipe blendshapes",
        groups=GROUPS,
        lineage=(
            "trained with: emotieff:5b0b1b02c8d7",
            "measured by: MediaPipe blendshapes, xception:6f1e09ab44d0",
        ),
        facts={
            "performer": "clips/performer-take-03.mp4",
            "performer sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "swap": "out/alice-take-03-swapped.mp4",
            "swap sha256": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
            "frames": f"{frames} at 25 per second",
            "frames with both faces": str(frames - 18),
            "ceiling": "performer re-encoded (H.264, CRF 23)",
            "provenance": "trusted",
            "evaluated by": "swapper 0.1.0",
        },
    )


def bare() -> Report:
    """Of a clip in which no face was found, by no reader of emotions."""
    unknown = tuple(
        replace(group, measures=tuple(
            replace(each, value=NAN, floor=NAN, ceiling=NAN, why_not="undetermined on this clip")
            for each in group.measures
        ))
        for group in GROUPS[1:]
    )  # fmt: skip
    return replace(
        sample(),
        verdict="Undetermined: the performer hardly moves.",
        expressive=None, findings=(), strongest=(), worst=(), emotions=None, units=(),
        unit_instrument="", groups=unknown, lineage=(), facts={},
    )  # fmt: skip
