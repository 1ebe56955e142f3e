"""A new root that is signed in turns: three holders, three machines, and no two keys of the root on one of them."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from tests.fleet_sayings import FLEET, TWO, path_of, telling
from tests.fleet_store import Served
from tests.repository.devices import Device

from isthmus.errors import InputError
from isthmus.repository import ceremony, turns
from isthmus.repository.ceremony import WantedKey
from isthmus.repository.keyring import Keyring, NotEnoughKeysError
from isthmus.repository.keys import make_key
from isthmus.repository.objects import ROOT, TIMESTAMP, Place
from isthmus.repository.publish import publish
from isthmus.repository.reading import read
from isthmus.repository.turns import Turn

NOW = datetime.now(UTC)
HOLDERS = (1, 2, 3)


@pytest.fixture
def scattered(told: Keyring, tmp_path: Path) -> dict[int, Path]:
    """The folders of the holders, each with one of the root's keys; the operator's key ring keeps none."""
    folders = {}
    for number in HOLDERS:
        folders[number] = tmp_path / f"holder-{number}"
        folders[number].mkdir(mode=0o700)
        (told.folder / f"root-{number}.pem").rename(folders[number] / f"root-{number}.pem")
    return folders


def hand_out(keyring: Keyring, folders: dict[int, Path]) -> None:
    """Gives the holders what is committed of the key ring."""
    for folder in folders.values():
        for name in ("keyring.json", "root.json"):
            shutil.copy(keyring.folder / name, folder / name)


def turn(folder: Path, data: bytes | None) -> Turn:
    return turns.sign(Keyring.load(folder), data, NOW)


def test_devices_follow_a_root_that_was_signed_in_turns(
    place: Place, told: Keyring, scattered: dict[int, Path], http: Served, tmp_path: Path
):
    device = Device(http, told, tmp_path / "device")
    assert device.number() == 1
    keyring = ceremony.rotate(place, told, TIMESTAMP, is_later=True)
    assert device.number() == 1
    hand_out(keyring, scattered)
    first = turn(scattered[1], None)
    assert (len(first.mine), first.missing, first.is_complete) == (1, (1, 1), False)
    with pytest.raises(NotEnoughKeysError, match="a new root needs 2"):
        ceremony.resume(place, keyring, root=first.data)
    second = turn(scattered[3], first.data)
    assert (len(second.signed), second.is_complete) == (2, True)
    ceremony.resume(place, keyring, root=second.data)
    assert read(place, keyring.anchor()).root.signed.version == 2
    publish(place, keyring, FLEET, telling(TWO), {path_of(TWO): TWO})
    assert device.number() == 2


def test_the_keys_of_the_root_itself_are_handed_over_in_turns(
    place: Place, told: Keyring, scattered: dict[int, Path], http: Served, tmp_path: Path
):
    device = Device(http, told, tmp_path / "device")
    heirs = {number: tmp_path / f"heir-{number}" for number in (4, 5)}
    wanted = []
    for number, folder in heirs.items():
        make_key(f"file:root-{number}.pem", folder)
        private = load_pem_private_key((folder / f"root-{number}.pem").read_bytes(), None)
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        wanted.append(WantedKey(f"file:root-{number}.pem", public.decode()))
    keyring = ceremony.rotate(place, told, ROOT, wanted, threshold=2, is_later=True)
    hand_out(keyring, scattered | heirs)
    data: bytes | None = None
    for number in (4, 5, 1):
        data = (it := turn(heirs.get(number) or scattered[number], data)).data
        assert not it.is_complete
    done = turn(scattered[2], data)
    assert done.is_complete
    ceremony.resume(place, keyring, root=done.data)
    assert device.number() == 1
    assert sorted(read(place, keyring.anchor()).root.signed.roles[ROOT].keyids) == sorted(
        key.public.keyid for key in keyring.roles[ROOT].keys
    )


def test_a_root_that_would_expire_is_signed_anew_in_turns(place: Place, told: Keyring, scattered: dict[int, Path]):
    hand_out(told, scattered)
    second = turn(scattered[2], turn(scattered[1], None).data)
    ceremony.resume(place, told, root=second.data)
    assert read(place, told.anchor()).root.signed.version == 2


def test_nobody_signs_what_their_own_key_ring_does_not_say(place: Place, told: Keyring, scattered: dict[int, Path]):
    hand_out(told, scattered)
    other = ceremony.rotate(place, told, TIMESTAMP, is_later=True)
    data = turns.sign(other, None, NOW).data
    with pytest.raises(InputError, match="other keys, thresholds or names than the key ring"):
        turn(scattered[1], data)


def test_a_signature_that_is_none_is_dropped_and_a_key_signs_once(told: Keyring, scattered: dict[int, Path]):
    hand_out(told, scattered)
    first = turn(scattered[1], None)
    torn = first.data.replace(b'"sig":"', b'"sig":"00')
    assert torn != first.data
    assert turn(scattered[2], torn).signed == turn(scattered[2], None).signed
    assert turn(scattered[1], first.data).mine == ()


@pytest.mark.parametrize("data", [b"", b"{}", b"<html>"])
def test_a_file_that_is_no_root_is_refused(told: Keyring, data: bytes):
    with pytest.raises(InputError, match="no metadata"):
        turns.sign(told, data, NOW)


def test_a_root_that_does_not_follow_is_refused(place: Place, told: Keyring):
    data = turns.sign(told, None, NOW).data
    ceremony.resume(place, told, root=data)
    with pytest.raises(InputError, match="the file is root 2, and root 2 is in force"):
        turns.sign(told, data, NOW)
