"""The core by examples: one device, one cause, what is done about it and what is said."""

from dataclasses import replace

import pytest
from tests.isthmus_agent.core.world import DAY, GOOD, World, assignment, blames, device_with, digest_of, offer, variant_of

from isthmus_agent.core import events
from isthmus_agent.core.causes import FAILURES, Failure, failure_of
from isthmus_agent.core.effects import Cancel, Check, Fetch, Persist, Say, Serve, Sweep
from isthmus_agent.core.events import Measurement
from isthmus_agent.core.state import Device, Kept, Moment, Phase, Settings, Verdict
from isthmus_agent.core.step import start, step, wakes_at
from isthmus_agent.formats.assignment import WHOLE_SHARE, Before, Wave
from isthmus_agent.formats.contents import Delta
from isthmus_agent.formats.pace import Pace, pace_draw
from isthmus_agent.formats.probation import Probation
from isthmus_agent.formats.report import Outcome, Reason
from isthmus_agent.formats.turns import Budget, Turns
from isthmus_agent.formats.window import Window

A, B, C = digest_of(1), digest_of(2), digest_of(3)


def on_the_way(phase: Phase, **more: object) -> World:
    """A device that serves A, brought to a phase on its way to B."""
    world = device_with(A)
    offer(world, 2, B, **more)
    world.seconds = world.running.poll_at
    world.tick()
    while world.running.phase is not phase:
        world.answer()
    return world


def phases_of(world: World) -> list[Phase]:
    found: list[Phase] = []
    for _ in range(100):
        if not found or world.running.phase is not found[-1]:
            found.append(world.running.phase)
        if world.is_settled:
            return found
        if world.pending:
            world.answer()
        else:
            world.tick(max(0.0, wakes_at(world.running) - world.seconds))
    raise AssertionError(found)


def test_a_release_goes_through_its_phases_and_is_said():
    world = device_with(A)
    offer(world, 2, B)
    world.tick(70)
    assert phases_of(world) == [Phase.CHECKING, Phase.DOWNLOADING, Phase.VERIFIED, Phase.TRIAL, Phase.CONFIRMED]
    assert world.outcomes(B) == [Outcome.UPDATING, Outcome.CONFIRMED]
    assert (world.disk.current, world.disk.previous, world.served, world.slots) == (B, A, B, {A, B})


@pytest.mark.parametrize("reason", [reason for reason in FAILURES if failure_of(reason) is Failure.TRANSPORT])
def test_the_way_to_the_store_is_tried_again_and_blames_nobody(reason):
    world = on_the_way(Phase.DOWNLOADING)
    for _ in range(5):
        assert isinstance(world.pending[0], Fetch)
        world.answer(reason)
        assert world.running.phase is Phase.IDLE
        world.tick(wakes_at(world.running) - world.seconds)
        world.answer()
    world.settle()
    assert world.served == B
    assert blames(world.said) == []


@pytest.mark.parametrize("reason", [it for it in FAILURES if failure_of(it) is Failure.DEVICE and it is not Reason.DELTA_UNUSABLE])
def test_a_devices_own_failure_blocks_it_until_the_cause_is_gone(reason):
    world = on_the_way(Phase.DOWNLOADING)
    world.answer(reason)
    assert world.running.phase is Phase.BLOCKED
    assert world.said[-1] == Say(2, B, Outcome.BLOCKED, reason)
    world.settle()
    assert world.outcomes(B)[-1] is Outcome.CONFIRMED


def test_waits_grow_are_spread_and_end_with_success():
    waits = {}
    for seed in ("one", "two"):
        world = on_the_way(Phase.DOWNLOADING)
        world.state = replace(world.running, seed=seed)
        waits[seed] = []
        for _ in range(12):
            world.answer(Reason.UNREACHABLE)
            waits[seed].append(wakes_at(world.running) - world.seconds)
            world.tick(waits[seed][-1])
            world.answer()
        world.settle()
        assert world.running.failures == 0
    for row in waits.values():
        assert all(0.5 * min(5 * 2**count, 900) <= wait <= 900 for count, wait in enumerate(row))
    assert waits["one"] != waits["two"]


def test_a_content_that_is_exactly_what_was_signed_and_no_bundle_is_unfit_for_good():
    world = on_the_way(Phase.DOWNLOADING)
    world.answer(Reason.BUNDLE_INVALID)
    assert world.running.phase is Phase.UNFIT
    assert world.said[-1] == Say(2, B, Outcome.UNFIT, Reason.BUNDLE_INVALID)
    fetches = sum(isinstance(it, Fetch) for _, effects in world.log for it in effects)
    for _ in range(10):
        world.tick(100)
        world.answer()
    assert sum(isinstance(it, Fetch) for _, effects in world.log for it in effects) == fetches
    offer(world, 3, C)
    world.settle()
    assert world.served == C


