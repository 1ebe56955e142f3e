"""Bringing a release that is broken off anywhere, beside others who do the same, and while the store fails."""

import copy
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fleet_store import MemoryStore
from tests.rollouts.world import GATE, NEW, OLD, THIRD, World, digest_of, failing, intent

from isthmus.errors import StoreError
from isthmus.release.store import Page
from isthmus.repository import refresh
from isthmus.repository.objects import Place
from isthmus.rollouts.bringing import PATIENCE_SECONDS
from isthmus.rollouts.stopping import RolloutAbortedError, RolloutReplacedError
from isthmus_agent.formats.report import Outcome


def test_somebody_who_tells_something_else_meanwhile_is_not_overruled(settled: World):
    settled.between = [lambda: settled.bring(intent(THIRD), wait=False)]
    with pytest.raises(RolloutReplacedError, match="number 2 was replaced by somebody else meanwhile: number 3"):
        settled.bring(intent(NEW))
    assert settled.told.variants[0].digest == digest_of(THIRD)


def test_two_who_bring_the_same_go_on_together(settled: World):
    settled.between = [lambda: settled.bring(intent(NEW), upto=1)]
    found = settled.bring(intent(NEW))
    assert (found.number, settled.told.number) == (2, 2)
    assert found.passed_seconds is not None


class Hooked(MemoryStore):
    """Somebody does something just before the write of a name that ends so, once."""

    def __init__(self, behind: MemoryStore, ending: str, hook) -> None:
        super().__init__()
        self.objects, self.written, self.clock, self._ending, self._hook = behind.objects, behind.written, behind.clock, ending, hook

    def put(self, key: str, data: bytes | Path, *, only_new: bool = False, over: str = "") -> bool:
        if key.endswith(self._ending) and (hook := self._hook):
            self._hook = None
            hook()
        return super().put(key, data, only_new=only_new, over=over)


def behind(world: World, store: MemoryStore) -> World:
    """The same world, whose rollouts go through that store."""
    world.fleet = replace(world.fleet, place=Place(store, "edge/"))
    return world


def test_a_signature_that_is_made_anew_in_the_same_moment_is_no_reason_to_stop(settled: World):
    other = behind(settled, Hooked(settled.store, "timestamp.json", lambda: refresh.refresh(settled.fleet.place, settled.fleet.keyring)))
    assert other.bring(intent(NEW), upto=0).number == 2


def test_of_two_who_begin_at_once_with_different_releases_one_is_told(settled: World):
    other = behind(settled, Hooked(settled.store, ".cameras.json", lambda: settled.bring(intent(THIRD), wait=False)))
    with pytest.raises(RolloutReplacedError, match=r"number 2 .* is in force"):
        other.bring(intent(NEW))
    assert settled.told.variants[0].digest == digest_of(THIRD)


def test_of_two_who_begin_at_once_with_the_same_release_both_bring_it(settled: World):
    other = behind(settled, Hooked(settled.store, ".cameras.json", lambda: settled.bring(intent(NEW), wait=False)))
    assert other.bring(intent(NEW)).passed_seconds is not None
    assert settled.told.number == 2


# Bundle, delta, role, snapshot, timestamp; then thrice role, snapshot, timestamp: two waves are opened, and the last has passed.
WRITES = 14


@pytest.mark.slow
def test_a_rollout_that_is_killed_at_any_write_goes_on_and_nothing_is_counted_twice(settled: World):
    whole = copy.deepcopy(settled.store.objects), dict(settled.store.written), settled.time
    settled.store.attempts = 0
    settled.bring(intent(NEW))
    assert settled.store.attempts == WRITES
    for write in range(1, WRITES + 1):
        settled.store.objects, settled.store.written, settled.time = copy.deepcopy(whole[0]), dict(whole[1]), whole[2]
        settled.history.clear()
        settled.act()
        with settled.store.killed_at(write):
            settled.bring(intent(NEW))
        settled.act()
        found = settled.bring(intent(NEW))
        assert (found.number, [it.state for it in found.waves]) == (2, ["passed"] * 3), write
        assert all([it.number for it in seen if it] == [1, 2] for seen in settled.history.values()), write
        first, second, third = settled.told.opened_seconds
        assert min(second - first, third - second) >= GATE.soak_seconds


@pytest.mark.parametrize("write", [1, 2, 3])
def test_an_abort_that_is_killed_at_any_write_is_made_by_the_next_one(settled: World, write: int):
    settled.bring(intent(NEW), wait=False)
    settled.behave = failing(NEW)
    settled.pause(1)
    with settled.store.killed_at(write):
        settled.bring(intent(NEW))
    with pytest.raises(RolloutAbortedError):
        settled.bring(intent(NEW))
    assert (settled.told.number, Counter(settled.contents().values())) == (3, {digest_of(OLD): 12})


class Failing(MemoryStore):
    """A store whose listings fail until a time."""

    def __init__(self, behind: MemoryStore, until: float) -> None:
        super().__init__()
        self.objects, self.written, self.clock, self._until = behind.objects, behind.written, behind.clock, until

    def page(self, prefix: str, *, after: str = "") -> Page:
        if self.clock() < self._until:
            raise StoreError("503")
        return super().page(prefix, after=after)


def failing_until(world: World, until: float) -> World:
    return behind(world, Failing(world.store, until))


def test_a_store_that_fails_while_it_is_asked_is_asked_again(settled: World):
    settled.bring(intent(NEW), wait=False)
    other = failing_until(settled, settled.time + GATE.deadline_seconds / 2)
    assert other.bring(intent(NEW)).passed_seconds is not None
    assert "asking again: 503" in settled.lines


def test_devices_that_could_not_speak_while_the_store_failed_have_time_to_say_something(settled: World):
    settled.bring(intent(NEW), wait=False)
    back = settled.time + GATE.deadline_seconds - 1
    settled.behave = lambda device, content: Outcome.CONFIRMED if settled.time > back + 60 or content == digest_of(OLD) else None
    other = failing_until(settled, back)
    assert other.bring(intent(NEW), upto=0).waves[0].state == "passed"


def test_a_store_that_stays_away_is_an_error(settled: World):
    settled.bring(intent(NEW), wait=False)
    began = settled.time
    with pytest.raises(StoreError, match="503"):
        failing_until(settled, began + 10**6).bring(intent(NEW), wait=False)
    assert settled.told.number == 2
    assert PATIENCE_SECONDS > 0
