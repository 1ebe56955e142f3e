"""The `local` platform: what runs on this machine, as values.

Each function returns the inputs of one `LocalProcesses` resource. Nothing is started here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isthmus import gateway, names
from isthmus_agent.formats.answers import HEALTH_PATH, STAY_IN_GROUP, STAY_ON_DEVICE
from isthmus_agent.formats.bundle import AS_SIGNED

# A replica imports TensorFlow before it serves; on a busy 2-core machine that takes most of a minute.
SERVER_READY_SECONDS = 180
READY_SECONDS = 60
_MODELS_FILE = "models.config"
STORE = "store"
"""The program of the stack's own store."""
STORE_VOLUMES = 1000
"""How many volumes it may have, and each bucket takes one. By itself it allows as many as there are free GiB on the disk: on a full one
it makes a bucket, and answers `InternalError` to all that is put there."""
ENROLMENT_MARK = "ISTHMUS_ENROLMENT"
"""A variable of a device's environment that is another whenever it was enrolled anew: then it starts anew."""
# The store is on this machine, and a person waits.
_DEVICE_PACE: Mapping[str, float] = {"poll_seconds": 1, "heartbeat_seconds": 30, "measure_seconds": 1, "retry_seconds": 0.5}

# Of a device in a group, in its own folder.
_PASSWORD, _CERTIFICATE = "group-password", "group-ca.pem"
# Whom SeaweedFS's security.toml knows by these names. `client`: parts when they call others.
_STORE_GRPC_PARTS = ("master", "volume", "filer", "s3", "admin", "worker", "client")
_STORE_HTTP_PARTS = ("master", "volume", "filer", "admin")


@dataclass(frozen=True)
class Processes:
    """Inputs of a `LocalProcesses`, named as there."""

    program: str
    command: Sequence[str]
    ports: Mapping[str, int]
    ready: Mapping[str, Any]
    sockets: Sequence[str] = ()
    replicas: int = 1
    files: Mapping[str, str] = field(default_factory=dict)
    live_files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    leftovers: Sequence[str] = ()


def server(program: str, model_name: str, model_directory: str, replicas: int, about: str = "") -> Processes:
    """Replicas of the embedded model server, on Unix sockets that only this user can connect to.

    model_directory: holds one folder for each version. about: with the golden vectors of the one that plain requests get, where servers
    keep others beside it and load what is put there; empty: they lie with the one version that there is.
    """
    named = [f"--model_name={model_name}", f"--model_base_path={model_directory}"]
    told = [f"--model_config_file=${{directory}}/{_MODELS_FILE}"] if about else named
    files = {_MODELS_FILE: _all_versions(model_name, model_directory)} if about else {}
    return Processes(
        program=program,
        command=[
            "${python}",
            "-m",
            "isthmus.server",
            "--port=0",
            "--rest_api_port=0",
            "--grpc_socket_path=${socket.grpc}",
            "--rest_api_socket_path=${socket.rest}",
            *told,
            f"--monitoring_config_file=${{directory}}/{names.MONITORING_FILE}",
            "--max_num_load_retries=0",  # a model that cannot be loaded is an error now, not in five minutes
        ],
        ports={},
        sockets=["rest", "grpc"],
        replicas=replicas,
        files={names.MONITORING_FILE: names.MONITORING_CONFIG, **files},
        ready={
            "socket": "rest",
            "path": names.model_path(model_name),
            "contains": "AVAILABLE",
            "golden": about or model_directory,
            "timeout_seconds": SERVER_READY_SECONDS,
        },
    )


def _all_versions(model_name: str, model_directory: str) -> str:
    """TensorFlow Serving's model configuration: every version that is in the folder, for as long as it is."""
    # Quoted strings of protobuf's text format are JSON's, for what these can hold.
    name, path = json.dumps(model_name), json.dumps(model_directory)
    policy = "model_version_policy { all {} }"
    return f'model_config_list {{ config {{ name: {name} base_path: {path} model_platform: "tensorflow" {policy} }} }}\n'


def envoy(program: str, model_name: str, *, port: int, grpc_port: int, options: gateway.GatewayOptions | None = None) -> Processes:
    """The gateway, started with `gateway_files`. port, grpc_port: where it listens; 0: any free one."""
    known = gateway_spec(program, model_name, options=options)
    return Processes(
        program=program,
        command=gateway.command(known, "${directory}/envoy.json"),
        ports={"rest": port, "grpc": grpc_port},
        sockets=["admin", "status"],
        files=gateway.static_files(known),
        ready={"socket": "status", "path": gateway.READY_PATH, "timeout_seconds": READY_SECONDS},
    )


