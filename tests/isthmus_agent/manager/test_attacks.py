"""Every attack on an updater that TUF knows, through the device's own path. Each is seen to fail closed, and to be over when it is over.

Endless data, slow retrieval and portals in the midst of a bundle: see test_downloads.py.
"""

import time
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner, Signer
from tests.fleet_sayings import FLEET, path_of, telling
from tests.fleet_store import Reply, Served
from tests.isthmus_agent.manager.conftest import BUNDLE
from tests.repository.devices import PREFIX, Device
from tuf.api.metadata import Metadata, MetaFile, TargetFile

from isthmus.repository import ceremony
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.publish import Puts, publish
from isthmus.repository.reading import read
from isthmus.repository.roles import delegated_of, meta_of, signed, snapshot_of, timestamp_of
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.signed_fields import FIELD
from isthmus_agent.manager.failures import ExpiredFailure, RepositoryFailure, SlowFailure, TransportFailure, UntrustedFailure
from isthmus_agent.manager.repository import Address, Floor, Repository
from isthmus_agent.manager.transport import METADATA_PATIENCE, Transport

NEXT = b"the next bundle"
HASTY = replace(METADATA_PATIENCE, silence_seconds=1, window_seconds=0.2, least_bytes_per_second=10_000, deadline_seconds=1)


def tell(place: Place, keyring: Keyring) -> None:
    publish(place, keyring, FLEET, telling(NEXT), {path_of(NEXT): NEXT})


def number_of(device: Device) -> int:
    found = device.poll()
    assert found is not None
    assert found.assignment is not None
    return found.assignment.number


def forged(place: Place, keyring: Keyring, *, fleet_keys: list, snapshot_keys: list, timestamp_keys: list, version: int = 0) -> None:
    """A release that whoever holds some keys puts in force, however they have to."""
    current = read(place, keyring.anchor())
    now = datetime.now(UTC)
    told = current.delegated[FLEET].signed.unrecognized_fields[FIELD]
    number = version or current.version_of(FLEET) + 1
    data = signed(delegated_of(FLEET, number, now, current.delegated[FLEET].signed.targets, {**told, "number": 7}), fleet_keys)
    place.objects.put(place.metadata_key(FLEET, number), data)
    meta = {name.removesuffix(".json"): it for name, it in current.snapshot.signed.meta.items()} | {FLEET: meta_of(number, data)}
    version = current.snapshot.signed.version + 1
    data = signed(snapshot_of(version, now, meta), snapshot_keys)
    place.objects.put(place.metadata_key("snapshot", version), data)
    data = signed(timestamp_of(current.timestamp.signed.version + 1, now, meta_of(version, data)), timestamp_keys)
    place.objects.put(place.timestamp_key, data)


def sign_number(place: Place, keyring: Keyring, signers: list[Signer], number: int) -> None:
    """What the fleet is told already, under a number that its key should not give."""
    current = read(place, keyring.anchor())
    told = current.delegated[FLEET].signed
    assignment = {**told.unrecognized_fields[FIELD], "number": number}
    puts = Puts(place, current.tag)
    make = lambda version: delegated_of(FLEET, version, datetime.now(UTC), told.targets, assignment)  # noqa: E731
    edition = {FLEET: puts.role(FLEET, current.version_of(FLEET), make, signers)}
    puts.in_force(current, edition, keyring.signers("snapshot"), keyring.signers("timestamp"), datetime.now(UTC))


def test_rollback_of_everything(http: Served, place: Place, keyring: Keyring, device: Device):
    old = dict(http.store.objects)
    tell(place, keyring)
    new = dict(http.store.objects)
    assert number_of(device) == 2
    http.store.objects = old
    with pytest.raises(UntrustedFailure):
        device.poll()
    http.store.objects = new
    device.poll()


