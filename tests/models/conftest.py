"""The modules of a model folder, which a test module names as `FOLDER`."""

import importlib.util
from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def load(request: pytest.FixtureRequest) -> Callable[[str], ModuleType]:
    """Loads a module of the folder by its name, under one that no other folder's has."""
    folder = request.module.FOLDER

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"{folder.name}_{name}", folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    return load


@pytest.fixture(scope="module")
def module(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("model")
