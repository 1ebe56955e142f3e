"""The file that Envoy starts with, which never changes while it runs: where it finds the rest, and what it may use.

With it comes the status listener: the few pages of Envoy's admin interface that probes and Prometheus need. Admin itself stays on
loopback, where everybody on the machine may ask: so it shows no more than that and the servers' health, and changes nothing.
"""

from collections.abc import Iterator

from isthmus.gateway.access import health, router
from isthmus.gateway.listeners import HCM, exclusive, safe_paths
from isthmus.gateway.spec import Gateway, GatewayOptions
from isthmus.gateway.wire import Json, address, extension, seconds, watched

ADMIN_CLUSTER = "admin"
# p95 is read off these: finer than Envoy's own where inference is.
LATENCY_BUCKETS_MS = (0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 2000, 5000, 10_000, 30_000, 60_000)
_STATUS_PAGES: tuple[Json, ...] = (
    {"path": "/ready"},
    {"path": "/stats"},
    {"path": "/stats/prometheus"},
    {"path": "/config_dump", "query_parameters": [{"name": "resource", "string_match": {"exact": "dynamic_route_configs"}}]},
)
_STATUS_TIMEOUT_SECONDS = 10
_ROUTES_PAGE = "/config_dump?resource=dynamic_route_configs"
# Paths with their queries. Other dumps hold API keys, and other pages end the process or change it.
_ADMIN_PAGES: tuple[Json, ...] = (
    {"exact": "/ready"},
    {"exact": "/clusters"},
    {"exact": _ROUTES_PAGE},
    {"safe_regex": {"regex": r"/stats(/prometheus)?(\?.*)?"}},
)


def bootstrap(gateway: Gateway) -> Json:
    return {
        "node": {"id": gateway.node, "cluster": gateway.node},
        "admin": {"address": address(gateway.admin_address, gateway.admin_port), "allow_paths": list(_ADMIN_PAGES)},
        "dynamic_resources": {
            "lds_config": watched(gateway.directory, "lds.json"),
            "cds_config": watched(gateway.directory, "cds.json"),
        },
        "static_resources": _status(gateway) if gateway.status_port is not None else {},
        "overload_manager": _overload(gateway.options),
        "stats_config": {"histogram_bucket_settings": [{"match": {"suffix": "_rq_time"}, "buckets": list(LATENCY_BUCKETS_MS)}]},
    }


def command(gateway: Gateway, file: str) -> list[str]:
    """How Envoy is started. file: where its bootstrap file lies."""
    options = gateway.options
    workers = ["--concurrency", str(options.workers)] if options.workers else []
    return [
        "envoy",
        "--config-path",
        file,
        # Several gateways on one machine share nothing.
        "--disable-hot-restart",
        # A listener that was replaced (other keys, say) asks to close with every answer, and is gone after this time.
        "--drain-strategy",
        "immediate",
        "--drain-time-s",
        str(round(options.drain_seconds + options.timeout_seconds)),
        # The access log is written after at most this time.
        "--file-flush-interval-msec",
        "1000",
        "--log-level",
        "warning",
        *workers,
    ]


def _overload(options: GatewayOptions) -> Json:
    monitors = [
        extension(
            "envoy.resource_monitors.global_downstream_max_connections",
            "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            max_active_downstream_connections=options.max_connections,
        )
    ]
    if not options.max_memory_bytes:
        return {"resource_monitors": monitors}
    heap = "envoy.resource_monitors.fixed_heap"
    monitors.append(
        extension(heap, "extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=options.max_memory_bytes)
    )
    return {
        "resource_monitors": monitors,
        "refresh_interval": "0.25s",
        "actions": [
            {"name": f"envoy.overload_actions.{action}", "triggers": [{"name": heap, "threshold": {"value": used}}]}
            for action, used in (("shrink_heap", 0.8), ("disable_http_keepalive", 0.85), ("stop_accepting_requests", 0.9))
        ],
    }


def _status(gateway: Gateway) -> Json:
    manager = {
        "stat_prefix": "status",
        **safe_paths(),
        "route_config": {"name": "status", "virtual_hosts": [{"name": "status", "domains": ["*"], "routes": list(_status_routes())}]},
        "http_filters": [*health(gateway), router()],
    }
    return {
        "listeners": [
            {
                "name": "status",
                "address": address(gateway.bind_address, gateway.status_port or 0),
                **exclusive(gateway),
                # Probes must get through when clients have taken all connections.
                "ignore_global_conn_limit": True,
                "bypass_overload_manager": True,
                "filter_chains": [{"filters": [extension("envoy.filters.network.http_connection_manager", HCM, **manager)]}],
            }
        ],
        "clusters": [
            {
                "name": ADMIN_CLUSTER,
                "type": "STATIC",
                "connect_timeout": "1s",
                "load_assignment": {
                    "cluster_name": ADMIN_CLUSTER,
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(gateway.admin_address, gateway.admin_port)}}]}],
                },
            }
        ],
    }


def _status_routes() -> Iterator[Json]:
    only_get = {"headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}
    for page in _STATUS_PAGES:
        yield {"match": {**page, **only_get}, "route": {"cluster": ADMIN_CLUSTER, "timeout": seconds(_STATUS_TIMEOUT_SECONDS)}}
    yield {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
