"""A real engine, and the plugin's own process spoken to over gRPC as Pulumi does."""

import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2
from toolchain.docker_engine.hosts import Engine, Site, start
from toolchain.docker_engine.images import load_busybox
from toolchain.docker_engine.programs import objection
from toolchain.prepare.layout import Layout, load
from toolchain.prepare.steps import PrepareError

from isthmus.plugin.bags.bag import Bag

CONTAINER = "docker:index/container:Container"
IMAGE = "local/busybox:test"


@pytest.fixture(scope="session")
def real_layout(project: Path) -> Layout:
    """The project's own layout, whose cache holds Debian's packages."""
    return load(project)


@pytest.fixture(scope="package")
def site(real_layout: Layout) -> Iterator[Site]:
    """One engine with the image local/busybox:test."""
    if complaint := objection():
        pytest.skip(complaint)
    # A socket's path may have 107 characters; pytest's own folders are longer.
    with tempfile.TemporaryDirectory(prefix="isthmus-docker-") as folder:
        try:
            engines = start(real_layout, Path(folder), ["vm"])
        except PrepareError as error:
            pytest.skip(str(error))
        with engines:
            load_busybox(real_layout, engines[0])
            yield engines


@pytest.fixture(scope="package")
def docker_engine(site: Site) -> Engine:
    """The engine."""
    return site[0]


@pytest.fixture
def client(docker_engine: Engine) -> Iterator[docker.DockerClient]:
    """A client to look at the engine with, past the plugin."""
    found = docker_engine.client()
    yield found
    found.close()


@dataclass
class Resource:
    """One resource as Pulumi's engine keeps it."""

    wire: "Wire"
    type: str
    name: str
    id: str = ""
    inputs: Bag = field(default_factory=Bag)
    state: Bag = field(default_factory=Bag)
    reasons: tuple[str, ...] = ()

    @property
    def urn(self) -> str:
        return f"urn:pulumi:dev::test::{self.type}::{self.name}"

    def check(self, inputs: dict[str, Any], secrets: frozenset[tuple[str | int, ...]] = frozenset()) -> tuple[Bag, list[str]]:
        news = Bag(inputs, secrets).to_struct()
        answer = self.wire.stub.Check(provider_pb2.CheckRequest(urn=self.urn, olds=self.inputs.to_struct(), news=news, randomSeed=b"seed"))
        return Bag.of(answer.inputs), [failure.reason for failure in answer.failures]

    def checked(self, inputs: dict[str, Any], secrets: frozenset[tuple[str | int, ...]] = frozenset()) -> Bag:
        found, failures = self.check(inputs, secrets)
        assert failures == []
        return found

    def create(self, inputs: dict[str, Any], secrets: frozenset[tuple[str | int, ...]] = frozenset()) -> "Resource":
        """Creates it; one that is half-made is kept with its reasons."""
        self.inputs = self.checked(inputs, secrets)
        request = provider_pb2.CreateRequest(urn=self.urn, properties=self.inputs.to_struct())
        self._keep(lambda: self.wire.stub.Create(request))
        return self

    def preview(self, inputs: dict[str, Any]) -> Bag:
        request = provider_pb2.CreateRequest(urn=self.urn, properties=self.checked(inputs).to_struct(), preview=True)
        return Bag.of(self.wire.stub.Create(request).properties)

    def diff(self, inputs: dict[str, Any], secrets: frozenset[tuple[str | int, ...]] = frozenset()) -> Any:
        news = self.checked(inputs, secrets)
        olds, old_inputs = self.state.to_struct(), self.inputs.to_struct()
        request = provider_pb2.DiffRequest(id=self.id, urn=self.urn, olds=olds, old_inputs=old_inputs, news=news.to_struct())
        return self.wire.stub.Diff(request)

    def update(self, inputs: dict[str, Any]) -> "Resource":
        news = self.checked(inputs)
        olds, old_inputs = self.state.to_struct(), self.inputs.to_struct()
        request = provider_pb2.UpdateRequest(id=self.id, urn=self.urn, olds=olds, old_inputs=old_inputs, news=news.to_struct())
        self.inputs, self.reasons = news, ()
        self._keep(lambda: self.wire.stub.Update(request))
        return self

    def read(self) -> bool:
        """As a refresh does; whether it still exists."""
        request = provider_pb2.ReadRequest(id=self.id, urn=self.urn, properties=self.state.to_struct(), inputs=self.inputs.to_struct())
        answer = self.wire.stub.Read(request)
        if answer.id:
            self.state, self.inputs = Bag.of(answer.properties), Bag.of(answer.inputs)
        return bool(answer.id)

    def delete(self) -> None:
        if self.id:
            state, inputs = self.state.to_struct(), self.inputs.to_struct()
            self.wire.stub.Delete(provider_pb2.DeleteRequest(id=self.id, urn=self.urn, properties=state, old_inputs=inputs))
            self.id = ""

    def _keep(self, call: Callable[[], Any]) -> None:
        try:
            answer = call()
            self.id, self.state = getattr(answer, "id", self.id), Bag.of(answer.properties)
        except grpc.RpcError as error:
            detail = half_made(error)
            if detail is None:
                raise
            self.id, self.state, self.reasons = detail.id, Bag.of(detail.properties), tuple(detail.reasons)


def half_made(error: grpc.RpcError) -> Any:
    """What the engine keeps of a resource whose creation or update failed half-way; None: nothing."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            status = status_pb2.Status()
            status.ParseFromString(value)
            detail = provider_pb2.ErrorResourceInitFailed()
            status.details[0].Unpack(detail)
            return detail
    return None


class Wire:
    """The plugin's process, configured for one host."""

    def __init__(self, project: Path, settings: dict[str, Any]) -> None:
        command = [sys.executable, str(project / "toolchain" / "docker_plugin" / "__main__.py")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.channel = grpc.insecure_channel(f"127.0.0.1:{int(self.process.stdout.readline())}")
        self.stub: Any = provider_pb2_grpc.ResourceProviderStub(self.channel)
        self.made: list[Resource] = []
        self.stub.Configure(provider_pb2.ConfigureRequest(args=Bag(settings).to_struct()))

    def resource(self, type: str = CONTAINER, name: str = "") -> Resource:
        made = Resource(self, type, name or f"it-{uuid.uuid4().hex[:8]}")
        self.made.append(made)
        return made

    def clear(self) -> None:
        """Deletes what a test has made."""
        while self.made:
            self.made.pop().delete()

    def close(self) -> None:
        try:
            self.clear()
        finally:
            self.channel.close()
            self.process.terminate()
            self.process.communicate()


@pytest.fixture
def wires(project: Path) -> Iterator[Callable[[dict[str, Any]], Wire]]:
    """Starts a plugin with the settings given."""
    made: list[Wire] = []

    def make(settings: dict[str, Any]) -> Wire:
        made.append(Wire(project, settings))
        return made[-1]

    yield make
    for wire in made:
        wire.close()


@pytest.fixture(scope="package")
def plugin(project: Path, docker_engine: Engine) -> Iterator[Wire]:
    """A plugin for the engine, as one update has it for all its resources."""
    wire = Wire(project, {"host": docker_engine.host})
    yield wire
    wire.close()


@pytest.fixture
def wire(plugin: Wire) -> Iterator[Wire]:
    """The plugin; what the test makes with it is deleted after."""
    yield plugin
    plugin.clear()
