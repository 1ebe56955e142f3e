"""A trial's probation by examples: limits, crashes, starts that are counted; and what crashes after it."""

import pytest
from tests.isthmus_agent.core.world import DAY, GOOD, A, B, World, blames, device_with, offer, on_the_way

from isthmus_agent.core import events
from isthmus_agent.core.effects import Say, Serve
from isthmus_agent.core.events import Measurement
from isthmus_agent.core.state import Phase, Settings, Verdict
from isthmus_agent.core.step import wakes_at
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Outcome, Reason


@pytest.mark.parametrize(
    ("limits", "found", "reason"),
    [
        ({}, Measurement(golden_probes_passed=False), Reason.GOLDEN_PROBE_FAILED),
        ({"max_p95_microseconds": 10}, Measurement(p95_microseconds=11), Reason.TOO_SLOW_IN_SERVICE),
        ({"max_rss_bytes": 10}, Measurement(rss_bytes=11), Reason.TOO_MUCH_MEMORY),
        ({"max_distribution_distance_millionths": 10}, Measurement(distribution_distance_millionths=11), Reason.PREDICTIONS_MOVED),
    ],
)
def test_a_broken_limit_takes_the_device_back(limits, found, reason):
    world = on_the_way(Phase.TRIAL, probation=Probation(60, **limits))
    world.answer()
    assert world.served == B
    effects = world.give(events.Measured(B, found))
    assert isinstance(effects[0], Serve)
    assert world.said[-1] == Say(2, B, Outcome.ROLLED_BACK, reason)
    world.settle()
    assert (world.served, world.disk.current) == (A, A)


def test_a_probation_ends_only_once_everything_that_it_limits_was_measured():
    world = on_the_way(Phase.TRIAL)
    world.answer()
    world.seconds += 100
    world.give(events.Measured(B, Measurement(p95_microseconds=None)))
    assert world.disk.trial == B
    world.give(events.Measured(B, Measurement(p95_microseconds=1)))
    assert world.disk.current == B


def test_how_far_predictions_moved_is_asked_only_where_there_is_a_version_to_compare_with():
    probation, nothing = Probation(60, max_distribution_distance_millionths=10), Measurement()
    world = on_the_way(Phase.TRIAL, probation=probation)
    world.answer()
    world.seconds += 100
    world.give(events.Measured(B, nothing))
    assert world.disk.trial == B
    first = World(kinds={A: GOOD})
    offer(first, 1, A, probation=probation)
    first.boot()
    while first.served != A:
        _ = first.answer() if first.pending else first.tick(max(0.0, wakes_at(first.running) - first.seconds))
    first.seconds += 100
    first.give(events.Measured(A, nothing))
    assert (first.disk.trial, first.disk.current) == (None, A)


def test_a_probation_lasts_as_long_as_it_says():
    world = on_the_way(Phase.TRIAL)
    world.answer()
    world.seconds += 59
    world.give(events.Measured(B, Measurement(p95_microseconds=1)))
    assert world.disk.trial == B


@pytest.mark.parametrize("forgiven", [0, 2])
def test_a_crash_on_a_request_is_counted_and_one_too_many_takes_the_device_back(forgiven):
    world = on_the_way(Phase.TRIAL, probation=Probation(60, max_crashes=forgiven))
    world.answer()
    for count in range(forgiven):
        world.crash()
        assert world.disk.crashes == count + 1
        world.answer()
        assert world.served == B
    world.crash(Reason.HUNG)
    assert world.said[-1] == Say(2, B, Outcome.ROLLED_BACK, Reason.HUNG)
    world.settle()
    assert world.served == A


def test_crashes_are_counted_over_restarts():
    world = on_the_way(Phase.TRIAL, probation=Probation(60, max_crashes=1))
    world.answer()
    world.crash()
    world.kill()
    world.boot()
    world.answer()
    assert world.served == B
    world.crash()
    assert world.said[-1].outcome is Outcome.ROLLED_BACK


@pytest.mark.parametrize(
    ("end", "most", "outcome"),
    [(World.kill, Settings().most_trial_boots, Outcome.ROLLED_BACK), (World.cut_power, Settings().most_trial_reboots, Outcome.BLOCKED)],
)
def test_a_trial_that_is_begun_again_and_again_is_left_and_power_cuts_blame_nobody(end, most, outcome):
    world = on_the_way(Phase.TRIAL)
    world.answer()
    for _ in range(most):
        end(world)
        world.boot()
        world.answer()
        assert world.served == B
    end(world)
    world.boot()
    world.settle()
    assert world.served == A
    assert world.disk.verdict == Verdict(2, B, outcome, Reason.RESTARTED_TOO_OFTEN)
    world.tick(DAY)
    world.settle()
    assert world.served == A  # not tried again before there is another assignment
    assert bool(blames(world.said)) is outcome.is_against_release


def test_a_program_that_is_stopped_in_order_may_be_started_as_often_as_one_likes():
    world = on_the_way(Phase.TRIAL)
    world.answer()
    for _ in range(30):
        world.stop()
        world.boot()
        world.answer()
    assert (world.served, world.disk.trial_boots, world.disk.is_stopped) == (B, 0, False)
    world.kill()
    world.boot()
    assert world.disk.trial_boots == 1
    world.settle()
    assert world.disk.current == B


def test_a_confirmed_model_that_crashes_again_and_again_is_left_for_the_one_before():
    world = on_the_way(Phase.DOWNLOADING)
    world.settle()
    for _ in range(world.settings.most_crashes):
        world.crash()
        world.answer()
        assert world.served == B
    world.crash()
    world.settle()
    assert world.served == A
    assert world.said[-1] == Say(2, B, Outcome.ROLLED_BACK, Reason.CRASHED)


def test_a_crash_now_and_then_is_forgotten():
    world = on_the_way(Phase.DOWNLOADING)
    world.settle()
    for _ in range(10):
        world.seconds += DAY + 1
        world.crash()
        world.settle()
    assert world.served == B


def test_a_crashing_model_with_none_before_it_is_said_to_be_unfit_and_served_all_the_same():
    world = device_with(A)
    for _ in range(6):
        world.crash()
        world.settle()
    assert world.served == A
    assert world.said[-1] == Say(1, A, Outcome.UNFIT, Reason.CRASHED)
