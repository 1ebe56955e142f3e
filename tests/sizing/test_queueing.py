import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.sizing.formulas.simulation import simulate
from isthmus.sizing.queueing import (
    erlang_c,
    mean_response_ms,
    response_time_quantile_ms,
    response_time_tail,
    response_time_tails,
    service_time_quantile_ms,
)

loads = st.floats(0.01, 0.99)
servers = st.integers(1, 60)
rates = st.floats(0.1, 10_000)
variations = st.floats(0, 20)
MU = 100.0


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


def slow_erlang_c(servers, load):
    blocking = 1.0
    for k in range(1, servers + 1):
        blocking = load * blocking / (k + load * blocking)
    return blocking / (1 - load / servers * (1 - blocking))


@given(st.integers(1, 6000), st.floats(0, 1, exclude_max=True))
def test_erlang_c_does_not_need_the_recurrence_from_its_start(c, load):
    assert erlang_c(c, load * c) == pytest.approx(slow_erlang_c(c, load * c), rel=1e-11, abs=1e-290)


def test_a_million_servers_are_answered():
    assert erlang_c(10**6, 10**6 - 2000) == pytest.approx(slow_erlang_c(10**6, 10**6 - 2000), rel=1e-11)
    assert response_time_quantile_ms(0.95, 10**6, (10**6 - 500) * MU, MU, 0.5) > service_time_quantile_ms(0.95, MU, 0.5)


@given(servers, loads, rates)
def test_without_excess_variation_the_general_formula_is_m_m_c_to_the_last_bit(c, load, mu):
    arrivals = load * c * mu
    assert response_time_quantile_ms(0.95, c, arrivals, mu, 1.0) == response_time_quantile_ms(0.95, c, arrivals, mu)
    assert mean_response_ms(c, arrivals, mu, 1.0) == mean_response_ms(c, arrivals, mu)


@pytest.mark.parametrize(
    ("quantile", "queue", "quantile_ms", "mean_ms"),
    [
        (0.95, (3, 200.0, 120.0), 28.96932253885704, 10.206834532374101),
        (0.95, (2, 200.0, 120.0), 78.08332975643377, 27.272727272727266),
        (0.5, (1, 70.0, 100.0), 23.104906019289047, 33.333333333333336),
        (0.95, (40, 3900.0, 100.0), 45.50872672814876, 18.208868150115315),
    ],
)
def test_the_numbers_of_m_m_c_have_not_moved(quantile, queue, quantile_ms, mean_ms):
    """As computed before variation was taken into account."""
    assert response_time_quantile_ms(quantile, *queue) == quantile_ms
    assert mean_response_ms(*queue) == mean_ms


@given(servers, loads, st.sampled_from([1 - 1e-6, 1 + 1e-6]))
def test_the_general_formula_runs_into_m_m_c_from_either_side(c, load, scv):
    arrivals = load * c * MU
    assert response_time_quantile_ms(0.95, c, arrivals, MU, scv) == pytest.approx(
        response_time_quantile_ms(0.95, c, arrivals, MU), rel=2e-3
    )
    assert mean_response_ms(c, arrivals, MU, scv) == pytest.approx(mean_response_ms(c, arrivals, MU), rel=1e-5)


@given(loads, variations)
def test_one_server_waits_as_pollaczek_and_khinchine_say(load, scv):
    expected = 1000 / MU * (1 + load * (1 + scv) / (2 * (1 - load)))
    assert mean_response_ms(1, load * MU, MU, scv) == pytest.approx(expected, rel=1e-9)


@given(servers, loads, variations, st.floats(0.05, 0.99))
def test_with_any_variation_the_quantile_is_where_the_tail_says_it_is(c, load, scv, quantile):
    arrivals = load * c * MU
    time_ms = response_time_quantile_ms(quantile, c, arrivals, MU, scv)
    assert response_time_tail(time_ms, c, arrivals, MU, scv) <= 1 - quantile + 1e-6
    assert response_time_tail(time_ms * (1 - 1e-6), c, arrivals, MU, scv) >= 1 - quantile - 1e-4
    assert time_ms >= service_time_quantile_ms(quantile, MU, scv) * (1 - 1e-4)


