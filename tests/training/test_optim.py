"""The learning rate is a function of the step."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import torch

from swapper.training.optim import Optim

ADAMW = partial(torch.optim.AdamW, betas=(0.9, 0.99))


def test_warmup_then_constant() -> None:
    optim = Optim(ADAMW, lr=1e-3, warmup_steps=10)
    assert optim.rate(0, 100) == pytest.approx(1e-4)
    assert optim.rate(9, 100) == pytest.approx(1e-3)
    assert optim.rate(99, 100) == pytest.approx(1e-3)


def test_cosine_ends_at_the_floor_and_never_rises() -> None:
    optim = Optim(ADAMW, lr=1e-3, warmup_steps=10, decay="cosine", floor=0.1)
    rates = [optim.rate(step, 100) for step in range(10, 101)]
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert rates[-1] == pytest.approx(1e-4)


def test_endless_training_does_not_decay() -> None:
    assert Optim(ADAMW, lr=1e-3, warmup_steps=0, decay="cosine").rate(10**6, -1) == pytest.approx(
        1e-3
    )


def test_build_hands_the_rate_and_the_weights_on() -> None:
    weight = torch.nn.Parameter(torch.zeros(3))
    built = Optim(ADAMW, lr=0.5, warmup_steps=0).build([weight])
    assert built.param_groups[0]["lr"] == 0.5
    assert built.param_groups[0]["params"] == [weight]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"lr": 0.0}, "lr"),
        ({"warmup_steps": -1}, "warmup_steps"),
        ({"floor": 2.0}, "floor"),
        ({"decay": "linear"}, "decay"),
    ],
)
def test_bad_settings_are_named(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Optim(ADAMW, **{"lr": 1e-3, **wrong})  # type: ignore[arg-type]
