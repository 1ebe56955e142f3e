"""Whole devices: real processes, a real repository over HTTP, real models."""

import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.fleet_store import Reply
from tests.isthmus_agent.living import FLEET, ROWS, SECRET, Fleet, Living, digest_of
from toolchain.testing import patience

from isthmus.release import deltas
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Reason
from isthmus_agent.formats.sealed_contents import content_key
from isthmus_agent.formats.window import Window

Content = Callable[..., bytes]
pytestmark = pytest.mark.slow


def test_a_device_goes_from_nothing_to_serving_what_nobody_else_can_read_and_reports_it(fleet: Fleet, device: Living, content: Content):
    key, stored = content_key(SECRET, FLEET), deltas.make(b"", content(1))
    number = fleet.tell(content(1), key=key)
    device.start()
    report = fleet.await_outcome(number, "blocked")
    assert (report.reason, report.text[-22:]) == (Reason.CONTENT_KEY, "enrol the device again")
    assert device.stop() == 0
    device.changes["content_key"] = key.hex()
    device.start()
    report = fleet.await_outcome(number, "confirmed")
    assert device.served() == digest_of(content(1))
    assert len(device.predict()) == len(ROWS)
    assert (report.digest, report.figures.boots) == (digest_of(content(1))[7:23], 2)
    assert not pieces_in_store(fleet, stored)
    fleet.tell(content(1))
    assert pieces_in_store(fleet, stored), "the look finds what is stored plain"


def pieces_in_store(fleet: Fleet, stored: bytes) -> list[bytes]:
    """16 bytes each, of a bundle as it would lie in the store if it were plain, that are in any object of it."""
    objects = list(fleet.store.objects.values())
    return [piece for at in range(len(stored) - 15) if any((piece := stored[at : at + 16]) in it for it in objects)]


def test_an_update_comes_by_a_delta_and_takes_over_without_a_gap(fleet: Fleet, confirmed: Living, content: Content):
    number = fleet.tell(content(2), old=content(1))
    while fleet.outcome(number) != "confirmed":
        assert isinstance(confirmed.predict(), list)
    assert confirmed.served() == digest_of(content(2))
    assert any(path.endswith(".delta") for path in fleet.http.paths)


def test_a_release_that_fails_its_test_is_refused_and_the_old_one_serves_on(fleet: Fleet, confirmed: Living, content: Content):
    number = fleet.tell(content(2, is_fit=False))
    report = fleet.await_outcome(number, "unfit")
    assert report.reason is Reason.SELF_TEST_FAILED
    assert "golden" in report.text
    assert confirmed.served() == digest_of(content(1))


def test_predictions_that_move_further_than_they_may_take_the_device_back(fleet: Fleet, confirmed: Living, content: Content):
    number = fleet.tell(content(9), probation=Probation(1, max_distribution_distance_millionths=10))
    report = fleet.await_outcome(number, "rolled_back")
    assert report.reason is Reason.PREDICTIONS_MOVED
    confirmed.await_served(content(1))
    number = fleet.tell(content(8), probation=Probation(1, max_distribution_distance_millionths=500_000))
    report = fleet.await_outcome(number, "confirmed")
    assert 10 < (report.figures.distribution_distance_millionths or 0) < 500_000


def test_the_manager_knows_no_numbers_by_the_array_and_no_interpreter_and_is_small(fleet: Fleet, confirmed: Living, content: Content):
    fleet.await_outcome(fleet.tell(content(2), old=content(1)), "confirmed")
    assert confirmed.process is not None
    maps = Path(f"/proc/{confirmed.process.pid}/maps").read_text()
    assert "python" in maps
    assert "numpy" not in maps
    assert "litert" not in maps
    status = Path(f"/proc/{confirmed.process.pid}/status").read_text()
    assert int(status.partition("VmRSS:")[2].split()[0]) <= 30_000_000 >> 10


