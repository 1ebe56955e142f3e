import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import GateError, InputError
from isthmus.sizing.formulas.allocation import divide_units, divide_work

capacities = st.lists(st.floats(0.01, 1000), min_size=1, max_size=20)


@st.composite
def running(draw):
    """Nodes that still have work to do and limits on what they can take: (total, c, already, most)."""
    c = draw(st.lists(st.floats(0.1, 50), min_size=1, max_size=8))
    count = len(c)
    already = draw(st.lists(st.floats(0, 100), min_size=count, max_size=count))
    most = draw(st.lists(st.integers(0, 60), min_size=count, max_size=count))
    return draw(st.integers(0, sum(most))), c, already, most


@given(st.floats(0, 1e9), capacities)
def test_divisible_work_goes_in_proportion_to_capacity(total, c):
    plan = divide_work(total, c)
    assert plan.parts == pytest.approx([total * each / sum(c) for each in c], rel=1e-9, abs=1e-9)
    assert plan.makespan_seconds == pytest.approx(total / sum(c), rel=1e-9)
    assert plan.rounding_loss_percent == 0


@given(running())
def test_nodes_that_get_work_and_have_room_finish_together(case):
    total, c, already, most = case
    plan = divide_work(total, c, already=already, most=most)
    assert sum(plan.parts) == pytest.approx(total, abs=1e-6)
    assert all(0 <= part <= limit for part, limit in zip(plan.parts, most, strict=True))
    done = (np.array(already) + plan.parts) / c
    getting = np.array(plan.parts) > 1e-9
    level = done[getting].max(initial=0)
    for at, part, limit in zip(done, plan.parts, most, strict=True):
        assert part >= limit - 1e-6 or at >= level * (1 - 1e-9) - 1e-9


@given(running())
def test_whole_units_are_given_out_within_the_limits_and_close_to_the_ideal(case):
    total, c, already, most = case
    plan = divide_units(total, c, already=already, most=most)
    assert sum(plan.parts) == total
    assert all(isinstance(part, int) and 0 <= part <= limit for part, limit in zip(plan.parts, most, strict=True))
    assert plan.makespan_seconds >= plan.ideal_seconds * (1 - 1e-12)
    assert plan.makespan_seconds == pytest.approx(plan.ideal_seconds * (1 + plan.rounding_loss_percent / 100), rel=1e-9)


@given(st.integers(0, 10**12), capacities)
def test_rounding_costs_less_than_one_unit_for_each_node(units, c):
    plan = divide_units(units, c)
    assert plan.makespan_seconds <= (units + len(c)) / sum(c) * (1 + 1e-9)


@given(st.integers(0, 9), st.lists(st.floats(0.2, 5), min_size=1, max_size=4), st.data())
def test_no_other_whole_split_is_done_earlier(units, c, data):
    already = data.draw(st.lists(st.floats(0, 5), min_size=len(c), max_size=len(c)))
    plan = divide_units(units, c, already=already)
    everything = (parts for parts in itertools.product(range(units + 1), repeat=len(c)) if sum(parts) == units)
    best = min(max((a + part) / each for a, part, each in zip(already, parts, c, strict=True)) for parts in everything)
    assert plan.makespan_seconds == pytest.approx(best, rel=1e-12)


@given(st.integers(1, 10**6), capacities)
def test_an_equal_split_is_never_done_earlier(units, c):
    plan = divide_units(units, c)
    assert plan.equal_split_seconds is not None
    assert plan.makespan_seconds <= plan.equal_split_seconds * (1 + 1e-12)


@given(st.integers(2, 10**6), st.lists(st.floats(0.1, 50), min_size=2, max_size=8), st.floats(0, 1))
def test_the_part_of_a_lost_node_is_given_to_the_others_so_that_they_finish_together(units, c, progress):
    plan = divide_units(units, c)
    left = [part * (1 - progress) for part in plan.parts]
    again = divide_units(round(left[0]), c[1:], already=left[1:])
    ideal = (round(left[0]) + sum(left[1:])) / sum(c[1:])
    assert again.makespan_seconds <= ideal + max(1.0 / each for each in c[1:]) + plan.rounding_loss_percent * ideal + 1e-9


def test_a_node_without_a_part_is_named():
    plan = divide_units(2, [10, 10, 0.1])
    assert (plan.parts, plan.left_out) == ((1, 1, 0), (2,))


def test_the_explanation_has_the_numbers():
    text = divide_units(1000, [4, 2, 1]).explain()
    for part in ("1000 units over 7/s", "4/s → 572", "1/s → 142", "done in 143 s", "rounding loses 0.1 %", "equal split: 333 s"):
        assert part in text


def test_a_limit_that_an_equal_split_would_break_leaves_it_out():
    assert divide_units(10, [4, 1], most=[9, 4]).equal_split_seconds is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, -2],), r"capacities_per_second\[1\]: capacity in units per second -2"),
        (([],), "at least one"),
        (([1], [1, 2]), "2 values for 1 nodes"),
        (([1], [float("nan")]), r"already\[0\]"),
    ],
)
def test_input_that_makes_no_sense_is_named(arguments, message):
    c, *already = arguments
    with pytest.raises(InputError, match=message):
        divide_units(10, c, already=already[0] if already else None)


@pytest.mark.parametrize("units", [-1, 2**60, 1.5, True])
def test_units_that_are_no_count_are_refused(units):
    with pytest.raises(InputError, match="units"):
        divide_units(units, [1, 2])


def test_work_that_is_no_number_is_refused():
    with pytest.raises(InputError, match="nan units"):
        divide_work(float("nan"), [1])


def test_limits_without_room_say_how_much_is_missing():
    with pytest.raises(GateError, match="10 units of work are to go to nodes that can take 7; expected room for 3 more"):
        divide_units(10, [1, 2], most=[3.9, 4.9])
    assert divide_work(8.8, [1, 2], most=[3.9, 4.9]).parts == pytest.approx((3.9, 4.9))


def test_a_hundred_thousand_nodes_are_answered():
    c = np.random.default_rng(3).uniform(1, 10, 100_000)
    plan = divide_units(10**9, c)
    assert sum(plan.parts) == 10**9
    assert plan.rounding_loss_percent < 0.1


@given(capacities)
def test_no_work_takes_no_time(c):
    plan = divide_units(0, c)
    assert (plan.makespan_seconds, plan.rounding_loss_percent) == (0, 0)
