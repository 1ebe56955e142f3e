"""The fleet's commands in this process, on a store in memory: what they print, and how they end."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fleet_sayings import FLEET, path_of, telling
from tests.fleet_store import MemoryStore
from typer.testing import CliRunner

from isthmus.cli import main
from isthmus.cli.shared import repositories
from isthmus.errors import IsthmusError
from isthmus.release.store import StoreAddress
from isthmus.repository import roster
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.publish import publish
from isthmus_agent.formats.roster import Device

URL = "http://127.0.0.1:8333/models/edge"


class NamedStore(MemoryStore):
    """A bucket `models`."""

    address = StoreAddress("http://127.0.0.1:8333", "us-east-1", "access", "secret")
    bucket = "models"


@dataclass(frozen=True)
class Done:
    """output: all that was printed, or the message of the error."""

    status: int
    output: str


@dataclass
class Shell:
    """keys: the key ring's folder. urls: of the stores that were asked for."""

    keys: Path
    store: NamedStore

    @property
    def place(self) -> Place:
        return Place(self.store, "edge/")

    @property
    def keyring(self) -> Keyring:
        return Keyring.load(self.keys)

    def __call__(self, *words: str, store: str = URL) -> Done:
        """One command. store: empty: none is named."""
        options = ["--keys", str(self.keys), *(["--store", store] if store else [])]
        return ran([*words, *options])

    def tell(self, content: bytes) -> None:
        """Publishes a release for the fleet `cameras`."""
        publish(self.place, self.keyring, FLEET, telling(content), {path_of(content): content})


def ran(words: Sequence[str]) -> Done:
    """A command as `isthmus` runs it."""
    done = CliRunner().invoke(main.app, words, env={"COLUMNS": "80"})
    if isinstance(done.exception, IsthmusError):
        return Done(1, str(done.exception))
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return Done(done.exit_code, done.output)


def shell_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """Commands for which every store is one in memory."""
    for name in ("ISTHMUS_FLEET_STORE", "ISTHMUS_FLEET_KEYS"):
        monkeypatch.delenv(name, raising=False)
    store = NamedStore()
    monkeypatch.setattr(repositories, "located", lambda *_: (store, "edge/"))
    return Shell(folder, store)


def shell_with(folder: Path, monkeypatch: pytest.MonkeyPatch, *devices: Device) -> Shell:
    """A shell whose fleet has a secret, and these devices."""
    found = shell_of(folder, monkeypatch)
    assert found("keys", "init", FLEET).status == 0
    assert found("keys", "found").status == 0
    roster.make_secret(roster.secret_uri(FLEET), found.keys)
    for device in devices:
        roster.change(found.place, found.keyring, FLEET, lambda it, device=device: it.with_device(device))
    return found
