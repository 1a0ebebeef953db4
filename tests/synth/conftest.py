from __future__ import annotations

import pytest

from swapper.head_renderer.identity import Identity, sample_identity
from swapper.head_renderer.stage import FilmStock, Stage
from swapper.synth.actor import Actor


@pytest.fixture(scope="session")
def plain() -> Actor:
    """The average actor, moving as everybody does."""
    return Actor(Identity())


@pytest.fixture(scope="session")
def somebody() -> Actor:
    return Actor(sample_identity(47))


@pytest.fixture(scope="session")
def stage() -> Stage:
    return Stage(film=FilmStock())
