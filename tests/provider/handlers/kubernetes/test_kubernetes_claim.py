"""KubernetesClaim against a real API server: what others have stays theirs."""

import uuid
from typing import Any

import pytest

OURS, THEIRS = "acme/shop/dev", "acme/shop/prod"
OBJECTS = [
    {"api_version": "v1", "kind": "ServiceAccount", "name": "digits"},
    {"api_version": "v1", "kind": "ConfigMap", "name": "digits-traffic"},
    {"api_version": "v1", "kind": "Secret", "name": "digits-store"},
    {"api_version": "v1", "kind": "Service", "name": "digits"},
    {"api_version": "apps/v1", "kind": "Deployment", "name": "digits-stable"},
    {"api_version": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "name": "digits-stable"},
    {"api_version": "policy/v1", "kind": "PodDisruptionBudget", "name": "digits-stable"},
    {"api_version": "networking.k8s.io/v1", "kind": "NetworkPolicy", "name": "digits-default-deny"},
    {"api_version": "monitoring.coreos.com/v1", "kind": "PodMonitor", "name": "digits-server"},
]
KINDS = {
    "ServiceAccount": ("/api/v1", "serviceaccounts", {}),
    "ConfigMap": ("/api/v1", "configmaps", {}),
    "Secret": ("/api/v1", "secrets", {}),
    "Service": ("/api/v1", "services", {"spec": {"ports": [{"port": 80}]}}),
    "Deployment": (
        "/apis/apps/v1",
        "deployments",
        {
            "spec": {
                "replicas": 4,
                "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "local/none"}]}},
            }
        },
    ),
    "HorizontalPodAutoscaler": (
        "/apis/autoscaling/v2",
        "horizontalpodautoscalers",
        {"spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "digits-stable"}, "maxReplicas": 3}},
    ),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets", {"spec": {"maxUnavailable": 1}}),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies", {"spec": {"podSelector": {}}}),
}


class Place:
    """A namespace, and what a stack and others make in it."""

    def __init__(self, api: Any) -> None:
        self.api, self.namespace = api, f"claim-{uuid.uuid4().hex[:8]}"

    def inputs(self, **changes: Any) -> dict[str, Any]:
        place = {"kubeconfig": self.api.kubeconfig, "namespace": self.namespace, "service": "digits", "owner": OURS}
        return {**place, "objects": OBJECTS, **changes}

    def path(self, kind: str = "", name: str = "") -> str:
        if not kind:
            return f"/api/v1/namespaces/{self.namespace}"
        root, plural, _ = KINDS[kind]
        return f"{root}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def metadata(self, name: str, owner: str, service: str = "digits") -> dict[str, Any]:
        marks = {"annotations": {"isthmus.dev/owner": owner}} if owner else {}
        return {"name": name, "labels": {"isthmus.dev/service": service}, **marks}

    def make_namespace(self, owner: str = "") -> None:
        self.api.call("POST", "/api/v1/namespaces", {"metadata": self.metadata(self.namespace, owner)})

    def make(self, kind: str, name: str, owner: str = "", service: str = "digits") -> Any:
        return self.api.call("POST", self.path(kind), {"metadata": self.metadata(name, owner, service), **KINDS[kind][2]})

    def get(self, kind: str = "", name: str = "") -> Any:
        return self.api.call("GET", self.path(kind, name))


@pytest.fixture
def place(api: Any) -> Place:
    return Place(api)


def test_a_namespace_that_does_not_exist_is_one_problem_at_preview(plugin: Any, place: Place) -> None:
    (problem,) = plugin.problems("KubernetesClaim", place.inputs())
    assert problem.startswith(f"namespace: there is no namespace '{place.namespace}'")
    assert "kubectl create namespace" in problem
    assert plugin.problems("KubernetesClaim", place.inputs(create_namespace=True)) == []


def test_a_namespace_that_is_there_is_used_as_it_is_and_stays(plugin: Any, place: Place) -> None:
    place.make_namespace()
    before = place.get()["metadata"]
    assert plugin.problems("KubernetesClaim", place.inputs()) == []
    claim = plugin.create("KubernetesClaim", place.inputs())
    plugin.delete(plugin.update(claim, place.inputs()))
    assert place.get()["metadata"]["resourceVersion"] == before["resourceVersion"]


