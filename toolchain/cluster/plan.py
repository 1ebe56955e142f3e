"""What a cluster is made of, as values: addresses, folders, the programs with their arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DOMAIN = "cluster.local"
SERVICES = "10.96.0.0/16"
FIRST_SERVICE = "10.96.0.1"  # the API server's own
PODS = "10.244.0.0/16"
NODES = "10.90.0.0/24"
BRIDGE = "nodes"
API_PORT = 6443
METRICS_PORT = 4443
NAME_SERVICE = "169.254.20.10"  # where Pods ask for names: the usual address of a name server on each node, which policies can name
READY_PORT = 8181  # CoreDNS says there whether it has seen the cluster
RUN = Path("/run/isthmus")  # inside the cluster's own mounts


@dataclass(frozen=True)
class Node:
    """A node; `number` counts from 1. The first is where the control plane runs, in the cluster's own network namespace."""

    number: int

    @property
    def name(self) -> str:
        return f"node-{self.number}"

    @property
    def zone(self) -> str:
        """zone-a, zone-b …"""
        return f"zone-{'abcdefgh'[self.number - 1]}"

    @property
    def address(self) -> str:
        return f"10.90.0.{self.number}"

    @property
    def pods(self) -> str:
        """The subnet of its Pods."""
        return f"10.244.{self.number}.0/24"

    @property
    def containerd(self) -> str:
        """containerd's socket, inside the cluster's own mounts."""
        return str(RUN / self.name / "containerd.sock")

    @property
    def namespace(self) -> Path:
        """Its network namespace, for all but the first node; inside the cluster's own mounts."""
        return Path("/run/netns") / self.name


MAIN = Node(1)


@dataclass(frozen=True)
class Program:
    """A program that is kept running. node: the node it belongs to.

    on_demand: it starts only when it is told to, and is asked to end instead of being killed (see `handle.control`).
    """

    name: str
    command: Sequence[str]
    node: Node = MAIN
    environment: Mapping[str, str] = field(default_factory=dict)
    on_demand: bool = False


@dataclass(frozen=True)
class Folders:
    """Where things lie below a cluster's folder."""

    root: Path

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.root / "kubeconfig"

    @property
    def record(self) -> Path:
        return self.root / "cluster.json"

    def node(self, node: Node) -> Path:
        return self.root / node.name

    def client(self, name: str) -> Path:
        """The kubeconfig of a component."""
        return self.config / f"{name}.kubeconfig"


@dataclass(frozen=True)
class Ports:
    """Where the control plane listens. address: the API server's, for its clients on the same machine."""

    etcd: int = 2379
    etcd_peer: int = 2380
    api: int = API_PORT
    address: str = MAIN.address


