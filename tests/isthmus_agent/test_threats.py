"""Every attack on an updater that TUF and Uptane name, against a whole device: real processes, real requests, a store that is hostile.

docs/fleet.md lists them. Each begins with a device that serves content 1, and ends with one that takes an honest release. Where it is
cheap, the same attack is seen to get through to a device that lacks the check, or that knows nothing yet.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner
from tests.fleet_store import Reply
from tests.isthmus_agent.hostile import OTHER_FLEET, Content, Seed, Siege, besieged, seeded
from tests.isthmus_agent.living import FLEET, digest_of
from toolchain.testing import patience

from isthmus.repository.reading import read
from isthmus.repository.refresh import refresh
from isthmus.repository.roles import meta_of
from isthmus_agent.disk import durable, marks
from isthmus_agent.formats.assignment import Wave
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.probation import Probation

pytestmark = pytest.mark.slow
UNTRUSTED, REPLAYED = "untrusted_metadata", "replayed"
FETCH = "could not fetch"
FORGED = 9
NO_SIGNATURES = "import tuf.api.metadata as it; it.Root.verify_delegate = it.Targets.verify_delegate = lambda *a, **b: None"
NO_EXPIRY = "import tuf.api._payload as it; it.Signed.is_expired = lambda *a, **b: False"
HASTY = """
import isthmus_agent.manager.transport as it
it.Patience.__init__.__defaults__ = (3.0, 0.5, 2_000, 3600.0)
for name, value in {"silence_seconds": 3.0, "window_seconds": 0.5, "least_bytes_per_second": 2_000, "deadline_seconds": 3.0}.items():
    object.__setattr__(it.METADATA_PATIENCE, name, value)
"""
"""Tests don't wait for the minute that a device has for metadata."""

EAGER = """
import isthmus_agent.core.turn as it
real = it.Turn.backoff_seconds
it.Turn.backoff_seconds = lambda turn: min(real(turn), 0.2)
"""
"""Nor for what a device waits after many refusals in a row: twice as long each time."""


@pytest.fixture(scope="module")
def seed(content: Content, tmp_path_factory: pytest.TempPathFactory) -> Seed:
    return seeded(tmp_path_factory.mktemp("seed"), content)


@pytest.fixture
def siege(seed: Seed, tmp_path: Path, content: Content) -> Iterator[Siege]:
    with besieged(seed, tmp_path, content) as found:
        found.await_confirmed(1)
        yield found


# Who has no key, another role's key, too few keys, or one that was taken away.


def own_keys(siege: Siege) -> None:
    mine = [CryptoSigner.generate_ed25519()]
    siege.forge(FORGED, {FLEET: mine, "snapshot": mine, "timestamp": mine})


def another_fleets_key(siege: Siege) -> None:
    siege.forge(FORGED, siege.keys(**{FLEET: siege.fleet.keyring.signers(OTHER_FLEET)}))


def the_rosters_key(siege: Siege) -> None:
    siege.forge(FORGED, siege.keys(**{FLEET: siege.fleet.keyring.signers("roster")}))


def the_online_keys(siege: Siege) -> None:
    siege.forge(FORGED, siege.keys(**{FLEET: siege.fleet.keyring.signers("snapshot")}))


def the_fleets_key_alone(siege: Siege) -> None:
    own = siege.fleet.keyring.signers(FLEET)
    siege.forge(FORGED, siege.keys(snapshot=own, timestamp=own))


def test_a_release_that_is_signed_by_the_wrong_keys_is_not_taken(siege: Siege):
    before = siege.seen()
    siege.start_again(weakened=EAGER)
    for sign in (another_fleets_key, the_rosters_key, the_online_keys, the_fleets_key_alone, own_keys):
        siege.play_back(before)
        sign(siege)
        siege.await_refusal(UNTRUSTED)
        siege.holds(1, 1)
    siege.recover()
    siege.goes_on(2)
    own_keys(siege)
    siege.start_again(weakened=NO_SIGNATURES)
    siege.await_confirmed(FORGED)  # it is an attack: a device that verifies nothing takes it


