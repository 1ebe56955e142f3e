"""The key ceremony: devices that were enrolled with the first root follow every step, wherever it was broken off."""

import stat
from pathlib import Path

import pytest
from tests.fleet_sayings import FLEET, ONE, TWO, path_of, telling
from tests.fleet_store import MemoryStore, Served
from tests.repository.devices import Device

from isthmus.errors import InputError, IntegrityError
from isthmus.repository import ceremony
from isthmus.repository.ceremony import WantedKey
from isthmus.repository.keyring import Keyring, NotEnoughKeysError
from isthmus.repository.objects import ROSTER, TOP_ROLES, Place
from isthmus.repository.publish import publish
from isthmus.repository.reading import read


def test_private_keys_are_their_owners_alone_and_nothing_else_holds_them(keyring: Keyring):
    keys = sorted(keyring.folder.glob("*.pem"))
    assert len(keys) == 8
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    assert stat.S_IMODE(keyring.folder.stat().st_mode) == 0o700
    assert all("PRIVATE" not in path.read_text() for path in keyring.folder.glob("*.json"))


def test_a_key_ring_is_read_as_it_was_written(keyring: Keyring):
    found = Keyring.load(keyring.folder)
    assert (found.roles.keys(), found.epochs) == (keyring.roles.keys(), keyring.epochs)
    assert [key.uri for key in found.roles["root"].keys] == ["file:root-1.pem", "file:root-2.pem", "file:root-3.pem"]
    assert found.roles["root"].threshold == 2
    assert found.delegated == (FLEET, ROSTER)


def test_a_key_ring_is_not_made_over_another(keyring: Keyring):
    with pytest.raises(InputError, match="exists already"):
        ceremony.init(keyring.folder, [FLEET])


@pytest.mark.parametrize("name", ["root", "roster", "Cameras", "a/b", "", "-a", "a" * 64])
def test_a_fleet_has_a_name_of_its_own(tmp_path: Path, name: str):
    with pytest.raises(InputError, match="cannot be a fleet's name"):
        ceremony.init(tmp_path / "keys", [name])
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(("threshold", "root_keys"), [(2, 1), (4, 3), (0, 3)])
def test_a_threshold_that_the_root_cannot_meet_is_refused_before_a_key_is_made(tmp_path: Path, threshold: int, root_keys: int):
    with pytest.raises(InputError, match=f"{threshold} of {root_keys} root keys would have to sign"):
        ceremony.init(tmp_path / "keys", [FLEET], threshold=threshold, root_keys=root_keys)
    assert not (tmp_path / "keys").exists()


def test_a_repository_is_founded_once(place: Place, keyring: Keyring, tmp_path: Path):
    assert not ceremony.found(place, keyring)
    with pytest.raises(IntegrityError, match="not of this key ring"):
        ceremony.found(place, ceremony.init(tmp_path / "other", [FLEET]))


@pytest.mark.parametrize("write", [1, 2, 3, 4])
def test_a_founding_that_was_broken_off_is_finished_by_the_next(store: MemoryStore, tmp_path: Path, write: int):
    place, keyring = Place(store, "edge/"), ceremony.init(tmp_path / "keys", [FLEET])
    with store.killed_at(write):
        ceremony.found(place, keyring)
    assert ceremony.found(place, keyring)
    assert publish(place, keyring, FLEET, telling(ONE), {path_of(ONE): ONE}).assignment.number == 1


@pytest.mark.parametrize("role", [*TOP_ROLES, FLEET])
def test_devices_follow_a_rotation_of_every_role(place: Place, told: Keyring, http: Served, tmp_path: Path, role: str):
    device = Device(http, told, tmp_path / "device")
    assert device.number() == 1
    keyring = ceremony.rotate(place, told, role)
    assert {key.public.keyid for key in keyring.roles[role].keys}.isdisjoint(key.public.keyid for key in told.roles[role].keys)
    assert device.number() == 1
    publish(place, keyring, FLEET, telling(TWO), {path_of(TWO): TWO})
    assert device.number() == 2
    assert Device(http, keyring, tmp_path / "newcomer").number() == 2


