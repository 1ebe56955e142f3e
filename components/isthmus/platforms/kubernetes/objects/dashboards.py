"""The Grafana dashboard of one service."""

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from isthmus.platforms.kubernetes.objects import queries
from isthmus.platforms.kubernetes.objects.naming import Json, manifest, named
from isthmus.platforms.kubernetes.objects.queries import QUANTILES, RATE_WINDOW, Query
from isthmus.platforms.kubernetes.objects.spec import KubernetesService

LABEL = "grafana_dashboard"
"""By which Grafana's sidecar finds ConfigMaps with dashboards."""
DATA_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT, HALF, SIXTH = 8, 12, 4
REFRESH = "30s"


def _target(query: Query) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expression).legend_format(query.legend or query.name).datasource(DATA_SOURCE)


def _lines(title: str, unit: str, *shown: Query, stacked: bool = False) -> timeseries.Panel:
    panel = timeseries.Panel().title(title).unit(unit).min(0).height(HEIGHT).span(HALF).datasource(DATA_SOURCE).fill_opacity(10)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(40)
    for query in shown:
        panel = panel.with_target(_target(query))
    return panel


def _number(title: str, unit: str, query: Query) -> stat.Panel:
    return stat.Panel().title(title).unit(unit).height(4).span(SIXTH).datasource(DATA_SOURCE).with_target(_target(query))


def panels(service: KubernetesService) -> list[stat.Panel | timeseries.Panel]:
    """Numbers of now in the first row, then their courses."""
    watched = service.observability
    planned = sum(pool.planned_replicas for track in service.tracks for pool in track.pools)
    errors = Query("errors", queries.error_ratio(service, RATE_WINDOW), "as clients see it")
    slow = Query("slow", queries.slow_ratio(service, RATE_WINDOW), "slower than the objective")
    rate = Query("answered", queries.answered(service, RATE_WINDOW), "answered")
    objective = Query("objective", f"vector({watched.p95_ms:g})", "p95 objective")
    p95 = queries.latency(service, 0.95)
    return [
        _number("Requests", "reqps", rate),
        _number("Errors", "percentunit", errors),
        _number(f"Slower than {watched.p95_ms:g} ms", "percentunit", slow),
        _number("p95 by track", "ms", p95),
        _number("Servers", "short", queries.servers(service)),
        _number("Gateways", "short", queries.gateways(service)),
        _lines(
            "Requests",
            "reqps",
            queries.request_rate(service),
            Query("planned", f"vector({watched.requests_per_second:g})", "planned for"),
        ),
        _lines("Errors", "percentunit", queries.track_error_ratio(service), errors),
        _lines("Latency against the objective", "ms", *(queries.latency(service, quantile) for quantile in QUANTILES), objective),
        _lines("Servers against the plan", "short", queries.servers(service), Query("planned", f"vector({planned})", "planned")),
        _lines("Split between versions", "percentunit", queries.split(service), stacked=True),
        _lines("Turned away by the gateway", "reqps", *queries.refused(service)),
        _lines("Predictions by the servers' own status", "reqps", queries.server_results(service)),
        _lines("p95 of the model alone", "ms", queries.server_latency(service)),
    ]


def dashboard_json(service: KubernetesService) -> str:
    """As Grafana imports it. Its uid is the service's, so that another version replaces it."""
    name = named(service)
    built = (
        dashboard.Dashboard(f"{service.model_name} ({name}, {service.namespace})")
        .uid(named(service, service.namespace, "isthmus")[:40].rstrip("-"))
        .tags(["isthmus"])
        .refresh(REFRESH)
        .time("now-3h", "now")
        .readonly()
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("Prometheus"))
    )
    for panel in panels(service):
        built = built.with_panel(panel)
    return JSONEncoder(sort_keys=True, indent=1).encode(built.build())


def dashboard_config(service: KubernetesService) -> Json:
    """The ConfigMap that Grafana's sidecar looks for."""
    name = named(service, "dashboard")
    found = manifest(service, "v1", "ConfigMap", name, data={f"{name}.json": dashboard_json(service)})
    found["metadata"]["labels"][LABEL] = "1"
    return found
