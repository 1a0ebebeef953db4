"""Analyse answers: wins between systems, attention of participants, strengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from swapper.metrics.bootstrap import Interval
from swapper.metrics.preference import WinRate, strength_intervals, win_rate
from swapper.user_study.answers import Participant
from swapper.user_study.trials import Study

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Attention:
    """Attention checks of a participant.

    Attributes:
        participant: Id.
        checks: Questions with the performer's own clip on one side.
        missed: Checks where another clip was chosen; "cannot tell" is a miss.
        repeats: Pairs that were asked twice.
        same: Repeats that were answered alike.
        counts: Whether the participant's answers count.
    """

    participant: str
    checks: int
    missed: int
    repeats: int
    same: int
    counts: bool


@dataclass(frozen=True)
class StudyCounts:
    """Results of a study.

    Attributes:
        systems: Names, strongest first.
        strengths: Bradley-Terry log-odds of each, mean 0.
        pairs: Win rate of the first over the second, for every two systems in that order.
        attention: Of every participant, including excluded ones.
        answers: Number of comparisons, without repeats and checks.
        ties: Number of those answered "cannot tell".
        seconds: Median response time; NaN without answers.
    """

    systems: tuple[str, ...]
    strengths: tuple[Interval, ...]
    pairs: tuple[tuple[str, str, WinRate], ...]
    attention: tuple[Attention, ...]
    answers: int
    ties: int
    seconds: float


def count_answers(
    participants: Sequence[Participant], study: Study, misses: int = 0, seed: int = 0
) -> StudyCounts:
    """Compute strengths, win rates and attention.

    Checks and repeats are not votes. "Cannot tell" is half a win for each.

    Args:
        participants: From `read_answers`.
        study: That they answered.
        misses: Most checks that a participant may miss.
        seed: Of the bootstrap.

    Raises:
        ValueError: No participant counts.
    """
    attention = tuple(_attention(each, study, misses) for each in participants)
    counted = [each for each, check in zip(participants, attention, strict=True) if check.counts]
    if not counted:
        raise ValueError("no participant counts")
    names = study.systems
    wins = np.stack([_wins(each, study) for each in counted])
    strengths = strength_intervals(wins, seed=seed)
    order = sorted(range(len(names)), key=lambda each: (-strengths[each].mean, names[each]))
    pairs = {trial.id for trial in study.pairs}
    votes = [
        answer
        for each in counted
        for answer in each.answers
        if answer.trial in pairs and not answer.repeat
    ]
    return StudyCounts(
        systems=tuple(names[each] for each in order),
        strengths=tuple(strengths[each] for each in order),
        pairs=tuple(
            (names[i], names[j], win_rate(wins[:, i, j], wins[:, i, j] + wins[:, j, i]))
            for i, j in combinations(order, 2)
        ),
        attention=attention,
        answers=len(votes),
        ties=sum(each.chosen is None for each in votes),
        seconds=float(np.median([each.seconds for each in votes])) if votes else float("nan"),
    )


def _wins(participant: Participant, study: Study) -> Floats:
    """(K, K) how often this participant chose the row over the column."""
    place = {name: index for index, name in enumerate(study.systems)}
    owner = {
        (clip.performer, swap): place[name]
        for clip in study.clips.values()
        for name, swap in clip.systems.items()
    }
    trials = {each.id: each for each in study.pairs}
    wins = np.zeros((len(place), len(place)))
    for answer in participant.answers:
        trial = trials.get(answer.trial)
        if trial is None or answer.repeat:
            continue
        one, other = (owner[trial.performer, each] for each in trial.clips)
        share = 0.5 if answer.chosen is None else float(answer.chosen == trial.clips[0])
        wins[one, other] += share
        wins[other, one] += 1 - share
    return wins


def _attention(participant: Participant, study: Study, misses: int) -> Attention:
    own = {
        trial.id: clip.check
        for clip in study.clips.values()
        for trial in study.checks
        if clip.check in trial.clips
    }
    checks = [each for each in participant.answers if each.trial in own]
    missed = sum(each.chosen != own[each.trial] for each in checks)
    first = {each.trial: each.chosen for each in participant.answers if not each.repeat}
    repeats = [each for each in participant.answers if each.repeat]
    consistent = sum(first[each.trial] == each.chosen for each in repeats)
    return Attention(
        participant.id, len(checks), missed, len(repeats), consistent, counts=missed <= misses
    )
