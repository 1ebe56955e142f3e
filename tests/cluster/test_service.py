"""A service on a real cluster, from the first preview to the last object: one stack, in this order."""

import re
from pathlib import Path

import pytest

from isthmus.release.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.alone, pytest.mark.lane("first cluster"), pytest.mark.in_order, pytest.mark.timeout(900)]
NAMESPACE = "digits"


@pytest.fixture(scope="module")
def stack(make_project, place, bucket):
    project = make_project()
    project.configure(services={NAMESPACE: place.arguments(bucket, NAMESPACE, kubernetes={"service_type": "ClusterIP"})})
    return project


def test_a_preview_shows_the_plan_and_makes_nothing(stack, place):
    done = stack.preview()
    assert done.code == 0, done
    assert re.search(r"M/G/c, scv [\d.]+: λ = 20/s", done), done
    assert "autoscaler: 2 to 4 replicas" in done
    assert place.kubectl("get", "namespace", NAMESPACE, check=False).startswith("Error from server (NotFound)")


def test_an_up_serves_the_release_with_all_planned_servers(stack, place, body):
    done = stack.up()
    assert done.code == 0, done
    assert {it["metadata"]["name"] for it in place.get("deployments", NAMESPACE)} == {"digits-stable", "digits-gateway"}
    assert {it["status"].get("availableReplicas") for it in place.get("deployments", NAMESPACE)} == {2}
    status, answer = place.ask(place.url(NAMESPACE), body)
    assert (status, len(answer["predictions"][0]), answer["track"]) == (200, 10, "stable")


def test_the_release_in_the_pods_is_the_one_that_the_stack_names(stack, place):
    digest = stack.outputs()["services"]["digits"]["digest"]
    pods = place.get("pods", NAMESPACE, selector="app.kubernetes.io/component=server")
    assert {pod["metadata"]["annotations"]["isthmus.dev/release"] for pod in pods} == {digest}


def test_pods_are_spread_over_the_nodes(place):
    for component in ("server", "gateway"):
        pods = place.get("pods", NAMESPACE, selector=f"app.kubernetes.io/component={component}")
        assert len({pod["spec"]["nodeName"] for pod in pods}) == 2


def test_no_secret_is_in_the_plain_state(stack, place):
    state = str(stack.state())
    assert place.store.address.secret_key not in state
    assert place.cluster.kubeconfig.read_text() not in state


def test_an_up_with_no_change_changes_nothing(stack):
    done = stack.up("--expect-no-changes")
    assert done.code == 0, done


def test_what_the_autoscaler_set_stays(stack, place, eventually):
    place.kubectl("patch", "hpa", "digits-stable", "-n", NAMESPACE, "--type=merge", "-p", '{"spec":{"minReplicas":3}}')
    eventually(lambda: place.get("deployment", NAMESPACE, "digits-stable")["status"].get("readyReplicas") == 3, 180)
    done = stack.up_without_changes()
    assert done.code == 0, done
    assert place.get("deployment", NAMESPACE, "digits-stable")["spec"]["replicas"] == 3


def test_the_command_line_shows_it(stack):
    # `isthmus` finds the cluster by the kubeconfig that the stack file names, from outside of its network.
    status = stack.isthmus("status", "test")
    assert status.code == 0, status
    assert "AVAILABLE" in status
    logs = stack.isthmus("logs", "test", "--tail", "5")
    assert logs.code == 0, logs
    assert "digits-stable" in logs
    sample = REPOSITORY / "models/digits/samples/digit-7.npy"
    answer = stack.isthmus("predict", "test", "--input", str(sample))  # of a ClusterIP, through the API server
    assert answer.code == 0, answer
    assert "stable" in answer


def test_another_stack_with_a_service_of_that_name_is_refused_and_touches_nothing(stack, place, bucket, make_project):
    neighbour = make_project()
    arguments = place.arguments(bucket, NAMESPACE, kubernetes={"service_type": "ClusterIP"})
    neighbour.configure(services={NAMESPACE: {**arguments, "version": 7}})
    before = {it["metadata"]["name"]: it["metadata"]["generation"] for it in place.get("deployments", NAMESPACE)}
    renamed = neighbour.pulumi("stack", "rename", "other", "--stack", "test")
    assert renamed.code == 0, renamed
    try:
        for command in (("preview",), ("up", "--yes", "--skip-preview")):
            done = neighbour.pulumi(*command, "--stack", "other")
            assert done.code != 0, done
            assert f"Namespace {NAMESPACE}, " in done  # and all the others, in one message
            assert "belong to organization/models/test" in done
        destroyed = neighbour.pulumi("destroy", "--yes", "--stack", "other")
        assert destroyed.code == 0, destroyed
    finally:
        neighbour.pulumi("stack", "rename", "test", "--stack", "other")
    assert {it["metadata"]["name"]: it["metadata"]["generation"] for it in place.get("deployments", NAMESPACE)} == before
    done = stack.up_without_changes()
    assert done.code == 0, done


def test_a_refresh_finds_a_deleted_service_and_a_changed_deployment_and_an_up_mends_both(stack, place, body):
    place.kubectl("delete", "service", "digits", "-n", NAMESPACE)
    place.kubectl("scale", "deployment", "digits-gateway", "-n", NAMESPACE, "--replicas=1")
    preview = stack.pulumi("refresh", "--preview-only", "--stack", "test", "--diff")
    assert preview.code == 0, preview
    assert "digits-service" in preview
    assert "replicas" in preview
    done = stack.up("--refresh")
    assert done.code == 0, done
    assert place.get("deployment", NAMESPACE, "digits-gateway")["spec"]["replicas"] == 2
    assert place.ask(place.url(NAMESPACE), body)[0] == 200


def test_destroy_leaves_nothing_but_what_others_have(stack, place, bucket):
    place.kubectl("create", "configmap", "payroll", "-n", NAMESPACE, "--from-literal=important=data")
    done = stack.destroy()
    assert done.code == 0, done
    assert f"namespace {NAMESPACE} stays: it holds what is not this service's (ConfigMap payroll)" in done
    assert list(Store(place.store.address, bucket).list("")) == []
    kinds = "deployments,services,configmaps,secrets,networkpolicies,horizontalpodautoscalers,poddisruptionbudgets,pods"
    left = place.kubectl("get", kinds, "-n", NAMESPACE, "-o", "name").split()
    assert sorted(left) == ["configmap/kube-root-ca.crt", "configmap/payroll"]
    place.kubectl("delete", "namespace", NAMESPACE)
