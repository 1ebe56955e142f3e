"""The autoscaler and the disruption budgets."""

from isthmus.names import GATEWAY, SERVER
from isthmus.platforms.kubernetes.objects.naming import Json, manifest, named, pool_labels, selector, server_name
from isthmus.platforms.kubernetes.objects.spec import KubernetesService, Pool, Track

SCALE_UP_SECONDS = 15
SCALE_DOWN_PERIOD_SECONDS = 60
SCALE_DOWN_PERCENT = 25


def autoscaler(service: KubernetesService, track: Track, pool: Pool) -> Json:
    """Between the pool's min_replicas and max_replicas so that servers use cpu_target_percent of the CPU that they request.

    Up at once, twice as many or four more every 15 s: too few replicas break the objective now. Down after
    `scale_down_seconds` below the target, a quarter (at least one) a minute: too many only cost.
    """
    name = server_name(service, track, pool)
    found = manifest(
        service,
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        name,
        SERVER,
        spec={
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": pool.min_replicas,
            "maxReplicas": pool.max_replicas,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": pool.cpu_target_percent}},
                }
            ],
            "behavior": {
                "scaleUp": {
                    "stabilizationWindowSeconds": 0,
                    "selectPolicy": "Max",
                    "policies": [
                        {"type": "Percent", "value": 100, "periodSeconds": SCALE_UP_SECONDS},
                        {"type": "Pods", "value": 4, "periodSeconds": SCALE_UP_SECONDS},
                    ],
                },
                "scaleDown": {
                    "stabilizationWindowSeconds": service.scale_down_seconds,
                    "selectPolicy": "Max",
                    "policies": [
                        {"type": "Percent", "value": SCALE_DOWN_PERCENT, "periodSeconds": SCALE_DOWN_PERIOD_SECONDS},
                        {"type": "Pods", "value": 1, "periodSeconds": SCALE_DOWN_PERIOD_SECONDS},
                    ],
                },
            },
        },
    )
    found["metadata"]["labels"].update(pool_labels(track, pool))
    return found


def server_budget(service: KubernetesService, track: Track, pool: Pool) -> Json:
    """Of one pool's servers."""
    found = _budget(service, server_name(service, track, pool), SERVER, {**selector(service, SERVER), **pool_labels(track, pool)})
    found["metadata"]["labels"].update(pool_labels(track, pool))
    return found


def gateway_budget(service: KubernetesService) -> Json:
    """Of the gateways."""
    return _budget(service, named(service, "gateway"), GATEWAY, selector(service, GATEWAY))


def _budget(service: KubernetesService, name: str, component: str, chosen: dict[str, str]) -> Json:
    """One Pod at a time may be taken by a drain. With one replica that one may go as well: `minAvailable: 1` would hold up
    a node's drain for ever instead. Pods that are not ready anyway may always go."""
    return manifest(
        service,
        "policy/v1",
        "PodDisruptionBudget",
        name,
        component,
        spec={"maxUnavailable": 1, "selector": {"matchLabels": chosen}, "unhealthyPodEvictionPolicy": "AlwaysAllow"},
    )
