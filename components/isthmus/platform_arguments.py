"""The arguments of the platforms, of the gateway and of a canary: what a program writes (TypedDict), and the checked models.

As in `isthmus.arguments`, TypedDicts keep to what Pulumi's component analyzer can read. Values that may be secret, or Outputs
of other resources, are `Any` in the checked models, so that no message ever shows them.
"""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.checking import Checked, Name, Port, Positive, RecipeText, Seconds, one_of, same_twice
from isthmus.errors import Problem
from isthmus.platforms.images import Images as DefaultImages

SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer")
PULL_POLICIES = ("IfNotPresent", "Always", "Never")
ANSWERS = ("classes", "values")
MONITORS = ("auto", "always", "never")
DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class LocalArgs(TypedDict, total=False):
    """The `local` platform's own arguments.

    port, grpc_port: of the gateway, on loopback; 0: any free one. directory: where run-time data is kept.
    """

    port: Input[int]
    grpc_port: Input[int]
    directory: Input[str]


class PoolArgs(TypedDict, total=False):
    """Servers of one kind in the cluster: `replicas` of them, `speed` times as fast as the machine that was measured.

    server_kind: of the price table; left out: the service's.
    """

    name: Input[str]
    speed: Input[float]
    replicas: Input[int]
    node_selector: Input[dict[str, str]]
    server_kind: Input[str]


class KubernetesArgs(TypedDict, total=False):
    """The `kubernetes` platform's own arguments.

    namespace: an existing one; left out: one of the service's own name is made. kubeconfig: a file's path or its content; left
    out: as kubectl finds it. context: of it. service_type, port, grpc_port, node_port: of the gateway's Service. host: where
    clients outside of the cluster find it: a node, or a name for the load balancer.
    gateway_replicas: Envoys. cpu_millis, memory_mib: what a server asks for and may use. autoscale: whether a
    HorizontalPodAutoscaler sets the replicas between min_replicas and max_replicas. scale_down_seconds: its stabilisation.
    pools: servers of unequal speed, instead of one kind. service_monitor: auto (where the cluster knows ServiceMonitors),
    always, never. deadline_seconds: until when Pods must be ready. model_size_limit_mib: of the folder a model is fetched to.
    gateway_leave_seconds: how long a gateway that goes away serves on; left out: as long as no request is lost, from the
    gateway's timeout_seconds. server_drain_seconds: how long a server that goes away still answers.
    """

    namespace: Input[str]
    kubeconfig: Input[str]
    context: Input[str]
    service_type: Input[str]
    port: Input[int]
    grpc_port: Input[int]
    node_port: Input[int]
    host: Input[str]
    gateway_replicas: Input[int]
    cpu_millis: Input[int]
    memory_mib: Input[int]
    autoscale: Input[bool]
    scale_down_seconds: Input[int]
    pools: Input[list[PoolArgs]]
    service_monitor: Input[str]
    image_pull_policy: Input[str]
    deadline_seconds: Input[int]
    model_size_limit_mib: Input[int]
    gateway_leave_seconds: Input[int]
    server_drain_seconds: Input[int]


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


class ImagesArgs(TypedDict, total=False):
    """Container images: the model server, the gateway (Envoy), and curl that fetches a release."""

    serving: Input[str]
    gateway: Input[str]
    fetch: Input[str]


class GatewayArgs(TypedDict, total=False):
    """What the gateway lets through.

    timeout_seconds: for one request. max_request_mib: larger ones are refused. api_keys: client → key (secret); one of them
    must come as x-api-key. jwt_issuer, jwt_audiences, jwks: tokens that are accepted, with the issuer's keys as JSON.
    requests_per_second_per_client, burst_per_client: beyond that a client gets 429. tls_certificate, tls_key: PEM (secret).
    """

    timeout_seconds: Input[float]
    max_request_mib: Input[float]
    api_keys: Input[dict[str, str]]
    jwt_issuer: Input[str]
    jwt_audiences: Input[list[str]]
    jwks: Input[str]
    requests_per_second_per_client: Input[float]
    burst_per_client: Input[int]
    tls_certificate: Input[str]
    tls_key: Input[str]


