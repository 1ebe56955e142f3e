"""Fixtures of the manager's tests: a published repository, over HTTP, and the device that reads it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fleet_sayings import FLEET, path_of, telling
from tests.fleet_store import MemoryStore, Served, served
from tests.repository.devices import PREFIX, Device

from isthmus.repository import ceremony
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.publish import publish

BUNDLE = bytes(range(256)) * 1024


@pytest.fixture
def http() -> Iterator[Served]:
    with served(MemoryStore()) as state:
        yield state


@pytest.fixture
def place(http: Served) -> Place:
    return Place(http.store, PREFIX)


@pytest.fixture
def keyring(place: Place, tmp_path: Path) -> Keyring:
    """Of the fleet `cameras`, which is told of BUNDLE."""
    keyring = ceremony.init(tmp_path / "keys", [FLEET, "doors"])
    ceremony.found(place, keyring)
    publish(place, keyring, FLEET, telling(BUNDLE), {path_of(BUNDLE): BUNDLE})
    return keyring


@pytest.fixture
def device(http: Served, keyring: Keyring, tmp_path: Path) -> Device:
    return Device(http, keyring, tmp_path / "device")
