"""What an update costs, and what a device keeps of it."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import CryptoSigner
from tests.fleet_sayings import FLEET, path_of, telling
from tests.fleet_store import Reply, Served
from tests.isthmus_agent.manager.conftest import BUNDLE
from tests.repository.devices import PREFIX, Device

from isthmus.repository import ceremony
from isthmus.repository.ceremony import WantedKey
from isthmus.repository.keyring import Keyring
from isthmus.repository.objects import Place
from isthmus.repository.publish import publish, publish_roster
from isthmus_agent.manager.failures import DeviceFailure, ReplayFailure, TransportFailure, UntrustedFailure
from isthmus_agent.manager.repository import QUIET_SECONDS, ROOT_SECONDS, Address, Floor, Repository
from isthmus_agent.manager.signing_v4 import Credentials, StoreClock, signed_url
from isthmus_agent.manager.transport import Transport

NEXT = b"the next bundle"
KEYS = Credentials("AKIDEXAMPLE", "a secret")


def tell(place: Place, keyring: Keyring, content: bytes = NEXT) -> None:
    publish(place, keyring, FLEET, telling(content), {path_of(content): content})


def test_an_idle_look_is_one_conditional_request(http: Served, device: Device):
    assert device.poll() is not None
    http.requests.clear()
    assert device.poll() is None
    ((method, path, headers),) = http.requests
    assert (method, path) == ("GET", "edge/metadata/timestamp.json")
    assert headers["if-none-match"]


def test_an_update_is_five_requests_with_its_report(http: Served, place: Place, keyring: Keyring, device: Device, tmp_path: Path):
    device.poll()
    tell(place, keyring)
    http.requests.clear()
    found = device.poll()
    assert found is not None
    assert found.assignment is not None
    assert found.assignment.number == 2
    device.repository.download(path_of(NEXT), tmp_path / "part")
    assert (tmp_path / "part").read_bytes() == NEXT
    assert [path.partition("/")[2].partition("/")[2] for path in http.paths[:3]] == [
        "timestamp.json",
        "3.snapshot.json",
        "2.cameras.json",
    ]
    assert len(http.requests) == 4
    assert Transport().put(f"{http.url}edge/health/2/camera~confirmed~x~y") == 200
    assert len(http.requests) == 5
    assert http.store.objects["edge/health/2/camera~confirmed~x~y"] == b""


def test_another_fleets_news_and_the_roster_cost_one_request_more_than_idle(http: Served, place: Place, keyring: Keyring, device: Device):
    device.poll()
    publish_roster(place, keyring, b"{}")
    http.requests.clear()
    device.poll()
    assert len(http.requests) == 2


def test_a_fleet_that_was_told_nothing_yet_is_told_nothing(http: Served, keyring: Keyring, tmp_path: Path):
    root = keyring.root_at(1)
    assert root is not None
    found = Repository(Address(http.url + PREFIX, "doors"), tmp_path / "doors", root, Transport()).poll(Floor(int(time.time())))
    assert found is not None
    assert found.assignment is None


def test_the_time_floor_rises_to_when_the_timestamp_was_signed(device: Device):
    device.floor = Floor(0)
    device.poll()
    assert time.time() - 3600 < device.floor.time_seconds <= time.time()


def test_a_fleet_that_the_repository_does_not_know_is_none(http: Served, keyring: Keyring, tmp_path: Path):
    root = keyring.root_at(1)
    assert root is not None
    repository = Repository(Address(http.url + PREFIX, "gates"), tmp_path / "gates", root, Transport())
    found = repository.poll(Floor(int(time.time())))
    assert found is not None
    assert found.assignment is None
    with pytest.raises(UntrustedFailure):
        repository.target(path_of(BUNDLE))


@pytest.mark.parametrize("hidden", [{"etag"}, {"date"}, {"etag", "date", "last-modified"}])
def test_headers_that_are_not_sent_are_not_needed(http: Served, place: Place, keyring: Keyring, device: Device, hidden: set[str]):
    http.hidden = frozenset(hidden)
    assert device.poll() is not None
    http.requests.clear()
    assert device.poll() is None
    assert len(http.requests) == 1
    tell(place, keyring)
    assert device.poll() is not None


@pytest.mark.parametrize("tag", ["", '"x"', "x" * 5000, 'W/"weak"', '"other"'])
def test_an_odd_tag_is_no_harm(http: Served, place: Place, keyring: Keyring, device: Device, tag: str):
    def odd(path: str, headers: dict[str, str]) -> Reply | None:
        body = http.store.objects.get(path)
        return Reply(200, body, {"ETag": tag}) if body is not None else None

    http.fault = odd
    assert device.poll() is not None
    assert device.poll() is None
    tell(place, keyring)
    assert device.poll() is not None


@pytest.mark.parametrize("dates", [("Sun, 29 Nov 2026 08:00:00 GMT",) * 2, ("nonsense",), ()])
def test_an_odd_date_is_no_harm(http: Served, device: Device, dates: tuple[str, ...]):
    http.dates = dates
    assert device.poll() is not None


@pytest.mark.parametrize("wrong_by_seconds", [-1200, 1200, -1.7e9, 2.3e9])
def test_a_device_whose_clock_is_wrong_signs_with_the_stores_time(http: Served, keyring: Keyring, tmp_path: Path, wrong_by_seconds: float):
    def check(method: str, target: str, headers: dict[str, str]) -> int:
        stamp = parse_qs(urlsplit(target).query)["X-Amz-Date"][0]
        url = f"http://{headers['host']}{target.partition('?')[0]}"
        said = time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.timezone
        fresh = abs(said - time.time()) < 900
        return 0 if fresh and signed_url(method, url, KEYS, said).endswith(target.rpartition("=")[2]) else 403

    http.checks = check
    root = keyring.root_at(1)
    assert root is not None
    clock = StoreClock(wall=lambda: time.time() + wrong_by_seconds)
    repository = Repository(Address(http.url + PREFIX, FLEET), tmp_path / "device", root, Transport(KEYS, clock=clock))
    found = repository.poll(Floor(0))
    assert found is not None
    # One refusal teaches it the time; a root that is not there costs none.
    assert len(http.requests) == 6
    http.requests.clear()
    assert repository.poll(found.floor) is None
    assert len(http.requests) == 1


def test_wrong_credentials_are_a_failure_of_the_way_and_asked_once(http: Served, keyring: Keyring, tmp_path: Path):
    http.checks = lambda method, target, headers: 403
    root = keyring.root_at(1)
    assert root is not None
    repository = Repository(Address(http.url + PREFIX, FLEET), tmp_path / "device", root, Transport(KEYS))
    with pytest.raises(TransportFailure, match="403"):
        repository.poll(Floor(0))
    assert len(http.requests) == 1


def test_a_new_root_that_the_timestamp_does_not_name_is_found_within_an_hour(http: Served, place: Place, keyring: Keyring, tmp_path: Path):
    root, now = keyring.root_at(1), [0.0]
    assert root is not None
    address, floor = Address(http.url + PREFIX, FLEET), Floor(int(time.time()))
    repository = Repository(address, tmp_path / "device", root, Transport(), monotonic=lambda: now[0])
    assert repository.poll(floor) is not None
    old = http.store.objects[place.timestamp_key]
    ceremony.rotate(place, keyring, "root")
    http.store.put(place.timestamp_key, old)
    found = []
    for now[0] in (1.0, ROOT_SECONDS - 1, ROOT_SECONDS + 1, ROOT_SECONDS + 2):
        http.requests.clear()
        found.append((repository.poll(floor), len(http.requests)))
    assert [it and it.floor.root for it, _ in found] == [None, None, 2, None]
    assert [count for _, count in found] == [1, 1, 4, 1]  # asked for, fetched, and the next one asked for


def test_the_hourly_question_is_put_off_by_news_which_costs_an_update_nothing_but_not_for_ever(
    http: Served, place: Place, keyring: Keyring, tmp_path: Path
):
    root, now = keyring.root_at(1), [0.0]
    assert root is not None
    repository = Repository(Address(http.url + PREFIX, FLEET), tmp_path / "device", root, Transport(), monotonic=lambda: now[0])
    floor = Floor(int(time.time()))

    def asked(after_seconds: float, news: bytes = b"") -> tuple[int, bool]:
        now[0] += after_seconds
        if news:
            tell(place, keyring, news)
        http.requests.clear()
        assert (repository.poll(floor) is not None) is bool(news)
        return len(http.requests), f"{PREFIX}metadata/2.root.json" in http.paths

    assert asked(0, b"1") == (5, True)  # its first look
    assert [asked(ROOT_SECONDS + 1, b"2"), asked(1), asked(QUIET_SECONDS + 1)] == [(3, False), (1, False), (2, True)]
    looks = [asked(ROOT_SECONDS + 1, b"3"), asked(1, b"4"), asked(1, b"5"), asked(1, b"6"), asked(1, b"7")]
    assert looks == [(3, False), (3, False), (3, False), (4, True), (3, False)]


def test_keys_that_services_and_tokens_make_are_verified_without_a_library(
    http: Served, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given: dict[str, list[WantedKey]] = {}
    for role, curve in (("root", ec.SECP384R1()), ("timestamp", ec.SECP256R1())):
        path = tmp_path / f"{role}.pem"
        path.write_bytes(CryptoSigner(ec.generate_private_key(curve)).private_bytes)
        path.chmod(0o600)
        given[role] = [WantedKey(f"file:{path}")]
    keyring = ceremony.init(tmp_path / "keys", [FLEET], threshold=1, given=given)
    ceremony.found(place, keyring)
    tell(place, keyring)
    device = Device(http, keyring, tmp_path / "device")
    with monkeypatch.context() as patched:
        patched.setattr("securesystemslib.signer._key.CRYPTO_IMPORT_ERROR", "there is none")
        assert device.poll() is not None
    http.store.objects[place.timestamp_key] = http.store.objects[place.timestamp_key].replace(b'"version":2', b'"version":3')
    with pytest.raises(UntrustedFailure, match="timestamp was signed by 0/1"):
        device.poll()


def test_what_no_known_root_vouches_for_is_asked_about_at_once(http: Served, place: Place, keyring: Keyring, device: Device):
    device.poll()
    ceremony.revoke(place, keyring, keyring.roles["snapshot"].keys[0].public.keyid)
    http.requests.clear()
    assert device.poll() is not None
    assert device.floor.root == 2
    assert len(http.requests) == 4  # timestamp, the root, the one after it, snapshot


def test_a_new_root_is_found_and_kept(http: Served, place: Place, keyring: Keyring, device: Device):
    device.poll()
    keyring = ceremony.rotate(place, keyring, "root")
    ceremony.rotate(place, keyring, "timestamp")
    assert device.poll() is not None
    assert device.floor.root == 3


def _missing(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("x")


def _loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": _missing,
    "empty": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:50]),
    "a folder": _folder,
    "a link to itself": _loop,
}
KEPT = ("root.json", "timestamp.json", "snapshot.json", "targets.json", "cameras.json", "seen", "root_history/1.root.json")


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damage_to_the_cache_needs_a_visit(place: Place, keyring: Keyring, device: Device, name: str, damage: str):
    device.poll()
    DAMAGES[damage](device.folder / name)
    device.poll()
    tell(place, keyring)
    found = device.poll()
    assert found is not None
    assert found.assignment is not None
    assert found.assignment.number == 2


@pytest.mark.parametrize("what", ["file", "dangling link"])
def test_a_cache_that_is_no_folder_is_made_one(device: Device, what: str):
    if what == "file":
        device.folder.write_text("x")
    else:
        device.folder.symlink_to("nowhere")
    assert device.poll() is not None


def test_zeros_after_a_power_cut_accept_no_replay(http: Served, place: Place, keyring: Keyring, device: Device):
    old = dict(http.store.objects)
    tell(place, keyring)
    device.poll()
    for name in KEPT:
        DAMAGES["zeros"](device.folder / name)
    http.store.objects.clear()
    http.store.objects.update(old)
    with pytest.raises(ReplayFailure):
        device.poll()


def test_what_is_kept_is_on_the_disk_before_it_has_its_name(
    place: Place, keyring: Keyring, device: Device, monkeypatch: pytest.MonkeyPatch
):
    done: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def name_of(number: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{number}")).name

    monkeypatch.setattr(os, "fsync", lambda number: (done.append(f"sync {name_of(number)}"), real_sync(number))[1])
    monkeypatch.setattr(os, "replace", lambda path, to: (done.append(f"name {Path(to).name}"), real_replace(path, to))[1])
    device.poll()
    for name in ("timestamp.json", "snapshot.json", "targets.json", "cameras.json", "seen"):
        at = done.index(f"name {name}")
        assert done[at - 1 : at + 2] == [f"sync {name}.new", f"name {name}", f"sync {device.folder.name}"]


def test_a_full_disk_is_the_devices_failure_and_over_when_it_is_over(device: Device, monkeypatch: pytest.MonkeyPatch):
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DeviceFailure, match="No space left"):
            device.poll()
    assert device.poll() is not None
