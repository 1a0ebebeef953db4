"""How far the expression of a swap is from the performer's, as a frozen estimator sees it.

A swap has no ground truth, and a classifier is easily pleased: a few blotches of paint, and its
score is perfect. So the loss compares features relative to each one's own rest, not classes; it
looks through random views; its gradient at the picture is bounded by that of the reconstruction;
on the swap it trains only what `Reach` names, none of it fine enough to paint; and the swap's
colours are tied to those that the decoder draws without a code. Reconstructions are held to the
same reading, as they are: there every pixel has its truth, and paint is no way to please it.

Source: features and Huber as EMOCA found them (Danecek et al. 2022, arXiv:2204.11312); the tether
and the reach are ours, see docs/LOG.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from swapper.losses.random_view import RandomView
from swapper.types import Coverage

Reach = Literal["conditioning", "coarse"]
"""What the loss trains: the layers that listen to the code; or besides them the encoder and all
stages up to 64 px, but never what draws colours and masks."""


class Reading(Protocol):
    """What the loss needs of an estimator's answer."""

    @property
    def embedding(self) -> Tensor:
        """(N, D)."""

    @property
    def valence(self) -> Tensor | None:
        """(N,)."""

    @property
    def arousal(self) -> Tensor | None:
        """(N,)."""


class Reader(Protocol):
    """A frozen, differentiable estimator."""

    def __call__(self, faces: Tensor, coverage: Coverage) -> Reading:
        """Read (N, 3, S, S) in [0, 1]."""

    def to(self, device: torch.device) -> Reader:
        """The same, on `device`."""


@dataclass(frozen=True, eq=False)
class CodeMap:
    """From an estimator's embedding to an identity's code: ``(embedding - neutral) @ matrix``.

    Attributes:
        neutral: (D,).
        matrix: (D, K).
    """

    neutral: Tensor
    matrix: Tensor


