"""How a script is loaded: by its path, as Python would run it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Loads ``scripts/NAME.py`` as a module."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
        assert spec is not None
        if str(SCRIPTS) not in sys.path:  # where Python itself looks for a script's neighbours
            sys.path.insert(0, str(SCRIPTS))
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    return load


def _tested(request: pytest.FixtureRequest) -> ModuleType:
    """The script that a module tests: of test_NAME.py, NAME."""
    load: Callable[[str], ModuleType] = request.getfixturevalue("load_script")
    return load(request.path.stem.removeprefix("test_"))


bench = pytest.fixture(_tested, scope="module", name="bench")
plot = pytest.fixture(_tested, scope="module", name="plot")
