"""Progress with rate and remaining time: a bar on a terminal, periodic lines in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

_REPORT_SECONDS = 10.0


def progress(total: int | None, label: str, unit: str, *, initial: int = 0) -> tqdm[Any]:
    """Return a tqdm bar on stderr; call ``update(n)`` and ``close()``.

    `total` is None if unknown, `unit` singular, `initial` the number of items already done.
    """
    terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=label,
        unit=f" {unit}",
        initial=initial,
        file=sys.stderr,
        dynamic_ncols=terminal,
        ncols=None if terminal else 100,
        mininterval=0.2 if terminal else 10.0,
        maxinterval=1.0 if terminal else 30.0,
        ascii=None if terminal else " =",
    )


def progress_logger(log: logging.Logger, action: str) -> Callable[[str, int, int], None]:
    """Return a callback (title, done, total) that logs the number of faces at intervals."""
    last = time.monotonic()

    def report(title: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _REPORT_SECONDS:
            last = time.monotonic()
            log.info("%s: %d of %d faces %s", title, done, total, action)

    return report
