"""Shared code of the training benchmarks: named configs and a journal of finished cells."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from swapper.errors import UsageError

PERFORMER: Final = "(performer)"
ANSWER: Final = "(answer)"
_CONVERT: Final = "convert.affect."


@dataclass(frozen=True)
class Config:
    """Named overrides of `swapper train` and `swapper convert`.

    Attributes:
        name: Name in the table.
        overrides: Overrides of the training.
        affect: `affect.*` options of the conversion, by name.
    """

    name: str
    overrides: tuple[str, ...] = ()
    affect: tuple[tuple[str, float], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Config:
        """Read ``name: override override ...``; ``convert.affect.KEY=`` applies to the conversion.

        Raises:
            UsageError: The name is missing, or an item is not an override.
        """
        name, colon, text_overrides = text.partition(":")
        overrides = tuple(shlex.split(text_overrides))
        invalid = next((each for each in overrides if "=" not in each), None)
        if not name.strip() or not colon or invalid is not None:
            raise UsageError(
                f"--config {text!r}: write 'name: key=value key=value'"
                + (f"; {invalid!r} is no override" if invalid else "")
            )
        if name.strip() in (PERFORMER, ANSWER):
            raise UsageError(f"--config {text!r}: that name is taken, choose another")
        affect_overrides = [
            each.removeprefix(_CONVERT) for each in overrides if each.startswith(_CONVERT)
        ]
        try:
            affect = tuple(
                (key, float(value)) for key, value in (e.split("=", 1) for e in affect_overrides)
            )
        except ValueError as error:
            raise UsageError(
                f"--config {text!r}: {error}; write {_CONVERT}guidance_scale=1.5"
            ) from error
        if any(key not in ("guidance_scale", "relative") for key, _ in affect):
            raise UsageError(f"--config {text!r}: {_CONVERT} takes guidance_scale= and relative=")
        trained = tuple(each for each in overrides if not each.startswith(_CONVERT))
        return cls(name.strip(), trained, affect)


def digest(recipe: Any) -> str:
    """Return ten hex digits of the hash of plain values."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:10]


class Journal:
    """Finished cells, one line of JSON each; an incomplete last line is dropped.

    Args:
        path: JSON lines file; created if missing.

    Raises:
        UsageError: A complete line is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_bytes() if path.exists() else b""
        complete = text[: text.rfind(b"\n") + 1]
        if len(complete) < len(text):
            with path.open("r+b") as stream:
                stream.truncate(len(complete))
        self.rows: dict[str, dict[str, Any]] = {}
        for number, line in enumerate(complete.splitlines(), 1):
            try:
                row = json.loads(line)
                self.rows[row["key"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(f"{path}: line {number} is damaged; remove that line") from error

    def add(self, key: str, row: Mapping[str, Any]) -> None:
        """Append a finished cell and sync it to disk."""
        line = json.dumps({"key": key, **row}, allow_nan=False) + "\n"
        with self.path.open("ab") as stream:
            stream.write(line.encode())
            stream.flush()
            os.fsync(stream.fileno())
        self.rows[key] = json.loads(line)


def commit() -> str:
    """Return `git describe --always --dirty`; empty outside of git."""
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent,
    )  # fmt: skip
    return result.stdout.strip()
