"""Paces and budgets: how many devices are at an update at once, while a release is brought."""

from collections import Counter
from dataclasses import replace

import pytest
from tests.rollouts.world import GATE, NEW, OLD, WAVES, World, digest_of, intent, wave_devices

from isthmus.errors import InputError, StoreError
from isthmus.fleet.waves import Wave
from isthmus.release.store import Page
from isthmus.repository import changes
from isthmus.rollouts.looking import at
from isthmus.rollouts.stopping import RolloutPausedError
from isthmus_agent.formats import report
from isthmus_agent.formats.pace import pace_draw
from isthmus_agent.formats.report import Outcome
from isthmus_agent.formats.turns import Budget, Turns


def test_a_paced_wave_has_so_many_begin_in_a_minute_and_its_deadline_waits_for_the_last_of_them(settled: World):
    wanted = intent(NEW, waves=[replace(it, most_per_minute=1) for it in WAVES], gates=[replace(GATE, deadline_seconds=60)] * 3)
    settled.bring(wanted, upto=1)
    settled.bring(replace(wanted, waves=[replace(it, most_per_minute=2) for it in WAVES]))
    began = {name: at for (name, number), at in settled.begun.items() if number == 2}
    opened = settled.told.opened_seconds
    found = [sorted(began[name] - opened[wave] for name in wave_devices(settled, wave)) for wave in range(3)]
    assert [[int(it // 60) for it in wave] for wave in found] == [[0, 1], [0, 1, 2, 3], [0, 0, 1, 1, 2, 2]]
    assert len(began) == 12
    assert settled.told.number == 2
    assert any("not due yet" in line for line in settled.lines)


def slow(world: World, *dark: str):
    """Each device takes 25 seconds for an update; those in the dark say nothing."""

    def behave(device: str, digest: str) -> Outcome | None:
        if device in dark:
            return None
        began = max((at for (name, _), at in world.begun.items() if name == device), default=world.time)
        return Outcome.CONFIRMED if digest == digest_of(OLD) or world.time >= began + 25 else Outcome.UPDATING

    return behave


def in_the_middle(world: World, number: int) -> Counter[str]:
    """How many devices of each site are at an update: told it, and not heard of as confirmed."""
    folder = report.folder("edge/", number)
    done = {key.removeprefix(folder).partition("~")[0] for key in world.store.objects if key.startswith(folder) and "~confirmed~" in key}
    has = {name for name, told in world.history.items() if told[-1] and told[-1].number == number}
    return Counter("ab"[int(name[-1]) % 2] for name in has - done)


def test_of_each_site_no_more_devices_are_updated_at_once_than_its_budget_and_all_have_their_turn(settled: World):
    """And with a pace no more begin in a minute, of all sites together."""
    settled.behave, seen, pause = slow(settled), list[int](), settled.pause

    def watched(seconds: float) -> None:
        pause(seconds)
        seen.extend(in_the_middle(settled, 2).values())

    settled.pause = watched  # type: ignore[method-assign]
    its = intent(NEW, budget=Budget("site", 1), gates=[replace(GATE, deadline_seconds=90)] * 3)
    settled.bring(its, upto=1)
    settled.bring(replace(its, budget=Budget("site", None, 340_000)))  # two of six
    assert max(seen) == 2
    assert settled.told.turns is None  # it is the fleet's, and who joins has it at once
    assert Counter(settled.contents().values()) == {digest_of(NEW): 12}
    assert any(it.startswith("it is the turn of ") for it in settled.lines)
    assert "number 2 goes on with other gates, pace, budget, probation, window, samples or counts" in settled.lines
    everybody = [Wave("all", percent=100, most_per_minute=4)]
    settled.bring(intent(OLD, budget=Budget("site", 3), waves=everybody, gates=[GATE]), upto=0)
    settled.act()
    began = sorted(at for (_, number), at in settled.begun.items() if number == 3)
    assert len(began) == 12
    assert all(began[later] - began[later - 4] >= 60 for later in range(4, 12))


def test_a_silent_device_holds_its_site_alone_and_the_rollout_pauses_and_goes_on_when_it_is_back(settled: World):
    its = intent(NEW, budget=Budget("site", 1), waves=[Wave("all", percent=100)], gates=[replace(GATE, deadline_seconds=60)])
    settled.bring(its, 0, wait=False)
    names = [it.name for it in settled.devices if it.labels["site"] == "b"]
    dark = min(names, key=lambda name: pace_draw(settled.told.salt, name))  # whose turn is the first
    settled.behave = slow(settled, dark)
    with pytest.raises(RolloutPausedError) as caught:
        settled.bring(its, 0)
    assert "the turn has not come until the deadline" in str(caught.value)
    assert f"with site b wait for {dark}" in str(caught.value)
    assert Counter(it.labels["site"] for it in settled.devices if settled.contents()[it.name] == digest_of(NEW))["a"] == 6
    with pytest.raises(InputError, match="devices of open waves wait for their turn, by the budget for the label 'site'"):
        settled.change(changes.promoted)
    settled.behave = slow(settled)
    settled.change(lambda told, number: changes.resumed(told, number, at(settled.time)))
    settled.bring(its, 0)
    assert Counter(settled.contents().values()) == {digest_of(NEW): 12}


def test_a_turn_comes_by_a_whole_look_only(settled: World):
    """The look at what devices had before fails: nobody's turn comes until it has been read."""
    settled.behave = slow(settled)
    page, failed = settled.store.page, list[str]()

    def failing_page(prefix: str, *, after: str = "") -> Page:
        if prefix == report.folder("edge/", 1) and len(failed) < 3:
            failed.append(prefix)
            assert settled.told.turns is not None
            assert settled.told.turns.by_value == {}
            raise StoreError("no answer")
        return page(prefix, after=after)

    settled.bring(intent(NEW), upto=0)  # what is told is there: its first look is for people and deltas
    settled.change(lambda told, number: replace(told, number=number, open_waves=1, turns=Turns(Budget("site", 1), {}, 0)))  # type: ignore[type-var]
    settled.store.page = failing_page  # type: ignore[method-assign]
    settled.follow()
    assert len(failed) == 3
