"""Where the metrics are, for a Prometheus that goes by annotations and for the Prometheus operator."""

from dataclasses import dataclass

from isthmus.names import (
    COMPONENT_LABEL,
    GATEWAY,
    METRICS_PATH,
    POOL_LABEL,
    REST_PORT,
    SERVER,
    SERVICE_LABEL,
    STATUS_PORT,
    TRACK_LABEL,
    VERSION_LABEL,
)
from isthmus.platforms.kubernetes.objects.naming import Json, manifest, named, selector
from isthmus.platforms.kubernetes.objects.spec import KubernetesService


@dataclass(frozen=True)
class Scrape:
    """port_name: of the container's port."""

    component: str
    port: int
    port_name: str
    path: str


SERVER_SCRAPE = Scrape(SERVER, REST_PORT, "rest", METRICS_PATH)
GATEWAY_SCRAPE = Scrape(GATEWAY, STATUS_PORT, "status", "/stats/prometheus")
INTERVAL_SECONDS = 15
OPERATOR_GROUP = "monitoring.coreos.com"
"""Of the Prometheus operator's kinds."""
POD_LABELS = (SERVICE_LABEL, COMPONENT_LABEL, TRACK_LABEL, POOL_LABEL, VERSION_LABEL)
"""Labels of Pods that the series need; rules and dashboards choose by them (with `_` for other characters)."""


def annotations(scrape: Scrape) -> dict[str, str]:
    """A Pod's annotations, as the usual `kubernetes-pods` scrape configuration reads them."""
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(scrape.port), "prometheus.io/path": scrape.path}


def pod_monitor(service: KubernetesService, scrape: Scrape, name: str = "") -> Json:
    """The Prometheus operator's way to the same Pods. (A ServiceMonitor would need a Service on the gateway's status port.)"""
    return manifest(
        service,
        f"{OPERATOR_GROUP}/v1",
        "PodMonitor",
        name or named(service, scrape.component),
        scrape.component,
        spec={
            "selector": {"matchLabels": selector(service, scrape.component)},
            "podTargetLabels": list(POD_LABELS),
            "podMetricsEndpoints": [{"port": scrape.port_name, "path": scrape.path, "interval": f"{INTERVAL_SECONDS}s"}],
        },
    )
