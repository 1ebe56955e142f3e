"""Waiting through the started plugin: real controllers, and a kubelet that the tests play."""

import signal
from typing import Any

import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
SERVICE = "kubernetes:core/v1:Service"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
JOB = "kubernetes:batch/v1:Job"
QUOTA = "kubernetes:core/v1:ResourceQuota"
SHORT_SECONDS = 8


def deployment(namespace: str, image: str = "local/none:1", **spec: Any) -> dict[str, Any]:
    labels = {"app": "it"}
    container = {"name": "main", "image": image, "env": [{"name": "TOKEN", "value": "open sesame"}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "metadata": {"name": "it", "namespace": namespace},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


def waiting(name: str, reason: str, message: str = "", last: Any = None) -> dict[str, Any]:
    status: dict[str, Any] = {"name": name, "ready": False, "image": "i", "imageID": "", "restartCount": 1}
    status["state"] = {"waiting": {"reason": reason, "message": message}}
    if last:
        status["lastState"] = {"terminated": last}
    return {"containerStatuses": [status]}


def test_a_deployment_is_awaited_until_its_pods_serve(
    plugin: Any, kubernetes: Any, namespace: str, in_background: Any, eventually: Any
) -> None:
    creating = in_background(lambda: plugin.create(DEPLOYMENT, deployment(namespace, replicas=2)))
    eventually(lambda: "0 of 2 Pods available" in plugin.engine.text)
    assert not creating.done()
    eventually(lambda: kubernetes.run_pods(namespace) == 2)
    made = creating.result()
    assert made.outputs["status"]["availableReplicas"] == 2
    assert all(message.ephemeral for message in plugin.engine.messages)

    # A roll-out of a new image: what serves still is the old one, and that is not enough.
    changed = deployment(namespace, "local/none:2", replicas=2)
    updating = in_background(lambda: plugin.update(made, changed))
    eventually(lambda: len(kubernetes.pods(namespace)) > 2)
    assert not updating.done()
    eventually(lambda: kubernetes.run_pods(namespace) and updating.done())
    updated = updating.result()
    images = {pod["spec"]["containers"][0]["image"] for pod in kubernetes.pods(namespace) if "deletionTimestamp" not in pod["metadata"]}
    assert images == {"local/none:2"}
    assert plugin.diff(updated, changed).changes == provider_pb2.DiffResponse.DIFF_NONE
    plugin.delete(updated)
    assert not kubernetes.pods(namespace)


def test_replicas_that_the_program_leaves_out_belong_to_the_autoscaler(
    plugin: Any, kubernetes: Any, namespace: str, in_background: Any, eventually: Any
) -> None:
    creating = in_background(lambda: plugin.create(DEPLOYMENT, deployment(namespace)))
    eventually(lambda: kubernetes.run_pods(namespace) == 1 and creating.done())
    made = creating.result()
    kubernetes.patch(f"/apis/apps/v1/namespaces/{namespace}/deployments/it/scale", {"spec": {"replicas": 3}})
    eventually(lambda: kubernetes.run_pods(namespace) == 3)
    eventually(lambda: kubernetes.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/it")["status"].get("availableReplicas") == 3)
    read = plugin.read(made)
    assert plugin.diff(read, deployment(namespace)).changes == provider_pb2.DiffResponse.DIFF_NONE
    updating = in_background(lambda: plugin.update(read, deployment(namespace, "local/none:2")))
    eventually(lambda: kubernetes.run_pods(namespace) and updating.done())
    assert updating.result().outputs["spec"]["replicas"] == 3


def test_an_image_that_cannot_be_pulled_is_named_with_its_pod_and_the_next_update_waits_again(
    *, plugin: Any, wire: Any, kubernetes: Any, namespace: str, in_background: Any, eventually: Any
) -> None:
    creating = in_background(lambda: plugin.create(DEPLOYMENT, deployment(namespace), timeout_seconds=SHORT_SECONDS))
    [pod] = eventually(lambda: kubernetes.pods(namespace))
    kubernetes.set_pod(pod, waiting("main", "ImagePullBackOff", 'Back-off pulling image "local/none:1" with open sesame'))
    with pytest.raises(wire.CallError) as caught:
        creating.result()
    error = caught.value
    assert error.id == f"{namespace}/it"
    assert error.reasons[0] == f"Deployment it is not ready after {SHORT_SECONDS} s: 0 of 1 Pods available"
    name = pod["metadata"]["name"]
    assert error.reasons[1].startswith(f'Pod {name}: container main: ImagePullBackOff: Back-off pulling image "local/none:1"')

    half_made = wire.Resource(DEPLOYMENT, "it", error.id, error.inputs, error.state)
    assert half_made.outputs["metadata"]["uid"]
    assert half_made.outputs["__inputs"] == half_made.input_values
    assert plugin.diff(half_made, deployment(namespace)).changes == provider_pb2.DiffResponse.DIFF_NONE
    with pytest.raises(wire.CallError, match="ImagePullBackOff"):
        plugin.read(half_made)
    updating = in_background(lambda: plugin.update(half_made, deployment(namespace)))
    eventually(lambda: kubernetes.run_pods(namespace) and updating.done())
    assert plugin.read(updating.result()) is not None


def test_a_crash_is_told_with_the_containers_last_words_and_without_secrets(
    *, plugin: Any, wire: Any, kubernetes: Any, namespace: str, in_background: Any, eventually: Any
) -> None:
    secret = frozenset({("spec", "template", "spec", "containers", 0, "env", 0, "value")})
    creating = in_background(lambda: plugin.create(DEPLOYMENT, deployment(namespace), secrets=secret, timeout_seconds=SHORT_SECONDS))
    [pod] = eventually(lambda: kubernetes.pods(namespace))
    ended = {"exitCode": 3, "reason": "Error", "message": "cannot log in with open sesame", "finishedAt": "2026-01-01T00:00:00Z"}
    kubernetes.set_pod(pod, waiting("main", "CrashLoopBackOff", "back-off 10s", ended))
    with pytest.raises(wire.CallError) as caught:
        creating.result()
    expected = "container main: CrashLoopBackOff: exit status 3, it said last:\ncannot log in with [secret]"
    assert caught.value.reasons[1] == f"Pod {pod['metadata']['name']}: {expected}"
    assert "sesame" not in plugin.engine.text
    made = wire.Resource(DEPLOYMENT, "it", caught.value.id, caught.value.inputs, caught.value.state)
    assert ("spec", "template", "spec", "containers") in made.secrets


def test_a_quota_that_is_used_up_is_told(plugin: Any, wire: Any, namespace: str) -> None:
    plugin.create(QUOTA, {"metadata": {"name": "none", "namespace": namespace}, "spec": {"hard": {"pods": "0"}}})
    with pytest.raises(wire.CallError, match=r"Pods cannot be created: FailedCreate: .*exceeded quota: none") as caught:
        plugin.create(DEPLOYMENT, deployment(namespace), timeout_seconds=SHORT_SECONDS)
    assert caught.value.id


def test_a_missed_progress_deadline_ends_the_wait(plugin: Any, wire: Any, namespace: str) -> None:
    with pytest.raises(wire.CallError, match=r"Deployment it failed.*(?s:.*)ProgressDeadlineExceeded"):
        plugin.create(DEPLOYMENT, deployment(namespace, progressDeadlineSeconds=1))


@pytest.mark.parametrize("how", ["cancel", "interrupt"])
def test_an_interrupted_wait_keeps_what_exists(
    *, new_plugin: Any, wire: Any, kubernetes: Any, namespace: str, in_background: Any, eventually: Any, how: str
) -> None:
    with new_plugin() as plugin:
        creating = in_background(lambda: plugin.create(DEPLOYMENT, deployment(namespace)))
        eventually(lambda: "Pods available" in plugin.engine.text)
        if how == "cancel":
            plugin.stub.Cancel(empty_pb2.Empty())
        else:
            plugin.process.send_signal(signal.SIGINT)
        with pytest.raises(wire.CallError, match="interrupted while waiting for Deployment it") as caught:
            creating.result(timeout=30)
        assert caught.value.id == f"{namespace}/it"


def test_who_does_not_want_to_wait_does_not(plugin: Any, namespace: str) -> None:
    inputs = deployment(namespace)
    inputs["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
    made = plugin.create(DEPLOYMENT, inputs)
    assert plugin.read(made) is not None
    plugin.delete(made)


def test_the_annotation_sets_the_time(plugin: Any, wire: Any, namespace: str) -> None:
    inputs = deployment(namespace)
    inputs["metadata"]["annotations"] = {"pulumi.com/timeoutSeconds": "1"}
    with pytest.raises(wire.CallError, match="is not ready after 1 s"):
        plugin.create(DEPLOYMENT, inputs)


def test_a_service_is_ready_when_one_of_its_pods_is(
    plugin: Any, kubernetes: Any, namespace: str, in_background: Any, eventually: Any
) -> None:
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
    labels = {"kubernetes.io/service-name": "it"}  # as its controller would make it, which skips Pods without a node
    endpoint = {"addresses": ["10.1.2.3"], "conditions": {"ready": False}}
    body = {"metadata": {"name": "it-1", "labels": labels}, "addressType": "IPv4", "endpoints": [endpoint], "ports": [{"port": 80}]}
    kubernetes.post(slices, body)
    spec = {"ports": [{"port": 80}], "selector": {"app": "it"}}
    inputs = {"metadata": {"name": "it", "namespace": namespace}, "spec": spec}
    serving = in_background(lambda: plugin.create(SERVICE, inputs))
    eventually(lambda: serving.done() or "waiting for ready Pods" in plugin.engine.text)
    assert not serving.done()
    kubernetes.patch(f"{slices}/it-1", {"endpoints": [{**endpoint, "conditions": {"ready": True}}]})
    assert serving.result(60).outputs["spec"]["clusterIP"]
    headless = {**spec, "clusterIP": "None", "selector": {"app": "none"}}
    plugin.create(SERVICE, {"metadata": {"name": "headless", "namespace": namespace}, "spec": headless})


def test_a_failed_job_is_told_at_once(
    *, plugin: Any, wire: Any, kubernetes: Any, namespace: str, in_background: Any, eventually: Any
) -> None:
    container = {"name": "main", "image": "local/none:1"}
    spec = {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    creating = in_background(lambda: plugin.create(JOB, {"metadata": {"name": "it", "namespace": namespace}, "spec": spec}))
    [pod] = eventually(lambda: kubernetes.pods(namespace))
    ended = {"terminated": {"exitCode": 2, "reason": "Error", "message": "no disk"}}
    status = {"name": "main", "ready": False, "image": "i", "imageID": "", "restartCount": 0, "state": ended}
    kubernetes.set_pod(pod, {"phase": "Failed", "containerStatuses": [status]})
    with pytest.raises(wire.CallError, match="Job it failed") as caught:
        creating.result()
    assert "BackoffLimitExceeded" in caught.value.message
    assert "exit status 2, it said last:\nno disk" in caught.value.message


def test_a_deletion_that_a_finalizer_holds_up_names_it(plugin: Any, wire: Any, kubernetes: Any, namespace: str) -> None:
    inputs = {"metadata": {"name": "it", "namespace": namespace, "finalizers": ["example.com/hold"]}, "data": {"a": "1"}}
    made = plugin.create(CONFIG_MAP, inputs)
    with pytest.raises(wire.CallError, match=r"still there 2 s after its deletion; waiting for finalizers: .*example\.com/hold"):
        plugin.delete(made, timeout_seconds=2)
    kubernetes.patch(f"/api/v1/namespaces/{namespace}/configmaps/it", {"metadata": {"finalizers": None}})
    plugin.delete(made)


def test_an_api_server_that_is_away_for_a_while_only_costs_time(
    plugin: Any, kubernetes: Any, namespace: str, in_background: Any, eventually: Any
) -> None:
    creating = in_background(lambda: plugin.create(DEPLOYMENT, deployment(namespace)))
    eventually(lambda: "0 of 1 Pods available" in plugin.engine.text)
    kubernetes.control("stop")
    waiting = "waiting for the API server"
    try:
        eventually(lambda: waiting in plugin.engine.text)
        asking = in_background(lambda: plugin.create(CONFIG_MAP, {"metadata": {"name": "it", "namespace": namespace}, "data": {"a": "1"}}))
        attempts = plugin.engine.text.count(waiting) + 8  # of both together: at the least three are of the one that began later
        eventually(lambda: plugin.engine.text.count(waiting) >= attempts)
        assert not asking.done()
    finally:
        kubernetes.control("start")
    assert asking.result().id == f"{namespace}/it"
    eventually(lambda: kubernetes.run_pods(namespace) and creating.done())
    assert creating.result().id == f"{namespace}/it"
