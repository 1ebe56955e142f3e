"""From a service's arguments, plan and releases to what the cluster is asked for."""

from collections.abc import Mapping
from typing import Any

from isthmus.arguments.components import CloudSettings
from isthmus.arguments.gateway_options import options_of
from isthmus.names import CANARY, STABLE, dns_label
from isthmus.platforms.kubernetes.objects.naming import server_name
from isthmus.platforms.kubernetes.objects.resources import Resources, server_resources
from isthmus.platforms.kubernetes.objects.spec import GatewayPods, KubernetesService, Observability, Pool, Served, Store, Track
from isthmus.platforms.kubernetes.settings import KubernetesSettings
from isthmus.release.fetch import fetch_plan
from isthmus.release.manifest import SERVING, Release
from isthmus.sizing.service import ServicePlan

# Of the folder for a release that is not known yet, and of the gateway, which is the same for every model.
_UNKNOWN_MODEL_BYTES = 0


def service_of(
    args: CloudSettings,
    name: str,
    model_name: str,
    *,
    stack: str,
    operator: bool,
    owner: str = "",
    releases: Mapping[str, Release] | None = None,
    plan: ServicePlan | None = None,
    pull_endpoint: str = "http://store",
    region: str = "us-east-1",
    prefix: str = "",
    secrets: Mapping[str, Any] | None = None,
) -> KubernetesService:
    """The service as values.

    Args:
        stack: the stack's name. owner: the stack, as objects carry it.
        operator: whether the cluster knows the Prometheus operator's kinds.
        releases: by track; None: not known yet, which is enough for `manifests.outline`.
        plan: None with releases.
        prefix: of the service's keys in the store; each track's lie under its own name there, so that a release that changes
            tracks is there twice, and neither takes away what the other serves.
        secrets: `access_key`, `secret_key` and `gateway_options.SECRETS`; None: for all objects but Secrets.
    """
    known = secrets or {}
    tracks = (STABLE, CANARY) if args.canary else (STABLE,)
    models = [release.manifest.variant(SERVING).size_bytes for release in (releases or {}).values()]
    kubernetes = args.section(KubernetesSettings)
    resources = server_resources(
        max(models, default=_UNKNOWN_MODEL_BYTES), cpu_millis=kubernetes.cpu_millis, memory_mib=kubernetes.memory_mib
    )
    pools = _pools(args, plan, resources)
    return KubernetesService(
        name=name,
        namespace=namespace_of(args, name, stack),
        owner=owner,
        model_name=model_name,
        tracks=tuple(Track(track, pools, _served(releases[track], track) if releases else None) for track in tracks),
        store=Store(
            endpoint=pull_endpoint,
            region=region,
            bucket=args.bucket,
            prefix=prefix,
            access_key=str(known.get("access_key", "")),
            secret_key=str(known.get("secret_key", "")),
        ),
        gateway=GatewayPods(
            options=options_of(
                args.gateway, known, device_requests=plan.device_requests if plan else 0, gateways=kubernetes.gateway_replicas
            ),
            balancing=args.balancing,
            replicas=kubernetes.gateway_replicas,
            service_type=kubernetes.service_type,
            port=kubernetes.port,
            grpc_port=kubernetes.grpc_port,
            node_port=kubernetes.node_port,
            leave_seconds=kubernetes.gateway_leave_seconds,
            tls=args.gateway.tls_certificate is not None,
            tls_certificate=str(known.get("tls_certificate") or ""),
            tls_key=str(known.get("tls_key") or ""),
        ),
        observability=Observability(p95_ms=args.p95_ms, requests_per_second=args.requests_per_second, operator=operator),
        images=args.images,
        resources=resources,
        image_pull_policy=kubernetes.image_pull_policy,
        create_namespace=kubernetes.namespace is None or kubernetes.create_namespace,
        autoscale=autoscales(args),
        scale_down_seconds=kubernetes.scale_down_seconds,
        server_drain_seconds=kubernetes.server_drain_seconds,
        load_seconds=kubernetes.deadline_seconds,
        model_volume_mib=kubernetes.model_size_limit_mib or 0,
    )


def autoscales(args: CloudSettings) -> bool:
    """Whether an autoscaler sets the replicas: not where the program names each pool's."""
    return args.section(KubernetesSettings).autoscale and not args.section(KubernetesSettings).pools


def namespace_of(args: CloudSettings, name: str, stack: str) -> str:
    """The namespace: the one that is given, else the service's own, which no other stack of the project has."""
    return args.section(KubernetesSettings).namespace or dns_label(f"{name}-{stack}")


def planned(service: KubernetesService) -> dict[str, int]:
    """The servers that each Deployment has when an update is done.

    A canary's autoscaler begins with the fewest: they are for a share of the requests, and more come before it gets all of them.
    """
    return {
        server_name(service, track, pool): pool.min_replicas if service.autoscale and track.name == CANARY else pool.planned_replicas
        for track in service.tracks
        for pool in track.pools
    }


def _served(release: Release, track: str) -> Served:
    return Served(release.manifest.version, release.digest, fetch_plan(release.manifest), f"{track}/")


def _pools(args: CloudSettings, plan: ServicePlan | None, resources: Resources) -> tuple[Pool, ...]:
    if args.section(KubernetesSettings).pools:
        weights = list(plan.weights) if plan else []
        found = []
        for pool in args.section(KubernetesSettings).pools:
            # Servers of one speed have one share; what rounding gave them differs by one at most.
            own, weights = weights[: pool.replicas], weights[pool.replicas :]
            found.append(
                Pool(
                    name=pool.name,
                    planned_replicas=pool.replicas,
                    min_replicas=pool.replicas,
                    max_replicas=pool.replicas,
                    weight=max(own, default=1),
                    node_selector=dict(pool.node_selector),
                )
            )
        return tuple(found)
    if plan is None:
        return (Pool(),)
    scaling = plan.autoscaling
    if scaling is None:
        return (Pool(planned_replicas=plan.replicas, min_replicas=plan.replicas, max_replicas=plan.replicas),)
    target = round(100 * scaling.target_cpu_millis / resources.cpu_millis)
    return (Pool("", plan.replicas, scaling.min_replicas, scaling.max_replicas, max(1, target)),)
