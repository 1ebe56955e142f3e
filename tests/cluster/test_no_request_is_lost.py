"""An open-loop client, and everything that happens to a service in its life: not one request may fail. One stack, in this order."""

import copy
from contextlib import ExitStack

import pytest
from tests.fleet_store import MemoryStore, served
from tests.isthmus_agent.living import Fleet
from tests.shaped import CUT, networks, why_not
from tests.shaped_devices import GOOD, Asking, Told, device_in, figures, with_policy
from toolchain import cluster as test_cluster

from isthmus.release import device_bundle
from isthmus.release.cache import ReleaseCache

pytestmark = [pytest.mark.alone, pytest.mark.lane("first cluster"), pytest.mark.in_order, pytest.mark.timeout(900)]
NAMESPACE = "steady"
RATE = 25.0
LONGEST_SECONDS = 600.0


@pytest.fixture(scope="module")
def arguments(place, bucket):
    return place.arguments(bucket, NAMESPACE, quick=False, kubernetes={"autoscale": False})


@pytest.fixture(scope="module")
def stack(make_project, arguments):
    project = make_project()
    project.configure(services={NAMESPACE: arguments})
    done = project.up()
    assert done.code == 0, done
    return project


@pytest.fixture
def under_load(place, body):
    """Runs something under load, and shows that it cost no request."""

    def run(act):
        with place.load(place.url(NAMESPACE), body, RATE, LONGEST_SECONDS) as load:
            act()
            found = load.stop()
        assert found["failures"] == {}, found
        assert found["answered"] == found["sent"] > 50, found
        return found

    return run


def configure(stack, arguments, **changes):
    stack.configure(services={NAMESPACE: {**copy.deepcopy(arguments), **changes}})


def up(stack):
    done = stack.up()
    assert done.code == 0, done


def test_a_device_outside_whose_way_to_the_gateway_is_cut_and_mended(stack, place, body, releases, tmp_path):
    """It follows a policy that has the cloud role asked first."""
    if missing := why_not():
        pytest.skip(missing)
    release = ReleaseCache(releases / "releases").find(stack.outputs()["services"][NAMESPACE]["digest"])
    policy = figures(step_seconds=0.25, per_second=10, deadline_ms=2000)
    content, _ = with_policy(policy, tmp_path, device_bundle.plain(release, {}))
    address = place.get("service", NAMESPACE, NAMESPACE)["spec"]["clusterIP"]
    with ExitStack() as both:
        fleet = Fleet.founded(both.enter_context(served(MemoryStore())), tmp_path / "keys")
        told = Told(fleet, fleet.tell(content))
        [network] = both.enter_context(networks(1, test_cluster.forward(place.cluster, address, 8501)))
        device = both.enter_context(device_in(network, told, tmp_path / "camera-1", "camera-1", timeout_ms=1500))
        device.body = body.read_bytes()
        network.shape(GOOD)
        asking = Asking(device, 10, 2000).start()
        for shape, by in ((GOOD, "cloud"), (CUT, "device"), (GOOD, "cloud")):
            network.shape(shape)
            asking.await_one(lambda it, by=by: it.by == by, 90)
        asked = asking.stop()
    assert [it for it in asked if it.failure] == []
    assert {it.by for it in asked} == {"device", "cloud"}


def test_an_update_to_another_release(stack, arguments, place, under_load):
    configure(stack, arguments, version=2)
    under_load(lambda: up(stack))
    pods = place.get("pods", NAMESPACE, selector="app.kubernetes.io/component=server")
    running = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    assert {pod["metadata"]["labels"]["isthmus.dev/version"] for pod in running} == {"2"}


GATE = {"min_requests": 60, "deadline_seconds": 240, "max_p95_ms": 5000, "max_p95_ratio": 1000}


def test_a_canary_that_keeps_its_promises_is_promoted(stack, arguments, under_load, place, body):
    configure(stack, arguments, version=2, canary={"version": 3}, canary_percent=30, canary_gate=GATE)
    found = under_load(lambda: up(stack))
    assert found["tracks"]["canary"] >= GATE["min_requests"]
    assert found["tracks"]["stable"] >= GATE["min_requests"]
    assert {place.ask(place.url(NAMESPACE), body)[1]["track"] for _ in range(10)} == {"canary"}
    assert place.ask(place.url(NAMESPACE, path="/labels/stable:predict"), body)[1]["track"] == "stable"


def test_the_promoted_release_becomes_the_stable_one(stack, arguments, under_load, place, body):
    configure(stack, arguments, version=3)
    under_load(lambda: up(stack))
    assert {place.ask(place.url(NAMESPACE), body)[1]["track"] for _ in range(10)} == {"stable"}
    assert [it["metadata"]["name"] for it in place.get("deployments", NAMESPACE)] == ["steady-gateway", "steady-stable"]


def test_a_canary_that_breaks_them_is_rolled_back_and_the_update_says_why(stack, arguments, under_load, place, body):
    gate = {**GATE, "max_p95_ms": 0.01}
    configure(stack, arguments, version=3, canary={"version": 4}, canary_percent=30, canary_gate=gate)
    said = []
    found = under_load(lambda: said.append(stack.up()))
    assert found["tracks"]["canary"] > 0
    assert said[0].code != 0, said[0]
    assert "p95" in said[0]
    assert "the stable release has all the traffic again" in said[0]
    assert {place.ask(place.url(NAMESPACE), body)[1]["track"] for _ in range(10)} == {"stable"}
    configure(stack, arguments, version=3)
    up(stack)


def ready_pods(place, component):
    found = place.get("pods", NAMESPACE, selector=f"app.kubernetes.io/component={component}")
    ready = [pod for pod in found if {"type": "Ready", "status": "True"}.items() <= _condition(pod).items()]
    return [pod["metadata"]["name"] for pod in ready if "deletionTimestamp" not in pod["metadata"]]


def _condition(pod):
    found = [it for it in pod["status"].get("conditions", ()) if it["type"] == "Ready"]
    return {"type": "Ready", "status": found[0]["status"]} if found else {}


def test_a_server_that_is_killed(stack, place, under_load, eventually):
    def kill():
        victim = ready_pods(place, "server")[0]
        place.kubectl("delete", "pod", victim, "-n", NAMESPACE, "--grace-period=0", "--force")
        eventually(lambda: len(ready_pods(place, "server")) == 2 and victim not in ready_pods(place, "server"), 180)

    under_load(kill)


def test_a_gateway_that_is_deleted(stack, place, under_load, eventually):
    def delete():
        victim = ready_pods(place, "gateway")[0]
        place.kubectl("delete", "pod", victim, "-n", NAMESPACE, "--timeout=110s")
        eventually(lambda: len(ready_pods(place, "gateway")) == 2, 180)

    under_load(delete)


def test_a_node_that_is_drained(stack, place, under_load, eventually):
    node = place.get("pods", NAMESPACE, ready_pods(place, "server")[0])["spec"]["nodeName"]

    def drain():
        place.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=240s", seconds=260)
        eventually(lambda: len(ready_pods(place, "server")) == 2 and len(ready_pods(place, "gateway")) == 2, 180)

    try:
        under_load(drain)
    finally:
        place.kubectl("uncordon", node)
