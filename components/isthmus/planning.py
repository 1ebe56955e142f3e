"""From a service's or a fleet's arguments and its release to the plan, and to what a stack shows of it."""

from dataclasses import replace
from typing import Any

from isthmus.arguments.components import CloudSettings, EdgeSettings
from isthmus.limits import SCV
from isthmus.platforms.registry import PLATFORMS
from isthmus.platforms.rules import kind_of_server, named_servers
from isthmus.release.manifest import EDGE, SERVING, Release
from isthmus.sizing.fleet import FleetPlan, plan_fleet
from isthmus.sizing.headroom import Headroom
from isthmus.sizing.service import ServiceInputs, ServicePlan, plan_service

# The variance of fewer times than these says nothing; then, as without a measurement, times are taken as exponential.
LEAST_TIMES = 30


def plan_of(args: CloudSettings, release: Release, path: str) -> ServicePlan:
    """The plan for a release. Raises GateError where no plan keeps the objective."""
    return plan_service(inputs_of(args, release), path)


def inputs_of(args: CloudSettings, release: Release) -> ServiceInputs:
    """What the plan is computed from: the arguments, and what was measured where they do not say."""
    rate, scv, measured_on = _measured(args, release)
    fallback = args.edge_requests_per_second * args.headroom.offline_percent / 100
    headroom = Headroom(**args.headroom.model_dump(exclude={"offline_percent"}), fallback_requests_per_second=fallback)
    servers = named_servers(args)
    return ServiceInputs(
        requests_per_second=args.requests_per_second,
        p95_ms=args.p95_ms,
        service_rate_per_second=rate,
        scv=scv,
        measured_on=measured_on,
        min_replicas=args.min_replicas,
        max_replicas=args.max_replicas,
        headroom=headroom,
        edge_requests_per_second=args.edge_requests_per_second,
        speeds=tuple(speed for speed, _ in servers),
        kinds=tuple(kind for _, kind in servers) or (kind_of_server(args),),
        balancing=args.balancing,
        autoscale=PLATFORMS[args.platform].autoscale(args),
        prices=args.price_table(),
    )


def _measured(args: CloudSettings, release: Release) -> tuple[float, float, str]:
    """μ of one server, the scv of its service time, and where they were measured (empty: the program's own figures)."""
    if args.profile.service_ms:
        return 1000 / args.profile.service_ms, 1.0 if args.profile.scv is None else args.profile.scv, ""
    timing = release.record.timing(SERVING)
    measured = min(timing.scv, SCV.most) if timing.requests >= LEAST_TIMES else 1.0
    return release.record.service_rate_per_second, measured if args.profile.scv is None else args.profile.scv, release.record.machine_class


def fleet_plan_of(args: EdgeSettings, devices: int, release: Release, path: str) -> FleetPlan:
    """What the fleet costs. What a store of the stack's own ships never leaves this machine, and is free."""
    variant, timing = release.manifest.variant(EDGE), release.record.timing(EDGE)
    shipped = {it.recipe: it.shipped_bytes for it in release.record.candidates if not it.problem}
    prices = args.price_table()
    return plan_fleet(
        devices,
        p50_ms=timing.p50_ms,
        p95_ms=timing.p95_ms,
        bundle_bytes=shipped.get(variant.recipe) or variant.size_bytes,
        releases_per_month=args.releases_per_month,
        prices=prices if args.store else replace(prices, per_gigabyte_shipped=0.0),
        path=path,
    )


def shown(plan: ServicePlan | FleetPlan, release: Release, kind: str) -> dict[str, Any]:
    """The component's output `plan`: the plan, and what its row in the table needs of the release's variant of that kind."""
    variant, metric = release.manifest.variant(kind), release.record.metric
    known = {"accuracy": variant.accuracy} if variant.accuracy is not None else {}
    return {
        **plan.output(),
        **known,
        "metric": metric,
        "evaluation_examples": release.manifest.evaluation_examples,
        "size_bytes": variant.size_bytes,
        "recipe": variant.recipe,
        "measured_on": release.record.machine_class,
    }
