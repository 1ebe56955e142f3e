"""The steps in which a cloud role and a fleet go over to a release, and what never happens in any of them."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from isthmus.fleet.together import ALL_PERCENT, lines, steps

SHARES = st.lists(st.integers(1, 99), unique=True, max_size=4).map(lambda given: (*sorted(given), ALL_PERCENT))
WAVES = st.lists(st.tuples(st.integers(1, 500), st.integers(0, 20)), max_size=6).map(
    lambda given: [{"name": f"wave-{index}", "devices": devices, "most_hurt": hurt} for index, (devices, hurt) in enumerate(given)]
)


@given(SHARES, WAVES)
def test_no_side_is_more_than_a_step_ahead_and_the_version_before_stays_until_the_last_wave(
    shares: tuple[int, ...], waves: list[dict[str, Any]]
) -> None:
    found = steps(shares, waves)
    assert [it.keeps_before for it in found] == [True] * (len(shares) + len(waves)) + [False]
    assert found[-1].devices == sum(it["devices"] for it in waves)
    for before, after in pairwise(found):
        assert before.share_percent <= after.share_percent  # nobody goes back in a rollout that passes
        assert before.devices <= after.devices
        changes = (before.share_percent != after.share_percent, before.devices != after.devices, before.keeps_before != after.keeps_before)
        assert sum(changes) <= 1
    # Devices that have the release find it in the cloud role, behind every request.
    assert all(it.share_percent == ALL_PERCENT for it in found if it.devices)


@given(SHARES, WAVES)
def test_each_share_and_each_wave_is_a_step_that_something_must_be_shown_for(shares: tuple[int, ...], waves: list[dict[str, Any]]) -> None:
    *found, last = steps(shares, waves)
    assert [it.share_percent for it in found[: len(shares)]] == [*shares]
    assert [(it.wave, it.most_hurt) for it in found[len(shares) :]] == [(it["name"], it["most_hurt"]) for it in waves]
    assert all(it.asks for it in found)
    assert (last.wave, last.most_hurt) == ("", 0)


def test_the_table_reads_as_a_person_would_write_it() -> None:
    waves = [{"name": "canary", "devices": 1, "most_hurt": 1}, {"name": "rest", "devices": 1199, "most_hurt": 26}]
    assert lines(steps((10, 100), waves)) == [
        "rolled out together:",
        "  step  cloud  version before    wave         devices  hurt                before the next step",
        "     1   10 %             yes       –      0 of 1,200     –            the canary's gate passes",
        "     2  100 %             yes       –      0 of 1,200     –  each server answers as the release",
        "     3  100 %             yes  canary      1 of 1,200     1              the wave's gate passes",
        "     4  100 %             yes    rest  1,200 of 1,200    26              the wave's gate passes",
        "     5  100 %              no       –  1,200 of 1,200     –                                   –",
    ]