class ExpressionLoss:
    """Holds a swap's expression to the performer's.

    Not a module: the estimator inside belongs to no optimiser, average or checkpoint, and DDP must
    not send it around.

    Args:
        swap: Its gradient at swapped pictures is at most this share of the reconstruction loss's
            at reconstructed ones, by their norms; 0 leaves swaps alone.
        own: The same for the reconstructed pictures themselves; it trains all weights.
        circumplex: Weight of the difference in valence and arousal, where the estimator has them.
        change: Weight of the difference in change over neighbouring frames, where there are some.
        tether: Weight of the difference in colour, 8 x 8 pixels pooled, to the swap without code.
        start: Step at which it sets in.
        ramp: Steps over which it grows to full strength.
        reach: What it trains on the swap.
        faces: Share of each identity's faces in a batch that it looks at, in (0, 1].
        view: Through which swaps and their performers are looked at.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self,
        *,
        swap: float = 0.5,
        own: float = 0.5,
        circumplex: float = 0.25,
        change: float = 0.5,
        tether: float = 1.0,
        start: int = 0,
        ramp: int = 200,
        reach: Reach = "conditioning",
        faces: float = 1.0,
        view: RandomView | None = None,
    ) -> None:
        for name, value in (
            ("swap", swap), ("own", own), ("circumplex", circumplex), ("change", change),
            ("tether", tether),
        ):  # fmt: skip
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a finite number, at least 0, got {value}")
        if start < 0 or ramp < 0:
            raise ValueError(f"start and ramp must be at least 0, got {start} and {ramp}")
        if not 0 < faces <= 1:
            raise ValueError(f"faces must be above 0 and at most 1, got {faces}")
        if reach not in get_args(Reach):
            raise ValueError(f"reach must be one of {', '.join(get_args(Reach))}, got {reach}")
        self.swap, self.own = swap, own
        self.weights = {"affect": 1.0, "circumplex": circumplex, "affect_change": change}
        self.tether = tether
        self.start, self.ramp = start, ramp
        self.reach: Reach = reach
        self.faces = faces
        self.view = RandomView() if view is None else view
        self._reader: Reader | None = None
        self._coverage: Coverage = "face"
        self._maps: Sequence[CodeMap] = ()

    def bind(self, reader: Reader, coverage: Coverage, maps: Sequence[CodeMap]) -> None:
        """Give it the estimator and every identity's way from embeddings to codes, in order."""
        self._reader, self._coverage, self._maps = reader, coverage, tuple(maps)

    def strength(self, step: int) -> float:
        """Share of its full strength at `step`, in [0, 1].

        Of the step alone, so that a run which is given more steps goes on as if it had had them.
        """
        done = step - self.start
        if done < 0:
            return 0.0
        return min(1.0, done / self.ramp) if self.ramp else 1.0

    def per_sample(
        self,
        drawn: Tensor,
        identity: Tensor,
        face: Tensor,
        performer: Tensor,
        follows: Tensor,
        *,
        by_chance: bool = True,
    ) -> dict[str, Tensor]:
        """The unweighted parts of each sample.

        Args:
            drawn: (M, 3, R, R) in [0, 1], the performers as others or as themselves.
            identity: (M,) int64, as whom.
            face: (M, 3, R, R), the performers themselves, unwarped.
            performer: (M,) int64, who.
            follows: (M,) int64, the sample one frame before, or -1.
            by_chance: Whether both are looked at through a random view. Not needed where every
                pixel of `drawn` has its truth.

        Returns:
            Name to (M,): those of `weights` that can be told.

        Raises:
            RuntimeError: Nothing has been bound.
        """
        if self._reader is None:
            raise RuntimeError("bind an estimator first")
        self._reader = self._reader.to(face.device)
        seen, wanted = drawn.float(), face.float()
        if by_chance:
            seen, wanted = self.view(seen, wanted)
        ours = self._reader(seen, self._coverage)
        with torch.no_grad():
            theirs = self._reader(wanted, self._coverage)
        error = self._code(ours, identity) - self._code(theirs, performer)
        parts = {
            "affect": F.huber_loss(error, torch.zeros_like(error), reduction="none").mean(dim=1)
        }
        if ours.valence is not None and ours.arousal is not None:
            assert theirs.valence is not None
            assert theirs.arousal is not None
            parts["circumplex"] = (
                (ours.valence - theirs.valence).abs() + (ours.arousal - theirs.arousal).abs()
            ) / 2
        if self.weights["affect_change"]:
            parts["affect_change"] = _change(error, follows)
        return parts

    def _code(self, reading: Reading, who: Tensor) -> Tensor:
        code = reading.embedding.new_empty(len(who), self._maps[0].matrix.shape[1])
        for index, each in enumerate(self._maps):
            rows = (who == index).nonzero()[:, 0]
            deviation = reading.embedding[rows] - each.neutral.to(code)
            code = code.index_put((rows,), deviation @ each.matrix.to(code))
        return code

    def combine(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Weighted sum of the parts' means, before it is bounded."""
        terms = [self.weights[name] * value.mean() for name, value in parts.items()]
        return torch.stack(terms).sum()

    def colours(self, swap: Tensor, plain: Tensor) -> Tensor:
        """(M,) mean difference of the pooled colours of a swap and of the one without a code."""
        pooled = F.avg_pool2d(swap.float(), 8) - F.avg_pool2d(plain.float(), 8)
        return pooled.abs().mean(dim=(1, 2, 3))


def _change(error: Tensor, follows: Tensor) -> Tensor:
    """(M,) how much a code's error (M, K) changed since the frame before; 0 where there is none.

    Scaled so that its mean is one over the samples that follow another.
    """
    known = (follows >= 0).to(error.dtype)
    change = (error - error[follows.clamp_min(0)]).abs().mean(dim=1)
    return change * known * (len(known) / known.sum().clamp_min(1))


def bound_gradient(loss: Tensor, pictures: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
    """A stand-in for `loss` whose gradient at `pictures` has a norm of at most `most`.

    Args:
        loss: Scalar, a function of `pictures`.
        pictures: Any shape, part of the graph.
        most: Scalar, the bound.

    Returns:
        The stand-in, whose value means nothing, and by how much the gradient was shrunk, in [0, 1].
    """
    (gradient,) = torch.autograd.grad(loss, pictures, retain_graph=True)
    norm = gradient.float().norm().clamp_min(1e-20)
    factor = (most / norm).clamp(max=1.0)
    return (pictures * (gradient * factor).detach()).sum(), factor
