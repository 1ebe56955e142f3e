"""Whatever became of the store: one command, and every device that was enrolled before goes on."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.fleet_sayings import FLEET, ONE, THREE, TWO, path_of, telling
from tests.fleet_store import MemoryStore, Served
from tests.repository.devices import Device
from tuf.api.metadata import Metadata, MetaFile, Targets

from isthmus.errors import IntegrityError
from isthmus.repository import ceremony
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.publish import Puts, publish, publish_roster
from isthmus.repository.reading import read
from isthmus.repository.recover import recover
from isthmus.repository.roles import delegated_of, signed, timestamp_of
from isthmus_agent.formats.signed_fields import FIELD
from isthmus_agent.manager.failures import RepositoryFailure

EPOCH = 2**32


@pytest.fixture
def told(place: Place, keyring: Keyring) -> Keyring:
    """Of ONE, then of TWO, with a rotation and a roster between."""
    publish(place, keyring, FLEET, telling(ONE), {path_of(ONE): ONE})
    keyring = ceremony.rotate(place, keyring, "timestamp")
    publish_roster(place, keyring, b"{}")
    publish(place, keyring, FLEET, telling(TWO), {path_of(TWO): TWO})
    return keyring


IN_FORCE = ("timestamp.json", "4.snapshot.json", "1.targets.json", "2.cameras.json", "1.roster.json", "1.root.json", "2.root.json")
DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda data: None,
    "torn": lambda data: data[: len(data) // 2],
    "foreign": lambda data: b"<html>",
    "another's": lambda data: data.replace(b'"sig":"', b'"sig":"00'),
}


def test_what_is_well_is_left_alone_but_for_the_timestamp(place: Place, told: Keyring, store: MemoryStore):
    assert set(IN_FORCE) <= {key.rpartition("/")[2] for key in store.objects}
    store.puts.clear()
    assert recover(place, told).done == ()
    assert store.puts == ["edge/metadata/timestamp.json"]


@pytest.mark.parametrize("name", IN_FORCE)
@pytest.mark.parametrize("damage", DAMAGES)
def test_one_file_of_every_kind(told: Keyring, http: Served, tmp_path: Path, name: str, damage: str):
    place = Place(http.store, "edge/")
    device, store = Device(http, told, tmp_path / "device"), http.store
    assert device.number() == 2
    changed = DAMAGES[damage](store.objects[f"edge/metadata/{name}"])
    if changed is None:
        del store.objects[f"edge/metadata/{name}"]
    else:
        store.objects[f"edge/metadata/{name}"] = changed
    recovered = recover(place, told)
    assert recovered.done
    keyring = recovered.keyring
    assert device.number() in {2, EPOCH}
    publish(place, keyring, FLEET, telling(THREE), {path_of(THREE): THREE})
    assert device.number() in {3, EPOCH, EPOCH + 1}
    assert Device(http, keyring, tmp_path / "newcomer").number() == device.floor.number
    assert recover(place, keyring).done == ()


def test_a_store_that_was_emptied(place: Place, told: Keyring, http: Served, tmp_path: Path):
    device = Device(http, told, tmp_path / "device")
    assert device.number() == 2
    http.store.objects.clear()
    keyring = recover(place, told).keyring
    publish(place, keyring, FLEET, lambda _, number: telling(THREE)(None, number), {path_of(THREE): THREE})
    assert device.number() >= 2
    device.repository.download(path_of(THREE), tmp_path / "part")


def test_rubbish_is_removed_and_the_next_names_are_free(place: Place, told: Keyring, store: MemoryStore):
    store.objects |= {f"edge/metadata/{number}.cameras.json": b"rubbish" for number in range(3, 200)}
    store.objects |= {
        "edge/metadata/3.root.json": b"rubbish",
        "edge/metadata/evil": b"rubbish",
        "edge/metadata/07.targets.json": b"rubbish",
    }
    recover(place, told)
    assert not any(data == b"rubbish" for data in store.objects.values())
    assert publish(place, told, FLEET, telling(THREE), {path_of(THREE): THREE}).assignment.number == 3


def test_a_timestamp_that_was_counted_far_up(place: Place, told: Keyring, http: Served, tmp_path: Path):
    device = Device(http, told, tmp_path / "device")
    current = read(place, told.anchor())
    meta: MetaFile = current.timestamp.signed.snapshot_meta
    far = signed(timestamp_of(2**60, datetime.now(UTC), meta), told.signers("timestamp"))
    place.objects.put(place.timestamp_key, far)
    assert device.number() == 2
    keyring = recover(place, told).keyring
    assert device.number() == EPOCH
    publish(place, keyring, FLEET, telling(THREE), {path_of(THREE): THREE})
    assert device.number() == EPOCH + 1


def test_half_a_publishing_is_swept(place: Place, told: Keyring, store: MemoryStore):
    with store.killed_at(4):
        publish(place, told, FLEET, telling(THREE), {path_of(THREE): THREE})
    store.objects["edge/metadata/rubbish"] = b"rubbish"
    recover(place, told)
    assert not {"edge/metadata/3.cameras.json", "edge/metadata/5.snapshot.json"} & set(store.objects)
    assert publish(place, told, FLEET, telling(THREE), {path_of(THREE): THREE}).assignment.number == 3


def test_a_bundle_that_is_missing_or_foreign_is_named(place: Place, told: Keyring, store: MemoryStore):
    (key,) = (it for it in store.objects if it.endswith(path_of(TWO).rpartition("/")[2]))
    store.objects[key] = b"x" * len(TWO)
    assert recover(place, told).missing == (path_of(TWO),)
    del store.objects[key]
    assert recover(place, told).missing == (path_of(TWO),)


def test_without_it_devices_do_not_go_on(place: Place, told: Keyring, http: Served, tmp_path: Path):
    """The negative control."""
    device = Device(http, told, tmp_path / "device")
    del http.store.objects["edge/metadata/timestamp.json"]
    with pytest.raises(RepositoryFailure):
        device.number()


UNREADABLE = {
    "a number without end": lambda told: {**told, "number": 10**400},
    "another fleet's": lambda told: {**told, "fleet": "doors"},
    "nothing of ours": lambda told: {"format": 2},
    "no object": lambda told: [told],
}


@pytest.mark.parametrize("ends_by", ["recover", "revoke"])
@pytest.mark.parametrize("what", UNREADABLE)
def test_what_a_thief_of_the_fleets_key_signed_that_nobody_can_read_is_ended(
    told: Keyring, http: Served, tmp_path: Path, what: str, ends_by: str
):
    place, now = Place(http.store, "edge/"), datetime.now(UTC)
    device = Device(http, told, tmp_path / "device")
    assert device.number() == 2
    current, puts = read(place, told.anchor()), Puts(place, place.objects.tag(place.timestamp_key))
    role = current.delegated[FLEET].signed
    field = UNREADABLE[what](role.unrecognized_fields[FIELD])

    def make(version: int) -> Metadata[Targets]:
        metadata = delegated_of(FLEET, version, now, role.targets, {})
        metadata.signed.unrecognized_fields[FIELD] = field
        return metadata

    edition = {FLEET: puts.role(FLEET, role.version, make, told.signers(FLEET))}
    puts.in_force(current, edition, told.signers("snapshot"), told.signers("timestamp"), now)
    with pytest.raises(IntegrityError):
        publish(place, told, FLEET, telling(THREE), {path_of(THREE): THREE})
    keyid = told.roles[FLEET].keys[0].public.keyid
    ring = recover(place, told).keyring if ends_by == "recover" else ceremony.revoke(place, told, keyid)
    publish(place, ring, FLEET, telling(THREE), {path_of(THREE): THREE})
    assert device.number() == EPOCH
