"""The steps in which a cloud role and a fleet go over to a release, and what never happens in any of them."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from isthmus.fleet.together import ALL_PERCENT, lines, steps

CANARY = st.integers(0, 99)
WAVES = st.lists(st.tuples(st.integers(1, 500), st.integers(0, 20)), min_size=1, max_size=6).map(
    lambda given: [{"name": f"wave-{index}", "devices": devices, "most_hurt": hurt} for index, (devices, hurt) in enumerate(given)]
)


@given(CANARY, WAVES)
def test_a_step_changes_one_side_and_the_version_before_stays_until_the_last_wave(canary: int, waves: list[dict[str, Any]]) -> None:
    found = steps(canary, waves)
    assert [it.keeps_before for it in found] == [True] * (len(found) - 1) + [False]
    assert (found[-1].devices, found[-1].share_percent) == (sum(it["devices"] for it in waves), ALL_PERCENT)
    for before, after in pairwise(found):
        assert before.share_percent <= after.share_percent  # nobody goes back in a rollout that passes
        assert before.devices <= after.devices
        changes = (before.share_percent != after.share_percent, before.devices != after.devices, before.keeps_before != after.keeps_before)
        assert sum(changes) == 1


@given(CANARY, WAVES)
def test_no_side_is_ahead_of_the_other_by_more_than_its_next_step(canary: int, waves: list[dict[str, Any]]) -> None:
    found = steps(canary, waves)
    total = found[-1].devices
    for it in found:
        # Devices that have the release find it in the cloud role; and not all have it before all requests go there.
        assert it.share_percent > 0
        assert it.devices < total or it.share_percent == ALL_PERCENT
    if canary:  # and not all requests go there before all waves but one have passed
        promoted = next(it for it in found if it.share_percent == ALL_PERCENT)
        assert promoted.devices == total - waves[-1]["devices"]


@given(CANARY, WAVES)
def test_each_wave_is_a_step_that_something_must_be_shown_for(canary: int, waves: list[dict[str, Any]]) -> None:
    *found, last = steps(canary, waves)
    assert [(it.wave, it.most_hurt) for it in found if it.wave] == [(it["name"], it["most_hurt"]) for it in waves]
    assert len(found) == len(waves) + (2 if canary else 1)
    assert all(it.asks for it in found)
    assert (last.wave, last.most_hurt) == ("", 0)


@given(WAVES)
def test_a_cloud_role_with_one_version_at_a_time_never_has_the_one_before(waves: list[dict[str, Any]]) -> None:
    found = steps(0, waves, keeps_before=False)
    assert not any(it.keeps_before for it in found)
    assert [it.wave for it in found] == ["", *(it["name"] for it in waves)]


def test_the_table_reads_as_a_person_would_write_it() -> None:
    waves = [{"name": "canary", "devices": 1, "most_hurt": 1}, {"name": "rest", "devices": 1199, "most_hurt": 26}]
    assert lines(steps(0, waves)) == [
        "rolled out together:",
        "  step  cloud  version before    wave         devices  hurt                before the next step",
        "     1  100 %             yes       –      0 of 1,200     –  each server answers as the release",
        "     2  100 %             yes  canary      1 of 1,200     1              the wave's gate passes",
        "     3  100 %             yes    rest  1,200 of 1,200    26              the wave's gate passes",
        "     4  100 %              no       –  1,200 of 1,200     –                                   –",
    ]
    *_, canary, promoted, rest, _ = lines(steps(10, waves))
    assert canary.split()[:6] == ["2", "10", "%", "yes", "canary", "1"]
    assert promoted.split()[:5] == ["3", "100", "%", "yes", "–"]
    assert rest.endswith("the wave's gate passes; the stack file catches up")