class CanaryArgs(TypedDict, total=False):
    """Another release, served beside the stable one. Its version must be another one; what is left out is as for the stable one."""

    model: Input[str]
    recipe: Input[Any]
    version: Input[int]
    evaluation: Input[str]
    min_accuracy: Input[float]


class CanaryGateArgs(TypedDict, total=False):
    """When a canary is promoted.

    min_requests: that each side must have answered. max_error_percent, max_p95_ms: of the canary. max_p95_ratio: to the stable
    release's p95. max_drift_percent: of the probes, answered differently than by the stable release. answers: `classes` or
    `values`, how they are compared. deadline_seconds: no verdict by then is a failure.
    """

    min_requests: Input[int]
    max_error_percent: Input[float]
    max_p95_ms: Input[float]
    max_p95_ratio: Input[float]
    answers: Input[str]
    max_drift_percent: Input[float]
    interval_seconds: Input[float]
    deadline_seconds: Input[int]


class Local(Checked):
    port: Port = 0
    grpc_port: Port = 0
    directory: str | None = None

    def problems(self, path: str) -> Sequence[Problem]:
        return _two_ports(self.port, self.grpc_port, path)


def _two_ports(port: int, grpc_port: int, path: str) -> list[Problem]:
    return [Problem(f"{path}.grpc_port", f"{port} is also `port`", "two different ports")] if port and port == grpc_port else []


class Pool(Checked):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$")]
    speed: Positive = 1.0
    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    node_selector: dict[str, str] = Field(default_factory=dict)
    server_kind: str | None = None


class Kubernetes(Checked):
    namespace: Annotated[str, Field(pattern=DNS_LABEL)] | None = None
    kubeconfig: Any = None
    context: str | None = None
    service_type: Annotated[str, one_of(SERVICE_TYPES, "type of Service")] = "ClusterIP"
    port: Annotated[int, Field(ge=1, le=65535)] = 8501
    grpc_port: Annotated[int, Field(ge=1, le=65535)] = 8500
    node_port: Annotated[int, Field(ge=30000, le=32767)] | None = None
    host: str | None = None
    gateway_replicas: Annotated[int, Field(ge=1, le=100)] = 2
    cpu_millis: Annotated[int, Field(ge=10, le=512_000)] | None = None
    memory_mib: Annotated[int, Field(ge=64, le=4_194_304)] | None = None
    autoscale: bool = True
    scale_down_seconds: Annotated[int, Field(ge=0, le=3600)] = 300
    pools: tuple[Pool, ...] = ()
    service_monitor: Annotated[str, one_of(MONITORS, "choice")] = "auto"
    image_pull_policy: Annotated[str, one_of(PULL_POLICIES, "pull policy")] = "IfNotPresent"
    deadline_seconds: Seconds = 600
    model_size_limit_mib: Annotated[int, Field(ge=1, le=1_048_576)] | None = None
    gateway_leave_seconds: Annotated[int, Field(ge=1, le=7200)] | None = None
    server_drain_seconds: Annotated[int, Field(ge=1, le=3600)] = 15

    def problems(self, path: str) -> Sequence[Problem]:
        found = _two_ports(self.port, self.grpc_port, path) + same_twice(self.pools, lambda pool: pool.name, f"{path}.pools", "pools named")
        if self.pools and self.autoscale and "autoscale" in self.model_fields_set:
            found.append(
                Problem(
                    f"{path}.autoscale",
                    "pools of unequal speed have the replicas that you give them: their weights hold for these alone",
                    "false, or no pools",
                    "set autoscale: false",
                )
            )
        if self.node_port and self.service_type == "ClusterIP":
            found.append(Problem(f"{path}.node_port", "a ClusterIP has no node port", fix="set service_type: NodePort"))
        if self.service_type == "NodePort" and self.host and not self.node_port:
            found.append(Problem(f"{path}.node_port", "is missing beside host", "30000 to 32767", "add node_port"))
        return found


