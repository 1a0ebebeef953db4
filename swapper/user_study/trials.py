"""A study: its clips under neutral names, its trials, and the key to the names."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from swapper.errors import StudyError
from swapper.files import one_line, read_json

SCHEMA: Final = 1
KINDS: Final = (".mp4", ".webm")
LARGEST_LIMIT: Final = 1000
NEUTRAL: Final = re.compile(r"[0-9a-f]{16}")
_STUDY: Final = re.compile(r"[0-9a-f]{32}")
_MAX_NAME: Final = 64
_MAX_KEY_BYTES: Final = 16 << 20
_CURE: Final = "pass the key.json that `swapper study clips=...` wrote"


def neutral_name(*parts: str) -> str:
    """Deterministic, anonymous name of `parts`: 16 hex digits of their hash."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class StudyClip:
    """Neutral names of a performance.

    The performer's clip, its copy in place of a swap in attention checks, and the swaps by system.
    """

    performer: str
    check: str
    systems: Mapping[str, str]


@dataclass(frozen=True)
class Trial:
    """One question: a performer and two clips to choose from.

    Attributes:
        id: Derived from the three clips, the same in every study.
        performer: Neutral name.
        clips: Neutral names, sorted, so that the order reveals nothing.
    """

    id: str
    performer: str
    clips: tuple[str, str]

    @classmethod
    def of(cls, performer: str, one: str, other: str) -> Trial:
        """Build the trial of these clips, in either order."""
        first, second = sorted((one, other))
        return cls(neutral_name(performer, first, second), performer, (first, second))


@dataclass(frozen=True)
class Limits:
    """Most questions of each kind per participant."""

    pairs: int
    checks: int
    repeats: int


@dataclass(frozen=True)
class Study:
    """A study: its clips by folder name, limits of one participant, and the clips' suffix."""

    clips: Mapping[str, StudyClip]
    limits: Limits
    kind: str

    @cached_property
    def pairs(self) -> tuple[Trial, ...]:
        """Every two swaps of a clip; sorted by id, so that the order reveals nothing."""
        trials = [
            Trial.of(clip.performer, one, other)
            for clip in self.clips.values()
            for one, other in itertools.combinations(clip.systems.values(), 2)
        ]
        return tuple(sorted(trials, key=lambda each: each.id))

    @cached_property
    def checks(self) -> tuple[Trial, ...]:
        """Every swap against the performer's own clip, sorted by id."""
        trials = [
            Trial.of(clip.performer, clip.check, swap)
            for clip in self.clips.values()
            for swap in clip.systems.values()
        ]
        return tuple(sorted(trials, key=lambda each: each.id))

    @cached_property
    def systems(self) -> tuple[str, ...]:
        """Names of all systems, sorted."""
        return tuple(sorted({name for clip in self.clips.values() for name in clip.systems}))

    @cached_property
    def id(self) -> str:
        """Hash of all possible questions: 32 hex digits."""
        return hashlib.sha256(
            json.dumps(self._question_data(), sort_keys=True).encode()
        ).hexdigest()[:32]

    def page_data(self) -> dict[str, object]:
        """Data of the page: neutral names only."""
        return {**self._question_data(), "study": self.id}

    def key_data(self) -> dict[str, object]:
        """Content of the key file, see `read_key`."""
        return {
            "schema": SCHEMA,
            "study": self.id,
            "kind": self.kind,
            "limits": vars(self.limits),
            "clips": {
                name: {**vars(clip), "systems": dict(clip.systems)}
                for name, clip in self.clips.items()
            },
        }

    def _question_data(self) -> dict[str, object]:
        def plain(trials: tuple[Trial, ...]) -> list[list[str]]:
            return [[each.id, each.performer, *each.clips] for each in trials]

        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "limits": vars(self.limits),
            "pairs": plain(self.pairs),
            "checks": plain(self.checks),
        }


def read_key(path: Path) -> Study:
    """Read a study from its key file.

    Raises:
        StudyError: Missing, damaged, modified, or not a key.
    """
    try:
        data = read_json(path, _MAX_KEY_BYTES, StudyError, "ask for it again")
    except FileNotFoundError as error:
        raise StudyError(
            f"{one_line(path)}: no such file; pass the key.json of this study"
        ) from error
    try:
        if data.get("schema") != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}")
        kind = data.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise ValueError("kind is neither .mp4 nor .webm")
        study = Study(_clips(data.get("clips")), _limits(data.get("limits")), kind)
        claimed = data.get("study")
        if not isinstance(claimed, str) or not _STUDY.fullmatch(claimed) or claimed != study.id:
            raise ValueError("its study id does not match its clips")
    except ValueError as error:
        raise StudyError(f"{one_line(path)}: {one_line(error)}; {_CURE}") from error
    return study


def system_name(text: object) -> str:
    """Validate the name of a system or a clip; a ValueError if it is not one."""
    if not isinstance(text, str) or not 0 < len(text) <= _MAX_NAME or not text.isprintable():
        raise ValueError(f"a name must be 1 to {_MAX_NAME} printable characters: {one_line(text)}")
    return text


def _limits(data: object) -> Limits:
    names = ("pairs", "checks", "repeats")
    if not isinstance(data, dict) or sorted(data) != sorted(names):
        raise ValueError("limits must be pairs, checks and repeats")
    if any(type(each) is not int or not 0 <= each <= LARGEST_LIMIT for each in data.values()):
        raise ValueError(f"limits must be integers from 0 to {LARGEST_LIMIT}")
    return Limits(**data)


def _clips(data: object) -> dict[str, StudyClip]:
    if not isinstance(data, dict) or not data:
        raise ValueError("clips is empty or not an object")
    clips = {}
    for name, entry in data.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("systems"), dict):
            raise ValueError(f"clip {one_line(name)} does not have the expected fields")
        systems = {system_name(each): _neutral(swap) for each, swap in entry["systems"].items()}
        clip = StudyClip(_neutral(entry.get("performer")), _neutral(entry.get("check")), systems)
        if len({clip.performer, clip.check, *systems.values()}) < len(systems) + 2:
            raise ValueError(f"clip {one_line(name)} names a file twice")
        if len(systems) < 2:
            raise ValueError(f"clip {one_line(name)} has fewer than two systems")
        clips[system_name(name)] = clip
    return clips


def _neutral(text: object) -> str:
    if not isinstance(text, str) or not NEUTRAL.fullmatch(text):
        raise ValueError(f"{one_line(text)} is not a neutral name")
    return text
