"""From a Container's inputs to what Docker's API takes. Pure, but for files that an upload names."""

import base64
import binascii
import io
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from isthmus.errors import Problem
from isthmus.plugin.values import UNKNOWN

Values = Mapping[str, Any]

MIB: Final = 1 << 20
_CPU_NANOS: Final = 10**9
_UNITS_NANOS: Final = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNCONFINED: Final = "systempaths=unconfined"
RESTARTS: Final = ("no", "on-failure", "always", "unless-stopped")
_MOUNTS: Final = ("bind", "volume", "tmpfs")
_PROTOCOLS: Final = ("tcp", "udp", "sctp")
_SOURCES: Final = ("content", "contentBase64", "source")


def nanoseconds(text: str) -> int:
    """A duration as Go writes it: `1m30s`, `500ms`, `0`. Raises ValueError."""
    if text in ("0", ""):
        return 0
    parts = _DURATION.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        raise ValueError(text)
    return int(sum(Decimal(number) * _UNITS_NANOS[unit] for number, unit in parts))


def _mebibytes(value: int) -> int:
    return value * MIB if value > 0 else value


def _labels(value: Sequence[Values]) -> dict[str, str]:
    return {item["label"]: item["value"] for item in value}


# Input → (section, key, what to make of the value). Sections: "" is the container's configuration, "HostConfig" its host's.
_DIRECT: Final[Mapping[str, tuple[str, str, Callable[[Any], Any]]]] = {
    "image": ("", "Image", str),
    "hostname": ("", "Hostname", str),
    "domainname": ("", "Domainname", str),
    "user": ("", "User", str),
    "workingDir": ("", "WorkingDir", str),
    "tty": ("", "Tty", bool),
    "stdinOpen": ("", "OpenStdin", bool),
    "stopSignal": ("", "StopSignal", str),
    "stopTimeout": ("", "StopTimeout", int),
    "command": ("", "Cmd", list),
    "entrypoints": ("", "Entrypoint", list),
    "envs": ("", "Env", list),
    "labels": ("", "Labels", _labels),
    "cgroupParent": ("HostConfig", "CgroupParent", str),
    "cgroupnsMode": ("HostConfig", "CgroupnsMode", str),
    "cpuPeriod": ("HostConfig", "CpuPeriod", int),
    "cpuQuota": ("HostConfig", "CpuQuota", int),
    "cpuSet": ("HostConfig", "CpusetCpus", str),
    "cpuShares": ("HostConfig", "CpuShares", int),
    "cpus": ("HostConfig", "NanoCpus", lambda value: round(float(value) * _CPU_NANOS)),
    "deviceCgroupRules": ("HostConfig", "DeviceCgroupRules", list),
    "dns": ("HostConfig", "Dns", list),
    "dnsOpts": ("HostConfig", "DnsOptions", list),
    "dnsSearches": ("HostConfig", "DnsSearch", list),
    "groupAdds": ("HostConfig", "GroupAdd", list),
    "hosts": ("HostConfig", "ExtraHosts", lambda value: [f"{item['host']}:{item['ip']}" for item in value]),
    "init": ("HostConfig", "Init", bool),
    "ipcMode": ("HostConfig", "IpcMode", str),
    "memory": ("HostConfig", "Memory", _mebibytes),
    "memoryReservation": ("HostConfig", "MemoryReservation", _mebibytes),
    "memorySwap": ("HostConfig", "MemorySwap", _mebibytes),
    "networkMode": ("HostConfig", "NetworkMode", str),
    "pidMode": ("HostConfig", "PidMode", str),
    "privileged": ("HostConfig", "Privileged", bool),
    "publishAllPorts": ("HostConfig", "PublishAllPorts", bool),
    "readOnly": ("HostConfig", "ReadonlyRootfs", bool),
    "rm": ("HostConfig", "AutoRemove", bool),
    "runtime": ("HostConfig", "Runtime", str),
    "shmSize": ("HostConfig", "ShmSize", _mebibytes),
    "storageOpts": ("HostConfig", "StorageOpt", dict),
    "sysctls": ("HostConfig", "Sysctls", dict),
    "tmpfs": ("HostConfig", "Tmpfs", dict),
    "usernsMode": ("HostConfig", "UsernsMode", str),
    "ulimits": ("HostConfig", "Ulimits", lambda value: [{key.title(): item[key] for key in ("name", "soft", "hard")} for item in value]),
}
# What `docker update` takes, and what the SDK calls it. Zero and the empty text mean "as it is" there, so that a limit can't be
# taken away in place.
UPDATABLE: Final[Mapping[str, str]] = {
    "cpuPeriod": "cpu_period",
    "cpuQuota": "cpu_quota",
    "cpuSet": "cpuset_cpus",
    "cpuShares": "cpu_shares",
    "memory": "mem_limit",
    "memoryReservation": "mem_reservation",
    "memorySwap": "memswap_limit",
}