def test_rollback_of_the_fleets_role_by_a_stolen_snapshot_and_timestamp_key(place: Place, keyring: Keyring, device: Device):
    tell(place, keyring)
    assert number_of(device) == 2
    current = read(place, keyring.anchor())
    now = datetime.now(UTC)
    first = place.objects.get(place.metadata_key(FLEET, 1), max_bytes=1 << 20)
    meta = {name.removesuffix(".json"): it for name, it in current.snapshot.signed.meta.items()} | {FLEET: meta_of(1, first)}
    puts = Puts(place, current.tag)
    taken = puts.role("snapshot", 9, lambda version: snapshot_of(version, now, meta), keyring.signers("snapshot"))
    puts.timestamp(9, taken, keyring.signers("timestamp"), now)
    with pytest.raises(UntrustedFailure):
        device.poll()


def test_freeze_is_seen_when_the_timestamp_expires(device: Device):
    assert number_of(device) == 1
    assert device.poll() is None
    device.floor = replace(device.floor, time_seconds=int(time.time() + timedelta(days=4).total_seconds()))
    with pytest.raises(ExpiredFailure):
        device.poll()


def test_freeze_is_seen_by_a_device_whose_clock_stands_at_1970(http: Served, place: Place, keyring: Keyring, device: Device):
    """What was signed last says how late it is at least."""
    old = dict(http.store.objects)
    later = datetime.now(UTC) + timedelta(days=5)
    publish(place, keyring, FLEET, telling(NEXT), {path_of(NEXT): NEXT}, now=later)
    device.floor = Floor(0)
    assert number_of(device) == 2
    assert device.floor.time_seconds == int(later.timestamp())
    http.store.objects = old
    with pytest.raises((ExpiredFailure, UntrustedFailure)):
        device.poll()


def test_a_stolen_timestamp_key_does_not_move_devices_beyond_the_roots_time(place: Place, keyring: Keyring, device: Device):
    current = read(place, keyring.anchor())
    far = datetime.now(UTC) + timedelta(days=30_000)
    data = signed(timestamp_of(9, far, current.timestamp.signed.snapshot_meta), keyring.signers("timestamp"))
    place.objects.put(place.timestamp_key, data)
    device.poll()
    assert device.floor.time_seconds < current.root.signed.expires.timestamp()


def test_devices_that_a_stolen_timestamp_key_has_moved_come_back_once_root_has_taken_it_away(
    place: Place, keyring: Keyring, device: Device
):
    current = read(place, keyring.anchor())
    far = datetime.now(UTC) + timedelta(days=300)
    key = keyring.roles["timestamp"].keys[0].public.keyid
    data = signed(
        timestamp_of(current.timestamp.signed.version + 1, far, current.timestamp.signed.snapshot_meta), keyring.signers("timestamp")
    )
    place.objects.put(place.timestamp_key, data)
    assert number_of(device) == 1
    assert device.floor.time_seconds == int(far.timestamp())
    ceremony.revoke(place, keyring, key)
    assert number_of(device) == 1
    assert time.time() - 3600 < device.floor.time_seconds <= time.time()


@pytest.mark.parametrize("name", ["2.cameras.json", "3.snapshot.json"])
def test_mix_and_match(http: Served, place: Place, keyring: Keyring, device: Device, name: str):
    tell(place, keyring)
    older = f"{int(name[0]) - 1}{name[1:]}"
    folder, objects = f"{PREFIX}metadata/", http.store.objects
    whole, objects[folder + name] = objects[folder + name], objects[folder + older]
    with pytest.raises(RepositoryFailure):
        device.poll()
    objects[folder + name] = whole
    assert number_of(device) == 2


def test_fast_forward_of_the_fleets_version_and_its_recovery(place: Place, keyring: Keyring, device: Device):
    keys = {role: keyring.signers(role) for role in (FLEET, "snapshot", "timestamp")}
    forged(place, keyring, fleet_keys=keys[FLEET], snapshot_keys=keys["snapshot"], timestamp_keys=keys["timestamp"], version=10**9)
    assert number_of(device) == 7
    keyring = ceremony.revoke(place, keyring, keyring.roles[FLEET].keys[0].public.keyid)
    tell(place, keyring)
    assert number_of(device) == 2**32 + 1


