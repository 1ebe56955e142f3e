"""What is asked of Prometheus about one service, as PromQL.

Series are chosen by namespace and by the Pods' labels, which both ways of scraping carry over (`scraping`). Requests, errors and
times are the gateway's, so that they are the same whatever serves behind it.
"""

from dataclasses import dataclass

from isthmus.gateway.admission import DEVICES
from isthmus.gateway.bootstrap import LATENCY_BUCKETS_MS
from isthmus.names import COMPONENT_LABEL, GATEWAY, SERVER, SERVICE_LABEL, TRACK_LABEL, VERSION_LABEL
from isthmus.platforms.kubernetes.objects.naming import named
from isthmus.platforms.kubernetes.objects.spec import KubernetesService

RATE_WINDOW = "5m"
QUANTILES = (0.5, 0.95, 0.99)
# Requests that were answered, or should have been: what clients did wrong (4xx) neither spends nor fills the error budget.
_ANSWERED, _FAILED = "[235]", "5"
_CLIENTS = 'envoy_http_conn_manager_prefix=~"rest|grpc"'
_DEVICES = f'envoy_route="{DEVICES}"'
_TRACK_OF_CLUSTER = "(stable|canary)-(?:rest|grpc)"
_SERVERS = f'envoy_cluster_name=~"{_TRACK_OF_CLUSTER}"'


@dataclass(frozen=True)
class Query:
    """name: as recorded, or the panel's. legend: of its series, with labels in braces."""

    name: str
    expression: str
    legend: str = ""


def label(name: str) -> str:
    """A Pod's label as Prometheus spells it."""
    return "".join(character if character.isalnum() else "_" for character in name)


def choose(service: KubernetesService, component: str, *more: str) -> str:
    """The selector of a component's series."""
    own = [f'namespace="{service.namespace}"', f'{label(SERVICE_LABEL)}="{named(service)}"', f'{label(COMPONENT_LABEL)}="{component}"']
    return "{" + ",".join([*own, *more]) + "}"


def answered(service: KubernetesService, window: str, *, failed: bool = False) -> str:
    """Requests per second that clients got an answer to (only those that failed).

    Without those of devices where they are told apart: they may be turned away, and have answers of their own.
    """
    classes = f'envoy_response_code_class=~"{_FAILED if failed else _ANSWERED}"'
    every = f"sum(rate(envoy_http_downstream_rq_xx{choose(service, GATEWAY, _CLIENTS, classes)}[{window}]))"
    if not service.gateway.options.device_requests:
        return every
    devices = f"sum(rate(envoy_vhost_route_upstream_rq_xx{choose(service, GATEWAY, _DEVICES, classes)}[{window}]))"
    return f"{every} - ({devices} or vector(0))"


def error_ratio(service: KubernetesService, window: str) -> str:
    """Share of the requests that failed, as clients see it."""
    failed, every = answered(service, window, failed=True), answered(service, window)
    return f"({failed}) / ({every})" if service.gateway.options.device_requests else f"{failed} / {every}"


def latency_bound_ms(p95_ms: float) -> float:
    """The histogram's bound that stands for the objective: the smallest that is not below it, else the largest."""
    return min((bound for bound in LATENCY_BUCKETS_MS if bound >= p95_ms), default=LATENCY_BUCKETS_MS[-1])


def slow_ratio(service: KubernetesService, window: str) -> str:
    """Share of the requests that took longer than the objective allows, retries included."""
    bound = f"{latency_bound_ms(service.observability.p95_ms):g}"
    # Prometheus 3 spells whole bounds with `.0`.
    within = f'le=~"{bound}(\\\\.0)?"'
    quick = f"sum(rate(envoy_cluster_upstream_rq_time_bucket{choose(service, GATEWAY, _SERVERS, within)}[{window}]))"
    return f"1 - {quick} / sum(rate(envoy_cluster_upstream_rq_time_count{choose(service, GATEWAY, _SERVERS)}[{window}]))"


def _by_track(expression: str, *more: str) -> str:
    """Sums a gateway's series by track, which is part of the cluster's name."""
    by = ", ".join(("track", *more))
    return f'sum by ({by}) (label_replace({expression}, "track", "$1", "envoy_cluster_name", "{_TRACK_OF_CLUSTER}"))'


def _rate(service: KubernetesService, metric: str, *more: str) -> str:
    return f"rate({metric}{choose(service, GATEWAY, _SERVERS, *more)}[{RATE_WINDOW}])"


def request_rate(service: KubernetesService) -> Query:
    """Requests per second that each track's servers got."""
    return Query("isthmus:requests:rate5m", _by_track(_rate(service, "envoy_cluster_upstream_rq_total")), "{{track}}")