def test_the_same_content_under_a_new_number_is_tried_again():
    world = on_the_way(Phase.DOWNLOADING)
    world.answer(Reason.BUNDLE_INVALID)
    offer(world, 3, B)
    world.settle()
    assert world.disk.verdict == Verdict(3, B, Outcome.CONFIRMED)


@pytest.mark.parametrize("kind", ["fails", "ends the self-test"])
def test_a_content_that_fails_its_self_test_is_unfit_and_the_old_one_goes_on(kind):
    world = device_with(A)
    world.kinds[B] = kind
    offer(world, 2, B)
    world.settle()
    assert (world.served, world.disk.current, world.disk.number) == (A, A, 2)
    assert world.said[-1].outcome is Outcome.UNFIT


@pytest.mark.parametrize("reason", [Reason.OUT_OF_MEMORY, Reason.SERVER_FAULT, Reason.NO_INTERPRETER])
def test_a_server_that_the_device_cannot_start_is_no_fault_of_the_release(reason):
    world = on_the_way(Phase.TRIAL)
    world.answer(reason)
    assert world.said[-1] == Say(2, B, Outcome.BLOCKED, reason)
    assert world.disk.trial is None
    world.settle()
    assert world.served == B
    assert blames(world.said) == []


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


@pytest.mark.parametrize("reason", [Reason.REPLAYED, Reason.CONFLICTING_ASSIGNMENT])
def test_what_is_played_back_is_told_beside_the_outcome_until_the_next_good_look(reason):
    world = device_with(A)
    world.tick(70)
    world.answer(reason)
    said = world.said[-1]
    assert (said.number, said.outcome, said.reason, failure_of(reason)) == (1, Outcome.CONFIRMED, reason, Failure.TRANSPORT)
    count = len(world.said)
    world.tick(70)
    world.answer(reason)
    assert len(world.said) == count  # once
    world.tick(100)
    world.answer()
    assert (world.said[-1].outcome, world.said[-1].reason) == (Outcome.CONFIRMED, Reason.NONE)
    assert world.served == A


def test_an_old_assignment_is_told_of_and_not_followed():
    world = on_the_way(Phase.TRIAL)
    world.settle()
    world.tick(70)
    world.pending.clear()
    world.give(events.Checked(assignment(1, A)))
    assert (world.said[-1].number, world.said[-1].outcome, world.said[-1].reason) == (2, Outcome.CONFIRMED, Reason.REPLAYED)


def test_what_was_said_against_a_release_is_not_covered_by_a_replay():
    world = on_the_way(Phase.DOWNLOADING)
    world.kinds[B] = "fails"
    world.settle()
    world.tick(100)
    world.answer(Reason.REPLAYED)
    assert (world.said[-1].outcome, world.said[-1].reason) == (Outcome.UNFIT, Reason.SELF_TEST_FAILED)


def test_a_clock_that_is_lost_while_a_window_is_waited_for_opens_nothing():
    world = device_with(A)
    world.utc_offset = 1_800_000_000.0 - 1_800_000_000.0 % DAY + 12 * 3600
    offer(world, 2, B, window=Window(60, 120))
    world.tick(70)
    while world.running.phase is not Phase.WAITING:
        world.answer()
    world.utc_offset = None
    world.tick(70)
    world.answer()
    assert (world.running.phase, world.served) == (Phase.WAITING, A)


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


@pytest.mark.parametrize("phase", [Phase.DOWNLOADING, Phase.VERIFIED, Phase.TRIAL])
def test_a_withdrawn_release_is_noticed_before_the_switch(phase):
    world = on_the_way(phase)
    offer(world, 3, A)
    if phase is not Phase.VERIFIED:
        if phase is Phase.TRIAL:
            world.answer()
        world.seconds = world.running.poll_at
        world.tick()
        world.pending.sort(key=lambda it: not isinstance(it, Check))
    effects = world.answer()
    if phase is Phase.DOWNLOADING:
        assert Cancel(B) in effects
    world.settle()
    assert (world.served, world.disk.current, world.disk.number) == (A, A, 3)
    assert blames(world.said) == []
    if phase is not Phase.TRIAL:
        assert all(Serve(B) not in done for _, done in world.log)


