"""Safe reading of untrusted JSON files, and quoting of untrusted text."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import NoReturn

from swapper.errors import StudyError


def read_object(path: Path, limit: int) -> dict[str, object]:
    """Read the JSON object in a regular file; links, pipes and devices are refused.

    Args:
        path: The file.
        limit: Largest size in bytes.

    Raises:
        StudyError: Missing, not a regular file, too large, or not a JSON object of finite numbers.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        with os.fdopen(os.open(path, flags), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise StudyError(f"{quoted(path)}: is not a plain file; remove it")
            content = stream.read(limit + 1)
    except OSError as error:
        raise StudyError(
            f"{quoted(path)}: cannot be read ({error.strerror}); put the file itself there"
        ) from error
    if len(content) > limit:
        raise StudyError(f"{quoted(path)}: is larger than {limit} bytes; no such file of ours is")
    try:
        data = json.loads(content.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{quoted(path)}: is not valid JSON; ask for it again") from error
    if not isinstance(data, dict):
        raise StudyError(f"{quoted(path)}: is not a JSON object; ask for it again")
    return data


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def quoted(text: object, limit: int = 200) -> str:
    """Printable, single-line, bounded form of untrusted text."""
    flat = "".join(each if each.isprintable() else "?" for each in str(text))
    return flat if len(flat) <= limit else f"{flat[: limit // 2]}...{flat[-limit // 2 :]}"
