from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from isthmus.fleet.gates import Gate, plan_gates
from isthmus.fleet.judging import Tally, judge
from isthmus.fleet.rivals import AwsIotJobs, FlightControl, HawkBit
from isthmus.fleet.simulate import NEVER, Counts, Decision, Gated, Looks, Release, Rule, Times, Trial, simulate

SIZES = (10, 40)
GATE = Gate(max_failure_percent=5, deadline_seconds=7200)
TIMES = Times()


def gated(gate: Gate = GATE, *, knows_begun: bool = True) -> Gated:
    return Gated("ours", plan_gates([(str(size), size, gate) for size in SIZES]), knows_begun)


@dataclass(frozen=True)
class Spy:
    """A rule that stops nothing, and keeps what it was shown."""

    name: str = "spy"
    seen: list[Looks] = field(default_factory=list)

    def decide(self, wave: int, looks: Looks, before: Mapping[str, Counts], times: Times) -> Decision:
        self.seen.append(looks)
        rollouts = len(looks.heard)
        return Decision(np.full(rollouts, 200), np.full(rollouts, NEVER), np.zeros(rollouts, dtype=bool))


def shown(release: Release, rollouts: int = 20, sizes: tuple[int, ...] = SIZES) -> list[Looks]:
    spy = Spy()
    simulate([spy], Trial(release, sizes), rollouts=rollouts, seed=3)
    return spy.seen


def judged(rule: Gated, looks: Looks, rollout: int) -> tuple[str, int]:
    """What the gate itself says at each look, up to the first that is no waiting."""
    wave = rule.waves[0]
    for look in range(looks.heard.shape[1]):
        counts = {key: int(getattr(looks, key)[rollout, look]) for key in ("heard", "failed", "failed_late", "soaking", "settled")}
        failed = counts["failed"] + counts["failed_late"]
        silent = looks.devices - failed - counts["soaking"] - counts["settled"]
        seen = Tally(
            confirmed=tuple(map(str, range(counts["settled"]))),
            soaking=tuple(map(str, range(counts["soaking"]))),
            failed={str(number): "" for number in range(failed)},
            silent=tuple(map(str, range(silent))),
        )
        verdict = judge(wave, seen, look * TIMES.look, begun=counts["heard"] if rule.knows_begun else None)
        if verdict.outcome != "wait":
            return verdict.outcome, look
    raise AssertionError("the gate never decided")


@pytest.mark.parametrize("knows_begun", [True, False])
@pytest.mark.parametrize("when_unclear", ["pause", "pass"])
@pytest.mark.parametrize("release", [Release("mixed", 0.05, 0.03, 0.05), Release("bad", 0.4), Release("good", 0.0)])
def test_the_simulated_gate_is_the_gate(release: Release, when_unclear: Any, knows_begun: bool) -> None:
    rule = gated(replace(GATE, when_unclear=when_unclear), knows_begun=knows_begun)
    looks = shown(release)[0]
    decision = rule.decide(0, looks, {}, TIMES)
    for rollout in range(len(looks.heard)):
        passes, stops = int(decision.advances[rollout]), int(decision.stops[rollout])
        found = ("pass", passes) if passes < NEVER else ("inconclusive" if decision.is_pause[rollout] else "abort", stops)
        assert found == judged(rule, looks, rollout)


def test_every_device_is_seen_for_what_it_does_in_the_end() -> None:
    for looks in shown(Release("mixed", 0.2, 0.2, 0.2)):
        end = {key: getattr(looks, key)[:, -1] for key in ("failed", "failed_late", "confirmed", "settled", "timed_out", "hurt", "soaking")}
        assert np.array_equal(end["failed"] + end["failed_late"] + end["timed_out"], end["hurt"])
        assert np.array_equal(end["failed"] + end["timed_out"] + end["confirmed"], np.full(len(end["hurt"]), looks.devices))
        assert np.array_equal(end["settled"], end["confirmed"] - end["failed_late"])
        assert not end["soaking"].any()
        assert (looks.heard >= looks.failed + looks.confirmed).all()


ALL: list[Rule] = [
    gated(),
    AwsIotJobs("aws", 5, 5),
    HawkBit("hawkBit", [5, 5], 90),
    FlightControl("Flight Control", [95, 95]),
]


def test_a_release_that_fails_nowhere_is_rolled_out_by_every_rule_and_hurts_nobody() -> None:
    for result in simulate(ALL, Trial(Release("good", 0.0), SIZES), rollouts=50, seed=1).values():
        assert (result.mean_hurt, result.share("stopped"), result.share("paused"), result.share("stalled")) == (0, 0, 0, 0)


