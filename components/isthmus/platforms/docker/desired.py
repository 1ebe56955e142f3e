"""The `docker` platform: what runs on virtual machines with a Docker engine each, as values.

Each function returns the inputs of one resource, named as there. One server a host, Envoy on one of the hosts in front of all.
Servers are containers of our own resource `DockerServer`, because an update needs the new one beside the old one
(docs/decisions/0008); images and the gateway's container are pulumi-docker's.

On a host, below its root folder:

    PROJECT/STACK/SERVICE/releases/HOST/DIGEST/VERSION/…      one folder for each digest
    PROJECT/STACK/SERVICE/gateway/static,live,traffic,tls/…   Envoy's configuration, where the gateway is
"""

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from isthmus import gateway as envoy
from isthmus import names
from isthmus.digest import Digest
from isthmus.errors import Problem
from isthmus.gateway import Gateway, GatewayOptions, Server, Tls, Track

Inputs = dict[str, Any]

GATEWAY_USER = "65532"
"""What distroless images call nonroot. Gateways that listen below FIRST_FREE_PORT need root, with one capability."""
FIRST_FREE_PORT = 1024
ADMIN_OFFSET = 1400
"""Envoy's admin interface is on loopback of the gateway's host, so far above the gateway's port: 9901 for 8501."""
_STOP_SECONDS = 10
_MOUNT = "/etc/isthmus"
SERVER_INPUTS = ("bind_ip", "ports", "memory_mib", "cpus")
GATEWAY_INPUTS = (
    "name",
    "entrypoints",
    "command",
    "network_mode",
    "mounts",
    "user",
    "capabilities",
    "security_opts",
    "read_only",
    "restart",
    "destroy_grace_seconds",
    "log_driver",
    "log_opts",
    "labels",
)
_LOG_OPTIONS = {"max-size": "16m", "max-file": "2"}


@dataclass(frozen=True)
class Host:
    """A virtual machine.

    address: of its engine, unix://… or ssh://… ip: where the gateway reaches its servers, and clients reach a gateway there.
    bind_ip: the address of the machine's own that ports are published on; differs from ip behind a cloud's address translation.
    rest_port, grpc_port: of a server; the next one of each as well, since
    an update has two servers for a while.
    """

    name: str
    address: str
    ip: str
    bind_ip: str
    memory_mib: int | None = None
    cpus: float | None = None
    rest_port: int = names.HOST_REST_PORT
    grpc_port: int = names.HOST_GRPC_PORT


def pairs(host: Host) -> list[dict[str, int]]:
    """The pairs of ports that a server of this host may be published on."""
    return [{"rest": host.rest_port + slot, "grpc": host.grpc_port + slot} for slot in (0, 1)]


def admin_port(port: int) -> int:
    return port + ADMIN_OFFSET if port + ADMIN_OFFSET <= 65535 else port - ADMIN_OFFSET


def host_problems(hosts: Sequence[Host], gateway_host: Host, port: int, grpc_port: int, path: str) -> list[Problem]:
    """What is wrong with hosts and ports together. path: of the platform's arguments."""
    found = []
    for index, host in enumerate(hosts):
        at = f"{path}.hosts[{index}]"
        for name, value in (("ip", host.ip), ("bind_ip", host.bind_ip)):
            if not _is_address(value):
                found.append(Problem(f"{at}.{name}", f"is {value!r}", "an IP address"))
        same = [other.name for other in hosts[:index] if other.address == host.address]
        if same:
            found.append(Problem(f"{at}.address", f"is also that of {same[0]}", "one engine for each host"))
        uses = [(f"rest_port ({slot + 1} of 2)", host.rest_port + slot) for slot in (0, 1)]
        uses += [(f"grpc_port ({slot + 1} of 2)", host.grpc_port + slot) for slot in (0, 1)]
        if host == gateway_host:
            uses += [("the gateway's port", port), ("the gateway's grpc_port", grpc_port), ("Envoy's admin port", admin_port(port))]
        for position, (use, number) in enumerate(uses):
            twice = [other for other, taken in uses[:position] if taken == number]
            if twice:
                found.append(
                    Problem(at, f"{use} and {twice[0]} are both {number}", "different ports", "choose another rest_port or grpc_port")
                )
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def engine(name: str, address: str, ssh_options: Sequence[str]) -> Inputs:
    """The `host` of the plugin's resources."""
    return {"name": name, "address": address, "ssh_options": list(ssh_options)}


def model_folder(place: str, host: str, digest: str) -> str:
    """Where a release lies below a host's root folder: hosts that share a disk do not write into each other's."""
    return f"{place}/releases/{host}/{Digest(digest).short}"


