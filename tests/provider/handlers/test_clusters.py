import json

import pytest

from isthmus.plugin.handler import Context
from isthmus.plugin.values import UNKNOWN
from isthmus.provider.handlers import kubernetes_claim
from isthmus.provider.handlers.clusters import cluster_changes, place_problems

CLUSTERS = {"staging": "https://staging.invalid", "production": "https://production.invalid"}


def kubeconfig(current: str, user: str = "a") -> str:
    content = {
        "clusters": [{"name": name, "cluster": {"server": server}} for name, server in CLUSTERS.items()],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me"}} for name in CLUSTERS],
        "users": [{"name": "me", "user": {"token": user}}],
        "current-context": current,
    }
    return json.dumps(content)


@pytest.fixture(autouse=True)
def _kubectls_own(monkeypatch, tmp_path):
    (tmp_path / "config").write_text(kubeconfig("staging"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))


@pytest.mark.parametrize(
    ("old", "new", "is_another"),
    [
        ({"kubeconfig": kubeconfig("staging")}, {"kubeconfig": kubeconfig("production")}, True),
        ({"kubeconfig": kubeconfig("staging")}, {"kubeconfig": kubeconfig("staging", user="b")}, False),
        ({"context": "staging"}, {"context": "production"}, True),
        ({}, {"context": "staging"}, False),
        ({}, {"kubeconfig": kubeconfig("production")}, True),
        ({"kubeconfig": "/gone"}, {"kubeconfig": kubeconfig("production")}, False),  # nobody can tell
        ({"kubeconfig": kubeconfig("staging")}, {"kubeconfig": UNKNOWN}, False),
    ],
)
def test_another_cluster_is_another_api_server(old, new, is_another):
    assert bool(cluster_changes(old, new)) == is_another


def test_a_kubeconfig_is_checked_as_it_is_written():
    assert place_problems({}) == place_problems({"kubeconfig": UNKNOWN}) == ()
    assert place_problems({"kubeconfig": kubeconfig("staging"), "context": "production"}) == ()
    (problem,) = place_problems({"kubeconfig": kubeconfig("staging"), "context": "test"})
    assert problem.path == "kubeconfig"
    assert "it has no context 'test', but staging, production. Fix: " in str(problem)


def test_two_services_of_one_update_do_not_get_one_object(monkeypatch):
    monkeypatch.setattr(kubernetes_claim, "PATIENCE_AT_PREVIEW_SECONDS", 0.0)
    handler = kubernetes_claim.KubernetesClaimHandler()

    def problems(service, name, **more):
        inputs = dict.fromkeys(handler.spec.inputs, "") | {"kubeconfig": kubeconfig("staging"), "namespace": "serving", "service": service}
        inputs |= {"create_namespace": False, "autoscaled": [], "objects": [{"api_version": "v1", "kind": "Service", "name": name}], **more}
        context = Context(f"urn:pulumi:dev::shop::isthmus:index:KubernetesClaim::{service}-claim")
        return [str(it) for it in handler.check(inputs, {}, context)]

    assert problems("digits", "digits-stable-servers") == []
    (problem,) = problems("digits-stable-servers", "digits-stable-servers")
    assert "Service digits-stable-servers of 'digits-stable-servers' is made by urn:pulumi:dev::shop" in problem
    assert problems("digits", "digits-stable-servers") == []
    for apart in ({"namespace": "other"}, {"kubeconfig": kubeconfig("production")}):
        assert problems("digits-stable-servers", "digits-stable-servers", **apart) == []
