"""Servers before requests, at a real API server whose controllers the test plays: what is asked of them, and in which order."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from isthmus.apiserver.kubeconfig import Access
from isthmus.names import SERVER, TRACK_LABEL, service_labels
from isthmus.plugin.handler import Context
from isthmus.provider.clusters.capacity import START_SECONDS, Capacity
from isthmus.provider.clusters.client import Cluster

OURS, THEIRS = "organization/project/test", "acme/shop/prod"


def inputs(servers: Any, **replicas: int) -> dict[str, Any]:
    planned = {f"digits-{track}": count for track, count in replicas.items()}
    place = {"kubeconfig": servers.api.kubeconfig, "namespace": servers.namespace, "service": "digits"}
    return {**place, "replicas": planned, "ready_seconds": 30}


def test_an_autoscaled_service_begins_with_the_planned_servers_all_ready_and_its_autoscaler_is_as_before(plugin: Any, servers: Any) -> None:
    servers.make("stable", 1, least=1, most=6)
    plugin.create("KubernetesCapacity", inputs(servers, stable=4))
    assert (servers.told("stable"), servers.least("stable"), servers.before("stable")) == (4, 1, "")


def test_what_the_autoscaler_set_stays_unless_the_plan_has_grown(plugin: Any, servers: Any) -> None:
    servers.make("stable", 1, least=1, most=6)
    made = plugin.create("KubernetesCapacity", inputs(servers, stable=4))
    for set_by_autoscaler, planned, then in ((2, 4, 2), (6, 4, 6), (2, 3, 2), (2, 5, 5)):
        servers.api.call(
            "PATCH", f"{servers.deployments}/digits-stable/scale", {"spec": {"replicas": set_by_autoscaler}}, "application/merge-patch+json"
        )
        plugin.update(made, inputs(servers, stable=planned))
        assert servers.told("stable") == then
    assert servers.least("stable") == 1


def test_no_more_is_asked_for_than_the_autoscaler_may_give(plugin: Any, servers: Any) -> None:
    servers.make("stable", 1, least=1, most=3)
    plugin.create("KubernetesCapacity", inputs(servers, stable=5))
    assert servers.told("stable") == 3


def test_replicas_that_the_program_names_are_waited_for_and_not_changed(
    plugin: Any, servers: Any, in_background: Any, eventually: Any
) -> None:
    servers.obedient = False
    servers.make("stable", 2)
    making = in_background(lambda: plugin.create("KubernetesCapacity", inputs(servers, stable=2)))
    eventually(lambda: any("waiting for the servers of digits" in text for text in plugin.engine.texts(ephemeral=True)))
    assert not making.done()
    servers.obedient = True
    making.result(60)
    assert servers.told("stable") == 2


def test_servers_that_do_not_get_ready_fail_the_update_with_what_is_missing(plugin: Any, servers: Any) -> None:
    servers.obedient = False
    servers.make("stable", 1, least=1, most=6)
    with pytest.raises(Exception, match=r"digits-stable has 0 of 4 servers ready after 1 s") as error:
        plugin.create("KubernetesCapacity", {**inputs(servers, stable=4, canary=1), "ready_seconds": 1})
    assert "digits-canary has 0 of 1 servers ready" in str(error.value)
    assert error.value.outputs is not None  # it is in the state, and the next update goes on
    assert servers.least("stable") == 1


def test_one_that_is_replaced_in_place_takes_nothing_away(plugin: Any, servers: Any) -> None:
    servers.make("stable", 1, least=1, most=6)
    old = plugin.create("KubernetesCapacity", inputs(servers, stable=2))
    plugin.create("KubernetesCapacity", inputs(servers, stable=2))
    plugin.delete(old)
    assert (servers.told("stable"), servers.least("stable")) == (2, 1)


def test_what_became_somebody_elses_is_not_deleted(plugin: Any, servers: Any) -> None:
    servers.make("stable", 1, owner=THEIRS)
    made = plugin.create("KubernetesCapacity", inputs(servers, stable=1))
    with pytest.raises(Exception, match=f"digits-stable in namespace {servers.namespace} belongs to {THEIRS} by now"):
        plugin.delete(made)
    annotation = {"metadata": {"annotations": {"isthmus.dev/owner": OURS}}}
    servers.api.call("PATCH", f"{servers.deployments}/digits-stable", annotation, "application/merge-patch+json")
    plugin.delete(made)


@pytest.fixture
def capacity(servers: Any) -> Capacity:
    context = Context("")
    return Capacity(Cluster(Access(servers.api.kubeconfig), context), servers.namespace, "digits", context)


def test_an_autoscaler_keeps_what_it_is_told_until_it_is_let_go(servers: Any, capacity: Capacity) -> None:
    servers.make("stable", 3, least=2, most=6)
    servers.make("canary", 1, least=1, most=6)
    capacity.hold("stable")
    assert capacity.raise_to("canary", 4) == 4
    assert [(servers.least(it), servers.before(it)) for it in ("stable", "canary")] == [(3, "2"), (4, "1")]
    capacity.raise_to("canary", 5)  # what it was told in the beginning is what counts in the end
    assert (servers.least("canary"), servers.before("canary")) == (5, "1")
    capacity.let_go()
    assert [(servers.least(it), servers.before(it), servers.told(it)) for it in ("stable", "canary")] == [(2, "", 3), (1, "", 5)]


def test_a_new_load_is_waited_for_until_the_autoscaler_wants_the_servers_itself(
    servers: Any, capacity: Capacity, in_background: Any
) -> None:
    servers.make("canary", 1, least=1, most=6)
    capacity.raise_to("canary", 4)
    servers.autoscaler_says("canary", limited=True)
    waiting = in_background(lambda: capacity.await_notice("canary", 60))
    with pytest.raises(TimeoutError):
        waiting.result(1.5)
    servers.autoscaler_says("canary", limited=False)
    waiting.result(20)
    servers.autoscaler_says("canary", limited=True)
    capacity.await_notice("canary", 0.2)  # one that never wants them is not waited for


def test_what_an_autoscaler_wants_while_servers_start_is_not_taken_for_their_load(
    servers: Any, capacity: Capacity, in_background: Any
) -> None:
    servers.make("canary", 1, least=1, most=6)
    capacity.raise_to("canary", 4)
    servers.autoscaler_says("canary", limited=False)
    pods, labels = f"/api/v1/namespaces/{servers.namespace}/pods", {**service_labels("digits", SERVER), TRACK_LABEL: "canary"}
    servers.api.call("POST", pods, {"metadata": {"name": "young", "labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}})

    def ready_since(seconds: float) -> None:
        text = (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": text}]}}
        servers.api.call("PATCH", f"{pods}/young/status", status, "application/merge-patch+json")

    ready_since(1)
    waiting = in_background(lambda: capacity.await_notice("canary", 60))
    with pytest.raises(TimeoutError):
        waiting.result(1.5)
    ready_since(START_SECONDS + 1)
    waiting.result(20)
