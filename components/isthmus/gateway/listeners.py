"""Where clients connect: one listener for REST, one for gRPC, the same filters on both."""

from collections.abc import Iterator

from isthmus.gateway.access import CLIENT_HEADER, filters, strip_internal_headers
from isthmus.gateway.admission import FULL, full
from isthmus.gateway.routes import ROUTE_CONFIG
from isthmus.gateway.spec import Gateway, GatewayOptions
from isthmus.gateway.wire import Json, address, extension, header, seconds, typed, watched

CERTIFICATE = "gateway-certificate"

# AUTO: HTTP/1.1 or HTTP/2, as the client speaks.
_CODEC = {"rest": "AUTO", "grpc": "HTTP2"}
_ALPN = {"rest": ["h2", "http/1.1"], "grpc": ["h2"]}

# No client has this address. Without any, Envoy trusts all private ones.
NOBODY = "255.255.255.255"

MAX_HEADERS_KIB = 32
MAX_HEADERS = 100
HEADERS_TIMEOUT_SECONDS = 10
HANDSHAKE_TIMEOUT_SECONDS = 10
# Longer than load balancers keep idle connections (600 s): the side that sends requests should be the one that closes.
IDLE_SECONDS = 620
MAX_STREAMS = 100
STREAM_WINDOW_BYTES = 1024 * 1024
CONNECTION_WINDOW_BYTES = 4 * 1024 * 1024
CONNECTION_BUFFER_BYTES = 1024 * 1024

# Failures alone, and nothing of them that could be secret: no query, no header but the client's name, no body.
_LOGGED = {
    "time": "%START_TIME%",
    "listener": "",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ):256%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "duration_ms": "%DURATION%",
    "received_bytes": "%BYTES_RECEIVED%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "server": "%UPSTREAM_HOST%",
    "tries": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "client": f"%REQ({CLIENT_HEADER}):128%",
    "address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "request_id": "%REQ(X-REQUEST-ID)%",
}


def listeners(gateway: Gateway) -> Iterator[Json]:
    for kind, port in (("rest", gateway.rest_port), ("grpc", gateway.grpc_port)):
        yield {
            "name": kind,
            "address": address(gateway.bind_address, port),
            **exclusive(gateway),
            "per_connection_buffer_limit_bytes": CONNECTION_BUFFER_BYTES,
            "filter_chains": [
                {
                    "filters": [extension("envoy.filters.network.http_connection_manager", HCM, **_manager(gateway, kind))],
                    **(_tls(gateway, kind) if gateway.options.tls else {}),
                }
            ],
        }


def exclusive(gateway: Gateway) -> Json:
    """Envoy lets another one listen on the same port (SO_REUSEPORT), and each gets a part of the connections, unless it is told not to.

    Where nobody else can, its threads share connections out better for it.
    """
    return {} if gateway.has_own_network else {"enable_reuse_port": False}


def certificate(gateway: Gateway) -> Iterator[Json]:
    """Where the certificate lies: renewed files take effect without a restart."""
    if tls := gateway.options.tls:
        yield {
            "name": CERTIFICATE,
            "tls_certificate": {
                "certificate_chain": {"filename": tls.certificate_file},
                "private_key": {"filename": tls.key_file},
                "watched_directory": {"path": tls.certificate_file.rpartition("/")[0]},
            },
        }


RESOURCE_EXHAUSTED = "8"
HCM = "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def _manager(gateway: Gateway, kind: str) -> Json:
    options = gateway.options
    return {
        "stat_prefix": kind,
        "codec_type": _CODEC[kind],
        "rds": {"route_config_name": ROUTE_CONFIG, "config_source": watched(gateway.traffic_directory, "rds.json")},
        "http_filters": list(filters(gateway)),
        "access_log": [_failures(kind)],
        **safe_paths(),
        **_addresses(options),
        **_timeouts(options),
        "max_request_headers_kb": MAX_HEADERS_KIB,
        # Old clients and load balancers' checks. They need not name a host.
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": gateway.node},
        "http2_protocol_options": {
            "max_concurrent_streams": MAX_STREAMS,
            "initial_stream_window_size": STREAM_WINDOW_BYTES,
            "initial_connection_window_size": CONNECTION_WINDOW_BYTES,
        },
        "local_reply_config": _errors(options, kind),
    }


def safe_paths() -> Json:
    """One spelling for each path, so that none gets round a route."""
    return {"normalize_path": True, "merge_slashes": True, "path_with_escaped_slashes_action": "REJECT_REQUEST"}


