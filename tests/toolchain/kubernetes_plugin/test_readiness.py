"""When objects count as ready, as a table of states; Deployments, Jobs and Services are also awaited on the wire."""

from typing import Any

import pytest
from toolchain.kubernetes_plugin.pods import Live, problems
from toolchain.kubernetes_plugin.readiness import Readiness, readiness

SELECTOR = {"selector": {"matchLabels": {"a": "b"}}}
ROLLED_OUT = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
AVAILABLE = {"type": "Available", "status": "True"}


class Around:
    """What a test puts beside the object."""

    def __init__(self, *objects: Live, log: str = "") -> None:
        self.objects = objects
        self.said = log

    def list(self, api_version: str, kind: str, *, labels: str = "", fields: str = "") -> list[Live]:
        return [item for item in self.objects if item["kind"] == kind]

    def get(self, api_version: str, kind: str, name: str) -> Live | None:
        return next((item for item in self.list(api_version, kind) if item["metadata"]["name"] == name), None)

    def log(self, pod: str, container: str, lines: int) -> str:
        return self.said


def of(api_version: str, kind: str, spec: Any = None, status: Any = None, *around: Live, **metadata: Any) -> Readiness:
    values = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "it", "uid": "1", **metadata}}
    return readiness({**values, "spec": spec or {}, "status": status or {}}, Around(*around))


def deployment(status: Any, *, replicas: int = 2, generation: int = 3) -> Readiness:
    return of("apps/v1", "Deployment", {"replicas": replicas, **SELECTOR}, status, generation=generation)


GOOD = {
    "observedGeneration": 3,
    "replicas": 2,
    "updatedReplicas": 2,
    "availableReplicas": 2,
    "conditions": [ROLLED_OUT, AVAILABLE],
}


def test_a_deployment_that_is_rolled_out_is_ready() -> None:
    assert deployment(GOOD).done


@pytest.mark.parametrize(
    ("change", "progress"),
    [
        ({"observedGeneration": 2}, "waiting for the Deployment controller"),
        ({"updatedReplicas": 1}, "1 of 2 Pods available"),
        ({"availableReplicas": 0}, "0 of 2 Pods available"),
        ({"replicas": 3}, "2 of 2 Pods available"),
        ({"conditions": [{**ROLLED_OUT, "reason": "ReplicaSetUpdated"}, AVAILABLE]}, "2 of 2 Pods available"),
        ({"conditions": [ROLLED_OUT]}, "2 of 2 Pods available"),
    ],
)
def test_a_deployment_that_lacks_anything_is_not(change: Any, progress: str) -> None:
    found = deployment({**GOOD, **change})
    assert not found.done
    assert not found.failed
    assert found.progress == progress


def test_a_deployment_scaled_to_nothing_is_ready() -> None:
    assert deployment({"observedGeneration": 3, "conditions": [ROLLED_OUT]}, replicas=0).done


def test_a_deployment_past_its_deadline_has_failed() -> None:
    missed = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"}
    found = deployment({"observedGeneration": 3, "conditions": [missed]})
    assert found.failed
    assert found.explain() == ["ProgressDeadlineExceeded: timed out"]


