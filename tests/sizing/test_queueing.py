import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.sizing.queueing import erlang_c, mean_response_ms, response_time_quantile_ms, response_time_tail

loads = st.floats(0.01, 0.99)
servers = st.integers(1, 60)
rates = st.floats(0.1, 10_000)


def test_erlang_c_of_one_server_is_its_utilisation():
    assert erlang_c(1, 0.7) == pytest.approx(0.7)


def test_erlang_c_agrees_with_the_sum_of_factorials():
    c, a = 7, 5.2
    top = a**c / math.factorial(c) * c / (c - a)
    assert erlang_c(c, a) == pytest.approx(top / (sum(a**k / math.factorial(k) for k in range(c)) + top), rel=1e-12)


@pytest.mark.parametrize(("c", "load"), [(1, 1.0), (3, 3.5), (0, 0.0), (2, -0.1), (2, float("nan"))])
def test_a_queue_without_bound_is_refused(c, load):
    with pytest.raises(ValueError, match="Erlang C"):
        erlang_c(c, load)


@given(loads, rates)
def test_one_server_answers_in_exponential_time(load, mu):
    arrivals = load * mu
    assert response_time_tail(1000 / mu, 1, arrivals, mu) == pytest.approx(math.exp(-(mu - arrivals) / mu), rel=1e-9)


@given(servers, loads, rates, st.floats(0.05, 0.99))
def test_the_quantile_is_where_the_tail_says_it_is(c, load, mu, quantile):
    arrivals = load * c * mu
    time_ms = response_time_quantile_ms(quantile, c, arrivals, mu)
    assert response_time_tail(time_ms, c, arrivals, mu) == pytest.approx(1 - quantile, rel=1e-6)


@given(servers, loads, rates)
def test_one_more_server_never_makes_the_p95_worse(c, load, mu):
    arrivals = load * c * mu
    assert response_time_quantile_ms(0.95, c + 1, arrivals, mu) <= response_time_quantile_ms(0.95, c, arrivals, mu) * (1 + 1e-9)


@given(servers, loads, rates)
def test_times_scale_with_the_service_time(c, load, mu):
    slow = response_time_quantile_ms(0.95, c, load * c * mu, mu)
    fast = response_time_quantile_ms(0.95, c, load * c * mu * 10, mu * 10)
    assert slow == pytest.approx(10 * fast, rel=1e-6)


def test_nothing_special_happens_where_theta_equals_mu():
    # c = 2 and λ = μ give θ = μ: the formula's 0/0
    exact = response_time_tail(8.0, 2, 100.0, 100.0)
    assert exact == pytest.approx(response_time_tail(8.0, 2, 100.0 + 1e-4, 100.0), rel=1e-5)


@pytest.mark.parametrize(("c", "load"), [(1, 0.5), (3, 0.8), (8, 0.6)])
def test_predictions_agree_with_a_simulation(c, load):
    """First come, first served, by Kiefer and Wolfowitz's recursion over the servers' free times."""
    random, mu, requests = np.random.default_rng(7), 100.0, 200_000
    arrivals = np.cumsum(random.exponential(1 / (load * c * mu), requests))
    service = random.exponential(1 / mu, requests)
    free = [0.0] * c
    times = np.empty(requests)
    for i, (at, length) in enumerate(zip(arrivals, service, strict=True)):
        server = min(range(c), key=free.__getitem__)
        free[server] = max(at, free[server]) + length
        times[i] = free[server] - at
    times = times[1000:] * 1000
    assert response_time_quantile_ms(0.95, c, load * c * mu, mu) == pytest.approx(np.quantile(times, 0.95), rel=0.03)
    assert mean_response_ms(c, load * c * mu, mu) == pytest.approx(times.mean(), rel=0.03)
