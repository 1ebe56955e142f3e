"""Fixtures of the repository's tests: a store in memory with a fleet's repository in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fleet_sayings import FLEET, ONE, path_of, telling
from tests.fleet_store import MemoryStore, Served, served

from isthmus.repository import ceremony
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.publish import publish


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def place(store: MemoryStore) -> Place:
    return Place(store, "edge/")


@pytest.fixture
def keyring(place: Place, tmp_path: Path) -> Keyring:
    """Of the fleet `cameras`; its repository is in the store, without an assignment."""
    keyring = ceremony.init(tmp_path / "keys", [FLEET])
    ceremony.found(place, keyring)
    return keyring


@pytest.fixture
def http(store: MemoryStore) -> Iterator[Served]:
    with served(store) as state:
        yield state


@pytest.fixture
def told(place: Place, keyring: Keyring) -> Keyring:
    """The key ring, when the fleet was told of ONE."""
    publish(place, keyring, FLEET, telling(ONE), {path_of(ONE): ONE})
    return keyring