def test_a_release_that_fails_everywhere_is_stopped_by_every_rule_in_the_first_wave_by_ours_first() -> None:
    found = simulate(ALL, Trial(Release("bad", 1.0), SIZES), rollouts=50, seed=1)
    assert all(result.share("stopped") + result.share("paused") == 1 and result.mean_hurt <= SIZES[0] for result in found.values())
    assert found["Flight Control"].mean_hurt == SIZES[0]
    assert found["ours"].mean_hurt < found["aws"].mean_hurt


def test_devices_that_die_stall_hawkbit_and_are_found_by_the_others_at_their_deadlines() -> None:
    found = simulate(ALL, Trial(Release("deadly", 0, 1.0), SIZES), rollouts=20, seed=1)
    assert {name: result.share("stalled") for name, result in found.items()} == {"ours": 0, "aws": 0, "hawkBit": 1, "Flight Control": 0}
    assert found["ours"].mean_minutes == pytest.approx(120)


def test_late_failures_are_found_by_the_soak_alone() -> None:
    found = simulate(ALL, Trial(Release("late", 0, 0, 1.0), SIZES), rollouts=20, seed=1)
    assert found["ours"].mean_hurt < 5
    assert [found[name].mean_hurt for name in ("aws", "hawkBit", "Flight Control")] == [sum(SIZES)] * 3


def test_rules_see_the_same_devices_and_a_seed_shows_them_again() -> None:
    trial = Trial(Release("some", 0.1), SIZES)
    twins: list[Rule] = [gated(), replace(gated(), name="twin"), HawkBit("lenient", [100, 100], 50)]
    found, again = (simulate(twins, trial, rollouts=60, seed=5, chunk=25) for _ in range(2))
    hurt = np.concatenate(found["ours"].hurt)
    assert len(hurt) == 60
    assert np.array_equal(hurt, np.concatenate(found["twin"].hurt))
    assert np.array_equal(hurt, np.concatenate(again["ours"].hurt))
    assert not np.array_equal(hurt, np.concatenate(found["lenient"].hurt))


def test_hawkbit_opens_the_next_group_while_errors_of_the_last_may_still_stop_it() -> None:
    rule = HawkBit("hawkBit", [10, 10], 50)
    looks = replace(
        shown(Release("good", 0.0))[0],
        confirmed=np.array([[0, 5, 6, 6]]),
        failed=np.array([[0, 0, 0, 2]]),
        heard=np.array([[10, 10, 10, 10]]),
    )
    decision = rule.decide(0, looks, {}, TIMES)
    assert (decision.advances.tolist(), decision.stops.tolist()) == ([1], [3])


def test_aws_needs_both_the_minimum_and_the_percentage_to_be_exceeded() -> None:
    def stop(rule: AwsIotJobs, failed: list[int], confirmed: list[int], done: int = 0) -> int:
        looks = replace(
            shown(Release("good", 0.0))[0],
            confirmed=np.array([confirmed]),
            failed=np.array([failed]),
            timed_out=np.zeros((1, len(failed)), dtype=int),
            heard=np.full((1, len(failed)), 10),
        )
        before = {"done": np.array([done]), "failed": np.array([0]), "heard": np.array([done])}
        return int(rule.decide(0, looks, before, TIMES).stops[0])

    assert stop(AwsIotJobs("aws", 3, 25), [1, 1, 1], [0, 2, 3]) == NEVER  # 1 of 4 is no more than 25 %
    assert stop(AwsIotJobs("aws", 3, 20), [1, 1, 1], [0, 2, 3]) == 2
    assert stop(AwsIotJobs("aws", 4, 20), [1, 1, 1], [0, 2, 3]) == NEVER  # 4 are no more than 4
    assert stop(AwsIotJobs("aws", 3, 20), [1, 1, 1], [0, 2, 3], done=20) == NEVER  # it counts over the whole job
    assert stop(AwsIotJobs("aws", 3, 9, "heard"), [1, 1, 1], [0, 0, 0]) == 0


def test_flight_control_rounds_the_share_of_successes_down_and_asks_once() -> None:
    def decide(confirmed: int, threshold: int) -> tuple[int, int]:
        looks = replace(
            shown(Release("good", 0.0))[1],
            confirmed=np.array([[0, confirmed]]),
            failed=np.array([[3, 40 - confirmed]]),
            timed_out=np.zeros((1, 2), dtype=int),
        )
        decision = FlightControl("it", [0, threshold]).decide(1, looks, {}, TIMES)
        return int(decision.advances[0]), int(decision.stops[0])

    assert decide(39, 97) == (1, NEVER)  # 97.5 %
    assert decide(39, 98) == (NEVER, 1)