def test_a_key_that_was_revoked_signs_nothing_any_more(siege: Siege):
    old = siege.fleet.keyring.signers(FLEET)
    siege.revoke(FLEET)
    patience.wait_until(lambda: siege.told()["number"] == 2**32)
    siege.forge(FORGED, siege.keys(**{FLEET: old}))
    siege.await_refusal(UNTRUSTED)
    siege.holds(1, 2**32)
    siege.recover()
    siege.goes_on(2)


def test_root_keys_below_the_threshold_make_no_root(siege: Siege):
    signers = siege.fleet.keyring.signers("root")
    assert siege.fleet.keyring.roles["root"].threshold == 2
    too_few, enough = siege.forged_root(signers[:1]), siege.forged_root(signers[:2])
    siege.fleet.http.fault = lambda path, headers: Reply(200, too_few) if path.endswith("/2.root.json") else None
    siege.device.stop()
    siege.fleet.tell(siege.content(2), probation=Probation(0))
    siege.start()  # at its start a device asks for a newer root
    siege.await_refusal(UNTRUSTED)
    siege.holds(1, 1)
    siege.fleet.http.fault = lambda path, headers: Reply(200, enough) if path.endswith("/2.root.json") else None
    siege.await_confirmed(2)  # by as many as it takes, it is one


# Who plays back what was true once.


def test_rollback_of_the_whole_repository(siege: Siege):
    old = siege.seen()
    siege.goes_on(2)
    new = siege.seen()
    siege.play_back(old)
    siege.await_refusal(UNTRUSTED)
    siege.holds(2, 2)
    siege.play_back(new)
    siege.goes_on(3)
    siege.play_back(old)
    siege.start_again(afresh=True)
    siege.await_confirmed(1)  # what protects a device is what it remembers


def test_rollback_of_the_fleets_role_by_stolen_online_keys(siege: Siege):
    first = siege.objects[siege.fleet.place.metadata_key(FLEET, 1)]
    siege.goes_on(2)
    snapshot = read(siege.fleet.place, siege.fleet.keyring.anchor()).snapshot.signed
    meta = {it.removesuffix(".json"): found for it, found in snapshot.meta.items()} | {FLEET: meta_of(1, first)}
    siege.forge_snapshot(meta, siege.keys())
    siege.await_refusal(UNTRUSTED)
    siege.holds(2, 2)
    siege.revoke("snapshot")
    siege.revoke("timestamp")
    siege.fleet.tell(siege.content(2))  # what it was told is out of force: it is told again
    siege.goes_on(3)


def test_an_old_assignment_that_the_fleets_key_signs_anew_is_a_replay(siege: Siege):
    siege.goes_on(2)
    siege.forge(1, siege.keys(), number=1)
    siege.await_refusal(REPLAYED)
    siege.holds(2, 2)
    siege.revoke(FLEET)
    siege.goes_on(3)


def test_another_content_under_the_number_in_force_is_not_taken(siege: Siege):
    siege.forge(FORGED, siege.keys(), number=1)
    siege.await_refusal("conflicting_assignment", of="release 1 was not believed", since=-1)  # once: then the store has no news
    siege.holds(1, 1)
    siege.goes_on(2)


def test_replay_after_the_marks_and_the_cache_are_lost(siege: Siege):
    old = siege.seen()
    siege.goes_on(2)
    siege.device.stop()
    for name in (*marks.NAMES, "metadata"):
        durable.remove(siege.device.state / name)
    siege.play_back(old)
    siege.start()
    siege.await_refusal(REPLAYED)
    assert siege.told()["number"] == 2  # witnessed beside the marks
    siege.goes_on(3)


def test_replay_of_what_is_long_over_after_all_that_knew_the_number_is_lost(siege: Siege):
    siege.device.stop()
    siege.forge(2, siege.keys(), now=datetime.now(UTC) - timedelta(days=10))
    old = siege.seen()
    for entry in siege.device.state.iterdir():
        if entry.name != "slots":
            durable.remove(entry)
    for entry in (siege.device.state / "slots").iterdir():
        if len(entry.name) != 64:
            durable.remove(entry)
    siege.start()
    siege.await_refusal(UNTRUSTED)
    siege.holds(1, 0)
    siege.goes_on(3)
    siege.play_back(old)
    siege.start_again(afresh=True)
    siege.await_confirmed(2)  # a device that is new has nothing to compare with but the store's word


