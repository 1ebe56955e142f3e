"""The servers behind the gateway: one cluster for each track and protocol, `stable-rest`, `stable-grpc`, `canary-rest`, …"""

from collections.abc import Iterator, Sequence

from isthmus.gateway.admission import device_limits
from isthmus.gateway.spec import Gateway, GatewayOptions, Server, Socket, Track
from isthmus.gateway.wire import Json, address, extension, seconds, typed
from isthmus.names import model_path

PROTOCOLS = ("rest", "grpc")

# The first requests to a fresh server are slow (memory is touched, kernels are chosen): its share grows over this time.
SLOW_START_SECONDS = 10
SLOW_START_MIN_PERCENT = 10
_SLOW_START = {
    "slow_start_config": {
        "slow_start_window": seconds(SLOW_START_SECONDS),
        "min_weight_percent": {"value": SLOW_START_MIN_PERCENT},
    }
}
# Of Envoy's load balancing policies: which one, and its settings. The server with the fewest requests is looked for among all,
# not the better of two that are drawn; and there without a slow start, which makes Envoy go by weights that it works out when a server
# was last chosen (measured in docs/performance.md: half as long again). A slow server has more requests, and so gets fewer anyway.
_POLICIES: dict[str, tuple[str, Json]] = {
    "round_robin": ("round_robin.v3.RoundRobin", _SLOW_START),
    "weighted": ("round_robin.v3.RoundRobin", _SLOW_START),
    "least_request": ("least_request.v3.LeastRequest", {"selection_method": "FULL_SCAN"}),
}

# gRPC servers answer too many HTTP/2 pings by closing; TCP's own probes cost them nothing. A Unix socket has none: its peer cannot
# vanish without a word.
_KEEPALIVE: Json = {
    "upstream_connection_options": {"tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 10, "keepalive_interval": 5}}
}

CONNECT_TIMEOUT_SECONDS = 2
# Shorter than a server closes idle connections (TensorFlow Serving: 50 s), so that no request meets a closing one.
UPSTREAM_IDLE_SECONDS = 30
DNS_REFRESH_SECONDS = 2

HEALTH_INTERVAL_SECONDS = 1
# A server whose cores are all busy answers late, and is not dead.
HEALTH_TIMEOUT_SECONDS = 3
UNHEALTHY_THRESHOLD = 2
# Envoy gathers changes of health for so long before its threads hear of them.
HEALTH_TAKES_EFFECT_SECONDS = 0.1

# Behind a name there are only servers that another check has found ready. Where the gateway's own finds none of them healthy, it is late
# itself (new addresses on a machine without a processor to spare), and any of them is asked.
PANIC_PERCENT_OF_NAMES = 1

# So many failures in a row, and a server gets no requests for a while. Gateway failures (502, 503, 504) and failures to reach
# it at all are its own; another 5xx may come from one client's bad requests, so that it takes more of them.
OUTLIER_FAILURES = 3
OUTLIER_ERRORS = 10
EJECTION_SECONDS = 5
MAX_EJECTION_SECONDS = 60
# Whatever clients send: the other half goes on serving.
MAX_EJECTION_PERCENT = 50


def cluster_name(track: str, protocol: str) -> str:
    return f"{track}-{protocol}"


def health_path(model_name: str, version: int) -> str:
    """Answers 200 only when the version is loaded. `/v1/models/NAME` would answer 200 also while it is loading."""
    pinned = f"/versions/{version}" if version else ""
    return f"{model_path(model_name)}{pinned}/metadata"


def clusters(gateway: Gateway) -> Iterator[Json]:
    for track in gateway.tracks:
        for protocol in PROTOCOLS:
            yield _cluster(gateway, track, protocol)


def _cluster(gateway: Gateway, track: Track, protocol: str) -> Json:
    name = cluster_name(track.name, protocol)
    weighted = gateway.balancing == "weighted"
    listed = [server for server in track.servers if server.weight > 0]
    return {
        "name": name,
        "connect_timeout": seconds(CONNECT_TIMEOUT_SECONDS),
        "load_balancing_policy": _load_balancing_policy(gateway.balancing),
        # No panic mode by half: Envoy would spread requests over dead servers too, and spend the retries' budget on them. Overload
        # is met by the circuit breakers; a slow server is not unhealthy, see HEALTH_TIMEOUT_SECONDS.
        "common_lb_config": {
            "healthy_panic_threshold": {"value": PANIC_PERCENT_OF_NAMES if track.resolve else 0},
            "update_merge_window": seconds(HEALTH_TAKES_EFFECT_SECONDS),
        },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [_endpoint(server, protocol, weighted=weighted) for server in listed]}],
        },
        "health_checks": [_health_check(gateway.model_name, track.version)],
        # What is on its way is left to the timeout of a try; nothing new goes over connections that may hang.
        "close_connections_on_host_health_failure": True,
        "outlier_detection": _outlier_detection(),
        "circuit_breakers": {"thresholds": _thresholds(gateway.options)},
        **({} if _are_sockets(listed) else _KEEPALIVE),
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _protocol(protocol)},
        **(_names() if track.resolve else {"type": "STATIC"}),
    }


