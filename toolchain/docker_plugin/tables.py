"""What the covered resource types accept: names, types, defaults, and which changes need a new resource.

They follow the official plugin 5.2.0 but for REFUSED. `replaces` is what Docker itself can't change in place; where the
official plugin keeps the old container although the input changed (healthcheck, tmpfs, init, rm), this one replaces it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from isthmus.plugin.schema import Property, ResourceSpec, Type


def _one(kind: Type, description: str = "", **more: Any) -> Property:
    return Property(kind, description, **{"required": False, "replaces": True, **more})


def _list(items: Property | None = None, **more: Any) -> Property:
    return _one("array", items=items or _TEXT, **more)


def _objects(fields: Mapping[str, Property]) -> Property:
    return _list(_one("object", fields=fields))


_TEXT: Final = _one("string")
_FLAG: Final = _one("boolean")
_COUNT: Final = _one("integer", minimum=0)
_TEXTS: Final = _one("object", items=_TEXT)
_NEED_TEXT: Final = _one("string", "a text", required=True)
_NEED_NUMBER: Final = _one("integer", "a number", required=True)


def _setting(kind: Type, default: Any) -> Property:
    """An input that says what the plugin does; a change of it changes nothing that exists."""
    return _one(kind, default=default, replaces=False)


_LABELS: Final = _objects({"label": _NEED_TEXT, "value": _NEED_TEXT})
_DURATION: Final = _one("string", default="0s")

CONTAINER: Final = ResourceSpec(
    "Container",
    "",
    {
        "image": _one("string", "the image's id or name", required=True),
        "name": _TEXT,
        # What the plugin does.
        "attach": _setting("boolean", False),
        "containerReadRefreshTimeoutMilliseconds": _setting("integer", 15000),
        "destroyGraceSeconds": _one("integer", replaces=False, minimum=0),
        "logs": _setting("boolean", False),
        "mustRun": _setting("boolean", True),
        "removeVolumes": _setting("boolean", True),
        "start": _setting("boolean", True),
        "wait": _setting("boolean", False),
        "waitTimeout": _setting("integer", 60),
        # What Docker can change in place.
        "cpuPeriod": _one("integer", replaces=False, minimum=0),
        "cpuQuota": _one("integer", replaces=False, minimum=0),
        "cpuSet": _one("string", replaces=False),
        "cpuShares": _one("integer", replaces=False, minimum=0),
        "maxRetryCount": _one("integer", replaces=False, minimum=0),
        "memory": _one("integer", replaces=False, minimum=0),
        "memoryReservation": _one("integer", replaces=False, minimum=0, default=0),
        "memorySwap": _one("integer", replaces=False, minimum=-1),
        "restart": _setting("string", "no"),
        # What needs a new container.
        "capabilities": _one("object", fields={"adds": _list(), "drops": _list()}),
        "cgroupParent": _TEXT,
        "cgroupnsMode": _TEXT,
        "command": _list(),
        "cpus": _TEXT,
        "deviceCgroupRules": _list(),
        "dns": _list(),
        "dnsOpts": _list(),
        "dnsSearches": _list(),
        "domainname": _TEXT,
        "entrypoints": _list(),
        "envs": _list(),
        "groupAdds": _list(),
        "healthcheck": _one(
            "object",
            fields={
                "tests": _list(),
                "interval": _DURATION,
                "timeout": _DURATION,
                "startPeriod": _DURATION,
                "startInterval": _DURATION,
                "retries": _one("integer", minimum=0, default=0),
            },
        ),
        "hostname": _TEXT,
        "hosts": _objects({"host": _NEED_TEXT, "ip": _NEED_TEXT}),
        "init": _FLAG,
        "ipcMode": _TEXT,
        "labels": _LABELS,
        "logDriver": _TEXT,
        "logOpts": _TEXTS,
        "mounts": _objects(
            {
                "target": _NEED_TEXT,
                "type": _NEED_TEXT,
                "source": _TEXT,
                "readOnly": _FLAG,
                "bindOptions": _one("object", fields={"propagation": _TEXT}),
                "volumeOptions": _one("object", fields={"noCopy": _FLAG, "labels": _LABELS, "driverName": _TEXT, "driverOptions": _TEXTS}),
                "tmpfsOptions": _one("object", fields={"sizeBytes": _COUNT, "mode": _COUNT}),
            }
        ),
        "networkMode": _one("string", default="bridge"),
        "networksAdvanced": _objects(
            {
                "name": _NEED_TEXT,
                "aliases": _list(),
                "driverOpts": _list(),
                "ipv4Address": _TEXT,
                "ipv6Address": _TEXT,
                "linkLocalIps": _list(),
                "macAddress": _TEXT,
            }
        ),
        "pidMode": _TEXT,
        "platform": _TEXT,
        "ports": _objects(
            {
                "internal": _one("integer", "the container's port", required=True, minimum=1, maximum=65535),
                "external": _one("integer", minimum=0, maximum=65535),
                "ip": _one("string", default="0.0.0.0"),  # noqa: S104 the official default; programs say otherwise
                "protocol": _one("string", default="tcp"),
            }
        ),
        "privileged": _FLAG,
        "publishAllPorts": _FLAG,
        "readOnly": _one("boolean", default=False),
        "rm": _one("boolean", default=False),
        "runtime": _TEXT,
        "securityOpts": _list(),
        "shmSize": _COUNT,
        "stdinOpen": _one("boolean", default=False),
        "stopSignal": _TEXT,
        "stopTimeout": _COUNT,
        "storageOpts": _TEXTS,
        "sysctls": _TEXTS,
        "tmpfs": _TEXTS,
        "tty": _one("boolean", default=False),
        "ulimits": _objects({"name": _NEED_TEXT, "soft": _NEED_NUMBER, "hard": _NEED_NUMBER}),
        "uploads": _objects(
            {
                "file": _NEED_TEXT,
                "content": _TEXT,
                "contentBase64": _TEXT,
                "source": _TEXT,
                "sourceHash": _TEXT,
                "permissions": _TEXT,
                "executable": _one("boolean", default=False),
            }
        ),
        "user": _TEXT,
        "usernsMode": _TEXT,
        "volumes": _objects(
            {
                "containerPath": _TEXT,
                "fromContainer": _TEXT,
                "hostPath": _TEXT,
                "volumeName": _TEXT,
                "readOnly": _FLAG,
                "selinuxRelabel": _TEXT,
            }
        ),
        "workingDir": _TEXT,
    },
)
REMOTE_IMAGE: Final = ResourceSpec(
    "RemoteImage",
    "",
    {
        "name": _one("string", "the image's name", required=True),
        "forceRemove": _one("boolean", replaces=False),
        "keepLocally": _one("boolean", replaces=False),
        "platform": _one("string", default=""),
        "pullTriggers": _list(),
        "triggers": _TEXTS,
    },
)
NETWORK: Final = ResourceSpec(
    "Network",
    "",
    {
        "name": _TEXT,
        "attachable": _FLAG,
        "driver": _TEXT,
        "ingress": _FLAG,
        "internal": _FLAG,
        "ipamConfigs": _objects({"subnet": _TEXT, "ipRange": _TEXT, "gateway": _TEXT, "auxAddress": _TEXTS}),
        "ipamDriver": _one("string", default="default"),
        "ipamOptions": _TEXTS,
        "ipv6": _FLAG,
        "labels": _LABELS,
        "options": _TEXTS,
    },
)
VOLUME: Final = ResourceSpec("Volume", "", {"name": _TEXT, "driver": _TEXT, "driverOpts": _TEXTS, "labels": _LABELS})

# Lists whose order means nothing, as in the official plugin. (ports and command are lists proper.)
SETS: Final = frozenset(
    {
        *("capabilities", "deviceCgroupRules", "dns", "dnsOpts", "dnsSearches", "envs", "groupAdds", "hosts", "ipamConfigs", "labels"),
        *("mounts", "networksAdvanced", "pullTriggers", "securityOpts", "ulimits", "uploads", "volumes"),
    }
)

# Inputs of the official plugin that this one refuses by name, at Check. `*` stands for an index.
REFUSED: Final[Mapping[str, frozenset[str]]] = {
    "Container": frozenset(
        {
            *("devices", "deviceReadBps", "deviceReadIops", "deviceRequests", "deviceWriteBps", "deviceWriteIops", "gpus"),
            *("mounts.*.volumeOptions.subpath", "networksAdvanced.*.gwPriority"),
        }
    ),
    "RemoteImage": frozenset({"build"}),
    "Network": frozenset(),
    "Volume": frozenset({"cluster"}),
}


@dataclass(frozen=True)
class Kept:
    """What the Terraform bridge keeps beside a resource's state, so that the official plugin can take over: `__meta`."""

    schema_version: int = 0
    timeout_minutes: int = 0
    operations: tuple[str, ...] = field(default=("create", "delete", "update"))


KEPT: Final[Mapping[str, Kept]] = {"Container": Kept(2, 20), "RemoteImage": Kept(0, 20), "Network": Kept(1), "Volume": Kept(1)}
