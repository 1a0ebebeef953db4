"""Sampling rates of faces: rare poses and affect are oversampled, up to a cap.

Faces are counted in cells of yaw, pitch and affect. A cell is drawn in proportion to its count to
the power of 1 - temper, near-duplicates count as one, a share of the draws stays uniform, and a
face's rate is capped: without the cap a cell of one picture is drawn as often as one of a thousand,
and the picture is memorised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swapper.data.near_duplicates import FootageIndex, near_copy_runs
from swapper.data.sampling import generator
from swapper.options.fields import check_range

YAW_EDGES = (-45.0, -25.0, -10.0, 10.0, 25.0, 45.0)
PITCH_EDGES = (-12.0, 12.0)
"""Degrees; larger angles fall into the outermost of the 7 and 3 cells."""
_FACES_PER_CLUSTER = 8
_ROUNDS = 50


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """Sampling rates of the faces of one identity.

    Attributes:
        rate: (N,) float64, draws of each face while N faces are drawn; their sum is N.
        cell: (N, 3) int64, number of the yaw, pitch and affect cell of each face.
        run: (N,) int64, faces of one number are near-duplicates.
        order: (N,) int64, faces sorted by cell, then by footage order.
    """

    rate: NDArray[np.float64]
    cell: NDArray[np.int64]
    run: NDArray[np.int64]
    order: NDArray[np.int64]


@dataclass(frozen=True)
class Balance:
    """Settings for oversampling rare faces.

    Attributes:
        temper: A cell's faces weigh their number to the power of -temper; 0 draws every face once
            an epoch, including near-duplicates, and 1 draws all cells equally often.
        cap: Largest rate of any face, where 1 is the rate without balance.
        uniform: Share of uniform draws.
        clusters: Largest number of affect cells; fewer where they have less than 8 distinct faces.

    Raises:
        ValueError: A number is out of its range.
    """

    temper: float = 0.5
    cap: float = 8.0
    uniform: float = 0.3
    clusters: int = 16

    def __post_init__(self) -> None:
        check_range(0, 1, temper=self.temper, uniform=self.uniform)
        check_range(1, 1000, cap=self.cap)
        check_range(1, 256, clusters=self.clusters)

    def rates(self, footage: FootageIndex, codes: NDArray[np.float32]) -> Rates:
        """Compute the rates of the faces of one identity.

        Args:
            footage: Of N faces.
            codes: (N, K) of unit variance along each dimension; with K = 0 all faces are of one
                affect cell.
        """
        run = near_copy_runs(footage, codes)
        share = 1 / np.bincount(run)[run]
        clusters = min(self.clusters, 1 + int(run.max()) // _FACES_PER_CLUSTER)
        cell = np.stack(
            [
                np.digitize(footage.pose[:, 0], YAW_EDGES),
                np.digitize(footage.pose[:, 1], PITCH_EDGES),
                k_means(codes, clusters),
            ],
            axis=1,
        )
        _, number = np.unique(cell, axis=0, return_inverse=True)
        number = number.reshape(-1)
        count = np.bincount(number, weights=share)[number]
        # A cell may hold only part of a run; it must not weigh more than a single face.
        weight = share * np.maximum(count, 1) ** -self.temper
        rate = np.ones(len(footage)) if self.temper == 0 else self._bounded(weight)
        place = np.empty(len(footage), np.int64)
        place[footage.order] = np.arange(len(footage))
        return Rates(rate, cell, run, np.lexsort((place, number)))

    def _bounded(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rates from weights: mixed with uniform, capped, with the same sum."""
        if self.uniform == 1 or self.cap == 1:
            return np.ones(len(weight))
        most = (self.cap - self.uniform) / (1 - self.uniform)
        tempered = weight * (len(weight) / weight.sum())
        full = tempered > most
        # The excess is redistributed, which may bring others to the cap.
        while full.any():
            rest = len(weight) - most * full.sum()
            tempered[full] = most
            tempered[~full] *= rest / tempered[~full].sum()
            more = tempered > most * (1 + 1e-12)
            if not more.any():
                break
            full |= more
        rate: NDArray[np.float64] = self.uniform + (1 - self.uniform) * tempered
        return rate


def cell_name(cell: NDArray[np.int64]) -> str:
    """Return the name of a row of `Rates.cell`, such as ``yaw -10..10 pitch ..-12 affect 3``."""
    parts = []
    for name, edges, at in (("yaw", YAW_EDGES, cell[0]), ("pitch", PITCH_EDGES, cell[1])):
        low = f"{edges[at - 1]:g}" if at > 0 else ""
        high = f"{edges[at]:g}" if at < len(edges) else ""
        parts.append(f"{name} {low}..{high}")
    return " ".join([*parts, f"affect {cell[2]}"])


def k_means(points: NDArray[np.float32], clusters: int) -> NDArray[np.int64]:
    """K-means by Lloyd's algorithm, initialised by k-means++; deterministic.

    Source: k-means++, Arthur and Vassilvitskii 2007.

    Args:
        points: (N, K), N at least 1.
        clusters: Largest number of clusters, at least 1; fewer where fewer points differ.

    Returns:
        (N,) int64, number of each point's cluster.
    """
    labels = np.zeros(len(points), np.int64)
    if clusters == 1 or not points.shape[1]:
        return labels
    data = points.astype(np.float64)
    centres = _start(data, clusters)
    for _ in range(_ROUNDS):
        distance = np.square(centres).sum(axis=1) - 2 * (data @ centres.T)
        nearest = distance.argmin(axis=1)
        if (nearest == labels).all():
            break
        labels = nearest
        count = np.bincount(labels, minlength=len(centres))
        totals = np.zeros_like(centres)
        np.add.at(totals, labels, data)
        centres = np.where(count[:, None] > 0, totals / np.maximum(count, 1)[:, None], centres)
    return labels


def _start(data: NDArray[np.float64], clusters: int) -> NDArray[np.float64]:
    """k-means++: up to `clusters` of the points as initial centres."""
    random = generator(0, 0, 0, 0)
    chosen = [int(random.integers(len(data)))]
    distance = np.full(len(data), np.inf)
    while len(chosen) < clusters:
        distance = np.minimum(distance, np.square(data - data[chosen[-1]]).sum(axis=1))
        ends = distance.cumsum()
        if not ends[-1] > 0:
            break
        at = np.searchsorted(ends, random.random() * ends[-1], side="right")
        chosen.append(min(int(at), len(data) - 1))
    return data[chosen]
