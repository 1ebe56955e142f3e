"""What all Pods of a service have in common: who they run as, where they are put, what a container may do."""

from isthmus.platforms.kubernetes.objects.naming import Json, named
from isthmus.platforms.kubernetes.objects.resources import Resources, mebibytes, millis
from isthmus.platforms.kubernetes.objects.spec import KubernetesService

USER = 65532
"""Nobody in particular: the number that distroless images use, and above those that hosts give to people."""
LOG_MIB = 64
"""Of the node's disk, for what a container writes to its log and to /tmp."""
SECRET_MODE = 0o440


def container(
    service: KubernetesService, name: str, image: str, resources: Resources, *, disk_mib: int = LOG_MIB, **fields: object
) -> Json:
    """A container that can change nothing but its volumes. disk_mib: of the node's disk, with what it writes to emptyDirs."""
    memory, disk = mebibytes(resources.memory_mib), mebibytes(disk_mib)
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": service.image_pull_policy,
        "resources": {
            "requests": {"cpu": millis(resources.cpu_millis), "memory": memory, "ephemeral-storage": disk},
            "limits": {"memory": memory, "ephemeral-storage": disk},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # What a container writes last is what `kubectl describe`, and the message of a failed update, show.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **fields,
    }


def pod(service: KubernetesService, pod_selector: dict[str, str], *, grace_seconds: int, **fields: object) -> Json:
    """A Pod's spec. pod_selector: its Deployment's; its Pods are spread over zones and nodes. fields: containers, volumes, …"""
    return {
        "serviceAccountName": named(service),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # A preference and no condition: a cluster of one node, or with a full zone, still gets all of them. By the hash of the
        # template each rollout spreads its own Pods, whatever the old ones leave room for.
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": pod_selector},
                "matchLabelKeys": ["pod-template-hash"],
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        # Names inside the cluster have four dots: with the usual five, each lookup would first try every search domain.
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
        **({"priorityClassName": service.priority_class} if service.priority_class else {}),
        **fields,
    }


def sleep_before_stop(seconds: int) -> Json:
    """The kubelet waits so long before it sends SIGTERM; meanwhile everybody learns that the Pod goes."""
    return {"preStop": {"sleep": {"seconds": seconds}}}


def empty_dir(name: str, size_mib: int) -> Json:
    """A folder on the node's disk that lives as long as the Pod. A Pod that writes more is evicted."""
    return {"name": name, "emptyDir": {"sizeLimit": mebibytes(size_mib)}}


def rolling(service: KubernetesService, **spec: object) -> Json:
    """A Deployment's spec whose updates add new Pods before they take old ones."""
    return {
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": service.load_seconds + 60,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        **spec,
    }
