"""How many equal servers a demand needs, and the numbers that say why."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from isthmus.errors import GateError, Problem
from isthmus.sizing.queueing import mean_response_ms, response_time_quantile_ms, response_time_tail

OBJECTIVE_QUANTILE = 0.95
# More servers than this for one model is a mistake in the demand, not a plan.
MOST_REPLICAS = 10_000


@dataclass(frozen=True)
class Demand:
    """requests_per_second: λ, mean arrival rate. p95_ms: 95 % of the requests are to be answered within it."""

    requests_per_second: float
    p95_ms: float


@dataclass(frozen=True)
class ReplicaPlan:
    """The smallest number of replicas that keeps the objective, with what is predicted for it.

    utilisation: λ/(cμ), in [0, 1). p95_with_one_less_ms: None where one less could not keep up at all.
    """

    replicas: int
    requests_per_second: float
    p95_objective_ms: float
    service_rate_per_second: float
    utilisation: float
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p95_with_one_less_ms: float | None
    bound: str

    def explain(self) -> str:
        """The arithmetic in one line, as the preview shows it."""
        less = (
            "" if self.replicas == 1
            else f"; with {self.replicas - 1}: "
            + ("cannot keep up" if self.p95_with_one_less_ms is None else f"p95 {self.p95_with_one_less_ms:.1f} ms")
        )  # fmt: skip
        return (
            f"M/M/c: λ = {self.requests_per_second:g}/s, μ = {self.service_rate_per_second:.1f}/s per replica "
            f"→ {self.replicas} replica{'s' if self.replicas != 1 else ''} ({self.bound}): utilisation {self.utilisation:.0%}, "
            f"p50 {self.p50_ms:.1f} ms, p95 {self.p95_ms:.1f} ms (objective {self.p95_objective_ms:g} ms){less}"
        )


def plan_replicas(
    demand: Demand, service_rate_per_second: float, *, min_replicas: int = 1, max_replicas: int = MOST_REPLICAS, path: str = ""
) -> ReplicaPlan:
    """The smallest c in [min_replicas, max_replicas] whose predicted p95 is within the objective.

    Args:
        path: property path of the service, for the messages.

    Raises:
        GateError: no number of replicas can meet the objective, or more than `max_replicas` would be needed.
    """
    rate, mu = demand.requests_per_second, service_rate_per_second
    alone_ms = -1000 * math.log(1 - OBJECTIVE_QUANTILE) / mu
    if demand.p95_ms <= alone_ms:
        raise GateError(
            [
                Problem(
                    f"{path}.p95_ms".lstrip("."),
                    f"a p95 of {demand.p95_ms:g} ms cannot be met by any number of replicas: one request alone takes "
                    f"{1000 / mu:.2f} ms on average, {alone_ms:.2f} ms at p95",
                    f"more than {alone_ms:.2f} ms",
                    "relax p95_ms, or make the model faster (a smaller model, a lighter recipe)",
                )
            ]
        )
    stable = math.floor(rate / mu) + 1

    def p95(replicas: int) -> float:
        return response_time_quantile_ms(OBJECTIVE_QUANTILE, replicas, rate, mu)

    # Asking the tail at the objective costs one evaluation; the quantile itself costs a bisection.
    fewest = _smallest(stable, lambda c: response_time_tail(demand.p95_ms, c, rate, mu) <= 1 - OBJECTIVE_QUANTILE)
    if fewest is None or fewest > max_replicas:
        raise GateError(
            [
                Problem(
                    f"{path}.requests_per_second".lstrip("."),
                    f"{rate:g} requests/s at {mu:.1f} requests/s per replica need "
                    + (f"{fewest} replicas" if fewest else f"more than {MOST_REPLICAS} replicas"),
                    f"at most {max_replicas} (max_replicas)",
                    "raise max_replicas, lower requests_per_second, or relax p95_ms",
                )
            ]
        )
    replicas = max(fewest, min_replicas)
    return ReplicaPlan(
        replicas=replicas,
        requests_per_second=rate,
        p95_objective_ms=demand.p95_ms,
        service_rate_per_second=mu,
        utilisation=rate / (replicas * mu),
        mean_ms=mean_response_ms(replicas, rate, mu),
        p50_ms=response_time_quantile_ms(0.5, replicas, rate, mu),
        p95_ms=p95(replicas),
        p95_with_one_less_ms=p95(replicas - 1) if replicas - 1 >= stable else None,
        bound="the fewest that keep the objective" if replicas == fewest else "min_replicas",
    )


def _smallest(start: int, meets: Callable[[int], bool]) -> int | None:
    """The smallest c ≥ start that meets the objective; p95 falls with c, so double, then bisect. None beyond MOST_REPLICAS."""
    if start > MOST_REPLICAS:
        return None
    high = start
    while not meets(high):
        if high >= MOST_REPLICAS:
            return None
        high = min(2 * high, MOST_REPLICAS)
    low = start
    while low < high:
        middle = (low + high) // 2
        if meets(middle):
            high = middle
        else:
            low = middle + 1
    return high
