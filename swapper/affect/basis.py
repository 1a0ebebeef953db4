"""Compute the directions of an estimator's embedding that encode expression.

An embedding trained for expressions also encodes light, pose and identity, often in its directions
of largest variance. So the first directions are those that predict the estimator's outputs
(classes, valence and arousal, unit intensities), by reduced-rank ridge regression (Izenman 1975);
then come the principal components of the remainder, for what no output reports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.affect.readout import ridge_slopes
from swapper.types import Readings

Floats = NDArray[np.float64]

_FLOOR: Final = 1e-4
"""Share of the largest variance below which a direction counts as noise."""
_RIDGE: Final = 0.01
"""Ridge penalty, as a share of the embedding's mean variance."""
_MIN_EXPLAINED: Final = 0.5
"""Share of an output's variance that the embedding must explain linearly; others are left out."""
_MIN_SHARE: Final = 1e-4
"""Lower bound of probabilities, whose logarithms are regressed on so that small ones count."""


def expression_basis(
    deviations: Mapping[str, Floats], readings: Mapping[str, Readings], dim: int
) -> Floats:
    """Compute the basis of deviations from neutral, all people weighted equally.

    Args:
        deviations: Of each person's faces, embedding minus neutral, (N, D).
        readings: Of the same faces.
        dim: Largest K; fewer where the embedding varies in fewer directions.

    Returns:
        (D, K), uncorrelated and each of unit mean square over all people.
    """
    pooled = np.mean([each.T @ each / len(each) for each in deviations.values()], axis=0)
    targets = {name: outputs(readings[name]) for name in deviations}
    predictive = _predictive_directions(deviations, targets, pooled)[:, :dim]
    if predictive.shape[1] == dim:
        return predictive
    # Projection onto what the predictive directions leave unexplained.
    residual = np.eye(len(pooled)) - pooled @ predictive @ predictive.T
    remaining = _principal_axes(
        residual @ pooled @ residual.T, float(np.linalg.eigvalsh(pooled).max())
    )
    return np.concatenate(
        [predictive, residual.T @ remaining[:, : dim - predictive.shape[1]]], axis=1
    )


def outputs(readings: Readings) -> Floats:
    """Concatenate an estimator's outputs for N faces, (N, M); M is 0 if it has none."""
    columns: list[NDArray[np.floating[Any]]] = [np.zeros((len(readings), 0))]
    if readings.intensities is not None:
        columns.append(readings.intensities)
    if readings.probabilities is not None:
        columns.append(np.log(readings.probabilities.clip(_MIN_SHARE)))
    columns += [each[:, None] for each in (readings.valence, readings.arousal) if each is not None]
    return np.concatenate(columns, axis=1).astype(np.float64)


def _predictive_directions(
    deviations: Mapping[str, Floats], targets: Mapping[str, Floats], pooled: Floats
) -> Floats:
    """(D, L) directions of unit mean square, in order of the outputs' variance explained."""
    centred = {name: each - np.median(each, axis=0) for name, each in targets.items()}
    power = np.mean([(each**2).mean(axis=0) for each in centred.values()], axis=0)
    covariance = np.mean(
        [deviations[n].T @ centred[n] / len(deviations[n]) for n in deviations], axis=0
    )
    weights = ridge_slopes(pooled, covariance, _RIDGE)
    explained = (weights * covariance).sum(axis=0)
    predictable = explained > _MIN_EXPLAINED * power.clip(1e-12)
    if not predictable.any():
        return np.zeros((len(pooled), 0))
    weights = weights[:, predictable] / np.sqrt(power[predictable])
    directions = weights @ _principal_axes(weights.T @ pooled @ weights, scaled=False)
    return np.asarray(directions / np.sqrt(((directions.T @ pooled).T * directions).sum(axis=0)))


def _principal_axes(covariance: Floats, largest: float = 0.0, *, scaled: bool = True) -> Floats:
    """Principal components of (M, M) as columns, by variance, without noise.

    Noise is relative to `largest` if that is above all variances. Unit variance if `scaled`.
    """
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    order = np.argsort(-values)
    order = order[values[order] > _FLOOR * max(largest, float(values.max()), 1e-12)]
    axes: Floats = vectors[:, order]
    if scaled:
        axes = axes / np.sqrt(values[order])
    return axes
