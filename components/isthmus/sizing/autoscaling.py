"""Values for an autoscaler, from the same arithmetic as the plan, so that scaling keeps the latency objective.

Kubernetes' HorizontalPodAutoscaler keeps n replicas while usage/target is within its tolerance of 1, and otherwise wants
⌈n·usage/target⌉ ("Horizontal Pod Autoscaling", algorithm details; tolerance 0.1 unless the cluster says otherwise). A replica
that answers one request at a time on one core uses ρ cores, ρ = λ/(nμ). So with the target t the busiest steady state of n
replicas has ρ = t·(1 + tolerance). The objective holds there for every n in [min, max] if it holds at min: more servers in one
queue bear a higher ρ at the same p95. Hence t = ρ_max(min)/(1 + tolerance), where ρ_max(n) is the highest utilisation at which n
replicas keep the objective.
"""

import math
from dataclasses import dataclass

from isthmus.errors import GateError, Problem
from isthmus.limits import CLUSTER
from isthmus.sizing.queueing import response_time_tail
from isthmus.sizing.replicas import OBJECTIVE_QUANTILE, ReplicaPlan

# The HorizontalPodAutoscaler's default.
TOLERANCE = 0.1
# Below this the autoscaler would react to noise: an idle server's own work is of that order.
LEAST_TARGET = 0.05
_STEPS = 60


@dataclass(frozen=True)
class AutoscalePlan:
    """What the autoscaler is told.

    target_utilisation: of a replica, t above, in (0, 1); rounded down to whole percent. tolerance: the autoscaler's own.
    planned_replicas: what the plan's demand needs; the autoscaler is at or above it when the demand is there.
    scale_down_seconds: the most replicas that were wanted in so many seconds are kept.
    """

    min_replicas: int
    max_replicas: int
    planned_replicas: int
    target_utilisation: float
    tolerance: float
    service_rate_per_second: float
    scale_down_seconds: int

    @property
    def target_percent(self) -> int:
        return round(100 * self.target_utilisation)

    @property
    def target_cpu_millis(self) -> int:
        """The target as thousandths of a core per replica, whatever the replica's CPU request is."""
        return 10 * self.target_percent

    def explain(self) -> str:
        """The arithmetic in one line."""
        return (
            f"autoscaler: {self.min_replicas} to {self.max_replicas} replicas at {self.target_percent} % of a core each: "
            f"{self.min_replicas} keep the objective up to {self.target_utilisation * (1 + self.tolerance):.0%} "
            f"(target × {1 + self.tolerance:g}, the autoscaler's tolerance), more of them beyond that; "
            f"at {self.service_rate_per_second:.1f}/s per replica the demand comes to rest at {self.planned_replicas}; "
            f"scales down after {self.scale_down_seconds} s of less"
        )


def highest_utilisation(replicas: int, p95_ms: float, service_rate_per_second: float, scv: float = 1.0) -> float:
    """ρ_max(n): the highest λ/(nμ) at which so many replicas answer 95 % of the requests within p95_ms; 0 if none does."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        rate = middle * replicas * service_rate_per_second
        if middle < 1 and response_time_tail(p95_ms, replicas, rate, service_rate_per_second, scv) <= 1 - OBJECTIVE_QUANTILE:
            low = middle
        else:
            high = middle
    return low


def plan_autoscaling(
    plan: ReplicaPlan,
    *,
    min_replicas: int,
    max_replicas: int,
    scale_down_seconds: int = CLUSTER["scale_down_seconds"].default,
    tolerance: float = TOLERANCE,
    path: str = "",
) -> AutoscalePlan:
    """The autoscaler's values for a plan's objective and service time.

    Args:
        min_replicas, max_replicas: bounds; the plan's own number of replicas does not have to be the least.
        scale_down_seconds: stabilisation window of scaling down.
        tolerance: by how much usage may be off the target before the autoscaler acts.
        path: property path of the service, for the messages.

    Raises:
        GateError: bounds without sense, an objective that the fewest replicas keep only while idle, or a demand that rests
            above max_replicas.
    """
    if not 1 <= min_replicas <= max_replicas:
        raise GateError([Problem(f"{path}.min_replicas", f"{min_replicas} to {max_replicas}", "1 ≤ min_replicas ≤ max_replicas")])
    highest = highest_utilisation(min_replicas, plan.p95_objective_ms, plan.service_rate_per_second, plan.scv)
    target = math.floor(100 * highest / (1 + tolerance)) / 100
    if target < LEAST_TARGET:
        raise GateError(
            [
                Problem(
                    f"{path}.p95_ms",
                    f"{min_replicas} replicas keep a p95 of {plan.p95_objective_ms:g} ms only up to {highest:.0%} load, "
                    "too little for an autoscaler to tell from idle",
                    f"a target of {LEAST_TARGET:.0%} or more",
                    "raise min_replicas, relax p95_ms, or set autoscale: false",
                )
            ]
        )
    found = AutoscalePlan(min_replicas, max_replicas, 0, target, tolerance, plan.service_rate_per_second, scale_down_seconds)
    wanted = math.ceil(plan.requests_per_second / (plan.service_rate_per_second * target) - 1e-9)
    if wanted > max_replicas:
        raise GateError(
            [
                Problem(
                    f"{path}.max_replicas",
                    f"at {found.target_percent} % each, which keeps the objective, the demand needs {wanted} replicas",
                    f"at least {wanted}, not {max_replicas}",
                    "raise max_replicas or min_replicas, relax p95_ms, or set autoscale: false",
                )
            ]
        )
    return AutoscalePlan(
        min_replicas, max_replicas, max(wanted, min_replicas), target, tolerance, plan.service_rate_per_second, scale_down_seconds
    )