@pytest.mark.parametrize("owner", [THEIRS, ""])
def test_a_foreign_namespace_is_not_made_the_stacks_own(plugin: Any, place: Place, owner: str) -> None:
    place.make_namespace(owner)
    before = place.get()["metadata"]["resourceVersion"]
    (problem,) = plugin.problems("KubernetesClaim", place.inputs(create_namespace=True))
    assert problem.startswith(f"namespace: Namespace {place.namespace} " + (f"belongs to {owner}" if owner else "carries no owner"))
    assert f"set `kubernetes.namespace: {place.namespace}` to use the namespace as it is" in problem
    assert f"`kubernetes.take_over_from: {owner or 'unmarked'}`" in problem
    assert place.get()["metadata"]["resourceVersion"] == before


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("owner", [THEIRS, ""])
def test_a_foreign_object_of_any_kind_is_refused_by_its_owners_name(plugin: Any, place: Place, kind: str, owner: str) -> None:
    place.make_namespace()
    name = next(it["name"] for it in OBJECTS if it["kind"] == kind)
    before = place.make(kind, name, owner)["metadata"]["resourceVersion"]
    (problem,) = plugin.problems("KubernetesClaim", place.inputs())
    whose = f"belongs to {owner}" if owner else "carries no owner"
    assert problem.startswith(f"service: {kind} {name} in namespace {place.namespace} {whose}; expected nothing there but this stack's")
    assert place.get(kind, name)["metadata"]["resourceVersion"] == before


def test_all_that_one_owner_has_is_one_problem_and_what_is_made_meanwhile_is_refused_as_well(plugin: Any, place: Place) -> None:
    place.make_namespace()
    checked = plugin.check("KubernetesClaim", place.inputs())
    assert not checked.failures
    for it in OBJECTS[:-1]:
        place.make(it["kind"], it["name"], THEIRS)
    (problem,) = plugin.problems("KubernetesClaim", place.inputs())
    assert f" and 5 more in namespace {place.namespace} belong to {THEIRS}" in problem
    from pulumi.runtime.proto import provider_pb2

    with pytest.raises(Exception, match=f"belong to {THEIRS}"):
        plugin.stub.Create(provider_pb2.CreateRequest(urn=plugin.urn("KubernetesClaim", "it"), properties=checked.inputs))


def test_two_services_of_one_stack_do_not_share_an_object(plugin: Any, place: Place) -> None:
    place.make_namespace()
    place.make("Deployment", "digits-stable", OURS, service="digits-stable")
    (problem,) = plugin.problems("KubernetesClaim", place.inputs())
    assert "belongs to the service digits-stable of this stack" in problem


def test_what_is_the_stacks_own_is_no_problem(plugin: Any, place: Place) -> None:
    place.make_namespace(OURS)
    for it in OBJECTS[:-1]:
        place.make(it["kind"], it["name"], OURS)
    assert plugin.problems("KubernetesClaim", place.inputs(create_namespace=True)) == []
    plugin.create("KubernetesClaim", place.inputs(create_namespace=True))


@pytest.mark.parametrize(("owner", "named"), [(THEIRS, THEIRS), ("", "unmarked")])
def test_what_the_program_says_is_taken_over_on_purpose_and_nothing_else(plugin: Any, place: Place, owner: str, named: str) -> None:
    place.make_namespace(owner)
    place.make("Deployment", "digits-stable", owner)
    place.make("ConfigMap", "payroll", owner)
    place.make("Service", "digits", "acme/other/prod")
    inputs = place.inputs(create_namespace=True, take_over_from=named)
    (problem,) = plugin.problems("KubernetesClaim", inputs)
    assert "Service digits" in problem
    assert "belongs to acme/other/prod" in problem
    place.api.call("DELETE", place.path("Service", "digits"))
    plugin.create("KubernetesClaim", inputs)
    for found in (place.get(), place.get("Deployment", "digits-stable")):
        assert found["metadata"]["annotations"]["isthmus.dev/owner"] == OURS
    assert place.get("ConfigMap", "payroll")["metadata"].get("annotations", {}).get("isthmus.dev/owner", "") == owner
    assert plugin.problems("KubernetesClaim", place.inputs(create_namespace=True)) == []
    # Whoever had it is refused from now on.
    (problem,) = plugin.problems("KubernetesClaim", place.inputs(owner=THEIRS))
    assert f"belongs to {OURS}" in problem


def test_a_stack_that_was_renamed_keeps_what_it_has(plugin: Any, place: Place) -> None:
    place.make_namespace()
    place.make("Deployment", "digits-stable", OURS)
    claim = plugin.create("KubernetesClaim", place.inputs())
    renamed = place.inputs(owner="acme/shop/staging")
    assert len(plugin.problems("KubernetesClaim", renamed)) == 1
    assert plugin.problems("KubernetesClaim", renamed, old=claim) == []
    assert list(plugin.diff(claim, renamed).replaces) == []
    plugin.update(claim, renamed)
    assert place.get("Deployment", "digits-stable")["metadata"]["annotations"]["isthmus.dev/owner"] == "acme/shop/staging"


