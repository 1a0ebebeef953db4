"""Metadata of a faceset, ``faceset.json``: identity, rights, sources."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from swapper.errors import FacesetError
from swapper.facesets.faceset_errors import damaged, writing
from swapper.files import read_json, replacing
from swapper.types import COVERAGES, Coverage

FACESET_SCHEMA = 1
CARD_NAME = "faceset.json"
MIN_SIZE, MAX_SIZE = 16, 4096

ImageFormat = Literal["png", "webp", "jpg"]
IMAGE_FORMATS: tuple[ImageFormat, ...] = ("png", "webp", "jpg")

IDENTITY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
SHA256 = re.compile(r"[0-9a-f]{64}")

_MAX_CARD_BYTES = 64 << 20
_MAX_TEXT = 10_000
_CURE = "restore it from a copy, or extract into a new folder"


@dataclass(frozen=True, slots=True)
class Source:
    """A file that faces were cut from.

    Attributes:
        name: Its file name, without folders.
        sha256: Of its bytes, hex.
        num_frames: Number of frames, or None if unknown.
    """

    name: str
    sha256: str
    num_frames: int | None = None

    def __post_init__(self) -> None:
        _text("source name", self.name)
        if not SHA256.fullmatch(_text("source sha256", self.sha256)):
            raise ValueError(f"source sha256 must be 64 hex digits, got {self.sha256!r}")
        frames = self.num_frames
        if frames is not None and (type(frames) is not int or not 0 <= frames < 2**53):
            raise ValueError(f"source num_frames must be a count or null, got {frames!r}")


@dataclass(frozen=True, slots=True)
class FacesetMetadata:
    """Content of ``faceset.json``.

    Attributes:
        identity: Letters, digits and ``_ . -``, not starting with a dot, at most 64.
        rights: Statement of the right to use the faces; never empty.
        size: Side of an aligned picture in pixels, 16 to 4096.
        coverage: How much of the head a picture holds.
        aligner: Fingerprint of the aligner of the first faces.
        image_format: Of pictures written from now on; each row names its own file.
        created: When, ISO 8601.
        sources: In the order in which they were added, each sha256 once.
    """

    identity: str
    rights: str
    size: int
    coverage: Coverage
    aligner: str
    image_format: ImageFormat = "png"
    created: str = ""
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        if not IDENTITY.fullmatch(_text("identity", self.identity)):
            raise ValueError(
                f"identity must be 1 to 64 letters, digits or _ . - and not start with a dot, "
                f"got {self.identity!r}"
            )
        if not _text("rights", self.rights).strip():
            raise ValueError("rights is empty")
        if type(self.size) is not int or not MIN_SIZE <= self.size <= MAX_SIZE:
            raise ValueError(f"size must be {MIN_SIZE} to {MAX_SIZE} pixels, got {self.size!r}")
        if self.coverage not in COVERAGES:
            raise ValueError(f"coverage must be {', '.join(COVERAGES)}, got {self.coverage!r}")
        if self.image_format not in IMAGE_FORMATS:
            raise ValueError(
                f"image_format must be {', '.join(IMAGE_FORMATS)}, got {self.image_format!r}"
            )
        _text("aligner", self.aligner)
        _text("created", self.created)
        if len({source.sha256 for source in self.sources}) != len(self.sources):
            raise ValueError("sources lists a file twice")

    def with_source(self, source: Source) -> FacesetMetadata:
        """Return the card with `source` added, or updated if its sha256 is listed already."""
        sources = {each.sha256: each for each in self.sources} | {source.sha256: source}
        return replace(self, sources=tuple(sources.values()))


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ValueError(f"{name} must be text of at most {_MAX_TEXT} characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{name} holds half a character") from error
    return value


def read_metadata(folder: Path) -> FacesetMetadata:
    """Read and check the card of the faceset in `folder`.

    Raises:
        FacesetError: Missing, damaged or made by a newer swapper.
    """
    path = folder / CARD_NAME
    try:
        plain = read_json(path, _MAX_CARD_BYTES, FacesetError, _CURE)
    except FileNotFoundError as error:
        raise damaged(
            path, "missing", f"is {folder} a faceset? make one with swapper extract"
        ) from error
    schema = plain.get("schema")
    if type(schema) is int and schema > FACESET_SCHEMA:
        raise damaged(
            path, f"has schema {schema}", "it is newer than this swapper: upgrade swapper"
        )
    if type(schema) is not int or schema != FACESET_SCHEMA:
        raise damaged(path, f"has schema {schema!r}, not {FACESET_SCHEMA}", _CURE)
    try:
        return _from_plain(plain)
    except KeyError as error:
        raise damaged(path, f"{error} is missing", _CURE) from error
    except (TypeError, ValueError) as error:
        raise damaged(path, error, _CURE) from error


def _from_plain(plain: Mapping[str, Any]) -> FacesetMetadata:
    sources = plain["sources"]
    if not isinstance(sources, list) or not all(isinstance(each, dict) for each in sources):
        raise ValueError("sources must be a list of objects")
    known = {each.name: plain[each.name] for each in fields(FacesetMetadata)}
    known["sources"] = tuple(
        Source(each["name"], each["sha256"], each.get("num_frames")) for each in sources
    )
    return FacesetMetadata(**known)


def write_metadata(folder: Path, card: FacesetMetadata) -> None:
    """Replace the card of the faceset in `folder` atomically.

    Raises:
        FacesetError: The disk is full or the folder not writable; the old card is untouched.
    """
    plain = {"schema": FACESET_SCHEMA, **asdict(card)}
    text = json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
    path = folder / CARD_NAME
    with writing(path), replacing(path) as stream:
        stream.write(text.encode())


def check_extends(folder: Path, old: FacesetMetadata, new: FacesetMetadata) -> None:
    """Refuse to add faces of `new` to the faceset `old`.

    Raises:
        FacesetError: Another identity, size, coverage or rights statement.
    """
    path = folder / CARD_NAME
    for name in ("identity", "size", "coverage"):
        old_value, new_value = getattr(old, name), getattr(new, name)
        if old_value != new_value:
            raise damaged(
                path,
                f"has {name} {old_value}, not {new_value}",
                f"pass {name}={old_value} or another folder",
            )
    if old.rights != new.rights:
        raise damaged(
            path,
            f"states other rights ({old.rights[:120]!r})",
            "pass the same rights, or edit the card if they have changed",
        )
