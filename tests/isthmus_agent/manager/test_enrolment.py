"""A device joins by a token that is used once: on a real store, ended and raced anywhere, and never twice."""

import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.fleet_sayings import FLEET
from toolchain.testing import patience

from isthmus.errors import InputError
from isthmus.release.store import Store
from isthmus.repository import ceremony, enrolment, roster
from isthmus.repository.access import derived_access
from isthmus.repository.enrolment import DeviceStore
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.wanted import Wanted
from isthmus_agent.formats.enrolment import MOST_SECONDS, Token
from isthmus_agent.formats.report import device_key
from isthmus_agent.formats.roster import Device
from isthmus_agent.formats.sealed_contents import content_key
from isthmus_agent.manager import enrolment as joining
from isthmus_agent.manager.enrolment import RefusedTokenFailure
from isthmus_agent.manager.failures import DeviceFailure, TransportFailure
from isthmus_agent.manager.transport import Transport

SECRET = b"s" * 32


@dataclass
class Operator:
    """Of the fleet `cameras` in a bucket of a real store."""

    store: Store
    place: Place
    keyring: Keyring

    def token(self, name: str = "camera-1", *, valid_seconds: int = 3600, **options: Any) -> Token:
        (token,) = enrolment.issue(
            self.place,
            self.keyring,
            FLEET,
            [Wanted(name, "small", {"site": "a b"})],
            secret=SECRET,
            access=lambda device: derived_access(SECRET, FLEET, device),
            store=DeviceStore(f"{self.store.address.endpoint}/{self.store.bucket}/edge/", "us-east-1", self.store),
            valid_seconds=valid_seconds,
            **options,
        )
        return token

    def settle(self, **options: Any) -> enrolment.Settled:
        return enrolment.settle(self.place, self.keyring, FLEET, **options)

    def devices(self) -> dict[str, int]:
        return {it.name: it.generation for it in roster.read(self.place, self.keyring, FLEET).devices}

    def left(self) -> list[str]:
        return sorted(key.rpartition(".")[2] for key in self.store.list("edge/enrol/"))


@pytest.fixture(scope="module")
def real(store_server: Any) -> Iterator[Store]:
    store = Store(store_server.address, f"bucket-{uuid.uuid4().hex[:12]}")
    store.ensure_bucket()
    yield store
    store.delete_bucket()


@pytest.fixture
def operator(real: Store, tmp_path: Path) -> Iterator[Operator]:
    keyring = ceremony.init(tmp_path / "keys", [FLEET])
    place = Place(real, "edge/")
    ceremony.found(place, keyring)
    yield Operator(real, place, keyring)
    real.delete(real.list(""))


class Ended(BaseException):
    """The device's end, as if by a signal."""


class Breaking(Transport):
    """The device ends before (or, late, after) its request of that number, from 1."""

    def __init__(self, at: int, late: bool) -> None:
        super().__init__()
        self._at, self._late, self._count = at, late, 0

    def _asked(self, *args: Any, **options: Any) -> Any:
        self._count += 1
        if self._count != self._at:
            return super()._asked(*args, **options)
        if self._late:
            with super()._asked(*args, **options):
                pass
        raise Ended


def test_a_device_joins_once_it_has_used_its_token(operator: Operator, tmp_path: Path):
    token = operator.token()
    assert (operator.settle().joined, operator.devices(), operator.left()) == ((), {}, ["sealed"])
    found = joining.enrol(f"{token.text()}\n", tmp_path / "device")
    assert (found.fleet, found.device, found.device_class, found.labels, found.generation) == (
        FLEET,
        "camera-1",
        "small",
        {"site": "a b"},
        0,
    )
    assert found.report_key == device_key(SECRET, FLEET, "camera-1", 0)
    assert found.content_key == content_key(SECRET, FLEET)
    assert found.root == operator.keyring.anchor()
    assert found.url.endswith("/edge/")
    assert (found.access_key, found.secret_key) == (
        (access := derived_access(SECRET, FLEET, Device("camera-1", "small"))).access_key,
        access.secret_key,
    )
    assert operator.left() == ["claim"]
    assert (operator.settle().joined, operator.devices(), operator.left()) == (("camera-1",), {"camera-1": 0}, [])
    assert joining.enrolled(tmp_path / "device") == found
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "device").iterdir()} == {0o600}
    assert joining.enrol(token.text(), tmp_path / "device") == found  # again: nothing happens
    assert operator.left() == []