def test_a_number_never_goes_back_and_is_of_one_content():
    world = on_the_way(Phase.DOWNLOADING)
    world.settle()
    for replayed in (assignment(1, A), assignment(2, C), replace(assignment(2, B), fleet="doors")):
        world.tick(1000)
        world.pending.clear()
        world.give(events.Checked(replayed))
        assert (world.disk.number, world.served, world.running.phase) == (2, B, Phase.CONFIRMED)


def test_a_disk_that_was_lost_believes_only_what_is_known_to_be_fresh():
    device, now = Device("camera-1", "cameras"), Moment(0.0)
    state, _ = start(device, Settings(), Kept(), now, held=frozenset({A}), seed="s", is_lost=True)
    state, effects = step(state, events.Checked(assignment(5, B)), now)
    assert state.kept.number == 0
    assert not any(isinstance(it, (Fetch, Persist)) for it in effects)
    state, effects = step(state, events.Checked(assignment(5, B), is_fresh=True), now)
    assert (state.kept.number, state.is_lost) == (5, False)


def test_a_paused_rollout_begins_nothing_and_ends_what_was_begun():
    world = device_with(A)
    offer(world, 2, B, paused=True)
    world.tick(100)
    world.answer()
    assert world.running.phase is Phase.IDLE
    assert world.disk.number == 2
    world = on_the_way(Phase.TRIAL)
    offer(world, 2, B, paused=True)
    world.settle()
    assert world.served == B


def test_a_device_outside_of_the_open_waves_keeps_what_was_before_and_one_that_joins_there_gets_it():
    before, waves = Before(1, (variant_of(A),)), (Wave("canary", 0, devices=("other",)), Wave("all", WHOLE_SHARE))
    old, new = device_with(A), World(kinds={A: "good", B: "good"})
    new.boot()
    for world in (old, new):
        offer(world, 2, B, before=before, waves=waves)
        world.settle()
        assert (world.served, world.disk.number, world.disk.verdict) == (A, 2, Verdict(1, A, Outcome.CONFIRMED))
        offer(world, 2, B, before=before, waves=waves, open_waves=2)
        world.settle()
        assert (world.served, world.disk.verdict) == (B, Verdict(2, B, Outcome.CONFIRMED))


def test_a_device_without_a_wave_and_without_a_before_is_left_alone():
    world = World(kinds={A: "good"})
    offer(world, 1, A, waves=(Wave("canary", 0),))
    world.boot()
    world.settle()
    assert (world.served, world.said) == (None, [])


def test_a_class_without_a_variant_is_said_to_be_blocked():
    world = device_with(A)
    world.offered = replace(assignment(2, B), variants=(replace(variant_of(B), device_class="large"),))
    world.tick(100)
    world.answer()
    assert world.said[-1] == Say(2, "", Outcome.BLOCKED, Reason.NO_VARIANT)
    assert world.served == A


def test_a_change_waits_for_its_window_and_is_spread_over_it():
    starts = set()
    for name in ("camera-1", "camera-2", "camera-3"):
        world = device_with(A)
        world.state = replace(world.running, device=Device(name, "cameras"))
        offer(world, 2, B, window=Window(600, 660, 1800))
        while world.disk.trial is None:
            if world.pending:
                world.answer()
            else:
                world.tick(max(0.0, wakes_at(world.running) - world.seconds))
        assert world.now.utc_seconds
        minute = world.now.utc_seconds % DAY / 60
        assert 600 <= minute < 631
        starts.add(minute)
    assert len(starts) == 3


def paced(minute: int, opened_seconds: float) -> dict[str, object]:
    """An assignment in whose one wave the device begins in that minute."""
    drawn = pace_draw("00" * 8, "camera-1")
    shares = (*sorted(drawn - it for it in range(minute)), drawn + 1)
    return {"waves": (Wave("all", WHOLE_SHARE, pace=Pace(1, shares)),), "opened_seconds": (int(opened_seconds),)}


def seconds_until_it_begins(world: World) -> float:
    began = world.seconds
    for _ in range(500):
        if any(isinstance(it, Fetch) for it in world.pending):
            break
        world.answer() if world.pending else world.tick(max(0.0, wakes_at(world.running) - world.seconds))
    assert isinstance(world.pending[-1], Fetch)
    assert not [it for it in world.said[:-1] if it.digest == B]  # who is heard of has begun
    return world.seconds - began


