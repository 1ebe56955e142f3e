"""The `local` platform: what runs on this machine, as values.

Each function returns the inputs of one `LocalProcesses` resource. Nothing is started here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isthmus import gateway

# A replica imports TensorFlow before it serves; on a busy 2-core machine that takes most of a minute.
SERVER_READY_SECONDS = 180
READY_SECONDS = 60
AGENT_POLL_SECONDS = 1


@dataclass(frozen=True)
class Processes:
    """Inputs of a `LocalProcesses`, named as there."""

    program: str
    command: Sequence[str]
    ports: Mapping[str, int]
    ready: Mapping[str, Any]
    replicas: int = 1
    files: Mapping[str, str] = field(default_factory=dict)
    live_files: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    leftovers: Sequence[str] = ()


def server(program: str, model_name: str, model_directory: str, replicas: int) -> Processes:
    """Replicas of the embedded model server. model_directory: holds one folder for each version."""
    return Processes(
        program=program,
        command=[
            "${python}",
            "-m",
            "isthmus.server",
            "--port=${port.grpc}",
            "--rest_api_port=${port.rest}",
            f"--model_name={model_name}",
            f"--model_base_path={model_directory}",
            "--monitoring_config_file=${directory}/monitoring.config",
            "--max_num_load_retries=0",  # a model that cannot be loaded is an error now, not in five minutes
        ],
        ports={"rest": 0, "grpc": 0},
        replicas=replicas,
        files={"monitoring.config": "prometheus_config { enable: true }\n"},
        ready={"port": "rest", "path": f"/v1/models/{model_name}", "contains": "AVAILABLE", "timeout_seconds": SERVER_READY_SECONDS},
    )


def envoy(program: str, model_name: str, *, port: int, grpc_port: int, options: gateway.GatewayOptions | None = None) -> Processes:
    """The gateway, started with `gateway_files`. port, grpc_port: where it listens; 0: any free one."""
    known = gateway_spec(program, model_name, options=options)
    return Processes(
        program=program,
        command=gateway.command(known, "${directory}/envoy.json"),
        ports={"rest": port, "grpc": grpc_port, "admin": 0, "status": 0},
        files=gateway.static_files(known),
        ready={"port": "status", "path": gateway.READY_PATH, "timeout_seconds": READY_SECONDS},
    )


def gateway_files(
    program: str,
    model_name: str,
    endpoints: Sequence[Mapping[str, int]],
    balancing: str,
    options: gateway.GatewayOptions | None = None,
) -> dict[str, str]:
    """What `envoy` takes up while it runs (secret where the options hold API keys).

    endpoints: of the servers, one mapping of `rest` and `grpc` to loopback ports each.
    """
    servers = tuple(gateway.Server("127.0.0.1", int(ports["rest"]), int(ports["grpc"])) for ports in endpoints)
    known = gateway_spec(program, model_name, servers, balancing, options)
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
        tracks=(gateway.Track(gateway.STABLE, 0, servers),),
        balancing=balancing,
        rest_port="${port.rest}",
        grpc_port="${port.grpc}",
        admin_port="${port.admin}",
        status_port="${port.status}",
        directory="${directory}",
        traffic_directory="${directory}",
        options=options or gateway.GatewayOptions(),
    )


def store(program: str) -> Processes:
    """SeaweedFS as the stack's own S3, started with `store_files`. Everything but S3 is off, and all of it on loopback."""
    parts = ("s3", "master", "filer", "volume", "admin")
    # weed puts these there whatever it is told, and leaves them behind.
    sockets = [*(f"{part}-grpc-${{port.{part}_grpc}}" for part in parts), "s3-${port.s3}", "filer-${port.filer}"]
    return Processes(
        program=program,
        command=[
            "weed",
            "mini",
            "-dir=${directory}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3.config=${directory}/s3.json",
            "-master.telemetry=false",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            *(f"-{part}.port=${{port.{part}}}" for part in parts),
            *(f"-{part}.port.grpc=${{port.{part}_grpc}}" for part in parts),
        ],
        ports={name: 0 for part in parts for name in (part, f"{part}_grpc")},
        ready={"port": "s3", "path": "/healthz", "timeout_seconds": READY_SECONDS},
        leftovers=[f"/tmp/seaweedfs-{socket}.sock" for socket in sockets],  # noqa: S108
    )


def store_files(access_key: str, secret_key: str) -> dict[str, str]:
    """What `store` reads its credentials from (secret): without them nobody may read or write."""
    identity = {
        "name": "isthmus",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    return {"s3.json": json.dumps({"identities": [identity]})}


@dataclass(frozen=True)
class DeviceConfig:
    """What one local device's agent is told. fallback_url: "" where it never asks anybody."""

    device: str
    fleet: str
    model_name: str
    store: Mapping[str, str]
    bucket: str
    prefix: str
    public_key: str
    fallback_url: str
    min_confidence: float | None
    fallback_timeout_ms: int


def agent(program: str, port: int) -> Processes:
    """One device's agent, started with `agent_files`. port: of its REST server; 0: any free one."""
    return Processes(
        program=program,
        command=["${python}", "-m", "isthmus.agent", "--config", "${directory}/agent.json"],
        ports={"rest": port},
        ready={"port": "rest", "path": "/healthz", "timeout_seconds": READY_SECONDS},
    )


def agent_files(config: DeviceConfig) -> dict[str, str]:
    """What `agent` is told (secret: it holds the store's credentials)."""
    fallback = (
        {"url": config.fallback_url, "min_confidence": config.min_confidence or 0.0, "timeout_ms": config.fallback_timeout_ms}
        if config.fallback_url
        else None
    )
    content = {
        "device": config.device,
        "fleet": config.fleet,
        "model": config.model_name,
        "state_directory": "${directory}/state",
        "bind_address": "127.0.0.1",
        "port": "${port.rest}",
        "store": {**config.store, "bucket": config.bucket, "prefix": config.prefix},
        "public_key": config.public_key,
        "poll_seconds": AGENT_POLL_SECONDS,
        "fallback": fallback,
    }
    return {"agent.json": json.dumps(content, indent=1).replace('"${port.rest}"', "${port.rest}")}
