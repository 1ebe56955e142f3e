"""A real cluster: Pods, Services, names, metrics, logs, commands; and nothing left of it."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import requests
from toolchain.cluster import Cluster, cgroups, control, down, enter, expose, find, forward, load_image, network_policies, plan, up
from toolchain.cluster.oci import Image, write_archive
from toolchain.cluster.plan import Node
from toolchain.cluster.supervise import wait_until
from toolchain.prepare import debian
from toolchain.prepare.layout import Layout

pytestmark = [pytest.mark.alone, pytest.mark.lane("machines"), pytest.mark.in_order, pytest.mark.e2e, pytest.mark.timeout(1800)]
IMAGE, SHELL = "localhost/test/busybox:1", "/bin/busybox"
SECONDS = 180.0
Running = Callable[[str], list[int]]


def of_machine() -> dict[str, Any]:
    """What a cluster must leave as it is: interfaces of its names, folders that its programs use, settings that they change."""
    settings = ("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys")
    folders = map(Path, ("/run/netns/node-2", "/run/isthmus", "/var/lib/kubelet", "/var/lib/cni", "/var/log/containers", "/etc/cni"))
    return {
        "links": {plan.BRIDGE, Node(2).name} & set(os.listdir("/sys/class/net")),
        "settings": {name: (Path("/proc/sys") / name).read_text() for name in settings},
        "folders": [str(folder) for folder in folders if folder.exists()],
    }


@pytest.fixture(scope="module")
def machine() -> dict[str, Any]:
    return of_machine()


@pytest.fixture(scope="module")
def cluster(machine: dict[str, Any], node_layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster") / "two nodes"
    try:
        cluster = up(node_layout, folder, nodes=2)
        busybox = debian.packages(node_layout, ["busybox-static"], whole=True) / "bin" / "busybox"
        archive = folder.with_name("busybox.tar")
        write_archive(archive, Image(IMAGE, {SHELL: busybox.read_bytes()}, (SHELL,)))
        load_image(cluster, archive)
        kubectl(cluster, "apply", "--filename", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects()}))
        kubectl(cluster, "rollout", "status", "deployment/web", "--timeout", f"{SECONDS:.0f}s")
        yield cluster
    finally:
        down(folder)


def kubectl(cluster: Cluster, *arguments: str, given: str = "") -> str:
    command = ["kubectl", "--namespace", "test", *arguments]
    result = subprocess.run(command, env=cluster.environment, input=given, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


def objects() -> list[dict[str, Any]]:
    """A server in two zones, as strict as Pod Security knows, and a Service with a port on every node."""
    labels, script = {"app": "web"}, f"{SHELL} hostname > /data/name; echo started; exec {SHELL} httpd -f -p 8080 -h /data"
    container = {
        "name": "web",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "command": [SHELL, "sh", "-c", script],
        "readinessProbe": {"httpGet": {"path": "/name", "port": 8080}, "periodSeconds": 1},
        "livenessProbe": {"exec": {"command": [SHELL, "true"]}},
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "200m", "memory": "32Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": labels},
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "securityContext": {"runAsNonRoot": True, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "topologySpreadConstraints": [spread],
        "containers": [container],
        "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Mi", "medium": "Memory"}}],
    }
    strict = {"pod-security.kubernetes.io/enforce": "restricted"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "test", "labels": strict}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "test"},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "test"},
            "spec": {"type": "NodePort", "selector": labels, "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}]},
        },
    ]


def pods(cluster: Cluster) -> dict[str, str]:
    """Name → node."""
    items = json.loads(kubectl(cluster, "get", "pods", "--output", "json"))["items"]
    return {item["metadata"]["name"]: item["spec"]["nodeName"] for item in items}


def fetched(cluster: Cluster, url: str, pod: str = "") -> str:
    """What a URL answers in the cluster's network, or in a Pod; empty if nothing."""
    ask = [SHELL, "wget", "-q", "-O", "-", url]
    command = ["kubectl", "--namespace", "test", "exec", pod, "--", *ask] if pod else enter(cluster, ["python3", "-c", GET, url])
    result = subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=False, timeout=60)
    return result.stdout.strip() if result.returncode == 0 else ""


GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())"


def test_pods_run_on_both_nodes_and_are_reached_by_name_and_address_from_everywhere(cluster: Cluster) -> None:
    found = pods(cluster)
    assert sorted(found.values()) == ["node-1", "node-2"]
    address = kubectl(cluster, "get", "service", "web", "--output", "jsonpath={.spec.clusterIP}")
    for pod in ("", *found):
        hosts = [address, "10.90.0.1:30080", "10.90.0.2:30080", *(["web", "web.test.svc.cluster.local"] if pod else [])]
        for host in hosts:
            answers: set[str] = set()

            def both(url: str = f"http://{host}/name", pod: str = pod, answers: set[str] = answers) -> bool:
                answers.add(fetched(cluster, url, pod))
                return answers >= set(found)

            assert wait_until(both, SECONDS), f"from {pod or 'outside'}, {host} gave only {answers}"


