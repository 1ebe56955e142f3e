"""Reading what devices say: forged, cloned, garbled and repeated reports, a store that fails, and a device that floods the listing."""

import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.fleet_sayings import FLEET

from isthmus.errors import StoreError
from isthmus.fleet.gates import Gate
from isthmus.fleet.judging import tally
from isthmus.release.store import ListedObject, Page, RefusedCredentialsError, Store
from isthmus.repository import reports
from isthmus.repository.reports import Asked, Look, look
from isthmus_agent.core import state as core
from isthmus_agent.formats import report
from isthmus_agent.formats.report import Figures, Outcome, Reason, Report
from isthmus_agent.formats.roster import Device, Roster

SECRET = b"s" * 32
DIGEST = "ab" * 8
ROSTER = Roster(FLEET, tuple(Device(f"camera-{number}", "small", {}, number) for number in range(4)))
ASKED = Asked(FLEET, 17, ROSTER, SECRET, [f"sha256:{DIGEST}{'0' * 48}"], heartbeat_seconds=60.0)
SOUND = Report("camera-1", 17, Outcome.CONFIRMED, DIGEST, figures=Figures(boots=3, boot_mark=7, sequence=5, outcome_seconds=100))
CAMERA_2 = replace(SOUND, device="camera-2")


class Listed:
    """A listing in memory. failures: raised by the next requests, one each."""

    def __init__(self, ages: dict[str, float], size: int = 1000) -> None:
        self.keys = sorted(ages)
        self.ages = ages
        self.size = size
        self.failures: list[StoreError] = []
        self.returned = 0

    def page(self, prefix: str, *, after: str = "") -> Page:
        if self.failures:
            raise self.failures.pop()
        found = [key for key in self.keys if key.startswith(prefix) and key > after]
        self.returned += len(found[: self.size])
        return Page(tuple(ListedObject(key, self.ages[key]) for key in found[: self.size]), len(found) <= self.size)


def said(it: Report, fleet: str = FLEET, secret: bytes = SECRET, generation: int | None = None) -> str:
    number = int(it.device.rpartition("-")[2]) if generation is None else generation
    return it.object_key("edge/", fleet, report.device_key(secret, fleet, it.device, number))


def looked(*spoken: tuple[str, float], before: Look | None = None, asked: Asked = ASKED) -> Look:
    return look(Listed(dict(spoken)), "edge/", asked, before=before)


def started(boots: int, mark: int, sequence: int = 1, **changes: object) -> Report:
    return replace(SOUND, figures=Figures(boots=boots, boot_mark=mark, sequence=sequence), **changes)


def test_what_a_device_says_is_what_a_gate_counts():
    found = looked(
        (said(SOUND), 20.0), (said(replace(SOUND, device="camera-2", outcome=Outcome.UNFIT, reason=Reason.CRASHED, text="SIGFPE")), 9.0)
    )
    assert found.reports["camera-1"].seconds == 120
    assert (found.dropped, found.unclear, found.requests) == ({}, {}, 1)
    counted = tally(["camera-0", "camera-1", "camera-2"], found.reports, Gate(soak_seconds=120), found.unclear)
    assert (counted.confirmed, counted.failed, counted.silent) == (("camera-1",), {"camera-2": "crashed: SIGFPE"}, ("camera-0",))


def test_what_did_not_come_from_the_device_it_names_is_dropped_and_counted():
    flipped = said(SOUND)[:-1] + ("A" if said(SOUND)[-1] != "A" else "Q")
    keys = {
        reports.FORGED: [said(SOUND, secret=b"t" * 32), said(SOUND, generation=2), said(SOUND, fleet="doors"), flipped],
        reports.REVOKED_KEY: [said(SOUND, generation=0)],
        reports.UNKNOWN_DEVICE: [said(replace(SOUND, device="camera-9")), said(replace(SOUND, device="stranger-1"))],
        reports.GARBLED: [
            "edge/health/17/camera-1",
            "edge/health/17/x/y",
            "edge/health/17/camera-1~confirmed~AA~AA",
            "edge/health/17/\x1b[2J~a",
        ],
        reports.ANOTHER_RELEASE: [said(replace(CAMERA_2, digest="cd" * 8)), said(replace(CAMERA_2, digest="", outcome=Outcome.UNFIT))],
    }
    found = looked(*((key, 1.0) for many in keys.values() for key in many))
    assert found.reports == {}
    assert found.dropped == {why: len(many) for why, many in keys.items()}
    assert (found.unclear, len(found.examples)) == ({}, 5)


