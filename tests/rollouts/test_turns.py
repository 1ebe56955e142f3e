"""Turns: never more devices of a value out than the budget has, everybody has a turn in the end, and nobody's is taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.fleet.budgets import MOST_TURNS, budget_problems, wave_turns
from isthmus.rollouts.turns import Member, advanced
from isthmus_agent.formats.numbers import MILLION
from isthmus_agent.formats.pace import pace_draw
from isthmus_agent.formats.roster import Device
from isthmus_agent.formats.turns import MOST_VALUES, Budget, Place

SITES = st.dictionaries(st.sampled_from(["", "a", "b"]), st.integers(1, 12), min_size=1)
BUDGETS = st.integers(1, 4).map(lambda it: Budget("site", it)) | st.integers(1, MILLION).map(lambda it: Budget("site", None, it))


class Simulated:
    """Devices of two waves that confirm, or stay silent, in any order."""

    def __init__(self, sites: dict[str, int], budget: Budget, most_new: int | None = None) -> None:
        self.budget, self.most_new, self.reached, self.open_waves = budget, most_new, dict[str, Place](), 1
        self.places = {
            (site, number): (number % 2, pace_draw("00", f"{site}-{number}")) for site, count in sites.items() for number in range(count)
        }
        self.confirmed: set[tuple[str, int]] = set()
        self.dark: set[tuple[str, int]] = set()

    @property
    def open(self) -> set[tuple[str, int]]:
        return {it for it, place in self.places.items() if place[0] < self.open_waves}

    @property
    def addressed(self) -> set[tuple[str, int]]:
        return {it for it in self.open if self.places[it] < self.reached.get(it[0], (0, 0))}

    @property
    def out(self) -> set[tuple[str, int]]:
        return (self.addressed - self.confirmed) | self.dark

    def members(self) -> list[Member]:
        opened, addressed, out = self.open, self.addressed, self.out
        return [Member("", it[0], place if it in opened else None, it in addressed, True, it in out) for it, place in self.places.items()]

    def look(self) -> None:
        before, dark = self.addressed, set(self.dark)
        self.reached = advanced(self.budget, self.members(), self.reached, self.open_waves, self.most_new)
        assert before <= self.addressed
        assert self.most_new is None or len(self.addressed - before) <= self.most_new
        for site in {it[0] for it in self.places}:
            most = self.budget.of(sum(it[0] == site for it in self.places))
            new = {it for it in self.addressed - before if it[0] == site and it not in dark}
            assert not new or len({it for it in self.out if it[0] == site}) <= most


@given(SITES, BUDGETS, st.none() | st.integers(1, 3), st.data())
def test_no_look_takes_more_of_a_value_out_than_the_budget_has_and_all_come_to_their_turn(sites, budget, most_new, data):
    its = Simulated(sites, budget, most_new)
    for _ in range(data.draw(st.integers(0, 8))):
        its.look()
        its.confirmed |= data.draw(st.sets(st.sampled_from(sorted(its.addressed))) if its.addressed else st.just(set()))
        its.dark = data.draw(st.sets(st.sampled_from(sorted(its.places)), max_size=3))
        its.open_waves = max(its.open_waves, data.draw(st.integers(1, 2)))
    its.dark, its.open_waves = set(), 2
    for _ in range(len(its.places) + 1):
        its.confirmed |= its.addressed
        its.look()
    assert its.addressed == set(its.places)
    assert set(its.reached.values()) == {(2, 0)}


@given(SITES, BUDGETS)
def test_the_turns_that_are_foreseen_are_those_that_it_takes(sites, budget):
    its, looks, most = Simulated(sites, budget), 0, 0
    its.places = {it: (0, place[1]) for it, place in its.places.items()}
    while its.addressed != set(its.places):
        its.look()
        most = max(most, len(its.out))
        its.confirmed, looks = its.addressed, looks + 1
    devices = [Device(f"{site}-{number}", "small", {"site": site} if site else {}) for site, number in its.places]
    (its,) = wave_turns(budget, devices, [[it.name for it in devices]])
    assert looks == its.turns
    assert most == its.at_once


def test_a_silent_device_holds_its_own_value_and_no_other():
    its = Simulated({"a": 3, "b": 3}, Budget("site", 1))
    its.open_waves, its.dark = 2, {("a", 0)}
    for _ in range(5):
        its.look()
        its.confirmed |= its.addressed - its.dark
    assert {site for site, _ in its.addressed - its.dark} == {"b"}
    assert len(its.confirmed) == 3


def test_a_value_that_no_device_has_any_more_is_left_out_and_one_that_is_new_begins_at_the_start():
    its = Simulated({"a": 4}, Budget("site", 1))
    assert advanced(its.budget, its.members(), {"gone": (1, 0)}, 1)["a"] < (1, 0)
    assert set(advanced(its.budget, its.members(), {"gone": (1, 0)}, 1)) == {"a"}


def test_two_devices_of_the_same_draw_have_their_turn_together_once_nobody_else_is_out():
    pair = [Member(name, "a", (0, 5), has_turn=False, is_due=True, is_out=False) for name in ("one", "two")]
    other = Member("other", "a", None, has_turn=False, is_due=False, is_out=True)
    assert advanced(Budget("site", 1), [*pair, other], {}, 1) == {"a": (0, 5)}
    assert advanced(Budget("site", 1), pair, {}, 1) == {"a": (1, 0)}


def test_nobody_has_a_turn_before_the_minute_of_the_pace():
    two = [Member(f"{it}", "a", (0, it), has_turn=False, is_due=it == 1, is_out=False) for it in (1, 2)]
    assert advanced(Budget("site", 5), two, {}, 1) == {"a": (0, 2)}


def test_a_share_is_rounded_down_and_is_one_at_the_least():
    assert [Budget("site", None, 250_000).of(it) for it in (1, 3, 4, 7, 8, 1000)] == [1, 1, 1, 1, 2, 250]


NO_LABEL = "budget.label: no device has the label"
DEVICES = [Device(f"camera-{index}", "small", {"site": "ab"[index % 2]}) for index in range(6)]


@pytest.mark.parametrize(
    ("budget", "devices", "said"),
    [
        (Budget("sites", 1), DEVICES, f"{NO_LABEL} 'sites'; expected one of the labels site. Fix: did you mean 'site'?"),
        (Budget("site", 1), [Device("camera-1", "small", {})], f"{NO_LABEL} 'site'; expected devices with labels"),
        (
            Budget("site", 1),
            [Device(f"camera-{it}", "small", {"site": f"{it}"}) for it in range(MOST_VALUES + 1)],
            "budget.label: the fleet's devices have 1,025 values of the label 'site'; expected 1,024 at most. Fix: name a label with fewer",
        ),
        (
            Budget("site", 1),
            [Device(f"camera-{it}", "small", {"site": "a"}) for it in range(MOST_TURNS + 1)],
            "budget: a wave (waves[0]) takes 1,441 turns for 1,441 devices of one site; expected 1,440 turns at most. "
            "Fix: raise it (2 devices at once would do), or make more waves of this one",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_budget_for_these_devices(budget, devices, said):
    assert [str(it) for it in budget_problems(budget, devices, [[it.name for it in devices]], "budget")] == [said]
    assert budget_problems(Budget("site", 1), DEVICES, [[it.name for it in DEVICES]], "budget") == []
    assert budget_problems(None, devices, [], "budget") == []
