import pytest
from hypothesis import given
from hypothesis import strategies as st

from isthmus.errors import GateError
from isthmus.limits import MOST_REPLICAS
from isthmus.sizing.headroom import Headroom, cases
from isthmus.sizing.queueing import response_time_quantile_ms
from isthmus.sizing.replicas import Demand, plan_replicas

NAN, INFINITE = float("nan"), float("inf")


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


@given(st.floats(1, 5000), st.floats(1.2, 20), st.floats(0, 8))
def test_with_any_variation_the_plan_is_the_smallest_that_keeps_the_objective(rate, slack, scv):
    mu = 100.0
    objective = slack * response_time_quantile_ms(0.95, 1, 1e-9, mu, scv)
    plan = plan_replicas(Demand(rate, objective), mu, scv=scv)
    assert plan.p95_ms <= objective * (1 + 1e-6)
    if (fewer := plan.replicas - 1) * mu > rate:
        assert response_time_quantile_ms(0.95, fewer, rate, mu, scv) > objective * (1 - 1e-6)


def test_steadier_service_times_need_fewer_replicas_and_the_plan_says_by_which_model():
    demand = Demand(1000, 32)
    steady, plain = plan_replicas(demand, 120.0, scv=0.05), plan_replicas(demand, 120.0)
    assert steady.replicas < plain.replicas
    assert steady.explain().startswith("M/G/c, scv 0.05: ")
    assert plain.explain().startswith("M/M/c: ")


@pytest.mark.parametrize("scv", [1.0, 0.3])
def test_an_objective_that_exponential_times_cannot_keep_may_be_kept_by_steadier_ones(scv):
    if scv == 1:
        with pytest.raises(GateError, match=r"24\.96 ms at p95"):
            plan_replicas(Demand(10, 20), 120.0, scv=scv)
    else:
        assert plan_replicas(Demand(10, 20), 120.0, scv=scv).p95_ms <= 20


@given(
    st.floats(1, 2000),
    st.builds(
        Headroom,
        lost_servers=st.integers(0, 3),
        zones=st.just(3),
        lost_zones=st.integers(0, 2),
        burst_factor=st.floats(1, 3),
        max_unavailable=st.sampled_from([None, 1, "25%"]),
        fallback_requests_per_second=st.floats(0, 300),
        together=st.booleans(),
    ),
)
def test_the_objective_is_kept_in_each_case_and_with_one_less_it_is_not_in_the_one_that_binds(rate, headroom):
    plan = plan_replicas(Demand(rate, 40), 120.0, headroom=headroom)
    assert all(case.p95_ms <= 40 * (1 + 1e-9) for case in plan.cases)
    assert plan.replicas == max(case.needed for case in plan.cases)
    assert plan.replicas >= plan_replicas(Demand(rate, 40), 120.0).replicas
    # Negative control: one less breaks the case that binds.
    binding = max(plan.cases, key=lambda case: case.needed)
    left = next(case.serving for case in cases(rate, headroom) if case.name == binding.name)(plan.replicas - 1)
    assert left * 120.0 <= binding.requests_per_second or (response_time_quantile_ms(0.95, left, binding.requests_per_second, 120.0) > 40)


def test_the_explanation_names_the_case_that_binds():
    headroom = Headroom(lost_servers=1, zones=3, lost_zones=1, burst_factor=1.5, max_unavailable="25%", max_surge=2)
    plan = plan_replicas(Demand(200, 50), 120.0, headroom=headroom)
    text = plan.explain()
    assert plan.bound == "1 of 3 zones lost"
    assert [line.endswith("(binding)") for line in text.splitlines()] == [False, True, False, False, False]
    for part in ("→ 5 replicas (1 of 3 zones lost)", "1 server lost: 4 of 5 serve 200/s", "burst of 1.5 times: 5 of 5 serve 300/s"):
        assert part in text
    assert plan.peak_replicas == 7


def test_head_room_that_costs_nothing_does_not_bind():
    plan = plan_replicas(Demand(1, 500), 120.0, headroom=Headroom(burst_factor=2))
    assert (plan.replicas, plan.bound) == (1, "the fewest that keep the objective")


def test_what_each_case_lacks_is_said_at_once():
    with pytest.raises(GateError) as caught:
        plan_replicas(Demand(200, 50), 120.0, max_replicas=3, headroom=Headroom(lost_servers=2, burst_factor=1e9), path="services.digits")
    assert [problem.path for problem in caught.value.problems] == ["services.digits.headroom"] * 2
    assert "(2 servers lost) need 5 replicas" in str(caught.value)
    assert f"more than {MOST_REPLICAS} replicas" in str(caught.value)


@pytest.mark.parametrize(
    ("demand", "mu", "scv", "path"),
    [
        (Demand(NAN, 50), 120.0, 1.0, "requests_per_second"),
        (Demand(0, 50), 120.0, 1.0, "requests_per_second"),
        (Demand(-5, 50), 120.0, 1.0, "requests_per_second"),
        (Demand(INFINITE, 50), 120.0, 1.0, "requests_per_second"),
        (Demand(200, NAN), 120.0, 1.0, "p95_ms"),
        (Demand(200, 50), NAN, 1.0, "service_rate_per_second"),
        (Demand(200, 50), 0.0, 1.0, "service_rate_per_second"),
        (Demand(200, 50), -1.0, 1.0, "service_rate_per_second"),
        (Demand(200, 50), 120.0, -0.1, "scv"),
        (Demand(200, 50), 120.0, NAN, "scv"),
        (Demand(200, 50), 120.0, 1e6, "scv"),
    ],
)
def test_numbers_that_are_none_are_refused_by_name(demand, mu, scv, path):
    with pytest.raises(GateError) as caught:
        plan_replicas(demand, mu, scv=scv)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_all_bad_numbers_are_named_at_once_and_bounds_must_not_cross():
    with pytest.raises(GateError) as caught:
        plan_replicas(Demand(NAN, 0), -1.0, scv=NAN, min_replicas=5, max_replicas=2, headroom=Headroom(burst_factor=0))
    assert len(caught.value.problems) == 6