@pytest.mark.parametrize(
    ("utc_offset", "opened_ago", "least_seconds"),
    [
        (1_800_000_000.0, 0, 1800),
        (1_800_000_000.0, 1000, 800),
        (1_800_000_000.0, 10**6, 0),
        (1_800_000_000.0, -(10**8), 1800),  # a publisher's clock: as if it were opened now
        (None, 0, 1800),
        (0.0, 0, 1800),  # a device that takes it for 1970
    ],
)
def test_a_device_begins_in_its_own_minute_and_no_clock_keeps_the_release_from_it(utc_offset, opened_ago, least_seconds):
    world = device_with(A)
    offer(world, 2, B, **paced(30, world.seconds + 1_800_000_000 - opened_ago))
    world.utc_offset = utc_offset
    assert least_seconds <= seconds_until_it_begins(world) <= least_seconds + 2 * world.settings.poll_seconds * 1.1
    world.settle()
    assert world.served == B


def test_a_device_that_has_begun_goes_on_whatever_the_pace_says_then_and_one_that_waits_follows_it():
    world = on_the_way(Phase.DOWNLOADING)
    offer(world, 2, B, **paced(1000, world.seconds + 1_800_000_000))
    world.answer()
    world.settle()
    assert world.served == B
    offer(world, 3, C, **paced(1000, world.seconds + 1_800_000_000))
    world.tick(100)
    world.answer()
    assert world.running.phase is Phase.WAITING
    offer(world, 3, C, **paced(0, world.seconds + 1_800_000_000))
    world.tick(100)
    world.answer()
    assert world.running.phase is Phase.DOWNLOADING


def test_a_device_of_an_open_wave_whose_turn_has_not_come_goes_on_with_what_it_had_and_says_so_until_it_has():
    world = device_with(A)
    before, turns = Before(1, (variant_of(A),)), Turns(Budget("site", 1), {}, 0)
    offer(world, 2, B, before=before, turns=turns)
    world.said.clear()
    world.tick(100)
    world.answer()
    world.settle()
    assert world.served == A
    assert {it.number for it in world.said} <= {1}
    offer(world, 2, B, before=before, turns=replace(turns, by_value={"": (0, pace_draw("00" * 8, "camera-1") + 1)}))
    world.tick(100)
    world.answer()
    assert world.running.phase is Phase.DOWNLOADING
    world.settle()
    assert world.served == B


def test_a_time_that_is_proven_to_be_past_is_enough_for_a_device_without_a_clock_that_starts_again_and_again():
    world = device_with(A, utc_offset=None)
    offer(world, 2, B, **paced(1000, 1_800_000_000))
    world.disk = replace(world.disk, time_floor=1_800_000_000 + 60_000)
    world.boot()
    assert seconds_until_it_begins(world) < 120


def test_without_the_time_of_day_a_device_waits_for_so_long_and_no_longer():
    world = device_with(A, utc_offset=None, settings=Settings(clockless_wait_seconds=3000))
    offer(world, 2, B, window=Window(600, 660))
    began = world.seconds
    world.settle()
    assert world.served == B
    assert 3000 <= world.seconds - began < 4000
    assert Say(2, B, Outcome.BLOCKED, Reason.CLOCK) in world.said


def test_the_model_before_comes_back_by_hand_and_stays_until_the_next_release():
    world = on_the_way(Phase.DOWNLOADING)
    world.settle()
    world.give(events.RollBack())
    world.settle()
    assert world.served == A
    assert world.said[-1] == Say(2, B, Outcome.BLOCKED, Reason.HELD_BY_OPERATOR)
    world.tick(1000)
    world.settle()
    assert world.served == A
    offer(world, 3, C)
    world.settle()
    assert world.served == C


def test_a_trial_is_ended_by_hand():
    world = on_the_way(Phase.TRIAL)
    world.answer()
    world.give(events.RollBack())
    world.settle()
    assert world.served == A
    assert blames(world.said) == []


def test_by_hand_there_has_to_be_a_model_before():
    world = device_with(A)
    assert world.give(events.RollBack()) == ()


def test_the_old_model_is_removed_only_after_the_new_one_is_confirmed():
    world = on_the_way(Phase.DOWNLOADING)
    world.settle()
    offer(world, 3, C)
    world.settle()
    current: str | None = None
    for _, effects in world.log:
        for effect in effects:
            if isinstance(effect, Persist):
                current = effect.kept.current
            if isinstance(effect, Sweep) and current:
                assert current in effect.keep
    assert world.slots == {B, C}