def _are_sockets(servers: Sequence[Server]) -> bool:
    return any(isinstance(server.rest_port, Socket) for server in servers)


def _load_balancing_policy(balancing: str) -> Json:
    kind, settings = _POLICIES[balancing]
    name = f"envoy.load_balancing_policies.{kind.partition('.')[0]}"
    return {"policies": [{"typed_extension_config": extension(name, f"extensions.load_balancing_policies.{kind}", **settings)}]}


def _endpoint(server: Server, protocol: str, *, weighted: bool) -> Json:
    port = server.rest_port if protocol == "rest" else server.grpc_port
    endpoint: Json = {
        "endpoint": {
            "address": address(server.host, port),
            # gRPC servers are asked at their REST port too: one definition of "healthy".
            "health_check_config": {"address": address(server.host, server.rest_port)}
            if isinstance(server.rest_port, Socket)
            else {"port_value": server.rest_port},
        }
    }
    return {**endpoint, "load_balancing_weight": server.weight} if weighted else endpoint


def _names() -> Json:
    """How hosts that are DNS names are looked up."""
    return {
        "cluster_type": extension(
            "envoy.cluster.dns",
            "extensions.clusters.dns.v3.DnsCluster",
            dns_refresh_rate=seconds(DNS_REFRESH_SECONDS),
            # The name service gives a time to live that is longer than a server takes to come and go.
            respect_dns_ttl=False,
            dns_failure_refresh_rate={"base_interval": "1s", "max_interval": "5s"},
            dns_lookup_family="V4_ONLY",
        ),
        # A server that is leaving answers health checks until it is gone: believe the name service.
        "ignore_health_on_host_removal": True,
    }


def _health_check(model_name: str, version: int) -> Json:
    interval = seconds(HEALTH_INTERVAL_SECONDS)
    return {
        "timeout": seconds(HEALTH_TIMEOUT_SECONDS),
        "interval": interval,
        "no_traffic_interval": interval,
        "unhealthy_threshold": UNHEALTHY_THRESHOLD,
        "healthy_threshold": 1,
        "http_health_check": {"path": health_path(model_name, version), "codec_client_type": "HTTP1"},
    }


def _outlier_detection() -> Json:
    return {
        "interval": "1s",
        "base_ejection_time": seconds(EJECTION_SECONDS),
        "max_ejection_time": seconds(MAX_EJECTION_SECONDS),
        "max_ejection_percent": MAX_EJECTION_PERCENT,
        "split_external_local_origin_errors": True,
        "consecutive_local_origin_failure": OUTLIER_FAILURES,
        "consecutive_gateway_failure": OUTLIER_FAILURES,
        "enforcing_consecutive_gateway_failure": 100,
        "consecutive_5xx": OUTLIER_ERRORS,
        # Statistics over servers need more of them than most services have.
        "enforcing_success_rate": 0,
        "enforcing_local_origin_success_rate": 0,
        # Metadata can be fine where predictions fail.
        "successful_active_health_check_uneject_host": False,
    }


def _thresholds(options: GatewayOptions) -> list[Json]:
    limits = _limits(options)
    return [limits, *device_limits(options, limits)]


def _limits(options: GatewayOptions) -> Json:
    return {
        "max_connections": options.max_requests,
        "max_pending_requests": options.max_pending_requests,
        "max_requests": options.max_requests,
        "retry_budget": {
            "budget_percent": {"value": options.max_retries_percent},
            "min_retry_concurrency": options.min_retries,
        },
        "track_remaining": True,
    }


def _protocol(protocol: str) -> Json:
    own: Json = {"http_protocol_options": {}} if protocol == "rest" else {"http2_protocol_options": {}}
    return typed(
        "extensions.upstreams.http.v3.HttpProtocolOptions",
        common_http_protocol_options={"idle_timeout": seconds(UPSTREAM_IDLE_SECONDS)},
        explicit_http_config=own,
    )
