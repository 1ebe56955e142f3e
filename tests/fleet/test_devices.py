"""Fifty devices with the real core, client, disk and gates on a virtual clock: what a bad release does, and what a good one costs."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fleet_store import MemoryStore, served
from tests.simulated.device import GOOD, Kind
from tests.simulated.fleet import PREFIX, ListedMemory, SimulatedFleet, Site, content
from tests.simulated.line import BUNDLE, IDLE, REPORT
from tests.simulated.rollout import Plan, Progress, bring

from isthmus.fleet.gates import Gate
from isthmus.fleet.waves import Wave
from isthmus.repository.objects import Place
from isthmus_agent.core.state import Settings
from isthmus_agent.formats.pace import pace_draw
from isthmus_agent.formats.report import Reason

DEVICES, POLL_SECONDS = 50, 300.0
WAVES = (Wave(percent=20), Wave(percent=50), Wave(percent=100, most_per_minute=2))
GATE = Gate(max_failure_percent=10, soak_seconds=60, deadline_seconds=1200)
BAD = {
    "ends the interpreter on a request": Kind(bad_request_seconds=20),
    "hangs on a request": Kind(bad_request_seconds=20, bad_reason=Reason.HUNG),
    "is slow": Kind(p95_microseconds=60_000),
    "fails its self-test": Kind(self_test=Reason.SELF_TEST_FAILED),
}


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedFleet]:
    """One whose devices have confirmed a first content, and are idle."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # nobody cuts the power here
    store = MemoryStore()
    with served(store) as http:
        site = Site(Place(store, PREFIX), ListedMemory(store.objects), http.url)
        names = [f"camera-{number:03}" for number in range(DEVICES)]
        fleet = SimulatedFleet(site, names, tmp_path, settings=Settings(poll_seconds=POLL_SECONDS))
        fleet.boot(POLL_SECONDS)
        assert bring(fleet, content(1), Plan((Wave(percent=100),), GATE)).outcome == "pass"
        fleet.agenda.run(fleet.agenda.now + 2 * POLL_SECONDS)
        fleet.traffic.total.clear()
        yield fleet


def check_stopped_in_canary(fleet: SimulatedFleet, progress: Progress) -> None:
    fleet.agenda.run(fleet.agenda.now + 2 * POLL_SECONDS)
    canary, *others = progress.waves
    assert progress.outcome in {"abort", "inconclusive"}
    assert len(progress.opened) == 1
    assert fleet.touched(progress.number, canary.devices)
    assert [name for wave in others for name in fleet.touched(progress.number, wave.devices)] == []
    serving = {device.state.served for device in fleet.devices.values() if not device.is_dead}
    assert serving == {content(1).digest}


@pytest.mark.slow
def test_a_bad_release_is_stopped_in_the_canary_wave_and_no_other_device_touches_it(fleet: SimulatedFleet):
    for number, kind in enumerate(BAD.values(), 2):
        check_stopped_in_canary(fleet, bring(fleet, content(number, kind), Plan(WAVES, GATE)))


def test_silence_stops_a_release_at_the_deadline_and_not_before(fleet: SimulatedFleet):
    progress = bring(fleet, content(2, Kind(is_silent=True)), Plan(WAVES, GATE))
    assert progress.outcome == "abort"
    assert progress.ended - progress.opened[0] == pytest.approx(GATE.deadline_seconds, abs=60)
    assert progress.verdict is not None
    assert progress.verdict.evidence.silent == len(progress.waves[0].devices)
    check_stopped_in_canary(fleet, progress)


@pytest.mark.slow
def test_what_a_fleet_asks_of_its_store(fleet: SimulatedFleet):
    """One fleet for all of it: it is the dearest part."""
    look_is_a_listing_and_no_read(fleet)
    idle_devices_make_one_conditional_request_a_poll(fleet)
    a_good_release_takes_six_requests_a_device_and_three_small_files_a_wave(fleet)


def a_good_release_takes_six_requests_a_device_and_three_small_files_a_wave(fleet: SimulatedFleet):
    before = {name: len(device.line.log) for name, device in fleet.devices.items()}
    progress = bring(fleet, content(2, GOOD), Plan(WAVES, GATE))
    fleet.agenda.run(fleet.agenda.now + 2 * POLL_SECONDS)
    assert progress.outcome == "pass"
    paced = progress.waves[2]
    fetched = {name: max(at for at, kind in fleet.devices[name].line.log if kind == BUNDLE) for name in paced.devices}
    for place, name in enumerate(sorted(paced.devices, key=lambda name: pace_draw(content(2).digest[7:23], name))):
        assert 60 * (place // 2) - 1 <= fetched[name] - progress.opened[2] < 60 * (place // 2) + 1.2 * POLL_SECONDS
    assert {device.state.kept.current for device in fleet.devices.values()} == {content(2).digest}
    assert progress.puts == [4, 3, 3, 3]
    for name in fleet.devices.keys() - set(paced.devices):  # those look until it is their minute
        kinds = [kind for _, kind in fleet.devices[name].line.log[before[name] :]]
        at = kinds.index(BUNDLE)
        update = kinds[at - kinds[at::-1].index("timestamp") : at + kinds[at:].index(REPORT) + 1]
        assert Counter(update) == Counter(["timestamp", "snapshot", "fleet role", BUNDLE, IDLE, REPORT])  # idle: the look before the switch


def idle_devices_make_one_conditional_request_a_poll(fleet: SimulatedFleet):
    polls = 4
    fleet.agenda.run(fleet.agenda.now + polls * POLL_SECONDS)
    used = Counter(fleet.traffic.total)
    assert set(used) <= {IDLE, REPORT, "old report"}
    assert polls * DEVICES * 0.8 < used[IDLE] < polls * DEVICES * 1.2


def look_is_a_listing_and_no_read(fleet: SimulatedFleet):
    found = fleet.look(1, [content(1).digest])
    assert (len(found.reports), found.requests, found.dropped) == (DEVICES, 1, {})
