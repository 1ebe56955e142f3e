"""A client of the real plugin process, with an engine that only takes notes."""

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc, status_pb2
from toolchain.testing import patience

from isthmus.plugin.values import decode, encode

COMPONENTS = Path(__file__).parents[2] / "components"


class NotingEngine(engine_pb2_grpc.EngineServicer):
    """Keeps every message that the plugin shows."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def Log(self, request: Any, context: Any) -> empty_pb2.Empty:
        self.messages.append(request)
        return empty_pb2.Empty()

    def texts(self, *, ephemeral: bool) -> list[str]:
        return [message.message for message in self.messages if message.ephemeral == ephemeral]


@dataclass
class CallError(Exception):
    """What a call failed with. properties: of a half-made resource; None where nothing was made."""

    code: grpc.StatusCode
    message: str
    properties: dict[str, Any] | None = None
    id: str = ""
    reasons: list[str] = field(default_factory=list)


def failure(error: Any) -> CallError:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            detail = provider_pb2.ErrorResourceInitFailed()
            if status.details and status.details[0].Unpack(detail):
                plain, _ = decode(detail.properties)
                return CallError(error.code(), error.details(), plain, detail.id, list(detail.reasons))
    return CallError(error.code(), error.details())


@dataclass
class Resource:
    """A resource as the engine's state would hold it."""

    kind: str
    name: str
    id: str
    inputs: struct_pb2.Struct
    state: struct_pb2.Struct

    @property
    def outputs(self) -> dict[str, Any]:
        return decode(self.state)[0]

    @property
    def secrets(self) -> frozenset[Any]:
        return decode(self.state)[1]


class Plugin:
    """The protocol's calls in the order in which the engine makes them."""

    def __init__(self, process: Any, stub: Any, engine: NotingEngine) -> None:
        self.process = process
        self.stub = stub
        self.engine = engine

    @staticmethod
    def urn(kind: str, name: str) -> str:
        return f"urn:pulumi:test::project::my:index:Parent$isthmus:index:{kind}::{name}"

    def check(
        self, kind: str, inputs: Mapping[str, Any], name: str = "it", old: Resource | None = None, secrets: frozenset[Any] = frozenset()
    ) -> Any:
        request = provider_pb2.CheckRequest(
            urn=self.urn(kind, name), olds=old.inputs if old else None, news=encode(inputs, secrets), randomSeed=b"1"
        )
        return self.stub.Check(request)

    def problems(self, kind: str, inputs: Mapping[str, Any], **options: Any) -> list[str]:
        return [failure.reason for failure in self.check(kind, inputs, **options).failures]

    def preview(self, kind: str, inputs: Mapping[str, Any], name: str = "it") -> dict[str, Any]:
        checked = self._checked(kind, inputs, name, None, frozenset())
        with raised():
            return decode(
                self.stub.Create(provider_pb2.CreateRequest(urn=self.urn(kind, name), properties=checked, preview=True)).properties
            )[0]

    def create(
        self, kind: str, inputs: Mapping[str, Any], name: str = "it", secrets: frozenset[Any] = frozenset(), timeout_seconds: float = 0
    ) -> Resource:
        checked = self._checked(kind, inputs, name, None, secrets)
        with raised():
            reply = self.stub.Create(provider_pb2.CreateRequest(urn=self.urn(kind, name), properties=checked, timeout=timeout_seconds))
        assert reply.id
        return Resource(kind, name, reply.id, checked, reply.properties)

    def diff(self, resource: Resource, inputs: Mapping[str, Any], secrets: frozenset[Any] = frozenset()) -> Any:
        checked = self._checked(resource.kind, inputs, resource.name, resource, secrets)
        request = provider_pb2.DiffRequest(
            id=resource.id, urn=self.urn(resource.kind, resource.name), olds=resource.state, news=checked, old_inputs=resource.inputs
        )
        with raised():
            return self.stub.Diff(request)

    def update(
        self, resource: Resource, inputs: Mapping[str, Any], *, preview: bool = False, secrets: frozenset[Any] = frozenset()
    ) -> Resource:
        checked = self._checked(resource.kind, inputs, resource.name, resource, secrets)
        request = provider_pb2.UpdateRequest(
            id=resource.id,
            urn=self.urn(resource.kind, resource.name),
            olds=resource.state,
            news=checked,
            old_inputs=resource.inputs,
            preview=preview,
        )
        with raised():
            reply = self.stub.Update(request)
        return Resource(resource.kind, resource.name, resource.id, checked, reply.properties)

    def read(self, resource: Resource) -> Resource | None:
        request = provider_pb2.ReadRequest(
            id=resource.id, urn=self.urn(resource.kind, resource.name), properties=resource.state, inputs=resource.inputs
        )
        with raised():
            reply = self.stub.Read(request)
        return Resource(resource.kind, resource.name, reply.id, reply.inputs, reply.properties) if reply.id else None

    def delete(self, resource: Resource) -> None:
        request = provider_pb2.DeleteRequest(
            id=resource.id, urn=self.urn(resource.kind, resource.name), properties=resource.state, old_inputs=resource.inputs
        )
        with raised():
            self.stub.Delete(request)

    def schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = json.loads(self.stub.GetSchema(provider_pb2.GetSchemaRequest()).schema)
        return schema

    def _checked(self, kind: str, inputs: Mapping[str, Any], name: str, old: Resource | None, secrets: frozenset[Any]) -> struct_pb2.Struct:
        reply = self.check(kind, inputs, name, old, secrets)
        assert not reply.failures, reply.failures
        return reply.inputs


