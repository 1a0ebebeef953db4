"""The expression loss by itself: what it measures, and how its gradient is bounded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from swapper.estimators.base import load_estimator
from swapper.losses.expression import CodeMap, ExpressionLoss, bound_gradient
from swapper.losses.random_view import RandomView
from swapper.types import Coverage

STILL = RandomView(shift=0, scale=0, blur=0, light=0, noise=0)


@dataclass
class Brightness:
    """Reads how bright the upper and the lower half are, and nothing else."""

    embedding: Tensor
    valence: Tensor | None = None
    arousal: Tensor | None = None


class Reader:
    def __call__(self, faces: Tensor, coverage: Coverage) -> Brightness:
        half = faces.shape[2] // 2
        rows = [part.mean(dim=(1, 2, 3)) for part in (faces[:, :, :half], faces[:, :, half:])]
        return Brightness(torch.stack(rows, dim=1))

    def to(self, device: torch.device) -> Reader:
        return self


def loss(**settings: Any) -> ExpressionLoss:
    made = ExpressionLoss(**{"view": STILL, **settings})
    maps = [
        CodeMap(torch.tensor([0.2, 0.2]), torch.eye(2)),
        CodeMap(torch.tensor([0.5, 0.5]), 2 * torch.eye(2)),
    ]
    made.bind(Reader(), "face", maps)
    return made


def flat(*levels: float) -> Tensor:
    return torch.tensor(levels)[:, None, None, None].expand(-1, 3, 8, 8).clone()


def parts_of(made: ExpressionLoss, swap: Tensor, face: Tensor, *who: Tensor) -> dict[str, Tensor]:
    identity, performer, follows = who
    return made.per_sample(swap, identity, face, performer, follows)


def test_it_is_zero_where_the_deviation_from_rest_is_the_same() -> None:
    # Performer 0 is .2 above rest; identity 1 moves half as far for the same code.
    parts = parts_of(
        loss(), flat(0.6), flat(0.4), torch.tensor([1]), torch.tensor([0]), torch.tensor([-1])
    )
    torch.testing.assert_close(parts["affect"], torch.zeros(1), atol=1e-6, rtol=0)
    assert "circumplex" not in parts
    parts = parts_of(
        loss(), flat(0.5), flat(0.4), torch.tensor([1]), torch.tensor([0]), torch.tensor([-1])
    )
    torch.testing.assert_close(parts["affect"], torch.tensor([0.02]))


def test_change_is_told_where_a_frame_follows_another() -> None:
    swap, face = flat(0.5, 0.5, 0.5), flat(0.2, 0.4, 0.3)
    who = torch.ones(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    parts = parts_of(loss(), swap, face, *who, torch.tensor([-1, 0, -1]))
    # The performer rose by .2 and the swap stood still; a mean over the one that follows.
    torch.testing.assert_close(parts["affect_change"].mean(), torch.tensor(0.2))
    parts = parts_of(loss(), swap, face, *who, torch.tensor([-1, -1, -1]))
    assert parts["affect_change"].sum() == 0
    parts = parts_of(loss(change=0), swap, face, *who, torch.tensor([-1, 0, -1]))
    assert "affect_change" not in parts


def test_no_gradient_reaches_the_estimator_or_the_performer() -> None:
    estimator = load_estimator("actors", "training")
    made = ExpressionLoss()
    map_ = CodeMap(torch.zeros(128), torch.eye(128)[:, :8])
    made.bind(estimator, "face", [map_, map_])
    swap = torch.rand(2, 3, 64, 64, requires_grad=True)
    face = torch.rand(2, 3, 64, 64, requires_grad=True)
    who = torch.tensor([0, 1])
    parts = parts_of(made, swap, face, who, 1 - who, torch.tensor([-1, 0]))
    assert set(parts) == {"affect", "circumplex", "affect_change"}
    made.combine(parts).backward()
    assert swap.grad is not None
    assert swap.grad.abs().sum() > 0
    assert face.grad is None
    assert not list(estimator.parameters())
    assert all(each.grad is None for each in estimator.buffers())


def test_a_bound_shrinks_what_is_too_strong_and_leaves_the_rest() -> None:
    pictures = torch.rand(4, 3, requires_grad=True)
    stand_in, factor = bound_gradient((3 * pictures).sum(), pictures, torch.tensor(1.0))
    stand_in.backward()
    assert pictures.grad is not None
    torch.testing.assert_close(pictures.grad.norm(), torch.tensor(1.0))
    assert 0 < float(factor) < 1
    pictures.grad = None
    stand_in, factor = bound_gradient((3 * pictures).sum(), pictures, torch.tensor(1e9))
    stand_in.backward()
    torch.testing.assert_close(pictures.grad, torch.full((4, 3), 3.0))
    assert float(factor) == 1


def test_strength_waits_grows_and_stays() -> None:
    made = loss(start=20, ramp=20)
    assert [made.warmup_factor(step) for step in (0, 19, 30, 40, 99)] == pytest.approx(
        [0, 0, 0.5, 1, 1]
    )
    assert loss(start=0, ramp=0).warmup_factor(0) == 1


def test_a_perfect_drawing_of_oneself_is_not_looked_at_by_chance() -> None:
    made = loss(view=RandomView(noise=0.3))
    faces, who = torch.rand(2, 3, 8, 8), torch.tensor([0, 1])
    nobody = torch.tensor([-1, -1])
    parts = made.per_sample(faces, who, faces, who, nobody, random_view=False)
    assert parts["affect"].sum() == 0
    assert made.per_sample(faces, who, faces, who, nobody)["affect"].sum() > 0


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"swap": -1.0}, "swap must be"),
        ({"color_anchor": float("nan")}, "color_anchor must be"),
        ({"start": -1}, "start and ramp must be at least 0"),
        ({"faces": 0.0}, "faces must be above 0"),
        ({"trained_layers": "all"}, "trained_layers must be one of conditioning, coarse"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        ExpressionLoss(**settings)


def test_it_must_be_bound_first() -> None:
    with pytest.raises(RuntimeError, match="bind"):
        parts_of(ExpressionLoss(), *[torch.zeros(1, 3, 8, 8)] * 2, *[torch.zeros(1).long()] * 3)