def gateway_folder(place: str) -> str:
    """Where the gateway's files lie below its host's root folder."""
    return f"{place}/gateway"


def gateway_name(unit: str) -> str:
    """The gateway's container."""
    return names.gateway_container(unit)


def server(host: Host) -> Inputs:
    """What of a `DockerServer` depends on the host alone."""
    return {"bind_ip": host.bind_ip, "ports": pairs(host), "memory_mib": host.memory_mib, "cpus": host.cpus}


def gateway(
    unit: str,
    model_name: str,
    version: int,
    servers: Sequence[Server],
    host: Host,
    *,
    port: int,
    grpc_port: int,
    balancing: str,
    options: GatewayOptions,
    tls: bool = False,
) -> Gateway:
    """The Envoy of a service, in the network of its host: it reaches servers on loopback too, and no address is translated.

    unit: what the names of its containers begin with.
    version: of the release; 0 and no servers: what is the same whatever is served. tls: `live_files` gets the certificate.
    """
    return Gateway(
        node=gateway_name(unit),
        model_name=model_name,
        tracks=(Track(names.STABLE, version, tuple(servers)),),
        rest_port=port,
        grpc_port=grpc_port,
        admin_port=admin_port(port),
        directory=f"{_MOUNT}/live",
        traffic_directory=f"{_MOUNT}/traffic",
        balancing=balancing,
        bind_address=host.bind_ip,
        options=replace(options, tls=Tls(f"{_MOUNT}/tls/certificate.pem", f"{_MOUNT}/tls/key.pem") if tls else None),
    )


def static_files(gateway: Gateway) -> dict[str, str]:
    """What the gateway's container is started with: a change of it needs another container."""
    return {f"static/{name}": content for name, content in envoy.static_files(gateway).items()}


def live_files(gateway: Gateway, certificate: str = "", key: str = "") -> dict[str, str]:
    """What Envoy takes up while it runs (secret where there are keys). certificate, key: PEM texts."""
    files = {f"live/{name}": content for name, content in envoy.live_files(gateway).items()}
    files |= {f"traffic/{name}": content for name, content in envoy.routes_of(gateway).items()}
    if gateway.options.tls:
        files |= {"tls/certificate.pem": certificate, "tls/key.pem": key}
    return files


def endpoints(gateway: Gateway) -> dict[str, list[str]]:
    """The servers of each cluster as Envoy's admin interface spells them."""
    found: dict[str, list[str]] = {}
    for track in gateway.tracks:
        listed = [server for server in track.servers if server.weight > 0]
        found[f"{track.name}-rest"] = sorted(spelled(server.host, server.rest_port) for server in listed)
        found[f"{track.name}-grpc"] = sorted(spelled(server.host, server.grpc_port) for server in listed)
    return found


def spelled(host: str, port: envoy.Port) -> str:
    """Address and port, as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def gateway_container(service: str, gateway: Gateway, directory: str) -> Inputs:
    """Inputs of pulumi-docker's `Container`, but for `image`. directory: on the host, with `static_files` and `live_files`."""
    low = min(int(str(port)) for port in (gateway.rest_port, gateway.grpc_port)) < FIRST_FREE_PORT
    return {
        "name": gateway.node,
        "entrypoints": ["/usr/local/bin/envoy"],
        "command": envoy.command(gateway, f"{_MOUNT}/static/envoy.json")[1:],
        "network_mode": "host",
        "mounts": [{"type": "bind", "source": directory, "target": _MOUNT, "read_only": True}],
        "user": f"{'0' if low else GATEWAY_USER}:{GATEWAY_USER}",
        "capabilities": {"drops": ["ALL"], **({"adds": ["CAP_NET_BIND_SERVICE"]} if low else {})},
        "security_opts": ["no-new-privileges"],
        "read_only": True,
        "restart": "unless-stopped",
        "destroy_grace_seconds": _STOP_SECONDS,
        "log_driver": "json-file",
        "log_opts": dict(_LOG_OPTIONS),
        "labels": labels(service, names.GATEWAY, **{f"{names.DOMAIN}/config": revision(static_files(gateway))}),
    }


def labels(service: str, part: str, **more: str) -> list[dict[str, str]]:
    values: Mapping[str, str] = {names.SERVICE_LABEL: service, names.CONTAINER_COMPONENT_LABEL: part, **more}
    return [{"label": key, "value": value} for key, value in values.items()]


def revision(files: Mapping[str, str]) -> str:
    """Another one for other contents."""
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
