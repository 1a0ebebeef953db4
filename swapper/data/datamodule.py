"""LightningDataModule: open and split facesets, and load endless training batches."""

from __future__ import annotations

import itertools
import logging
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from swapper.data.augment import Augment
from swapper.data.balance import Balance
from swapper.data.cache import FaceCache
from swapper.data.dataset import StepDataset, ValidationDataset
from swapper.data.device_cache import fits, resident_faces
from swapper.data.draw_counts import DrawCounter, DrawCounts
from swapper.data.holdout import split_holdout
from swapper.data.near_duplicates import FootageIndex, next_frames
from swapper.data.pose_pairs import PosePairs
from swapper.data.pseudo_recipes import Table
from swapper.data.pseudo_samples import PseudoSamples
from swapper.data.pseudo_targets import PseudoTargets
from swapper.data.sampling import FaceSampler
from swapper.faces.shape import Shapes
from swapper.facesets.faceset import Faceset, check_together
from swapper.options.fields import check_range
from swapper.progress import progress_logger
from swapper.types import FaceBatch

log = logging.getLogger(__name__)

_FEW = 100
"""Faces of an identity below which training is told what to expect."""


class _StepSampler(Sampler[int]):
    """Counts steps endlessly; it has no length, so Lightning treats it as infinite."""

    def __init__(self, first: Callable[[], int]) -> None:
        self.first = first

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.first())


