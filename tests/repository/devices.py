"""A device's client on a published repository, over HTTP."""

import time
from pathlib import Path

from tests.fleet_sayings import FLEET
from tests.fleet_store import Served

from isthmus.repository.keyring import Keyring
from isthmus_agent.manager.repository import Address, Floor, Found, Repository
from isthmus_agent.manager.transport import Transport

PREFIX = "edge/"


class Device:
    """Enrolled with the first root. floor: what it has accepted."""

    def __init__(self, served: Served, keyring: Keyring, folder: Path) -> None:
        root = keyring.root_at(1)
        assert root is not None
        self.floor = Floor(int(time.time()))
        self.folder = folder
        self.repository = Repository(Address(served.url + PREFIX, FLEET), folder, root, Transport())

    def poll(self) -> Found | None:
        found = self.repository.poll(self.floor)
        self.floor = found.floor if found else self.floor
        return found

    def number(self) -> int:
        """Of the assignment in force, by a refresh."""
        found = self.repository.refresh(self.floor)
        self.floor = found.floor
        return found.assignment.number if found.assignment else 0