@pytest.mark.parametrize("phase", ["downloading", "trial", "confirmed"])
def test_after_a_kill_the_old_or_the_new_model_serves_and_the_update_goes_on(fleet: Fleet, confirmed: Living, content: Content, phase: str):
    if phase == "downloading":
        bundle = Reply(200, b"x" * 100_000, trickle_seconds=0.05)
        fleet.http.fault = lambda path, _: bundle if path.endswith(".bundle") else None
    number = fleet.tell(content(2), probation=Probation(3))
    confirmed.await_told(lambda it: it["phase"] == phase and it["number"] == number)
    confirmed.kill()
    fleet.http.fault = lambda path, headers: None
    confirmed.start()
    patience.wait_until(lambda: confirmed.served() in {digest_of(content(1)), digest_of(content(2))}, 30.0)
    fleet.await_outcome(number, "confirmed")
    assert confirmed.told()["boots"] == 2
    confirmed.await_served(content(2))


def test_a_release_that_is_withdrawn_while_it_is_fetched_is_never_served(fleet: Fleet, confirmed: Living, content: Content):
    numbers: list[int] = []

    def withdraw(path: str, _: object) -> Reply | None:
        if path.endswith(".bundle") and len(numbers) == 1:
            numbers.append(fleet.tell(content(1)))
        return None

    fleet.http.fault = withdraw
    numbers.append(fleet.tell(content(2)))
    patience.wait_until(lambda: len(numbers) == 2)
    fleet.await_outcome(numbers[1], "confirmed")
    assert not any("serving " + digest_of(content(2))[7:19] in it["what"] for it in confirmed.told()["events"])
    assert confirmed.served() == digest_of(content(1))
    assert fleet.outcome(numbers[0]) == ""


