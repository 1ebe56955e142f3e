"""Who may ask, how often, and how much: the HTTP filters before the router."""

from collections.abc import Iterator
from typing import Any

from isthmus.gateway.clusters import cluster_name
from isthmus.gateway.spec import Gateway, GatewayOptions, Jwt
from isthmus.gateway.wire import Json, extension, header, seconds, typed

KEY_HEADER = "x-api-key"
# Set by the gateway alone: the API key's client, or the token's subject, each behind its kind, so that no subject is a key's client.
CLIENT_HEADER = "x-isthmus-client"
KEY_CLIENT, TOKEN_CLIENT = "key:", "token:"

ALIVE_PATH = "/healthz"
READY_PATH = "/readyz"

# Clients with a bucket of their own; the one that asked least recently makes room.
MAX_CLIENTS = 10_000
# Requests without a valid key or token, from one address: who guesses keys does not fill the log, nor takes the others' time.
REFUSALS_PER_SECOND = 5
REFUSALS_BURST = 50
# A subject becomes a header, and a word in the log.
_SUBJECT = r"[\x20-\x7e]+"
_TOKEN_FILTER = "envoy.filters.http.jwt_authn"  # noqa: S105 - the name of a filter
_PAYLOAD = "payload"
# Inside the gateway alone: the issuer of a token that was found valid.
_ISSUER_HEADER = "x-isthmus-issuer"
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
            headers=[
                {"name": ":path", "string_match": {"safe_regex": {"regex": rf"{path}(\?.*)?"}}},
                {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD"}}},
            ],
            **needs,
        )


def strip_internal_headers() -> Json:
    """What only the gateway itself may say is removed from what clients send."""
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"remove": CLIENT_HEADER}, {"remove": _ISSUER_HEADER}, {"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}}],
    )


def _authentication(options: GatewayOptions) -> Iterator[Json]:
    if options.api_keys:
        keys = extension(
            "envoy.filters.http.api_key_auth",
            "extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
            credentials=[{"client": f"{KEY_CLIENT}{client}", "key": key} for client, key in options.api_keys.items()],
            key_sources=[{"header": KEY_HEADER}],
            forwarding={"header": CLIENT_HEADER, "hide_credentials": True},
        )
        limited = _skipped(_refusals(), _any(*(_is(KEY_HEADER, key) for key in options.api_keys.values())))
        if options.jwt is None:
            yield limited
            yield keys
        else:
            yield _skipped(limited, {"not_matcher": _has(KEY_HEADER)})
            yield _skipped(keys, {"not_matcher": _has(KEY_HEADER)})
    if options.jwt:
        yield from _tokens(options.jwt)


def _tokens(jwt: Jwt) -> Iterator[Json]:
    """Where the client is known already, by its key, nothing is asked: the key is gone by then, and no client can send the header."""
    from_bearer = {"name": _AUTHORIZATION, "value_prefix": " "}
    no_bearer = {"not_matcher": _header_matches(_AUTHORIZATION, {"safe_regex": {"google_re2": {}, "regex": _BEARER}})}
    anybody = {"requires_any": {"requirements": [_VALID_TOKEN, {"allow_missing_or_failed": {}}]}}
    issuer = [{"header_name": _ISSUER_HEADER, "claim_name": "iss"}]
    # First whoever has a valid token gets a name; then the others are counted, and told what is wrong.
    yield _skipped(_token_filter(jwt, from_bearer, anybody, claim_to_headers=issuer), _any(_has(CLIENT_HEADER), no_bearer))
    yield _skipped(_subjects(), _has(CLIENT_HEADER))
    yield _skipped(_client_of_token(), {"not_matcher": _has(_ISSUER_HEADER)})
    yield _skipped(_refusals(), _has(CLIENT_HEADER))
    yield _skipped(_token_filter(jwt, from_bearer, _VALID_TOKEN), _any(_has(CLIENT_HEADER), no_bearer))
    # Nobody without a name comes further: no token is found where no client can put one.
    yield _skipped(_token_filter(jwt, {"name": _ISSUER_HEADER}, _VALID_TOKEN), _has(CLIENT_HEADER))


