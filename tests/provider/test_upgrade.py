"""What 0.1.0 left in a state, as this version takes it: nothing crashes, is refused or replaced.

Inputs and outputs are those of 0.1.0's own tables (commit 60fb84e, the last one before what the change log calls unreleased), with its
defaults filled in, as its Check did. Nothing of it runs any more, so that what has to be mended may be an update, and never a replacement.
"""

from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

from isthmus.plugin.values import encode
from isthmus.provider.registry import HANDLERS

DIGEST = f"sha256:{'d' * 64}"
STORE = {"endpoint": "http://127.0.0.1:1", "region": "us-east-1", "access_key": "key-of-the-store", "secret_key": "secret-of-the-store"}
FORMER_KEY = "PRIVATE KEY in PEM"
HOST = {"name": "vm-a", "address": "ssh://ops@127.0.0.1:1", "ssh_options": []}
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: away
contexts: [{name: away, context: {cluster: away, user: nobody}}]
clusters: [{name: away, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: nobody, user: {}}]
"""
PLACE = {"kubeconfig": KUBECONFIG, "namespace": "digits", "service": "digits"}
RELEASE = {"store": STORE, "bucket": "models", "prefix": "digits/", "digest": DIGEST, "cache_directory": "/nowhere/cache"}

# Type → inputs, outputs beside them, id.
STATES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "LocalSupervisor": ({"directory": "/nowhere/sv"}, {"pid": 4_000_000}, "/nowhere/sv"),
    "LocalProcesses": (
        {
            "supervisor": "/nowhere/sv",
            "program": "server",
            "command": ["python", "-m", "isthmus.server", "--port=${port.grpc}"],
            "ports": {"rest": 0, "grpc": 0},
            "replicas": 2,
            "environment": {"A": "b"},
            "files": {"a.json": "{}"},
            "live_files": {},
            "ready": {"port": "rest", "path": "/v1/models/digits", "contains": "AVAILABLE", "timeout_seconds": 180},
            "leftovers": [],
        },
        {"endpoints": [{"rest": 20_001, "grpc": 20_002}, {"rest": 20_003, "grpc": 20_004}], "pids": [4_000_001, 4_000_002]},
        "/nowhere/sv:server",
    ),
    "ModelFolder": (
        {"digest": DIGEST, "cache_directory": "/nowhere/cache", "directory": "/nowhere/model"},
        {"version": 1},
        "/nowhere/model",
    ),
    "StoreCredentials": ({}, {"access_key": "A" * 20, "secret_key": "s" * 40}, "A" * 20),
    "SigningKey": ({}, {"private_key": FORMER_KEY, "public_key": "PEM"}, "key"),
    "Bucket": ({"store": STORE, "bucket": "models"}, {}, "models"),
    "SignedBundle": ({**RELEASE, "private_key": FORMER_KEY, "check_at_preview": False}, {}, "bundle"),
    "PublishedRelease": ({**RELEASE, "check_at_preview": False}, {}, "release"),
    "DockerModelFolder": (
        {**RELEASE, "host": HOST, "image": "curl", "root": "/var/lib/isthmus", "folder": "digits/releases/vm-a", "deadline_seconds": 600},
        {"version": 1, "directory": "/var/lib/isthmus/digits", "content": "c", "owner": "", "plan": "p"},
        "folder",
    ),
    "DockerServer": (
        {
            "host": HOST,
            "service": "digits",
            "image": "tensorflow/serving",
            "probe_image": "curl",
            "model_name": "digits",
            "directory": "/var/lib/isthmus/digits",
            "digest": DIGEST,
            "cache_directory": "/nowhere/cache",
            "bind_ip": "127.0.0.1",
            "ports": [{"rest": 8511, "grpc": 8521}, {"rest": 8512, "grpc": 8522}],
            "deadline_seconds": 300,
            "drain_seconds": 30,
        },
        {"container": "digits-1", "rest_port": 8511, "grpc_port": 8521, "status": "running"},
        "digits-1",
    ),
    "DockerFiles": (
        {
            "host": HOST,
            "image": "curl",
            "root": "/var/lib/isthmus",
            "folder": "digits/gateway",
            "group": 65_532,
            "files": {"envoy.json": "{}"},
        },
        {"found": "f"},
        "files",
    ),
    "DockerGate": (
        {
            "host": HOST,
            "image": "curl",
            "container": "digits-gateway",
            "admin_port": 9901,
            "endpoints": {"stable-rest": ["127.0.0.1:8511"]},
            "revision": "r",
            "deadline_seconds": 120,
        },
        {},
        "gate",
    ),
    "Rollout": (
        {
            "store": STORE,
            "bucket": "models",
            "prefix": "fleets/cameras/",
            "fleet": "cameras",
            "devices": ["camera-1"],
            "digest": DIGEST,
            "private_key": FORMER_KEY,
            "deadline_seconds": 120,
        },
        {"attempt": 3, "confirmed": ["camera-1"]},
        "cameras",
    ),
    "GatewayTraffic": (
        {**PLACE, "model_name": "digits", "tracks": {"stable": {"version": 1, "digest": DIGEST}}, "options": {"timeout_seconds": 30}},
        {"config_map": "digits-traffic", "intact": True},
        "digits",
    ),
    "CanaryGate": (
        {
            **PLACE,
            "canary_digest": DIGEST,
            "canary_percent": 10,
            "mirror_percent": 0,
            "gate": {"min_requests": 200, "max_p95_ms": 50.0},
            "probes": [],
            "gateway_tls": False,
            "auto_promote": True,
        },
        {"verdict": "promoted", "percent": 100, "reasons": [], "requests": {}},
        "digits",
    ),
}
# What came after 0.1.0.
NEWER = {
    "FleetRepository",
    "FleetWave",
    "LocalDevices",
    "KubernetesClaim",
    "KubernetesCapacity",
    "KubernetesMonitors",
    "LoopbackCertificate",
    "RetiredVersions",
    "ServedVersions",
}
# Made no more, so that no program declares one: tests/provider/handlers/test_retired.py deletes what is left of them.
RETIRED = {token.rpartition(":")[2] for token, handler in HANDLERS.items() if handler.spec.deprecated}
# These look for nothing that only a cluster, an engine or a store could answer.
ON_THIS_MACHINE = ("LocalSupervisor", "LocalProcesses", "ModelFolder", "StoreCredentials", "SigningKey")


def test_every_resource_of_that_version_is_tried() -> None:
    assert set(STATES) == {token.rpartition(":")[2] for token in HANDLERS} - NEWER


@pytest.mark.parametrize("kind", [kind for kind in STATES if kind not in RETIRED])
def test_a_state_of_0_1_0_is_taken_and_nothing_of_it_is_replaced(plugin: Any, kind: str) -> None:
    inputs, outputs, identity = STATES[kind]
    urn, old = plugin.urn(kind, "it"), encode(inputs)
    checked = plugin.stub.Check(provider_pb2.CheckRequest(urn=urn, olds=old, news=old, randomSeed=b"1"))
    assert [f"{failure.property}: {failure.reason}" for failure in checked.failures] == []
    state = encode({**inputs, **outputs})
    found = plugin.stub.Diff(provider_pb2.DiffRequest(id=identity, urn=urn, olds=state, news=checked.inputs, old_inputs=old))
    assert list(found.replaces) == []


@pytest.mark.parametrize("kind", ON_THIS_MACHINE)
def test_a_refresh_of_a_state_of_0_1_0_finds_what_is_left_of_it(plugin: Any, kind: str) -> None:
    inputs, outputs, identity = STATES[kind]
    request = provider_pb2.ReadRequest(
        id=identity, urn=plugin.urn(kind, "it"), properties=encode({**inputs, **outputs}), inputs=encode(inputs)
    )
    assert plugin.stub.Read(request).id == (identity if kind in {"StoreCredentials", "SigningKey"} else "")
