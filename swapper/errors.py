"""What swapper raises when the input, not the program, is at fault.

Each message is one line that names the file or option and the cure; the command line prints it
without a traceback and exits with `exit_code`.
"""

from __future__ import annotations


class SwapperError(Exception):
    """Base of every error that a user can mend."""

    exit_code = 1


class UsageError(SwapperError):
    """An option or argument that cannot be carried out."""

    exit_code = 2


class MediaError(SwapperError):
    """A video or picture that cannot be read or written."""


class AlignerError(SwapperError):
    """An aligner whose weights, model or landmark file cannot be used."""


class FacesetError(SwapperError):
    """A faceset that is damaged, foreign or does not fit the others."""


class ModelError(SwapperError):
    """A model file that is damaged, foreign or lacks what was asked of it."""


class EstimatorError(SwapperError):
    """An affect estimator whose weights are damaged, foreign or of another architecture."""


class CheckpointError(SwapperError):
    """A checkpoint that cannot be written, read or continued."""


class TrainingError(SwapperError):
    """A training run that cannot go on."""


class ProvenanceError(SwapperError):
    """A manifest or certificate that cannot be made or read."""


class StudyError(SwapperError):
    """A study that cannot be made, or answers to one that cannot be counted."""
