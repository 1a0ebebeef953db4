"""Build the pseudo-targets of one batch from tables of recipes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from swapper.data.augment import Augment
from swapper.data.cache import FaceCache
from swapper.data.pseudo_recipes import Table
from swapper.data.sampling import generator
from swapper.kernels.pseudo_target import draw_pseudo_targets
from swapper.types import PseudoBatch


def swapped_as(step: int, num_identities: int) -> list[int]:
    """Return the identity that each performer is swapped to at a step: each other one in turn."""
    offset = 1 + step % (num_identities - 1)
    return [(performer + offset) % num_identities for performer in range(num_identities)]


@dataclass(eq=False)
class PseudoSamples:
    """Looks up the pseudo-targets of a batch; a function of the step.

    Attributes:
        tables: Of every ordered pair (performer, identity).
        faces: Share of each identity's faces in a batch that are swapped, in (0, 1].
    """

    tables: Mapping[tuple[int, int], Table]
    faces: float = 1.0

    def resident(
        self, chosen: Sequence[NDArray[np.int64]], step: int, first: NDArray[np.int64]
    ) -> PseudoBatch:
        """Pseudo-targets of a batch whose faces are resident on the device.

        Args:
            chosen: For each identity, rows of its faces in the batch.
            step: Which batch this is.
            first: For each identity, its first row among all faces.
        """
        rows, sample, performer, identity = self._rows(chosen, step)
        base = np.where(rows["base"] >= 0, first[identity] + rows["base"], 0)
        lender = np.where(rows["own_mouth"] > 0, identity, performer)
        donor = np.where(rows["donor"] >= 0, first[lender] + rows["donor"], -1)
        return _batch(rows, sample, base, donor)

    def gathered(
        self,
        chosen: Sequence[NDArray[np.int64]],
        step: int,
        caches: Sequence[FaceCache],
    ) -> tuple[NDArray[np.uint8], PseudoBatch]:
        """Pseudo-targets of a batch that carries its faces: those of `chosen`, then extra ones.

        Args:
            chosen: As in `resident`.
            step: Likewise.
            caches: Of each identity.

        Returns:
            (K, S, S, 5) faces to append to the batch's own, and the pseudo-targets.
        """
        rows, sample, _, identity = self._rows(chosen, step)
        before = sum(map(len, chosen))
        base, donor = np.zeros(len(rows), np.int64), np.full(len(rows), -1, np.int64)
        extra: list[NDArray[np.uint8]] = []
        for place, (row, owner) in enumerate(zip(rows, identity, strict=True)):
            if row["base"] < 0:
                continue
            base[place] = before + len(extra)
            extra.append(caches[owner].array[row["base"]])
            if row["donor"] >= 0 and row["own_mouth"]:
                donor[place] = before + len(extra)
                extra.append(caches[owner].array[row["donor"]])
            elif row["donor"] >= 0:  # the performer's own face, which the batch has
                donor[place] = sample[place]
        faces = np.stack(extra) if extra else np.empty((0, *caches[0].array.shape[1:]), np.uint8)
        return faces, _batch(rows, sample, base, donor)

    def _rows(
        self, chosen: Sequence[NDArray[np.int64]], step: int
    ) -> tuple[Table, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Recipes (M,), places of their samples in the batch, performers and identities."""
        count, block = len(chosen), len(chosen[0])
        per_identity = math.ceil(self.faces * block)
        identities = swapped_as(step, count)
        recipes = [
            self.tables[performer, identity][rows[:per_identity]]
            for performer, (identity, rows) in enumerate(zip(identities, chosen, strict=True))
        ]
        performers = np.arange(count).repeat(per_identity)
        sample = performers * block + np.tile(np.arange(per_identity), count)
        return (
            np.concatenate(recipes),
            sample,
            performers,
            np.array(identities).repeat(per_identity),
        )


def _batch(
    rows: Table, sample: NDArray[np.int64], base: NDArray[np.int64], donor: NDArray[np.int64]
) -> PseudoBatch:
    def tensor(name: str) -> torch.Tensor:
        # A copy: structured fields have strides that torch does not support.
        return torch.from_numpy(rows[name].copy())

    return PseudoBatch(
        sample=torch.from_numpy(sample),
        weight=tensor("confidence") * torch.from_numpy(rows["base"] >= 0),
        base=torch.from_numpy(base),
        flow=tensor("flow"),
        donor=torch.from_numpy(donor),
        donor_from_place=tensor("donor_from_place"),
        lips=tensor("lips"),
        gain=tensor("gain"),
        shade=tensor("shade"),
    )


def draw_rows(
    caches: Sequence[FaceCache],
    pair: tuple[int, int],
    table: Table,
    faces: NDArray[np.int64],
    size: int,
) -> torch.Tensor:
    """Render the pseudo-targets of some faces of a performer, without augmentation.

    Args:
        caches: Of each identity.
        pair: Places of performer and identity.
        table: Their recipes.
        faces: (N,) of the performer; all have a pseudo-target.
        size: Side of the pictures in pixels.

    Returns:
        (N, 5, size, size) in [0, 1].
    """
    rows = table[faces]
    performer, identity = (caches[each] for each in pair)
    lenders = [identity if row["own_mouth"] else performer for row in rows]
    pictures = [identity.array[row["base"]] for row in rows]
    pictures += [each.array[max(row["donor"], 0)] for each, row in zip(lenders, rows, strict=True)]
    count, stored = len(rows), identity.size
    straight = Augment.none().draw(generator(0, 0, 0, 0), stored, size).faces_from_target
    batch = _batch(
        rows,
        np.arange(count),
        np.arange(count),
        np.where(rows["donor"] >= 0, count + np.arange(count), -1),
    )
    return render(
        torch.from_numpy(np.stack(pictures)),
        torch.from_numpy(straight).expand(count, 2, 3),
        batch,
        size,
    )


def render(
    faces: torch.Tensor, faces_from_target: torch.Tensor, pseudo: PseudoBatch, size: int
) -> torch.Tensor:
    """Render M pseudo-targets, (M, 5, size, size) in [0, 1], on the device of `faces`.

    Args:
        faces: (K, S, S, 5) uint8, those that `pseudo` refers to.
        faces_from_target: (M, 2, 3), of each.
        pseudo: The pseudo-targets.
        size: Side of the pictures in pixels.
    """
    return draw_pseudo_targets(
        faces,
        faces_from_target,
        base=pseudo.base,
        flow=pseudo.flow,
        donor=pseudo.donor,
        donor_from_place=pseudo.donor_from_place,
        lips=pseudo.lips,
        gain=pseudo.gain,
        shade=pseudo.shade,
        size=size,
    )
