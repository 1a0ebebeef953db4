"""Batches as a map from a step's number, without end and without state."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from swapper.data.augment import Augment, Draw
from swapper.data.cache import CHANNELS, FaceCache
from swapper.data.pairs import LikePosed
from swapper.data.sampling import Draws, generator
from swapper.types import FaceBatch

_PAIRING = 1  # the stream of generators that chooses inputs, so that it moves no other draw


class StepDataset(Dataset[FaceBatch]):
    """Item ``step`` is the whole batch of that step, drawn from (seed, step, rank) alone.

    Args:
        caches: Faces of each identity, all of one size.
        allowed: For each identity, indices of the faces that may be drawn.
        augment: What is drawn for a sample.
        codes: For each identity the affect codes of its faces, (N, K) float32, N as its cache.
        draws: For each identity, which of `allowed` stand in a block.
        partners: For each identity, which of `allowed` may lend each other their input.
        pairs: Share of samples whose input is another face of the identity in like pose. Frames
            in succession keep their own.
        resolution: Side of the target in pixels.
        seed: Of the run.
        rank: Of this process.
        world: Number of processes; together they draw each face once an epoch.
    """

    def __init__(
        self,
        caches: Sequence[FaceCache],
        allowed: Sequence[NDArray[np.int64]],
        augment: Augment,
        codes: Sequence[NDArray[np.float32]],
        *,
        draws: Sequence[Draws],
        partners: Sequence[LikePosed] = (),
        pairs: float = 0.0,
        resolution: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.caches = caches
        self.allowed = allowed
        self.augment = augment
        self.codes = codes
        self.draws = draws
        self.partners = partners
        self.pairs = pairs
        self.resolution = resolution
        self.batch_size = draws[0].block
        self.seed = seed
        self.rank = rank
        self.world = world

    def __getitem__(self, step: int) -> FaceBatch:
        blocks = [draws.blocks(step * self.world + self.rank, 1) for draws in self.draws]
        drawn = [faces[0] for faces, _ in blocks]
        follows = np.concatenate(
            [
                np.where(before[0] < 0, -1, before[0] + identity * self.batch_size)
                for identity, (_, before) in enumerate(blocks)
            ]
        )
        chosen = [allowed[rows] for allowed, rows in zip(self.allowed, drawn, strict=True)]
        faces = gather(self.caches, chosen)
        inputs = self._inputs(faces, drawn, follows, step)
        draws, degraded = self._augmented(faces, inputs, follows, step)
        return assemble(
            faces,
            degraded,
            draws,
            len(self.caches),
            step,
            codes_of(self.codes, chosen),
            follows,
        )

    def _inputs(
        self,
        faces: NDArray[np.uint8],
        drawn: Sequence[NDArray[np.int64]],
        follows: NDArray[np.int64],
        step: int,
    ) -> NDArray[np.uint8]:
        """What each sample is seen by, (N, S, S, 5): itself, or another face in like pose."""
        if self.pairs == 0:
            return faces
        inputs = faces.copy()
        in_succession = set(follows.tolist()) | set(np.flatnonzero(follows >= 0).tolist())
        for sample in range(len(faces)):
            random = generator(self.seed, step, self.rank, sample, _PAIRING)
            if random.random() >= self.pairs or sample in in_succession:
                continue
            identity, place = divmod(sample, self.batch_size)
            other = self.partners[identity].other(random, int(drawn[identity][place]))
            if other is not None:
                inputs[sample] = self.caches[identity].array[self.allowed[identity][other]]
        return inputs

    def _augmented(
        self,
        faces: NDArray[np.uint8],
        inputs: NDArray[np.uint8],
        follows: NDArray[np.int64],
        step: int,
    ) -> tuple[list[Draw], NDArray[np.uint8]]:
        """What is drawn for each sample, and the pictures (N, S, S, 3) that inputs are made of."""
        draws: list[Draw] = []
        stored = faces.shape[1]
        degraded = inputs[..., :3]
        if self.augment.degrading > 0:
            degraded = degraded.copy()
        for sample in range(len(faces)):
            # A frame in succession is shown exactly as the one before it, so that what changes
            # between them is the face.
            key = int(follows[sample]) if follows[sample] >= 0 else sample
            random = generator(self.seed, step, self.rank, key)
            draw = self.augment.draw(random, stored, self.resolution)
            other = faces[self._of_another_identity(random, sample)]
            draws.append(self.augment.borrow(random, draw, inputs[sample], other))
            treated = self.augment.degrade(random, degraded[sample])
            if treated is not None:
                degraded[sample] = treated
        return draws, degraded

    def _of_another_identity(self, random: np.random.Generator, sample: int) -> int:
        """Place in the batch of a face that is not of the sample's identity."""
        own = sample // self.batch_size
        others = len(self.caches) - 1
        place = int(random.integers(max(others, 1) * self.batch_size))
        if not others:
            return sample
        return place + (self.batch_size if place // self.batch_size >= own else 0)


class PlainDataset(Dataset[FaceBatch]):
    """A few fixed batches of resized faces, nothing else done to them.

    Args:
        caches: Faces of each identity, all of one size.
        codes: For each identity the affect codes of its faces, (N, K) float32, N as its cache.
        batches: For each batch and identity the indices of its faces.
        resolution: Side of the target in pixels.
    """

    def __init__(
        self,
        caches: Sequence[FaceCache],
        codes: Sequence[NDArray[np.float32]],
        batches: Sequence[Sequence[NDArray[np.int64]]],
        resolution: int,
    ) -> None:
        self.caches = caches
        self.codes = codes
        self.batches = batches
        self.resolution = resolution

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> FaceBatch:
        chosen = self.batches[index]
        faces = gather(self.caches, chosen)
        draw = Augment.none().draw(generator(0, 0, 0, 0), faces.shape[1], self.resolution)
        return assemble(
            faces,
            faces[..., :3],
            [draw] * len(faces),
            len(self.caches),
            index,
            codes_of(self.codes, chosen),
        )


def gather(caches: Sequence[FaceCache], chosen: Sequence[NDArray[np.int64]]) -> NDArray[np.uint8]:
    """The chosen faces of each identity in blocks, (N, S, S, 5) uint8."""
    size = caches[0].size
    counts = [len(indices) for indices in chosen]
    faces = np.empty((sum(counts), size, size, CHANNELS), np.uint8)
    for cache, indices, end, count in zip(
        caches, chosen, itertools.accumulate(counts), counts, strict=True
    ):
        # "clip" writes straight into `out`; "raise" would go through a copy.
        np.take(cache.array, indices, axis=0, out=faces[end - count : end], mode="clip")
    return faces


def codes_of(
    codes: Sequence[NDArray[np.float32]], chosen: Sequence[NDArray[np.int64]]
) -> NDArray[np.float32]:
    """(N, K) codes of the chosen faces of each identity, in blocks."""
    return np.concatenate([each[rows] for each, rows in zip(codes, chosen, strict=True)])


def assemble(
    faces: NDArray[np.uint8],
    degraded: NDArray[np.uint8],
    draws: Sequence[Draw],
    num_identities: int,
    step: int,
    codes: NDArray[np.float32] | None = None,
    follows: NDArray[np.int64] | None = None,
) -> FaceBatch:
    """The batch of `faces` (N, S, S, 5), equal blocks of `num_identities`, their draws and codes.

    Without codes they are of length 0; without `follows` none is a frame after another.
    """
    if follows is None:
        follows = np.full(len(faces), -1, np.int64)
    blocks = torch.arange(num_identities, dtype=torch.int64)
    return FaceBatch(
        faces=torch.from_numpy(faces),
        degraded=torch.from_numpy(degraded),
        faces_from_target=torch.from_numpy(np.stack([each.faces_from_target for each in draws])),
        grid=torch.from_numpy(np.stack([each.grid for each in draws])),
        gain=torch.from_numpy(np.stack([each.gain for each in draws])),
        identity=blocks.repeat_interleave(len(faces) // num_identities),
        code=torch.zeros(len(faces), 0) if codes is None else torch.from_numpy(codes),
        follows=torch.from_numpy(follows),
        step=step,
    )
