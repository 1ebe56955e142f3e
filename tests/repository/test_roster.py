"""The roster in its repository: changed by many at once, read only as it was signed, and no device is disturbed by it."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.fleet_sayings import FLEET, path_of, telling
from tests.fleet_store import MemoryStore, Served
from tests.repository.devices import Device as Client

from isthmus.errors import InputError, IntegrityError
from isthmus.repository import ceremony, roster
from isthmus.repository.keyring import Keyring
from isthmus.repository.keys import KeyNotAtHandError
from isthmus.repository.objects import Place
from isthmus.repository.publish import publish
from isthmus.repository.reading import read
from isthmus_agent.formats.roster import Device, Roster

BUNDLE = b"a bundle"


def joining(*names: str) -> roster.Change:
    def change(found: Roster) -> Roster:
        for name in names:
            found = found.with_device(Device(name, "small"))
        return found

    return change


def names(found: Roster) -> list[str]:
    return [device.name for device in found.devices]


def test_devices_join_move_and_leave(place: Place, keyring: Keyring):
    assert names(roster.read(place, keyring, FLEET)) == []
    assert names(roster.change(place, keyring, FLEET, joining("b", "a"))) == ["a", "b"]
    roster.put_device(place, keyring, FLEET, Device("a", "large", {"site": "x"}, 99))
    roster.remove_device(place, keyring, FLEET, "b")
    found = roster.read(place, keyring, FLEET)
    assert found == Roster(FLEET, (Device("a", "large", {"site": "x"}, 0),), (), {"b": 0})
    for do in (
        lambda: roster.remove_device(place, keyring, FLEET, "b"),
        lambda: roster.put_device(place, keyring, FLEET, Device("b", "x")),
    ):
        with pytest.raises(InputError, match="has no 'b'"):
            do()


def test_each_fleet_has_a_roster_of_its_own(place: Place, keyring: Keyring):
    both = ceremony.add_fleet(place, keyring, "doors")
    roster.change(place, both, FLEET, joining("a"))
    roster.change(place, both, "doors", joining("b"))
    assert [names(roster.read(place, both, fleet)) for fleet in (FLEET, "doors")] == [["a"], ["b"]]
    with pytest.raises(InputError, match="no fleet 'windows'"):
        roster.read(place, both, "windows")


def test_of_operators_at_once_none_is_lost(place: Place, keyring: Keyring):
    wanted = [f"device-{number}" for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda name: roster.change(place, keyring, FLEET, joining(name)), wanted))
    assert names(roster.read(place, keyring, FLEET)) == wanted


def test_nothing_is_written_where_nothing_changes(place: Place, keyring: Keyring, store: MemoryStore):
    roster.change(place, keyring, FLEET, joining("a"))
    store.puts.clear()
    roster.change(place, keyring, FLEET, joining("a"))
    assert store.puts == []


def test_a_joining_device_disturbs_no_other(place: Place, keyring: Keyring, http: Served, tmp_path: Path):
    publish(place, keyring, FLEET, telling(BUNDLE), {path_of(BUNDLE): BUNDLE})
    device = Client(http, keyring, tmp_path / "device")
    told = device.poll()
    before = read(place, keyring.anchor()).delegated[FLEET].to_bytes()
    http.requests.clear()
    roster.change(place, keyring, FLEET, joining("newcomer"))
    again = device.poll()
    assert told is not None
    assert again is not None
    assert again.assignment == told.assignment
    assert read(place, keyring.anchor()).delegated[FLEET].to_bytes() == before
    assert [path.rpartition("/")[2] for path in http.paths] == ["timestamp.json", "3.snapshot.json"]
    http.requests.clear()
    assert device.poll() is None
    assert len(http.requests) == 1


@pytest.mark.parametrize("write", [1, 2, 3, 4])
def test_a_change_that_was_broken_off_is_not_in_force(place: Place, keyring: Keyring, store: MemoryStore, write: int):
    roster.change(place, keyring, FLEET, joining("a"))
    with store.killed_at(write):
        roster.change(place, keyring, FLEET, joining("b"))
    assert names(roster.read(place, keyring, FLEET)) == ["a"]
    assert names(roster.change(place, keyring, FLEET, joining("c"))) == ["a", "c"]


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_a_roster_that_is_not_what_was_signed_is_told(place: Place, keyring: Keyring, store: MemoryStore, content: bytes | None):
    roster.change(place, keyring, FLEET, joining("a"))
    (key,) = (it for it in store.objects if it.endswith(f".{FLEET}.json") and "/targets/" in it)
    store.objects.pop(key)
    if content is not None:
        store.objects[key] = content
    with pytest.raises(IntegrityError, match="put it there again"):
        roster.read(place, keyring, FLEET)


def test_a_fleets_secret_is_its_owners_alone_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    uri = roster.secret_uri(FLEET)
    secret = roster.make_secret(uri, tmp_path)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert roster.fleet_secret(uri, tmp_path) == secret
    with pytest.raises(InputError, match="exists already"):
        roster.make_secret(uri, tmp_path)
    monkeypatch.setenv("CI_SECRET", file.read_text())
    assert roster.fleet_secret("env:CI_SECRET", tmp_path) == secret
    with pytest.raises(KeyNotAtHandError, match="no variable NONE"):
        roster.fleet_secret("env:NONE", tmp_path)
    monkeypatch.setenv("CI_SECRET", "hunter2!")
    with pytest.raises(InputError, match="16 bytes or more") as caught:
        roster.fleet_secret("env:CI_SECRET", tmp_path)
    assert "hunter2" not in str(caught.value)
    file.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        roster.fleet_secret(uri, tmp_path)
