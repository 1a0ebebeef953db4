"""Expression loss: difference in affect between a swap and its performer by a frozen estimator.

A swap has no ground truth, and a classifier is easily fooled by small artefacts. So the loss
compares features relative to each person's neutral, not classes; it uses random views; its gradient
at the picture is bounded by that of the reconstruction; on the swap it trains only the layers of
`TrainedLayers`, none of which draws fine detail; and the swap's colours are tied to those without a
code (`color_anchor`). Reconstructions are compared without a random view: every pixel has ground
truth there, so artefacts do not pay.

Source: feature loss and Huber as in EMOCA (Danecek et al. 2022, arXiv:2204.11312); `color_anchor`
and `trained_layers` are ours, see docs/LOG.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from swapper.losses.random_view import RandomView
from swapper.losses.reduce import check_weights
from swapper.types import Coverage

if TYPE_CHECKING:
    from swapper.estimators.base import AffectBatch, Estimator

TrainedLayers = Literal["conditioning", "coarse"]
"""What the loss trains: the layers conditioned on the code; or besides them the encoder and all
stages up to 64 px, but never the colour and mask heads."""


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
    """Penalises the difference in expression between a swap and its performer.

    Not a module: the estimator must not be part of an optimiser, weight average, checkpoint or DDP
    synchronisation.

    Args:
        swap: Its gradient at swapped pictures is at most this share of the reconstruction loss's
            at reconstructed ones, by norm; 0 disables it on swaps.
        recon: The same for the reconstructed pictures themselves; it trains all weights.
        circumplex: Weight of the difference in valence and arousal, where the estimator has them.
        change: Weight of the difference in change over neighbouring frames, where there are some.
        color_anchor: Weight of the difference in colour to the swap without code, 8 x 8 pixels
            pooled.
        start: Step at which it starts.
        ramp: Warm-up steps to full weight.
        trained_layers: Which layers it trains on swaps.
        faces: Share of each identity's faces in a batch that it uses, in (0, 1].
        view: Random view of swaps and their performers.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self,
        *,
        swap: float = 0.5,
        recon: float = 0.5,
        circumplex: float = 0.25,
        change: float = 0.5,
        color_anchor: float = 1.0,
        start: int = 0,
        ramp: int = 200,
        trained_layers: TrainedLayers = "conditioning",
        faces: float = 1.0,
        view: RandomView | None = None,
    ) -> None:
        weights = {"circumplex": circumplex, "change": change, "color_anchor": color_anchor}
        check_weights(swap=swap, recon=recon, **weights)
        if start < 0 or ramp < 0:
            raise ValueError(f"start and ramp must be at least 0, got {start} and {ramp}")
        if not 0 < faces <= 1:
            raise ValueError(f"faces must be above 0 and at most 1, got {faces}")
        if trained_layers not in get_args(TrainedLayers):
            raise ValueError(
                f"trained_layers must be one of {', '.join(get_args(TrainedLayers))}, "
                f"got {trained_layers}"
            )
        self.swap, self.recon = swap, recon
        self.weights = {"affect": 1.0, "circumplex": circumplex, "affect_change": change}
        self.color_anchor = color_anchor
        self.start, self.ramp = start, ramp
        self.trained_layers: TrainedLayers = trained_layers
        self.faces = faces
        self.view = RandomView() if view is None else view
        self._estimator: Estimator | None = None
        self._coverage: Coverage = "face"
        self._maps: Sequence[CodeMap] = ()

    def bind(self, estimator: Estimator, coverage: Coverage, maps: Sequence[CodeMap]) -> None:
        """Set the estimator and each identity's map from embeddings to codes, in order."""
        self._estimator, self._coverage, self._maps = estimator, coverage, tuple(maps)

    def warmup_factor(self, step: int) -> float:
        """Return the warm-up factor at `step`, in [0, 1].

        A function of the step alone, so that a run can be extended.
        """
        done = step - self.start
        if done < 0:
            return 0.0
        return min(1.0, done / self.ramp) if self.ramp else 1.0

    def per_sample(
        self,
        output: Tensor,
        identity: Tensor,
        face: Tensor,
        performer: Tensor,
        previous: Tensor,
        *,
        random_view: bool = True,
    ) -> dict[str, Tensor]:
        """The unweighted parts of each sample.

        Args:
            output: (M, 3, R, R) in [0, 1], swaps or reconstructions.
            identity: (M,) int64, decoded identity.
            face: (M, 3, R, R), the performers' unwarped faces.
            performer: (M,) int64.
            previous: (M,) int64, the sample one frame before, or -1.
            random_view: Whether to use a random view. Not needed where every pixel of `output` has
                ground truth.

        Returns:
            Name to (M,): those of `weights` that the estimator supports.

        Raises:
            RuntimeError: No estimator is bound.
        """
        if self._estimator is None:
            raise RuntimeError("bind an estimator first")
        self._estimator = self._estimator.to(face.device)
        swap_view, performer_view = output.float(), face.float()
        if random_view:
            swap_view, performer_view = self.view(swap_view, performer_view)
        output_affect = self._estimator(swap_view, self._coverage)
        with torch.no_grad():
            performer_affect = self._estimator(performer_view, self._coverage)
        error = self._code(output_affect, identity) - self._code(performer_affect, performer)
        parts = {
            "affect": F.huber_loss(error, torch.zeros_like(error), reduction="none").mean(dim=1)
        }
        if output_affect.valence is not None and output_affect.arousal is not None:
            assert performer_affect.valence is not None
            assert performer_affect.arousal is not None
            parts["circumplex"] = (
                (output_affect.valence - performer_affect.valence).abs()
                + (output_affect.arousal - performer_affect.arousal).abs()
            ) / 2
        if self.weights["affect_change"]:
            parts["affect_change"] = _change(error, previous)
        return parts

    def _code(self, affect: AffectBatch, identity: Tensor) -> Tensor:
        code = affect.embedding.new_empty(len(identity), self._maps[0].matrix.shape[1])
        for index, code_map in enumerate(self._maps):
            rows = (identity == index).nonzero()[:, 0]
            deviation = affect.embedding[rows] - code_map.neutral.to(code)
            code = code.index_put((rows,), deviation @ code_map.matrix.to(code))
        return code

    def combine(self, parts: Mapping[str, Tensor]) -> Tensor:
        """Weighted sum of the parts' means, before it is bounded."""
        terms = [self.weights[name] * value.mean() for name, value in parts.items()]
        return torch.stack(terms).sum()

    def colours(self, swap: Tensor, plain: Tensor) -> Tensor:
        """(M,) mean difference of the pooled colours of a swap and of the one without a code."""
        pooled = F.avg_pool2d(swap.float(), 8) - F.avg_pool2d(plain.float(), 8)
        return pooled.abs().mean(dim=(1, 2, 3))


def _change(error: Tensor, previous: Tensor) -> Tensor:
    """(M,) change of the code error (M, K) since the previous frame; 0 where there is none.

    Scaled so that its mean over all samples is the mean over those with a previous frame.
    """
    has_previous = (previous >= 0).to(error.dtype)
    change = (error - error[previous.clamp_min(0)]).abs().mean(dim=1)
    return change * has_previous * (len(has_previous) / has_previous.sum().clamp_min(1))


def bound_gradient(loss: Tensor, pictures: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Return a surrogate of `loss` whose gradient at `pictures` has a norm of at most `limit`.

    Args:
        loss: Scalar, a function of `pictures`.
        pictures: Any shape, part of the graph.
        limit: Scalar, the bound.

    Returns:
        The surrogate, of which only the gradient is valid, and the gradient's scale, in [0, 1].
    """
    (gradient,) = torch.autograd.grad(loss, pictures, retain_graph=True)
    norm = gradient.float().norm().clamp_min(1e-20)
    factor = (limit / norm).clamp(max=1.0)
    return (pictures * (gradient * factor).detach()).sum(), factor
