"""From what Docker says of a container to the outputs of a Container. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from toolchain.docker_plugin.container_config import MIB

Values = Mapping[str, Any]

_NETWORK: Final = {
    "ipAddress": "IPAddress",
    "ipPrefixLength": "IPPrefixLen",
    "gateway": "Gateway",
    "globalIpv6Address": "GlobalIPv6Address",
    "globalIpv6PrefixLength": "GlobalIPv6PrefixLen",
    "ipv6Gateway": "IPv6Gateway",
    "macAddress": "MacAddress",
}
_DURATIONS: Final = {"interval": "Interval", "timeout": "Timeout", "startPeriod": "StartPeriod", "startInterval": "StartInterval"}


def outputs(found: Values, inputs: Values) -> dict[str, Any]:
    """What a Container has beside its inputs. found: the answer to an inspection. inputs: all known."""
    config, host, network = found["Config"], found["HostConfig"], found["NetworkSettings"]
    computed = {
        "command": config.get("Cmd"),
        "entrypoints": config.get("Entrypoint"),
        "hostname": config.get("Hostname"),
        "stopSignal": config.get("StopSignal"),
        "stopTimeout": config.get("StopTimeout"),
        "healthcheck": _healthcheck(config.get("Healthcheck")),
        "init": bool(host.get("Init")),
        "ipcMode": host.get("IpcMode"),
        "logDriver": host["LogConfig"].get("Type"),
        "runtime": host.get("Runtime"),
        "securityOpts": host.get("SecurityOpt") or [],
        "shmSize": (host.get("ShmSize") or 0) // MIB,
        "platform": found.get("Platform"),
    }
    given = {name: value for name, value in computed.items() if value not in (None, "") and name not in inputs}
    always: dict[str, Any] = {"bridge": network.get("Bridge", ""), "networkDatas": _networks(network.get("Networks") or {})}
    if not found["State"]["Running"]:
        always["exitCode"] = found["State"]["ExitCode"]
    if inputs.get("ports") and found["State"]["Running"]:
        always["ports"] = ports(inputs["ports"], network.get("Ports") or {})
    return {**given, **always}


def ports(asked: Sequence[Values], bound: Mapping[str, Sequence[Values] | None]) -> list[dict[str, Any]]:
    """The ports as they were asked for, each with the external one that it got."""
    result = []
    for item in asked:
        bindings = bound.get(f"{item['internal']}/{item.get('protocol', 'tcp')}") or ()
        here = [binding for binding in bindings if binding.get("HostIp", "") == item.get("ip", "")] or bindings
        found = {int(binding["HostPort"]) for binding in here}
        external = item.get("external") if item.get("external") in found or not found else min(found)
        kept = {key: value for key, value in item.items() if not key.startswith("__")}
        result.append(kept | ({"external": external} if external else {}))
    return result


# Inputs that `docker update`, `docker rename` and a stop can change behind Pulumi's back, as Docker has them; 0 and "" mean unset.
def drifting(found: Values) -> dict[str, Any]:
    """The inputs that can change without a new container, as they are."""
    host = found["HostConfig"]
    return {
        "name": found["Name"].lstrip("/"),
        "restart": host["RestartPolicy"]["Name"] or "no",
        "maxRetryCount": host["RestartPolicy"].get("MaximumRetryCount") or 0,
        "memory": (host.get("Memory") or 0) // MIB,
        "memoryReservation": (host.get("MemoryReservation") or 0) // MIB,
        "cpuShares": host.get("CpuShares") or 0,
        "cpuSet": host.get("CpusetCpus") or "",
        "cpuPeriod": host.get("CpuPeriod") or 0,
        "cpuQuota": host.get("CpuQuota") or 0,
    }


def reason_of_end(found: Values) -> str:
    """Why a container does not run, in a few words."""
    state = found["State"]
    if state.get("Error"):
        return str(state["Error"])
    if state.get("OOMKilled"):
        return "it was killed for want of memory"
    return f"it ended with status {state['ExitCode']}" if state["Status"] == "exited" else f"it is {state['Status']}"


def _networks(networks: Mapping[str, Values]) -> list[dict[str, Any]]:
    return [
        {"networkName": name, **{key: networks[name].get(theirs) for key, theirs in _NETWORK.items() if networks[name].get(theirs)}}
        for name in sorted(networks)
    ]


def _healthcheck(check: Values | None) -> dict[str, Any] | None:
    if not check:
        return None
    times = {key: _duration(check.get(theirs) or 0) for key, theirs in _DURATIONS.items()}
    return {"tests": check.get("Test") or [], "retries": check.get("Retries") or 0, **times}


def _duration(nanos: int) -> str:
    # As Go writes it: 90 s is 1m30s; what is below a second is in milliseconds.
    hours, rest = divmod(nanos, 3600 * 10**9)
    minutes, rest = divmod(rest, 60 * 10**9)
    if not hours and not minutes and 0 < rest < 10**9:
        return f"{_decimal(rest, 6)}ms"
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{_decimal(rest, 9)}s"


def _decimal(value: int, digits: int) -> str:
    whole, part = divmod(value, 10**digits)
    return f"{whole}.{part:0{digits}d}".rstrip("0").rstrip(".")
