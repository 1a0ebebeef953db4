"""Scenarios: takes of performer and identity with ground truth for the swap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from swapper.errors import UsageError
from swapper.head_renderer.identity import Identity
from swapper.head_renderer.stage import FilmStock, Stage, sample_stage
from swapper.synth.emotions import EMOTIONS, NUM_EMOTIONS
from swapper.synth.performance import Performance, play
from swapper.synth.timeline import SHORTEST_BEAT, Segment, Timeline, random_timeline

SCENARIOS: Final = ("rich", "limited", "rare", "archive")
SHORTEST: Final = SHORTEST_BEAT * NUM_EMOTIONS
"""Seconds that all emotions need at least."""
ARCHIVE: Final = FilmStock(grain=0.06, softness=0.007, shutter=0.5, vignette=0.4, crf=33)
_SMILING: Final = 0.05
"""Share of the limited scenario's footage that is not neutral."""


@dataclass(frozen=True, eq=False)
class Take:
    """One clip to render.

    Attributes:
        name: Stem of its files.
        identity: Identity of the actor.
        performance: Motion.
        stage: Camera and light.
    """

    name: str
    identity: Identity
    performance: Performance
    stage: Stage

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values that suffice to render it again."""
        return {
            "name": self.name,
            "identity": self.identity.to_dict(),
            "performance": self.performance.to_dict(),
            "stage": self.stage.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Take:
        """The inverse of `to_dict`."""
        return cls(
            values["name"],
            Identity.from_dict(values["identity"]),
            Performance.from_dict(values["performance"]),
            Stage.from_dict(values["stage"]),
        )


@dataclass(frozen=True, eq=False)
class Casting:
    """All the footage of a scenario.

    Attributes:
        performer: Training footage of the performer; contains every emotion.
        identity: Training footage of the identity; its emotions define the scenario.
        held_out: The performer in timelines not used in training, each with every emotion, on the
            stages of the training footage.
        truth: The identity in the same timelines on the same stages, frame by frame: the ground
            truth.
        unseen: Emotions that the identity's footage does not contain.
    """

    performer: tuple[Take, ...]
    identity: tuple[Take, ...]
    held_out: tuple[Take, ...]
    truth: tuple[Take, ...]
    unseen: tuple[str, ...]


def build_casting(
    scenario: str,
    performer: Identity,
    identity: Identity,
    seed: int = 0,
    seconds: float = 40.0,
    *,
    fps: float = 25.0,
    clips: int = 2,
    held_out: int = 2,
    held_out_seconds: float | None = None,
) -> Casting:
    """Build the takes of a scenario; deterministic in its arguments.

    Args:
        scenario: "rich": the identity's footage shows every emotion. "limited": 95 % neutral with
            small smiles. "rare": neutral, smiles and one angry shot. "archive": rich, but grainy,
            soft and compressed.
        performer: Identity of the performer.
        identity: Identity that appears in the swap.
        seed: Seed of timelines, cameras and lights.
        seconds: Seconds of training footage of each of the two.
        fps: Frames per second.
        clips: Training clips of each, every one with its own camera and light.
        held_out: Number of clips to convert and to compare with their ground truth.
        held_out_seconds: Seconds of each; by default half of `seconds`, at least `SHORTEST`.

    Raises:
        UsageError: If the scenario is unknown or the footage too short for its emotions.
    """
    _check(scenario, seconds, clips, held_out, held_out_seconds)
    clip_seconds = held_out_seconds if held_out_seconds is not None else max(seconds / 2, SHORTEST)
    sets = [sample_stage(_seed(seed, 1, i)) for i in range(clips)]
    identity_sets = [sample_stage(_seed(seed, 2, i)) for i in range(clips)]
    if scenario == "archive":
        identity_sets = [replace(stage, film=ARCHIVE) for stage in identity_sets]
    training = [
        Take(f"performer_{i + 1}", performer, play(score, fps, _seed(seed, 3, i)), sets[i])
        for i, score in enumerate(_covering(_seed(seed, 4), seconds, clips))
    ]
    footage, emotions_present = _footage(scenario, identity, identity_sets, seed, seconds, fps)
    plays = [
        play(random_timeline(_seed(seed, 5, i), clip_seconds), fps, _seed(seed, 6, i))
        for i in range(held_out)
    ]

    def takes(actor: Identity) -> tuple[Take, ...]:
        return tuple(
            Take(f"held_out_{i + 1}", actor, performance, sets[i % clips])
            for i, performance in enumerate(plays)
        )

    return Casting(
        performer=tuple(training),
        identity=tuple(footage),
        held_out=takes(performer),
        truth=takes(identity),
        unseen=tuple(name for name in EMOTIONS if name not in emotions_present),
    )


def _check(
    scenario: str, seconds: float, clips: int, held_out: int, held_out_seconds: float | None
) -> None:
    if scenario not in SCENARIOS:
        raise UsageError(f"scenario={scenario}: choose from {', '.join(SCENARIOS)}")
    for name, count in (("clips", clips), ("held_out", held_out)):
        if not 1 <= count <= 100:
            raise UsageError(f"{name}={count}: must be from 1 to 100")
    for name, length in (("seconds", seconds), ("held_out_seconds", held_out_seconds)):
        if length is not None and not SHORTEST <= length <= 3600:
            raise UsageError(
                f"{name}={length:g}: must be from {SHORTEST:g}, or {NUM_EMOTIONS} emotions do not "
                "fit, to 3600"
            )


def _seed(*path: int) -> int:
    """Return an independent seed for each part of a casting."""
    return int(np.random.SeedSequence(path).generate_state(1)[0])


def _covering(seed: int, seconds: float, clips: int) -> list[Timeline]:
    """Return timelines of proportional length that together contain all emotions."""
    rng = np.random.default_rng([seed, 0xC0])
    shares = np.array_split(rng.permutation(np.array(EMOTIONS)), clips)
    return [
        random_timeline(seed + 1 + i, seconds * len(share) / NUM_EMOTIONS, share.tolist())
        for i, share in enumerate(shares)
        if len(share)
    ]


def _footage(
    scenario: str, identity: Identity, sets: Sequence[Stage], seed: int, seconds: float, fps: float
) -> tuple[list[Take], set[str]]:
    """Return the identity's takes and the emotions in them."""
    if scenario in ("rich", "archive"):
        scores = _covering(_seed(seed, 7), seconds, len(sets))
        micro = 6.0
    else:
        # One angry take of a few seconds; the rest is calm.
        angry = max(1.5, 0.06 * seconds) if scenario == "rare" else 0.0
        widest = 0.8 if scenario == "rare" else 0.35
        length = (seconds - angry) / len(sets)
        scores = [_calm(_seed(seed, 7, i), length, widest) for i in range(len(sets))]
        if angry:
            outburst = Segment("anger", 0.0, angry - 0.6, 0.9)
            scores.append(Timeline((outburst,), angry))
        micro = 0.0  # micro-expressions would show emotions that this footage must lack
    plays = [play(each, fps, _seed(seed, 8, i), micro=micro) for i, each in enumerate(scores)]
    takes = [
        Take(f"identity_{i + 1}", identity, each, sets[i % len(sets)])
        for i, each in enumerate(plays)
    ]
    return takes, {"neutral", *(name for score in scores for name in score.emotions)}


def _calm(seed: int, duration: float, widest: float) -> Timeline:
    """Return a neutral timeline with some speech and a few smiles."""
    rng = np.random.default_rng([seed, 0xCA])
    smiles = max(1, round(_SMILING * duration / 1.0))
    lasts = max(SHORTEST_BEAT, _SMILING * duration / smiles)
    room = duration / smiles
    starts = [room * i + float(rng.uniform(0.1, 0.8)) * (room - lasts) for i in range(smiles)]
    beats = tuple(
        Segment(
            "happy", round(s, 4), round(s + lasts, 4), round(float(rng.uniform(0.2, widest)), 3)
        )
        for s in starts
    )
    talks = (
        (round(4.0 * i + float(rng.uniform(0.2, 1.5)), 4), round(4.0 * i + 3.2, 4))
        for i in range(int(duration // 4))
        if rng.random() < 0.5
    )
    return Timeline(beats, duration, tuple(talks))
