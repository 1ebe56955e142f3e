"""Recording rules and alerts.

Alerts on the objective are burn rates over two windows each (Google, The Site Reliability Workbook, chapter 5): the long window
shows that a part of the month's budget is gone, the short one that it is still going.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import yaml

from isthmus.names import GATEWAY, SERVER, SERVICE_LABEL, TRACK_LABEL
from isthmus.platforms.kubernetes.objects import queries
from isthmus.platforms.kubernetes.objects.naming import Json, manifest, named
from isthmus.platforms.kubernetes.objects.queries import Query, answered, choose, error_ratio, label, slow_ratio
from isthmus.platforms.kubernetes.objects.scraping import OPERATOR_GROUP
from isthmus.platforms.kubernetes.objects.spec import KubernetesService

RULES_FILE = "rules.yaml"


@dataclass(frozen=True)
class Burn:
    """factor: how many times as fast as the budget allows, if it is to last for 30 days. share_percent: of it, gone by then."""

    factor: float
    long: str
    short: str
    severity: str
    share_percent: int


BURNS = (
    Burn(14.4, "1h", "5m", "critical", 2),
    Burn(6, "6h", "30m", "critical", 5),
    Burn(3, "1d", "2h", "warning", 10),
    Burn(1, "3d", "6h", "warning", 10),
)
# Window → seconds, and how often it is recorded: long ones read much and move slowly (more than 5 minutes would be stale).
WINDOW_SECONDS = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21_600, "1d": 86_400, "3d": 259_200}
INTERVALS = {"30s": ("5m", "30m", "1h", "2h"), "2m": ("6h", "1d", "3d")}
FEWEST_REQUESTS = 20
"""In the long window: one failure of two requests wakes nobody."""
BELOW_PLAN_FOR = "10m"
ABOVE_PLAN_FOR = "15m"

# What is recorded over each window: requests/s, and the shares of those that failed and that took too long.
_WINDOWED = {"answered:rate": answered, "errors:ratio_rate": error_ratio, "slow:ratio_rate": slow_ratio}


def groups(service: KubernetesService) -> list[Json]:
    """Prometheus's rule groups: recordings, then alerts."""
    prefix = f"isthmus-{service.namespace}-{named(service)}"
    windowed = {
        interval: [Query(f"isthmus:{name}{window}", made(service, window)) for name, made in _WINDOWED.items() for window in windows]
        for interval, windows in INTERVALS.items()
    }
    return [
        _recordings(service, f"{prefix}-now", "30s", queries.recorded(service)),
        *(_recordings(service, f"{prefix}-{interval}", interval, made) for interval, made in windowed.items()),
        {"name": f"{prefix}-alerts", "interval": "30s", "rules": alerts(service)},
    ]


def _recordings(service: KubernetesService, name: str, interval: str, made: Iterable[Query]) -> Json:
    own = {"namespace": service.namespace, label(SERVICE_LABEL): named(service)}
    return {
        "name": name,
        "interval": interval,
        "rules": [{"record": query.name, "expr": query.expression, "labels": own} for query in made],
    }


def alerts(service: KubernetesService) -> list[Json]:
    """Burning budgets first, then what differs from the plan."""
    return [*_burns(service), *_plan(service)]


def _burns(service: KubernetesService) -> list[Json]:
    watched = service.observability
    kinds = (
        (
            "IsthmusErrorBudgetBurn",
            "errors:ratio_rate",
            1 - watched.availability,
            f"fails more than {1 - watched.availability:.3%} of requests",
        ),
        (
            "IsthmusLatencyBudgetBurn",
            "slow:ratio_rate",
            1 - watched.latency_share,
            f"answers more than {1 - watched.latency_share:.0%} of requests later than after {watched.p95_ms:g} ms",
        ),
    )
    return [
        _alert(
            service,
            name,
            f"{_recorded(service, kind, burn.long)} > {burn.factor * budget:.6g} "
            f"and {_recorded(service, kind, burn.short)} > {burn.factor * budget:.6g} "
            f"and {_recorded(service, 'answered:rate', burn.long)} * {WINDOW_SECONDS[burn.long]} >= {FEWEST_REQUESTS}",
            burn.severity,
            f"{what}: {burn.factor:g} times as many as it may, for {burn.long} and for the last {burn.short}; "
            f"{burn.share_percent} % of the month's budget is gone",
            window=burn.long,
        )
        for name, kind, budget, what in kinds
        for burn in BURNS
        if burn.factor * budget < 1  # else no share of the requests is ever enough
    ]


