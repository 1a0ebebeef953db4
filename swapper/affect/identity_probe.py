"""Linear probe that measures how much identity leaks into affect codes."""

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
    """Return the balanced accuracy of a linear probe that predicts the person from a code.

    Cross-validated by stretches of footage: neighbouring frames are near duplicates, so a random
    split would only measure memorisation.

    Args:
        codes: Of each person's faces, (N, K) in order of time.
        clips: Which file each face is from; stretches do not cross files.

    Returns:
        In [0, 1]; chance is 1 over the number of people.
    """
    names = list(codes)
    features = np.concatenate([np.asarray(codes[name], np.float64) for name in names])
    person = np.repeat(np.arange(len(names)), [len(codes[name]) for name in names])
    fold = np.concatenate([_stretches(clips[name]) for name in names])
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    features = np.c_[features, np.ones(len(features))]
    right = np.zeros(len(person), bool)
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        if not test.any() or len(set(person[train])) < len(names):
            continue
        # Each person weighs the same; else the longest clip would be the best guess.
        weight = 1 / np.bincount(person[train], minlength=len(names))[person[train]]
        goal = np.eye(len(names))[person[train]]
        gram = features[train].T @ (features[train] * weight[:, None])
        gram += _RIDGE * len(names) * np.eye(len(gram)) / FOLDS
        solution = np.linalg.solve(gram, features[train].T @ (goal * weight[:, None]))
        right[test] = (features[test] @ solution).argmax(axis=1) == person[test]
    return float(np.mean([right[person == index].mean() for index in range(len(names))]))


def _stretches(clips: Sequence[str]) -> NDArray[np.int64]:
    """A fold for each face: whole files where there are enough, else stretches of time."""
    order = {name: place for place, name in enumerate(dict.fromkeys(clips))}
    if len(order) >= FOLDS:
        return np.array([order[name] % FOLDS for name in clips], np.int64)
    return (np.arange(len(clips)) * FOLDS // max(len(clips), 1)).astype(np.int64)
