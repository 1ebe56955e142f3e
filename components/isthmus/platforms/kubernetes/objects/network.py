"""Services, and who may talk to whom.

A NetworkPolicy holds for a whole Pod: it cannot tell the init container, which alone needs the store, from the server. So the
servers' Pods may connect to the store for as long as they live, and to nothing else but the name service.
"""

import ipaddress
from urllib.parse import urlsplit

from isthmus.names import GATEWAY, GRPC_PORT, REST_PORT, SERVER, STATUS_PORT
from isthmus.platforms.kubernetes.objects.naming import Json, manifest, named, pool_labels, selector, servers_name
from isthmus.platforms.kubernetes.objects.spec import KubernetesService, Pool, Track

NAME_SERVICE_PORT = 53
NAME_SERVICE_NAMESPACE = "kube-system"
NODE_LOCAL_NAME_SERVICE = "169.254.20.10/32"
"""Where the cluster's NodeLocal DNSCache listens, if it has one."""
METADATA_SERVICE = "169.254.169.254/32"
"""Where clouds hand credentials of the node to whoever asks."""
_DEFAULT_PORTS = {"http": 80, "https": 443}


def gateway_service(service: KubernetesService) -> Json:
    """The address that clients know."""
    pods = service.gateway
    node_port = {"nodePort": pods.node_port} if pods.node_port else {}
    found = manifest(
        service,
        "v1",
        "Service",
        named(service),
        GATEWAY,
        spec={
            "type": pods.service_type,
            "selector": selector(service, GATEWAY),
            "ports": [
                {"name": "rest", "port": pods.port, "targetPort": "rest", "protocol": "TCP", "appProtocol": "http", **node_port},
                {"name": "grpc", "port": pods.grpc_port, "targetPort": "grpc", "protocol": "TCP", "appProtocol": "kubernetes.io/h2c"},
            ],
        },
    )
    if pods.tls:
        for port in found["spec"]["ports"]:
            port["appProtocol"] = "https"
    if pods.service_annotations:
        found["metadata"]["annotations"] = {**dict(pods.service_annotations), **found["metadata"].get("annotations", {})}
    return found


def servers_service(service: KubernetesService, track: Track, pool: Pool) -> Json:
    """A name whose addresses are the ready servers of one pool: the gateway balances itself, and needs to know each of them."""
    found = manifest(
        service,
        "v1",
        "Service",
        servers_name(service, track, pool),
        SERVER,
        spec={
            "clusterIP": "None",
            "selector": {**selector(service, SERVER), **pool_labels(track, pool)},
            "ports": [
                {"name": "rest", "port": REST_PORT, "targetPort": "rest", "protocol": "TCP"},
                {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc", "protocol": "TCP"},
            ],
        },
    )
    found["metadata"]["labels"].update(pool_labels(track, pool))
    return found


def default_deny(service: KubernetesService) -> Json:
    """No Pod of the service may be talked to, or talk, but as the other policies say."""
    spec = {"podSelector": {"matchLabels": selector(service)}, "policyTypes": ["Ingress", "Egress"]}
    return manifest(service, "networking.k8s.io/v1", "NetworkPolicy", named(service, "default-deny"), spec=spec)


def gateway_policy(service: KubernetesService) -> Json:
    """Clients and monitoring → gateways → servers.

    The status port is open to all: canaries are judged through the API server, whose address no selector can name, and there is
    nothing on it but metrics and the split.
    """
    pods = service.gateway
    clients = [_block(cidr) for cidr in pods.client_cidrs] + _namespaces(pods.client_namespaces)
    ingress: list[Json] = [
        {"ports": _ports(REST_PORT, GRPC_PORT), **({"from": clients} if clients else {})},
        {"ports": _ports(STATUS_PORT)},
    ]
    egress = [{"to": [_pods(service, SERVER)], "ports": _ports(REST_PORT, GRPC_PORT)}, _name_service()]
    return _policy(service, GATEWAY, ingress, egress)


def servers_policy(service: KubernetesService) -> Json:
    """Gateways and monitoring → servers → store. (TensorFlow Serving has its metrics on the port that it predicts on.)"""
    ingress: list[Json] = [{"from": [_pods(service, GATEWAY)], "ports": _ports(REST_PORT, GRPC_PORT)}]
    if monitoring := _namespaces(service.observability.namespaces):
        ingress.append({"from": monitoring, "ports": _ports(REST_PORT)})
    return _policy(service, SERVER, ingress, [_store(service), _name_service()], name="servers")


def store_peers(service: KubernetesService) -> list[Json]:
    """Where the store may be: the given CIDRs, else what its endpoint says: an address, a Service of the cluster (then its
    namespace), or any other name (then everywhere but the cloud's metadata service, since a policy cannot name a host)."""
    if service.store.cidrs:
        return [_block(cidr) for cidr in service.store.cidrs]
    host = urlsplit(service.store.endpoint).hostname or ""
    try:
        return [_block(str(ipaddress.ip_network(host)))]
    except ValueError:
        pass
    labels = host.removesuffix(".").split(".")
    if labels[2:3] == ["svc"]:
        return _namespaces((labels[1],))
    return [{"ipBlock": {"cidr": "0.0.0.0/0", "except": [METADATA_SERVICE]}}, {"ipBlock": {"cidr": "::/0"}}]


def _store(service: KubernetesService) -> Json:
    peers = store_peers(service)
    address = urlsplit(service.store.endpoint)
    port = address.port or _DEFAULT_PORTS.get(address.scheme, 443)
    # Policies see the Pods' own ports, and a Service may have others than its Pods.
    return {"to": peers} if "namespaceSelector" in peers[0] else {"to": peers, "ports": _ports(port)}


def _name_service() -> Json:
    peers = [*_namespaces((NAME_SERVICE_NAMESPACE,)), _block(NODE_LOCAL_NAME_SERVICE)]
    return {"to": peers, "ports": [{"port": NAME_SERVICE_PORT, "protocol": protocol} for protocol in ("UDP", "TCP")]}


def _policy(service: KubernetesService, component: str, ingress: list[Json], egress: list[Json], *, name: str = "") -> Json:
    return manifest(
        service,
        "networking.k8s.io/v1",
        "NetworkPolicy",
        named(service, name or component),
        component,
        spec={
            "podSelector": {"matchLabels": selector(service, component)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    )


def _block(cidr: str) -> Json:
    return {"ipBlock": {"cidr": cidr}}


def _namespaces(names: tuple[str, ...]) -> list[Json]:
    return [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}} for name in names]


def _pods(service: KubernetesService, component: str) -> Json:
    return {"podSelector": {"matchLabels": selector(service, component)}}


def _ports(*ports: int) -> list[Json]:
    return [{"port": port, "protocol": "TCP"} for port in ports]
