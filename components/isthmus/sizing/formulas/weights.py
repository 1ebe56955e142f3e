"""Shares as whole numbers, as load balancers take them, with what the rounding costs.

A balancer gives server i the share w_i/W with W = Σ w. For one W the best weights are a resource allocation with a separable
convex objective: weights from which no move of one unit from a server to another helps are optimal (T. Ibaraki and N. Katoh,
"Resource Allocation Problems", 1988, chapter 4). So: largest remainders, then moves of one unit until none helps. Over W
there is no such law, so that many sums are tried, the largest possible among them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import GateError, InputError, Problem
from isthmus.sizing.formulas.balancing import SharePlan
from isthmus.sizing.formulas.filling import Floats, fill

# A weight of 1 in 1000 is finer than any measured capacity, and such numbers can still be read.
MAX_WEIGHT = 1000
# Envoy: load_balancing_weight is at least 1, and the sum within a locality must fit 32 bits.
MAX_SUM = 4_294_967_295
# At most so many sums, and about so many weights in all, are looked at by largest remainders; so many sums are polished.
_MOST_SUMS = 256
_LOOKED_AT = 100_000
_POLISHED = 8
# Sums whose means differ by less than this cost the same: the smaller numbers are taken.
_SAME = 1e-9

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class WeightPlan:
    """Whole weights for a load balancer.

    weights: one a server; 0: the server is left out, and must not be listed in the balancer (whose least weight is 1).
    rounding_loss_percent: by how much the mean response time is above that of the exact shares.
    left_out: indices of the weights that are 0.
    """

    weights: tuple[int, ...]
    shares: tuple[float, ...]
    left_out: tuple[int, ...]
    mean_ms: float
    exact_mean_ms: float
    rounding_loss_percent: float

    def explain(self) -> str:
        """The arithmetic in one line (at most eight weights are spelled out)."""
        shown = " : ".join(str(weight) for weight in self.weights[:8]) + (" : …" if len(self.weights) > 8 else "")
        return (
            f"weights {shown}: mean {self.mean_ms:.2f} ms against {self.exact_mean_ms:.2f} ms with exact shares "
            f"(rounding loses {self.rounding_loss_percent:.3g} %)" + (f"; {len(self.left_out)} left out" if self.left_out else "")
        )


def round_to_weights(plan: SharePlan, *, max_weight: int = MAX_WEIGHT, max_sum: int = MAX_SUM) -> WeightPlan:
    """The weights with the least mean response time that was found; they keep the plan's bounds and overload no server.

    Raises:
        InputError: a max_weight or max_sum below 1.
        GateError: no weights up to max_weight keep the bounds and the capacities (very high load, or very tight bounds).
    """
    for name, value in (("max_weight", max_weight), ("max_sum", max_sum)):
        if value < 1:
            raise InputError([Problem(name, f"{value}", "at least 1", "raise it")])
    best: tuple[float, Integers] | None = None
    case = _case(plan)
    looked = [(mean, total) for total in _sums(case, max_weight, max_sum) if (mean := _look(case, total, max_weight)) is not None]
    # The largest sum is always polished, so that the result is never worse than plain rounding to it.
    chosen = {total for _, total in sorted(looked)[:_POLISHED]} | {total for _, total in looked[-1:]}
    for total in sorted(chosen):
        weights = _polished(case, total, max_weight)
        mean = float(_terms(case, weights, total).sum())
        if best is None or mean < best[0] * (1 - _SAME):
            best = mean, weights
    if best is None:
        raise GateError(
            [
                Problem(
                    "max_weight",
                    f"no whole weights up to {max_weight} (sum up to {max_sum}) keep the bounds and overload no server: "
                    f"the busiest has {max(plan.utilisations):.2%} of its capacity used with exact shares",
                    "finer weights",
                    "raise max_weight, loosen the bounds, or add capacity",
                )
            ]
        )
    mean, weights = best
    exact = plan.mean_ms / 1000
    return WeightPlan(
        weights=tuple(weights.tolist()),
        shares=tuple((weights / weights.sum()).tolist()),
        left_out=tuple(np.flatnonzero(weights == 0).tolist()),
        mean_ms=1000 * mean,
        exact_mean_ms=plan.mean_ms,
        rounding_loss_percent=max(0.0, 100 * (mean - exact) / exact),
    )


@dataclass(frozen=True)
class _Case:
    """A SharePlan as arrays of shape (M,): tuples are slow to turn into arrays over and over."""

    capacities: Floats
    shares: Floats
    min_shares: Floats
    max_shares: Floats
    rate: float


def _case(plan: SharePlan) -> _Case:
    capacities, shares, least, most = map(np.array, (plan.capacities_per_second, plan.shares, plan.min_shares, plan.max_shares))
    return _Case(capacities, shares, least, most, plan.requests_per_second)


def _polished(case: _Case, total: int, max_weight: int) -> Integers:
    """The optimal whole weights with exactly that sum, shape (M,). Raises ValueError: none of that sum keep the bounds and capacities."""
    weights = _largest_remainders(case, total, max_weight)
    if weights is None:
        raise ValueError(f"no weights of sum {total} keep the bounds")
    least, most = _limits(case, total, max_weight)
    while True:
        now = _terms(case, weights, total)
        cost = np.where(weights < most, _terms(case, np.minimum(weights + 1, most), total) - now, np.inf)
        gain = np.where(weights > least, now - _terms(case, np.maximum(weights - 1, least), total), -np.inf)
        to, source = cost.argsort(), (-gain).argsort()
        # The cheapest takers with the dearest givers. By convexity a server's cost is at least its gain, so that no server
        # is in both lists and every pair lowers the sum by itself; rounding may put one in both, which ends the polishing.
        pairs = int((cost[to] < gain[source] * (1 - 1e-12)).sum())
        if not pairs or np.intersect1d(to[:pairs], source[:pairs]).size:
            return weights
        weights[to[:pairs]] += 1
        weights[source[:pairs]] -= 1


def _sums(case: _Case, max_weight: int, max_sum: int) -> list[int]:
    """The sums to look at: all where that is cheap, otherwise the small ones and a geometric series up to the largest."""
    largest = max(1, min(max_sum, int(max_weight / float(case.shares.max())) + 1))
    count = min(_MOST_SUMS, max(16, _LOOKED_AT // len(case.shares)))
    if largest <= count:
        return list(range(1, largest + 1))
    series = np.geomspace(count // 2, largest, count // 2).astype(np.int64)
    return sorted({*range(1, count // 2), *series.tolist(), largest - 1, largest})


def _look(case: _Case, total: int, max_weight: int) -> float | None:
    weights = _largest_remainders(case, total, max_weight)
    return None if weights is None else float(_terms(case, weights, total).sum())


def _largest_remainders(case: _Case, total: int, max_weight: int) -> Integers | None:
    """Hamilton's method within the limits: floors, then one more for the largest fractions. None where nothing fits."""
    least, most = _limits(case, total, max_weight)
    if (least > most).any() or least.sum() > total or most.sum() < total:
        return None
    wanted = case.shares * total
    if (wanted < least).any() or (wanted > most).any():  # nearest point within the limits that has the sum
        wanted = fill(np.ones(len(wanted)), wanted, least.astype(np.float64), most.astype(np.float64), float(total)).amounts
    weights = np.clip(np.floor(wanted + 1e-9).astype(np.int64), least, most)
    missing = total - int(weights.sum())
    order = np.argsort(-(wanted - weights), kind="stable")
    for step, bound in ((1, most), (-1, least)):  # the 1e-9 above may give one too many
        while missing * step > 0:
            able = order[weights[order] != bound[order]][::step][: abs(missing)]
            weights[able] += step
            missing -= step * len(able)
    return weights


def _limits(case: _Case, total: int, max_weight: int) -> tuple[Integers, Integers]:
    """The least and the most weight of each server: the plan's bounds, max_weight, and strictly less than its capacity."""
    slack = 1e-9 * total  # bounds are fractions that people write, such as 1/3
    least = np.ceil(case.min_shares * total - slack)
    most = np.minimum(np.floor(case.max_shares * total + slack), max_weight)
    if case.rate > 0:
        saturated: Floats = case.capacities / case.rate * total
        most = np.minimum(most, np.ceil(np.minimum(saturated, 2.0**53) * (1 - 1e-12)) - 1)
    return np.maximum(least, 0).astype(np.int64), most.astype(np.int64)


def _terms(case: _Case, weights: Integers, total: int) -> Floats:
    """Each server's part of the mean response time in seconds, shape (M,)."""
    shares = weights / total
    return np.asarray(shares / (case.capacities - case.rate * shares), dtype=np.float64)