@pytest.mark.parametrize("write", [1, 2, 3, 4])
def test_a_rotation_that_was_broken_off_stops_no_device_and_is_finished_by_the_next_step(
    place: Place, told: Keyring, http: Served, tmp_path: Path, write: int
):
    device = Device(http, told, tmp_path / "device")
    with http.store.killed_at(write):
        ceremony.rotate(place, told, "targets")
    assert device.number() == 1
    keyring = Keyring.load(told.folder)
    assert len(keyring.retired) == 1
    ceremony.resume(place, keyring)
    assert device.number() == 1
    for key in keyring.retired:
        (keyring.folder / key.uri.removeprefix("file:")).unlink()
    publish(place, keyring, FLEET, telling(TWO), {path_of(TWO): TWO})
    assert device.number() == 2


def test_a_new_root_needs_the_old_keys_up_to_their_threshold(place: Place, told: Keyring, store: MemoryStore):
    for number in (1, 2):
        (told.folder / f"root-{number}.pem").unlink()
    before = dict(store.objects)
    with pytest.raises(NotEnoughKeysError, match="needs 2 of the keys that are in force"):
        ceremony.rotate(place, told, "root")
    assert store.objects == before


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_revoked_key_signs_nothing_that_is_accepted(place: Place, told: Keyring, http: Served, tmp_path: Path, role: str):
    (gone,) = told.roles[role].keys
    keyring = ceremony.revoke(place, told, gone.public.keyid[:10])
    current = read(place, keyring.anchor())
    assert gone.public.keyid not in current.root.signed.roles[role].keyids
    assert Device(http, keyring, tmp_path / "device").number() == 1


def test_a_revoked_fleet_key_begins_an_epoch_that_waits_for_the_operator(place: Place, told: Keyring, http: Served, tmp_path: Path):
    device = Device(http, told, tmp_path / "device")
    device.poll()
    keyring = ceremony.revoke(place, told, told.roles[FLEET].keys[0].public.keyid)
    found = device.poll()
    assert found is not None
    assert found.assignment is not None
    assert (found.assignment.number, found.assignment.paused) == (2**32, True)
    assert publish(place, keyring, FLEET, telling(TWO), {path_of(TWO): TWO}).assignment.number == 2**32 + 1


def test_no_key_and_more_than_one_are_not_revoked(place: Place, told: Keyring):
    for beginning in ("", "no such key"):
        with pytest.raises(InputError, match="0 keys begin with"):
            ceremony.revoke(place, told, beginning)


def test_a_threshold_that_its_keys_cannot_meet_is_refused(place: Place, told: Keyring):
    with pytest.raises(InputError, match="a threshold from 1 to the number of its keys"):
        ceremony.rotate(place, told, "root", threshold=4)


def test_a_key_of_the_environment(place: Place, told: Keyring, http: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ceremony.make_key("file:ci.pem", tmp_path)
    monkeypatch.setenv("CI_KEY", (tmp_path / "ci.pem").read_text())
    keyring = ceremony.rotate(place, told, "timestamp", [WantedKey("env:CI_KEY")])
    assert Device(http, keyring, tmp_path / "device").number() == 1
    monkeypatch.delenv("CI_KEY")
    with pytest.raises(NotEnoughKeysError, match="no variable CI_KEY"):
        publish(place, keyring, FLEET, telling(TWO), {path_of(TWO): TWO})


def test_another_fleet_is_added_beside(place: Place, told: Keyring, http: Served, tmp_path: Path):
    keyring = ceremony.add_fleet(place, told, "doors")
    assert Device(http, keyring, tmp_path / "device").number() == 1
    assert "doors" in Keyring.load(keyring.folder).fleets


def test_the_status_says_what_is_at_hand_and_what_is_published(place: Place, told: Keyring):
    (told.folder / "root-1.pem").unlink()
    shown = {it.role: it for it in ceremony.status(told, read(place, told.anchor()))}
    assert sorted(shown["root"].at_hand.values()) == [False, True, True]
    assert shown["root"].threshold == 2
    assert all(it.is_published for it in shown.values())
    assert shown[ROSTER].expires is None
    assert all(it.expires is None and not it.is_published for it in ceremony.status(told, None))
