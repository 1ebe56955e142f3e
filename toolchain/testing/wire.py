"""A client of a started plugin for tests, which makes the protocol's calls as the engine does, with an engine that only takes notes."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf import empty_pb2, struct_pb2
from pulumi.runtime.proto import engine_pb2_grpc, provider_pb2, provider_pb2_grpc, status_pb2

from isthmus.plugin.values import decode, encode

START_SECONDS = 30


class NotingEngine(engine_pb2_grpc.EngineServicer):
    """Keeps every message that the plugin shows."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def Log(self, request: Any, context: Any) -> empty_pb2.Empty:
        self.messages.append(request)
        return empty_pb2.Empty()

    def texts(self, *, ephemeral: bool) -> list[str]:
        return [message.message for message in self.messages if message.ephemeral == ephemeral]

    @property
    def text(self) -> str:
        """All of it, a line a message."""
        return "\n".join(message.message for message in self.messages)


@dataclass
class CallError(Exception):
    """What a call failed with. state and inputs: of a half-made resource; None where nothing was made."""

    code: grpc.StatusCode
    message: str
    state: struct_pb2.Struct | None = None
    inputs: struct_pb2.Struct | None = None
    id: str = ""
    reasons: list[str] = field(default_factory=list)

    @property
    def outputs(self) -> dict[str, Any] | None:
        return None if self.state is None else decode(self.state)[0]

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def failure(error: Any) -> CallError:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
            detail = provider_pb2.ErrorResourceInitFailed()
            if status.details and status.details[0].Unpack(detail):
                return CallError(error.code(), error.details(), detail.properties, detail.inputs, detail.id, list(detail.reasons))
    return CallError(error.code(), error.details())


@contextmanager
def raised() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise failure(error) from None


@dataclass
class Resource:
    """A resource as the engine's state would hold it."""

    token: str
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

    @property
    def input_values(self) -> dict[str, Any]:
        return decode(self.inputs)[0]


class Plugin:
    """The protocol's calls in the order in which the engine makes them."""

    def __init__(self, process: "subprocess.Popen[bytes]", stub: Any, engine: NotingEngine) -> None:
        self.process = process
        self.stub = stub
        self.engine = engine

    @staticmethod
    def urn(token: str, name: str) -> str:
        return f"urn:pulumi:test::project::my:index:Parent${token}::{name}"

    def configure(self, settings: Mapping[str, Any] | None = None) -> None:
        with raised():
            self.stub.Configure(provider_pb2.ConfigureRequest(args=encode(settings or {}), acceptSecrets=True))

    def check(
        self,
        token: str,
        inputs: Mapping[str, Any],
        name: str = "it",
        old: Resource | None = None,
        *,
        secrets: frozenset[Any] = frozenset(),
        autonaming: Any = None,
    ) -> Any:
        request = provider_pb2.CheckRequest(
            urn=self.urn(token, name),
            olds=old.inputs if old else None,
            news=encode(inputs, secrets),
            randomSeed=b"seed",
            autonaming=autonaming,
        )
        with raised():
            return self.stub.Check(request)

    def checked(
        self, token: str, inputs: Mapping[str, Any], name: str = "it", old: Resource | None = None, secrets: frozenset[Any] = frozenset()
    ) -> struct_pb2.Struct:
        reply = self.check(token, inputs, name, old, secrets=secrets)
        assert not reply.failures, reply.failures
        inputs_as_checked: struct_pb2.Struct = reply.inputs
        return inputs_as_checked

    def problems(self, token: str, inputs: Mapping[str, Any], **options: Any) -> list[str]:
        return [failure.reason for failure in self.check(token, inputs, **options).failures]

    def preview(self, token: str, inputs: Mapping[str, Any], name: str = "it") -> dict[str, Any]:
        checked = self.checked(token, inputs, name)
        with raised():
            reply = self.stub.Create(provider_pb2.CreateRequest(urn=self.urn(token, name), properties=checked, preview=True))
        return decode(reply.properties)[0]

    def create(
        self,
        token: str,
        inputs: Mapping[str, Any],
        name: str = "it",
        secrets: frozenset[Any] = frozenset(),
        timeout_seconds: float = 0,
    ) -> Resource:
        checked = self.checked(token, inputs, name, secrets=secrets)
        with raised():
            reply = self.stub.Create(provider_pb2.CreateRequest(urn=self.urn(token, name), properties=checked, timeout=timeout_seconds))
        assert reply.id
        return Resource(token, name, reply.id, checked, reply.properties)

    def diff(
        self, resource: Resource, inputs: Mapping[str, Any], secrets: frozenset[Any] = frozenset(), ignored: Sequence[str] = ()
    ) -> Any:
        checked = self.checked(resource.token, inputs, resource.name, resource, secrets)
        request = provider_pb2.DiffRequest(
            id=resource.id,
            urn=self.urn(resource.token, resource.name),
            olds=resource.state,
            news=checked,
            old_inputs=resource.inputs,
            ignoreChanges=ignored,
        )
        with raised():
            return self.stub.Diff(request)

    def update(
        self,
        resource: Resource,
        inputs: Mapping[str, Any],
        *,
        preview: bool = False,
        secrets: frozenset[Any] = frozenset(),
        timeout_seconds: float = 0,
    ) -> Resource:
        checked = self.checked(resource.token, inputs, resource.name, resource, secrets)
        request = provider_pb2.UpdateRequest(
            id=resource.id,
            urn=self.urn(resource.token, resource.name),
            olds=resource.state,
            news=checked,
            old_inputs=resource.inputs,
            preview=preview,
            timeout=timeout_seconds,
        )
        with raised():
            reply = self.stub.Update(request)
        return Resource(resource.token, resource.name, resource.id, checked, reply.properties)

    def read(self, resource: Resource) -> Resource | None:
        request = provider_pb2.ReadRequest(
            id=resource.id, urn=self.urn(resource.token, resource.name), properties=resource.state, inputs=resource.inputs
        )
        with raised():
            reply = self.stub.Read(request)
        return Resource(resource.token, resource.name, reply.id, reply.inputs, reply.properties) if reply.id else None

    def delete(self, resource: Resource, timeout_seconds: float = 0) -> None:
        request = provider_pb2.DeleteRequest(
            id=resource.id,
            urn=self.urn(resource.token, resource.name),
            properties=resource.state,
            old_inputs=resource.inputs,
            timeout=timeout_seconds,
        )
        with raised():
            self.stub.Delete(request)


P = TypeVar("P", bound=Plugin)


@contextmanager
def run_plugin(main: Path, environment: Mapping[str, str] | None = None, kind: type[P] = Plugin) -> Iterator[P]:  # type: ignore[assignment]
    """Starts a plugin, not configured yet. main: its `__main__.py`, or the folder of it. kind: of the client."""
    engine = NotingEngine()
    server = grpc.server(futures.ThreadPoolExecutor(4))
    engine_pb2_grpc.add_EngineServicer_to_server(engine, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    command = [sys.executable, str(main), f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, **(environment or {})})
    try:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        assert ready, "the plugin printed no port"
        with grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
            yield kind(process, provider_pb2_grpc.ResourceProviderStub(channel), engine)
    finally:
        process.terminate()
        try:
            process.wait(20)
        finally:
            process.kill()
            server.stop(None)
