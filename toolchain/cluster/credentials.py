"""Who is who in a cluster: one table of clients and servers, and the files that they get."""

from dataclasses import dataclass

from toolchain.cluster.certificates import Authority, Pair, write_kubeconfig, write_signing_key
from toolchain.cluster.plan import DOMAIN, FIRST_SERVICE, MAIN, Folders, Node


@dataclass(frozen=True)
class Identity:
    """A pair of files `name`. kubeconfig: whether a file for a client is made of it, too."""

    name: str
    user: str
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    kubeconfig: bool = False


API_HOSTS = (
    *("kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}", "localhost"),
    *("127.0.0.1", FIRST_SERVICE, MAIN.address),
)
METRICS_HOSTS = ("metrics-server.kube-system.svc", f"metrics-server.kube-system.svc.{DOMAIN}", MAIN.address)

CLUSTER = (
    Identity("kube-apiserver", "kube-apiserver", hosts=API_HOSTS),
    Identity("kube-apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)),
    Identity("admin", "admin", ("system:masters",)),
    Identity("kube-controller-manager", "system:kube-controller-manager", kubeconfig=True),
    Identity("kube-scheduler", "system:kube-scheduler", kubeconfig=True),
    Identity("kube-proxy", "system:kube-proxy", kubeconfig=True),
    Identity("coredns", "coredns", kubeconfig=True),
    Identity("network-policies", "network-policies", kubeconfig=True),
    Identity("metrics-server", "metrics-server", hosts=METRICS_HOSTS, kubeconfig=True),
)
ETCD = (Identity("etcd", "etcd", hosts=("127.0.0.1", "localhost")), Identity("etcd-client", "kube-apiserver"))
FRONT_PROXY = (Identity("front-proxy-client", "front-proxy-client"),)


def of_node(node: Node) -> tuple[Identity, Identity]:
    """The kubelet as a client of the API server, and as a server."""
    return (
        Identity(f"kubelet-{node.name}", f"system:node:{node.name}", ("system:nodes",), kubeconfig=True),
        Identity(node.name, node.name, hosts=(node.address, node.name)),
    )


def make(folders: Folders, nodes: list[Node], server: str) -> None:
    """Makes all certificates and kubeconfig files, each secret one readable by its owner only.

    Three authorities, because each is trusted for something else: users of the API, clients of etcd, and the proxy whose word about a user
    the extension servers take.

    server: the API server's URL for the cluster's own programs.
    """
    tables = {"ca": (*CLUSTER, *(identity for node in nodes for identity in of_node(node))), "etcd-ca": ETCD, "front-proxy-ca": FRONT_PROXY}
    for name, identities in tables.items():
        authority = Authority.make(folders.pki, name)
        for identity in identities:
            pair = authority.sign(identity.name, identity.user, groups=identity.groups, hosts=identity.hosts)
            if identity.kubeconfig:
                write_kubeconfig(folders.client(identity.name), server, authority.file, pair)
    write_signing_key(folders.pki / "service-accounts.key")


def administrator(folders: Folders) -> Pair:
    """The pair of the one who may do everything."""
    return Pair(folders.pki / "admin.crt", folders.pki / "admin.key")


def write_administrator(folders: Folders, server: str) -> None:
    """The kubeconfig for the user, with the URL that reaches the API server from where the user is."""
    write_kubeconfig(folders.kubeconfig, server, folders.pki / "ca.crt", administrator(folders))
