"""Does a code say who it is of? A linear probe, tested on footage that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

FOLDS: Final = 5
_RIDGE: Final = 1e-2


def probe_identity(
    codes: Mapping[str, NDArray[np.floating[Any]]], clips: Mapping[str, Sequence[str]]
) -> float:
    """How often a linear probe names the right person, every person counting the same.

    Cross-validated by stretches of footage: neighbouring frames are nearly the same picture, so a
    probe tested beside what it learnt from would only show its memory.

    Args:
        codes: Of each person's faces, (N, K) in order of time.
        clips: Which file each face is from; stretches do not cross files.

    Returns:
        In [0, 1]; 1 over the number of people is chance.
    """
    names = list(codes)
    features = np.concatenate([np.asarray(codes[name], np.float64) for name in names])
    who = np.repeat(np.arange(len(names)), [len(codes[name]) for name in names])
    fold = np.concatenate([_stretches(clips[name]) for name in names])
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    features = np.c_[features, np.ones(len(features))]
    right = np.zeros(len(who), bool)
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        if not test.any() or len(set(who[train])) < len(names):
            continue
        # Each person weighs the same; else the longest clip would be the best guess.
        weight = 1 / np.bincount(who[train], minlength=len(names))[who[train]]
        goal = np.eye(len(names))[who[train]]
        gram = features[train].T @ (features[train] * weight[:, None])
        gram += _RIDGE * len(names) * np.eye(len(gram)) / FOLDS
        solution = np.linalg.solve(gram, features[train].T @ (goal * weight[:, None]))
        right[test] = (features[test] @ solution).argmax(axis=1) == who[test]
    return float(np.mean([right[who == index].mean() for index in range(len(names))]))


def _stretches(clips: Sequence[str]) -> NDArray[np.int64]:
    """A fold for each face: whole files where there are enough, else stretches of time."""
    order = {name: place for place, name in enumerate(dict.fromkeys(clips))}
    if len(order) >= FOLDS:
        return np.array([order[name] % FOLDS for name in clips], np.int64)
    return (np.arange(len(clips)) * FOLDS // max(len(clips), 1)).astype(np.int64)