def test_a_forger_neither_hides_nor_changes_what_the_device_says():
    """Case 08: a device reported for others."""
    other = replace(SOUND, outcome=Outcome.ROLLED_BACK, figures=Figures(boots=99, boot_mark=1, sequence=99))
    found = looked((said(SOUND), 20.0), (said(other, generation=2), 1.0))
    assert found.reports["camera-1"].outcome is Outcome.CONFIRMED
    assert found.unclear == {}


def test_a_report_about_another_number_is_not_read():
    assert looked((said(replace(SOUND, number=16)), 1.0), (said(replace(SOUND, number=170)), 1.0)).requests == 1
    assert looked((said(replace(SOUND, number=170)), 1.0)).reports == {}


def test_a_device_that_does_not_know_its_content_yet_may_say_so():
    found = looked((said(replace(SOUND, digest="", outcome=Outcome.BLOCKED, reason=Reason.DISK_FULL)), 1.0))
    assert found.reports["camera-1"].reason == "disk full"


def test_a_device_is_waited_for_as_long_as_it_may_be_silent_without_a_configuration():
    assert Asked(FLEET, 17, ROSTER, SECRET).overdue_seconds == reports.MISSED_HEARTBEATS * core.Settings().heartbeat_seconds


@pytest.mark.parametrize(("age_seconds", "is_overdue"), [(0.0, False), (180.0, False), (181.0, True), (1e12, True)])
def test_how_long_a_device_may_be_silent_is_not_the_devices_to_say(age_seconds: float, is_overdue: bool):
    """Case 08: a heartbeat of `Infinity` seconds was never overdue."""
    (found,) = looked((said(SOUND), age_seconds)).reports.values()
    assert found.is_overdue is is_overdue


def test_no_key_of_a_listing_can_send_escape_sequences_to_a_terminal():
    """Case 08: they reached the operator's."""
    evil = "\x1b[2J\x1b]0;owned\x07\r\n" + "A" * 200
    with pytest.raises(ValueError, match="printable"):
        said(replace(SOUND, text=evil))
    found = looked((f"edge/health/17/camera-1~unfit~{evil}~AAAA", 1.0), (f"edge/health/17/{evil}", 1.0), ("edge/health/17/é\x9b2J", 1.0))
    assert found.dropped == {reports.GARBLED: 3}
    assert all(" " <= character <= "~" or character == "…" for it in found.examples for character in it)
    assert max(len(it) for it in found.examples) < 200


def test_of_a_device_that_was_killed_between_writing_and_deleting_the_newer_counts():
    older, newer = started(3, 7, 5, outcome=Outcome.UPDATING), started(3, 7, 6)
    for ages in ((30.0, 10.0), (10.0, 10.0)):
        found = looked((said(older), ages[0]), (said(newer), ages[1]))
        assert (found.reports["camera-1"].outcome, found.unclear) == (Outcome.CONFIRMED, {})
    after_restart = looked((said(older), 300.0), (said(started(4, 8)), 10.0))
    assert (after_restart.reports["camera-1"].outcome, after_restart.unclear) == (Outcome.CONFIRMED, {})


def test_a_device_that_cannot_count_its_starts_is_no_clone():
    older, newer = started(3, 7, 50, outcome=Outcome.UPDATING), started(3, 8, 1)
    found = looked((said(older), 300.0), (said(newer), 10.0))
    assert (found.reports["camera-1"].outcome, found.unclear) == (Outcome.CONFIRMED, {})


