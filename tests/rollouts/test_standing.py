"""Where a rollout stands: from what is signed, the roster, what devices said, and the time."""

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from tests.fleet_sayings import FLEET
from tests.isthmus_agent.drawing import assignments, rosters

from isthmus.repository.reports import DeviceReport, Look
from isthmus.rollouts.standing import MOST_NAMES, Standing, standing_of
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Before, Wave
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.gate import Gate
from isthmus_agent.formats.pace import Pace, pace_draw
from isthmus_agent.formats.report import Figures, Outcome, Reason, Report
from isthmus_agent.formats.roster import Device, Roster
from isthmus_agent.formats.window import Window

NOW = 1_800_000_000
CANARY = tuple(f"canary-{index}" for index in range(5))
REST = tuple(f"rest-{index:02}" for index in range(20))
ROSTER = Roster(FLEET, tuple(Device(name, "small") for name in (*CANARY, *REST)))
GATE = Gate(20_000, soak_seconds=60, deadline_seconds=600)
OLD, NEW = (Variant("*", f"sha256:{letter * 64}", f"{FLEET}/{letter * 64}.bundle", 1000) for letter in "ab")
NO_LOOK = Look({}, {}, {}, (), (), 1)


def told(open_waves: int = 1, **changes: object) -> Assignment:
    waves = (Wave("canary", 0, devices=CANARY, gate=GATE), Wave("rest", WHOLE_SHARE, gate=GATE))
    found = Assignment(FLEET, 7, "00" * 8, (NEW,), waves, open_waves, before=Before(6, (OLD,)), opened_seconds=(NOW,) * open_waves)
    return replace(found, **changes)  # type: ignore[arg-type]


def said(outcome: Outcome, seconds: int = 300, *, overdue: bool = False, content: Variant = NEW, **more: object) -> DeviceReport:
    figures = Figures(outcome_seconds=seconds)
    return DeviceReport(Report("any", 7, outcome, content.digest[7:23], figures=figures, **more), 0.0, overdue)  # type: ignore[arg-type]


def look(reports: Mapping[str, DeviceReport], unclear: Mapping[str, str] | None = None) -> Look:
    return replace(NO_LOOK, reports=reports, unclear=unclear or {})


def stands(reports: Mapping[str, DeviceReport] | None = None, after: float = 300, its: Assignment | None = None) -> Standing:
    return standing_of(its or told(), ROSTER, look(reports or {}), NOW + after)


def states(found: Standing) -> list[str]:
    return [it.state for it in found.waves]


CONFIRMED, FAILED = said(Outcome.CONFIRMED), said(Outcome.ROLLED_BACK, reason=Reason.CRASHED, text="SIGFPE")
ALL_WELL = dict.fromkeys(CANARY, CONFIRMED)


def test_a_wave_waits_until_its_devices_have_said_how_it_went():
    found = stands({**dict.fromkeys(CANARY[:3], CONFIRMED), CANARY[3]: said(Outcome.UPDATING)})
    assert states(found) == ["waiting", "closed"]
    assert found.waves[0].line() == "wave canary: 3 of 5 confirmed, 1 on the way, 1 silent"
    assert found.waves[1].line() == "wave rest: closed, 20 devices"
    assert (found.passed_waves, found.silent, found.devices) == (0, CANARY[4:], 25)
    assert found.waves[0].elapsed_seconds == 300


def test_a_wave_passes_by_its_gate():
    found = stands(ALL_WELL)
    assert (states(found), found.passed_waves) == (["passed", "closed"], 1)
    assert found.verdict is not None
    assert found.verdict.outcome == "pass"
    assert found.versions == {NEW.digest: 5}


def test_silence_until_the_deadline_is_failure():
    assert states(stands(after=599)) == ["waiting", "closed"]
    assert states(stands(after=600)) == ["aborted", "closed"]


def test_a_wave_of_which_the_next_is_open_has_passed_and_its_silence_says_nothing_more():
    found = stands(after=10**6, its=told(2, opened_seconds=(NOW, NOW + 10**6 - 1)))
    assert states(found) == ["passed", "waiting"]


def test_a_wave_that_passed_still_aborts_when_its_devices_fail_late():
    found = stands(dict.fromkeys(CANARY, FAILED), its=told(2))
    assert (states(found), found.passed_waves) == (["aborted", "waiting"], 0)
    assert found.verdict is not None
    assert (found.verdict.wave, found.verdict.outcome) == ("canary", "abort")


def test_more_failures_than_the_gate_allows_and_no_proof_pause():
    found = stands({**ALL_WELL, CANARY[0]: FAILED})
    assert states(found) == ["paused", "closed"]
    assert found.verdict is not None
    assert found.verdict.outcome == "inconclusive"


