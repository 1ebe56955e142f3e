"""What a Pod's status means, for a person."""

import pytest

from isthmus.observing.parts import AVAILABLE, LEAVING
from isthmus.platforms.kubernetes import pods


def held(pod, **status):
    """The Pod with another status of its container."""
    pod["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    pod["status"]["containerStatuses"] = [{"name": "server", "restartCount": status.pop("restarts", 0), "lastState": {}, **status}]
    return pod


def test_a_ready_server_says_what_it_serves_and_where(make_pod):
    part = pods.part(make_pod("digits-stable-1", pool="fast"))
    assert (part.kind, part.name, part.on, part.version) == ("stable fast", "digits-stable-1", "node-1", "3")
    assert part.release == "sha256:" + "ab" * 32
    assert part.state == AVAILABLE
    assert part.healthy


def test_a_pod_that_is_being_deleted_is_leaving_and_no_fault(make_pod):
    pod = make_pod("digits-stable-1")
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert pods.part(pod).state == LEAVING
    assert pods.part(pod).healthy


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, "starting"),
        (
            {"state": {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "no/such"'}}},
            'ImagePullBackOff: Back-off pulling image "no/such"',
        ),
        (
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
            },
            "CrashLoopBackOff: server ended: OOMKilled (137)",
        ),
        (
            {"state": {"terminated": {"reason": "Error", "exitCode": 1, "message": "one line\nthe store refuses\n"}}},
            "server ended: Error (1): the store refuses",
        ),
        ({"state": {"running": {}}}, "starting"),
    ],
)
def test_what_keeps_a_container_is_said(make_pod, status, expected):
    part = pods.part(held(make_pod("digits-stable-1"), **status))
    assert part.state == expected
    assert not part.healthy


def test_a_pod_that_no_node_takes_says_why(make_pod):
    pod = make_pod("digits-stable-1")
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}
    pod["status"] = {"phase": "Pending", "conditions": [scheduled]}
    assert pods.state(pod) == "Unschedulable: 0/1 nodes are available"


def test_a_deployment_that_may_not_make_pods_is_a_row_of_its_own(make_pod):
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}
    deployment = {"metadata": make_pod("digits-stable")["metadata"], "status": {"conditions": [failure]}}
    part = pods.stuck(deployment)
    assert part is not None
    assert (part.kind, part.state) == ("stable", "no Pod can be made: exceeded quota: small")
    assert pods.stuck({**deployment, "status": {}}) is None


def test_the_log_before_a_restart_is_shown_where_the_container_failed(make_pod):
    failed = held(make_pod("p"), state={"running": {}}, lastState={"terminated": {"exitCode": 139}}, restarts=1)
    assert [it.name for it in pods.containers(failed)] == ["p/server (before its restart)", "p/server"]
    ended_well = held(make_pod("p"), state={"running": {}}, lastState={"terminated": {"exitCode": 0}}, restarts=1)
    assert [it.name for it in pods.containers(ended_well)] == ["p/server"]
    waiting = held(make_pod("p"), state={"waiting": {}}, lastState={"terminated": {"exitCode": 139}}, restarts=1)
    assert [it.name for it in pods.containers(waiting)] == ["p/server"]


def test_an_init_container_that_succeeded_has_done_all_it_had_to(make_pod):
    pod = make_pod("p")
    pod["spec"]["initContainers"] = [{"name": "fetch"}]
    pod["status"]["initContainerStatuses"] = [{"name": "fetch", "state": {"terminated": {"exitCode": 0}}}]
    assert pods.is_done(pod, "fetch")
    assert not pods.is_done(pod, "server")
    pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] = 1
    assert not pods.is_done(pod, "fetch")


def autoscaler(**status):
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 60}}}
    labels = {"isthmus.dev/track": "stable", "isthmus.dev/pool": "default"}
    return {
        "metadata": {"name": "digits-stable", "labels": labels},
        "spec": {"minReplicas": 2, "maxReplicas": 8, "metrics": [metric]},
        "status": {"currentReplicas": 3, **status},
    }


def test_an_autoscaler_is_one_line():
    now = [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 41}}}]
    assert pods.autoscaler(autoscaler(currentMetrics=now), 2.0) == "stable: 3 replicas (planned 2, 2 to 8), CPU 41 % of 60 %"


def test_an_autoscaler_without_metrics_says_so():
    inactive = [{"type": "ScalingActive", "status": "False", "message": "unable to get metrics"}]
    text = pods.autoscaler(autoscaler(conditions=inactive), None)
    assert text == "stable: 3 replicas (2 to 8), CPU unknown of 60 %; unable to get metrics"
