import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from isthmus.fleet.sequential import FALSE_ABORT, FINE_STEPS, Boundary, at_most, boundaries, boundary

rates = st.sampled_from([0.001, 0.01, 0.02, 0.05, 0.1, 0.25])
any_rate = st.floats(0, 1)
small = st.builds(boundary, st.integers(1, 9), st.sampled_from([0.01, 0.05, 0.25]), st.sampled_from([0.26, 0.05]))


def _stops_at(found: Boundary, fails: tuple[bool, ...]) -> int | None:
    """The number of failures at which the walk with these failures is stopped, step by step."""
    for begun in range(1, len(fails) + 1):
        limit = found.limit(begun)
        if limit is not None and sum(fails[:begun]) >= limit:
            return sum(fails[:begun])
    return None


def _enumerated(found: Boundary, rate: float, value: Callable[[tuple[bool, ...]], float]) -> float:
    """The mean of a value over all ways in which a wave can go."""
    ways = itertools.product((False, True), repeat=found.devices)
    return math.fsum(rate ** sum(way) * (1 - rate) ** (found.devices - sum(way)) * value(way) for way in ways)


@given(small, any_rate)
@settings(max_examples=25, deadline=None)
def test_the_probability_of_a_stop_is_that_of_all_ways_in_which_a_wave_can_go(found: Boundary, rate: float) -> None:
    expected = _enumerated(found, rate, lambda way: float(_stops_at(found, way) is not None))
    assert found.stops(rate) == pytest.approx(expected, abs=1e-12)


@given(small, any_rate, st.sampled_from([0.5, 0.9, 0.95, 1.0]))
@settings(max_examples=25, deadline=None)
def test_so_many_devices_fail_before_the_stop_as_in_all_ways_counted(found: Boundary, rate: float, confidence: float) -> None:
    most = found.failures_at_stop(rate, confidence)

    def within(limit: int) -> float:
        return _enumerated(found, rate, lambda way: float((sum(way) if (at := _stops_at(found, way)) is None else at) <= limit))

    assert within(most) >= confidence - 1e-9
    assert most == 0 or within(most - 1) < confidence + 1e-9


@given(st.integers(1, 400), rates, st.sampled_from([0.05, 0.0125, 0.001]))
@settings(max_examples=25, deadline=None)
def test_a_release_at_the_limit_is_stopped_no_more_often_than_may_be(devices: int, allowed: float, false_abort: float) -> None:
    found = boundary(devices, allowed, false_abort)
    assert found.false_abort <= false_abort
    assert found.is_reachable == (allowed**devices <= false_abort)
    limits = [limit for begun in range(1, devices + 1) if (limit := found.limit(begun))]
    assert limits == sorted(limits)
    if found.is_reachable:
        assert limits[-1] == found.most_failures <= devices


@given(small, any_rate, any_rate)
@settings(deadline=None)
def test_a_worse_release_is_stopped_at_least_as_often(found: Boundary, rate: float, other: float) -> None:
    assert found.stops(min(rate, other)) <= found.stops(max(rate, other)) + 1e-12


@given(small, st.data())
@settings(deadline=None)
def test_neither_the_order_nor_the_delay_of_reports_stops_what_would_not_be_stopped_anyhow(found: Boundary, data: st.DataObject) -> None:
    """Devices begin one by one; what is known of them is any part of what will be, at any time."""
    fails = tuple(data.draw(st.lists(st.booleans(), min_size=found.devices, max_size=found.devices)))
    told_after = data.draw(st.lists(st.integers(0, 12), min_size=found.devices, max_size=found.devices))
    reached = False
    for begun in range(1, found.devices + 1):
        known = sum(fails[device] for device in range(begun) if device + told_after[device] < begun)
        limit = found.limit(begun)
        reached = reached or (limit is not None and known >= limit)
    assert not reached or _stops_at(found, fails) is not None


@given(st.lists(st.sampled_from([1, 3, 10, 30, 100, 250]), min_size=1, max_size=4), st.sampled_from([0.01, 0.05]))
@settings(max_examples=25, deadline=None)
def test_all_waves_together_stop_a_good_release_in_five_of_a_hundred_rollouts_at_most(sizes: list[int], allowed: float) -> None:
    found = list(boundaries(sizes, [allowed] * len(sizes)))
    assert [it.devices for it in found] == sizes
    assert 1 - math.prod(1 - it.false_abort for it in found) <= FALSE_ABORT + 1e-12