_END: Final[Mapping[str, str]] = {
    "aliases": "aliases",
    "ipv4Address": "ipv4_address",
    "ipv6Address": "ipv6_address",
    "linkLocalIps": "link_local_ips",
    "macAddress": "mac_address",
}


def create_config(inputs: Values) -> dict[str, Any]:
    """The body of a container's creation. inputs: all known, with their defaults."""
    config: dict[str, Any] = {}
    host: dict[str, Any] = {
        "RestartPolicy": _restart(inputs),
        "LogConfig": {"Type": inputs.get("logDriver", ""), "Config": inputs.get("logOpts", {})},
        "CapAdd": inputs.get("capabilities", {}).get("adds", []),
        "CapDrop": inputs.get("capabilities", {}).get("drops", []),
        "Mounts": [_mount(item) for item in inputs.get("mounts", ())],
        "VolumesFrom": [item["fromContainer"] for item in inputs.get("volumes", ()) if item.get("fromContainer")],
        "Binds": [bind for item in inputs.get("volumes", ()) if (bind := _bind(item))],
    }
    sections = {"": config, "HostConfig": host}
    for name, (section, key, convert) in _DIRECT.items():
        if inputs.get(name) is not None:
            sections[section][key] = convert(inputs[name])
    options = inputs.get("securityOpts", ())
    host["SecurityOpt"] = [option for option in options if option != _UNCONFINED]
    if _UNCONFINED in options:
        host["MaskedPaths"] = host["ReadonlyPaths"] = []
    config["Volumes"] = {item["containerPath"]: {} for item in inputs.get("volumes", ()) if item.get("containerPath")}
    config["ExposedPorts"], host["PortBindings"] = _ports(inputs.get("ports", ()))
    if "healthcheck" in inputs:
        config["Healthcheck"] = _healthcheck(inputs["healthcheck"])
    return {**config, "HostConfig": host}


def update_options(inputs: Values) -> dict[str, Any]:
    """What the SDK's update_container takes."""
    options = {option: _DIRECT[name][2](inputs[name]) for name, option in UPDATABLE.items() if inputs.get(name)}
    if "mem_limit" in options and "memswap_limit" not in options:
        options["memswap_limit"] = 2 * options["mem_limit"]  # Docker's own default; without it a higher limit would exceed the old one's
    return {**options, "restart_policy": _restart(inputs)}


def network_configs(inputs: Values) -> Iterator[tuple[str, dict[str, Any]]]:
    """Of each entry of networksAdvanced: the network, and what the SDK's connect_container_to_network takes."""
    for item in inputs.get("networksAdvanced", ()):
        options = {option: item[name] for name, option in _END.items() if item.get(name)}
        if item.get("driverOpts"):
            options["driver_opt"] = dict(option.partition("=")[::2] for option in item["driverOpts"])
        yield item["name"], options


def upload_archive(inputs: Values) -> bytes | None:
    """A tar archive of all uploads, for the root of the container's files; None: there are none. Raises OSError."""
    if not inputs.get("uploads"):
        return None
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for item in inputs["uploads"]:
            content = _upload_content(item)
            entry = tarfile.TarInfo(item["file"].lstrip("/"))
            entry.size = len(content)
            entry.mode = int(item["permissions"], 8) if item.get("permissions") else 0o744 if item.get("executable") else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def _upload_content(item: Values) -> bytes:
    if item.get("source"):
        return Path(item["source"]).read_bytes()
    return base64.b64decode(item["contentBase64"]) if item.get("contentBase64") else str(item.get("content", "")).encode()


def _restart(inputs: Values) -> dict[str, Any]:
    return {"Name": inputs.get("restart", "no"), "MaximumRetryCount": inputs.get("maxRetryCount", 0)}


def _mount(item: Values) -> dict[str, Any]:
    mount: dict[str, Any] = {"Type": item["type"], "Target": item["target"], "Source": item.get("source", "")}
    mount["ReadOnly"] = item.get("readOnly", False)
    if item.get("bindOptions"):
        mount["BindOptions"] = {"Propagation": item["bindOptions"].get("propagation", "")}
    if volume := item.get("volumeOptions"):
        driver = {"Name": volume.get("driverName", ""), "Options": volume.get("driverOptions", {})}
        mount["VolumeOptions"] = {
            "NoCopy": volume.get("noCopy", False),
            "Labels": _labels(volume.get("labels", ())),
            "DriverConfig": driver,
        }
    if memory := item.get("tmpfsOptions"):
        mount["TmpfsOptions"] = {"SizeBytes": memory.get("sizeBytes", 0), "Mode": memory.get("mode", 0)}
    return mount


