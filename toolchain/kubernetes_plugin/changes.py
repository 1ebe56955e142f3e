"""What an update would change of an object, and which of it needs a new object. Pure.

Inputs are compared with inputs: the server's defaults and what controllers set do not count. What somebody else changed shows after a
refresh, which puts the live values into the old inputs.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from toolchain.kubernetes_plugin.settings import Settings

from isthmus.plugin.diffs import Change, Kind
from isthmus.plugin.values import UNKNOWN, Path, is_known

_SELECTOR: Final = ("spec.selector",)
_VOLUME_SOURCES: Final = (
    "awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker gcePersistentDisk glusterfs hostPath iscsi local nfs "
    "photonPersistentDisk portworxVolume quobyte rbd scaleIO storageos vsphereVolume"
)
_POD: Final = (
    "affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases hostIPC hostNetwork hostPID hostname "
    "imagePullSecrets nodeName nodeSelector overhead preemptionPolicy priority priorityClassName readinessGates restartPolicy "
    "runtimeClassName schedulerName securityContext serviceAccount serviceAccountName shareProcessNamespace subdomain "
    "terminationGracePeriodSeconds volumes containers initContainers"
)
_JOB: Final = ("completions", "parallelism", "selector", "template")
_STATEFUL_SET: Final = ("podManagementPolicy", "revisionHistoryLimit", "selector", "serviceName", "volumeClaimTemplates")

# (group, kind) → properties that cannot be changed in place, as the official plugin has them. A property includes all below it.
_IMMUTABLE: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("apps", "Deployment"): _SELECTOR,
    ("apps", "DaemonSet"): _SELECTOR,
    ("apps", "StatefulSet"): tuple(f"spec.{name}" for name in _STATEFUL_SET),
    ("batch", "Job"): tuple(f"spec.{name}" for name in _JOB),
    ("", "PersistentVolume"): tuple(f"spec.{name}" for name in _VOLUME_SOURCES.split()),
    ("", "PersistentVolumeClaim"): ("spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeName"),
    ("", "Pod"): tuple(f"spec.{name}" for name in _POD.split()),
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Secret"): ("type",),
    ("", "Service"): ("spec.clusterIP",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner"),
}
_IDENTITY: Final = ("metadata.name", "metadata.namespace")

# Below these, `1` and `1000m` say the same.
_QUANTITIES: Final = re.compile(
    r"\.(requests|limits|capacity|hard|overhead|default|defaultRequest|max|min|maxLimitRequestRatio)\.[^.]+$|\.(sizeLimit|averageValue|divisor)$|\.target\.value$"
)


def immutable(values: Mapping[str, Any], settings: Settings) -> tuple[str, ...]:
    """The properties of an object whose change needs a new one."""
    group = str(values.get("apiVersion", "")).rpartition("/")[0]
    kind = str(values.get("kind", ""))
    found = _IDENTITY + _IMMUTABLE.get((group, kind), ())
    frozen = values.get("immutable") is True
    if (group, kind) == ("", "Secret") and (frozen or not settings.secret_mutable):
        found += ("data", "stringData")
    if (group, kind) == ("", "ConfigMap") and (frozen or not settings.config_map_mutable):
        found += ("data", "binaryData")
    return found


def changes(old: Mapping[str, Any], new: Mapping[str, Any], settings: Settings) -> list[Change]:
    """Leaf by leaf, each with whether it needs a new object. Values not known yet count as changed."""
    fixed = immutable(new, settings)
    ignored = ("apiVersion",)  # the server converts between the versions of a group
    return [
        Change(path, kind, replaces=any(_below(path, name) for name in fixed))
        for path, kind in _compare(_normal(old), _normal(new), ())
        if path != ignored
    ]


def deletes_before_replace(old: Mapping[str, Any], new: Mapping[str, Any], *, autonamed: bool) -> bool:
    """Whether old and new object could not exist at once: the program chose the name, and it stays."""
    before, after = old.get("metadata") or {}, new.get("metadata") or {}
    same = all(before.get(key) == after.get(key) for key in ("name", "namespace"))
    return not autonamed and same


def _below(path: Path, name: str) -> bool:
    steps = tuple(name.split("."))
    return tuple(str(step) for step in path[: len(steps)]) == steps


def _normal(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A Secret's stringData as the data that the server makes of it."""
    texts = values.get("stringData")
    if values.get("kind") != "Secret" or not isinstance(texts, dict) or not is_known(texts):
        return values
    encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in texts.items()}
    data = values.get("data")
    kept = {key: value for key, value in values.items() if key != "stringData"}
    return {**kept, "data": {**(data if isinstance(data, dict) else {}), **encoded}}


def _compare(old: Any, new: Any, path: Path) -> Iterator[tuple[Path, Kind]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if not key.startswith("__"):
                yield from _compare(old.get(key), new.get(key), (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else None
            yield from _compare(before, new[index] if index < len(new) else None, (*path, index))
    elif new is UNKNOWN or not _same(old, new, path):
        yield path, "add" if old is None else "delete" if new is None else "update"


def _same(old: Any, new: Any, path: Path) -> bool:
    if old == new:
        return isinstance(old, bool) == isinstance(new, bool)
    return bool(_QUANTITIES.search("." + ".".join(map(str, path)))) and same_quantity(old, new)


def same_quantity(old: Any, new: Any) -> bool:
    """Whether two of Kubernetes' quantities are the same: `1` and `1000m`, `1Gi` and `1024Mi`."""
    from kubernetes import utils

    parse: Any = utils.parse_quantity  # it has no types
    try:
        return bool(parse(old) == parse(new))
    except (ValueError, TypeError):
        return False