def test_a_token_is_used_once(operator: Operator, tmp_path: Path):
    token = operator.token()
    sealed = operator.store.list("edge/enrol/")[0]
    content = operator.store.get(sealed, max_bytes=100_000)
    joining.enrol(token.text(), tmp_path / "first")
    with pytest.raises(RefusedTokenFailure, match="used already, or withdrawn"):
        joining.enrol(token.text(), tmp_path / "second")
    operator.store.put(sealed, content)  # as if the second had read it before the first claimed
    with pytest.raises(RefusedTokenFailure, match="used already, by another device"):
        joining.enrol(token.text(), tmp_path / "second")
    assert joining.enrolled(tmp_path / "second") is None
    assert b"secret" not in b"".join(path.read_bytes() for path in (tmp_path / "second").iterdir() if path.name == joining.FILE)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_device_that_was_ended_anywhere_goes_on_with_the_same_token(operator: Operator, tmp_path: Path, at: int, late: bool):
    token = operator.token()
    with pytest.raises(Ended):
        joining.enrol(token.text(), tmp_path / "device", Breaking(at, late))
    if at == 2:
        operator.settle()  # it may have been let in meanwhile, and what was left of the token removed
    found = joining.enrol(token.text(), tmp_path / "device")
    operator.settle()
    assert (joining.enrolled(tmp_path / "device"), operator.devices(), operator.left()) == (found, {"camera-1": 0}, [])


@pytest.mark.parametrize("file", [joining.FILE, joining.COPY])
@pytest.mark.parametrize("damage", [None, b"", b"isthmus 1 torn", "folder"])
def test_either_copy_is_enough_and_mends_the_other(operator: Operator, tmp_path: Path, file: str, damage: bytes | str | None):
    found = joining.enrol(operator.token().text(), tmp_path / "device")
    path = tmp_path / "device" / file
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif isinstance(damage, bytes):
        path.write_bytes(damage)
    assert joining.enrolled(tmp_path / "device") == found
    joining.mend(tmp_path / "device")
    for other in (joining.FILE, joining.COPY):
        assert (tmp_path / "device" / other).is_file()


def test_a_device_gets_new_keys_and_the_old_ones_are_worth_nothing(operator: Operator, tmp_path: Path):
    first = joining.enrol(operator.token().text(), tmp_path / "device")
    token = operator.token()
    assert operator.devices() == {"camera-1": 0}  # until the token is used, the old ones hold
    second = joining.enrol(token.text(), tmp_path / "device")
    operator.settle()
    assert (operator.devices(), second.generation) == ({"camera-1": 1}, 1)
    assert first.report_key != second.report_key
    assert first.secret_key != second.secret_key


def test_a_device_is_not_made_another_one_by_a_token(operator: Operator, tmp_path: Path):
    joining.enrol(operator.token().text(), tmp_path / "device")
    with pytest.raises(RefusedTokenFailure, match=r"this device is camera-1 of fleet cameras, and the token is for camera-2"):
        joining.enrol(operator.token("camera-2").text(), tmp_path / "device")


def test_a_newer_token_replaces_one_that_was_not_used(operator: Operator, tmp_path: Path):
    old, new = operator.token(), operator.token()
    operator.settle()
    assert operator.left() == ["sealed"]
    with pytest.raises(RefusedTokenFailure, match="used already, or withdrawn"):
        joining.enrol(old.text(), tmp_path / "device")
    assert joining.enrol(new.text(), tmp_path / "device").generation == 1


def test_a_token_is_taken_back(operator: Operator, tmp_path: Path):
    token = operator.token()
    assert enrolment.withdraw(operator.place, operator.keyring, FLEET, "camera-1").pending == ()
    assert operator.left() == []
    with pytest.raises(RefusedTokenFailure, match="used already, or withdrawn"):
        joining.enrol(token.text(), tmp_path / "device")
    with pytest.raises(InputError, match="no token of fleet cameras waits"):
        enrolment.withdraw(operator.place, operator.keyring, FLEET, "camera-1")


