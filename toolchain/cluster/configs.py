"""The configuration files of the nodes' programs, and the objects that the cluster itself needs; pure functions to texts."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

from toolchain.cluster.build import PAUSE_IMAGE
from toolchain.cluster.plan import DOMAIN, MAIN, METRICS_PORT, NAME_SERVICE, NODES, PODS, READY_PORT, RUN, Folders, Node

Manifest = dict[str, Any]

CONTAINERD = """version = 2
root = "{data}/root"
state = "{run}/state"
temp = "{data}/temp"
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
disable_apparmor = true
# The score can't be lowered where the machine withholds CAP_SYS_RESOURCE.
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{network}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"""

COREFILE = """.:53 {{
    bind {address} {pods}
    errors
    ready {address}:{port}
    kubernetes {domain} in-addr.arpa {{
        kubeconfig "{kubeconfig}"
        ttl 5
    }}
    cache 5
}}
"""


def node_files(folders: Folders, packages: Path, node: Node, cgroup: str) -> dict[Path, str]:
    """Path → content of what the programs of a node read."""
    network = folders.config / f"cni-{node.name}"
    containerd = CONTAINERD.format(
        data=folders.node(node) / "containerd",
        run=RUN / node.name,
        socket=node.containerd,
        pause=PAUSE_IMAGE,
        plugins=packages / "usr/lib/cni",
        network=network,
    )
    return {
        folders.config / f"containerd-{node.name}.toml": containerd,
        network / "10-pods.conflist": _json(_network(node)),
        folders.config / f"kubelet-{node.name}.yaml": _json(_kubelet(folders, node, cgroup)),
        folders.config / f"kube-proxy-{node.name}.yaml": _json(_proxy(folders, node)),
    }


def shared_files(folders: Folders) -> dict[Path, str]:
    """Path → content of what the programs of the control plane read."""
    corefile = COREFILE.format(
        address=MAIN.address, pods=NAME_SERVICE, port=READY_PORT, domain=DOMAIN, kubeconfig=folders.client("coredns")
    )
    return {
        folders.config / "Corefile": corefile,
        # Names outside the cluster are nobody's: the cluster has no way out.
        folders.config / "resolv.conf": f"nameserver {MAIN.address}\n",
        folders.config / "objects.json": _json({"apiVersion": "v1", "kind": "List", "items": objects(folders.pki / "ca.crt")}),
    }


def objects(authority: Path) -> list[Manifest]:
    """What CoreDNS, the policy engine and metrics-server may do, and where the API server finds the latter."""
    watch, metrics, engine = ["list", "watch"], "metrics-server", "network-policies"
    core = ["endpoints", "services", "pods", "namespaces"]
    aggregated = {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")}
    return [
        _role("coredns", [_rule(core, watch), _rule(["endpointslices"], watch, "discovery.k8s.io")]),
        _binding("coredns", "coredns"),
        _role(engine, [
            _rule(["pods", "namespaces"], watch), _rule(["nodes"], ["get"]), _rule(["networkpolicies"], watch, "networking.k8s.io"),
        ]),
        _binding(engine, engine),
        _role(metrics, [_rule(["nodes/metrics"], ["get"]), _rule(["pods", "nodes"], ["get", *watch])]),
        _binding(metrics, metrics),
        _binding(f"{metrics}-delegates", metrics, role="system:auth-delegator"),
        {
            **_binding(f"{metrics}-reads-authentication", metrics, role="extension-apiserver-authentication-reader", kind="Role"),
            "kind": "RoleBinding",
            "metadata": {"name": f"{metrics}-reads-authentication", "namespace": "kube-system"},
        },
        _role("metrics-reader", [_rule(["pods", "nodes"], ["get", "list"], "metrics.k8s.io")], aggregated),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": metrics, "namespace": "kube-system"},
            "spec": {"ports": [{"name": "https", "port": 443, "targetPort": METRICS_PORT}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": metrics, "namespace": "kube-system", "labels": {"kubernetes.io/service-name": metrics}},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": METRICS_PORT, "protocol": "TCP"}],
            "endpoints": [{"addresses": [MAIN.address], "conditions": {"ready": True}}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1beta1.metrics.k8s.io"},
            "spec": {
                "service": {"name": metrics, "namespace": "kube-system"},
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": b64encode(authority.read_bytes()).decode("ascii"),
            },
        },
    ]  # fmt: skip


def _json(value: object) -> str:
    return json.dumps(value, indent=1)


def _rule(resources: list[str], verbs: list[str], group: str = "") -> Manifest:
    return {"apiGroups": [group], "resources": resources, "verbs": verbs}


def _role(name: str, rules: list[Manifest], labels: dict[str, str] | None = None) -> Manifest:
    metadata = {"name": f"isthmus:{name}", "labels": labels or {}}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, "rules": rules}


def _binding(name: str, user: str, *, role: str = "", kind: str = "ClusterRole") -> Manifest:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"isthmus:{name}"},
        "roleRef": {"apiGroup": group, "kind": kind, "name": role or f"isthmus:{name}"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }


def _network(node: Node) -> Manifest:
    # Point to point: every packet of a Pod is routed by its node, so that kube-proxy's rules see it.
    pods = {
        "type": "ptp",
        "mtu": 1500,
        "ipam": {
            "type": "host-local",
            "dataDir": str(RUN / node.name / "addresses"),
            "ranges": [[{"subnet": node.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [pods]}


def _kubelet(folders: Folders, node: Node, cgroup: str) -> Manifest:
    data, pki = folders.node(node), folders.pki
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / f"{node.name}.crt"),
        "tlsPrivateKeyFile": str(pki / f"{node.name}.key"),
        "containerRuntimeEndpoint": f"unix://{node.containerd}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}/{node.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "clusterDNS": [NAME_SERVICE],
        "clusterDomain": DOMAIN,
        "resolvConf": str(folders.config / "resolv.conf"),
        "podLogsDir": str(data / "pods"),
        "volumePluginDir": str(data / "volume-plugins"),
        "syncFrequency": "10s",
        "nodeStatusUpdateFrequency": "5s",
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        # Images were loaded by hand and can't be pulled again; and a test machine's disk may be rather full.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%"},
    }


def _proxy(folders: Folders, node: Node) -> Manifest:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": node.name,
        "clusterCIDR": PODS,
        "clientConnection": {"kubeconfig": str(folders.client("kube-proxy"))},
        "bindAddress": node.address,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "nodePortAddresses": [NODES],
        # The kernel keeps these for the whole machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"localhostNodePorts": False, "minSyncPeriod": "0s"},
        "oomScoreAdj": 0,
    }