def gateway_files(
    program: str,
    model_name: str,
    servers: Sequence[Mapping[str, str]],
    balancing: str,
    options: gateway.GatewayOptions | None = None,
) -> dict[str, str]:
    """What `envoy` takes up while it runs (secret where the options hold API keys).

    servers: one mapping of `rest` and `grpc` to the paths of Unix sockets each.
    """
    listed = tuple(gateway.Server("", gateway.Socket(paths["rest"]), gateway.Socket(paths["grpc"])) for paths in servers)
    known = gateway_spec(program, model_name, listed, balancing, options)
    return {**gateway.live_files(known), **gateway.routes_of(known)}


def gateway_spec(
    program: str,
    model_name: str,
    servers: tuple[gateway.Server, ...] = (),
    balancing: str = "least_request",
    options: gateway.GatewayOptions | None = None,
) -> gateway.Gateway:
    """The gateway as a value; ports and folders are placeholders."""
    return gateway.Gateway(
        node=program,
        model_name=model_name,
        # Any version: the folder that the servers are given holds one, and an update starts them anew.
        tracks=(gateway.Track(names.STABLE, 0, servers),),
        balancing=balancing,
        rest_port="${port.rest}",
        grpc_port="${port.grpc}",
        admin_port=gateway.Socket("${socket.admin}"),
        status_port=gateway.Socket("${socket.status}"),
        directory="${directory}",
        traffic_directory="${directory}",
        options=options or gateway.GatewayOptions(),
    )


def store(program: str) -> Processes:
    """SeaweedFS as the stack's own S3, started with `store_files`. What can be off is, and all of it is on loopback.

    Its parts speak to each other at ports of their own, where anybody on the machine may connect: there they let in only who
    shows their own certificate.
    """
    parts = ("s3", "master", "filer", "volume", "admin")
    # weed puts these there whatever it is told, and leaves them behind.
    elsewhere = [f"{part}-grpc-${{port.{part}_grpc}}" for part in parts]
    return Processes(
        program=program,
        command=[
            "weed",
            "mini",
            "-dir=${directory}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3.config=${directory}/s3.json",
            "-s3.localSocket=${socket.s3}",
            "-filer.localSocket=${socket.filer}",
            "-master.telemetry=false",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            f"-volume.max={STORE_VOLUMES}",
            *(f"-{part}.port=${{port.{part}}}" for part in parts),
            *(f"-{part}.port.grpc=${{port.{part}_grpc}}" for part in parts),
        ],
        ports={name: 0 for part in parts for name in (part, f"{part}_grpc")},
        sockets=["s3", "filer"],
        ready={"port": "s3", "path": "/healthz", "timeout_seconds": READY_SECONDS},
        leftovers=[f"/tmp/seaweedfs-{socket}.sock" for socket in elsewhere],  # noqa: S108
    )


def store_files(access_key: str, secret_key: str, certificate: str, private_key: str) -> dict[str, str]:
    """What `store` reads at its start (secret): clients' credentials, and the certificate (PEM) that its parts show each other."""
    identity = {
        "name": "isthmus",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    return {
        "s3.json": json.dumps({"identities": [identity]}),
        "tls.crt": certificate,
        "tls.key": private_key,
        # By names alone: processes run in their own folder, and TOML could not spell every path.
        "security.toml": _store_security("tls.crt", "tls.key"),
    }


def _store_security(certificate_file: str, key_file: str) -> str:
    """SeaweedFS's security.toml: TLS with the same certificate on both sides, which is its own authority, wherever parts connect."""
    pair = {"cert": certificate_file, "key": key_file}
    trusted = {**pair, "ca": certificate_file}
    tables: dict[str, dict[str, Any]] = {
        "grpc": {"ca": certificate_file},
        **{f"grpc.{part}": pair for part in _STORE_GRPC_PARTS},
        **{f"https.{part}": trusted for part in _STORE_HTTP_PARTS},
        "https.client": {**trusted, "enabled": True},
    }
    # JSON's texts and booleans are TOML's as well.
    lines = [[f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())] for table, values in tables.items()]
    return "\n".join(line for table in lines for line in table) + "\n"