def test_a_cluster_that_does_not_answer_is_no_problem_at_preview(plugin: Any, place: Place) -> None:
    place.make_namespace(THEIRS)
    place.api.away.set()
    try:
        assert plugin.problems("KubernetesClaim", place.inputs(create_namespace=True)) == []
    finally:
        place.api.away.clear()


def is_going(place: Place) -> bool:
    """Without controllers no namespace is ever gone; that it was deleted shows."""
    return place.get()["status"]["phase"] == "Terminating"


def finish(place: Place) -> None:
    """What the namespace's controller would do."""
    found = place.get()
    found["spec"]["finalizers"] = []
    place.api.call("PUT", place.path() + "/finalize", found)


def test_a_namespace_of_the_stacks_own_goes_with_it(plugin: Any, place: Place, in_background: Any, eventually: Any) -> None:
    inputs = place.inputs(create_namespace=True)
    claim = plugin.create("KubernetesClaim", inputs)
    place.make_namespace(OURS)
    place.make("ConfigMap", "kube-root-ca.crt")
    place.make("ServiceAccount", "default")
    place.make("ConfigMap", "of-something-that-goes", "")
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "digits-stable", "uid": str(uuid.uuid4())}
    owned = {"metadata": {"ownerReferences": [reference]}}
    place.api.call("PATCH", place.path("ConfigMap", "of-something-that-goes"), owned, "application/merge-patch+json")
    going = in_background(lambda: plugin.delete(claim))
    eventually(lambda: is_going(place))
    finish(place)
    going.result(60)
    assert place.get() is None
    plugin.delete(claim)


@pytest.mark.parametrize(
    ("kind", "owner", "service"),
    [(kind, "", "digits") for kind in KINDS] + [("ConfigMap", THEIRS, "digits"), ("ConfigMap", OURS, "another-service")],
)
def test_a_namespace_with_something_foreign_in_it_stays_and_the_user_is_told(
    plugin: Any, place: Place, kind: str, owner: str, service: str
) -> None:
    claim = plugin.create("KubernetesClaim", place.inputs(create_namespace=True))
    place.make_namespace(OURS)
    place.make(kind, "payroll", owner, service)
    plugin.delete(claim)
    assert not is_going(place)
    assert plugin.engine.texts(ephemeral=False)[-1].endswith(f"it holds what is not this service's ({kind} payroll)")


@pytest.mark.parametrize("has_objects", [True, False])
def test_a_claim_that_is_replaced_in_place_leaves_the_namespace_to_the_new_one(plugin: Any, place: Place, has_objects: bool) -> None:
    inputs = place.inputs(create_namespace=True)
    old = plugin.create("KubernetesClaim", inputs)
    place.make_namespace(OURS)
    if has_objects:
        place.make("ConfigMap", "digits-servers", OURS)
    plugin.create("KubernetesClaim", inputs)
    plugin.delete(old)
    assert not is_going(place)
    assert plugin.engine.texts(ephemeral=False) == []


def test_of_two_services_that_share_the_stacks_namespace_the_last_one_takes_it_with_it(
    plugin: Any, place: Place, in_background: Any, eventually: Any
) -> None:
    place.make_namespace(OURS)
    first = plugin.create("KubernetesClaim", place.inputs(create_namespace=True))
    second = plugin.create("KubernetesClaim", place.inputs(create_namespace=True, service="letters", objects=[]))
    place.make("ConfigMap", "digits-servers", OURS)
    plugin.delete(second)
    assert not is_going(place)
    place.api.call("DELETE", place.path("ConfigMap", "digits-servers"))
    going = in_background(lambda: plugin.delete(first))
    eventually(lambda: is_going(place))
    finish(place)
    going.result(60)


@pytest.mark.parametrize("owner", [THEIRS, ""])
def test_a_namespace_that_became_somebody_elses_stays(plugin: Any, place: Place, owner: str) -> None:
    claim = plugin.create("KubernetesClaim", place.inputs(create_namespace=True))
    place.make_namespace(owner)
    plugin.delete(claim)
    assert not is_going(place)


def test_a_deployment_keeps_its_replicas_when_an_autoscaler_is_to_set_them(plugin: Any, place: Place) -> None:
    place.make_namespace()
    wanted = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": place.metadata("digits-stable", OURS), **KINDS["Deployment"][2]}
    path = place.path("Deployment", "digits-stable") + "?fieldManager=pulumi&force=true"
    place.api.call("PATCH", path, wanted, "application/apply-patch+yaml")
    claim = plugin.create("KubernetesClaim", place.inputs())
    plugin.update(claim, place.inputs(autoscaled=["digits-stable"]))
    spec = {key: value for key, value in wanted["spec"].items() if key != "replicas"}
    place.api.call("PATCH", path, {**wanted, "spec": spec}, "application/apply-patch+yaml")
    assert place.get("Deployment", "digits-stable")["spec"]["replicas"] == 4