def _addresses(options: GatewayOptions) -> Json:
    return {
        "use_remote_address": True,
        "xff_num_trusted_hops": options.trusted_hops,
        # Nobody is trusted for coming from a private address: in a cluster all do.
        "internal_address_config": {"cidr_ranges": [{"address_prefix": NOBODY, "prefix_len": 32}]},
        "early_header_mutation_extensions": [strip_internal_headers()],
    }


def _timeouts(options: GatewayOptions) -> Json:
    return {
        "request_headers_timeout": seconds(HEADERS_TIMEOUT_SECONDS),
        "request_timeout": seconds(options.timeout_seconds),
        "stream_idle_timeout": seconds(options.timeout_seconds + 5),
        "common_http_protocol_options": {
            "idle_timeout": seconds(IDLE_SECONDS),
            "max_headers_count": MAX_HEADERS,
            "headers_with_underscores_action": "DROP_HEADER",
            "max_connection_duration": seconds(options.drain_seconds),
        },
        # Never closed under a request that is on its way: the next answer says `Connection: close`.
        "http1_safe_max_connection_duration": True,
    }


def _errors(options: GatewayOptions, kind: str) -> Json:
    """The gateway's own errors: for REST in TensorFlow Serving's form, `{"error": "…"}`; gRPC has its own."""
    texts = {
        413: f"The request is larger than {options.max_request_bytes} bytes",
        429: "Too many requests from this client: x-ratelimit-reset says when to ask again",
    }
    # A status that says it, where Envoy would say UNKNOWN.
    grpc_status = {413: RESOURCE_EXHAUSTED} if kind == "grpc" else {}
    return {
        "mappers": [
            *full(options, _body(kind, FULL)),
            *(
                {
                    "filter": _status("EQ", status),
                    "body": {"inline_string": text},
                    **({"headers_to_add": [header("grpc-status", grpc_status[status])]} if status in grpc_status else {}),
                }
                for status, text in texts.items()
            ),
            *({"filter": _where(condition), "body_format_override": _body(kind, text)} for condition, text in _WORDLESS.items()),
        ],
        "body_format": _body(kind, "%LOCAL_REPLY_BODY%"),
    }


# Where Envoy itself says nothing. What it says of tokens is good, and what a route answers has its own words.
_WORDLESS = {
    "response.code == 400": "The request cannot be read: %RESPONSE_CODE_DETAILS%",
    "response.code == 403 && response.code_details.startsWith('rbac_')": "The token's subject (sub) is empty, or not printable ASCII",
    "response.code == 403 && !response.code_details.startsWith('jwt_')": "This is not allowed: %RESPONSE_CODE_DETAILS%",
    "response.code == 404 && response.code_details != 'direct_response'": "There is nothing at this path: %RESPONSE_CODE_DETAILS%",
}


def _where(condition: str) -> Json:
    """A filter by a condition in CEL."""
    name = "envoy.access_loggers.extension_filters.cel"
    return {"extension_filter": extension(name, "extensions.access_loggers.filters.cel.v3.ExpressionFilter", expression=condition)}


def _body(kind: str, text: str) -> Json:
    return {"json_format": {"error": text}} if kind == "rest" else {"text_format_source": {"inline_string": text}}


def _failures(kind: str) -> Json:
    failed: Json = _status("GE", 400)
    if kind == "grpc":
        failed = {"or_filter": {"filters": [failed, {"grpc_status_filter": {"statuses": ["OK"], "exclude": True}}]}}
    return {
        **extension(
            "envoy.access_loggers.stdout",
            "extensions.access_loggers.stream.v3.StdoutAccessLog",
            log_format={"json_format": {**_LOGGED, "listener": kind}},
        ),
        "filter": {"and_filter": {"filters": [{"not_health_check_filter": {}}, failed]}},
    }


def _status(op: str, status: int) -> Json:
    return {"status_code_filter": {"comparison": {"op": op, "value": {"default_value": status, "runtime_key": "none"}}}}


def _tls(gateway: Gateway, kind: str) -> Json:
    context = typed(
        "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": _ALPN[kind],
            "tls_certificate_sds_secret_configs": [{"name": CERTIFICATE, "sds_config": watched(gateway.directory, "sds.json")}],
        },
    )
    return {
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
        "transport_socket_connect_timeout": seconds(HANDSHAKE_TIMEOUT_SECONDS),
    }
