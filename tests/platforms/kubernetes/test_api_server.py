"""Every object, as a real API server sees it: a dry run, with the defaults, the validation and the admission of a real `apply`."""

import copy
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toolchain import cluster
from toolchain.prepare.layout import load
from toolchain.prepare.steps import PrepareError

from isthmus.platforms.kubernetes.objects import KubernetesService, objects

NAMESPACE = "serving"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The official client of a control plane of the test's own (no nodes: nothing is run)."""
    client = pytest.importorskip("kubernetes")
    try:
        plane = cluster.control_plane(load(Path(__file__).resolve().parents[3]), tmp_path_factory.mktemp("control-plane"))
    except PrepareError as error:
        pytest.skip(str(error))
    try:
        yield client.dynamic.DynamicClient(client.config.new_client_from_config(str(plane.kubeconfig)))
    finally:
        cluster.down(plane.folder)


@pytest.fixture(scope="module")
def restricted(api: Any, make: Any) -> None:
    """The namespace, which is really made: what is in it could not be tried otherwise."""
    own = dataclasses.replace(make(), create_namespace=True)
    send(api, objects(own)["namespace"], dry_run=False)
    # Pods are admitted with the account they name alone.
    send(api, objects(own)["account"], dry_run=False)


def send(api: Any, it: dict[str, Any], *, dry_run: bool = True) -> tuple[dict[str, Any], list[str]]:
    """Applies one object: what the API server makes of it, and what it warns of."""
    kind = api.resources.get(api_version=it["apiVersion"], kind=it["kind"])
    where = {"name": it["metadata"]["name"], "namespace": it["metadata"].get("namespace")}
    more = {"dry_run": "All"} if dry_run else {}
    answer = api.server_side_apply(kind, it, **where, field_manager="tests", serialize=False, **more)
    return json.loads(answer.data), answer.headers.getlist("warning")


def in_namespace(service: KubernetesService) -> KubernetesService:
    """With what a bare control plane knows: no kinds of the Prometheus operator."""
    return dataclasses.replace(service, namespace=NAMESPACE, observability=dataclasses.replace(service.observability, operator=False))


@pytest.mark.usefixtures("restricted")
def test_the_api_server_accepts_every_object(api, configured):
    made = objects(in_namespace(configured))
    for key, it in made.items():
        if it["kind"] == "Deployment":
            it["spec"]["template"]["spec"].pop("priorityClassName", None)  # checked when Pods are made, and not there
        answer, warned = send(api, it)
        assert answer["metadata"]["name"] == it["metadata"]["name"], key
        assert warned == [], key


@pytest.mark.usefixtures("restricted")
def test_restricted_pod_security_admits_the_pods(api, configured):
    admitted = 0
    for it in objects(in_namespace(configured)).values():
        if it["kind"] == "Deployment":
            answer, warned = send(api, pod_of(it))
            assert answer["spec"]["securityContext"]["runAsNonRoot"]
            assert warned == []
            admitted += 1
    assert admitted >= 2


def pod_of(deployment: dict[str, Any]) -> dict[str, Any]:
    """A Pod as the Deployment's ReplicaSet would make it; its account and priority are other objects."""
    spec = copy.deepcopy(deployment["spec"]["template"]["spec"])
    spec["serviceAccountName"] = "digits"
    spec.pop("priorityClassName", None)
    metadata = {"name": "a-pod", "namespace": NAMESPACE, "labels": deployment["spec"]["template"]["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.usefixtures("restricted")
def test_a_pod_that_asks_for_more_is_not_admitted(api, make):
    client = pytest.importorskip("kubernetes")
    broken = pod_of(objects(make())["server-stable"])
    broken["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(client.client.exceptions.ApiException) as refused:
        send(api, broken)
    assert refused.value.status == 403
    assert "violates PodSecurity" in refused.value.body
    # Of a Deployment the API server only warns.
    deployment = objects(make())["server-stable"]
    deployment["spec"]["template"]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    _, (warned,) = send(api, deployment)
    assert "would violate PodSecurity" in warned


@pytest.mark.usefixtures("restricted")
def test_the_api_server_changes_nothing_that_we_set(api, configured):
    """Such a change would show as drift for ever."""
    changed = {key: list(changes(it, send(api, it)[0])) for key, it in objects(in_namespace(configured)).items()}
    assert {key: found for key, found in changed.items() if found} == {}


def changes(wanted: Any, found: Any, path: str = "") -> Iterator[str]:
    """Paths of what is in `wanted` and not, or otherwise, in `found`."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name, value in wanted.items():
            yield from changes(value, found.get(name), f"{path}.{name}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from changes(one, other, f"{path}[{index}]")
    elif wanted != found:
        yield f"{path}: {wanted!r} became {found!r}"
