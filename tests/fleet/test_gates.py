import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import InputError
from isthmus.fleet.gates import LEAST_PAUSE, Gate, WaveGate, plan_gates, wave_gates
from isthmus.fleet.judging import GateVerdict, Tally, judge, judge_open, tally
from isthmus.fleet.sequential import FALSE_ABORT, boundary
from isthmus_agent.formats.report import Outcome


@dataclass(frozen=True)
class Said:
    outcome: Outcome = Outcome.CONFIRMED
    reason: str = ""
    seconds: float = 1e6
    is_overdue: bool = False


GATE = Gate(max_failure_percent=2, soak_seconds=300, deadline_seconds=3600)
DEVICES = [f"d{number}" for number in range(100)]
WAVE = WaveGate("canary", GATE, boundary(100, 0.02, 0.0125), may_pause=1.0)
"""To the letter: more than `max_failure_percent` pauses it."""
LENIENT = replace(WAVE, gate=replace(GATE, when_unclear="pass"))


def counted(devices: int = 100, **seen: int) -> Tally:
    """A tally of so many devices each; what is not said is silent."""
    names = iter(f"d{number}" for number in range(devices))
    found = {key: tuple(next(names) for _ in range(count)) for key, count in seen.items()}
    mapped = {key: dict.fromkeys(found.pop(key, ()), "crash") for key in ("failed", "blocked")}
    return Tally(silent=tuple(names), **mapped, **found)  # type: ignore[arg-type]


def test_a_wave_passes_once_all_that_is_undecided_could_fail_within_the_limit() -> None:
    assert judge(WAVE, counted(confirmed=98), 10).outcome == "pass"
    verdict = judge(WAVE, counted(confirmed=97), 10)
    assert (verdict.outcome, verdict.reason) == (
        "wait",
        "0 of 100 devices failed; waiting for 3 (0 on the way, 0 soaking, 3 silent, 0 blocked or unclear)",
    )


def test_a_device_counts_only_when_it_has_served_for_the_soak_time() -> None:
    assert judge(WAVE, counted(confirmed=90, soaking=10), 10).outcome == "wait"
    reports = {name: Said(seconds=299 if name == "d1" else 300) for name in DEVICES}
    assert tally(DEVICES, reports, GATE).soaking == ("d1",)


def test_silence_is_no_success_and_a_failure_from_the_deadline_on() -> None:
    silent = counted(confirmed=40)
    assert judge(LENIENT, silent, 3599).outcome == "wait"
    verdict = judge(LENIENT, silent, 3600)
    assert verdict.outcome == "abort"
    assert verdict.reason.startswith(
        "60 of 100 devices failed, 60 of them by silence until the deadline; 7 prove that the release fails on"
    )


def test_a_device_that_is_on_the_way_at_the_deadline_is_a_failure_and_one_that_soaks_is_waited_for() -> None:
    assert judge(LENIENT, counted(confirmed=90, updating=10), 3600).outcome == "abort"
    assert judge(WAVE, counted(confirmed=90, soaking=10), 3600).outcome == "wait"


def test_so_many_failures_that_it_is_proof_abort_before_anything_else_is_known() -> None:
    assert [judge(LENIENT, counted(failed=failed), 10).outcome for failed in (6, 7)] == ["wait", "abort"]


def test_who_began_makes_fewer_failures_proof() -> None:
    assert judge(LENIENT, counted(failed=3), 10).outcome == "wait"
    verdict = judge(LENIENT, counted(failed=3), 10, begun=10)
    assert verdict.outcome == "abort"
    assert verdict.reason.startswith("3 of 100 devices failed while 10 had begun; 3 prove that the release fails on more than 2 %")
    assert judge(LENIENT, counted(failed=3), 10, begun=60).outcome == "wait"
    assert judge(LENIENT, counted(failed=3), 10, begun=1).evidence.begun == 3


