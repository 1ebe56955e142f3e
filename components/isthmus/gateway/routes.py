"""Which request goes to which track.

One route configuration serves both listeners, so that one file changes REST and gRPC at the same moment. Its virtual host
carries the traffic's generation in its name: what an Envoy has loaded can be seen at its status listener.
"""

import re
from collections.abc import Iterator, Mapping

from isthmus.gateway.admission import with_devices
from isthmus.gateway.clusters import cluster_name
from isthmus.gateway.spec import Traffic, check_tracks
from isthmus.gateway.wire import Json, header, seconds
from isthmus.limits import GATEWAY
from isthmus.names import model_path

ROUTE_CONFIG = "traffic"
TRACK_HEADER = "isthmus-track"

# ModelService also has a call that gives a server another configuration: it is not for clients.
GRPC_PATHS = r"/tensorflow\.serving\.(PredictionService/[A-Za-z]+|ModelService/GetModelStatus)"

MAX_RETRIES = 2


def route_config(
    model_name: str,
    versions: Mapping[str, int],
    traffic: Traffic,
    *,
    generation: str = "0",
    timeout_seconds: float = GATEWAY["timeout_seconds"].default,
    try_timeout_seconds: float | None = None,
    devices_apart: bool = False,
) -> Json:
    """The RouteConfiguration. versions: track → version (0: not pinned). devices_apart: as in `admission`.

    Raises ValueError as `check_tracks`.
    """
    check_tracks(versions, traffic)
    timeouts = _timeouts(timeout_seconds, try_timeout_seconds)
    routes = [*_rest(model_name, versions, traffic, timeouts), *_grpc(versions, traffic, timeouts), _nothing_there(model_name)]
    return {
        "name": ROUTE_CONFIG,
        "virtual_hosts": [
            {
                "name": f"traffic-{generation}",
                "domains": ["*"],
                "routes": list(with_devices(routes)) if devices_apart else routes,
            }
        ],
    }


def _rest(model_name: str, versions: Mapping[str, int], traffic: Traffic, timeouts: Json) -> Iterator[Json]:
    model = model_path(re.escape(model_name))
    rest = r"([:/].*)?"
    for track in versions:
        strip = {"pattern": {"regex": f"^{model}/labels/{track}"}, "substitution": model_path(model_name)}
        yield _to(track, "rest", {"safe_regex": {"regex": f"{model}/labels/{track}{rest}"}}, {**timeouts, "regex_rewrite": strip})
    yield _refused({"safe_regex": {"regex": f"{model}/labels/.*"}}, f"There is no such label here; there are: {', '.join(versions)}")
    for track, version in versions.items():
        if version:
            yield _to(track, "rest", {"safe_regex": {"regex": f"{model}/versions/{version}{rest}"}}, timeouts)
    yield from _by_header("rest", {"safe_regex": {"regex": f"{model}{rest}"}}, versions, traffic, timeouts)


def _grpc(versions: Mapping[str, int], traffic: Traffic, timeouts: Json) -> Iterator[Json]:
    # A client's own deadline (grpc-timeout) ends a request earlier.
    within = {**timeouts, "max_stream_duration": {"grpc_timeout_header_max": timeouts["timeout"]}}
    yield from _by_header("grpc", {"safe_regex": {"regex": GRPC_PATHS}, "grpc": {}}, versions, traffic, within)


def _by_header(protocol: str, match: Json, versions: Mapping[str, int], traffic: Traffic, action: Json) -> Iterator[Json]:
    """The track that the header names, else the split."""
    for track in versions:
        named = {"headers": [{"name": TRACK_HEADER, "string_match": {"exact": track}}]}
        yield _to(track, protocol, {**match, **named}, action)
    yield _refused(
        {**match, "headers": [{"name": TRACK_HEADER, "present_match": True}]},
        f"There is no such track here; there are: {', '.join(versions)}",
    )
    shares = [
        {"name": cluster_name(track, protocol), "weight": percent, **_tell(track)} for track, percent in traffic.percent.items() if percent
    ]
    mirror = {"request_mirror_policies": [_mirror(traffic, protocol)]} if traffic.mirror_to and traffic.mirror_percent else {}
    yield {"match": match, "route": {"weighted_clusters": {"clusters": shares}, **mirror, **action}}


def _to(track: str, protocol: str, match: Json, action: Json) -> Json:
    return {"match": match, "route": {"cluster": cluster_name(track, protocol), **action}, **_tell(track)}


def _tell(track: str) -> Json:
    """The answer says who gave it."""
    return {"response_headers_to_add": [header(TRACK_HEADER, track)]}


def _mirror(traffic: Traffic, protocol: str) -> Json:
    return {
        "cluster": cluster_name(traffic.mirror_to, protocol),
        "runtime_fraction": {"default_value": {"numerator": traffic.mirror_percent, "denominator": "HUNDRED"}},
    }


def _refused(match: Json, what: str) -> Json:
    return {"match": match, "direct_response": {"status": 404, "body": {"inline_string": what}}}


def _nothing_there(model_name: str) -> Json:
    return _refused({"prefix": "/"}, f"There is nothing at this path; the model is at {model_path(model_name)}")


def _timeouts(timeout_seconds: float, try_timeout_seconds: float | None) -> Json:
    """A prediction changes nothing, so that whatever went wrong before an answer began may be tried again on another server."""
    retry = {
        # `reset`: the server went away, with or without having seen the request. 503: a full queue, or a model being unloaded.
        "retry_on": "connect-failure,refused-stream,reset,retriable-status-codes,unavailable",
        "retriable_status_codes": [503],
        # Few: a request that kills a server must not go round them all.
        "num_retries": MAX_RETRIES,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.250s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
            }
        ],
        "host_selection_retry_max_attempts": 5,
        "per_try_timeout": seconds(try_timeout_seconds or timeout_seconds / 2),
    }
    return {"timeout": seconds(timeout_seconds), "retry_policy": retry}
