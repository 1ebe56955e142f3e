"""Fixtures of tests with whole devices."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.fleet_store import MemoryStore, served
from tests.isthmus_agent import tiny_model
from tests.isthmus_agent.living import ROWS, Fleet, Living, plain


@pytest.fixture(scope="session")
def content() -> Callable[..., bytes]:
    """Contents by their version. is_fit: whether the model answers its golden vectors."""

    def make(version: int, *, is_fit: bool = True) -> bytes:
        weights = tiny_model.WEIGHTS * np.float32(1 + version / 10)
        golden = tiny_model.answer(ROWS, weights if is_fit else weights * 2)
        return plain(tiny_model.tflite(weights), golden.tolist(), version)

    return make


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """One that was told nothing yet."""
    with served(MemoryStore()) as http:
        yield Fleet.founded(http, tmp_path / "keys")


@pytest.fixture
def device(fleet: Fleet, tmp_path: Path) -> Iterator[Living]:
    """One that does not run yet."""
    found = Living(fleet, tmp_path / "device")
    yield found
    found.kill()


@pytest.fixture
def confirmed(fleet: Fleet, device: Living, content: Callable[..., bytes]) -> Living:
    """One that serves version 1."""
    number = fleet.tell(content(1))
    device.start()
    fleet.await_outcome(number, "confirmed")
    return device
