"""A given set of servers of unequal speed behind one balancer: its weights, and whether they keep the objective.

Each server is an M/M/1 queue with the rate p_i and gets the stream λ·x_i, as in formula 3. A request is late with the
probability Σ x_i·e^{−(p_i − λ·x_i)·t}: its time at one M/M/1 server is exponential (D. Gross and C. Harris, "Fundamentals of
Queueing Theory", section 2.2). A balancer that looks at queue lengths (least_request) does no worse on average than one that
splits blindly in the best proportion; formula 3's figures are then what is promised, not what is expected.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.errors import GateError, Problem
from isthmus.sizing.formulas.balancing import SharePlan, plan_shares
from isthmus.sizing.formulas.weights import round_to_weights
from isthmus.sizing.replicas import OBJECTIVE_QUANTILE, Demand

_STEPS = 200


@dataclass(frozen=True)
class UnequalPlan:
    """Weights for the servers, one each in the order given, with what is predicted.

    weights: for the balancer; 0: the server is not listed. All 1 for round robin. utilisation: of the busiest server.
    """

    requests_per_second: float
    p95_objective_ms: float
    service_rates_per_second: tuple[float, ...]
    weights: tuple[int, ...]
    utilisation: float
    mean_ms: float
    p50_ms: float
    p95_ms: float
    formula: str

    @property
    def servers(self) -> int:
        """How many servers get requests."""
        return sum(weight > 0 for weight in self.weights)

    def explain(self) -> str:
        """The arithmetic in one line (at most eight servers are spelled out)."""
        shown = [f"{p:.4g}/s → {w}" for p, w in zip(self.service_rates_per_second[:8], self.weights[:8], strict=True)]
        more = f", … {len(self.weights)} servers" if len(self.weights) > len(shown) else ""
        return (
            f"{self.formula}: λ = {self.requests_per_second:g}/s over {sum(self.service_rates_per_second):.4g}/s, weights "
            f"{', '.join(shown)}{more}: busiest {self.utilisation:.0%}, mean {self.mean_ms:.1f} ms, p50 {self.p50_ms:.1f} ms, "
            f"p95 {self.p95_ms:.1f} ms (objective {self.p95_objective_ms:g} ms)"
        )


def plan_unequal(demand: Demand, service_rates_per_second: Sequence[float], balancing: str, path: str = "") -> UnequalPlan:
    """The weights for these servers under a policy: formula 3's, or all equal for `round_robin`.

    Args:
        service_rates_per_second: p, one a server, each above 0.
        balancing: `weighted`, `least_request` (planned with formula 3's shares) or `round_robin`.
        path: property path of the service, for the messages.

    Raises:
        InputError: rates that make no sense.
        GateError: the servers cannot take the demand under this policy, or not within the objective.
    """
    rate, rates = demand.requests_per_second, tuple(float(p) for p in service_rates_per_second)
    shares = plan_shares(rates, rate, path=path)
    weights = (1,) * len(rates) if balancing == "round_robin" else round_to_weights(shares).weights
    found = predict_unequal(demand, rates, weights, "round robin, equal shares" if balancing == "round_robin" else "formula 3")
    if found is None:
        slowest = min(rates)
        raise GateError(
            [
                Problem(
                    f"{path}.balancing".lstrip("."),
                    f"round robin gives each of {len(rates)} servers {rate / len(rates):.4g} requests/s, and the slowest answers "
                    f"{slowest:.4g}/s",
                    "a policy that knows the servers' speeds",
                    "set balancing: weighted",
                )
            ]
        )
    if found.p95_ms > demand.p95_ms:
        raise GateError([_late(demand, shares, found, path)])
    return found


def _late(demand: Demand, shares: SharePlan, found: UnequalPlan, path: str) -> Problem:
    others = ", or set balancing: weighted" if found.formula != "formula 3" else ""
    return Problem(
        f"{path}.p95_ms".lstrip("."),
        f"these {len(found.weights)} servers answer {demand.requests_per_second:g} requests/s with a p95 of {found.p95_ms:.1f} ms "
        f"(busiest {max(shares.utilisations):.0%})",
        f"at most {demand.p95_ms:g} ms",
        f"add servers or faster ones, lower requests_per_second, or relax p95_ms{others}",
    )


def predict_unequal(demand: Demand, rates: tuple[float, ...], weights: tuple[int, ...], formula: str) -> UnequalPlan | None:
    """What these weights give (at least one of them is above 0); None where they overload a server."""
    total, arrivals = sum(weights), demand.requests_per_second
    used = [(weight / total, p - arrivals * weight / total) for p, weight in zip(rates, weights, strict=True) if weight]
    if min(margin for _, margin in used) <= 0:
        return None

    def quantile_ms(share: float) -> float:
        low, high = 0.0, max(-math.log(1 - share) / margin for _, margin in used)
        for _ in range(_STEPS):
            middle = (low + high) / 2
            if sum(x * math.exp(-margin * middle) for x, margin in used) > 1 - share:
                low = middle
            else:
                high = middle
        return 1000 * high

    return UnequalPlan(
        requests_per_second=arrivals,
        p95_objective_ms=demand.p95_ms,
        service_rates_per_second=rates,
        weights=weights,
        utilisation=max(arrivals * weight / total / p for p, weight in zip(rates, weights, strict=True)),
        mean_ms=1000 * sum(x / margin for x, margin in used),
        p50_ms=quantile_ms(0.5),
        p95_ms=quantile_ms(OBJECTIVE_QUANTILE),
        formula=formula,
    )
