import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.sizing.headroom import Headroom, cases, headroom_problems, number_problem

shares = st.one_of(st.none(), st.integers(1, 4), st.integers(1, 99).map(lambda percent: f"{percent}%"))


@st.composite
def headrooms(draw):
    zones = draw(st.integers(1, 5))
    return Headroom(
        lost_servers=draw(st.integers(0, 4)),
        zones=zones,
        lost_zones=draw(st.integers(0, zones - 1)),
        burst_factor=draw(st.floats(1, 4)),
        max_unavailable=draw(shares),
        max_surge=draw(shares),
        fallback_requests_per_second=draw(st.floats(0, 500)),
        device_requests_per_second=draw(st.floats(0, 500)),
        together=draw(st.booleans()),
    )


@given(headrooms(), st.integers(0, 400))
def test_one_more_planned_server_never_leaves_fewer_that_serve(headroom, planned):
    for case in cases(100.0, headroom):
        assert case.serving(planned) <= case.serving(planned + 1) <= planned + 1


def test_taking_each_loss_from_the_whole_would_not_have_that_law():
    """Why losses are taken one after the other: added up, a zone and a rollout can grow at once."""
    headroom = Headroom(zones=3, lost_zones=1, max_unavailable="25%", together=True)

    def added_up(planned):
        return planned - headroom.in_lost_zones(planned) - headroom.unavailable(planned)

    assert any(added_up(planned + 1) < added_up(planned) for planned in range(1, 50))


@given(headrooms())
def test_good_head_room_has_no_problems(headroom):
    assert headroom_problems(headroom, "headroom") == []


@given(headrooms(), st.integers(1, 300))
def test_together_is_at_least_as_bad_as_each(headroom, planned):
    *each, last = cases(100.0, headroom)
    if last.name == "all of these together":
        assert all(last.serving(planned) <= case.serving(planned) for case in each)
        assert all(last.requests_per_second >= case.requests_per_second for case in each)


@pytest.mark.parametrize(
    ("planned", "zones", "lost", "gone"), [(6, 3, 1, 2), (7, 3, 1, 3), (8, 3, 1, 3), (8, 3, 2, 6), (1, 3, 1, 1), (0, 3, 1, 0)]
)
def test_the_fullest_zones_are_the_ones_that_fail(planned, zones, lost, gone):
    assert Headroom(zones=zones, lost_zones=lost).in_lost_zones(planned) == gone


@pytest.mark.parametrize(
    ("unavailable", "surge", "planned", "stopped", "started"),
    [
        ("25%", "25%", 10, 2, 3),  # as a Deployment does: down for unavailable, up for surge
        ("25%", "25%", 3, 0, 1),
        ("25%", None, 3, 1, 0),  # both come to 0: a Deployment stops one
        (0, 1, 3, 0, 1),
        (2, None, 5, 2, 0),
        (None, None, 5, 0, 0),
        ("29%", None, 100, 29, 0),  # not 28, as in binary fractions
    ],
)
def test_a_rollout_counts_as_a_deployment_does(unavailable, surge, planned, stopped, started):
    headroom = Headroom(max_unavailable=unavailable, max_surge=surge)
    assert (headroom.unavailable(planned), headroom.surge(planned)) == (stopped, started)


def test_no_head_room_is_one_case_and_one_kind_of_it_is_not_added_up():
    assert [case.name for case in cases(10, Headroom())] == ["the demand"]
    assert [case.name for case in cases(10, Headroom(lost_servers=1, together=True))] == ["the demand", "1 server lost"]


def test_everything_that_is_wrong_is_said_at_once():
    bad = Headroom(-1, 0, -2, 0.5, "101%", "x", float("nan"))
    assert [problem.path for problem in headroom_problems(bad, "h")] == [
        "h.lost_servers", "h.zones", "h.lost_zones", "h.burst_factor", "h.fallback_requests_per_second", "h.max_unavailable", "h.max_surge",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (Headroom(lost_zones=1), "nothing is left when 1 of 1"),
        (Headroom(zones=3, lost_zones=3), "nothing is left when 3 of 3"),
        (Headroom(max_unavailable=0), "cannot move"),
        (Headroom(max_unavailable="0%", max_surge=0), "cannot move"),
        (Headroom(max_unavailable="100%"), "at most \"99%\""),
        (Headroom(max_surge=-1), "neither a number"),
        (Headroom(max_surge="²%"), "neither a number"),
        (Headroom(burst_factor=float("inf")), "not a number from 1 on"),
    ],
)  # fmt: skip
def test_head_room_that_contradicts_itself_is_refused(bad, what):
    assert what in "\n".join(map(str, headroom_problems(bad, "headroom")))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "3", None])
def test_only_a_finite_number_above_zero_is_positive(value):
    assert number_problem("x", value, "positive")
    assert not number_problem("x", 1e-9, "positive")
