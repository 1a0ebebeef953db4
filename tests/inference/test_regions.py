"""Region dials: they scale what the estimator reads of one region, and nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from swapper.affect.space import AffectSpace
from swapper.errors import UsageError
from swapper.estimators.base import AffectBatch, Estimator
from swapper.estimators.preprocess import Preprocess, Window
from swapper.inference.affect_conditioner import (
    AffectConditioner,
    conditioning_claim,
    describe_controls,
    make_conditioner,
)
from swapper.options.groups import AffectOptions, RegionOptions
from swapper.types import Readings

REGIONS = {"brows": (0, 1), "lips": (2, 3)}


class MeanColours(torch.nn.Module):
    """Reads mean red and green of both halves of a face."""

    def forward(self, x: torch.Tensor) -> AffectBatch:
        top, bottom = x[:, :2, :4].mean((2, 3)), x[:, :2, 4:].mean((2, 3))
        return AffectBatch(torch.cat([top, bottom], dim=1))


@pytest.fixture(scope="module")
def estimator() -> Estimator:
    view = Preprocess(Window.of("face"), (8, 8), (0.0,) * 3, (1.0,) * 3)
    return Estimator("halves", view, MeanColours(), regions=REGIONS)


@pytest.fixture(scope="module")
def crops() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def space(estimator: Estimator, crops: NDArray[np.uint8]) -> AffectSpace:
    readings: dict[str, Readings] = {
        "alice": estimator.readings(crops[:30]),
        "bob": estimator.readings(crops[30:]),
    }
    weights = {name: np.ones(30) for name in readings}
    return AffectSpace.fit(readings, weights, {name: ["clip"] * 30 for name in readings}, dim=4)


def codes(
    estimator: Estimator, space: AffectSpace, crops: NDArray[np.uint8], **regions: float
) -> NDArray[np.float32]:
    options = AffectOptions(regions=RegionOptions(**regions))
    conditioner = AffectConditioner(estimator, space, "alice", "bob", "face", 8, options)
    return conditioner.codes(list(crops)).numpy()


def test_a_dial_scales_its_region_alone(
    estimator: Estimator, space: AffectSpace, crops: NDArray[np.uint8]
) -> None:
    plain = codes(estimator, space, crops)
    neutral = space.neutrals["alice"]
    embedding = estimator.readings(crops).embedding
    for amount in (0.0, 0.5, 2.0):
        scale = np.array([amount, amount, 1, 1], np.float32)
        expected = space.code(neutral + scale * (embedding - neutral), "alice", "bob")
        found = codes(estimator, space, crops, brows=amount)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        assert np.abs(found - plain).max() > 0.1
    at_rest = codes(estimator, space, crops, brows=0.0, lips=0.0)
    np.testing.assert_allclose(at_rest, at_rest[[0] * len(crops)], atol=1e-5)
    np.testing.assert_array_equal(plain, codes(estimator, space, crops, brows=1.0))


def test_dials_are_named_in_log_and_manifest() -> None:
    options = AffectOptions(valence=0.2, regions=RegionOptions(brows=1.5, jaw=0.0))
    assert describe_controls(options) == "valence +0.20, brows x1.50, jaw x0.00"
    assert conditioning_claim(options)["regions"] == {"brows": 1.5, "jaw": 0.0}


def test_a_region_that_the_estimator_does_not_read_is_refused(
    estimator: Estimator, space: AffectSpace
) -> None:
    model: Any = SimpleNamespace(path="m")
    options = AffectOptions(regions=RegionOptions(cheeks=2.0))
    with pytest.raises(UsageError, match=r"affect\.regions\.cheeks=2: .*brows, lips"):
        make_conditioner(
            model, "bob", options, lambda: estimator, lambda *_: space.neutrals["bob"],
            torch.device("cpu"), space,
        )  # fmt: skip
