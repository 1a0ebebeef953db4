"""Read and validate untrusted answer files against the schedule of each participant."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from swapper.errors import StudyError
from swapper.files import one_line, read_json
from swapper.user_study.schedule import SEEDS, schedule
from swapper.user_study.trials import NEUTRAL, SCHEMA, Study

CHOICES: Final = ("left", "right", "neither")
_MAX_BYTES: Final = 2 << 20
_MAX_FILES: Final = 10_000
_MAX_SECONDS: Final = 7 * 86400.0
_FIELDS: Final = {"trial", "left", "right", "choice", "seconds"}


@dataclass(frozen=True)
class Answer:
    """The answer to one question.

    Attributes:
        trial: Id of the trial.
        chosen: Neutral name of the chosen clip, or None for "cannot tell".
        seconds: From the start of the clips to the answer.
        repeat: Whether the question was a repeat.
    """

    trial: str
    chosen: str | None
    seconds: float
    repeat: bool


@dataclass(frozen=True)
class Participant:
    """All answers of one participant."""

    id: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Exclusion:
    """An excluded file, and the reason, each in one printable line."""

    name: str
    reason: str


def read_answers(folder: Path, study: Study) -> tuple[list[Participant], list[Exclusion]]:
    """Read every valid ``answers-*.json`` of a folder.

    Of duplicate files of a participant one counts; if their answers differ none does, since the
    genuine one cannot be determined.

    Returns:
        Participants sorted by id, and excluded files sorted by name.

    Raises:
        StudyError: No such folder, no such files, or too many.
    """
    if not folder.is_dir():
        raise StudyError(f"answers={one_line(folder)}: no such folder; pass the one with the "
                         "answers-*.json files")  # fmt: skip
    paths = sorted(folder.glob("answers-*.json"))
    if not 0 < len(paths) <= _MAX_FILES:
        raise StudyError(f"answers={one_line(folder)}: holds {len(paths)} answers-*.json files; "
                         f"pass a folder with 1 to {_MAX_FILES}")  # fmt: skip
    accepted: dict[str, tuple[str, Participant]] = {}
    conflicting: set[str] = set()
    excluded = []
    for path in paths:
        name = one_line(path.name)
        try:
            participant = _participant(
                read_json(path, _MAX_BYTES, StudyError, "ask for it again"), study
            )
        except ValueError as error:
            excluded.append(Exclusion(name, one_line(error)))
        except StudyError as error:
            excluded.append(Exclusion(name, str(error).removeprefix(f"{one_line(path)}: ")))
        else:
            first, before = accepted.setdefault(participant.id, (name, participant))
            if first == name:
                continue
            if before == participant:
                excluded.append(Exclusion(name, f"is a copy of {first}, which counts"))
            else:
                conflicting.add(participant.id)
                excluded.append(
                    Exclusion(name, f"has the participant of {first}, but other answers")
                )
    for each in sorted(conflicting):
        name, _ = accepted.pop(each)
        excluded.append(Exclusion(name, "another file has this participant, but other answers"))
    excluded.sort(key=lambda each: each.name)
    return [accepted[each][1] for each in sorted(accepted)], excluded


def _participant(data: dict[str, object], study: Study) -> Participant:
    """Validate one file against the schedule of its seed; a ValueError names what differs."""
    if data.get("schema") != SCHEMA:
        raise ValueError(f"schema must be {SCHEMA}")
    if data.get("study") != study.id:
        raise ValueError("is for another study")
    participant_id, seed, given = (data.get(key) for key in ("participant", "seed", "answers"))
    if not isinstance(participant_id, str) or not NEUTRAL.fullmatch(participant_id):
        raise ValueError("participant is not 16 hex digits")
    if type(seed) is not int or not 0 <= seed < SEEDS:
        raise ValueError("seed is not an integer from 0 to 2**32 - 1")
    limits = study.limits
    trials = {each.id: each for each in (*study.pairs, *study.checks)}
    questions = schedule(
        seed,
        [each.id for each in study.pairs],
        [each.id for each in study.checks],
        (limits.pairs, limits.checks, limits.repeats),
    )
    if not isinstance(given, list) or len(given) != len(questions):
        raise ValueError(f"does not have an answer to each of its {len(questions)} questions")
    answers = []
    for number, (entry, question) in enumerate(zip(given, questions, strict=True), start=1):
        if not isinstance(entry, dict) or set(entry) != _FIELDS:
            raise ValueError(f"answer {number} does not have the expected fields")
        if not isinstance(entry["trial"], str) or entry["trial"] not in trials:
            raise ValueError(f"answer {number} is to a question that is not in the study")
        left, right = trials[question.trial].clips[:: -1 if question.swapped else 1]
        if (entry["trial"], entry["left"], entry["right"]) != (question.trial, left, right):
            raise ValueError(f"answer {number} does not match the schedule of its seed")
        seconds = entry["seconds"]
        if type(seconds) not in (int, float) or not 0 <= seconds <= _MAX_SECONDS:
            raise ValueError(f"answer {number} has an invalid time")
        if entry["choice"] not in CHOICES:
            raise ValueError(f"answer {number} is none of {', '.join(CHOICES)}")
        chosen = {"left": left, "right": right}.get(entry["choice"])
        answers.append(Answer(question.trial, chosen, float(seconds), question.repeat))
    return Participant(participant_id, tuple(answers))