# Who holds back what is new.


def test_freeze_is_seen_once_the_timestamp_is_over_by_the_devices_own_reckoning(siege: Siege):
    current = read(siege.fleet.place, siege.fleet.keyring.anchor())
    meta, at = current.timestamp.signed.snapshot_meta, current.timestamp.signed.version + 1
    siege.forge_timestamp(at, meta, siege.keys(), now=datetime.now(UTC), lasts=timedelta(seconds=3))
    siege.await_refusal(UNTRUSTED)  # nothing new came for three seconds
    assert any("expired" in it["what"] for it in siege.told()["events"])
    siege.holds(1, 1)
    refresh(siege.fleet.place, siege.fleet.keyring)
    siege.goes_on(2)


@pytest.mark.parametrize("weakened", ["", NO_EXPIRY], ids=["device", "device that knows no expiry"])
def test_freeze_at_what_is_over_by_the_time_that_was_proven_is_seen_by_a_device_without_a_clock(siege: Siege, weakened: str):
    old, later = siege.seen(), datetime.now(UTC) + timedelta(days=10)
    refresh(siege.fleet.place, siege.fleet.keyring, now=later)
    patience.wait_until(lambda: siege.told()["time_floor"] >= int(later.timestamp()))
    siege.device.stop()
    durable.remove(siege.device.state / "metadata")  # what TUF would know it by
    new = siege.seen()
    siege.play_back(old)
    siege.start(weakened=weakened)
    if weakened:
        patience.wait_until(lambda: siege.told()["wanted"], 60.0)
        return
    siege.await_refusal("expired")
    siege.holds(1, 1)
    siege.play_back(new)
    patience.wait_until(lambda: siege.told()["wanted"], 60.0)


# Who puts together what does not belong together.


@pytest.mark.parametrize("role", [FLEET, "snapshot"])
def test_mix_and_match(siege: Siege, role: str):
    place = siege.fleet.place
    current = read(place, siege.fleet.keyring.anchor())
    version = current.snapshot.signed.version if role == "snapshot" else current.version_of(role)
    old, next_ = siege.objects[place.metadata_key(role, version)], place.metadata_key(role, version + 1)
    siege.fleet.http.fault = lambda path, headers: Reply(200, old) if path == next_ else None
    siege.fleet.tell(siege.content(2))
    siege.await_refusal(UNTRUSTED)
    siege.holds(1, 1)
    siege.fleet.http.fault = lambda path, headers: None
    siege.await_confirmed(2)


@pytest.mark.parametrize("ending", [".bundle", ".delta"])
def test_a_file_that_is_not_what_was_signed_is_not_installed(siege: Siege, ending: str):
    def changed(path: str, _: object) -> Reply | None:
        return Reply(200, siege.objects[path][:-1] + b"?") if path.endswith(ending) else None

    siege.fleet.http.fault = changed
    siege.fleet.tell(siege.content(2), old=siege.content(1) if ending == ".delta" else None)
    siege.await_refusal("wrong_bytes", of=FETCH)
    siege.holds(1, 2)
    siege.fleet.http.fault = lambda path, headers: None
    siege.await_confirmed(2)


# Who counts ahead, so that nothing honest comes after.


def test_fast_forward_of_the_fleets_numbers_ends_with_its_epoch(siege: Siege):
    siege.forge(FORGED, siege.keys(), number=2**32)
    siege.await_refusal(UNTRUSTED)  # beyond what the fleet's key may give
    siege.holds(1, 1)
    siege.forge(FORGED, siege.keys(), number=2**32 - 1)
    siege.await_confirmed(FORGED)  # with all its keys a fleet is its thief's
    siege.revoke(FLEET)
    siege.goes_on(2)
    siege.holds(2, 2**32 + 1)


