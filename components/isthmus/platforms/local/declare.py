"""What the components of one stack share on the `local` platform: a supervisor, and a store with its buckets."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi.runtime.settings import get_monitor

from isthmus import compiling, names
from isthmus.arguments.components import CloudSettings
from isthmus.arguments.gateway_options import access_of, options_of
from isthmus.digest import Digest
from isthmus.errors import Problem
from isthmus.platforms.local import desired as local
from isthmus.platforms.local.settings import LocalSettings
from isthmus.platforms.served import Served
from isthmus.repository.broker_access import derived_password
from isthmus.resources import Bucket, LocalProcesses, LocalSupervisor, LoopbackCertificate, ModelFolder, ServedVersions, StoreCredentials
from isthmus.sizing.service import ServicePlan

STORE_REGION = "us-east-1"


class LocalStack:
    """Made on first use, part by part; `of` hands out one for each directory and deployment."""

    # By what registers a deployment's resources: one process may run several programs, each with resources of its own.
    _known: ClassVar[WeakKeyDictionary[Any, dict[Path, "LocalStack"]]] = WeakKeyDictionary()

    # Fixed ports are the machine's, whatever the directory: which argument has which.
    _ports: ClassVar[WeakKeyDictionary[Any, dict[int, str]]] = WeakKeyDictionary()

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._supervisor: LocalSupervisor | None = None
        self._store: tuple[dict[str, Input[str]], LocalProcesses] | None = None
        self._buckets: dict[str, Bucket] = {}

    @classmethod
    def of(cls, directory: str | None) -> "LocalStack":
        """The shared parts for `directory` (default `.isthmus/STACK` in the project's folder)."""
        path = Path(directory or f".isthmus/{pulumi.get_stack()}").absolute()
        return cls._known.setdefault(get_monitor(), {}).setdefault(path, cls(path))

    @classmethod
    def claim(cls, ports: Mapping[str, int]) -> None:
        """Keeps fixed ports for a component. ports: argument → port; 0: any free one, which nobody has to keep.

        Raises:
            pulumi.RunError: another component of the program has one of them.
        """
        known = cls._ports.setdefault(get_monitor(), {})
        taken = [(path, port) for path, port in ports.items() if port and known.setdefault(port, path) != path]
        if taken:
            fix = "give one of them another port, or 0"
            raise compiling.run_error(
                [Problem(path, f"port {port} is {known[port]}'s already", "its own port", fix) for path, port in taken]
            )

    @property
    def _suffix(self) -> str:
        """Empty for the default directory; the folder's name for one of the user's, so that resource names differ."""
        return "" if self.directory.name == pulumi.get_stack() else f"-{self.directory.name}"

    @property
    def supervisor(self) -> LocalSupervisor:
        if self._supervisor is None:
            self._supervisor = LocalSupervisor(f"local{self._suffix}", str(self.directory))
        return self._supervisor

    @property
    def store(self) -> tuple[dict[str, Input[str]], LocalProcesses]:
        """The store's address (the credentials in it are secret) and the process that serves it."""
        if self._store is None:
            credentials = StoreCredentials(f"store-credentials{self._suffix}")
            own = LoopbackCertificate(f"store-certificate{self._suffix}")
            secrets = Output.all(credentials.access_key, credentials.secret_key, own.certificate, own.private_key)
            files = secrets.apply(lambda known: local.store_files(*known))
            server = self.processes(f"store{self._suffix}", local.store(local.STORE), apart={"files": files})
            address: dict[str, Input[str]] = {
                "endpoint": loopback_url(server.endpoints, "s3"),
                "region": STORE_REGION,
                "access_key": credentials.access_key,
                "secret_key": credentials.secret_key,
            }
            self._store = (address, server)
        return self._store

    def bucket(self, name: str) -> Bucket:
        """A bucket of the stack's own store, shared by the fleets that name it."""
        if name not in self._buckets:
            address, server = self.store
            opts = ResourceOptions(depends_on=[server], parent=server)
            self._buckets[name] = Bucket(f"bucket{self._suffix}-{name}", store=address, bucket=name, opts=opts)
        return self._buckets[name]

    def broker(self, name: str, groups: Mapping[str, Sequence[str]], parent: pulumi.Resource) -> "Groups":
        """A broker for a fleet's groups, which are lists of devices by the groups' names. name: of the component."""
        child = ResourceOptions(parent=parent)
        secret = StoreCredentials(f"{name}-groups", opts=child).secret_key
        own = LoopbackCertificate(f"{name}-broker-certificate", opts=child)
        passwords = secret.apply(
            lambda known: {
                group: {device: derived_password(known.encode(), group, device) for device in members} for group, members in groups.items()
            }
        )
        files = Output.all(passwords, own.certificate, own.private_key).apply(lambda known: local.broker_files(*known))
        spec = local.broker(names.program(name, names.BROKER))
        server = self.processes(f"{name}-{names.BROKER}", spec, apart={"files": files}, parent=parent)
        port = server.endpoints.apply(lambda found: int(found[0]["mqtt"]))
        return Groups(Output.all(port=port, certificate=own.certificate, passwords=passwords), server)

    def processes(
        self,
        name: str,
        spec: Input[local.Processes],
        *,
        apart: Mapping[str, Input[Any]] | None = None,
        parent: pulumi.Resource | None = None,
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> LocalProcesses:
        """A `LocalProcesses` under the stack's supervisor, from a value that may be known later.

        apart: inputs that replace the spec's own. They come apart from it where they are secret (all that is derived from
            a secret is one, and a command line cannot be) or known later than the rest (an unknown program is a new one).
        """
        known = Output.from_input(spec)

        def part(key: str) -> Output[Any]:
            return known.apply(lambda value: asdict(value)[key])

        inputs = {**{key: part(key) for key in (it.name for it in fields(local.Processes))}, **(apart or {})}
        opts = ResourceOptions(parent=parent or self.supervisor, depends_on=[self.supervisor, *depends_on])
        return LocalProcesses(name, supervisor=self.supervisor.directory, **inputs, opts=opts)


@dataclass(frozen=True)
class Groups:
    """A fleet's groups on this machine. told: what devices are told of the broker (secret): `port`, `certificate` (PEM), and `passwords` by
    group and device. process: the broker's."""

    told: Output[dict[str, Any]]
    process: LocalProcesses


def loopback_url(endpoints: Output[list[dict[str, int]]], port: str = "rest") -> Output[str]:
    """URL of the first replica's port of that name."""

    def url(found: list[dict[str, int]]) -> str:
        return f"http://127.0.0.1:{int(found[0][port])}"

    return endpoints.apply(url)


def serve(
    component: pulumi.Resource,
    name: str,
    model_name: str,
    *,
    args: CloudSettings,
    made: compiling.Compiling[ServicePlan],
    canary: compiling.Compiling[None] | None = None,
    path: str,
    keeps_before: bool = False,
) -> Served:
    """Replicas of the embedded server under the stack's supervisor, Envoy in front.

    keeps_before: a release comes beside those before it, without a restart, and they stay until somebody retires them.
    """
    own = args.section(LocalSettings)
    stack = LocalStack.of(own.directory)
    stack.claim({f"{name}.local.port": own.port, f"{name}.local.grpc_port": own.grpc_port})
    server = names.program(name, names.SERVER)
    find = _beside if keeps_before else _alone
    models = find(component, name, stack, made, _Served(server, model_name))
    servers = stack.processes(
        f"{name}-server",
        Output.all(models.directory, models.about, made.plan).apply(
            lambda known: local.server(server, model_name, known[0], replicas=known[2].replicas, about=known[1])
        ),
        parent=component,
        depends_on=[models.resource],
    )
    program = names.program(name, names.GATEWAY)
    gateway = stack.processes(
        f"{name}-gateway",
        local.envoy(program, model_name, port=own.port, grpc_port=own.grpc_port, options=options_of(args.gateway)),
        apart={
            "live_files": Output.all(servers.socket_paths, access_of(args.gateway, f"{path}.gateway"), made.plan).apply(
                lambda known: local.gateway_files(
                    program,
                    model_name,
                    known[0],
                    args.balancing,
                    options_of(args.gateway, known[1], device_requests=known[2].device_requests),
                )
            )
        },
        parent=component,
        depends_on=[servers],
    )
    grpc = gateway.endpoints.apply(lambda found: f"127.0.0.1:{int(found[0]['grpc'])}")
    place = {"platform": "local", "directory": str(stack.directory), "programs": [program, server]}
    parts = (models.resource, servers, gateway)
    return Served(loopback_url(gateway.endpoints), grpc, Output.from_input(place), parts, models.versions)


@dataclass(frozen=True)
class _Served:
    """Who serves a model under which name. program: the servers' under the supervisor."""

    program: str
    model_name: str


@dataclass(frozen=True)
class _Models:
    """Where servers find a model. directory: one folder for each version. about: as for `local.server`. versions: as of `Served`."""

    resource: pulumi.Resource
    directory: Output[str]
    about: Output[str]
    versions: Mapping[str, Input[str]] = field(default_factory=dict)


def _alone(component: pulumi.Resource, name: str, stack: LocalStack, made: compiling.Compiling[ServicePlan], served: _Served) -> _Models:
    """A folder of each release's own: servers start anew with another."""
    models = Path(stack.directory) / "models" / name
    folder = ModelFolder(
        f"{name}-model",
        digest=made.digest(),
        cache_directory=made.cache_directory,
        directory=made.digest().apply(lambda digest: str(models / Digest(digest).short)),
        opts=ResourceOptions(parent=component, depends_on=[stack.supervisor]),
    )
    return _Models(folder, folder.directory, Output.from_input(""))


def _beside(component: pulumi.Resource, name: str, stack: LocalStack, made: compiling.Compiling[ServicePlan], served: _Served) -> _Models:
    """One folder, in which a release comes beside those before it."""
    place: dict[str, Input[str]] = {
        "digest": made.digest(),
        "directory": str(Path(stack.directory) / "versions" / name),
        "supervisor": stack.supervisor.directory,
        "program": served.program,
        "model_name": served.model_name,
    }
    opts = ResourceOptions(parent=component, depends_on=[stack.supervisor])
    versions = ServedVersions(f"{name}-model", **place, cache_directory=made.cache_directory, opts=opts)
    return _Models(versions, versions.base, versions.about, place)
