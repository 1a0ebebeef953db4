"""What every test may use."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Without a CUDA device Triton interprets its kernels. It reads this when its own library is
# imported, which other tests may do before those of the kernels are even collected.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# A busy machine is no counterexample.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real clips and the small pretrained weights; skips where it is absent."""
    folder = Path(os.environ.get("SWAPPER_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "real").is_dir():
        pytest.skip(f"{folder}/real is absent: set SWAPPER_SHARED to run the tests on real clips")
    return folder


@pytest.fixture(autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep certificates and caches of the tests out of the user's home."""
    monkeypatch.setenv("SWAPPER_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of `tests.world`, to be read only."""
    from tests.world import shared_world  # heavy: for who needs it

    base = tmp_path_factory.getbasetemp()
    return shared_world(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture
def own_world(world: Path, tmp_path: Path) -> Path:
    """A copy of the world to write into."""
    return Path(shutil.copytree(world, tmp_path / "world"))


@pytest.fixture
def own_runs(world: Path, tmp_path: Path) -> Path:
    """A copy of the world's runs to go on with; their facesets are the world's."""
    return Path(shutil.copytree(world / "runs", tmp_path / "runs"))