def test_devices_whose_minute_has_not_come_are_neither_silent_nor_late_and_the_deadline_counts_from_the_last_minute():
    its = told(2)
    draws = sorted(pace_draw("00" * 8, name) for name in REST)
    paced = replace(its, waves=(its.waves[0], replace(its.waves[1], pace=Pace(2, tuple(draws[2::2])))))  # ten minutes
    found = stands({REST[0]: CONFIRMED}, after=130, its=paced)
    assert found.waves[1].tally is not None
    assert len(found.waves[1].tally.later) in (13, 14)
    assert found.waves[1].line().endswith(" not due yet")
    assert len(set(found.silent) & set(REST)) in (5, 6)
    assert found.verdict is not None
    assert (found.verdict.outcome, found.waves[1].elapsed_seconds) == ("wait", 0)
    assert [stands(ALL_WELL, after=540 + late, its=paced).waves[1].state for late in (599, 600)] == ["waiting", "aborted"]
    well = {**ALL_WELL, **{name: CONFIRMED for name in REST if pace_draw("00" * 8, name) < draws[-2]}}
    assert stands(well, after=539, its=paced).waves[1].state == "waiting"
    assert stands(well, after=541, its=replace(paced, paused=True)).waves[1].tally == stands(well, after=0, its=paced).waves[1].tally


def test_what_is_paused_is_not_counted_as_silent_too_long():
    found = stands(after=10**6, its=told(paused=True))
    assert states(found) == ["paused", "closed"]
    assert found.verdict is not None
    assert found.verdict.outcome == "wait"


def test_a_release_that_came_to_its_end_is_not_given_up_when_devices_go_dark():
    found = stands(after=10**7, its=told(2, passed_seconds=NOW + 600))
    assert (states(found), found.passed_waves) == (["passed", "passed"], 2)


def test_a_closed_window_stops_the_clock():
    window = Window(60, 120)
    midnight = NOW - NOW % 86_400
    its = told(opened_seconds=(midnight,), window=window)
    assert [stands(after=midnight - NOW + hours * 3600, its=its).waves[0].elapsed_seconds for hours in (1, 1.5, 2, 24, 25.5)] == [
        0,
        1800,
        3600,
        3600,
        5400,
    ]


def test_a_wave_without_a_gate_is_waited_for_by_nobody():
    its = told(waves=(Wave("all", WHOLE_SHARE),))
    found = stands(its=its)
    assert (states(found), found.verdict) == (["passed"], None)


def test_without_reports_only_what_is_signed_is_known():
    found = standing_of(told(2), ROSTER, None, NOW)
    assert (states(found), found.is_read, found.verdict) == (["passed", "open"], False, None)
    assert found.waves[1].line() == "wave rest: open, 20 devices"


def test_a_wave_that_has_no_device_any_more_pauses_the_rollout():
    found = standing_of(told(), Roster(FLEET, ROSTER.devices[5:]), NO_LOOK, NOW + 1)
    assert states(found) == ["paused", "closed"]
    assert found.verdict is not None
    assert found.verdict.reason == "the roster has no device of this wave any more"


def test_failures_are_grouped_by_their_reason():
    slow = said(Outcome.UNFIT, reason=Reason.TOO_SLOW_IN_SERVICE, text="31 ms")
    found = stands({CANARY[0]: FAILED, CANARY[1]: slow, CANARY[2]: slow, CANARY[3]: said(Outcome.BLOCKED, reason=Reason.DISK_FULL)})
    assert [(it.outcome, it.reason, it.devices, it.example) for it in found.failures] == [
        ("unfit", "too slow in service", CANARY[1:3], "too slow in service: 31 ms"),
        ("rolled_back", "crashed", CANARY[:1], "crashed: SIGFPE"),
    ]
    assert [it.reason for it in found.blocked] == ["disk full"]


def test_versions_are_those_that_devices_have_confirmed_now_or_before():
    earlier = look(dict.fromkeys(REST, said(Outcome.CONFIRMED, content=OLD)))
    found = standing_of(told(), ROSTER, look({**ALL_WELL, CANARY[0]: FAILED}), NOW, {6: earlier})
    assert found.versions == {OLD.digest: 20, NEW.digest: 4}


def test_devices_that_no_wave_has_are_named():
    found = stands(its=told(waves=told().waves[:1]))
    assert found.outside == REST


@pytest.mark.parametrize("after", [0, 10_000])
def test_its_data_is_json_and_bounded(after: float):
    found = stands({CANARY[0]: FAILED}, after=after, its=told(2))
    value = json.loads(json.dumps(found.data(), allow_nan=False))
    assert value["silent"]["devices"] == 24
    assert len(value["silent"]["names"]) == MOST_NAMES
    assert [it["state"] for it in value["waves"]] == states(found)
    assert value["waves"][0]["gate"]["max_failure_percent"] == 2


@given(assignments(), rosters)
def test_every_sound_assignment_stands_somehow(its: Assignment, roster: Roster):
    for seen in (None, NO_LOOK):
        found = standing_of(its, roster, seen, NOW)
        json.dumps(found.data(), allow_nan=False)
        assert sum(len(it.devices) for it in found.waves) + len(found.outside) == len(roster.devices)
