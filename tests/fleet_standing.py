"""A fleet in the middle of a rollout, of any size, for what shows it: some devices are at everything that one can be at."""

from typing import Any

from tests.fleet_sayings import FLEET

from isthmus.repository.reports import DeviceReport, Look
from isthmus.rollouts.standing import standing_of
from isthmus_agent.formats.assignment import WHOLE_SHARE, Assignment, Before, Wave
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.gate import Gate
from isthmus_agent.formats.pace import WHOLE_PACE, Pace
from isthmus_agent.formats.report import Figures, Outcome, Reason, Report
from isthmus_agent.formats.roster import Device, Roster

NOW = 1_800_000_000
GATE = Gate(20_000, soak_seconds=60, deadline_seconds=3600)
# Of every thousand devices of an open wave, in this order; the others have confirmed it.
MIX = (
    (Outcome.CONFIRMED, Reason.NONE, 100, 10),
    (Outcome.UPDATING, Reason.NONE, 140, 0),
    (Outcome.ROLLED_BACK, Reason.CRASHED, 3, 0),
    (Outcome.UNFIT, Reason.SELF_TEST_FAILED, 2, 0),
    (Outcome.BLOCKED, Reason.DISK_FULL, 15, 0),
)
SILENT = 20
OUT = {"devices": 7, "names": [f"camera-{index}" for index in range(7)]}
VALUES = (("north", 900, 2, 1200, OUT), ("", 10, 1, 3, {"devices": 0, "names": []}))
# As `Standing.data` has it of a budget, and in words.
WAITING = {
    "label": "site",
    "devices": 1203,
    "values": [dict(zip(("value", "devices", "most", "waiting", "out"), it, strict=True)) for it in VALUES],
}
WORDS = (
    "1,200 wait for their turn: 2 of 900 at once; unavailable: camera-0, camera-1, camera-2, camera-3, camera-4 and 2 more",
    "3 wait for their turn: 1 of 10 at once",
)
# A quarter of an hour after its opening, one in seventeen devices of a wave may not begin yet.
PACE = Pace(40, tuple(WHOLE_PACE * minute // 17 for minute in range(1, 17)))


def standing(devices: int = 5000, *, text: str = "said so", paused: bool = False, is_read: bool = True) -> dict[str, Any]:
    """`Standing.data()`. text: what devices said that failed."""
    names = [f"camera-{index:06}" for index in range(devices)]
    canary = tuple(names[: max(1, devices // 20)])
    old, new = (Variant("*", f"sha256:{letter * 64}", f"{FLEET}/{letter * 64}.bundle", 90_200) for letter in "ab")
    waves = (
        Wave("canary", 0, devices=canary, gate=GATE),
        Wave("tenth", WHOLE_SHARE // 10, gate=GATE, pace=PACE),
        Wave("rest", WHOLE_SHARE, gate=GATE),
    )
    told = Assignment(
        FLEET, 17, "00" * 8, (new,), waves, 2, paused=paused, before=Before(16, (old,)), opened_seconds=(NOW - 7200, NOW - 900)
    )
    reports = {}
    for index, name in enumerate(names):
        found = _said(index * 7919 % 1000, new, text)
        if found:
            reports[name] = found
    look = Look(reports, {names[0]: "one identity on two devices"}, {"not signed by the device it names": 2}, (), (), 11)
    roster = Roster(FLEET, tuple(Device(name, "small") for name in names))
    return standing_of(told, roster, look if is_read else None, NOW).data()


def _said(place: int, content: Variant, text: str) -> DeviceReport | None:
    outcome, reason, seconds = Outcome.CONFIRMED, Reason.NONE, 300
    for its, why, share, its_seconds in MIX:
        if place < share:
            outcome, reason, seconds = its, why, its_seconds
            break
        place -= share
    else:
        if place < SILENT:
            return None
    said = "" if reason is Reason.NONE else text
    report = Report("any", 17, outcome, content.digest[7:23], figures=Figures(outcome_seconds=seconds), reason=reason, text=said)
    return DeviceReport(report, 0.0, False)
