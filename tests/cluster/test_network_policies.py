"""The service's NetworkPolicies under an engine that enforces them: clients → gateways → servers → store, and nothing else.

One stack, in this order: first without the engine, where every forbidden connection succeeds, so that a later refusal is the policies'.
"""

import json
from urllib.parse import urlsplit

import pytest
from toolchain import cluster as test_cluster
from toolchain import images as test_images

pytestmark = [pytest.mark.alone, pytest.mark.lane("second cluster"), pytest.mark.in_order, pytest.mark.timeout(900)]
NAMESPACE = "guarded"
SERVICE = {"isthmus.dev/service": NAMESPACE}
COMPONENT = "app.kubernetes.io/component"
# Pods that do nothing but connect: one of nobody's, one with the service's label that is neither gateway nor server, and one as a
# gateway is labelled, whose own image has no shell. Never ready, so that nobody takes the latter for a gateway that serves.
PROBES = {"stranger": {}, "outcast": SERVICE, "gateway": {**SERVICE, COMPONENT: "gateway"}}
API_SERVER = ("10.90.0.1", 6443)
FORBIDDEN = [
    ("stranger", "server"),
    ("stranger", "other server"),
    ("outcast", "server"),
    ("outcast", "gateways"),
    ("outcast", "store"),
    ("gateway", "store"),
    ("gateway", "api server"),
    ("server", "other server"),
    ("server", "gateways"),
    ("server", "api server"),
]
ALLOWED = [("stranger", "gateways"), ("gateway", "server"), ("gateway", "other server"), ("server", "store")]


@pytest.fixture(scope="module")
def stack(make_project, place, bucket):
    project = make_project()
    project.configure(services={NAMESPACE: place.arguments(bucket, NAMESPACE, kubernetes={"autoscale": False})})
    done = project.up()
    assert done.code == 0, done


def connect(host, port):
    """The script that tells whether a connection can be made."""
    return f"nc -w 2 {host} {port} -e true"


def probe(labels, node):
    """A Pod as strict as its namespace asks for."""
    container = {
        "name": "probe",
        "image": test_images.FETCH,
        "command": ["sleep", "3600"],
        "readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 300},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "metadata": {"labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "nodeName": node,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }


def create(place, name, pod, file):
    pod["metadata"]["name"] = name
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", **pod}))
    place.kubectl("create", "-n", NAMESPACE, "-f", str(file))


@pytest.fixture(scope="module")
def servers(stack, place, eventually):
    """The servers' Pods, the first on node-1 and the other one on node-2."""

    def both():
        found = {pod["spec"]["nodeName"]: pod for pod in place.get("pods", NAMESPACE, selector=f"{COMPONENT}=server")}
        return [found["node-1"], found["node-2"]]

    return eventually(both)


@pytest.fixture(scope="module")
def connects(servers, place, eventually, tmp_path_factory):
    """Whether a Pod can connect to something; both by the names above."""
    server, other = servers
    # Beside one server and away from the other: connections within a node are seen, and those between nodes.
    for name, labels in PROBES.items():
        create(place, name, probe(labels, server["spec"]["nodeName"]), tmp_path_factory.mktemp("pod") / "pod.json")
    eventually(lambda: all(place.get("pod", NAMESPACE, name)["status"]["phase"] == "Running" for name in PROBES))
    store = urlsplit(place.pull_endpoint)
    places = {
        "server": (server["status"]["podIP"], 8501),
        "other server": (other["status"]["podIP"], 8501),
        "gateways": (place.get("service", NAMESPACE, NAMESPACE)["spec"]["clusterIP"], 8501),
        "store": (store.hostname, store.port),
        "api server": API_SERVER,
    }
    pods = {**{name: name for name in PROBES}, "server": server["metadata"]["name"]}

    def ask(source, target):
        script = f"if {connect(*places[target])}; then echo open; else echo closed; fi"
        said = place.kubectl("exec", "-n", NAMESPACE, pods[source], "--", "sh", "-c", script).strip()
        assert said in {"open", "closed"}, said
        return said == "open"

    return ask


@pytest.fixture(scope="module")
def enforced(place, connects, eventually):
    """From here on the policies hold."""
    with test_cluster.network_policies(place.cluster):
        eventually(lambda: not any(connects("stranger", target) for target in ("server", "other server")))
        yield


def test_without_an_engine_every_connection_can_be_made(connects):
    assert [pair for pair in [*FORBIDDEN, *ALLOWED] if not connects(*pair)] == []


def test_with_it_no_forbidden_connection_can_be_made_and_every_other_can(connects, enforced):
    assert [pair for pair in FORBIDDEN if connects(*pair)] == []
    assert [pair for pair in ALLOWED if not connects(*pair)] == []


def test_a_client_gets_its_answers(enforced, place, body):
    assert place.ask(place.url(NAMESPACE), body)[0] == 200
    # And in a Pod, by name; often enough that either gateway is asked.
    url = f"http://{NAMESPACE}.{NAMESPACE}.svc.cluster.local:8501/v1/models/digits:predict"
    ask = ["curl", "--silent", "--json", body.read_text(), "--output", "/dev/null", "--write-out", "%{http_code} ", url]
    said = place.kubectl("exec", "-n", NAMESPACE, "stranger", "--", *ask, *["--next", *ask[1:]] * 9)
    assert said.split() == ["200"] * 10


def test_a_server_fetches_its_release_under_the_policies(enforced, place, servers, eventually, tmp_path):
    """A Pod of the servers' own template, which first waits until its policies are in force."""
    pod = place.get("deployment", NAMESPACE, f"{NAMESPACE}-stable")["spec"]["template"]
    pod["spec"]["nodeName"] = servers[1]["spec"]["nodeName"]
    fetch = pod["spec"]["initContainers"][0]
    wait = f"while {connect(*API_SERVER)}; do sleep 0.2; done"
    pod["spec"]["initContainers"].insert(0, {**fetch, "name": "wait", "command": ["sh", "-c", wait], "args": []})

    def ready():
        return "True" in [it["status"] for it in place.get("pod", NAMESPACE, "late")["status"]["conditions"] if it["type"] == "Ready"]

    try:
        create(place, "late", pod, tmp_path / "pod.json")
        eventually(ready, 90)
    finally:
        place.kubectl("delete", "pod", "late", "-n", NAMESPACE, "--grace-period=0", "--force")


def test_names_are_still_resolved(enforced, place, servers):
    name = f"{NAMESPACE}-stable-servers.{NAMESPACE}.svc.cluster.local"
    for pod in ("gateway", servers[0]["metadata"]["name"]):
        assert servers[0]["status"]["podIP"] in place.kubectl("exec", "-n", NAMESPACE, pod, "--", "nslookup", name)