def track_error_ratio(service: KubernetesService) -> Query:
    """Share of each track's requests that its servers answered with an error. A counter of errors is there from the first one on."""
    every = _by_track(_rate(service, "envoy_cluster_upstream_rq_total"))
    failed = _by_track(_rate(service, "envoy_cluster_upstream_rq_xx", f'envoy_response_code_class="{_FAILED}"'))
    some = f"({failed} or 0 * {every})"
    if service.gateway.options.device_requests:  # turned away by a circuit breaker: they never came to a server
        away = (_by_track(_rate(service, f"envoy_cluster_upstream_rq_{kind}_overflow")) for kind in ("active", "pending"))
        some = f"({' - '.join([some, *away])})"
    return Query("isthmus:error_ratio:rate5m", f"{some} / {every}", "{{track}}")


def latency(service: KubernetesService, quantile: float) -> Query:
    """Milliseconds from request to answer, retries included."""
    buckets = _by_track(_rate(service, "envoy_cluster_upstream_rq_time_bucket"), "le")
    percentile = f"p{quantile * 100:g}"
    return Query(f"isthmus:latency_ms:{percentile}", f"histogram_quantile({quantile:g}, {buckets})", f"{{{{track}}}} {percentile}")


def split(service: KubernetesService) -> Query:
    """Share of the requests that each track got."""
    every = _by_track(_rate(service, "envoy_cluster_upstream_rq_total"))
    return Query("isthmus:split:ratio", f"{every} / ignoring (track) group_left sum({every})", "{{track}}")


def servers(service: KubernetesService) -> Query:
    """Servers that answer Prometheus, by track and version: counted there, so that nothing else needs to be installed."""
    by = f"{label(TRACK_LABEL)}, {label(VERSION_LABEL)}"
    legend = f"{{{{{label(TRACK_LABEL)}}}}} (version {{{{{label(VERSION_LABEL)}}}}})"
    return Query("isthmus:servers:count", f"sum by ({by}) (up{choose(service, SERVER)})", legend)


def gateways(service: KubernetesService) -> Query:
    """Gateways that answer Prometheus."""
    return Query("isthmus:gateways:count", f"sum(up{choose(service, GATEWAY)})", "gateways")


def refused(service: KubernetesService) -> tuple[Query, ...]:
    """Requests per second that the gateway turned away. What is not switched on has no series, and counts as none."""

    def rate(metric: str) -> str:
        return f"(sum(rate({metric}{choose(service, GATEWAY)}[{RATE_WINDOW}])) or vector(0))"

    wrong_key = " + ".join(rate(f"envoy_http_api_key_auth_{why}") for why in ("unauthorized", "forbidden"))
    return (
        Query("unauthorised", f"{wrong_key} + {rate('envoy_http_jwt_authn_denied')}", "unauthorised"),
        Query("rate-limited", rate("envoy_http_local_rate_limit_rate_limited"), "rate-limited"),
        Query("too large", rate("envoy_http_buffer_rq_too_large"), "too large"),
        Query("no server", rate("envoy_cluster_upstream_cx_none_healthy"), "no server was healthy"),
    )


def server_results(service: KubernetesService) -> Query:
    """Predictions per second by the status that servers count themselves, gRPC's included."""
    counted = f"rate(:tensorflow:serving:request_count{choose(service, SERVER)}[{RATE_WINDOW}])"
    return Query(
        "predictions by status", f"sum by ({label(TRACK_LABEL)}, status) ({counted})", f"{{{{{label(TRACK_LABEL)}}}}} {{{{status}}}}"
    )


def server_latency(service: KubernetesService) -> Query:
    """p95 of the model's own run, in milliseconds (servers count microseconds)."""
    buckets = f"rate(:tensorflow:serving:runtime_latency_bucket{choose(service, SERVER)}[{RATE_WINDOW}])"
    track = label(TRACK_LABEL)
    return Query("model p95", f"histogram_quantile(0.95, sum by ({track}, le) ({buckets})) / 1000", f"{{{{{track}}}}}")


def recorded(service: KubernetesService) -> tuple[Query, ...]:
    """What the rules record under its name."""
    times = tuple(latency(service, quantile) for quantile in QUANTILES)
    return (request_rate(service), track_error_ratio(service), *times, servers(service), gateways(service))


def queries(service: KubernetesService) -> tuple[Query, ...]:
    """Everything that rules and dashboard ask, but for the alerts themselves (`rules.alerts`)."""
    client = (
        Query("errors", error_ratio(service, RATE_WINDOW), "errors"),
        Query("slow", slow_ratio(service, RATE_WINDOW), "slower than the objective"),
    )
    return (*recorded(service), *client, split(service), *refused(service), server_results(service), server_latency(service))
