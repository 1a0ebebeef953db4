"""Batches as a stateless function of the step number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from swapper.data.augment import Augment, AugmentParams, light_of
from swapper.data.cache import CHANNELS, FaceCache
from swapper.data.pose_pairs import PosePairs
from swapper.data.pseudo_samples import PseudoSamples, render
from swapper.data.sampling import FaceSampler, generator
from swapper.kernels.warp import warp_pair
from swapper.types import FaceBatch, PseudoBatch

_PAIRING = 1  # the stream of generators that chooses inputs, so that it moves no other draw


@dataclass(eq=False)
class StepDataset(Dataset[FaceBatch]):
    """Item ``step`` is the whole batch of that step, a function of (seed, step, rank).

    Attributes:
        caches: Faces of each identity, all of one size.
        allowed: For each identity, indices of the faces that may be drawn.
        augment: Augmentation.
        codes: For each identity the affect codes of its faces, (N, K) float32, N as its cache.
        samplers: For each identity, choose which of `allowed` are in a block.
        partners: For each identity, choose another of `allowed` as input.
        pairs: Share of samples whose input is another face of the identity in similar pose.
            Consecutive frames keep their own.
        resolution: Side of the target in pixels.
        seed: Of the run.
        rank: Of this process.
        world: Number of processes; together they draw each face once an epoch.
        resident: Whether the device holds all faces: batches then have none, and their index
            refers to the concatenated caches.
        pseudo: Chooses the pseudo-targets of a batch; None for none.
    """

    caches: Sequence[FaceCache]
    allowed: Sequence[NDArray[np.int64]]
    augment: Augment
    codes: Sequence[NDArray[np.float32]]
    _: KW_ONLY
    samplers: Sequence[FaceSampler]
    partners: Sequence[PosePairs] = ()
    pairs: float = 0.0
    resolution: int
    seed: int = 0
    rank: int = 0
    world: int = 1
    resident: bool = False
    pseudo: PseudoSamples | None = None

    def __post_init__(self) -> None:
        self.batch_size = self.samplers[0].block
        self._lights = [np.full((len(each), 2, 3), np.nan) for each in self.caches]

    def __getitem__(self, step: int) -> FaceBatch:
        blocks = [sampler.blocks(step * self.world + self.rank, 1) for sampler in self.samplers]
        drawn = [faces[0] for faces, _ in blocks]
        previous = np.concatenate(
            [
                np.where(before[0] < 0, -1, before[0] + identity * self.batch_size)
                for identity, (_, before) in enumerate(blocks)
            ]
        )
        chosen = [allowed[rows] for allowed, rows in zip(self.allowed, drawn, strict=True)]
        rows = np.concatenate(chosen)
        inputs = self._inputs(rows, drawn, previous, step)
        sampler, pictures, place = self._augmented(rows, inputs, previous, step)
        faces, index, pseudo = self._faces(chosen, rows, step)
        return assemble(
            faces,
            sampler,
            len(self.caches),
            step,
            index=index,
            degraded=np.stack(pictures) if pictures else None,
            degraded_index=place,
            codes=codes_of(self.codes, chosen),
            previous=previous,
            pseudo=pseudo,
        )

    def _faces(
        self, chosen: Sequence[NDArray[np.int64]], rows: NDArray[np.int64], step: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None, PseudoBatch | None]:
        """Stored faces of a batch, the row among them of each sample, and its pseudo-targets."""
        size = self.caches[0].size
        if self.resident:
            first = np.cumsum([0, *(len(each) for each in self.caches[:-1])])
            faces = np.empty((0, size, size, CHANNELS), np.uint8)
            pseudo = self.pseudo.resident(chosen, step, first) if self.pseudo else None
            return faces, rows + np.repeat(first, self.batch_size), pseudo
        faces = gather_faces(self.caches, chosen)
        if self.pseudo is None:
            return faces, None, None
        more, pseudo = self.pseudo.gathered(chosen, step, self.caches)
        return np.concatenate([faces, more]), np.arange(len(rows)), pseudo

    def _inputs(
        self,
        rows: NDArray[np.int64],
        drawn: Sequence[NDArray[np.int64]],
        previous: NDArray[np.int64],
        step: int,
    ) -> NDArray[np.int64]:
        """(N,) the input face of each sample: itself, or another in similar pose."""
        if self.pairs == 0:
            return rows
        inputs = rows.copy()
        in_succession = set(previous.tolist()) | set(np.flatnonzero(previous >= 0).tolist())
        for sample in range(len(rows)):
            random = generator(self.seed, step, self.rank, sample, _PAIRING)
            if random.random() >= self.pairs or sample in in_succession:
                continue
            identity, place = divmod(sample, self.batch_size)
            other = self.partners[identity].draw_partner(random, int(drawn[identity][place]))
            if other is not None:
                inputs[sample] = self.allowed[identity][other]
        return inputs

    def _augmented(
        self,
        rows: NDArray[np.int64],
        inputs: NDArray[np.int64],
        previous: NDArray[np.int64],
        step: int,
    ) -> tuple[list[AugmentParams], list[NDArray[np.uint8]], NDArray[np.int64]]:
        """Draw the augmentation of each sample.

        Returns:
            Parameters; pictures (S, S, 3) of those inputs that are not the sample's own face as it
            is; and (N,) the place of each sample's picture among them, or -1.
        """
        params: list[AugmentParams] = []
        pictures: list[NDArray[np.uint8]] = []
        places = np.full(len(rows), -1, np.int64)
        for sample in range(len(rows)):
            # Consecutive frames get the same augmentation, so that only the face changes
            # between them.
            key = int(previous[sample]) if previous[sample] >= 0 else sample
            random = generator(self.seed, step, self.rank, key)
            draw = self.augment.draw(random, self.caches[0].size, self.resolution)
            other = self._draw_other_identity(random, sample)
            if self.augment.borrows(random):
                light, goal = self._light(sample, inputs[sample]), self._light(other, rows[other])
                draw = self.augment.borrow(random, draw, light, goal)
            params.append(draw)
            degrades = self.augment.degrades(random)
            if not degrades and inputs[sample] == rows[sample]:
                continue
            picture = self.caches[sample // self.batch_size].array[inputs[sample], ..., :3]
            places[sample] = len(pictures)
            pictures.append(self.augment.degrade(random, picture) if degrades else picture)
        return params, pictures, places

    def _light(self, sample: int, row: np.int64) -> NDArray[np.float64]:
        """`light_of` a face of the sample's identity, memoised."""
        identity = sample // self.batch_size
        lights = self._lights[identity]
        if np.isnan(lights[row, 0, 0]):
            lights[row] = light_of(self.caches[identity].array[row])
        light: NDArray[np.float64] = lights[row]
        return light

    def _draw_other_identity(self, random: np.random.Generator, sample: int) -> int:
        """Draw the place in the batch of a face of another identity."""
        own = sample // self.batch_size
        num_others = len(self.caches) - 1
        place = int(random.integers(max(num_others, 1) * self.batch_size))
        if not num_others:
            return sample
        return place + (self.batch_size if place // self.batch_size >= own else 0)


@dataclass(eq=False)
class ValidationDataset(Dataset[FaceBatch]):
    """A few fixed batches of resized faces, without augmentation.

    Attributes:
        caches: Faces of each identity, all of one size.
        codes: For each identity the affect codes of its faces, (N, K) float32, N as its cache.
        batches: For each batch and identity the indices of its faces.
        resolution: Side of the target in pixels.
    """

    caches: Sequence[FaceCache]
    codes: Sequence[NDArray[np.float32]]
    batches: Sequence[Sequence[NDArray[np.int64]]]
    resolution: int

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> FaceBatch:
        chosen = self.batches[index]
        faces = gather_faces(self.caches, chosen)
        draw = Augment.none().draw(generator(0, 0, 0, 0), faces.shape[1], self.resolution)
        codes = codes_of(self.codes, chosen)
        return assemble(faces, [draw] * len(faces), len(self.caches), index, codes=codes)


def gather_faces(
    caches: Sequence[FaceCache], chosen: Sequence[NDArray[np.int64]]
) -> NDArray[np.uint8]:
    """The chosen faces of each identity in blocks, (N, S, S, 5) uint8."""
    size = caches[0].size
    faces = np.empty((sum(map(len, chosen)), size, size, CHANNELS), np.uint8)
    end = 0
    for cache, indices in zip(caches, chosen, strict=True):
        begin, end = end, end + len(indices)
        # "clip" writes straight into `out`; "raise" would go through a copy.
        np.take(cache.array, indices, axis=0, out=faces[begin:end], mode="clip")
    return faces


def codes_of(
    codes: Sequence[NDArray[np.float32]], chosen: Sequence[NDArray[np.int64]]
) -> NDArray[np.float32]:
    """(N, K) codes of the chosen faces of each identity, in blocks."""
    return np.concatenate([each[rows] for each, rows in zip(codes, chosen, strict=True)])


def assemble(
    faces: NDArray[np.uint8],
    params: Sequence[AugmentParams],
    num_identities: int,
    step: int,
    *,
    index: NDArray[np.int64] | None = None,
    degraded: NDArray[np.uint8] | None = None,
    degraded_index: NDArray[np.int64] | None = None,
    codes: NDArray[np.float32] | None = None,
    previous: NDArray[np.int64] | None = None,
    pseudo: PseudoBatch | None = None,
) -> FaceBatch:
    """Assemble the batch of N samples in equal blocks of `num_identities`; see `FaceBatch`.

    Args:
        faces: (M, S, S, 5).
        params: N augmentation parameters.
        num_identities: How many blocks there are.
        step: Which batch this is.
        index: (N,); None takes `faces` in turn.
        degraded: (K, S, S, 3); None for none.
        degraded_index: (N,); None where each sample's input is its own face.
        codes: (N, K); None for codes of length 0.
        previous: (N,); None where no sample is the next frame of another.
        pseudo: Pseudo-targets, or None.
    """
    count = len(params)
    none = np.full(count, -1, np.int64)
    if degraded is None:
        degraded = np.empty((0, *faces.shape[1:3], 3), np.uint8)
    return FaceBatch(
        faces=torch.from_numpy(faces),
        index=torch.arange(count) if index is None else torch.from_numpy(index),
        degraded=torch.from_numpy(degraded),
        degraded_index=torch.from_numpy(none if degraded_index is None else degraded_index),
        faces_from_target=torch.from_numpy(np.stack([each.faces_from_target for each in params])),
        grid=torch.from_numpy(np.stack([each.grid for each in params])),
        gain=torch.from_numpy(np.stack([each.gain for each in params])),
        identity=torch.arange(num_identities).repeat_interleave(count // num_identities),
        code=torch.zeros(count, 0) if codes is None else torch.from_numpy(codes),
        previous=torch.from_numpy(none if previous is None else previous),
        step=step,
        pseudo=pseudo,
    )


def pseudo_targets(batch: FaceBatch, size: int) -> Tensor:
    """Render the batch's pseudo-targets, (M, 5, size, size) in [0, 1], on its device.

    Raises:
        ValueError: The batch has no pseudo-targets.
    """
    pseudo = batch.pseudo
    if pseudo is None:
        raise ValueError("the batch has no pseudo-targets")
    return render(batch.faces, batch.faces_from_target[pseudo.sample], pseudo, size)


def warped_and_target(batch: FaceBatch, size: int) -> tuple[Tensor, Tensor]:
    """The network's input (N, 3, size, size) and its target (N, 5, size, size), in [0, 1].

    On whichever device the batch lies; see `swapper.kernels.warp.warp_pair`.
    """
    return warp_pair(
        batch.faces,
        batch.faces_from_target,
        batch.grid,
        batch.gain,
        size=size,
        degraded=batch.degraded,
        index=batch.index,
        degraded_index=batch.degraded_index,
    )