STATEFUL = {"replicas": 2, **SELECTOR}
STATEFUL_GOOD = {"readyReplicas": 2, "updatedReplicas": 2, "currentRevision": "a", "updateRevision": "a"}
CLASS = {"kind": "StorageClass", "metadata": {"name": "lazy"}, "volumeBindingMode": "WaitForFirstConsumer"}
ADDRESS = {"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}}
ESTABLISHED = {"conditions": [{"type": "Established", "status": "True"}]}
SLICE = {"kind": "EndpointSlice", "metadata": {"name": "s"}, "endpoints": [{"conditions": {"ready": True}}]}
EXTENSIONS = "apiextensions.k8s.io/v1"


@pytest.mark.parametrize(
    ("found", "done"),
    [
        (of("apps/v1", "StatefulSet", STATEFUL, STATEFUL_GOOD), True),
        (of("apps/v1", "StatefulSet", STATEFUL, {**STATEFUL_GOOD, "readyReplicas": 1}), False),
        (of("apps/v1", "StatefulSet", STATEFUL, {**STATEFUL_GOOD, "updateRevision": "b"}), False),
        (of("apps/v1", "StatefulSet", {**STATEFUL, "updateStrategy": {"type": "OnDelete"}}, {"readyReplicas": 2}), True),
        (of("apps/v1", "StatefulSet", STATEFUL, STATEFUL_GOOD, generation=1), False),
        (of("apps/v1", "DaemonSet", SELECTOR, {"desiredNumberScheduled": 1, "numberAvailable": 1, "updatedNumberScheduled": 1}), True),
        (of("apps/v1", "DaemonSet", SELECTOR, {"desiredNumberScheduled": 1, "numberAvailable": 1}), False),
        (of("v1", "Pod", {}, {"conditions": [{"type": "Ready", "status": "True"}]}), True),
        (of("v1", "Pod", {}, {"phase": "Succeeded"}), True),
        (of("v1", "Pod", {}, {"phase": "Running"}), False),
        (of("batch/v1", "Job", SELECTOR, {"conditions": [{"type": "Complete", "status": "True"}]}), True),
        (of("batch/v1", "Job", SELECTOR), False),
        (of("batch/v1", "Job", {"suspend": True}), True),
        (of("v1", "Service", {"type": "ExternalName"}), True),
        (of("v1", "Service", {"clusterIP": "10.0.0.1"}), True),
        (of("v1", "Service", {"selector": {"a": "b"}}), False),
        (of("v1", "Service", {"selector": {"a": "b"}}, {}, SLICE), True),
        (of("v1", "Service", {"selector": {"a": "b"}, "type": "LoadBalancer"}, {}, SLICE), False),
        (of("v1", "Service", {"selector": {"a": "b"}, "type": "LoadBalancer"}, ADDRESS, SLICE), True),
        (of("networking.k8s.io/v1", "Ingress"), False),
        (of("networking.k8s.io/v1", "Ingress", {}, ADDRESS), True),
        (of("v1", "PersistentVolumeClaim", {}, {"phase": "Bound"}), True),
        (of("v1", "PersistentVolumeClaim", {}, {"phase": "Pending"}), False),
        (of("v1", "PersistentVolumeClaim", {"storageClassName": "lazy"}, {"phase": "Pending"}, CLASS), True),
        (of("v1", "PersistentVolume", {}, {"phase": "Available"}), True),
        (of("v1", "Namespace", {}, {"phase": "Active"}), True),
        (of("v1", "Namespace"), False),
        (of("v1", "ResourceQuota", {"hard": {"cpu": "1"}}, {"hard": {"cpu": "1000m"}}), True),
        (of("v1", "ResourceQuota", {"hard": {"cpu": "1"}}), False),
        (of(EXTENSIONS, "CustomResourceDefinition", {}, ESTABLISHED), True),
        (of(EXTENSIONS, "CustomResourceDefinition"), False),
        (of("autoscaling/v2", "HorizontalPodAutoscaler"), True),
        (of("policy/v1", "PodDisruptionBudget"), True),
        (of("example.com/v1", "Deployment"), True),
    ],
)
def test_each_kind_is_ready_when_it_works(found: Readiness, done: bool) -> None:
    assert found.done is done
    assert done or found.progress


def test_a_service_without_pods_is_good_enough_if_it_stays_so() -> None:
    empty = {"kind": "EndpointSlice", "metadata": {"name": "s"}, "endpoints": None}
    assert of("v1", "Service", {"selector": {"a": "b"}}, {}, empty).settles
    unready = {**SLICE, "endpoints": [{"conditions": {"ready": False}}]}
    assert not of("v1", "Service", {"selector": {"a": "b"}}, {}, unready).settles


def pod(*, conditions: Any = (), **container: Any) -> Live:
    statuses = [{"name": "main", "ready": False, "state": {}, **container}] if container else []
    return {"metadata": {"name": "p", "uid": "2"}, "status": {"conditions": list(conditions), "containerStatuses": statuses}}


def warning(reason: str, message: str) -> Live:
    return {"kind": "Event", "metadata": {"name": reason}, "reason": reason, "message": message}


@pytest.mark.parametrize(
    ("found", "around", "expected"),
    [
        (
            pod(
                conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: too little cpu"}]
            ),
            Around(),
            "Unschedulable: 0/1 nodes: too little cpu",
        ),
        (
            pod(state={"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}}),
            Around(),
            'container main: CreateContainerConfigError: secret "x" not found',
        ),
        (
            pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": {"exitCode": 1, "reason": "Error"}}),
            Around(log="no model\n"),
            "container main: CrashLoopBackOff: exit status 1, it said last:\nno model",
        ),
        (
            pod(state={"running": {}}, started=True, lastState={"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
            Around(),
            "container main: ended before with OOMKilled: exit status 137",
        ),
        (
            pod(state={"running": {}}, started=True),
            Around(warning("Unhealthy", "Readiness probe failed: 404")),
            "container main: runs, but is not ready: Unhealthy: Readiness probe failed: 404",
        ),
        (
            pod(state={"waiting": {"reason": "ContainerCreating"}}),
            Around(warning("FailedMount", 'configmap "x" not found')),
            'FailedMount: configmap "x" not found',
        ),
    ],
)
def test_what_is_wrong_with_a_pod_is_told_with_its_name_and_the_reason(found: Live, around: Around, expected: str) -> None:
    assert problems([found], around) == [f"Pod p: {expected}"]


def test_a_pod_on_its_way_has_no_problem() -> None:
    assert problems([pod(state={"waiting": {"reason": "ContainerCreating"}})], Around()) == []
