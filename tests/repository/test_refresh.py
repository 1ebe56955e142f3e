"""Signing anew in time, by whoever has the keys."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner
from tests.fleet_sayings import FLEET
from tests.fleet_store import MemoryStore, Served
from tests.repository.devices import Device

from isthmus.repository.ceremony import WantedKey, rotate
from isthmus.repository.keyring import Keyring, NotEnoughKeysError
from isthmus.repository.objects import Place
from isthmus.repository.refresh import refresh
from isthmus_agent.manager.failures import ExpiredFailure
from isthmus_agent.manager.repository import Floor


def later(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def without_offline_keys(keyring: Keyring) -> None:
    for role in ("root-1", "root-2", "root-3", "targets-1"):
        (keyring.folder / f"{role}.pem").unlink()


def test_the_timestamp_alone_is_signed_while_the_rest_has_time(place: Place, told: Keyring, store: MemoryStore):
    store.puts.clear()
    assert refresh(place, told).signed == ("timestamp",)
    assert store.puts == ["edge/metadata/timestamp.json"]


def test_the_snapshot_follows_before_it_expires(place: Place, told: Keyring):
    assert refresh(place, told, now=later(10)).signed == ("snapshot", "timestamp")


def test_devices_go_on_for_as_long_as_it_is_refreshed(place: Place, told: Keyring, http: Served, tmp_path: Path):
    device = Device(http, told, tmp_path / "device")
    device.poll()
    for day in range(2, 120, 2):
        refresh(place, told, now=later(day))
    device.floor = Floor(int(later(119).timestamp()), device.floor.number, device.floor.root)
    assert device.number() == 1
    device.floor = Floor(int(later(122).timestamp()), device.floor.number, device.floor.root)
    with pytest.raises(ExpiredFailure):
        device.poll()


def test_ci_needs_no_offline_key_and_says_what_waits_for_them(place: Place, told: Keyring):
    without_offline_keys(told)
    done = refresh(place, told, now=later(300))
    assert done.signed == (FLEET, "snapshot", "timestamp")
    assert done.waiting.keys() == {"root", "targets"}


def test_the_operator_signs_all_that_is_due(place: Place, told: Keyring, http: Served, tmp_path: Path):
    done = refresh(place, told, now=later(300))
    assert set(done.signed) == {"root", "targets", "snapshot", "timestamp", FLEET}
    assert done.waiting == {}
    device = Device(http, told, tmp_path / "device")
    device.floor = Floor(int(later(301).timestamp()))
    assert device.number() == 1
    assert device.floor.root == 2


def test_without_the_online_keys_nothing_is_written(place: Place, told: Keyring, store: MemoryStore):
    (told.folder / "timestamp-1.pem").unlink()
    before = dict(store.objects)
    with pytest.raises(NotEnoughKeysError, match="role timestamp"):
        refresh(place, told)
    assert store.objects == before


def test_a_key_whose_library_is_not_here_is_one_that_is_elsewhere(place: Place, told: Keyring):
    """A machine of CI need not have the libraries of the offline keys."""
    there = CryptoSigner.generate_ed25519().public_key.keyval["public"]
    pem = Ed25519PublicKey.from_public_bytes(bytes.fromhex(there)).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    keys = [WantedKey("file:root-1.pem"), WantedKey("file:root-2.pem"), WantedKey("gcpkms:projects/x", pem.decode())]
    keyring = rotate(place, told, "root", keys)
    without_offline_keys(keyring)
    done = refresh(place, keyring, now=later(300))
    assert done.waiting.keys() == {"root", "targets"}
