"""Formula 2 on devices, against every split of small cases and against what plans are made with."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.sizing.formulas.allocation import divide_units
from isthmus_agent.core.dividing import divide

cases = st.integers(1, 4).flatmap(
    lambda count: st.tuples(
        st.integers(0, 6),
        st.lists(st.integers(1, 50), min_size=count, max_size=count),
        st.lists(st.integers(0, 20), min_size=count, max_size=count),
    )
)


@given(cases)
def test_no_other_whole_split_is_done_earlier(case):
    units, capacities, already = case
    found = divide(units, capacities, already)
    splits = (it for it in itertools.product(range(units + 1), repeat=len(capacities)) if sum(it) == units)
    best = min(max((a + t) / c for a, t, c in zip(already, split, capacities, strict=True)) for split in splits)
    assert sum(found.parts) == units
    assert found.makespan_seconds == pytest.approx(best)
    assert found.ideal_seconds <= found.makespan_seconds * (1 + 1e-12)


@given(st.integers(0, 10**6), cases)
def test_devices_and_plans_split_alike(units, case):
    _, capacities, already = case
    found, planned = divide(units, capacities, already), divide_units(units, capacities, already=already)
    assert found.makespan_seconds == pytest.approx(planned.makespan_seconds)
    assert found.ideal_seconds == pytest.approx(planned.ideal_seconds)


@pytest.mark.parametrize("capacities", [[], [1.0, 0.0], [float("nan")], [float("inf")], [-1.0]])
def test_capacities_that_make_no_sense_are_refused(capacities):
    with pytest.raises(ValueError, match="positive capacity"):
        divide(5, capacities, [0.0] * len(capacities))
