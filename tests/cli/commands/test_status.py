import io
import json

import pytest
from rich.console import Console

from isthmus.cli.commands.status.asking import blocks_of, rendered
from isthmus.names import TRAFFIC_ANNOTATION
from isthmus.observing.parts import Block, Part
from isthmus.observing.stack_state import StackState
from isthmus.provider.clusters.traffic import Track, Traffic

PODS = "/api/v1/namespaces/ns/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/ns/deployments"
AUTOSCALERS = "/apis/autoscaling/v2/namespaces/ns/horizontalpodautoscalers"
CONFIG_MAP = "/api/v1/namespaces/ns/configmaps/digits-traffic"


def shown(blocks, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(rendered(blocks))
    text = console.file.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    return text


@pytest.fixture
def cluster(api, make_pod):
    """A canary of which one server cannot start."""
    api.pods[:] = [
        make_pod("digits-stable-6d4f8b9c7d-x2k4p"),
        make_pod("digits-canary-7c9d6f5b44-m8w2q", track="canary", version="4"),
        make_pod("digits-gateway-5f6c7d8e99-abcde", "gateway"),
    ]
    traffic = Traffic("m", {"stable": Track(3), "canary": Track(4, "sha256:cd")}, {}, 7, 10, 0, "judging", "sha256:" + "cd" * 32)
    api.one[CONFIG_MAP] = {"metadata": {"annotations": {TRAFFIC_ANNOTATION: traffic.to_json()}}}
    api.lists[DEPLOYMENTS] = []
    labels = {**api.pods[0]["metadata"]["labels"]}
    metric = {"resource": {"name": "cpu", "target": {"averageUtilization": 60}}}
    autoscaler = {
        "metadata": {"name": "digits-stable", "labels": labels},
        "spec": {"minReplicas": 1, "maxReplicas": 4, "metrics": [metric]},
        "status": {"currentReplicas": 1},
    }
    api.lists[AUTOSCALERS] = [autoscaler]
    return api


def test_a_service_on_kubernetes_shows_pods_split_and_autoscaler(cluster):
    (block,) = blocks_of(cluster.state())
    assert [(part.kind, part.name, part.version) for part in block.parts] == [
        ("gateway", "digits-gateway-5f6c7d8e99-abcde", ""),
        ("stable", "digits-stable-6d4f8b9c7d-x2k4p", "3"),
        ("canary", "digits-canary-7c9d6f5b44-m8w2q", "4"),
    ]
    facts = dict(block.facts)
    assert facts["traffic"] == "stable 90 %, canary 10 %; judging cdcdcdcdcdcd"
    assert facts["autoscaler"] == "stable: 1 replicas (planned 2, 1 to 4), CPU unknown of 60 %"
    assert "(context here), namespace ns" in facts["cluster"]
    assert block.healthy
    text = shown([block])
    assert text.count("AVAILABLE") == 3
    assert "digits-stable-6d4f8b9c7d-x2k4p" in text  # in one line
    assert "abababababab" in text


def test_one_part_that_is_not_well_makes_the_service_not_well(cluster):
    cluster.pods[1]["status"]["conditions"] = []
    cluster.pods[1]["status"]["containerStatuses"][0] |= {
        "restartCount": 2,
        "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}},
    }
    (block,) = blocks_of(cluster.state())
    assert not block.healthy
    assert "digits-canary-7c9d6f5b44-m8w2q: ErrImagePull: no such image, 2 restarts" in shown([block])


def test_a_service_without_pods_is_not_well(cluster):
    cluster.pods.clear()
    assert not blocks_of(cluster.state())[0].healthy


def test_pods_that_a_quota_forbids_are_shown(cluster):
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}
    labels = cluster.pods[0]["metadata"]["labels"]
    cluster.lists[DEPLOYMENTS].append({"metadata": {"name": "digits-stable", "labels": labels}, "status": {"conditions": [failure]}})
    (block,) = blocks_of(cluster.state())
    assert "no Pod can be made: exceeded quota: small" in [part.state for part in block.parts]
    assert not block.healthy


def test_what_a_role_does_not_allow_is_left_out_and_said(cluster):
    cluster.forbidden.add("horizontalpodautoscalers")
    (block,) = blocks_of(cluster.state())
    assert "forbidden. Fix: ask for a role that allows it" in dict(block.facts)["autoscaler"]
    assert block.healthy


def test_a_service_of_the_same_name_in_another_cluster_is_not_taken_for_it(cluster):
    (block,) = blocks_of(cluster.state(uid="another"))
    assert "is not the one that stack 'prod' made" in block.problem
    assert not block.healthy


def test_a_cluster_that_does_not_answer_is_named_with_its_context_and_leaves_the_rest_alone(cluster, server):
    content = json.loads(cluster.kubeconfig.read_text())
    content["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    cluster.kubeconfig.write_text(json.dumps(content))
    state = cluster.state()
    fleets = {"cameras": {"devices": {"camera-1": server}, "model_name": "m"}}
    cloud, edge = blocks_of(StackState("prod", {**state.outputs, "fleets": fleets}, state.resources))
    assert "the Kubernetes API server at http://127.0.0.1:1 (context here) does not answer" in cloud.problem
    assert "kubectl --context here get --raw /readyz" in cloud.problem
    assert edge.parts[0].name == "camera-1"
    assert "hunter2" not in shown([cloud, edge])


def test_without_a_kubeconfig_it_is_said_how_to_give_one(cluster, tmp_path, monkeypatch):
    cluster.kubeconfig.unlink()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    (block,) = blocks_of(cluster.state())
    assert "Fix: set KUBECONFIG" in block.problem


def test_every_platform_has_the_same_columns_and_fits_80_of_them():
    long = Part(
        "canary fast", "digits-canary-fast-6d4f8b9c7d-x2k4p", "ip-10-0-12-34.eu-west-1.compute.internal", "starting", "sha256:" + "f" * 64
    )
    text = shown(
        [Block("cloud · a", (("endpoint", "http://x" * 20),), (long,)), Block("edge · b", parts=(Part("device", "c", "d", "AVAILABLE"),))]
    )
    heads = [line.split() for line in text.splitlines() if "release" in line]
    assert heads == [["part", "name", "on", "release", "version", "health"]] * 2
    assert "f" * 12 in text


def test_a_platform_of_a_later_version_is_refused_by_name():
    state = StackState("s", {"services": {"a": {"endpoint": "http://x", "place": {"platform": "moon"}}}}, {})
    assert "platform 'moon', which this version does not know" in blocks_of(state)[0].problem


def test_a_local_gateway_and_its_servers_are_asked_by_themselves(server, unix_server):
    place = {"platform": "local", "programs": ["a-gateway", "a-server"]}
    outputs = {"endpoint": server, "model_name": "m", "digest": "sha256:" + "ab" * 32, "place": place}
    made = {"LocalProcesses": {"a-server": {"socket_paths": [{"rest": unix_server}, {"rest": "/nobody/there"}]}}}
    (block,) = blocks_of(StackState("s", {"services": {"a": outputs}}, made))
    assert [(part.kind, part.name) for part in block.parts] == [
        ("gateway", "a-gateway"),
        ("replica 0", "a-server-0"),
        ("replica 1", "a-server-1"),
    ]
    assert [part.state for part in block.parts] == ["AVAILABLE", "AVAILABLE", "no answer (ConnectionError)"]