def test_a_service_is_reached_from_outside_and_what_listens_outside_from_a_pod(cluster: Cluster) -> None:
    port = forward(cluster, cluster.address, 30080)
    assert requests.get(f"http://127.0.0.1:{port}/name", timeout=30).text.strip() in pods(cluster)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * 1_000_000)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            host, inner = expose(cluster, server.server_port)
            for pod in pods(cluster):
                assert fetched(cluster, f"http://{host}:{inner}/", pod) == "x" * 1_000_000
        finally:
            server.shutdown()
            thread.join()


def test_logs_commands_and_the_proxy_of_the_api_server_reach_pods_of_both_nodes(cluster: Cluster) -> None:
    for pod in pods(cluster):
        assert kubectl(cluster, "logs", pod) == "started\n"
        assert kubectl(cluster, "exec", pod, "--", SHELL, "hostname").strip() == pod
        assert kubectl(cluster, "get", "--raw", f"/api/v1/namespaces/test/pods/{pod}:8080/proxy/name").strip() == pod


def test_the_use_of_every_pod_is_measured(cluster: Cluster) -> None:
    def measured() -> set[str]:
        items = (cluster.api.get("/apis/metrics.k8s.io/v1beta1/namespaces/test/pods") or {}).get("items", [])
        return {item["metadata"]["name"] for item in items if item["containers"][0]["usage"]["cpu"]}

    assert wait_until(lambda: measured() == set(pods(cluster)), SECONDS)


def test_a_pod_that_asks_for_more_than_is_allowed_is_refused(cluster: Cluster) -> None:
    result = subprocess.run(
        ["kubectl", "--namespace", "test", "run", "bad", "--image", IMAGE],
        env=cluster.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode
    assert "violates PodSecurity" in result.stderr


def policy_rules(cluster: Cluster) -> str:
    """What the policy engine has left in the kernel, on both nodes."""
    script = "iptables-save --table filter | grep -E 'KUBE-(ROUTER|NWPLCY|POD-FW)'; ipset list -name"
    found = ""
    for node in (Node(1), Node(2)):
        inside = [] if node == plan.MAIN else ["nsenter", f"--net={node.namespace}", "--"]
        command = enter(cluster, [*inside, "sh", "-c", script])
        found += subprocess.run(command, env=cluster.environment, capture_output=True, text=True, check=True, timeout=60).stdout
    return found


def test_network_policies_hold_while_they_are_asked_for_and_leave_no_rules(cluster: Cluster) -> None:
    policy = {"podSelector": {}, "policyTypes": ["Ingress"]}
    manifest = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "nobody"}, "spec": policy}
    kubectl(cluster, "apply", "--filename", "-", given=json.dumps(manifest))
    items = json.loads(kubectl(cluster, "get", "pods", "--output", "json"))["items"]
    addresses = {item["metadata"]["name"]: item["status"]["podIP"] for item in items}

    def reached() -> list[str]:
        return [pod for pod, other in permutations(addresses, 2) if fetched(cluster, f"http://{addresses[other]}:8080/name", pod)]

    try:
        assert reached() == list(addresses)
        with network_policies(cluster):
            assert wait_until(lambda: not reached(), SECONDS)
            assert policy_rules(cluster)
        assert reached() == list(addresses)
        assert not policy_rules(cluster)
    finally:
        kubectl(cluster, "delete", "networkpolicy", "nobody")


def test_up_again_finds_the_cluster_that_runs(cluster: Cluster, node_layout: Layout) -> None:
    assert up(node_layout, cluster.folder, nodes=2) == cluster == find(cluster.folder)


def test_the_api_server_comes_back_and_pods_ran_on(cluster: Cluster) -> None:
    before = pods(cluster)
    control(cluster, "stop", "kube-apiserver")
    assert cluster.api.get("/version") is None
    assert fetched(cluster, "http://10.90.0.1:30080/name") in before
    control(cluster, "start", "kube-apiserver")
    assert wait_until(cluster.api.ready, SECONDS)
    assert pods(cluster) == before


def test_nothing_is_left_of_a_cluster_that_was_killed(cluster: Cluster, machine: dict[str, Any], running: Running) -> None:
    group, mark = cgroups.name(cluster.folder), str(cluster.folder)
    assert cgroups.members(group)
    assert running(mark)
    assert find(cluster.folder) is not None
    cluster.supervisor.end()
    # The kernel ends everything inside; the relays outside notice by themselves.
    assert wait_until(lambda: not cgroups.members(group), SECONDS)
    assert find(cluster.folder) is None
    down(cluster.folder)
    assert not running(mark)
    assert not cluster.folder.exists()
    assert not list(cgroups.MOUNT.glob(f"*/{group}")) + list(cgroups.MOUNT.glob(group))
    assert mark not in Path("/proc/self/mounts").read_text()
    assert of_machine() == machine
