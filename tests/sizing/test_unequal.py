import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import GateError
from isthmus.sizing.formulas.balancing import plan_shares
from isthmus.sizing.replicas import Demand
from isthmus.sizing.unequal import plan_unequal

rates = st.lists(st.floats(10, 500), min_size=1, max_size=6)


@settings(max_examples=40)
@given(rates, st.floats(0.05, 0.9))
def test_the_mean_is_formula_3s_but_for_the_rounding(p, load):
    plan = plan_unequal(Demand(load * sum(p), 1e9), p, "weighted")
    exact = plan_shares(p, load * sum(p)).mean_ms
    assert exact * (1 - 1e-9) <= plan.mean_ms <= exact * 1.02
    assert 0 < plan.p50_ms <= plan.p95_ms
    assert plan.utilisation < 1


def test_the_quantiles_are_those_of_a_simulated_mixture():
    rates_per_second, arrivals = (400.0, 200.0, 100.0), 420.0
    plan = plan_unequal(Demand(arrivals, 1000), rates_per_second, "weighted")
    shares = np.array(plan.weights) / sum(plan.weights)
    random = np.random.default_rng(7)
    server = random.choice(3, size=400_000, p=shares)
    times = random.exponential(1000 / (np.array(rates_per_second) - arrivals * shares)[server])
    assert plan.p50_ms == pytest.approx(np.quantile(times, 0.5), rel=0.02)
    assert plan.p95_ms == pytest.approx(np.quantile(times, 0.95), rel=0.02)
    assert plan.mean_ms == pytest.approx(times.mean(), rel=0.02)


def test_equal_servers_get_equal_weights():
    plan = plan_unequal(Demand(150, 1000), (100.0, 100.0, 100.0), "weighted")
    assert len(set(plan.weights)) == 1
    assert plan.servers == 3


def test_a_server_too_slow_to_help_is_not_listed():
    plan = plan_unequal(Demand(10, 1000), (1000.0, 2.0), "weighted")
    assert plan.weights[1] == 0
    assert plan.servers == 1


def test_round_robin_that_drowns_the_slowest_is_refused_where_weights_would_do():
    demand, servers = Demand(420, 1000), (400.0, 200.0, 100.0)
    assert plan_unequal(demand, servers, "weighted").utilisation < 1
    with pytest.raises(GateError, match="balancing: weighted"):
        plan_unequal(demand, servers, "round_robin", "services.a")


def test_servers_that_miss_the_objective_are_refused_with_their_p95():
    with pytest.raises(GateError, match=r"services\.a\.p95_ms: these 2 servers answer 180 requests/s with a p95 of"):
        plan_unequal(Demand(180, 20), (100.0, 100.0), "weighted", "services.a")


def test_more_than_the_servers_can_take_is_refused():
    with pytest.raises(GateError):
        plan_unequal(Demand(500, 100), (100.0, 100.0), "weighted", "services.a")


def test_the_plan_says_its_arithmetic():
    text = plan_unequal(Demand(100, 200), (100.0, 50.0), "weighted").explain()
    assert text.startswith("formula 3: λ = 100/s over 150/s, weights 100/s → ")
    assert "(objective 200 ms)" in text
