"""Where a command finds a fleet's key ring when nobody says it."""

from pathlib import Path
from typing import Any

import pytest

from isthmus.cli.shared import repositories
from isthmus.cli.shared.options import Repository
from isthmus.errors import InputError, PlatformError
from isthmus.observing.stack_state import StackState
from isthmus.repository import ceremony


@pytest.fixture
def rings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of key rings beside the working folder, which has none."""
    for name in ("own", "other"):
        ceremony.init(tmp_path / name, [name])
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path


def deployed(monkeypatch: pytest.MonkeyPatch, *rings: Path) -> None:
    """A stack whose fleets have these key rings."""
    its = {f"fleet-{number}": {"keys": str(ring)} for number, ring in enumerate(rings)}
    monkeypatch.setattr(repositories, "read_stack", lambda name: StackState(name or "dev", {}, {"FleetRepository": its}))


def test_a_stacks_own_key_ring_is_found_where_no_folder_was_said(rings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(monkeypatch, rings / "own", rings / "own")
    assert repositories.keyring_of(Repository()).fleets == ("own",)


def test_a_folder_that_was_said_or_is_there_goes_first(rings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(monkeypatch, rings / "own")
    assert repositories.keyring_of(Repository(keys=rings / "other")).fleets == ("other",)
    (rings / "project" / "keys").symlink_to(rings / "other")
    assert repositories.keyring_of(Repository()).fleets == ("other",)


def test_several_key_rings_are_an_error_that_names_them(rings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(monkeypatch, rings / "own", rings / "other")
    with pytest.raises(InputError, match=f"one of {rings / 'other'}, {rings / 'own'}"):
        repositories.keyring_of(Repository())


@pytest.mark.usefixtures("rings")
def test_without_a_stack_or_with_a_store_that_was_said_the_folder_keys_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> StackState:
        raise PlatformError("no stack is selected")

    monkeypatch.setattr(repositories, "read_stack", fail)
    for options in (Repository(), Repository(store="http://store/models/edge/")):
        with pytest.raises(InputError, match=r"keys/keyring\.json.* make one: isthmus keys init"):
            repositories.keyring_of(options)