def test_more_failures_than_allowed_that_are_no_proof_pause_at_once_or_pass_as_the_gate_says() -> None:
    three = counted(failed=3, confirmed=50)
    verdict = judge(WAVE, three, 10)
    assert (verdict.outcome, verdict.reason) == (
        "inconclusive",
        "3 of 100 devices failed: more than the 2 with which the wave passes; 7 would be proof",
    )
    assert judge(LENIENT, three, 10).outcome == "wait"
    assert judge(LENIENT, counted(failed=3, confirmed=97), 10).outcome == "pass"


def test_a_pause_may_still_become_an_abort() -> None:
    assert judge(WAVE, counted(failed=7, confirmed=50), 10).outcome == "abort"


def test_blocked_and_unclear_devices_neither_fail_nor_pass_a_wave() -> None:
    aside = counted(confirmed=80, blocked=15, unclear=5)
    assert judge(WAVE, aside, 10).outcome == "pass"
    mostly = counted(confirmed=40, blocked=60)
    assert judge(WAVE, mostly, 10).outcome == "wait"  # they try again
    verdict = judge(WAVE, mostly, 3600)
    assert (verdict.outcome, verdict.reason) == (
        "inconclusive",
        "40 devices said how it went, at least 50 must; 60 are blocked, 0 unclear",
    )
    assert judge(replace(WAVE, gate=replace(GATE, min_reports=40)), mostly, 10).outcome == "pass"


def test_failures_among_few_that_are_not_blocked_wait_for_the_others() -> None:
    seen = counted(failed=2, confirmed=50, blocked=48)
    assert judge(WAVE, seen, 10).outcome == "wait"
    assert judge(WAVE, seen, 3600).outcome == "inconclusive"


def test_reports_are_counted_by_what_they_say() -> None:
    reports = {
        "d0": Said(),
        "d1": Said(Outcome.ROLLED_BACK, "slow"),
        "d2": Said(Outcome.UNFIT, is_overdue=True),
        "d3": Said(Outcome.BLOCKED, "disk full", is_overdue=True),
        "d4": Said(Outcome.UPDATING),
        "d5": Said(Outcome.UPDATING, is_overdue=True),
        "d6": Said(is_overdue=True),
        "d8": Said(Outcome.UNFIT),
        "stranger": Said(Outcome.UNFIT),
    }
    assert tally(DEVICES[:9], reports, GATE, unclear={"d8"}) == Tally(
        confirmed=("d0",),
        updating=("d4",),
        failed={"d1": "slow", "d2": "it gave no reason"},
        blocked={"d3": "disk full"},
        unclear=("d8",),
        silent=("d5", "d6", "d7"),
    )


said = st.builds(
    Said,
    outcome=st.sampled_from(list(Outcome)),
    seconds=st.sampled_from([0.0, 299.0, 300.0]),
    is_overdue=st.booleans(),
)


@given(st.dictionaries(st.sampled_from(DEVICES[:30]), said), st.randoms(), st.sampled_from([0.0, 3600.0]))
@settings(deadline=None)
def test_the_order_of_reports_changes_neither_verdict_nor_evidence(reports: Mapping[str, Said], order: object, elapsed: float) -> None:
    shuffled = list(reports.items())
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    wave = replace(WAVE, boundary=boundary(30, 0.02, 0.0125))

    def verdict(it: Mapping[str, Said]) -> GateVerdict:
        seen = tally(DEVICES[:30], it, GATE)
        return judge(wave, seen, elapsed, begun=seen.heard)

    assert verdict(dict(shuffled)) == verdict(reports)


@given(st.dictionaries(st.sampled_from(DEVICES[:30]), said), st.sampled_from(DEVICES[:30]), st.booleans(), st.sampled_from([0.0, 3600.0]))
@settings(deadline=None)
def test_one_device_less_that_speaks_never_makes_a_wave_pass(
    reports: Mapping[str, Said], device: str, knows_begun: bool, elapsed: float
) -> None:
    wave = replace(WAVE, boundary=boundary(30, 0.02, 0.0125))

    def outcome(it: Mapping[str, Said]) -> str:
        seen = tally(DEVICES[:30], it, GATE)
        return judge(wave, seen, elapsed, begun=seen.heard if knows_begun else None).outcome

    silenced = {name: it for name, it in reports.items() if name != device}
    was_failure = device in reports and reports[device].outcome in (Outcome.ROLLED_BACK, Outcome.UNFIT, Outcome.BLOCKED)
    assert outcome(silenced) != "pass" or outcome(reports) == "pass" or was_failure