def test_fast_forward_of_versions_and_of_time_by_a_stolen_timestamp_key_ends_with_that_key(siege: Siege):
    meta = read(siege.fleet.place, siege.fleet.keyring.anchor()).timestamp.signed.snapshot_meta
    siege.forge_timestamp(2**31 - 2, meta, siege.keys(), now=datetime.now(UTC) + timedelta(days=3000))
    patience.wait_until(lambda: siege.told()["time_floor"] > time.time() + 86_400)
    siege.revoke("timestamp")
    siege.goes_on(2)
    assert siege.told()["time_floor"] < time.time() + 86_400


# Who wants the device to choke, or to wait.


def test_endless_metadata_is_read_to_its_bound_and_no_further(siege: Siege):
    for version, name in enumerate(("timestamp.json", ".snapshot.json", f".{FLEET}.json", "2.root.json"), 2):
        sent: list[int] = []
        siege.fleet.http.fault = lambda path, headers, name=name, sent=sent: (
            Reply(200, b"{", endless=True, sent=sent) if path.endswith(name) else None
        )
        siege.device.stop()
        siege.fleet.tell(siege.content(version), probation=Probation(0))
        siege.start()  # at its start it asks for all of them
        siege.await_refusal("")
        siege.holds(version - 1, version - 1)
        assert sent
        assert max(sent) < 16 << 20  # what the kernel holds for a reader that has gone is among it
        siege.fleet.http.fault = lambda path, headers: None
        siege.await_confirmed(version)
    assert siege.device.process is not None
    status = Path(f"/proc/{siege.device.process.pid}/status").read_text()
    assert int(status.partition("VmHWM:")[2].split()[0]) < 64 << 10


def test_an_endless_bundle_is_read_to_its_signed_length(siege: Siege):
    sent: list[int] = []
    siege.fleet.http.fault = lambda path, headers: Reply(200, b"", endless=True, sent=sent) if path.endswith(".bundle") else None
    siege.fleet.tell(siege.content(2))
    siege.await_refusal("wrong_bytes", of=FETCH)
    siege.holds(1, 2)
    assert max(sent) < 16 << 20
    siege.fleet.http.fault = lambda path, headers: None
    siege.await_confirmed(2)


@pytest.mark.parametrize(("name", "of"), [("timestamp.json", "the store could not be asked"), (".bundle", FETCH)])
def test_slow_retrieval(siege: Siege, name: str, of: str):
    siege.start_again(weakened=HASTY)
    siege.await_confirmed(1)

    def trickle(path: str, headers: object) -> Reply | None:
        return Reply(200, siege.objects[path], trickle_seconds=0.02) if path.endswith(name) else None

    siege.fleet.http.fault = trickle
    number = siege.told()["number"]
    siege.fleet.tell(siege.content(2))
    siege.await_refusal("too_slow", of=of)
    siege.holds(1, number + (name == ".bundle"))
    siege.fleet.http.fault = lambda path, headers: None
    siege.await_confirmed(2)


# Who has something signed, for others.


def test_an_assignment_of_another_fleet_is_none_of_this_one(siege: Siege):
    siege.forge(FORGED, siege.keys(), name=OTHER_FLEET)
    siege.await_refusal(UNTRUSTED)
    siege.holds(1, 1)
    siege.revoke(FLEET)
    siege.goes_on(2)


def test_a_release_for_other_devices_or_another_class_changes_nothing_here(siege: Siege):
    number = siege.forge(FORGED, siege.keys(), waves=(Wave("theirs", 0, devices=("camera-2",)),))
    patience.wait_until(lambda: siege.told()["number"] == number)
    siege.holds(1, number)
    before = len(siege.fleet.http.requests)
    variant = Variant("large", digest_of(siege.content(FORGED)), siege.bundle_of(FORGED), 1)
    number = siege.forge(FORGED, siege.keys(), variants=(variant,))
    patience.wait_until(lambda: siege.told()["phase"] == "blocked")
    siege.holds(1, number)
    assert not any(path.endswith(".bundle") for path in siege.fleet.http.paths[before:])
    siege.goes_on(2)