@pytest.mark.parametrize(
    ("one", "other", "ages"),
    [
        *((started(3, 7), started(3, 8), (10.0, 50.0)), (started(3, 7), started(4, 8), (10.0, 50.0))),  # both speak
        *((started(3, 7), started(9, 8), (50.0, 10.0)), (started(3, 7), started(9, 8), (1000.0, 2000.0))),  # the earlier start last
    ],
)
def test_one_identity_on_two_devices_is_unclear(one: Report, other: Report, ages: tuple[float, float]):
    """Case 08: of a copied memory card, whichever wrote last was believed."""
    found = looked((said(one), ages[0]), (said(other), ages[1]))
    assert list(found.unclear) == ["camera-1"]
    assert "one identity on two devices" in found.unclear["camera-1"]
    counted = tally(["camera-1"], found.reports, Gate(soak_seconds=0), found.unclear)
    assert (counted.unclear, counted.confirmed, counted.failed) == (("camera-1",), (), {})


@pytest.mark.parametrize(("then", "now"), [(started(9, 1), started(8, 2)), (started(3, 7, 9), started(3, 7, 8))])
def test_a_device_that_goes_back_between_two_looks_is_unclear_from_then_on(then: Report, now: Report):
    first = looked((said(then), 1.0))
    second = looked((said(now), 1.0), before=first)
    assert "went back" in second.unclear["camera-1"]
    assert looked((said(now), 1.0), before=second).unclear == second.unclear
    assert looked((said(started(10, 3)), 1.0), before=first).unclear == {}


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_keys_and_the_size_of_the_pages_change_nothing(seed: int):
    drawn = random.Random(seed)  # noqa: S311
    keys = {
        said(replace(started(boots, mark), device=f"camera-{number}")): drawn.uniform(0, 400.0)
        for number in range(4)
        for boots, mark in ((1, 2), (2, 3))
    }
    whole = look(Listed(keys), "edge/", ASKED)
    parts = look(Listed(keys, 3), "edge/", ASKED)
    assert (parts.reports, parts.unclear) == (whole.reports, whole.unclear)
    assert parts.requests == 3


def test_a_device_that_floods_the_listing_hides_nobody_and_costs_a_request():
    flood = {f"edge/health/17/camera-1~{number:06}": 1.0 for number in range(100_000)}
    listing = Listed(flood | {said(CAMERA_2): 1.0})
    found = look(listing, "edge/", ASKED)
    assert (found.requests, listing.returned) == (2, 1001)
    assert (list(found.reports), found.flooding, list(found.unclear)) == (["camera-2"], ("camera-1",), ["camera-1"])


def test_a_store_that_fails_for_a_while_ends_nothing():
    """Case 08: three 503 in a row ended a rollout."""
    clock = [0.0]

    def wait(seconds: float) -> None:
        assert seconds <= 5
        clock[0] += seconds

    listing = Listed({said(SOUND): 1.0})
    listing.failures = [StoreError("answers SlowDown")] * 12
    found = look(listing, "edge/", ASKED, patience_seconds=60, wait=wait, now=lambda: clock[0])
    assert (list(found.reports), found.requests) == (["camera-1"], 13)
    listing.failures = [StoreError("answers SlowDown")] * 1000
    begun = clock[0]
    with pytest.raises(StoreError, match="SlowDown"):
        look(listing, "edge/", ASKED, patience_seconds=60, wait=wait, now=lambda: clock[0])
    assert clock[0] - begun == pytest.approx(60)


def test_credentials_that_the_store_refuses_are_told_at_once():
    listing = Listed({})
    listing.failures = [RefusedCredentialsError("refuses")]
    with pytest.raises(RefusedCredentialsError):
        look(listing, "edge/", ASKED)


@pytest.fixture
def store_name(store_server: Any) -> Iterator[str]:
    store = Store(store_server.address, f"bucket-{uuid.uuid4().hex[:12]}")
    store.ensure_bucket()
    yield store.bucket
    store.delete_bucket()


def test_a_real_store_lists_a_thousand_a_request_and_says_how_old_they_are(store_server: Any, store_name: str):
    store = Store(store_server.address, store_name)
    for number in range(1003):  # one device, of which there are too many
        store.put(f"edge/health/17/camera-1~{number:04}", b"")
    store.put(said(CAMERA_2), b"")
    found = look(store, "edge/", ASKED)
    assert (found.requests, list(found.reports)) == (2, ["camera-2"])
    assert 0 <= found.reports["camera-2"].age_seconds < 60
