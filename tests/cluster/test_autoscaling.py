"""The autoscaler, told by the planner: load up, replicas up to what was planned; load down, replicas down; an update resets nothing."""

import copy
import json
import math
import statistics
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from toolchain.testing import patience

from isthmus.provider.clusters.capacity import BEFORE_ANNOTATION
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


GATE = {"min_requests": 40, "deadline_seconds": 300, "max_p95_ms": 5000, "max_p95_ratio": 1000}
RATE = 15.0


@dataclass(frozen=True)
class Look:
    """percent: of the requests that the canary gets. ready: servers by track. held: tracks whose autoscaler must keep more."""

    percent: int
    ready: dict[str, int]
    held: frozenset[str]


@contextmanager
def watched(place):
    """Looks at the split and at both releases, again and again; at the servers first."""
    seen, over = [], threading.Event()

    def look():
        while not over.wait(0.3):
            ready = {it["metadata"]["name"]: it["status"].get("readyReplicas", 0) for it in place.get("deployments", NAMESPACE)}
            scalers = place.get("hpa", NAMESPACE)
            held = {it["metadata"]["name"] for it in scalers if BEFORE_ANNOTATION in (it["metadata"].get("annotations") or {})}
            split = json.loads(place.get("configmap", NAMESPACE, f"{NAMESPACE}-traffic")["metadata"]["annotations"]["isthmus.dev/traffic"])
            names = {track: f"{NAMESPACE}-{track}" for track in ("stable", "canary")}
            servers = {track: ready.get(name, 0) for track, name in names.items()}
            seen.append(Look(split["canary_percent"], servers, frozenset(track for track, name in names.items() if name in held)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join(60)


def keep(place, eventually, track, replicas):
    """At least so many servers, as a load would have the autoscaler keep."""
    patch = json.dumps({"spec": {"minReplicas": replicas}})
    place.kubectl("patch", "hpa", f"{NAMESPACE}-{track}", "-n", NAMESPACE, "--type=merge", "-p", patch)
    deployment = f"{NAMESPACE}-{track}"
    eventually(lambda: place.get("deployment", NAMESPACE, deployment)["status"].get("readyReplicas", 0) >= replicas, 240)


def fewest_that_count(seen, percent, track):
    """Of the servers of a track that has all requests: at first, and as long as its autoscaler is held to them. Then that does as it
    thinks, and this load asks for one server."""
    looks = [look for look in seen if look.percent == percent]
    return min(look.ready[track] for look in [looks[0], *(look for look in looks if track in look.held)])


def test_whoever_gets_all_requests_has_the_servers_for_them_first_and_both_ways(stack, arguments, place, body, eventually):
    content = copy.deepcopy(arguments)
    stack.configure(services={NAMESPACE: content})
    done = stack.up()  # so that no later update has anything to say to the stable release's autoscaler
    assert done.code == 0, done
    keep(place, eventually, "stable", 3)
    with place.load(place.url(NAMESPACE), body, RATE, 1100) as load:
        stack.configure(services={NAMESPACE: {**content, "canary": {"version": 2}, "canary_percent": 30, "canary_gate": GATE}})
        with watched(place) as seen:
            done = stack.up()
        assert done.code == 0, done
        assert min(look.ready["stable"] for look in seen if look.percent == 30) >= 3, seen
        assert fewest_that_count(seen, 100, "canary") >= 3, seen
        # The stable release's autoscaler sees no load any more; the canary's sees it all.
        keep(place, eventually, "canary", 3)
        keep(place, eventually, "stable", 1)
        stack.configure(services={NAMESPACE: {**content, "version": 2}})
        with watched(place) as seen:
            done = stack.up()
        assert done.code == 0, done
        assert fewest_that_count(seen, 0, "stable") >= 3, seen
        found = load.stop()
    assert found["failures"] == {}, found