@given(servers, st.floats(0.01, 0.9), variations)
def test_more_load_never_makes_the_tail_lighter_and_many_loads_at_once_are_the_same(c, load, scv):
    arrivals = np.array([load, load * 1.1]) * c * MU
    tails = response_time_tails(25.0, c, arrivals, MU, scv)
    assert tails[0] <= tails[1] + 1e-9
    assert tails.tolist() == pytest.approx([response_time_tail(25.0, c, rate, MU, scv) for rate in arrivals], rel=1e-9, abs=1e-12)


@given(servers, loads, variations)
def test_a_tail_is_a_tail(c, load, scv):
    tails = [response_time_tail(t, c, load * c * MU, MU, scv) for t in (0, 1, 5, 9.9, 10.1, 20, 80, 400, 2e4)]
    assert all(0 <= later <= earlier + 1e-6 for earlier, later in itertools.pairwise(tails))
    assert tails[0] == pytest.approx(1)


@given(st.floats(1e-3, 0.999), st.floats(0.1, 4))
def test_the_fitted_service_time_agrees_with_the_sum_that_an_erlang_distribution_has(scv, time):
    shape = max(2, round(1 / scv))
    x = shape * time
    logs = [k * math.log(x) - x - math.lgamma(k + 1) for k in range(shape)]
    alone = response_time_tail(time * 10, 1, 0.0, MU, 1 / shape)
    assert alone == pytest.approx(sum(map(math.exp, logs)), abs=1e-7)


@pytest.mark.parametrize("scv", [-0.1, float("nan"), float("inf")])
def test_a_variation_that_is_none_is_refused(scv):
    with pytest.raises(ValueError, match="squared coefficient"):
        response_time_quantile_ms(0.95, 3, 200.0, MU, scv)


@pytest.mark.parametrize("arrivals", [[], [-1.0], [300.0], [float("nan")]])
def test_many_loads_of_which_one_is_too_many_are_refused(arrivals):
    with pytest.raises(ValueError, match="each offered load"):
        response_time_tails(10.0, 3, np.array(arrivals), MU)


@pytest.mark.parametrize("scv", [0.0, 0.1, 0.5, 2.0, 4.0])
@pytest.mark.parametrize(("c", "load", "tolerance"), [(1, 0.6, 0.02), (1, 0.8, 0.02), (4, 0.6, 0.04), (4, 0.8, 0.05)])
def test_the_correction_for_variation_agrees_with_a_simulation_where_m_m_c_does_not(c, load, tolerance, scv):
    requests = 3_000_000 if c == 1 else 300_000
    seen = simulate(c, load * c * MU, MU, scv=scv, requests=requests, seed=4)
    room = tolerance + seen.p95_error_ms / seen.p95_ms
    assert response_time_quantile_ms(0.95, c, load * c * MU, MU, scv) == pytest.approx(seen.p95_ms, rel=room)
    # What the correction is for: M/M/c itself is far off.
    assert response_time_quantile_ms(0.95, c, load * c * MU, MU) != pytest.approx(seen.p95_ms, rel=2 * tolerance)


@pytest.mark.parametrize(("c", "load"), [(1, 0.3), (1, 0.8), (2, 0.7), (4, 0.6), (16, 0.8)])
def test_m_m_c_itself_is_within_two_percent_of_the_simulation(c, load):
    runs = [simulate(c, load * c * MU, MU, requests=3_000_000 if c == 1 else 700_000, seed=seed) for seed in (1, 2)]
    seen = sum(run.p95_ms for run in runs) / 2
    assert response_time_quantile_ms(0.95, c, load * c * MU, MU) == pytest.approx(seen, rel=0.02)