@given(st.dictionaries(st.sampled_from(DEVICES[:20]), said))
@settings(deadline=None)
def test_every_device_stands_in_exactly_one_place(reports: Mapping[str, Said]) -> None:
    seen = tally(DEVICES[:20], reports, GATE)
    places = [*seen.confirmed, *seen.soaking, *seen.updating, *seen.failed, *seen.blocked, *seen.unclear, *seen.silent]
    assert sorted(places) == sorted(DEVICES[:20])


def test_the_evidence_is_data() -> None:
    verdict = judge(WAVE, counted(failed=3, confirmed=50), 10, begun=60)
    data = json.loads(json.dumps(verdict.evidence.data()))
    assert (data["devices"], data["failures"], data["begun"], data["passes_with"], data["silent"]) == (100, 3, 60, 2, 47)


def test_a_device_of_an_earlier_wave_may_abort_late_but_its_silence_does_not() -> None:
    first, second = plan_gates([("canary", 20, GATE), ("all", 100, GATE)])
    now = counted(confirmed=30)
    late = judge_open([first, second], [counted(20, failed=4, confirmed=16), now], [1e6, 10])
    assert (late.wave, late.outcome) == ("canary", "abort")
    quiet = judge_open([first, second], [counted(20, confirmed=1), now], [1e6, 10])
    assert (quiet.wave, quiet.outcome) == ("all", "wait")


def problems(*waves: tuple[str, int, Gate]) -> list[str]:
    with pytest.raises(InputError) as caught:
        plan_gates(waves)
    return [str(problem) for problem in caught.value.problems]


def test_gates_that_can_never_pass_or_abort_are_refused_all_at_once() -> None:
    first = ("canary", 1, Gate(max_failure_percent=10))
    second = ("more", 20, Gate(min_reports=30, confidence_percent=95))
    third = ("all", 300, Gate(soak_seconds=3600, deadline_seconds=3600))
    assert problems(first, second, third) == [
        "waves[0].gate.max_failure_percent: the gate can never abort: of a release that keeps 10 %, all 1 devices may fail by chance; "
        "expected a limit that so few devices can show to be broken. Fix: make the wave at least 2 devices, or `max_failure_percent` 1.666 "
        "at most",
        "waves[1].gate.min_reports: the wave can never pass: it asks for 30 reports and has 20 devices; expected 20 at most. Fix: lower "
        "it, or make the wave larger",
        "waves[1].gate.confidence_percent: the wave can never pass: 20 devices without a failure show, with 95 % confidence, only that "
        "fewer than 13.9 % fail; expected at least 149 devices for 2 %. Fix: make the wave larger, or `max_failure_percent` 13.9, or leave "
        "`confidence_percent` out",
        "waves[2].gate.deadline_seconds: is 3600 s, and no device counts before it served for 3600 s; expected more than `soak_seconds`. "
        "Fix: raise it, or soak for a shorter time",
    ]


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (Gate(max_failure_percent=-1), "waves[0].gate.max_failure_percent: found -1; expected 0 to 50"),
        (Gate(max_failure_percent=51), "waves[0].gate.max_failure_percent: found 51; expected 0 to 50"),
        (Gate(max_failure_percent=math.nan), "waves[0].gate.max_failure_percent: found nan; expected 0 to 50"),
        (Gate(min_reports=0), "waves[0].gate.min_reports: found 0; expected 1 to 1,000,000"),
        (Gate(confidence_percent=100), "waves[0].gate.confidence_percent: found 100; expected 50 to 99.99"),
        (Gate(max_failure_percent=0, confidence_percent=95), "waves[0].gate.confidence_percent: no number of devices shows"),
    ],
)
def test_a_gate_out_of_bounds_is_refused(gate: Gate, said: str) -> None:
    (found,) = problems(("all", 1000, gate))
    assert found.startswith(said)