def _bind(item: Values) -> str:
    source = item.get("hostPath") or item.get("volumeName")
    if not source:
        return ""
    options = ["ro" if item.get("readOnly") else "rw", *filter(None, [item.get("selinuxRelabel")])]
    return f"{source}:{item['containerPath']}:{','.join(options)}"


def _ports(ports: Sequence[Values]) -> tuple[dict[str, Any], dict[str, list[dict[str, str]]]]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for item in ports:
        external = item.get("external")
        binding = {"HostIp": item.get("ip", ""), "HostPort": str(external) if external else ""}
        bindings.setdefault(f"{item['internal']}/{item.get('protocol', 'tcp')}", []).append(binding)
    return {port: {} for port in bindings}, bindings


def _healthcheck(item: Values) -> dict[str, Any]:
    names = {"Interval": "interval", "Timeout": "timeout", "StartPeriod": "startPeriod", "StartInterval": "startInterval"}
    times = {key: nanoseconds(item.get(name, "0s")) for key, name in names.items()}
    return {"Test": item.get("tests", []), "Retries": item.get("retries", 0), **times}


def problems(inputs: Values) -> Iterator[Problem]:
    """What is wrong beyond types. inputs: may hold UNKNOWN, and anything that the table's check has refused already."""
    yield from _one_of(inputs.get("restart"), RESTARTS, "restart")
    if isinstance(inputs.get("cpus"), str) and not re.fullmatch(r"\d+(\.\d{1,9})?", inputs["cpus"]):
        yield Problem("cpus", f"is {inputs['cpus']!r}", "a number of CPUs such as 1.5")
    for name, value in (inputs.get("healthcheck") or {}).items() if isinstance(inputs.get("healthcheck"), Mapping) else ():
        if name in ("interval", "timeout", "startPeriod", "startInterval") and isinstance(value, str):
            try:
                nanoseconds(value)
            except ValueError:
                yield Problem(f"healthcheck.{name}", f"is {value!r}", "a duration such as 30s, 1m30s or 500ms")
    for path, item in _items(inputs, "ports"):
        yield from _one_of(item.get("protocol"), _PROTOCOLS, f"{path}.protocol")
    for path, item in _items(inputs, "mounts"):
        yield from _one_of(item.get("type"), _MOUNTS, f"{path}.type")
    for path, item in _items(inputs, "volumes"):
        if bool(item.get("fromContainer")) == bool(item.get("containerPath")):
            yield Problem(path, "has both or neither of containerPath and fromContainer", "one of them")
    for path, item in _items(inputs, "uploads"):
        yield from _upload_problems(path, item)
    if inputs.get("uploads") and inputs.get("readOnly") is True:
        yield Problem(
            "uploads", "stand beside readOnly, and Docker can't put files into a read-only container", "a mounted volume or folder"
        )
    if inputs.get("logs") is True and inputs.get("attach") is not True:
        yield Problem("logs", "is true without attach", "attach: true, whose end the logs are kept at")


def _upload_problems(path: str, item: Values) -> Iterator[Problem]:
    if len([name for name in _SOURCES if item.get(name)]) > 1 or not any(name in item for name in _SOURCES):
        yield Problem(path, "has none or several of content, contentBase64 and source", "one of them")
    encoded = item.get("contentBase64")
    if isinstance(encoded, str):
        try:
            base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            yield Problem(f"{path}.contentBase64", "is not base64")  # never the value: it may be a secret
    permissions = item.get("permissions")
    if isinstance(permissions, str) and not re.fullmatch(r"0[0-7]{3}", permissions):
        yield Problem(f"{path}.permissions", f"is {permissions!r}", "four octal digits such as 0644")


def _items(inputs: Values, name: str) -> Iterator[tuple[str, Values]]:
    value = inputs.get(name)
    for index, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, Mapping):
            yield f"{name}[{index}]", item


def _one_of(value: Any, allowed: Sequence[str], path: str) -> Iterator[Problem]:
    if value is not None and value is not UNKNOWN and value not in allowed:
        yield Problem(path, f"is {value!r}", f"one of {', '.join(allowed)}")
