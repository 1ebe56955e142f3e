"""The autoscaler, told by the planner: load up, replicas up to what was planned; load down, replicas down; an update resets nothing."""

import copy
import json
import math
import statistics
import time

import pytest
from toolchain.testing import patience

from isthmus.sizing.autoscaling import TOLERANCE

pytestmark = [pytest.mark.alone, pytest.mark.in_order, pytest.mark.timeout(1200)]
NAMESPACE = "scaled"
# About what a replica gets when the autoscaler has come to rest: a request costs more or less at other rates.
PROBING_RATE = 60.0
# metrics-server's own windows are of 10 s.
WINDOW_SECONDS, WINDOWS = 12.0, 3
# Of the smallest load that needs three: the autoscaler then rests at three, with room for what a busy machine measures wrong.
TIMES_ONE_REPLICA = 2.5


@pytest.fixture(scope="module")
def arguments(place, bucket):
    found = place.arguments(bucket, NAMESPACE, kubernetes={"scale_down_seconds": 15})
    return {**found, "min_replicas": 1, "max_replicas": 5, "requests_per_second": 10}


@pytest.fixture(scope="module")
def stack(make_project):
    return make_project()


def cpu_seconds_per_second(place):
    """Of all servers together, as metrics-server has it."""
    found = place.kubectl("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods")
    usages = [
        container["usage"]["cpu"]
        for pod in json.loads(found)["items"]
        if pod["metadata"]["labels"].get("app.kubernetes.io/component") == "server"
        for container in pod["containers"]
        if container["name"] == "server"
    ]
    units = {"n": 1e-9, "u": 1e-6, "m": 1e-3}
    return sum(float(text[:-1]) * units[text[-1]] if text[-1] in units else float(text) for text in usages)


def pause(seconds):
    """What is measured is measured over time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.5)


def replicas(place):
    return place.get("deployment", NAMESPACE, f"{NAMESPACE}-stable")["status"].get("readyReplicas", 0)


def at_rest(place, deadline):
    """The number of replicas and the CPU of all of them together, once the number has not changed over WINDOWS of metrics-server's: eight
    looks of the autoscaler, each from fresh samples. The CPU is the mean of the last two windows; the first one may begin before."""
    found, samples = replicas(place), []
    while len(samples) < WINDOWS:
        assert not deadline.over(), f"the number of replicas does not settle; the last was {found}"
        pause(WINDOW_SECONDS)
        samples.append(cpu_seconds_per_second(place))
        if (now := replicas(place)) != found:
            found, samples = now, []
    return found, statistics.mean(samples[-2:])


def replicas_that_the_planner_names(place, target, deadline_seconds=420.0):
    """The number at which the replicas rest, once it is the planner's for the CPU that the demand costs: ceil(used / target), with the
    autoscaler's own tolerance. What a request costs drifts on a busy machine and the autoscaler follows: both are read again until they
    agree."""
    deadline = patience.Deadline(deadline_seconds)
    seen = []
    while not deadline.over():
        found, used = at_rest(place, deadline)
        seen.append((found, round(used / target, 2)))
        if found in {math.ceil(used / target * (1 + side * TOLERANCE)) for side in (-1, 1)}:
            return found
    raise AssertionError(f"replicas, and CPU used by targets of one replica: {seen}")


@pytest.fixture(scope="module")
def service_ms(stack, arguments, place, body):
    """What one request costs a server here, measured on one replica: the profile that the plan is made with."""
    stack.configure(services={NAMESPACE: {**copy.deepcopy(arguments), "max_replicas": 1}})
    done = stack.up()
    assert done.code == 0, done
    with place.load(place.url(NAMESPACE), body, PROBING_RATE, 300):
        _, used = at_rest(place, patience.Deadline(420))
        return 1000 * used / PROBING_RATE


@pytest.fixture(scope="module")
def target(stack, arguments, service_ms):
    """CPU per replica that the planner tells the autoscaler, in cores. The objective is near what an idle server needs, so that it
    is small: this machine has two cores for servers, gateways and clients."""
    planned = {**copy.deepcopy(arguments), "profile": {"service_ms": service_ms}, "p95_ms": 3.4 * service_ms, "requests_per_second": 1}
    stack.configure(services={NAMESPACE: planned})
    done = stack.up()
    assert done.code == 0, done
    plan = stack.outputs()["services"][NAMESPACE]["plan"]
    assert 0.05 <= plan["autoscaling"]["target_cpu_millis"] / 1000 <= 0.2
    return plan["autoscaling"]["target_cpu_millis"] / 1000


def test_replicas_grow_to_what_was_planned_and_an_update_leaves_them(stack, place, body, eventually, service_ms, target):  # noqa: PLR0917
    rate = TIMES_ONE_REPLICA * target / (service_ms / 1000)
    with place.load(place.url(NAMESPACE), body, rate, 900) as load:
        eventually(lambda: replicas(place) >= 2, 240)
        found = replicas_that_the_planner_names(place, target)
        done = stack.up_without_changes()
        assert done.code == 0, done
        # Not set back to the stack file's own number, which is one. The engine worked beside the servers, so it may not be `found`.
        assert place.get("deployment", NAMESPACE, f"{NAMESPACE}-stable")["spec"]["replicas"] > 1
        seen = load.stop()
    assert seen["failures"] == {}
    # At other rates a request costs a little more or less than it did when it was profiled, so the number may be another, by one.
    assert abs(found - math.ceil(TIMES_ONE_REPLICA)) <= 1


def autoscaler(place):
    return place.get("hpa", NAMESPACE, f"{NAMESPACE}-stable")


def wished(place):
    """How many replicas the load asks for, by the autoscaler's own numbers, whatever the pace that it may shrink at."""
    found = autoscaler(place)
    (metric,) = found["spec"]["metrics"]
    (current,) = found["status"]["currentMetrics"]
    share = current["resource"]["current"]["averageUtilization"] / metric["resource"]["target"]["averageUtilization"]
    return max(found["spec"]["minReplicas"], math.ceil(share * found["status"]["currentReplicas"]))


def test_replicas_shrink_when_the_load_is_gone(place, eventually):
    # One a minute: that the second one follows the first is Kubernetes' own affair.
    before = autoscaler(place)["status"]["desiredReplicas"]
    assert before > 1
    eventually(lambda: wished(place) == 1, 120)
    eventually(lambda: autoscaler(place)["status"]["desiredReplicas"] < before, 180)
    eventually(lambda: replicas(place) < before, 120)
