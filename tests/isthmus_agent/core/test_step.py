"""The core by examples: one device, one cause, what is done about it and what is said."""

from dataclasses import replace

import pytest
from tests.isthmus_agent.core.world import DAY, A, B, C, World, assignment, blames, device_with, offer, on_the_way, variant_of

from isthmus_agent.core import events
from isthmus_agent.core.causes import FAILURES, Failure, failure_of
from isthmus_agent.core.effects import Cancel, Check, Fetch, Persist, Say, Serve, Sweep
from isthmus_agent.core.state import Device, Kept, Moment, Phase, Settings, Verdict
from isthmus_agent.core.step import start, step, wakes_at
from isthmus_agent.formats.contents import Delta
from isthmus_agent.formats.report import Outcome, Reason
from isthmus_agent.formats.window import Window


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