def test_a_full_disk_gives_up_the_model_before_and_never_the_one_in_service():
    world = on_the_way(Phase.DOWNLOADING)
    world.settle()
    offer(world, 3, C)
    world.tick(1000)
    world.answer()
    world.answer(Reason.DISK_FULL)
    assert world.slots == {B}
    world.settle()
    assert world.served == C


def test_a_delta_that_cannot_be_used_is_followed_by_the_whole_bundle():
    world = device_with(A)
    delta = Delta(A, B, "cameras/a-b.delta", 10)
    offer(world, 2, B, deltas=(delta, replace(delta, from_=C)))
    world.tick(1000)
    world.answer()
    assert world.pending == [Fetch(variant_of(B), (delta,))]
    world.answer(Reason.DELTA_UNUSABLE)
    assert world.pending == [Fetch(variant_of(B))]
    world.settle()
    assert world.served == B


def test_a_slot_that_was_damaged_is_fetched_again_and_the_one_before_serves_meanwhile():
    world = on_the_way(Phase.DOWNLOADING)
    world.settle()
    world.kill()
    world.slots.discard(B)
    world.boot()
    world.answer()
    assert world.served == A
    world.settle()
    assert world.served == B
    assert blames(world.said) == []


def test_a_disk_that_takes_nothing_begins_nothing_and_is_said():
    world = on_the_way(Phase.VERIFIED)
    world.disk_fault = Reason.DISK_READ_ONLY
    effects = world.answer()
    assert isinstance(effects[0], Persist)
    assert world.pending == []
    assert world.said[-1] == Say(2, B, Outcome.BLOCKED, Reason.DISK_READ_ONLY)
    world.disk_fault = None
    world.settle()
    assert world.served == B


def test_a_disk_that_takes_nothing_does_not_keep_a_bad_model_in_service():
    world = on_the_way(Phase.TRIAL)
    world.answer()
    world.disk_fault = Reason.DISK_FULL
    world.crash()
    world.answer()
    assert world.served == A
    world.disk_fault = None
    world.settle()
    assert (world.served, world.disk.trial) == (A, None)
    assert world.disk.verdict == Verdict(2, B, Outcome.ROLLED_BACK, Reason.CRASHED)


def test_a_start_that_cannot_be_counted_does_not_go_on_with_a_trial():
    world = on_the_way(Phase.TRIAL)
    world.answer()
    world.kill()
    world.disk_fault = Reason.DISK_READ_ONLY
    world.boot()
    world.tick(1)
    world.answer()
    assert world.served == A


def test_what_was_decided_is_said_again_after_a_restart_and_as_a_heartbeat():
    world = device_with(A)
    world.said.clear()
    world.kill()
    world.boot()
    while not world.said:
        if world.pending:
            world.answer()
        else:
            world.tick(1)
    assert world.said == [Say(1, A, Outcome.CONFIRMED)]
    world.tick(world.settings.heartbeat_seconds)
    assert world.said == [Say(1, A, Outcome.CONFIRMED)] * 2


def test_a_store_without_news_is_asked_by_a_condition():
    world = device_with(A)
    world.tick(1000)
    assert world.pending == [Check(is_conditional=True)]


def test_an_answer_of_no_news_to_a_device_that_knows_none_is_odd():
    world = World()
    world.boot()
    world.tick()
    world.give(events.Unchanged())
    assert (world.running.failures, world.running.looking) == (1, False)


def test_a_time_that_is_proven_becomes_the_floor_and_is_not_written_at_each_look():
    world = device_with(A)
    offered = world.offered
    assert offered
    for floor, kept in ((5000, 5000), (6000, 5000), (4000, 5000), (8600, 8600)):
        world.give(events.Checked(offered, utc_floor=floor))
        assert world.disk.time_floor == kept


def test_a_time_that_others_have_said_is_forgotten_with_their_keys():
    world = device_with(A)
    offered = world.offered
    assert offered
    for keys, floor in (("old", 9_000_000), ("new", 5000), ("new", 4000)):
        world.give(events.Checked(offered, utc_floor=floor, time_keys=keys))
    assert (world.disk.time_floor, world.disk.time_keys) == (5000, "new")


def test_time_that_passes_without_news_is_kept_over_a_restart():
    """Else whoever holds back what is new has the whole of a timestamp's time again after each."""
    world = device_with(A)
    before = world.disk.time_floor
    floor = before + world.settings.time_floor_step_seconds
    for utc_floor, kept in ((floor - 1, before), (floor, floor)):
        world.tick(1000)
        world.pending.clear()
        world.give(events.Unchanged(utc_floor))
        assert world.disk.time_floor == kept
