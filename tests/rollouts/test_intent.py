"""What follows what a fleet is told: devices outside of the open waves keep what they have, whatever was told before."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fleet_sayings import FLEET
from tests.rollouts.world import GATE, NEW, OLD, intent

from isthmus.errors import InputError
from isthmus.fleet.gates import Gate
from isthmus.fleet.waves import Wave, plan_waves
from isthmus.repository import changes
from isthmus.repository.reports import DeviceReport, Look
from isthmus.rollouts import turns
from isthmus.rollouts.intent import Intent, Plan, adjusted, following, is_about, plan, salt_after
from isthmus.rollouts.looking import at
from isthmus_agent.formats import assignment
from isthmus_agent.formats.assignment import MOST_KEPT, Assignment, Before
from isthmus_agent.formats.contents import Variant
from isthmus_agent.formats.pace import CLOCKS_SECONDS
from isthmus_agent.formats.report import Outcome, Report
from isthmus_agent.formats.roster import Device
from isthmus_agent.formats.samples_wanted import SamplesWanted
from isthmus_agent.formats.turns import Budget, Turns

DEVICES = [Device(f"camera-{index:02}", "small" if index % 3 else "large", {"site": "ab"[index % 2]}) for index in range(24)]
WELL = {it.name: DeviceReport(Report(it.name, 1, Outcome.CONFIRMED, "a" * 16), 0.0, is_overdue=False) for it in DEVICES}
LISTS = (
    (Wave(count=1), Wave(percent=100)),
    (Wave(count=4), Wave(percent=50), Wave(percent=100)),
    (Wave("lab", devices=("camera-03", "camera-07")), Wave(labels={"site": "b"}, count=5), Wave(percent=100)),
    (Wave(labels={"site": "a"}), Wave(percent=100)),
    (Wave(percent=100),),
    (Wave(count=6, most_per_minute=2), Wave(percent=100, most_per_minute=3)),
    (Wave("lab", devices=("camera-03", "camera-07", "camera-11"), most_per_minute=1), Wave(percent=100)),
)


def wanted(content: int, waves: int, budget: Budget | None = None) -> Intent:
    variants = tuple(
        Variant(kind, f"sha256:{content:063x}{at}", f"{FLEET}/{content}{at}.bundle", 10) for at, kind in enumerate(("large", "*"))
    )
    gates = [Gate(50, soak_seconds=1, deadline_seconds=100)] * len(LISTS[waves])
    return Intent(variants, {}, LISTS[waves], gates, budget=budget)


def turned(told: Assignment, times: int) -> Assignment:
    """So many turns later, of devices that all confirm at once."""
    for _ in range(times if told.turns else 0):
        assert told.turns is not None
        looks = {number: Look(WELL, {}, {}, (), (), 1) for number in range(told.number + 1)}
        now = told.turns.since_seconds + 60
        told = turns.turned(told, turns.members(told, DEVICES, looks, now), now)
    return told


def planned(its: Intent, salt: str) -> Plan:
    """As `plan`, without what gates ask of a wave's size."""
    return Plan(salt, plan_waves(its.waves, DEVICES, salt), ())


def has(told: Assignment, device: Device) -> object:
    return told.wanted(device.name, device.labels, device.device_class)


def begun(told: Assignment, device: Device, at: int) -> bool:
    """Whether a device that is on has begun with what its open wave gives it."""
    begins = told.begins(device.name, device.labels)
    return is_reached(told, device) and (begins is None or sum(begins) <= at)


def is_reached(told: Assignment, device: Device) -> bool:
    wave = told.wave_of(device.name, device.labels)
    return wave is not None and told.has_turn(device.name, device.labels, wave)


# A release by some list of waves, and what then happens to it: so many more waves open, the end, or an abort; and for how many minutes.
HISTORIES = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, len(LISTS) - 1),
        st.integers(0, 2),
        st.sampled_from(["", "", "end", "abort", "pause"]),
        st.integers(0, 9),
        st.none() | st.builds(Budget, st.sampled_from(["site", "other"]), st.integers(1, 3)),
    ),
    max_size=8,
)


@given(HISTORIES)
def test_devices_outside_of_the_open_waves_keep_what_they_have(history: list[tuple[int, int, int, str, int, Budget | None]]):
    told: Assignment | None = None
    now, keeps, soon = 1000, dict[str, object](), set[str]()
    for content, waves, more, then, minutes, budget in history:
        its = wanted(content, waves, budget)
        told = following(told, (told.number if told else 0) + 1, FLEET, its, planned(its, salt_after(told)), at_seconds=now)
        assert assignment.from_value(told.to_value()) == told
        for device in DEVICES:
            if not is_reached(told, device) and device.name not in soon:
                assert has(told, device) == keeps.get(device.name)
        for _ in range(min(more, len(told.waves) - told.open_waves)):
            reached = {device.name: has(told, device) for device in DEVICES if is_reached(told, device)}
            told = changes.opened(told, told.number, at(now))
            assert reached.items() <= {device.name: has(told, device) for device in DEVICES}.items()
        now += 60 * minutes
        told = turned(told, minutes % 4)
        keeps = {it.name: has(told, it) if begun(told, it, now) or not is_reached(told, it) else keeps.get(it.name) for it in DEVICES}
        # Whose minute is just coming may have begun or not: devices have clocks of their own. Of whom that was not known, and who waits
        # for a minute of this release now, it still is not.
        waiting = {it.name for it in DEVICES if is_reached(told, it) and not begun(told, it, now)}
        soon = (soon & waiting) | {it.name for it in DEVICES if it.name in waiting and begun(told, it, now + CLOCKS_SECONDS)}
        if then == "pause":
            told = changes.paused(told, told.number, at(now))
            now += 3600
            assert changes.paused(told, told.number, at(now)) == told
        if then == "end":
            told = changes.passed(replace(told, open_waves=len(told.waves), opened_seconds=(1,) * len(told.waves)), told.number)
            keeps = {it.name: has(told, it) for it in DEVICES}
        elif then == "abort" and told.before:
            content_before = {it.digest for it in told.before.variants}
            told = changes.aborted(told, told.number + 1)
            keeps = {it.name: has(told, it) for it in DEVICES}
            assert {it.variant.digest for device in DEVICES if (it := has(told, device)) and it.variant} <= content_before  # type: ignore[attr-defined]


