"""What the cluster is asked for, as values: a service, its tracks of servers, its gateway, what is watched.

What only a release or a plan can tell (`Served`, `Pool.planned_replicas`, …) may be filled in later: the objects' metadata do
not depend on it (`manifests.outline`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from isthmus.arguments.images import ImagesSettings
from isthmus.gateway import GatewayOptions
from isthmus.limits import CLUSTER
from isthmus.names import GRPC_PORT, REST_PORT
from isthmus.platforms.kubernetes.objects.resources import Resources
from isthmus.release.fetch import FetchPlan


@dataclass(frozen=True)
class Served:
    """The release of a track.

    version: folder and number that TensorFlow Serving knows it by. prefix: of its keys in the store, behind the store's own.
    """

    version: int
    digest: str
    fetch: FetchPlan
    prefix: str = ""


@dataclass(frozen=True)
class Pool:
    """Servers of one kind.

    name: "" where there is only one kind. planned_replicas: what the plan needs, and what runs without an autoscaler;
    min_replicas, max_replicas, cpu_target_percent: of the autoscaler (percent of the CPU that a server requests).
    weight: of each server's share, where requests are balanced by weights.
    """

    name: str = ""
    planned_replicas: int = 1
    min_replicas: int = 1
    max_replicas: int = 1
    cpu_target_percent: int = 60
    weight: int = 1
    node_selector: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Track:
    """Servers of one release. name: `stable` or `canary`. serves: None until the release is known."""

    name: str
    pools: tuple[Pool, ...] = (Pool(),)
    serves: Served | None = None


@dataclass(frozen=True)
class Store:
    """Where Pods fetch releases from, and as whom (read access to the one prefix is enough).

    endpoint: URL as Pods reach it. cidrs: where Pods may connect to for it; empty: as said in `network.store_peers`.
    """

    endpoint: str
    region: str
    bucket: str
    prefix: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    cidrs: tuple[str, ...] = ()


@dataclass(frozen=True)
class GatewayPods:
    """Envoy's Pods and Service.

    options, balancing: as in `gateway.Gateway`; options.tls is set here. port, grpc_port: of the Service. node_port: of REST.
    leave_seconds: how long a Pod that goes away serves on; None: as `gateway.leave_seconds` has it.
    client_cidrs, client_namespaces: who may call it; both empty: anybody. tls: whether it speaks TLS; that must be known before
    the PEM texts tls_certificate and tls_key are.
    """

    options: GatewayOptions = field(default_factory=GatewayOptions)
    balancing: str = "least_request"
    replicas: int = 2
    resources: Resources = field(default_factory=lambda: Resources(cpu_millis=250, memory_mib=512))
    service_type: str = "ClusterIP"
    port: int = REST_PORT
    grpc_port: int = GRPC_PORT
    node_port: int | None = None
    leave_seconds: int | None = None
    service_annotations: Mapping[str, str] = field(default_factory=dict)
    client_cidrs: tuple[str, ...] = ()
    client_namespaces: tuple[str, ...] = ()
    tls: bool = False
    tls_certificate: str = field(default="", repr=False)
    tls_key: str = field(default="", repr=False)


@dataclass(frozen=True)
class Observability:
    """The objective and the plan that dashboards and alerts are held against.

    availability: share of the requests that must be answered without a server's error. latency_share: share that must be
    answered within p95_ms. operator: whether the Prometheus operator's kinds (PodMonitor, PrometheusRule) are used; else Pods
    carry scrape annotations and the rules are a file in a ConfigMap. namespaces: where Prometheus runs, for the NetworkPolicy.
    """

    p95_ms: float = 50.0
    requests_per_second: float = 1.0
    availability: float = 0.999
    latency_share: float = 0.95
    operator: bool = False
    namespaces: tuple[str, ...] = ("monitoring",)


@dataclass(frozen=True)
class KubernetesService:
    """One model served in one namespace.

    name: the service's; as a DNS label it is the prefix of every object's. owner: the stack, which every object carries; empty: none.
    model_name: as clients call it.
    server_drain_seconds: how long a server that goes away still answers: until every gateway has seen that it is gone.
    load_seconds: how long a server may take to load the model. model_volume_mib: size of the folder that the release is
    fetched to; 0: what the release needs.
    """

    name: str
    namespace: str
    model_name: str
    tracks: tuple[Track, ...]
    store: Store
    owner: str = ""
    gateway: GatewayPods = field(default_factory=GatewayPods)
    observability: Observability = field(default_factory=Observability)
    images: ImagesSettings = field(default_factory=ImagesSettings)
    resources: Resources = field(default_factory=Resources)
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    create_namespace: bool = False
    autoscale: bool = True
    scale_down_seconds: int = CLUSTER["scale_down_seconds"].default
    server_drain_seconds: int = CLUSTER["server_drain_seconds"].default
    load_seconds: int = 600
    model_volume_mib: int = 0
    priority_class: str = ""
    cluster_domain: str = "cluster.local"
