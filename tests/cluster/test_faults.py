"""What goes wrong on a cluster, and that each says why and the next update goes on. One stack, in this order.

What Pods and quotas can have against an update is tested against an API server alone, in tests/toolchain/kubernetes_plugin.
"""

import copy
import os
import signal
import time

import pytest
from toolchain import cluster as test_cluster
from toolchain.testing import patience
from toolchain.testing.patience import Deadline, wait_until

from isthmus.release.store import Store

pytestmark = [pytest.mark.alone, pytest.mark.lane("second cluster"), pytest.mark.in_order, pytest.mark.timeout(900)]
NAMESPACE = "faulty"
STABLE = "deployments/faulty-stable"


@pytest.fixture(scope="module")
def arguments(place, bucket):
    return place.arguments(bucket, NAMESPACE, kubernetes={"autoscale": False}, min_replicas=1)


@pytest.fixture(scope="module")
def stack(make_project, arguments, place, body):
    project = make_project()
    configure(project, arguments)
    done = project.up()
    assert done.code == 0, done
    assert served(place, body) == 200
    return project


def configure(stack, arguments, **changes):
    content = {**copy.deepcopy(arguments), **changes}
    content["kubernetes"] = {**arguments["kubernetes"], **changes.get("kubernetes", {})}
    stack.configure(services={NAMESPACE: content})


def served(place, body):
    status, _ = place.ask(place.url(NAMESPACE), body)
    return status


def answers_again(place, body):
    """Servers here leave after 2 s, before every gateway has heard of it: right after an update a request may find nobody."""
    wait_until(lambda: served(place, body) == 200, 30)


def test_a_release_that_was_tampered_with_starts_nowhere_and_what_serves_goes_on(stack, arguments, place, body):
    configure(stack, arguments, version=2, kubernetes={"deadline_seconds": round(patience.scaled(30))})  # it cannot succeed
    store = Store(place.store.address, arguments["bucket"])
    preview = stack.preview()
    assert preview.code == 0, preview
    # Somebody changes the object between the upload and the fetch: here, whenever it appears.
    process = stack.start("up", "--yes", "--stack", "test")
    try:
        deadline = Deadline(120)
        while process.poll() is None and not deadline.over():
            found = [key for key in store.list("") if key.endswith("serving/2/saved_model.pb")]
            if found and any(key.endswith("manifest.json") and found[0].split("serving/")[0] in key for key in store.list("")):
                store.put(found[0], b"not the model")
                break
            time.sleep(0.05)
        text, _ = patience.communicate(process, 240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0, text
    assert "has the wrong content (sha256)" in text
    assert served(place, body) == 200  # the old release, which no new Pod has replaced


def test_an_update_mends_the_store(stack, place, body, eventually):
    # A Pod whose fetch failed waits longer each time before it tries again; an update that finds it waiting says so, and is run again.
    eventually(lambda: stack.up("--refresh").code == 0, 400)
    answers_again(place, body)


def test_an_api_server_that_is_away_for_half_a_minute_delays_an_update_and_no_more(stack, arguments, place, body):
    configure(stack, arguments, version=3, kubernetes={"deadline_seconds": round(patience.scaled(240))})  # beside the half minute
    process = stack.start("up", "--yes", "--stack", "test")
    try:
        before = place.kubectl("get", STABLE, "-n", NAMESPACE, "-o", "jsonpath={.metadata.generation}")
        deadline = Deadline(120)
        while place.kubectl("get", STABLE, "-n", NAMESPACE, "-o", "jsonpath={.metadata.generation}") == before:
            assert process.poll() is None, process.communicate()[0]
            assert not deadline.over()
            time.sleep(0.1)
        test_cluster.control(place.cluster, "stop", "kube-apiserver")
        try:
            end = time.monotonic() + 30
            while time.monotonic() < end:
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.5)
        finally:
            test_cluster.control(place.cluster, "start", "kube-apiserver")
        text, _ = patience.communicate(process, 240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, text
    answers_again(place, body)


def test_an_engine_that_is_killed_in_the_middle_leaves_nothing_that_the_next_update_cannot_take_over(make_project, arguments, place):
    project = make_project()
    name = "killed"
    project.configure(services={name: {**arguments, "kubernetes": {**arguments["kubernetes"], "namespace": name}}})
    process = project.start("up", "--yes", "--stack", "test")
    deadline = Deadline(180)
    while not place.kubectl("get", f"deployments/{name}-stable", "-n", name, "-o", "name", check=False).startswith("deployment"):
        assert process.poll() is None, process.communicate()[0]
        assert not deadline.over()
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    cancelled = project.pulumi("cancel", "--yes", "--stack", "test")
    assert cancelled.code == 0, cancelled
    done = project.up()
    assert done.code == 0, done
    again = project.up_without_changes()
    assert again.code == 0, again
    place.clear(name)
    destroyed = project.destroy()
    assert destroyed.code == 0, destroyed
    assert place.kubectl("get", "namespace", name, check=False).startswith("Error from server (NotFound)")