def test_fast_forward_of_numbers_ends_with_the_epoch_and_the_next_begins_above(place: Place, keyring: Keyring, device: Device):
    last = 2**32 - 1
    sign_number(place, keyring, keyring.signers(FLEET), last)
    assert number_of(device) == last
    keyring = ceremony.revoke(place, keyring, keyring.roles[FLEET].keys[0].public.keyid)
    found = device.poll()
    assert found is not None
    assert found.assignment is not None
    assert (found.assignment.number, found.assignment.paused) == (2**32, True)
    tell(place, keyring)
    assert number_of(device) == 2**32 + 1


@pytest.mark.parametrize("number", [2**32, 2**52])
def test_a_number_beyond_the_epoch_is_not_accepted(place: Place, keyring: Keyring, device: Device, number: int):
    sign_number(place, keyring, keyring.signers(FLEET), number)
    with pytest.raises(UntrustedFailure, match="none that this fleet's key may give"):
        device.poll()


@pytest.mark.parametrize("name", ["timestamp.json", "2.root.json", "2.snapshot.json", "1.cameras.json", "1.targets.json"])
def test_endless_data(http: Served, device: Device, name: str):
    http.fault = lambda path, headers: Reply(200, b"{", endless=True) if path.endswith(name) else None
    with pytest.raises(TransportFailure):
        device.poll()
    http.fault = lambda path, headers: None
    assert number_of(device) == 1


@pytest.mark.parametrize("name", ["9.snapshot.json", "1.cameras.json"])
def test_endless_data_of_a_length_that_stolen_online_keys_sign(http: Served, place: Place, keyring: Keyring, device: Device, name: str):
    current, now = read(place, keyring.anchor()), datetime.now(UTC)
    meta = {role.removesuffix(".json"): it for role, it in current.snapshot.signed.meta.items()}
    data = signed(snapshot_of(9, now, {**meta, FLEET: MetaFile(1, 2**40)}), keyring.signers("snapshot"))
    place.objects.put(place.metadata_key("snapshot", 9), data)
    length = 2**40 if "snapshot" in name else len(data)
    place.objects.put(place.timestamp_key, signed(timestamp_of(9, now, MetaFile(9, length)), keyring.signers("timestamp")))
    http.fault = lambda path, headers: Reply(200, b"{", endless=True) if path.endswith(name) else None
    with pytest.raises(TransportFailure, match="exceeding the maximum allowed length"):
        device.poll()


def test_data_of_no_length_end_at_the_deadline(http: Served):
    http.fault = lambda path, headers: Reply(200, b"{", endless=True)
    begun = time.monotonic()
    with Transport().get(http.url, patience=HASTY) as answer, pytest.raises(SlowFailure):
        deque(takewhile(lambda _: time.monotonic() - begun < 30, answer.chunks), maxlen=0)
    assert time.monotonic() - begun >= HASTY.deadline_seconds


