import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def wire() -> ModuleType:
    """`wire.py` of the room's tests."""
    spec = importlib.util.spec_from_file_location("plugin_wire", Path(__file__).parents[1] / "wire.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
