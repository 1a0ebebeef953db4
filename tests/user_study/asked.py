"""A small study and participants who answer it, for the tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from swapper.user_study.schedule import schedule
from swapper.user_study.trials import Limits, Study, StudyClip, neutral_name

Judge = Callable[[str, str], str]
"""From the names of what is left and right, to left, right or neither."""


def drawn_study(clips: int = 4, systems: tuple[str, ...] = ("good", "fair", "poor")) -> Study:
    """A study of clips that exist by name only."""
    return Study(
        {
            f"c{i}": StudyClip(
                neutral_name("performer", str(i)),
                neutral_name("check", str(i)),
                {name: neutral_name(name, str(i)) for name in systems},
            )
            for i in range(clips)
        },
        Limits(pairs=24, checks=3, repeats=2),
        ".mp4",
    )


def names_of(study: Study) -> dict[str, str]:
    """What is behind each neutral name: a system, or the performer."""
    names = {}
    for clip in study.clips.values():
        names |= {swap: name for name, swap in clip.systems.items()}
        names |= {clip.check: "performer", clip.performer: "performer"}
    return names


def answered(study: Study, seed: int, judge: Judge) -> dict[str, Any]:
    """What the page would save for a participant with this seed and taste."""
    limits, names = study.limits, names_of(study)
    trials = {each.id: each for each in (*study.pairs, *study.checks)}
    answers = []
    for shown in schedule(
        seed,
        [each.id for each in study.pairs],
        [each.id for each in study.checks],
        (limits.pairs, limits.checks, limits.repeats),
    ):
        left, right = trials[shown.trial].clips
        if shown.swapped:
            left, right = right, left
        choice = judge(names[left], names[right])
        answers.append(
            {"trial": shown.trial, "left": left, "right": right, "choice": choice, "seconds": 2.5}
        )
    return {
        "schema": 1,
        "study": study.id,
        "participant": f"{seed:016x}",
        "seed": seed,
        "answers": answers,
    }


def prefers(*order: str) -> Judge:
    """Chooses whichever comes first in `order`; the performer before all."""
    ranks = ("performer", *order)
    return lambda left, right: "left" if ranks.index(left) < ranks.index(right) else "right"


def save(folder: Path, answers: dict[str, Any], name: str = "") -> Path:
    """Write answers as a participant's browser would."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"answers-{name or answers['participant']}.json"
    path.write_text(json.dumps(answers), encoding="utf-8")
    return path
