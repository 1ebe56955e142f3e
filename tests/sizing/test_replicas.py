import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import GateError
from isthmus.sizing.queueing import response_time_quantile_ms
from isthmus.sizing.replicas import MOST_REPLICAS, Demand, plan_replicas


@given(st.floats(0.01, 20_000), st.floats(3.1, 50), st.floats(5, 500))
def test_the_plan_is_the_smallest_number_that_keeps_the_objective(rate, slack, mu):
    demand = Demand(rate, slack * 1000 / mu)
    plan = plan_replicas(demand, mu)
    assert plan.p95_ms <= demand.p95_ms * (1 + 1e-9)
    assert plan.utilisation < 1
    fewer = plan.replicas - 1
    if fewer * mu > rate:
        assert response_time_quantile_ms(0.95, fewer, rate, mu) > demand.p95_ms
        assert plan.p95_with_one_less_ms > demand.p95_ms
    else:
        assert plan.p95_with_one_less_ms is None


def test_an_objective_below_the_service_time_is_refused_with_the_least_that_would_do():
    with pytest.raises(GateError) as caught:
        plan_replicas(Demand(10, 20), 120.0, path="services.digits")
    assert "services.digits.p95_ms" in str(caught.value)
    assert "24.96 ms" in str(caught.value)


def test_more_replicas_than_allowed_says_how_many_are_needed():
    with pytest.raises(GateError, match="need 9 replicas; expected at most 4"):
        plan_replicas(Demand(1000, 50), 120.0, max_replicas=4)


def test_a_demand_beyond_any_plan_is_refused_at_once():
    with pytest.raises(GateError, match=f"more than {MOST_REPLICAS} replicas"):
        plan_replicas(Demand(1e12, 50), 120.0)


def test_min_replicas_holds_and_is_named_as_the_reason():
    plan = plan_replicas(Demand(1, 50), 120.0, min_replicas=3)
    assert plan.replicas == 3
    assert "min_replicas" in plan.explain()


def test_the_explanation_has_every_number_that_gave_the_plan():
    text = plan_replicas(Demand(200, 50), 120.0).explain()
    for part in ("λ = 200/s", "μ = 120.0/s", "3 replicas", "utilisation 56%", "p95 29.0 ms", "objective 50 ms", "with 2: p95 78.1 ms"):
        assert part in text
