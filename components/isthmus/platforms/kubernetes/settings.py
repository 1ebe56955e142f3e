"""The `kubernetes` platform's own arguments."""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.apiserver.kubeconfig import is_content
from isthmus.arguments.checking import Checked, Positive, Seconds, one_of, same_twice, two_ports
from isthmus.arguments.secrets import Mark
from isthmus.errors import Problem
from isthmus.names import GRPC_PORT, REST_PORT

SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer")


PULL_POLICIES = ("IfNotPresent", "Always", "Never")


MONITORS = ("auto", "always", "never")


OWNER = r"^(unmarked|[^/\s]+/[^/\s]+/[^/\s]+)$"
DNS_LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


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

    namespace: an existing one, which is used as it is and stays; left out: one is made for the service, NAME-STACK.
    create_namespace: whether the one that is named is made, and goes with the service. take_over_from: the owner (organisation/
    project/stack) whose objects may become this stack's; `unmarked`: those without an owner. kubeconfig: a file's path or its content; left
    out: as kubectl finds it. context: of it. service_type, port, grpc_port, node_port: of the gateway's Service. host: where
    clients outside of the cluster find it: a node, or a name for the load balancer.
    gateway_replicas: Envoys. cpu_millis, memory_mib: what a server asks for and may use. autoscale: whether a
    HorizontalPodAutoscaler sets the replicas between min_replicas and max_replicas. scale_down_seconds: its stabilisation.
    pools: servers of unequal speed, instead of one kind. service_monitor: auto (PodMonitors where the cluster knows them),
    always, never. deadline_seconds: until when Pods must be ready. model_size_limit_mib: of the folder a model is fetched to.
    gateway_leave_seconds: how long a gateway that goes away serves on; left out: as long as no request is lost, from the
    gateway's timeout_seconds. server_drain_seconds: how long a server that goes away still answers.
    """

    namespace: Input[str]
    create_namespace: Input[bool]
    take_over_from: Input[str]
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


class PoolSettings(Checked):
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?$")]
    speed: Positive = 1.0
    replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    node_selector: dict[str, str] = Field(default_factory=dict)
    server_kind: str | None = None


class KubernetesSettings(Checked):
    namespace: Annotated[str, Field(pattern=DNS_LABEL)] | None = None
    create_namespace: bool = False
    take_over_from: Annotated[str, Field(pattern=OWNER)] | None = None
    kubeconfig: Annotated[Any, Mark(holds=is_content)] = None  # a path is none
    context: str | None = None
    service_type: Annotated[str, one_of(SERVICE_TYPES, "type of Service")] = "ClusterIP"
    port: Annotated[int, Field(ge=1, le=65535)] = REST_PORT
    grpc_port: Annotated[int, Field(ge=1, le=65535)] = GRPC_PORT
    node_port: Annotated[int, Field(ge=30000, le=32767)] | None = None
    host: str | None = None
    gateway_replicas: Annotated[int, Field(ge=1, le=100)] = 2
    cpu_millis: Annotated[int, Field(ge=10, le=512_000)] | None = None
    memory_mib: Annotated[int, Field(ge=64, le=4_194_304)] | None = None
    autoscale: bool = True
    scale_down_seconds: Annotated[int, Field(ge=0, le=3600)] = 300
    pools: tuple[PoolSettings, ...] = ()
    service_monitor: Annotated[str, one_of(MONITORS, "choice")] = "auto"
    image_pull_policy: Annotated[str, one_of(PULL_POLICIES, "pull policy")] = "IfNotPresent"
    deadline_seconds: Seconds = 600
    model_size_limit_mib: Annotated[int, Field(ge=1, le=1_048_576)] | None = None
    gateway_leave_seconds: Annotated[int, Field(ge=1, le=7200)] | None = None
    server_drain_seconds: Annotated[int, Field(ge=1, le=3600)] = 15

    def problems(self, path: str) -> Sequence[Problem]:
        found = two_ports(self.port, self.grpc_port, path) + same_twice(self.pools, lambda pool: pool.name, f"{path}.pools", "pools named")
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
