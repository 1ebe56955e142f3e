"""Fixtures of the repository's tests: a store in memory with a fleet's repository in it."""

from pathlib import Path

import pytest
from tests.fleet_store import MemoryStore

from isthmus.repository import ceremony
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def place(store: MemoryStore) -> Place:
    return Place(store, "edge/")


@pytest.fixture
def keyring(place: Place, tmp_path: Path) -> Keyring:
    """Of the fleet `cameras`; its repository is in the store, without an assignment."""
    keyring = ceremony.init(tmp_path / "keys", ["cameras"])
    ceremony.found(place, keyring)
    return keyring
