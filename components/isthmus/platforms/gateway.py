"""The gateway: Envoy's configuration as a pure function of who serves and how requests are balanced.

The bootstrap file never changes; listeners and clusters lie in files that Envoy watches (file-based xDS), so that new
servers or another policy take effect without a restart and without losing a request.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

LB_POLICY = {"round_robin": "ROUND_ROBIN", "least_request": "LEAST_REQUEST"}

CONNECT_TIMEOUT_SECONDS = 2
REQUEST_TIMEOUT_SECONDS = 30
HEALTH_INTERVAL_SECONDS = 1
MAX_REQUEST_BYTES = 64 * 1024 * 1024
MAX_CONNECTIONS = 10_000
# A request that a server refused or dropped before it answered is tried on another one.
RETRY_POLICY = {
    "retry_on": "connect-failure,refused-stream,reset-before-request,retriable-status-codes",
    "retriable_status_codes": [503],
    "num_retries": 3,
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }
    ],
    "host_selection_retry_max_attempts": 5,
}

Json = dict[str, Any]


def bootstrap(node: str) -> Json:
    """The file that Envoy starts with. `${port.admin}` and `${directory}` are filled in per process."""
    watch = {"resource_api_version": "V3"}
    return {
        "node": {"id": node, "cluster": node},
        "admin": {"address": _address("127.0.0.1", "${port.admin}")},
        "dynamic_resources": {
            kind: {**watch, "path_config_source": {"path": f"${{directory}}/{file}", "watched_directory": {"path": "${directory}"}}}
            for kind, file in (("lds_config", "lds.json"), ("cds_config", "cds.json"))
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": MAX_CONNECTIONS,
                    },
                }
            ]
        },
    }


def listeners() -> Json:
    """REST on `${port.rest}`, gRPC on `${port.grpc}`."""
    return _resources("envoy.config.listener.v3.Listener", [_listener("rest", "AUTO"), _listener("grpc", "HTTP2")])


def clusters(model_name: str, endpoints: Sequence[Mapping[str, int]], balancing: str) -> Json:
    """The servers behind the gateway.

    Args:
        endpoints: one mapping of `rest` and `grpc` to loopback ports for each server.
        balancing: a key of LB_POLICY.
    """
    return _resources("envoy.config.cluster.v3.Cluster", [_cluster(kind, model_name, endpoints, balancing) for kind in ("rest", "grpc")])


def files(node: str) -> dict[str, str]:
    """Files that need a restart when they change."""
    return {"envoy.json": _text(bootstrap(node))}


def live_files(model_name: str, endpoints: Sequence[Mapping[str, int]], balancing: str) -> dict[str, str]:
    """Files that Envoy takes up while it runs."""
    return {"cds.json": _text(clusters(model_name, endpoints, balancing)), "lds.json": _text(listeners())}


def _text(content: Json) -> str:
    # A port is a number in Envoy's schema, and a placeholder in ours: protobuf's JSON accepts a quoted number.
    return json.dumps(content, indent=1, sort_keys=True)


def _resources(kind: str, resources: list[Json]) -> Json:
    return {"resources": [{"@type": f"type.googleapis.com/{kind}", **resource} for resource in resources]}


def _address(host: str, port: int | str) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


def _listener(kind: str, codec: str) -> Json:
    route = {
        "name": kind,
        "virtual_hosts": [
            {
                "name": kind,
                "domains": ["*"],
                "routes": [
                    {
                        "match": {"prefix": "/"},
                        "route": {"cluster": kind, "timeout": f"{REQUEST_TIMEOUT_SECONDS}s", "retry_policy": RETRY_POLICY},
                    }
                ],
            }
        ],
    }
    manager: Json = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": kind,
        "codec_type": codec,
        "route_config": route,
        "normalize_path": True,
        "http_filters": [
            {
                "name": "envoy.filters.http.buffer",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer",
                    "max_request_bytes": MAX_REQUEST_BYTES,
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            },
        ],
    }
    if kind == "grpc":
        del manager["http_filters"][0]  # streams are not buffered whole
    return {
        "name": kind,
        "address": _address("127.0.0.1", f"${{port.{kind}}}"),
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }


def _cluster(kind: str, model_name: str, endpoints: Sequence[Mapping[str, int]], balancing: str) -> Json:
    cluster: Json = {
        "name": kind,
        "type": "STATIC",
        "connect_timeout": f"{CONNECT_TIMEOUT_SECONDS}s",
        "lb_policy": LB_POLICY[balancing],
        "load_assignment": {
            "cluster_name": kind,
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {
                                "address": _address("127.0.0.1", int(ports[kind])),
                                # gRPC servers are asked at their REST port too: one definition of "healthy".
                                "health_check_config": {"port_value": int(ports["rest"])},
                            }
                        }
                        for ports in endpoints
                    ]
                }
            ],
        },
        "health_checks": [
            {
                "timeout": "1s",
                "interval": f"{HEALTH_INTERVAL_SECONDS}s",
                "no_traffic_interval": f"{HEALTH_INTERVAL_SECONDS}s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": f"/v1/models/{model_name}"},
            }
        ],
    }
    if kind == "grpc":
        cluster["typed_extension_protocol_options"] = {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        }
        cluster["health_checks"][0]["http_health_check"]["codec_client_type"] = "HTTP1"
    return cluster