def test_what_a_small_wave_leaves_over_goes_to_the_next() -> None:
    first, second = boundaries([10, 100], [0.02, 0.02])
    assert first.false_abort < FALSE_ABORT / 2 < second.false_abort


def test_where_nothing_may_fail_the_first_failure_stops() -> None:
    found = boundary(1000, 0.0, 0.05)
    assert (found.limit(1), found.limit(1000), found.false_abort) == (1, 1, 0.0)


def test_a_wave_in_which_even_a_failure_of_all_is_no_proof_has_no_boundary() -> None:
    found = boundary(1, 0.1, 0.05)
    assert not found.is_reachable
    assert found.limit(1) is None
    assert found.most_failures == 2
    assert found.stops(1.0) == 0


@given(st.integers(1, 300), rates, st.sampled_from([0.26, 0.0125]))
@settings(max_examples=25, deadline=None)
def test_without_early_stops_the_lowest_number_stops_that_may(devices: int, allowed: float, false_abort: float) -> None:
    found = boundary(devices, allowed, false_abort, early=0)
    assert found.false_abort <= false_abort
    if found.is_reachable:
        assert stats.binom.sf(found.most_failures - 2, devices, allowed) > false_abort
        assert found.most_failures <= boundary(devices, allowed, false_abort).most_failures


def test_a_release_that_fails_on_every_device_is_stopped_by_the_second() -> None:
    assert boundary(1000, 0.02, 0.0125).failures_at_stop(1.0, 1.0) == 2


def _step_by_step(found: Boundary, rate: float) -> float:
    """The same probability by a walk over every single device."""
    alive, stopped = np.array([1.0]), 0.0
    for begun in range(1, found.devices + 1):
        alive = np.concatenate([alive * (1 - rate), [0]]) + np.concatenate([[0], alive * rate])
        limit = found.limit(begun)
        if limit is not None and limit < len(alive):
            stopped += alive[limit:].sum()
            alive = alive[:limit]
    return stopped


@pytest.mark.parametrize("allowed", [0.02, 0.1])
def test_coarse_steps_and_dropped_tails_of_large_waves_change_no_digit(allowed: float) -> None:
    found = boundary(3000, allowed, 0.02)
    assert found.most_failures > FINE_STEPS
    for rate in (allowed, 1.3 * allowed, 3 * allowed):
        assert found.stops(rate) == pytest.approx(_step_by_step(found, rate), abs=1e-12)


@pytest.mark.parametrize(("devices", "fleet"), [(10, 20), (40, 60), (100, 1000), (300, 500)])
def test_a_fleet_with_just_the_allowed_share_of_bad_devices_is_stopped_no_more_often(devices: int, fleet: int) -> None:
    """The wave is drawn from the fleet without putting back; the boundary reckons with devices that fail independently."""
    found = boundary(devices, 0.05, 0.05)
    bad = int(0.05 * fleet)
    alive, stopped = {0: 1.0}, 0.0
    for begun in range(1, devices + 1):
        after: dict[int, float] = {}
        for failures, probability in alive.items():
            share = (bad - failures) / (fleet - begun + 1)
            after[failures + 1] = after.get(failures + 1, 0) + probability * share
            after[failures] = after.get(failures, 0) + probability * (1 - share)
        limit = found.limit(begun) or math.inf
        stopped += sum(probability for failures, probability in after.items() if failures >= limit)
        alive = {failures: probability for failures, probability in after.items() if failures < limit}
    assert stopped <= found.false_abort


@given(st.integers(-1, 300), st.integers(1, 200), any_rate)
@settings(deadline=None)
def test_the_binomial_tail_is_scipys(failures: int, devices: int, rate: float) -> None:
    assert at_most(failures, devices, rate) == pytest.approx(stats.binom.cdf(failures, devices, rate), abs=1e-12)


@pytest.mark.parametrize("arguments", [(0, 0.1, 0.05), (10, 1.1, 0.05), (10, -0.1, 0.05), (10, 0.1, 0.0)])
def test_numbers_out_of_bounds_are_refused(arguments: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        boundary(*arguments)
    assert not boundary(10, 1.0, 0.05).is_reachable  # as an assignment may have it, which a preview would refuse