@dataclass(frozen=True)
class CloudAsked:
    """When a device asks the cloud role. min_confidence: None: only where it has no answer; AS_SIGNED: as its bundle says. deadline_ms: of
    requests that say none. same_version: it asks for the version that it serves itself, and for none else. follows_policy: it asks first
    where its bundle's policy says so. sends_features: it runs the first half of a network alone where its bundle's halves make that faster.
    """

    url: str
    min_confidence: float | str | None
    timeout_ms: int
    deadline_ms: int | None = None
    same_version: bool = False
    follows_policy: bool = False
    sends_features: bool = False


@dataclass(frozen=True)
class GroupAsked:
    """The group that a device works in. port: of the broker on this machine. certificate: of that, in PEM. password: the device's own.
    shares_inputs: peers may be asked."""

    name: str
    port: int
    certificate: str
    password: str
    shares_inputs: bool = False
    timeout_ms: int | None = None
    deadline_ms: int | None = None


@dataclass(frozen=True)
class DeviceConfig:
    """What one local device is told beside its enrolment. folder: of its enrolment and its models. cloud: None: it never asks it. group:
    None: it works alone."""

    folder: str
    model_name: str
    cloud: CloudAsked | None = None
    group: GroupAsked | None = None


def device(program: str, port: int) -> Processes:
    """One device's program, started with `device_files`. port: of its REST server; 0: any free one."""
    return Processes(
        program=program,
        command=["${python}", "-m", "isthmus_agent", "run", "--config", "${directory}/config.json"],
        ports={"rest": port},
        ready={"port": "rest", "path": HEALTH_PATH, "timeout_seconds": READY_SECONDS},
    )


def device_files(config: DeviceConfig) -> dict[str, str]:
    """What `device` reads at its start."""
    content = {
        "state_directory": config.folder,
        "model": config.model_name,
        "listen": {"address": "127.0.0.1", "port": "${port.rest}"},
        **_DEVICE_PACE,
        **({"fallback": _fallback(config.cloud)} if config.cloud else {}),
        **({"group": _group(config.group)} if config.group else {}),
    }
    beside = {_PASSWORD: config.group.password, _CERTIFICATE: config.group.certificate} if config.group else {}
    return {"config.json": json.dumps(content, indent=1).replace('"${port.rest}"', "${port.rest}"), **beside}


def _group(group: GroupAsked) -> dict[str, Any]:
    """MQTT 3.1.1 is what both brokers speak that may be here."""
    times = {"peer_timeout_ms": group.timeout_ms, "deadline_ms": group.deadline_ms}
    return {
        "name": group.name,
        "broker": f"mqtts://127.0.0.1:{group.port}",
        "ca_file": f"${{directory}}/{_CERTIFICATE}",
        "password_file": f"${{directory}}/{_PASSWORD}",
        "mqtt": "3.1.1",
        "inputs": STAY_IN_GROUP if group.shares_inputs else STAY_ON_DEVICE,
        **{name: it for name, it in times.items() if it is not None},
    }


def broker(program: str) -> Processes:
    """The broker of a fleet's groups, started with `broker_files`: Mosquitto where it is, else amqtt."""
    return Processes(
        program=program,
        command=["${python}", "-m", "isthmus.provider.local.group_broker", "${directory}", "${port.mqtt}"],
        ports={"mqtt": 0},
        ready={"port": "mqtt", "timeout_seconds": READY_SECONDS},
    )


def broker_files(passwords: Mapping[str, Mapping[str, str]], certificate: str, private_key: str) -> dict[str, str]:
    """What `broker` reads at its start (secret). passwords: of the devices, by their groups."""
    return {
        names.BROKER_GROUPS_FILE: json.dumps(passwords, sort_keys=True),
        names.BROKER_CERTIFICATE_FILE: certificate,
        names.BROKER_KEY_FILE: private_key,
    }


def _fallback(cloud: CloudAsked) -> dict[str, Any]:
    """What is not asked for is left out, as devices of earlier versions read it."""
    found: dict[str, Any] = {"url": cloud.url, "min_confidence": cloud.min_confidence or 0.0, "timeout_ms": cloud.timeout_ms}
    deadline = {} if cloud.deadline_ms is None else {"deadline_ms": cloud.deadline_ms}
    version = {"same_version": True} if cloud.same_version else {}
    signed = {"policy": cloud.follows_policy, "halves": cloud.sends_features}
    return {**found, **deadline, **version, **{name: AS_SIGNED for name, is_followed in signed.items() if is_followed}}
