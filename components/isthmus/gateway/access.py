"""Who may ask, how often, and how much: the HTTP filters before the router."""

from collections.abc import Iterator

from isthmus.gateway.clusters import cluster_name
from isthmus.gateway.spec import Gateway, GatewayOptions, Jwt
from isthmus.gateway.wire import Json, extension, seconds, typed

KEY_HEADER = "x-api-key"
# Set by the gateway alone: the API key's client, or the token's subject.
CLIENT_HEADER = "x-isthmus-client"

ALIVE_PATH = "/healthz"
READY_PATH = "/readyz"

# Clients with a bucket of their own; the one that asked least recently makes room.
MAX_CLIENTS = 10_000
_HUNDRED_PERCENT = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def filters(gateway: Gateway) -> Iterator[Json]:
    """In this order: a request is held in memory only once it is known to be welcome."""
    options = gateway.options
    yield from health(gateway)
    yield from _authentication(options)
    if options.requests_per_second_per_client:
        yield _rate_limit(options)
    yield extension("envoy.filters.http.buffer", "extensions.filters.http.buffer.v3.Buffer", max_request_bytes=options.max_request_bytes)
    # Counts a server's gRPC errors, which are HTTP 200, as errors of its cluster: a canary is judged by them too.
    yield extension("envoy.filters.http.grpc_stats", "extensions.filters.http.grpc_stats.v3.FilterConfig", emit_filter_state=False)
    yield router()


def router() -> Json:
    return extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router", suppress_envoy_headers=True)


def health(gateway: Gateway) -> Iterator[Json]:
    """For load balancers, without a key: whether the gateway runs, and whether a server is there to answer."""
    served = {cluster_name(gateway.tracks[0].name, "rest"): {"value": 1}}
    for path, needs in ((ALIVE_PATH, {}), (READY_PATH, {"cluster_min_healthy_percentages": served})):
        yield extension(
            "envoy.filters.http.health_check",
            "extensions.filters.http.health_check.v3.HealthCheck",
            pass_through_mode=False,
            headers=[{"name": ":path", "string_match": {"exact": path}}],
            **needs,
        )


def strip_internal_headers() -> Json:
    """What only the gateway itself may say is removed from what clients send."""
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"remove": CLIENT_HEADER}, {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}}],
    )


def _authentication(options: GatewayOptions) -> Iterator[Json]:
    either = bool(options.api_keys) and options.jwt is not None
    if options.api_keys:
        keys = extension(
            "envoy.filters.http.api_key_auth",
            "extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
            credentials=[{"client": client, "key": key} for client, key in options.api_keys.items()],
            key_sources=[{"header": KEY_HEADER}],
            forwarding={"header": CLIENT_HEADER, "hide_credentials": True},
        )
        yield _skipped(keys, {"not_matcher": _has(KEY_HEADER)}) if either else keys
    if options.jwt:
        tokens = _tokens(options.jwt)
        # The key is gone by now, and its client stands in this header, which no client can send.
        yield _skipped(tokens, _has(CLIENT_HEADER)) if either else tokens


def _tokens(jwt: Jwt) -> Json:
    provider = {
        "issuer": jwt.issuer,
        "audiences": list(jwt.audiences),
        "local_jwks": {"inline_string": jwt.jwks},
        # Named, so that a token in the query (and in every log on the way) is not accepted.
        "from_headers": [{"name": "authorization", "value_prefix": "Bearer "}],
        "forward": False,
        "claim_to_headers": [{"header_name": CLIENT_HEADER, "claim_name": "sub"}],
        "require_expiration": True,
    }
    return extension(
        "envoy.filters.http.jwt_authn",
        "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers={"jwt": provider},
        rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "jwt"}}],
    )


def _skipped(inner: Json, predicate: Json) -> Json:
    """The filter, left out for requests that match."""
    skip = {"action": {"name": "skip", "typed_config": typed("extensions.filters.common.matcher.action.v3.SkipFilter")}}
    return extension(
        inner["name"],
        "extensions.common.matching.v3.ExtensionWithMatcher",
        extension_config=inner,
        xds_matcher={"matcher_list": {"matchers": [{"predicate": predicate, "on_match": skip}]}},
    )


def _has(header: str) -> Json:
    return {
        "single_predicate": {
            "input": {"name": header, "typed_config": typed("type.matcher.v3.HttpRequestHeaderMatchInput", header_name=header)},
            "value_match": {"safe_regex": {"google_re2": {}, "regex": ".*"}},
        }
    }


def _rate_limit(options: GatewayOptions) -> Json:
    # Without keys and tokens a client is where it comes from.
    by_name = {"request_headers": {"header_name": CLIENT_HEADER, "descriptor_key": "client"}}
    key, action = ("client", by_name) if options.has_access_control else ("remote_address", {"remote_address": {}})
    bucket = _bucket(options.requests_per_second_per_client, options.burst_per_client)
    return extension(
        "envoy.filters.http.local_ratelimit",
        "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="per_client",
        filter_enabled=_HUNDRED_PERCENT,
        filter_enforced=_HUNDRED_PERCENT,
        # For tokens without a subject: they share it.
        token_bucket=bucket,
        always_consume_default_token_bucket=False,
        rate_limits=[{"actions": [action]}],
        # Without a value: each value gets a bucket of its own.
        descriptors=[{"entries": [{"key": key}], "token_bucket": bucket}],
        max_dynamic_descriptors=MAX_CLIENTS,
        enable_x_ratelimit_headers="DRAFT_VERSION_03",
        rate_limited_as_resource_exhausted=True,
    )


def _bucket(per_second: float, burst: int) -> Json:
    # Whole tokens, so that a rate of 2.5 is 25 in 10 seconds; the bucket fills evenly in between.
    tokens = max(1, round(per_second * 10))
    return {
        "max_tokens": burst or max(1, round(per_second)),
        "tokens_per_fill": tokens,
        "fill_interval": seconds(max(tokens / per_second, 0.05)),
    }