def _quiet_worker(_: int) -> None:
    """Use one thread per worker, and ignore SIGTERM."""
    torch.set_num_threads(1)
    # Schedulers signal the whole process group; only the trainer handles it, by saving.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class FaceDataModule(LightningDataModule):
    """Facesets of two or more identities as endless training batches.

    Args:
        facesets: Folders, one an identity; their order is that of the identities.
        resolution: Side of the network's input and output in pixels.
        batch_size: Faces a step of each identity, on each rank.
        augment: Augmentation; None for none.
        num_workers: Worker processes; 0 prepares batches in this one. Batches pass through shared
            memory, about ``3 * num_workers`` of them at a time.
        holdout: Share of each identity's faces kept from training, in [0, 0.5].
        val_batches: Largest number of validation batches.
        seed: Of all random numbers.
        balance: Oversampling of rare faces; None draws each once an epoch.
        pairs: Share of samples whose input is another face of the identity in similar pose; target
            and code are their own.
        neighbours: Number of faces of each identity's block that are the next frame of another
            one in the block; both get the same augmentation.
        resident: Whether all faces stay on the training device, so that batches carry only
            augmentation parameters and degraded inputs; "auto": on a GPU with enough memory. The
            result is the same either way.

    Attributes:
        next_step: The first step not yet trained on: set by the training loop, stored in
            checkpoints; the next loader starts there.
        facesets: Opened; available after `setup`, as are the rest.
        caches: Of the facesets.
        trained: Training faces of each faceset, as indices into its records.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self,
        facesets: Sequence[str],
        resolution: int,
        batch_size: int = 8,
        augment: Augment | None = None,
        num_workers: int = 2,
        holdout: float = 0.05,
        val_batches: int = 8,
        seed: int = 0,
        balance: Balance | None = None,
        pairs: float = 0.0,
        neighbours: int = 0,
        resident: bool | Literal["auto"] = "auto",
    ) -> None:
        super().__init__()
        check_range(1, 4096, resolution=resolution)
        check_range(1, 65536, batch_size=batch_size)
        check_range(0, 1024, num_workers=num_workers)
        check_range(0, 0.5, holdout=holdout)
        check_range(0, 65536, val_batches=val_batches)
        check_range(0, 2**63 - 1, seed=seed)
        check_range(0, 1, pairs=pairs)
        half = {"neighbours (at most half of batch_size)": neighbours}
        check_range(0, batch_size // 2, **half)
        if resident != "auto" and not isinstance(resident, bool):
            raise ValueError(f"resident must be true, false or auto, got {resident}")
        self.folders = [facesets] if isinstance(facesets, str) else [str(each) for each in facesets]
        self.resolution = resolution
        self.batch_size = batch_size
        self.augment = Augment.none() if augment is None else augment
        self.num_workers = num_workers
        self.holdout = holdout
        self.val_batches = val_batches
        self.seed = seed
        self.balance = Balance(temper=0) if balance is None else balance
        self.pairs = pairs
        self.neighbours = neighbours
        self.resident = resident
        self.next_step = 0
        self.facesets: tuple[Faceset, ...] = ()
        self.caches: tuple[FaceCache, ...] = ()
        self.trained: list[NDArray[np.int64]] = []
        self._held_out: list[NDArray[np.int64]] = []
        self._codes: list[NDArray[np.float32]] = []
        self._samplers: list[FaceSampler] = []
        self._partners: list[PosePairs] = []
        self._draw_counters: list[DrawCounter] = []
        self._resident: Tensor | None = None
        self._pseudo: PseudoSamples | None = None

    @property
    def identities(self) -> tuple[str, ...]:
        """Names in the order of the facesets; available after `setup`."""
        return tuple(each.card.identity for each in self.facesets)

    def setup(self, stage: str | None = None) -> None:
        """Open the facesets and their caches, building these if need be; idempotent.

        Raises:
            FacesetError: Fewer than two, two of one identity, unlike coverage, or damage.
        """
        if self.caches:
            return
        facesets = [Faceset.open(each) for each in self.folders]
        check_together(facesets)
        size = self._stored_size(facesets)
        report = progress_logger(log, "prepared")
        caches = tuple(
            FaceCache.open(each, size, progress=partial(report, str(each.path)))
            for each in facesets
        )
        for faceset in facesets:
            sources = [source.sha256 for source in faceset.card.sources]
            trained, held_out = split_holdout(faceset.records, sources, self.holdout)
            log.info("%s: %d faces, %d held out", faceset.path, len(trained), len(held_out))
            if len(trained) < _FEW:
                log.warning(
                    "%s: with %d faces expect a face that hardly moves and lacks detail; have some "
                    "hundreds, better thousands, in many poses and expressions",
                    faceset.path,
                    len(trained),
                )
            if not len(held_out):
                held_out = trained
                if self.holdout > 0:
                    log.warning(
                        "%s: %d faces are too few to hold any out; validation uses training faces",
                        faceset.path,
                        len(trained),
                    )
            self.trained.append(trained)
            self._held_out.append(held_out)
        self.caches = caches
        self._codes = [np.zeros((len(each), 0), np.float32) for each in facesets]
        self.facesets = tuple(facesets)

    def condition(self, codes: Sequence[NDArray[np.float32]]) -> None:
        """Set every face's affect code; after `setup`, before a loader is created.

        Args:
            codes: For each faceset (N, K), in the order of its records.

        Raises:
            ValueError: Not one code per face.
        """
        shapes = [(len(each), codes[0].shape[1]) for each in self.facesets]
        if [each.shape for each in codes] != shapes:
            raise ValueError(f"codes must be {shapes}, got {[each.shape for each in codes]}")
        self._codes = [np.ascontiguousarray(each, np.float32) for each in codes]
        self._samplers = []

    def make_pseudo_targets(
        self,
        pseudo: PseudoTargets,
        shapes: Sequence[Shapes],
        rests: Sequence[NDArray[np.float64]],
    ) -> dict[tuple[int, int], Table]:
        """Prepare pseudo-targets of the batches; after `setup`, before a loader is created.

        Args:
            pseudo: Settings.
            shapes: Of each faceset, in the order of its records.
            rests: (P, 3) of each, see `swapper.affect.neutral`.

        Returns:
            The recipes of each ordered pair, by places of performer and identity; none, and no
            pseudo-targets, if not one face has any.

        Raises:
            FacesetError: There is no room for them.
        """
        tables = pseudo.prepare(
            self.facesets,
            self.caches,
            self.trained,
            shapes,
            rests,
            progress_logger(log, "warped"),
        )
        if not any((table["base"] >= 0).any() for table in tables.values()):
            return {}
        self._pseudo = PseudoSamples(tables, pseudo.faces)
        return tables

    def _build_samplers(self) -> None:
        """Build the samplers, once codes are set."""
        if self._samplers:
            return
        self._partners, self._draw_counters = [], []
        for number, (faceset, rows, all_codes) in enumerate(
            zip(self.facesets, self.trained, self._codes, strict=True)
        ):
            records = [faceset.records[row] for row in rows]
            footage, codes = FootageIndex.of(records), all_codes[rows]
            rates = self.balance.rates(footage, codes)
            sampler = FaceSampler(
                self.seed,
                number,
                len(rows),
                self.batch_size,
                rate=rates.rate if self.balance.temper else None,
                order=rates.order if self.balance.temper else None,
                following=next_frames(footage) if self.neighbours else None,
                neighbours=self.neighbours,
            )
            self._samplers.append(sampler)
            self._partners.append(PosePairs(footage, codes))
            self._draw_counters.append(
                DrawCounter(faceset.card.identity, [each.id for each in records], rates, sampler)
            )
            log.info("%s: %s", faceset.path, self._draw_counters[-1].summary())

    def draw_counts(self, step: int) -> tuple[DrawCounts, ...]:
        """Count the draws of each face of each identity before `step`, by all ranks."""
        self._build_samplers()
        world = self.trainer.world_size if self.trainer else 1
        return tuple(each.until(step * world) for each in self._draw_counters)

    def _stored_size(self, facesets: Sequence[Faceset]) -> int:
        """Side of cached faces: at most twice the resolution, which bilinear sampling can use."""
        largest = max(faceset.card.size for faceset in facesets)
        for faceset in facesets:
            if faceset.card.size < self.resolution:
                log.warning(
                    "%s: pictures of %d px cannot show what %d px would; extract with size=%d",
                    faceset.path,
                    faceset.card.size,
                    self.resolution,
                    self.resolution,
                )
        return min(largest, 2 * self.resolution)

    def train_dataloader(self) -> DataLoader[FaceBatch]:
        """Return an endless loader from `next_step` on."""
        trainer = self.trainer
        self._build_samplers()
        self._load_resident()
        dataset = StepDataset(
            self.caches,
            self.trained,
            self.augment,
            self._codes,
            samplers=self._samplers,
            partners=self._partners,
            pairs=self.pairs,
            resolution=self.resolution,
            seed=self.seed,
            rank=trainer.global_rank if trainer else 0,
            world=trainer.world_size if trainer else 1,
            resident=self._resident is not None,
            pseudo=self._pseudo,
        )
        if self.num_workers:
            # Before the workers fork: a child that inherits OpenCV's thread pool deadlocks on
            # threads that only its parent has.
            cv2.setNumThreads(0)
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=_StepSampler(lambda: self.next_step),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_quiet_worker,
            # Else the loader draws its workers' seeds from the global generator.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _load_resident(self) -> None:
        """Load the faces onto the training device, if they are to stay there."""
        strategy = getattr(self.trainer, "strategy", None)
        device = torch.device("cpu") if strategy is None else strategy.root_device
        stay = fits(self.caches, device) if self.resident == "auto" else self.resident
        if stay and self._resident is None:
            self._resident = resident_faces(self.caches, device)

    def val_dataloader(self) -> DataLoader[FaceBatch]:
        """Return held-out faces spread over each identity's footage, only resized; deterministic.

        An identity with fewer faces than fill a batch repeats some of them.
        """
        rank = self.trainer.global_rank if self.trainer else 0
        world = self.trainer.world_size if self.trainer else 1
        fewest = min(len(each) for each in self._held_out)
        count = min(self.val_batches, max(1, fewest // (self.batch_size * world)))
        faces = [_spread(each, count * world * self.batch_size) for each in self._held_out]
        batches = [
            [each[number * world + rank :: count * world] for each in faces]
            for number in range(count)
        ]
        return DataLoader(
            ValidationDataset(self.caches, self._codes, batches, self.resolution),
            batch_size=None,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def preview_batch(self, count: int) -> FaceBatch:
        """Return `count` held-out faces of each identity, spread over its footage, only resized."""
        chosen = [_spread(each, count) for each in self._held_out]
        return ValidationDataset(self.caches, self._codes, [chosen], self.resolution)[0]

    def transfer_batch_to_device(
        self, batch: FaceBatch, device: torch.device, dataloader_idx: int
    ) -> FaceBatch:
        """Move a batch, which Lightning cannot do for a frozen dataclass; insert resident faces."""
        batch = batch.to(device)
        if self._resident is not None and not len(batch.faces):
            batch = replace(batch, faces=self._resident)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the next step, which is all the state."""
        return {"next_step": self.next_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the next step; Lightning calls it before it requests the loader."""
        self.next_step = int(state_dict["next_step"])


def _spread(indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return `count` of `indices`, evenly spaced; some repeat if there are fewer."""
    # Midpoints of equal stretches: the first and last faces of a clip are its worst.
    places = (np.arange(count) + 0.5) * len(indices) / count
    return indices[places.astype(np.int64)]
