"""Every resource that is replaced in place survives the deletion of the one that it replaced.

The engine makes the new resource first and deletes the old one afterwards, with the old one's state, wherever it is not told
otherwise: by `pulumi up --replace`, by a program in any language, after an update that broke off in between.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from isthmus.plugin.schema import MAKING
from isthmus.provider.registry import HANDLERS
from isthmus.release.manifest import Release
from isthmus.release.store import Store, StoreAddress

pytestmark = pytest.mark.slow

TESTS = Path(__file__).parents[1]
# Those that need a cluster or a Docker host are tested where there is one.
ELSEWHERE = {
    "DockerModelFolder": "docker/test_docker_model_folder.py",
    "DockerServer": "docker/test_docker_server.py",
    "DockerFiles": "docker/test_gateway.py",
    "DockerGate": "docker/test_gateway.py",
    "FleetWave": "handlers/test_fleet_wave.py",
    "RetiredVersions": "handlers/test_served_versions.py",
    "GatewayTraffic": "handlers/kubernetes/test_gateway_traffic.py",
    "CanaryGate": "handlers/kubernetes/test_canary_gate.py",
    "KubernetesClaim": "handlers/kubernetes/test_kubernetes_claim.py",
    "KubernetesCapacity": "handlers/kubernetes/test_kubernetes_capacity.py",
    "KubernetesMonitors": "handlers/kubernetes/test_kubernetes_monitors.py",
}
PROGRAM = {"program": "p", "command": ["sleep", "60"], "ports": {}}


@dataclass
class World:
    """What resources of each kind are made from."""

    plugin: Any
    folder: Path
    store: dict[str, str]
    release: Release
    cache_directory: Path
    stack_store: Any
    bucket: str = field(default_factory=lambda: f"b-{uuid.uuid4().hex[:8]}")

    @property
    def opened(self) -> Store:
        return Store(StoreAddress.from_inputs(self.store), self.bucket)

    @property
    def place(self) -> dict[str, Any]:
        return {"store": self.store, "bucket": self.bucket}

    @property
    def published(self) -> dict[str, Any]:
        return {**self.place, "prefix": "p/", "digest": self.release.digest, "cache_directory": str(self.cache_directory)}

    @property
    def fleet(self) -> dict[str, Any]:
        return {**self.place, "prefix": "f/", "fleet": "f", "keys": str(self.folder / "keys")}

    def processes(self) -> list[str]:
        """Names of the programs that run under the supervisor here, its own left out."""
        found = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
                if environment.get("ISTHMUS_SUPERVISOR") == str(self.folder / "sv") and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(environment.get("ISTHMUS_REPLICA", "supervisord"))
            except (psutil.Error, OSError):
                continue
        return sorted(found)


def _supervisor(world: World) -> dict[str, Any]:
    world.plugin.create("LocalSupervisor", {"directory": str(world.folder / "sv")}, name="other")
    return {**PROGRAM, "supervisor": str(world.folder / "sv")}


def _bucket(world: World) -> dict[str, Any]:
    world.plugin.create("Bucket", world.place, name="other")
    return world.published


def _repository(world: World) -> dict[str, Any]:
    _bucket(world)
    return {**world.fleet, "make_keys": True}


def _devices(world: World) -> dict[str, Any]:
    world.plugin.create("FleetRepository", _repository(world), name="other")
    device = {"name": "a", "class": "default", "labels": {}}
    return {**world.fleet, "directory": str(world.folder / "devices"), "devices": [device], "identities": world.stack_store.identities}


def _serves(world: World) -> bool:
    return any((world.folder / "v").glob("*/1/saved_model.pb"))


def _served(world: World) -> dict[str, Any]:
    servers = {"supervisor": str(world.folder / "sv"), "program": "p", "model_name": "digits"}
    cached = {"digest": world.release.digest, "cache_directory": str(world.cache_directory)}
    return {**cached, "directory": str(world.folder / "v"), **servers}


def _in_bucket(*keys: str) -> Callable[[World], bool]:
    return lambda world: all(any(key in found for found in world.opened.list("")) for key in keys)


# Kind → its inputs, made with all that it needs; whether the thing is there.
KINDS: dict[str, tuple[Callable[[World], dict[str, Any]], Callable[[World], bool]]] = {
    "LocalSupervisor": (lambda world: {"directory": str(world.folder / "sv")}, lambda world: world.processes() == ["supervisord"]),
    "LocalProcesses": (_supervisor, lambda world: world.processes() == ["p-0", "supervisord"]),
    "ModelFolder": (
        lambda world: {
            "digest": world.release.digest,
            "cache_directory": str(world.cache_directory),
            "directory": str(world.folder / "m"),
        },
        lambda world: (world.folder / "m" / "1" / "saved_model.pb").exists(),
    ),
    "ServedVersions": (_served, _serves),
    "Bucket": (lambda world: world.place, lambda world: world.opened.check()),
    "PublishedRelease": (_bucket, _in_bucket("manifest.json", "golden.json")),
    "FleetRepository": (_repository, _in_bucket("metadata/timestamp.json")),
    "LocalDevices": (_devices, lambda world: (world.folder / "devices" / "a" / "enrolment").is_file()),
    "StoreCredentials": (lambda _: {}, lambda _: True),
    "LoopbackCertificate": (lambda _: {}, lambda _: True),
}


@pytest.fixture
def world(request: pytest.FixtureRequest, make_release: Callable[..., Release]) -> World:
    names = ("plugin", "folder", "store", "cache_directory", "stack_store")
    return World(release=make_release(), **{name: request.getfixturevalue(name) for name in names})


def test_every_resource_is_tested() -> None:
    assert {handler.spec.name for handler in HANDLERS.values() if not handler.spec.deprecated} == {*KINDS, *ELSEWHERE}
    for file in set(ELSEWHERE.values()):
        assert "_replaced_in_place_" in (TESTS / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_made_anew_survives_the_deletion_of_the_old_one(world: World, kind: str) -> None:
    inputs_of, is_there = KINDS[kind]
    inputs = inputs_of(world)
    old = world.plugin.create(kind, inputs)
    new = world.plugin.create(kind, inputs)
    assert new.outputs[MAKING] != old.outputs[MAKING]
    world.plugin.delete(old)
    assert is_there(world)
    found = world.plugin.read(new)
    assert found.outputs[MAKING] == new.outputs[MAKING]
    updated = world.plugin.update(found, inputs)
    assert updated.outputs[MAKING] == new.outputs[MAKING]
    world.plugin.delete(old)
    assert is_there(world)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_deleted_first_is_made_anew_and_goes_with_its_own_state(world: World, kind: str) -> None:
    inputs_of, is_there = KINDS[kind]
    inputs = inputs_of(world)
    world.plugin.delete(world.plugin.create(kind, inputs))
    new = world.plugin.create(kind, inputs)
    assert is_there(world)
    world.plugin.delete(new)
    if inputs:
        assert not is_there(world)
        assert world.plugin.read(new) is None