def test_a_rollout_that_replaces_another_draws_the_same_devices_first():
    first = following(None, 1, FLEET, wanted(1, 0), planned(wanted(1, 0), salt_after(None)), at_seconds=1)
    assert salt_after(first) == first.salt
    second = following(first, 2, FLEET, wanted(2, 0), planned(wanted(2, 0), first.salt), at_seconds=1)
    assert second.kept == ()
    assert [is_reached(first, it) for it in DEVICES] == [is_reached(second, it) for it in DEVICES]
    ended = changes.passed(replace(first, open_waves=2, opened_seconds=(1, 1)), 1)
    assert salt_after(ended) != first.salt


def test_another_budget_holds_at_once_and_takes_nobodys_turn_back_and_without_one_all_begin():
    two, one = Budget("site", 2), Budget("site", 1)
    told = turned(following(None, 1, FLEET, wanted(1, 4, two), planned(wanted(1, 4), "00" * 8), at_seconds=0), 2)
    smaller = adjusted(told, wanted(1, 4, one), DEVICES, 500)
    assert told.turns is not None
    assert smaller == replace(told, turns=replace(told.turns, budget=one), waves=smaller.waves)
    assert sum(is_reached(smaller, it) for it in DEVICES) == 8
    free = adjusted(told, wanted(1, 4), DEVICES, 500)
    assert all(is_reached(free, it) for it in DEVICES)
    again = adjusted(free, wanted(1, 4, two), DEVICES, 600)
    assert again.turns == Turns(two, {"a": (1, 0), "b": (1, 0)}, 600)
    with pytest.raises(InputError, match=r"budget\.label: is 'class', and number 1 is under way by 'site'"):
        adjusted(told, wanted(1, 4, Budget("class", 1)), [Device("camera-00", "small", {"class": "x"})], 500)
    assert adjusted(changes.passed(told, 1), wanted(1, 4, two), DEVICES, 500).turns is None


def test_a_replaced_rollout_is_kept_as_far_as_its_turns_came_and_a_later_one_that_came_as_far_takes_its_place():
    told: Assignment | None = None
    for number, times in ((1, 0), (2, 1), (3, 2), (4, 1)):
        its = wanted(number, 4, Budget("site", 2))
        told = turned(following(told, number, FLEET, its, planned(its, salt_after(told)), at_seconds=number), times)
    assert told is not None
    assert [it.number for it in told.kept] == [3]  # 1 had reached nobody, and 3 all whom 2 had
    assert sum(told.kept[0].has(it.name, it.labels) for it in DEVICES) == 8
    assert changes.aborted(replace(told, before=Before(1, told.variants)), 9).turns is None


def test_too_many_rollouts_without_an_end_are_one_clear_error():
    told: Assignment | None = None

    def replaced_by(number: int) -> Assignment:
        its = wanted(number, 0)
        return following(told, number, FLEET, its, planned(its, f"{number:016x}"), at_seconds=1)

    for number in range(1, MOST_KEPT + 2):
        told = replaced_by(number)
    with pytest.raises(InputError, match="isthmus fleet abort cameras"):
        replaced_by(MOST_KEPT + 2)


def test_the_same_contents_by_the_same_waves_are_what_is_told():
    its = intent(OLD)
    told = following(None, 1, FLEET, its, plan(its, DEVICES, "00" * 8), at_seconds=1)
    assert is_about(told, its)
    assert is_about(told, replace(its, gates=[replace(GATE, soak_seconds=1)] * 3))
    assert is_about(told, replace(its, waves=(Wave(count=3), *its.waves[1:])))
    assert not is_about(told, intent(NEW))
    assert not is_about(told, replace(its, waves=its.waves[1:], gates=its.gates[1:]))
    assert not is_about(told, replace(its, variants=(replace(its.variants[0], device_class="large"),)))
    ended = changes.passed(replace(told, open_waves=3, opened_seconds=(1, 1, 1)), 1)
    assert is_about(ended, replace(its, waves=its.waves[1:], gates=its.gates[1:]))
    assert adjusted(ended, replace(its, gates=its.gates[1:]), DEVICES, 1).waves == ended.waves


def test_samples_are_asked_for_and_no_longer_without_a_new_number():
    asks = replace(intent(OLD), samples=SamplesWanted(b"\1" * 32, 5000, 24, 1 << 16))
    told = following(None, 1, FLEET, asks, plan(asks, DEVICES, "00" * 8), at_seconds=1)
    assert told.samples == asks.samples
    assert is_about(told, intent(OLD))
    stops = adjusted(told, intent(OLD), DEVICES, 2)
    assert (stops.samples, stops.number, stops.identity) == (None, told.number, told.identity)


def test_counts_are_asked_for_and_no_longer_without_a_new_number():
    asks = replace(intent(OLD), counts=True)
    told = following(None, 1, FLEET, asks, planned(asks, "00" * 8), at_seconds=0)
    assert told.counts
    stops = adjusted(told, intent(OLD), DEVICES, 0)
    assert (stops.counts, stops.number, stops.identity) == (False, told.number, told.identity)
