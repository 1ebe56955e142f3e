import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from isthmus.errors import GateError
from isthmus.sizing.autoscaling import TOLERANCE, highest_utilisation, plan_autoscaling
from isthmus.sizing.queueing import response_time_quantile_ms
from isthmus.sizing.replicas import Demand, plan_replicas


def planned(rate=300.0, p95_ms=50.0, mu=100.0, scv=1.0):
    return plan_replicas(Demand(rate, p95_ms), mu, scv=scv)


@settings(max_examples=60)
@given(st.integers(1, 12), st.integers(0, 20), st.floats(1.5, 10), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_objective_holds_at_the_busiest_steady_state_of_every_number_of_replicas(least, more, slack, scv):
    mu, p95_ms = 100.0, 30.0 * slack
    plan = planned(rate=50.0, p95_ms=p95_ms, mu=mu, scv=scv)
    try:
        found = plan_autoscaling(plan, min_replicas=least, max_replicas=least + more)
    except GateError:
        assume(False)
    for replicas in range(least, least + more + 1):
        busiest = found.target_utilisation * (1 + TOLERANCE) * replicas * mu
        assert response_time_quantile_ms(0.95, replicas, busiest, mu, scv) <= p95_ms * 1.0001


def test_a_target_one_twentieth_higher_would_break_the_objective():
    plan = planned(rate=100.0, p95_ms=50.0)
    found = plan_autoscaling(plan, min_replicas=2, max_replicas=10)
    busiest = (found.target_utilisation + 0.05) * (1 + TOLERANCE) * 2 * 100.0
    assert response_time_quantile_ms(0.95, 2, busiest, 100.0) > 50.0


def test_more_replicas_bear_a_higher_utilisation():
    found = [highest_utilisation(replicas, 50.0, 100.0) for replicas in (1, 2, 4, 8, 16)]
    assert found == sorted(found)
    assert 0 < found[0] < found[-1] < 1


def test_the_demand_itself_rests_at_the_planned_replicas_or_above():
    plan = planned(rate=300.0)
    found = plan_autoscaling(plan, min_replicas=2, max_replicas=20)
    assert found.planned_replicas >= plan.replicas
    assert found.target_cpu_millis == 10 * found.target_percent
    assert f"{found.target_percent} % of a core" in found.explain()


@pytest.mark.parametrize(
    ("arguments", "where", "says"),
    [
        ({"min_replicas": 3, "max_replicas": 2}, "services.a.min_replicas", "3 to 2"),
        ({"min_replicas": 0, "max_replicas": 2}, "services.a.min_replicas", "0 to 2"),
        ({"min_replicas": 2, "max_replicas": 3}, "services.a.max_replicas", "needs"),
    ],
)
def test_bounds_that_cannot_hold_are_refused(arguments, where, says):
    with pytest.raises(GateError) as caught:
        plan_autoscaling(planned(rate=300.0), path="services.a", **arguments)
    assert [problem.path for problem in caught.value.problems] == [where]
    assert says in str(caught.value)


def test_an_objective_that_one_replica_keeps_only_while_idle_is_refused():
    plan = plan_replicas(Demand(1.0, 31.0), 100.0)
    with pytest.raises(GateError, match="too little for an autoscaler"):
        plan_autoscaling(plan, min_replicas=1, max_replicas=10)
