"""How many requests of devices a service takes at a time: against M/M/c, a bound that holds for any times, and simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sizing.drawn import admitted, beside_permanent

from isthmus.sizing.admission import MOST_IN_FLIGHT, most_in_flight, tail_beside
from isthmus.sizing.offload import erlang_b
from isthmus.sizing.queueing import mean_response_ms, response_time_quantile_ms, response_time_tail
from isthmus.sizing.replicas import Demand

servers, loads, times = st.integers(1, 30), st.floats(0.01, 0.95), st.floats(0, 500)


@given(servers, loads, times)
def test_beside_nobody_it_is_the_queue_of_every_day(count, load, time_ms):
    rate = load * count * 100
    assert tail_beside(time_ms, count, rate, 100, 0) == pytest.approx(response_time_tail(time_ms, count, rate, 100), abs=1e-9)


@settings(max_examples=30)
@given(servers, loads, times, st.integers(0, 60))
def test_more_devices_never_make_it_shorter(count, load, time_ms, devices):
    rate = load * count * 100
    assert tail_beside(time_ms, count, rate, 100, devices) <= tail_beside(time_ms, count, rate, 100, devices + 1) + 1e-9


@given(st.integers(2, 30), st.integers(1, 29), st.floats(0.05, 0.95), times)
def test_it_is_never_longer_than_with_those_servers_taken_away(count, devices, load, time_ms):
    left = count - devices
    if left >= 1:
        rate = load * left * 100
        assert tail_beside(time_ms, count, rate, 100, devices) <= response_time_tail(time_ms, left, rate, 100) + 1e-9


@pytest.mark.parametrize(("count", "rate", "devices"), [(1, 50, 1), (2, 100, 3), (4, 250, 2), (4, 250, 8), (10, 700, 20)])
def test_simulated_permanent_customers_are_as_the_product_form_says(count, rate, devices):
    seen = beside_permanent(count, rate, 100, devices, requests=100_000)
    for quantile in (0.5, 0.95):
        time_ms = float(np.quantile(seen, quantile))
        assert tail_beside(time_ms, count, rate, 100, devices) == pytest.approx(1 - quantile, rel=0.15)


def test_without_the_permanent_ones_the_simulation_would_not_agree():
    seen = float(np.quantile(beside_permanent(4, 250, 100, 8), 0.95))
    assert response_time_tail(seen, 4, 250, 100) < 0.02


@pytest.mark.parametrize("scv", [0.0, 0.25, 1.0, 4.0])
@pytest.mark.parametrize(("count", "rate", "p95_ms"), [(4, 120, 60), (5, 200, 50), (8, 500, 60)])
def test_with_so_many_always_there_the_others_p95_is_kept_whatever_the_times(count, rate, p95_ms, scv):
    most = most_in_flight(count, Demand(rate, p95_ms), 100, scv)
    assert most >= 1
    seen = np.quantile(beside_permanent(count, rate, 100, most, scv=scv), 0.95)
    assert seen <= 1.05 * p95_ms


@settings(max_examples=30)
@given(st.integers(1, 40), loads, st.floats(40, 1000))
def test_it_is_the_most_that_keeps_the_objective(count, load, p95_ms):
    rate = load * count * 100
    most = most_in_flight(count, Demand(rate, p95_ms), 100, 1.0)
    assert 0 <= most <= MOST_IN_FLIGHT
    if most:
        assert tail_beside(p95_ms, count, rate, 100, most) <= 0.05
    if most < MOST_IN_FLIGHT:
        assert tail_beside(p95_ms, count, rate, 100, most + 1) > 0.05


def test_a_service_that_cannot_keep_up_has_no_place_and_a_queue_without_rest_is_refused():
    assert most_in_flight(2, Demand(200, 1000), 100, 1.0) == 0
    assert most_in_flight(0, Demand(1, 1000), 100, 1.0) == 0
    for wrong in ((0, 1.0, 0), (1, 100.0, 0), (1, -1.0, 0), (1, 1.0, -1), (1, math.nan, 0)):
        with pytest.raises(ValueError, match="no rest"):
            tail_beside(1, wrong[0], wrong[1], 100, wrong[2])


def test_what_is_turned_away_at_the_quantile_is_about_what_erlang_b_says():
    most, response_seconds = 6, mean_response_ms(5, 392, 100) / 1000
    seen = admitted(5, (200, 192), 100, most)
    assert erlang_b(most, 192 * response_seconds) == pytest.approx(seen.share, rel=0.35)
    assert np.quantile(seen.times_ms, 0.95) <= response_time_quantile_ms(0.95, 5, 392, 100)