def flags(**values: object) -> list[str]:
    """`a_b=1` → `--a-b=1`; True → `true`; a sequence is joined by commas."""

    def text(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

    return [f"--{name.replace('_', '-')}={text(value)}" for name, value in values.items()]


def etcd(folders: Folders, binaries: Path, ports: Ports) -> Program:
    """The store. It never waits for the disk: a test cluster does not outlive a power cut."""
    pki, client, peer = folders.pki, f"https://127.0.0.1:{ports.etcd}", f"https://127.0.0.1:{ports.etcd_peer}"
    tls = {f"{prefix}{name}": pki / file for prefix in ("", "peer_") for name, file in {
        "cert_file": "etcd.crt", "key_file": "etcd.key", "trusted_ca_file": "etcd-ca.crt"}.items()}  # fmt: skip
    arguments = flags(
        name="default", data_dir=folders.root / "etcd", unsafe_no_fsync=True, log_level="warn",
        client_cert_auth=True, peer_client_cert_auth=True, **tls,
        listen_client_urls=client, advertise_client_urls=client,
        listen_peer_urls=peer, initial_advertise_peer_urls=peer, initial_cluster=f"default={peer}",
    )  # fmt: skip
    return Program("etcd", [str(binaries / "etcd"), *arguments])


def api_server(folders: Folders, binaries: Path, ports: Ports, *, service_accounts: bool) -> Program:
    """The API server: only clients with a certificate or token, RBAC, Pod Security and quota checked.

    service_accounts: off where no controller makes the accounts that every Pod would need.
    """
    pki = folders.pki
    bind = "0.0.0.0" if ports.address != "127.0.0.1" else ports.address  # noqa: S104 inside a network namespace of its own
    arguments = flags(
        advertise_address=ports.address if ports.address != "127.0.0.1" else "10.90.0.1",
        bind_address=bind, secure_port=ports.api, service_cluster_ip_range=SERVICES,
        etcd_servers=f"https://127.0.0.1:{ports.etcd}", etcd_cafile=pki / "etcd-ca.crt",
        etcd_certfile=pki / "etcd-client.crt", etcd_keyfile=pki / "etcd-client.key",
        tls_cert_file=pki / "kube-apiserver.crt", tls_private_key_file=pki / "kube-apiserver.key",
        anonymous_auth=False, authorization_mode=("Node", "RBAC"), client_ca_file=pki / "ca.crt",
        enable_admission_plugins=("NodeRestriction", "PodSecurity", "ResourceQuota", "LimitRanger"),
        kubelet_client_certificate=pki / "kube-apiserver-kubelet-client.crt",
        kubelet_client_key=pki / "kube-apiserver-kubelet-client.key",
        kubelet_certificate_authority=pki / "ca.crt", kubelet_preferred_address_types="InternalIP",
        service_account_issuer=f"https://kubernetes.default.svc.{DOMAIN}",
        service_account_key_file=pki / "service-accounts.key.pub", service_account_signing_key_file=pki / "service-accounts.key",
        requestheader_client_ca_file=pki / "front-proxy-ca.crt", requestheader_allowed_names="front-proxy-client",
        requestheader_username_headers="X-Remote-User", requestheader_group_headers="X-Remote-Group",
        requestheader_extra_headers_prefix="X-Remote-Extra-",
        proxy_client_cert_file=pki / "front-proxy-client.crt", proxy_client_key_file=pki / "front-proxy-client.key",
        enable_aggregator_routing=True, profiling=False,
    )  # fmt: skip
    if not service_accounts:
        arguments += flags(disable_admission_plugins="ServiceAccount", endpoint_reconciler_type="none")
    return Program("kube-apiserver", [str(binaries / "kube-apiserver"), *arguments])


def controllers(folders: Folders, binaries: Path, *, port: int = 10257) -> Program:
    """The controllers. The autoscaler looks often. Its cpu-initialization-period stays at five minutes: a shorter one counts what a
    server burns while it starts, and the autoscaler then adds servers that the load does not need."""
    client = folders.client("kube-controller-manager")
    arguments = flags(
        kubeconfig=client, authentication_kubeconfig=client, authorization_kubeconfig=client,
        bind_address="127.0.0.1", secure_port=port, leader_elect=False, profiling=False,
        root_ca_file=folders.pki / "ca.crt", service_account_private_key_file=folders.pki / "service-accounts.key",
        use_service_account_credentials=True, cluster_cidr=PODS, allocate_node_cidrs=False,
        horizontal_pod_autoscaler_sync_period="5s", horizontal_pod_autoscaler_initial_readiness_delay="5s",
    )  # fmt: skip
    return Program("kube-controller-manager", [str(binaries / "kube-controller-manager"), *arguments])


def scheduler(folders: Folders, binaries: Path) -> Program:
    """The scheduler."""
    client = folders.client("kube-scheduler")
    arguments = flags(
        kubeconfig=client, authentication_kubeconfig=client, authorization_kubeconfig=client,
        bind_address="127.0.0.1", leader_elect=False, profiling=False,
    )  # fmt: skip
    return Program("kube-scheduler", [str(binaries / "kube-scheduler"), *arguments])


def add_ons(folders: Folders, binaries: Path) -> list[Program]:
    """CoreDNS and metrics-server, as processes on the first node's address instead of Pods: they need no images."""
    client, pki = folders.client("metrics-server"), folders.pki
    metrics = flags(
        kubeconfig=client, authentication_kubeconfig=client, authorization_kubeconfig=client,
        bind_address=MAIN.address, secure_port=METRICS_PORT, metric_resolution="10s", kubelet_request_timeout="8s",
        tls_cert_file=pki / "metrics-server.crt", tls_private_key_file=pki / "metrics-server.key",
        kubelet_preferred_address_types="InternalIP", kubelet_certificate_authority=pki / "ca.crt",
    )  # fmt: skip
    return [
        Program("coredns", [str(binaries / "coredns"), "-conf", str(folders.config / "Corefile")]),
        Program("metrics-server", [str(binaries / "metrics-server"), *metrics]),
    ]


def node_programs(folders: Folders, binaries: Path, node: Node) -> list[Program]:
    """What runs on every node."""
    config = folders.config
    kubelet = flags(
        config=config / f"kubelet-{node.name}.yaml", kubeconfig=folders.client(f"kubelet-{node.name}"),
        hostname_override=node.name, node_ip=node.address, root_dir=folders.node(node) / "kubelet",
        node_labels=f"topology.kubernetes.io/zone={node.zone}",
    )  # fmt: skip
    return [
        Program(f"containerd-{node.name}", ["containerd", "--config", str(config / f"containerd-{node.name}.toml")], node),
        Program(f"kubelet-{node.name}", [str(binaries / "kubelet"), *kubelet], node),
        Program(f"kube-proxy-{node.name}", [str(binaries / "kube-proxy"), f"--config={config / f'kube-proxy-{node.name}.yaml'}"], node),
        policy_engine(folders, binaries, node),
    ]


def policy_engine(folders: Folders, binaries: Path, node: Node) -> Program:
    """Enforces NetworkPolicies. On demand: it is a little behind new Pods, which would cost requests where none may be lost."""
    arguments = flags(kubeconfig=folders.client("network-policies"), hostname_override=node.name, service_cluster_ip_range=SERVICES)
    return Program(f"network-policies-{node.name}", [str(binaries / "network-policies"), *arguments], node, on_demand=True)
