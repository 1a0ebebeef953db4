"""Read and validate a report.json, which is untrusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from swapper.errors import UsageError
from swapper.files import read_json

_MAX_BYTES: Final = 4 << 20
_MAX_MEASURES: Final = 200
_MAX_TEXT: Final = 500


@dataclass(frozen=True)
class StoredMeasure:
    """A figure; NaN if undetermined. `partial` if its instrument is not independent."""

    title: str
    value: float
    floor: float
    ceiling: float
    unit: str
    partial: bool = False


@dataclass(frozen=True)
class StoredReport:
    """The validated part of a report.

    Attributes:
        title: Of the two clips.
        verdict: One sentence.
        model_sha256: Of the weights that made the swap; "" if unknown.
        measures: By name.
    """

    title: str
    verdict: str
    model_sha256: str
    measures: Mapping[str, StoredMeasure]


def read_report(path: str | Path) -> StoredReport:
    """Read a report of `swapper evaluate`: report.json, or the folder that holds it.

    Raises:
        UsageError: It is missing, too large or not a report.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "report.json"
    try:
        data = read_json(file, _MAX_BYTES, UsageError, "evaluate the swap again", links=True)
        measures = data["measures"]
        if len(measures) > _MAX_MEASURES:
            raise ValueError("too many measures")
        return StoredReport(
            title=_text(data["title"]),
            verdict=_text(data["verdict"]),
            model_sha256=_text(data["facts"].get("model sha256", "")),
            measures={
                _text(name): StoredMeasure(
                    title=_text(each["title"]),
                    value=_number(each["value"]),
                    floor=_number(each["floor"]),
                    ceiling=_number(each["ceiling"]),
                    unit=_text(each["unit"]),
                    partial=bool(each.get("partial", False)),
                )
                for name, each in measures.items()
            },
        )
    except FileNotFoundError as error:
        raise UsageError(
            f"{file}: no such file; pass the folder that swapper evaluate wrote"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{file}: is not a report.json of swapper evaluate; evaluate the swap again"
        ) from error


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ValueError("not a short text")
    return value


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("not a number")
    return float(value)