def test_a_token_that_has_ended_is_forgotten(operator: Operator):
    operator.token(now=datetime.now(UTC) - timedelta(hours=3))
    assert operator.settle().expired == ("camera-1",)
    assert (operator.devices(), operator.left()) == ({}, [])


def test_the_store_ends_a_token_and_not_the_devices_clock(operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    signs = operator.store.signed_url
    monkeypatch.setattr(operator.store, "signed_url", lambda *args, **options: signs(*args, **{**options, "valid_seconds": 1}))
    token = operator.token()
    deadline = patience.Deadline(30)
    while joining.fetched(token.sealed_url, Transport(), 100_000)[0] != 403:
        assert not deadline.over()
    with pytest.raises(RefusedTokenFailure, match="has expired"):
        joining.enrol(token.text(), tmp_path / "device")


def test_a_claim_that_nobody_who_has_the_token_has_written_lets_nobody_in(operator: Operator):
    operator.token()
    (sealed,) = operator.store.list("edge/enrol/")
    for content in (b"", b"x" * 48, b"x" * 1000):
        operator.store.put(sealed.replace(".sealed", ".claim"), content)
        assert operator.settle().joined == ()


def test_rubbish_beside_the_tokens_is_removed_and_a_token_stays(operator: Operator, tmp_path: Path):
    token = operator.token()
    for name in ("abc.sealed", "abc.claim", "rubbish", "a/b"):
        operator.store.put(f"edge/enrol/{name}", b"x")
    operator.settle()
    assert operator.left() == ["sealed"]
    assert joining.enrol(token.text(), tmp_path / "device").device == "camera-1"


@pytest.mark.parametrize("content", [b"", b"<html>sign in</html>", b"isthmus-sealed-1\n" + b"x" * 100, b"x" * 200_000])
def test_something_else_in_place_of_the_sealed_object_is_tried_again(operator: Operator, tmp_path: Path, content: bytes):
    token = operator.token()
    (sealed,) = operator.store.list("edge/enrol/")
    kept = operator.store.get(sealed, max_bytes=100_000)
    operator.store.put(sealed, content)
    with pytest.raises(TransportFailure):
        joining.enrol(token.text(), tmp_path / "device")
    operator.store.put(sealed, kept)
    assert joining.enrol(token.text(), tmp_path / "device").device == "camera-1"


def test_what_is_sealed_says_nothing(operator: Operator):
    operator.token()
    (key,) = operator.store.list("edge/enrol/")
    content = operator.store.get(key, max_bytes=100_000)
    access = derived_access(SECRET, FLEET, Device("camera-1", "small"))
    for told in (b"camera-1", access.secret_key.encode(), access.access_key.encode(), b"signed", b"small"):
        assert told not in content


def test_a_disk_that_takes_nothing_costs_no_token(operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    token = operator.token()
    monkeypatch.setattr(joining.durable, "write_document", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(DeviceFailure, match="No space left"):
        joining.enrol(token.text(), tmp_path / "device")
    monkeypatch.undo()
    assert joining.enrol(token.text(), tmp_path / "device").device == "camera-1"


def test_a_token_of_nobody_is_refused_without_a_request(tmp_path: Path):
    with pytest.raises(RefusedTokenFailure, match="isthmus-enrol-1"):
        joining.enrol("hunter2", tmp_path)


@pytest.mark.parametrize(
    ("wanted", "seconds", "told"),
    [
        (Wanted("a~b", "small"), 3600, "name: "),
        (Wanted("a", "?"), 3600, "class"),
        (Wanted("a", "small", {"site": "\x1b"}), 3600, "label"),
        (Wanted("a", "small"), MOST_SECONDS + 1, "valid for"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_written(operator: Operator, wanted: Wanted, seconds: int, told: str):
    before = operator.store.list("")
    with pytest.raises(InputError, match=told):
        enrolment.issue(
            operator.place,
            operator.keyring,
            FLEET,
            [wanted],
            secret=SECRET,
            access=lambda device: derived_access(SECRET, FLEET, device),
            store=DeviceStore("http://s3.test/", "us-east-1", operator.store),
            valid_seconds=seconds,
        )
    assert operator.store.list("") == before
