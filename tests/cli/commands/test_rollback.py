"""`isthmus rollback`, and what `isthmus status` reads, at a real API server (no nodes: the Pods' status is written by the test)."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toolchain import cluster
from toolchain.prepare.layout import load
from toolchain.prepare.steps import PrepareError

from isthmus.apiserver.kubeconfig import Access
from isthmus.cli.commands.rollback.splitting import roll_back
from isthmus.cli.commands.status.asking import blocks_of
from isthmus.errors import InputError, PlatformError
from isthmus.observing.stack_state import StackState
from isthmus.plugin.handler import Context
from isthmus.provider.clusters.client import Cluster
from isthmus.provider.clusters.traffic import Track, Traffic, TrafficMap

# Two services side by side, so that neither is touched for the other.
SERVICES = ("digits", "digits-two")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if not sys.platform.startswith("linux"):
        pytest.skip("the test cluster runs on Linux")
    try:
        found = cluster.control_plane(load(Path(__file__).resolve().parents[3]), tmp_path_factory.mktemp("control-plane"))
    except PrepareError as error:
        pytest.skip(str(error))
    try:
        yield found
    finally:
        cluster.down(found.folder)


@pytest.fixture(scope="module")
def core(plane):
    from kubernetes import client, config

    return client.CoreV1Api(config.new_client_from_config(str(plane.kubeconfig)))


@pytest.fixture
def namespace(core, request):
    """One for each test: without controllers none can be emptied."""
    name = f"shop-{hashlib.sha256(request.node.name.encode()).hexdigest()[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    core.create_namespaced_service_account(name, {"metadata": {"name": "default"}})
    return name


@pytest.fixture
def services(core, namespace, make_pod):
    """Made in the cluster; name → the Service's uid."""
    found = {}
    for name in SERVICES:
        service = {"metadata": {"name": name}, "spec": {"ports": [{"port": 8501}]}}
        found[name] = core.create_namespaced_service(namespace, service).metadata.uid
        pod = make_pod(f"{name}-stable-1")
        labels = {**pod["metadata"]["labels"], "isthmus.dev/service": name}
        spec = {"containers": [{"name": "server", "image": "local/none"}]}
        core.create_namespaced_pod(namespace, {"metadata": {"name": f"{name}-stable-1", "labels": labels}, "spec": spec})
        core.patch_namespaced_pod_status(f"{name}-stable-1", namespace, {"status": {"conditions": pod["status"]["conditions"]}})
    return found


@pytest.fixture
def state(plane, namespace, services):
    def service(name: str) -> dict[str, Any]:
        place = {"platform": "kubernetes", "namespace": namespace, "service": name, "context": "", "kubeconfig": str(plane.kubeconfig)}
        return {"endpoint": f"http://{name}.{namespace}.svc.cluster.local:8501", "model_name": name, "place": place}

    made = {name: {"metadata": {"namespace": namespace, "name": name, "uid": uid}} for name, uid in services.items()}
    return StackState("prod", {"services": {name: service(name) for name in services}}, {"Service": made})


@pytest.fixture
def split(plane, namespace, services):
    """The split of each service: a canary that was promoted."""
    access = Access(str(plane.kubeconfig))
    found = {name: TrafficMap(Cluster(access, Context("")), namespace, name) for name in services}
    for name, it in found.items():
        it.create(Traffic(name, {"stable": Track(3, "sha256:" + "ab" * 32), "canary": Track(4)}))
        it.write(lambda old: old.split(100, 0, "promoted", "sha256:" + "cd" * 32, ("it was good",)))
    return found


def test_a_rollback_gives_the_stable_release_all_the_traffic_of_this_service_alone(state, split):
    facts = dict(blocks_of(state)[0].facts)
    assert (facts["traffic"], facts["why"]) == ("stable 0 %, canary 100 %; promoted cdcdcdcdcdcd", "it was good")
    said = roll_back(state, "digits", lambda _: None)
    assert said.startswith("the stable release of digits has all the traffic (version 3, sha256:abababababab)")
    assert split["digits"].read_or_fail().percents == {"stable": 100, "canary": 0}
    assert split["digits-two"].read_or_fail().percents == {"stable": 0, "canary": 100}
    assert dict(blocks_of(state)[0].facts)["traffic"] == "stable 100 %, canary 0 %; rolled back cdcdcdcdcdcd"


def test_nothing_is_taken_back_to_a_release_without_a_server_that_is_ready(state, split, core, namespace):
    core.patch_namespaced_pod_status("digits-stable-1", namespace, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    with pytest.raises(PlatformError, match="no server of its stable release is ready"):
        roll_back(state, "digits", lambda _: None)
    assert split["digits"].read_or_fail().canary_percent == 100


def test_a_service_without_a_canary_stays_as_it_is(state, split):
    split["digits"].delete()
    split["digits"].create(Traffic("digits", {"stable": Track(3)}))
    before = split["digits"].read_or_fail()
    assert "has no canary" in roll_back(state, "digits", lambda _: None)
    assert split["digits"].read_or_fail() == before


def test_a_service_whose_first_update_ended_early_is_shown_by_the_servers_that_the_stack_made(state, plane, core, namespace):
    from kubernetes import client, config

    apps = client.AppsV1Api(config.new_client_from_config(str(plane.kubeconfig)))
    chosen = {"isthmus.dev/service": "digits", "app.kubernetes.io/component": "server", "isthmus.dev/track": "stable"}
    template = {"metadata": {"labels": chosen}, "spec": {"containers": [{"name": "server", "image": "local/none"}]}}
    metadata = {"name": "digits-stable", "labels": chosen, "annotations": {"isthmus.dev/owner": "acme/shop/prod"}}
    apps.create_namespaced_deployment(
        namespace, {"metadata": metadata, "spec": {"selector": {"matchLabels": chosen}, "template": template}}
    )
    core.delete_namespaced_service("digits", namespace)
    place = state.outputs["services"]["digits"]["place"]
    for owner, seen in (("acme/shop/prod", True), ("acme/shop/dev", False), ("", False)):
        place["owner"] = owner
        shown = next(it for it in blocks_of(state) if "digits" in it.title and "two" not in it.title)
        assert any(row.name == "digits-stable-1" for row in shown.parts) == seen, owner


def test_the_cluster_of_another_stack_is_left_alone(state, split):
    state.resources["Service"]["digits"]["metadata"]["uid"] = "another"
    with pytest.raises(PlatformError, match="is not the one that stack 'prod' made"):
        roll_back(state, "digits", lambda _: None)
    assert split["digits"].read_or_fail().canary_percent == 100


@pytest.mark.parametrize("platform", ["local", "docker"])
def test_other_platforms_are_refused_by_name(platform):
    outputs = {"services": {"digits": {"endpoint": "http://x", "place": {"platform": platform}}}}
    with pytest.raises(InputError, match=f"runs on platform {platform}: it serves one release at a time"):
        roll_back(StackState("s", outputs, {}), "digits", lambda _: None)


def test_a_service_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(InputError, match=r"has no service 'b'; expected one of a"):
        roll_back(StackState("s", {"services": {"a": {"endpoint": "http://x"}}}, {}), "b", lambda _: None)