@contextmanager
def raised() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise failure(error) from None


@contextmanager
def run_plugin(environment: Mapping[str, str] | None = None) -> Iterator[Plugin]:
    engine = NotingEngine()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    engine_pb2_grpc.add_EngineServicer_to_server(engine, server)
    engine_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    process = subprocess.Popen(
        [sys.executable, str(COMPONENTS), f"127.0.0.1:{engine_port}"], stdout=subprocess.PIPE, env={**os.environ, **(environment or {})}
    )
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], 20)
        assert ready, "the plugin printed no port"
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = provider_pb2_grpc.ResourceProviderStub(channel)
            stub.Configure(provider_pb2.ConfigureRequest(acceptSecrets=True))
            yield Plugin(process, stub, engine)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            server.stop(None)


@pytest.fixture(scope="session")
def shared_plugin() -> Iterator[Plugin]:
    with run_plugin({"PULUMI_CONFIG_PASSPHRASE": "not for children"}) as plugin:
        yield plugin


@pytest.fixture
def plugin(shared_plugin: Plugin) -> Plugin:
    shared_plugin.engine.messages.clear()
    return shared_plugin


@pytest.fixture
def new_plugin() -> Callable[[], Any]:
    """Starts a plugin of the test's own, as a context manager."""
    return run_plugin


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path, as a real project has: a unix socket fits below it."""
    path = Path(tempfile.mkdtemp(prefix="isthmus-"))
    yield path
    end_everything_below(path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def supervisor(plugin: Plugin, folder: Path) -> Resource:
    return plugin.create("LocalSupervisor", {"directory": str(folder / "sv")})


def processes_below(directory: Path) -> list[psutil.Process]:
    """What runs under a supervisor in or below that folder."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get("ISTHMUS_SUPERVISOR", "")
            if marked.startswith(str(directory)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end_everything_below(directory: Path) -> None:
    for process in processes_below(directory):
        process.kill()


def eventually(condition: Callable[[], Any], timeout_seconds: float = 20) -> Any:
    """What the condition returns once it is true."""
    deadline = patience.Deadline(timeout_seconds)
    while not deadline.over():
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_seconds} s: {condition}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def in_background(work: Callable[[], Any]) -> "futures.Future[Any]":
    future: futures.Future[Any] = futures.Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


@pytest.fixture(name="processes_below")
def _processes_below() -> Callable[[Path], list[psutil.Process]]:
    return processes_below


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., Any]:
    return eventually


@pytest.fixture(name="free_port")
def _free_port() -> int:
    return free_port()


@pytest.fixture(name="in_background")
def _in_background() -> Callable[[Callable[[], Any]], "futures.Future[Any]"]:
    return in_background