class Host(Checked):
    name: Name
    address: Annotated[str, Field(pattern=r"^(unix:///|ssh://).+")]
    ip: Any = "127.0.0.1"
    bind_ip: Any = None
    speed: Positive = 1.0
    memory_mib: Annotated[int, Field(ge=64)] | None = None
    cpus: Positive | None = None
    rest_port: Annotated[int, Field(ge=1, le=65534)] = 8511
    grpc_port: Annotated[int, Field(ge=1, le=65534)] = 8521
    server_kind: str | None = None


class Docker(Checked):
    hosts: tuple[Host, ...] = ()
    gateway_host: str | None = None
    directory: Annotated[str, Field(pattern=r"^/[^:\s]+$")] = "/var/lib/isthmus"
    ssh_options: tuple[str, ...] = ()
    port: Annotated[int, Field(ge=1, le=65535)] = 8501
    grpc_port: Annotated[int, Field(ge=1, le=65535)] = 8500
    deadline_seconds: Seconds = 300

    def problems(self, path: str) -> Sequence[Problem]:
        names = [host.name for host in self.hosts]
        found = _two_ports(self.port, self.grpc_port, path) + same_twice(self.hosts, lambda host: host.name, f"{path}.hosts", "hosts named")
        if self.gateway_host is not None and self.gateway_host not in names:
            found.append(Problem(f"{path}.gateway_host", f"no host is named {self.gateway_host!r}", f"one of {', '.join(names)}"))
        return found


class Images(Checked):
    serving: Annotated[str, Field(min_length=1)] = DefaultImages().serving
    gateway: Annotated[str, Field(min_length=1)] = DefaultImages().gateway
    fetch: Annotated[str, Field(min_length=1)] = DefaultImages().fetch


class Gateway(Checked):
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0
    max_request_mib: Annotated[float, Field(gt=0, le=1024)] = 64.0
    api_keys: dict[str, Any] = Field(default_factory=dict)
    jwt_issuer: str | None = None
    jwt_audiences: tuple[str, ...] = ()
    jwks: Any = None
    requests_per_second_per_client: Positive | None = None
    burst_per_client: Annotated[int, Field(ge=1)] | None = None
    tls_certificate: Any = None
    tls_key: Any = None

    def problems(self, path: str) -> Sequence[Problem]:
        together = [("jwt_issuer", "jwks"), ("tls_certificate", "tls_key")]
        found = [
            Problem(f"{path}.{missing}", f"is missing beside {given}", "both or neither", f"add {missing}")
            for one, other in together
            for given, missing in ((one, other), (other, one))
            if getattr(self, given) is not None and getattr(self, missing) is None
        ]
        if self.burst_per_client and self.requests_per_second_per_client is None:
            found.append(
                Problem(f"{path}.burst_per_client", "there is no limit to burst over", fix="add requests_per_second_per_client beside it")
            )
        return found


class Canary(Checked):
    """model and recipe None: as for the stable release."""

    model: Annotated[str, Field(min_length=1)] | None = None
    recipe: RecipeText | None = None
    version: Annotated[int, Field(ge=1, lt=2**31)]
    evaluation: str | None = None
    min_accuracy: Annotated[float, Field(ge=0, le=1)] | None = None


class CanaryGate(Checked):
    min_requests: Annotated[int, Field(ge=1)] = 200
    max_error_percent: Annotated[float, Field(ge=0, le=100)] = 1.0
    max_p95_ms: Positive | None = None
    max_p95_ratio: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.5
    answers: Annotated[str, one_of(ANSWERS, "comparison")] = "classes"
    max_drift_percent: Annotated[float, Field(ge=0, le=100)] = 5.0
    interval_seconds: Positive = 2.0
    deadline_seconds: Seconds = 600
