"""Paces that are changed while a rollout is under way: who has begun has, and no minute has more than were allowed in it."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fleet_sayings import FLEET
from tests.rollouts.test_intent import DEVICES, planned, wanted

from isthmus.errors import InputError
from isthmus.repository import changes
from isthmus.rollouts.intent import following
from isthmus.rollouts.looking import at
from isthmus.rollouts.paces import repaced
from isthmus_agent.formats.assignment import Assignment
from isthmus_agent.formats.pace import CLOCKS_SECONDS
from isthmus_agent.formats.roster import Device

PACED = 5  # of the lists of waves


def paced(open_waves: int = 2) -> Assignment:
    its = wanted(1, PACED)
    found = following(None, 1, FLEET, its, planned(its, "00" * 8), at_seconds=0)
    for _ in range(open_waves - 1):
        found = changes.opened(found, 1, at(0))
    return found


def begins(told: Assignment) -> dict[str, int]:
    """Of the devices of the last open wave."""
    last = told.open_waves - 1
    return {it.name: sum(told.begins(it.name, it.labels) or ()) for it in DEVICES if told.wave_of(it.name, it.labels) == last}


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 9)), max_size=4))
def test_whatever_the_limit_becomes_no_minute_has_more_and_who_has_begun_stays_so(history: list[tuple[int, int]]):
    told, now, most = paced(), 0, 3
    for seconds, other in history:
        before, was = begins(told), most
        now, most = now + seconds, other
        told = Assignment(**{**vars(told), "waves": repaced(told, [2, most], DEVICES, now)})
        after = begins(told)
        assert all(after[name] == due for name, due in before.items() if due <= now)
        later = Counter(due for due in after.values() if due > now)
        assert max(later.values(), default=0) <= (most if most != was else max(most, was))


def test_a_limit_that_stays_changes_nothing_however_late_and_whoever_joined():
    told = paced()
    assert repaced(told, [2, 3], [*DEVICES, Device("camera-99", "large", {})], 10**6) is told.waves


def test_without_the_limit_all_begin_and_one_that_comes_late_holds_nobody_back():
    told = paced()
    assert {it.pace for it in repaced(told, [None, None], DEVICES, 0)} == {None}
    free = Assignment(**{**vars(told), "waves": repaced(told, [None, None], DEVICES, 0)})
    again = repaced(free, [2, 1], DEVICES, 60)
    assert [it.pace.seconds for it in again if it.pace] == [0, 0]
    waits = Assignment(**{**vars(free), "open_waves": 1, "opened_seconds": (0,)})
    assert [it.pace.seconds for it in repaced(waits, [2, 1], DEVICES, 60) if it.pace] == [0, 17 * 60]


def test_a_limit_that_would_take_longer_than_a_day_is_refused():
    many = [Device(f"camera-{number}", "large", {}) for number in range(2500)]
    with pytest.raises(InputError, match=r"waves\[1\]\.most_per_minute: 1,\d\d\d devices take 1,\d\d\d minutes"):
        repaced(paced(1), [2, 1], many, 0)


def test_after_a_pause_those_who_had_not_begun_go_on_from_where_they_were():
    told = paced()
    before = begins(told)
    stopped = changes.paused(told, 1, at(125))
    went_on = changes.resumed(stopped, 1, at(1000))
    assert begins(went_on) == {name: max(1000, due - 120 - CLOCKS_SECONDS + 1000) for name, due in before.items()}
