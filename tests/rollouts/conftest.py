"""Fixtures of the rollouts' tests."""

from pathlib import Path

import pytest
from tests.release.conftest import make_release  # noqa: F401 - a fixture
from tests.rollouts.world import OLD, World, intent


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Twelve enrolled devices that were told nothing yet."""
    return World.founded(tmp_path / "keys")


@pytest.fixture
def settled(world: World) -> World:
    """The same, when all of them have OLD."""
    world.bring(intent(OLD))
    world.lines.clear()
    return world