FAULTS = {
    "a captive portal": Reply(200, b"<html>Welcome to our network</html>"),
    "flipped bits": Reply(200, bytes(64)),
    "an ignored range and nothing": Reply(206, b""),
    "503": Reply(503, b"Slow Down"),
    "403": Reply(403, b"<Error/>"),
    "a redirect": Reply(302, headers={"Location": "http://portal.example/"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_the_way_for_a_while_is_not_held_against_the_release(
    fleet: Fleet, confirmed: Living, content: Content, fault: str
):
    faulty: list[str] = []

    def answer(path: str, _: object) -> Reply | None:
        faulty.append(path)
        return FAULTS[fault]

    fleet.http.fault = answer
    number = fleet.tell(content(2))
    patience.wait_until(lambda: faulty)
    # What is asked for first of an update goes wrong, and then, when that is mended, the bundle.
    fleet.http.fault = lambda path, headers: answer(path, headers) if path.endswith(".bundle") else None
    patience.wait_until(lambda: any(path.endswith(".bundle") for path in faulty), 60.0)
    fleet.http.fault = lambda path, headers: None
    report = fleet.await_outcome(number, "confirmed", 120.0)
    assert report.reason is Reason.NONE
    assert confirmed.served() == digest_of(content(2))


def test_a_store_that_takes_no_reports_holds_up_no_update_and_gets_them_later(fleet: Fleet, confirmed: Living, content: Content):
    fleet.http.checks = lambda method, target, headers: 403 if method == "PUT" else 0
    number = fleet.tell(content(2))
    confirmed.await_served(content(2))
    told = confirmed.await_told(lambda it: it["phase"] == "confirmed" and it["reports_fail"])
    assert "403" in told["reports_fail"]
    assert fleet.reports(number) == []
    fleet.http.checks = lambda method, target, headers: 0
    fleet.await_outcome(number, "confirmed")


@pytest.mark.parametrize("wall", ["0.0", "4102444800.0", "time.time() - 1200", "time.time() + 1200"])
def test_a_clock_that_is_wrong_holds_up_nothing(fleet: Fleet, device: Living, content: Content, wall: str):
    def check(method: str, target: str, _: object) -> int:
        asked = parse_qs(urlsplit(target).query).get("X-Amz-Date", ["19700101T000000Z"])[0]
        signed_at = datetime.strptime(asked, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        return 403 if abs(signed_at - time.time()) > 900 else 0

    fleet.http.checks = check
    endpoint, _, _ = fleet.http.url.rpartition("/bucket/")
    keys = {"access_key": "device", "secret_key": "s" * 20}
    device.changes["store"] = {"endpoint": endpoint, "bucket": "bucket", "prefix": "edge/", **keys}
    program = f"""
import sys, time
from pathlib import Path
from isthmus_agent.manager import program, settings, signing_v4
told = settings.load(Path(sys.argv[1]))
program.run(told, clock=signing_v4.StoreClock(lambda: {wall}), say=lambda text: print(text, file=sys.stderr, flush=True))
"""
    now = time.gmtime()
    everywhen = Window(0, 1439) if (now.tm_hour, now.tm_min) < (23, 55) else None
    number = fleet.tell(content(1), window=everywhen)
    device.start([sys.executable, "-c", program, str(device.configured())])
    fleet.await_outcome(number, "confirmed")
    device.await_served(content(1))


def test_a_model_that_falls_over_on_a_request_takes_the_device_back(fleet: Fleet, confirmed: Living, content: Content):
    number = fleet.tell(content(2), probation=Probation(60))
    confirmed.await_served(content(2))
    kill_server(confirmed)
    report = fleet.await_outcome(number, "rolled_back")
    assert (report.reason, report.figures.crashes) == (Reason.CRASHED, 1)
    confirmed.await_served(content(1))


def kill_server(device: Living) -> None:
    """Ends the process that serves, as a fault of the interpreter does."""
    assert device.process is not None
    children = Path(f"/proc/{device.process.pid}/task").glob("*/children")
    pids = {int(pid) for file in children for pid in file.read_text().split()}
    for pid in pids:
        if b"isthmus_agent.server" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGSEGV)


def test_a_second_program_in_a_folder_is_refused(confirmed: Living):
    found = confirmed.ask("run")
    assert found.returncode == 1
    assert "another isthmus-agent uses" in found.stderr


def test_the_same_said_again_makes_the_one_report_young_and_says_for_how_long(fleet: Fleet, device: Living, content: Content):
    device.changes["heartbeat_seconds"] = 1.0
    number = fleet.tell(content(1))
    device.start()
    fleet.await_outcome(number, "confirmed")
    patience.wait_until(lambda: (found := fleet.reports(number)) and len(found) == 1 and (found[0].figures.outcome_seconds or 0) >= 2)
    assert fleet.await_outcome(number, "confirmed").figures.sequence >= 3


def test_an_update_takes_six_requests_and_a_look_that_finds_nothing_takes_one(fleet: Fleet, device: Living, content: Content):
    device.changes["poll_seconds"] = 2.0
    first = fleet.tell(content(1))
    device.start()
    fleet.await_outcome(first, "confirmed")
    begun = len(fleet.http.requests)
    patience.wait_until(lambda: len(fleet.http.requests) >= begun + 2)
    assert set(fleet.http.paths[begun:]) == {"edge/metadata/timestamp.json"}
    assert all("if-none-match" in headers for _, _, headers in fleet.http.requests[begun:])
    begun, at = len(fleet.http.requests), time.monotonic()
    fleet.await_outcome(fleet.tell(content(2), old=content(1)), "confirmed")
    asked = [(method, path.rpartition("/")[2]) for method, path, _ in fleet.http.requests[begun:]]
    looks = asked.count(("GET", "timestamp.json"))
    names = [name.rpartition(".")[2] if "~" not in name else "report" for _, name in asked if name != "timestamp.json"]
    assert names == ["json", "json", "delta", "report"], asked  # the snapshot, and the fleet's role
    # What began it, the one right before the switch, and those that are due while the probation lasts, as on any day.
    assert 2 <= looks <= 3 + (time.monotonic() - at) // 1.8, asked
