"""From a service's arguments and its release to the plan: how many servers, their weights, and what the autoscaler is told."""

from dataclasses import dataclass
from typing import Any

from isthmus.arguments import Cloud
from isthmus.release.manifest import Release
from isthmus.sizing.autoscaling import AutoscalePlan, plan_autoscaling
from isthmus.sizing.replicas import Demand, ReplicaPlan, plan_replicas
from isthmus.sizing.unequal import UnequalPlan, plan_unequal

# How far an autoscaler may go beyond the plan where the program does not say: twice the demand, with the same objective.
GROWTH = 2


@dataclass(frozen=True)
class ServicePlan:
    """One service's plan.

    equal: of replicas of one kind behind one queue; None where the servers are of unequal speed, then `unequal` has it.
    weights: one a server, in the order of the hosts or of the pools' replicas; 0: not listed in the gateway.
    """

    replicas: int
    equal: ReplicaPlan | None
    unequal: UnequalPlan | None
    autoscaling: AutoscalePlan | None

    @property
    def weights(self) -> tuple[int, ...]:
        return self.unequal.weights if self.unequal else (1,) * self.replicas

    def explain(self) -> str:
        """The arithmetic as the preview shows it, one line a part."""
        return "\n".join(part.explain() for part in (self.equal, self.unequal, self.autoscaling) if part is not None)

    def output(self) -> dict[str, Any]:
        """The component's output `plan`."""
        part = self.equal or self.unequal
        assert part is not None  # noqa: S101  one of them is there
        found: dict[str, Any] = {
            "formula": "M/M/c" if self.equal else part.formula,  # type: ignore[union-attr]
            "requests_per_second": part.requests_per_second,
            "replicas": self.replicas,
            "utilisation": round(part.utilisation, 4),
            "p50_ms": round(part.p50_ms, 3),
            "p95_ms": round(part.p95_ms, 3),
            "p95_objective_ms": part.p95_objective_ms,
        }
        if self.equal:
            found["service_rate_per_second"] = round(self.equal.service_rate_per_second, 3)
        if self.unequal:
            found["weights"] = list(self.unequal.weights)
        if self.autoscaling:
            found["autoscaling"] = {
                "min_replicas": self.autoscaling.min_replicas,
                "max_replicas": self.autoscaling.max_replicas,
                "target_cpu_millis": self.autoscaling.target_cpu_millis,
                "replicas_at_demand": self.autoscaling.planned_replicas,
            }
        return found


def service_rate_per_second(args: Cloud, release: Release) -> float:
    """μ of one server: the profile's, else the measured one."""
    return 1000 / args.profile.service_ms if args.profile.service_ms else release.record.service_rate_per_second


def speeds(args: Cloud) -> tuple[float, ...]:
    """One a server where the program names the servers (hosts, pools), in multiples of the measured machine; else empty."""
    if args.platform == "docker":
        return tuple(host.speed for host in args.docker.hosts)
    if args.platform == "kubernetes":
        return tuple(pool.speed for pool in args.kubernetes.pools for _ in range(pool.replicas))
    return ()


def plan_of(args: Cloud, release: Release, path: str) -> ServicePlan:
    """The plan for a release. Raises GateError where no plan keeps the objective."""
    demand, mu = Demand(args.requests_per_second, args.p95_ms), service_rate_per_second(args, release)
    if found := speeds(args):
        unequal = plan_unequal(demand, [speed * mu for speed in found], args.balancing, path)
        return ServicePlan(unequal.servers, None, unequal, None)
    equal = plan_replicas(demand, mu, min_replicas=args.min_replicas, max_replicas=args.max_replicas, path=path)
    autoscaling = None
    if args.platform == "kubernetes" and args.kubernetes.autoscale:
        given = args.model_fields_set
        least = args.min_replicas if "min_replicas" in given else equal.replicas
        autoscaling = plan_autoscaling(
            equal,
            min_replicas=least,
            max_replicas=args.max_replicas if "max_replicas" in given else max(GROWTH * equal.replicas, least),
            scale_down_seconds=args.kubernetes.scale_down_seconds,
            path=path,
        )
    return ServicePlan(equal.replicas, equal, None, autoscaling)
