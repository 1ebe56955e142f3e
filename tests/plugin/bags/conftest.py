from types import ModuleType

import pytest
from toolchain.testing import wire as client


@pytest.fixture(scope="session")
def wire() -> ModuleType:
    """How a plugin is started and called."""
    return client