# The scheme is spelled in any case (RFC 9110), and Envoy looks for a prefix as it is written: so it looks for the space behind.
_AUTHORIZATION = "authorization"
_BEARER = "(?i)bearer .*"
_VALID_TOKEN: Json = {"provider_name": "jwt"}


def _token_filter(jwt: Jwt, where: Json, requires: Json, **more: Any) -> Json:
    provider = {
        "issuer": jwt.issuer,
        "audiences": list(jwt.audiences),
        "local_jwks": {"inline_string": jwt.jwks},
        # Named, so that a token in the query (and in every log on the way) is not accepted.
        "from_headers": [where],
        "forward": False,
        "payload_in_metadata": _PAYLOAD,
        "require_expiration": True,
        **more,
    }
    return extension(
        _TOKEN_FILTER,
        "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        providers={"jwt": provider},
        rules=[{"match": {"prefix": "/"}, "requires": requires}],
    )


def _subject(value: Json) -> Json:
    """A matcher of the token's subject."""
    return {
        "sourced_metadata": {"metadata_matcher": {"filter": _TOKEN_FILTER, "path": [{"key": _PAYLOAD}, {"key": "sub"}], "value": value}}
    }


def _subjects() -> Json:
    """Refuses tokens whose subject would be more than one word of a header."""
    unfit = {"and_ids": {"ids": [_subject({"present_match": True}), {"not_id": _subject(_matches(_SUBJECT))}]}}
    return extension(
        "envoy.filters.http.rbac",
        "extensions.filters.http.rbac.v3.RBAC",
        rules={"action": "DENY", "policies": {"subject": {"permissions": [{"any": True}], "principals": [unfit]}}},
    )


def _client_of_token() -> Json:
    """Says who a valid token's client is."""
    value = f"{TOKEN_CLIENT}%DYNAMIC_METADATA({_TOKEN_FILTER}:{_PAYLOAD}:sub)%"
    return extension(
        "envoy.filters.http.header_mutation",
        "extensions.filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": [{"append": header(CLIENT_HEADER, value)}, {"remove": _ISSUER_HEADER}]},
    )


def _refusals() -> Json:
    bucket = _bucket(REFUSALS_PER_SECOND, REFUSALS_BURST)
    return _limit("refusals", "remote_address", {"remote_address": {}}, bucket)


def _matches(regex: str) -> Json:
    return {"string_match": {"safe_regex": {"regex": regex}}}


def _skipped(inner: Json, predicate: Json) -> Json:
    """The filter, left out for requests that match."""
    skip = {"action": {"name": "skip", "typed_config": typed("extensions.filters.common.matcher.action.v3.SkipFilter")}}
    return extension(
        inner["name"],
        "extensions.common.matching.v3.ExtensionWithMatcher",
        extension_config=inner,
        xds_matcher={"matcher_list": {"matchers": [{"predicate": predicate, "on_match": skip}]}},
    )


def _has(name: str) -> Json:
    return _header_matches(name, {"safe_regex": {"google_re2": {}, "regex": ".*"}})


def _is(name: str, value: str) -> Json:
    return _header_matches(name, {"exact": value})


def _any(*predicates: Json) -> Json:
    return {"or_matcher": {"predicate": list(predicates)}} if len(predicates) > 1 else predicates[0]


def _header_matches(name: str, match: Json) -> Json:
    value = {"name": name, "typed_config": typed("type.matcher.v3.HttpRequestHeaderMatchInput", header_name=name)}
    return {"single_predicate": {"input": value, "value_match": match}}


def _rate_limit(options: GatewayOptions) -> Json:
    # Without keys and tokens a client is where it comes from.
    by_name = {"request_headers": {"header_name": CLIENT_HEADER, "descriptor_key": "client"}}
    key, action = ("client", by_name) if options.has_access_control else ("remote_address", {"remote_address": {}})
    return _limit("per_client", key, action, _bucket(options.requests_per_second_per_client, options.burst_per_client))


def _limit(name: str, key: str, action: Json, bucket: Json) -> Json:
    """A bucket for each value of what the action tells, under that key."""
    return extension(
        "envoy.filters.http.local_ratelimit",
        "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix=name,
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
