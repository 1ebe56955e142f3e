"""A device of a former version moves over by one last document that the former key has signed."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.fleet_store import Reply
from tests.isthmus_agent.living import FLEET, PREFIX, Fleet

from isthmus.repository.moving import publish_moved
from isthmus_agent.cli.main import main
from isthmus_agent.formats import former
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.manager.enrolment import enrolled

SECRET_KEY = "the-shared-secret-of-then"


def key_of(folder: Path, name: str) -> tuple[str, str]:
    """The URI of a new private key, and its public half in PEM."""
    key = Ed25519PrivateKey.generate()
    file = folder / f"{name}.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o600)
    return f"file:{file}", key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class Moving:
    """A former device, and its fleet's key."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet, self.folder, self.state = fleet, folder, folder / "state"
        self.key, public = key_of(folder, "former")
        endpoint, _, bucket = fleet.http.url.rstrip("/").rpartition("/")
        store = {"endpoint": endpoint, "bucket": bucket, "prefix": PREFIX, "access_key": "key", "secret_key": SECRET_KEY}
        self.config: dict[str, Any] = {"device": "camera-1", "fleet": FLEET, "store": store, "public_key": public, "port": 8601}

    def publish(self, *devices: str, key: str = "") -> None:
        tokens = {device: self.fleet.invite(device) for device in devices}
        publish_moved(self.fleet.place, FLEET, tokens, key or self.key, self.folder)

    def enrol(self) -> int:
        file, own = self.folder / "agent.json", self.folder / "config.json"
        file.write_text(json.dumps(self.config))
        own.write_text(json.dumps({"state_directory": str(self.state)}))
        own.chmod(0o600)
        return main(["enrol", "--former", str(file), "--config", str(own)])


@pytest.fixture
def moving(fleet: Fleet, tmp_path: Path) -> Moving:
    return Moving(fleet, tmp_path)


def test_a_former_device_follows_the_last_document_of_its_key_and_is_enrolled(moving: Moving, capsys: pytest.CaptureFixture[str]) -> None:
    moving.publish("camera-1", "camera-2")
    assert moving.enrol() == 0
    assert "this device is camera-1 of fleet cameras" in capsys.readouterr().out
    found = enrolled(moving.state)
    assert found is not None
    assert (found.device, found.url) == ("camera-1", moving.fleet.http.url + PREFIX)
    assert moving.enrol() == 0  # may be run again


@pytest.mark.parametrize(("damage", "told"), [("another key", "not by the key"), ("a changed payload", "not by the key")])
def test_what_another_has_signed_or_changed_is_not_followed(
    moving: Moving, capsys: pytest.CaptureFixture[str], damage: str, told: str
) -> None:
    other, _ = key_of(moving.folder, "other")
    moving.publish("camera-1", key=other if damage == "another key" else "")
    if damage == "a changed payload":
        store = moving.fleet.store.objects
        key = f"{PREFIX}metadata/{former.MOVED_NAME}"
        envelope = json.loads(store[key])
        envelope["payload"] = envelope["payload"].replace("Y2FtZXJhLTE", "Y2FtZXJhLTI")[:-4] + "AAA="
        store[key] = json.dumps(envelope).encode()
    assert moving.enrol() == 2
    assert told in capsys.readouterr().err
    assert enrolled(moving.state) is None


def test_a_document_of_another_type_by_the_same_key_is_not_followed(moving: Moving) -> None:
    moving.publish("camera-1")
    store, key = moving.fleet.store.objects, f"{PREFIX}metadata/{former.MOVED_NAME}"
    envelope = json.loads(store[key])
    found = former.envelope_from(store[key])
    assert found.signed.startswith(b"DSSEv1 34 application/vnd.isthmus.moved+json ")
    store[key] = json.dumps({**envelope, "payloadType": "application/vnd.isthmus.target+json"}).encode()
    assert moving.enrol() == 1
    assert enrolled(moving.state) is None


@pytest.mark.parametrize(("devices", "status", "told"), [((), 2, "was not moved yet"), (("camera-2",), 2, "no token for camera-1")])
def test_a_device_for_which_there_is_nothing_is_told_whom_to_ask(
    moving: Moving, capsys: pytest.CaptureFixture[str], devices: tuple[str, ...], status: int, told: str
) -> None:
    if devices:
        moving.publish(*devices)
    assert moving.enrol() == status
    assert told in (said := capsys.readouterr().err)
    assert "isthmus fleet move" in said


@pytest.mark.parametrize("fault", [Reply(503), Reply(200, b"<html>Welcome</html>")])
def test_a_store_that_does_not_answer_as_one_is_asked_again_later(moving: Moving, capsys: pytest.CaptureFixture[str], fault: Reply) -> None:
    moving.publish("camera-1")
    moving.fleet.http.fault = lambda path, headers: fault
    assert moving.enrol() == 1
    assert "run the same command again" in capsys.readouterr().err
    moving.fleet.http.fault = lambda path, headers: None
    assert moving.enrol() == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [({"public_key": "none"}, "public_key"), ({"device": "../x"}, "device"), ({"store": None}, "store.endpoint"), ({"fleet": 7}, "fleet")],
)
def test_a_configuration_that_is_none_is_told_by_its_place_and_without_its_secrets(
    moving: Moving, capsys: pytest.CaptureFixture[str], change: dict[str, Any], told: str
) -> None:
    moving.config |= change
    assert moving.enrol() == 2
    said = capsys.readouterr().err
    assert f"agent.json: {told}" in said
    assert SECRET_KEY not in said


def test_no_repr_shows_a_secret() -> None:
    found = former.Former("a", "f", "http://s", "r", "b", "", b"k" * 32, "access", SECRET_KEY)
    assert SECRET_KEY not in repr(found)
    assert "the-token" not in repr(former.Moved("f", {"a": "the-token"}))
    with pytest.raises(FormatError):
        former.former_from(b"[]")