def _plan(service: KubernetesService) -> list[Json]:
    rate, planned = service.observability.requests_per_second, f"{service.observability.requests_per_second:g} requests/s"
    found = [
        _alert(
            service,
            "IsthmusGatewaysBelowPlan",
            f"(sum(up{choose(service, GATEWAY)}) or vector(0)) < {service.gateway.replicas}",
            "warning",
            f"has {{{{ $value }}}} of {service.gateway.replicas} gateways",
            wait=BELOW_PLAN_FOR,
        ),
        _alert(
            service,
            "IsthmusDemandAbovePlan",
            f"{answered(service, '5m')} > {rate:g}",
            "warning",
            f"gets {{{{ $value | humanize }}}} requests/s and is planned for {planned}; plan again",
            wait=ABOVE_PLAN_FOR,
        ),
    ]
    for track in service.tracks:
        own_track = f'{label(TRACK_LABEL)}="{track.name}"'
        up = f"(sum(up{choose(service, SERVER, own_track)}) or vector(0))"
        fewest = sum(pool.min_replicas if service.autoscale else pool.planned_replicas for pool in track.pools)
        most = sum(pool.max_replicas for pool in track.pools)
        text = f"has {{{{ $value }}}} of {fewest} servers in track {track.name}"
        found.append(
            _alert(service, "IsthmusServersBelowPlan", f"{up} < {fewest}", "critical", text, wait=BELOW_PLAN_FOR, track=track.name)
        )
        if service.autoscale and most > fewest:
            text = f"has all of its {most} servers in track {track.name}: the autoscaler cannot add more (max_replicas)"
            found.append(_alert(service, "IsthmusAtMostServers", f"{up} >= {most}", "warning", text, wait=ABOVE_PLAN_FOR, track=track.name))
    return found


def _alert(service: KubernetesService, name: str, expression: str, severity: str, text: str, *, wait: str = "", **labels: str) -> Json:
    own = {"namespace": service.namespace, label(SERVICE_LABEL): named(service)}
    return {
        "alert": name,
        "expr": expression,
        **({"for": wait} if wait else {}),
        "labels": {"severity": severity, **own, **labels},
        "annotations": {"summary": f"{named(service)} in {service.namespace} {text}"},
    }


def _recorded(service: KubernetesService, name: str, window: str) -> str:
    return f'isthmus:{name}{window}{{namespace="{service.namespace}",{label(SERVICE_LABEL)}="{named(service)}"}}'


def rule_file(service: KubernetesService) -> str:
    """For `rule_files` of a Prometheus without the operator."""
    return str(yaml.safe_dump({"groups": groups(service)}, sort_keys=False, width=1000))


def rules(service: KubernetesService) -> Json:
    """A PrometheusRule for the operator; without it a ConfigMap with the rule file."""
    name = named(service, "rules")
    if service.observability.operator:
        return operators_rules(service, name)
    return manifest(service, "v1", "ConfigMap", name, data={RULES_FILE: rule_file(service)})


def operators_rules(service: KubernetesService, name: str) -> Json:
    """The rules, as the Prometheus operator reads them."""
    return manifest(service, f"{OPERATOR_GROUP}/v1", "PrometheusRule", name, spec={"groups": groups(service)})
