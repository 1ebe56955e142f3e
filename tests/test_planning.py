import pytest

from isthmus.arguments import Cloud, check
from isthmus.errors import GateError
from isthmus.planning import plan_of

ARGS = {"model": "models/digits", "requests_per_second": 200, "p95_ms": 60, "profile": {"service_ms": 10}}
STORE = {"endpoint": "http://store", "access_key": "a", "secret_key": "b"}
HOSTS = [{"name": f"vm{speed}", "address": "unix:///run/docker.sock", "speed": speed} for speed in (4, 2, 1)]


def planned(**changes):
    return plan_of(check(Cloud, {**ARGS, "store": STORE, **changes}, "services.a"), None, "services.a")


def test_the_local_platform_gets_equal_replicas_and_no_autoscaler():
    plan = planned()
    assert plan.replicas == 3
    assert plan.autoscaling is None
    assert plan.weights == (1, 1, 1)


def test_hosts_of_unequal_speed_get_formula_3s_weights():
    plan = planned(platform="docker", docker={"hosts": HOSTS}, balancing="weighted", requests_per_second=500)
    assert plan.replicas == 3
    fast, middle, slow = plan.weights
    assert fast > 2 * middle > 4 * slow > 0
    assert plan.output()["weights"] == list(plan.weights)


def test_pools_count_each_of_their_replicas():
    pools = [{"name": "big", "speed": 2, "replicas": 2}, {"name": "small", "replicas": 1}]
    plan = planned(platform="kubernetes", kubernetes={"pools": pools}, balancing="weighted")
    assert len(plan.weights) == 3
    assert plan.weights[0] == plan.weights[1] > plan.weights[2]


def test_the_autoscaler_starts_at_the_planned_replicas_and_goes_to_twice_as_many():
    plan = planned(platform="kubernetes")
    assert plan.autoscaling is not None
    assert (plan.autoscaling.min_replicas, plan.autoscaling.max_replicas) == (plan.replicas, 2 * plan.replicas)
    assert "autoscaler: 3 to 6 replicas" in plan.explain()


def test_bounds_that_the_program_gives_are_the_autoscalers():
    plan = planned(platform="kubernetes", min_replicas=1, max_replicas=9)
    assert plan.autoscaling is not None
    assert (plan.autoscaling.min_replicas, plan.autoscaling.max_replicas) == (1, 9)
    assert plan.output()["autoscaling"]["max_replicas"] == 9


def test_without_autoscaling_there_is_none():
    assert planned(platform="kubernetes", kubernetes={"autoscale": False}).autoscaling is None


def test_hosts_that_cannot_keep_the_objective_fail_the_preview():
    with pytest.raises(GateError, match=r"services\.a"):
        planned(platform="docker", docker={"hosts": HOSTS[2:]})
