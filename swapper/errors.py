"""Errors raised for faulty input rather than for bugs.

Each message is one line that names the file or option and the cure; the command line prints it
without a traceback and exits with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SwapperError(Exception):
    """Base of every error that a user can fix."""

    exit_code = 1


class UsageError(SwapperError):
    """An invalid option or argument."""

    exit_code = 2


class MediaError(SwapperError):
    """A video or picture that cannot be read or written."""


class NothingSwappedError(SwapperError):
    """Footage in which no face was found; it is written as it was, without a claim."""

    exit_code = 5


class AlignerError(SwapperError):
    """An aligner whose weights, model or landmark file cannot be used."""


class FacesetError(SwapperError):
    """A faceset that is damaged, of another format or incompatible."""


class ModelError(SwapperError):
    """A model file that is damaged, of another format or lacks a requested part."""


class EstimatorError(SwapperError):
    """An affect estimator whose weights are damaged or of another architecture."""


class CheckpointError(SwapperError):
    """A checkpoint that cannot be written, read or resumed."""


class TrainingError(SwapperError):
    """A training run that cannot continue."""


class ProvenanceError(SwapperError):
    """A manifest or certificate that cannot be created or read."""


class StudyError(SwapperError):
    """A user study that cannot be created, or whose answers cannot be counted."""


def choices_text(wrong: object, legal: Iterable[str]) -> str:
    """``a, b, c``, and which of them a wrong word may have meant."""
    names = list(legal)
    close = difflib.get_close_matches(str(wrong), names, n=1)
    return ", ".join(names) + (f"; did you mean {close[0]}?" if close else "")
