"""The weighted sum."""

from __future__ import annotations

import pytest
import torch

from swapper.losses.reduce import mean_parts, total


def test_total_is_the_weighted_sum_of_means() -> None:
    parts = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor(5.0)}
    assert total(parts, {"a": 2.0, "b": 0.5}).item() == pytest.approx(2 * 2 + 0.5 * 5)
    assert {k: v.item() for k, v in mean_parts(parts).items()} == {"a": 2.0, "b": 5.0}


def test_weight_zero_leaves_a_part_out_even_if_it_is_broken() -> None:
    a, b = torch.tensor(1.0, requires_grad=True), torch.tensor(0.0, requires_grad=True)
    result = total({"a": a, "b": 1 / b}, {"a": 1.0, "b": 0.0})
    result.backward()
    assert result.item() == 1
    assert b.grad is None
    assert total({"a": a}, {"a": 0.0}).item() == 0


@pytest.mark.parametrize("weights", [{}, {"a": 1.0, "b": 1.0}, {"b": 1.0}])
def test_names_must_agree(weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"parts are \['a'\]"):
        total({"a": torch.tensor(1.0)}, weights)
    with pytest.raises(ValueError, match="weights are for"):
        total({}, {})
