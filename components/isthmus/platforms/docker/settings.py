"""The `docker` platform's own arguments."""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.arguments.checking import Checked, Limited, Name, Port, same_twice, two_ports
from isthmus.errors import Problem
from isthmus.limits import FIRST_PORT, HOST_CPUS, HOST_DEADLINE_SECONDS, HOST_MEMORY_MIB, SPEED
from isthmus.names import GRPC_PORT, HOST_GRPC_PORT, HOST_REST_PORT, REST_PORT


class HostArgs(TypedDict, total=False):
    """A machine with a Docker engine.

    address: of the engine, unix://… or ssh://USER@HOST. ip: where the gateway reaches the host; may be another provider's
    output. bind_ip: its own address to publish on, where a cloud translates ip. speed: in multiples of the machine that was
    measured. memory_mib, cpus: limits of a server there. rest_port, grpc_port: the first of the two ports of each kind that
    servers are published on. server_kind: of the price table; left out: the service's.
    """

    name: Input[str]
    address: Input[str]
    ip: Input[str]
    bind_ip: Input[str]
    speed: Input[float]
    memory_mib: Input[int]
    cpus: Input[float]
    rest_port: Input[int]
    grpc_port: Input[int]
    server_kind: Input[str]


class DockerArgs(TypedDict, total=False):
    """The `docker` platform's own arguments.

    hosts: one server each. gateway_host: name of the host that Envoy runs on (the first one). directory: on the hosts, where
    releases are kept. ssh_options: for ssh:// addresses. port, grpc_port: of the gateway. deadline_seconds: until when a new
    server must answer.
    """

    hosts: Input[list[HostArgs]]
    gateway_host: Input[str]
    directory: Input[str]
    ssh_options: Input[list[str]]
    port: Input[int]
    grpc_port: Input[int]
    deadline_seconds: Input[int]


class HostSettings(Checked):
    name: Name
    address: Annotated[str, Field(pattern=r"^(unix:///|ssh://).+")]
    ip: Any = "127.0.0.1"
    bind_ip: Any = None
    speed: Annotated[float, Limited(SPEED)] = SPEED.default
    memory_mib: Annotated[int, Limited(HOST_MEMORY_MIB)] | None = None
    cpus: Annotated[float, Limited(HOST_CPUS)] | None = None
    rest_port: Annotated[int, Limited(FIRST_PORT)] = HOST_REST_PORT
    grpc_port: Annotated[int, Limited(FIRST_PORT)] = HOST_GRPC_PORT
    server_kind: str | None = None


class DockerSettings(Checked):
    hosts: tuple[HostSettings, ...] = ()
    gateway_host: str | None = None
    directory: Annotated[str, Field(pattern=r"^/[^:\s]+$")] = "/var/lib/isthmus"
    ssh_options: tuple[str, ...] = ()
    port: Port = REST_PORT
    grpc_port: Port = GRPC_PORT
    deadline_seconds: Annotated[int, Limited(HOST_DEADLINE_SECONDS)] = HOST_DEADLINE_SECONDS.default

    def problems(self, path: str) -> Sequence[Problem]:
        names = [host.name for host in self.hosts]
        found = two_ports(self.port, self.grpc_port, path) + same_twice(self.hosts, lambda host: host.name, f"{path}.hosts", "hosts named")
        if self.gateway_host is not None and self.gateway_host not in names:
            found.append(Problem(f"{path}.gateway_host", f"no host is named {self.gateway_host!r}", f"one of {', '.join(names)}"))
        return found
