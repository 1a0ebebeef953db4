"""Which directions of an estimator's embedding speak of expression.

An embedding that was trained to tell expressions still holds light, pose and whose face it is, and
often in its widest directions. So the first directions are those from which the estimator reads
what it says aloud (classes, valence and arousal, intensities of units), by reduced-rank ridge
regression (Izenman 1975); only then come the widest of what is left, for what it knows and does
not say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from swapper.types import Readings

Floats = NDArray[np.float64]

_FLOOR: Final = 1e-4
"""Variance, of the largest, below which a direction is taken for noise."""
_RIDGE: Final = 0.01
"""Of the embedding's mean variance."""
_LEAST_TOLD: Final = 0.5
"""Share of an output's variance that the embedding must explain linearly; else it leads astray."""
_LEAST_SHARE: Final = 1e-4
"""Shares are told as logarithms, so that small ones count as well; none is below this."""


def expression_basis(
    deviations: Mapping[str, Floats], readings: Mapping[str, Readings], dim: int
) -> Floats:
    """Directions in which faces depart from their rest, every person counting the same.

    Args:
        deviations: Of each person's faces, embedding less neutral, (N, D).
        readings: Of the same faces.
        dim: K at most; fewer where the embedding varies in fewer.

    Returns:
        (D, K), uncorrelated and each of unit mean square over all people.
    """
    pooled = _mean([each.T @ each / len(each) for each in deviations.values()])
    said = {name: outputs(readings[name]) for name in deviations}
    spoken = _spoken(deviations, said, pooled)[:, :dim]
    if spoken.shape[1] == dim:
        return spoken
    # What the spoken directions leave unexplained of the embedding.
    apart = np.eye(len(pooled)) - pooled @ spoken @ spoken.T
    rest = _widest(apart @ pooled @ apart.T, float(np.linalg.eigvalsh(pooled).max()))
    basis: Floats = np.concatenate([spoken, apart.T @ rest[:, : dim - spoken.shape[1]]], axis=1)
    return basis


def outputs(readings: Readings) -> Floats:
    """All that an estimator says of N faces, (N, M); M is 0 if it says nothing."""
    told: list[NDArray[np.floating[Any]]] = [np.zeros((len(readings), 0))]
    if readings.intensities is not None:
        told.append(readings.intensities)
    if readings.probabilities is not None:
        told.append(np.log(readings.probabilities.clip(_LEAST_SHARE)))
    told += [each[:, None] for each in (readings.valence, readings.arousal) if each is not None]
    return np.concatenate(told, axis=1).astype(np.float64)


def _spoken(deviations: Mapping[str, Floats], said: Mapping[str, Floats], pooled: Floats) -> Floats:
    """(D, L) unit mean square, those that explain most of the outputs first."""
    centred = {name: each - np.median(each, axis=0) for name, each in said.items()}
    power = _mean([(each**2).mean(axis=0) for each in centred.values()])
    crossed = _mean([deviations[n].T @ centred[n] / len(deviations[n]) for n in deviations])
    ridge = _RIDGE * np.trace(pooled) / len(pooled) + 1e-12
    reader = np.linalg.solve(pooled + ridge * np.eye(len(pooled)), crossed)
    told = (reader * crossed).sum(axis=0)
    kept = told > _LEAST_TOLD * power.clip(1e-12)
    if not kept.any():
        return np.zeros((len(pooled), 0))
    reader = reader[:, kept] / np.sqrt(power[kept])
    directions = reader @ _widest(reader.T @ pooled @ reader, scaled=False)
    found: Floats = directions / np.sqrt(((directions.T @ pooled).T * directions).sum(axis=0))
    return found


def _widest(covariance: Floats, largest: float = 0.0, *, scaled: bool = True) -> Floats:
    """Principal directions as columns, widest first, noise left out; to unit variance if `scaled`.

    Args:
        covariance: (M, M).
        largest: What to hold noise against, if not the largest variance found here.
        scaled: Divide each by the spread along it.
    """
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    order = np.argsort(-values)
    order = order[values[order] > _FLOOR * max(largest, float(values.max()), 1e-12)]
    found: Floats = vectors[:, order]
    if scaled:
        found = found / np.sqrt(values[order])
    return found


def _mean(each: list[Floats]) -> Floats:
    mean: Floats = np.sum(each, axis=0) / len(each)
    return mean
