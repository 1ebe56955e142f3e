"""The `kubernetes` platform's own arguments."""

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

from pulumi import Input
from pydantic import Field

from isthmus.apiserver.kubeconfig import is_content
from isthmus.arguments.checking import Checked, Limited, Port, one_of, same_twice, two_ports
from isthmus.arguments.secrets import Mark
from isthmus.errors import Problem
from isthmus.limits import CLUSTER, POOL_REPLICAS, SPEED
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
    speed: Annotated[float, Limited(SPEED)] = SPEED.default
    replicas: Annotated[int, Limited(POOL_REPLICAS)] = POOL_REPLICAS.default
    node_selector: dict[str, str] = Field(default_factory=dict)
    server_kind: str | None = None


class KubernetesSettings(Checked):
    namespace: Annotated[str, Field(pattern=DNS_LABEL)] | None = None
    create_namespace: bool = False
    take_over_from: Annotated[str, Field(pattern=OWNER)] | None = None
    kubeconfig: Annotated[Any, Mark(holds=is_content)] = None  # a path is none
    context: str | None = None
    service_type: Annotated[str, one_of(SERVICE_TYPES, "type of Service")] = "ClusterIP"
    port: Port = REST_PORT
    grpc_port: Port = GRPC_PORT
    node_port: Annotated[int, Limited(CLUSTER["node_port"])] | None = None
    host: str | None = None
    gateway_replicas: Annotated[int, Limited(CLUSTER["gateway_replicas"])] = CLUSTER["gateway_replicas"].default
    cpu_millis: Annotated[int, Limited(CLUSTER["cpu_millis"])] | None = None
    memory_mib: Annotated[int, Limited(CLUSTER["memory_mib"])] | None = None
    autoscale: bool = True
    scale_down_seconds: Annotated[int, Limited(CLUSTER["scale_down_seconds"])] = CLUSTER["scale_down_seconds"].default
    pools: tuple[PoolSettings, ...] = ()
    service_monitor: Annotated[str, one_of(MONITORS, "choice")] = "auto"
    image_pull_policy: Annotated[str, one_of(PULL_POLICIES, "pull policy")] = "IfNotPresent"
    deadline_seconds: Annotated[int, Limited(CLUSTER["deadline_seconds"])] = CLUSTER["deadline_seconds"].default
    model_size_limit_mib: Annotated[int, Limited(CLUSTER["model_size_limit_mib"])] | None = None
    gateway_leave_seconds: Annotated[int, Limited(CLUSTER["gateway_leave_seconds"])] | None = None
    server_drain_seconds: Annotated[int, Limited(CLUSTER["server_drain_seconds"])] = CLUSTER["server_drain_seconds"].default

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
            found.append(Problem(f"{path}.node_port", "is missing beside host", CLUSTER["node_port"].range, "add node_port"))
        return found
