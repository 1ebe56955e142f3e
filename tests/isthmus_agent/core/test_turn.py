"""When a device's turn has come: waves, windows, paces, budgets, and clocks that are not there."""

from dataclasses import replace

import pytest
from tests.isthmus_agent.core.world import DAY, A, B, C, World, assignment, device_with, offer, on_the_way, variant_of

from isthmus_agent.core.effects import Fetch, Say
from isthmus_agent.core.state import Device, Phase, Settings, Verdict
from isthmus_agent.core.step import wakes_at
from isthmus_agent.formats.assignment import WHOLE_SHARE, Before, Wave
from isthmus_agent.formats.pace import Pace, pace_draw
from isthmus_agent.formats.report import Outcome, Reason
from isthmus_agent.formats.turns import Budget, Turns
from isthmus_agent.formats.window import Window


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