@pytest.mark.parametrize("devices", [148, 149])
def test_the_confidence_asked_is_exactly_what_a_wave_without_failures_can_show(devices: int) -> None:
    gate = Gate(confidence_percent=95)
    if devices < 149:
        assert problems(("all", devices, gate))
    else:
        (wave,) = plan_gates([("all", devices, gate)])
        assert wave.pass_limit(devices) == 0


def test_a_release_that_keeps_the_limit_is_aborted_in_five_of_a_hundred_rollouts_at_most() -> None:
    waves = plan_gates([("canary", 20, GATE), ("more", 80, GATE), ("half", 400, GATE), ("all", 500, GATE)])
    assert 1 - math.prod(1 - wave.boundary.false_abort for wave in waves) <= 0.05


@pytest.mark.parametrize("devices", [1, 20, 100, 1000])
def test_no_more_devices_are_hurt_than_stop_the_wave_and_those_that_have_not_said_it_yet(devices: int) -> None:
    (proof,) = plan_gates([("all", devices, replace(GATE, when_unclear="pass"))])
    assert 1 <= proof.most_hurt() <= proof.most_hurt(confidence=1.0) == proof.boundary.most_failures
    (pauses,) = plan_gates([("all", devices, GATE)])
    assert pauses.most_hurt(confidence=1.0) == pauses.pass_limit(devices) + 1
    assert pauses.most_hurt(unreported=7) == min(devices, pauses.most_hurt() + 7)


def test_what_a_wave_finds_is_found_with_that_confidence() -> None:
    found = WAVE.found_percent() / 100
    assert WAVE.boundary.stops(found) == pytest.approx(0.95, abs=1e-4)
    assert replace(WAVE, boundary=boundary(1, 0.1, 0.05)).found_percent() == math.inf


def test_a_preview_says_in_one_line_what_a_gate_does() -> None:
    assert WAVE.explain(unreported=2) == (
        "canary: 100 devices; passes with 2 failures at most, which a release that fails on 1 % misses in 7.9 %; aborted by 2 among the "
        "first 3, and by 7 in any case, which finds one that fails on 10.9 %; at most 5 hurt (95 % confidence)"
    )


def test_a_gate_for_ten_thousand_devices_lets_a_good_release_pass() -> None:
    (wave,) = plan_gates([("all", 10_000, GATE)])
    assert (wave.pass_limit(10_000), wave.min_reports) == (200, 5000)
    assert 200 < wave.boundary.most_failures < 235
    assert judge(wave, counted(10_000, confirmed=9_800, failed=200), 10).outcome == "pass"


@pytest.mark.parametrize("sizes", [(20, 80, 300, 600), (5, 15, 80), (1, 2), (10_000,), (100, 100, 100)])
@pytest.mark.parametrize("percent", [0.5, 2.0, 10.0])
def test_a_release_that_fails_on_half_of_what_is_allowed_is_paused_in_5_of_100_rollouts_at_most(sizes: tuple[int, ...], percent: float):
    waves = wave_gates([(f"wave-{size}", size, Gate(percent)) for size in sizes])
    pausing = [wave for wave in waves if wave.pass_limit(wave.devices) + 1 < wave.boundary.most_failures]  # others abort at once
    assert sum(wave.pauses_half for wave in pausing) <= FALSE_ABORT + len(waves) * LEAST_PAUSE


def test_a_wave_that_may_pause_stops_no_later_than_one_that_waits_for_proof():
    for size in (5, 20, 100, 1000):
        pausing, proving = (wave_gates([("canary", size, Gate(2.0, when_unclear=how))])[0] for how in ("pause", "pass"))
        assert pausing.pass_limit(size) <= proving.pass_limit(size)
        assert all(pausing.stopped_percent(rate) >= proving.stopped_percent(rate) for rate in (1, 2, 4, 8, 20, 60))


def test_a_small_canary_passes_with_no_more_failures_than_a_good_release_makes():
    limits = {
        size: wave_gates([("canary", size, Gate(2.0)), ("rest", 500, Gate(2.0))])[0].pass_limit(size) for size in (1, 2, 5, 20, 50, 100)
    }
    assert limits == {1: 0, 2: 0, 5: 0, 20: 1, 50: 2, 100: 3}