def test_slow_retrieval(http: Served, keyring: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(Transport.get.__wrapped__.__kwdefaults__, "patience", HASTY)  # type: ignore[attr-defined]
    device = Device(http, keyring, tmp_path / "hasty")
    body = http.store.objects[f"{PREFIX}metadata/timestamp.json"]
    http.fault = lambda path, headers: Reply(200, body, trickle_seconds=0.02)
    with pytest.raises(SlowFailure):
        device.poll()
    http.fault = lambda path, headers: None
    assert number_of(device) == 1


def test_wrong_role_one_fleets_key_signs_for_another(place: Place, keyring: Keyring, device: Device):
    doors = keyring.signers("doors")
    keys = {role: keyring.signers(role) for role in ("snapshot", "timestamp")}
    forged(place, keyring, fleet_keys=doors, snapshot_keys=keys["snapshot"], timestamp_keys=keys["timestamp"])
    with pytest.raises(UntrustedFailure):
        device.poll()


def test_arbitrary_path_a_role_names_a_file_outside_of_its_own(place: Place, keyring: Keyring, device: Device):
    current = read(place, keyring.anchor())
    told = current.delegated[FLEET].signed
    for path in ("doors/x.bundle", "../x.bundle", "x.bundle"):
        target = TargetFile.from_data(path, NEXT, ["sha256"])
        puts = Puts(place, current.tag)
        make = lambda version, it=target: delegated_of(FLEET, version, datetime.now(UTC), {it.path: it}, told.unrecognized_fields[FIELD])  # noqa: E731
        edition = {FLEET: puts.role(FLEET, current.version_of(FLEET), make, keyring.signers(FLEET))}
        puts.in_force(current, edition, keyring.signers("snapshot"), keyring.signers("timestamp"), datetime.now(UTC))
        device.poll()
        with pytest.raises(UntrustedFailure):
            device.repository.target(path)
        current = read(place, keyring.anchor())


@pytest.mark.parametrize("stolen", ["timestamp", "snapshot", "doors", "roster"])
def test_compromise_of_another_roles_key(place: Place, keyring: Keyring, device: Device, stolen: str):
    key = keyring.signers(stolen)
    keys = {role: keyring.signers(role) if role == stolen else key for role in (FLEET, "snapshot", "timestamp")}
    forged(place, keyring, fleet_keys=keys[FLEET], snapshot_keys=keys["snapshot"], timestamp_keys=keys["timestamp"])
    with pytest.raises(UntrustedFailure):
        device.poll()


def test_compromise_of_root_keys_below_the_threshold(place: Place, keyring: Keyring, device: Device):
    current = read(place, keyring.anchor())
    mine = CryptoSigner.generate_ed25519()
    root = current.root.signed
    root.version += 1
    root.add_key(mine.public_key, "targets")
    data = signed(Metadata(root), keyring.signers("root")[:1])
    place.objects.put(place.metadata_key("root", 2), data)
    with pytest.raises(UntrustedFailure):
        device.poll()


def test_arbitrary_install_of_an_unsigned_bundle(http: Served, device: Device, tmp_path: Path):
    device.poll()
    (key,) = (it for it in http.store.objects if it.endswith(".bundle"))
    http.store.objects[key] = bytes(len(BUNDLE))
    with pytest.raises(TransportFailure):
        device.repository.download(path_of(BUNDLE), tmp_path / "part")
    assert not (tmp_path / "part").exists()


def test_arbitrary_install_of_what_nobody_signed(device: Device, tmp_path: Path):
    device.poll()
    variant = Variant("*", "sha256:" + "0" * 64, path_of(NEXT), 1)
    with pytest.raises(UntrustedFailure):
        device.repository.download(variant.bundle, tmp_path / "part")


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><title>Please log in</title>", b"", b'{"error": "log in"}', b"\x00\x01"])
@pytest.mark.parametrize("name", ["timestamp.json", "2.root.json", "2.snapshot.json", "1.targets.json", "1.cameras.json"])
def test_captive_portal_is_a_failure_of_the_way_and_never_a_verdict(http: Served, device: Device, name: str, body: bytes):
    http.fault = lambda path, headers: Reply(200, body) if path.endswith(name) else None
    with pytest.raises(RepositoryFailure) as caught:
        device.poll()
    assert caught.value.failure == "transport"
    http.fault = lambda path, headers: None
    assert number_of(device) == 1


@pytest.mark.parametrize("status", [301, 302, 403, 404, 500, 503])
def test_a_portals_or_a_sick_stores_status_is_a_failure_of_the_way(http: Served, device: Device, status: int):
    http.fault = lambda path, headers: Reply(status, b"{}", {"Location": "http://127.0.0.1:9/"})
    with pytest.raises(TransportFailure):
        device.poll()
    assert len(http.requests) == 1


def test_a_flipped_bit_in_metadata_is_over_when_it_is_over(http: Served, device: Device):
    key = f"{PREFIX}metadata/timestamp.json"
    whole = http.store.objects[key]
    http.store.objects[key] = whole.replace(b'"version":2', b'"version":3')
    assert http.store.objects[key] != whole
    with pytest.raises(RepositoryFailure):
        device.poll()
    http.store.objects[key] = whole
    assert number_of(device) == 1


def test_another_operators_repository_is_not_followed(http: Served, keyring: Keyring, tmp_path: Path):
    other = ceremony.init(tmp_path / "other", [FLEET])
    root = other.root_at(1)
    assert root is not None
    stranger = Repository(Address(http.url + PREFIX, FLEET), tmp_path / "stranger", root, Transport())
    with pytest.raises(UntrustedFailure):
        stranger.poll(Floor(int(time.time())))
