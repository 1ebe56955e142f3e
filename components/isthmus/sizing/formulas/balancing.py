"""Formula 3: which share of the requests each server gets.

Minimise Σ x_i/(p_i − λ·x_i) over shares x with Σ x_i = 1, x_i ≥ 0 and λ·x_i < p_i. Each server is an M/M/1 queue with service
rate p_i that gets the stream λ·x_i; the sum is the mean response time. The problem is convex and separable: at the optimum
all servers that get requests and are held by no bound have the same marginal p_i/(p_i − λ·x_i)² = 1/s², so x_i = (p_i − s·√p_i)/λ,
cut off at the bounds, and s follows from Σ x_i = 1 (Karush, Kuhn and Tucker's conditions; without bounds this is the square-root
rule of L. Kleinrock, "Queueing Systems", volume 2, section 5.7; for parallel servers X. Tang and S. Chanson, ICPP 2000).

Units: capacities and demand per second, times in milliseconds, shares as fractions of 1.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from isthmus.errors import GateError, Problem
from isthmus.sizing.formulas.checks import bounds_of, positive_numbers, rate_of
from isthmus.sizing.formulas.filling import Filled, Floats, fill

# Closer to saturation than this, p − λx is rounding noise and no figure could be trusted (the mean is > 10⁹ service times).
_NEAREST_TO_SATURATION = 1e-9
# Shares are sums of fractions that people write: three times 1/3 may be 1 + 2e-16.
_SUM_TOLERANCE = 1e-9
# Capacities differ by at least 1e-16 of themselves or not at all. A demand this far below the smallest one spreads over no
# two of them that differ, and so cannot be told from none.
_NO_LOAD = 1e-17
# Each brings the reference to within rounding of where the requests end, as seen from the one before; a few suffice.
_MOST_REFERENCES = 10


@dataclass(frozen=True)
class SharePlan:
    """The shares that minimise the mean response time, with what is predicted for them.

    All tuples have one entry a server, in the order of the input; `left_out`, `at_min_share` and `at_max_share` are indices.
    left_out: servers that get nothing, because even idle they answer slower than the others under load.
    proportional_ms: the mean with shares in proportion to capacity; None where the bounds forbid these.
    threshold: s; a server takes part exactly when √capacity > s (bounds aside). 0 without servers held by no bound.
    """

    requests_per_second: float
    capacities_per_second: tuple[float, ...]
    min_shares: tuple[float, ...]
    max_shares: tuple[float, ...]
    shares: tuple[float, ...]
    utilisations: tuple[float, ...]
    left_out: tuple[int, ...]
    at_min_share: tuple[int, ...]
    at_max_share: tuple[int, ...]
    threshold: float
    mean_ms: float
    proportional_ms: float | None

    def explain(self) -> str:
        """The arithmetic in one line, as the preview shows it (at most eight servers are spelled out)."""
        shown = [f"{p:g}/s → {x:.1%}" for p, x in zip(self.capacities_per_second[:8], self.shares[:8], strict=True)]
        if len(self.shares) > len(shown):
            shown.append(f"… {len(self.shares)} servers")
        text = (
            f"formula 3: λ = {self.requests_per_second:g}/s over {sum(self.capacities_per_second):g}/s: {', '.join(shown)}; "
            f"mean {self.mean_ms:.2f} ms, busiest server {max(self.utilisations):.0%}"
        )
        if self.proportional_ms is not None:
            text += f"; in proportion to capacity: {self.proportional_ms:.2f} ms"
        slow = set(self.left_out) - set(self.at_max_share)
        if slow:
            text += f"; {len(slow)} left out (too slow to help at this load)"
        return text


def optimal_shares(
    capacities_per_second: ArrayLike,
    requests_per_second: float,
    *,
    min_shares: ArrayLike | None = None,
    max_shares: ArrayLike | None = None,
    path: str = "servers",
) -> Floats:
    """The shares of `plan_shares` alone, shape (M,). Arguments and errors are the same."""
    p, rate, lower, upper = _checked(capacities_per_second, requests_per_second, min_shares, max_shares, path)
    return _optimum(p, rate, lower, upper)[0].amounts


def plan_shares(
    capacities_per_second: ArrayLike,
    requests_per_second: float,
    *,
    min_shares: ArrayLike | None = None,
    max_shares: ArrayLike | None = None,
    path: str = "servers",
) -> SharePlan:
    """The exact optimum of formula 3, in O(M log M).

    Args:
        capacities_per_second: p, shape (M,), M ≥ 1, each positive.
        requests_per_second: λ ≥ 0. With no demand the fastest servers share what comes.
        min_shares, max_shares: bounds of each server's share, shape (M,) or one number for all, within [0, 1].
        path: property path of the servers, for the messages.

    Raises:
        InputError: numbers that make no sense (NaN, infinite, zero or negative capacity, a share outside [0, 1]).
        GateError: the servers cannot take the demand, or the bounds contradict each other or the capacities.
    """
    p, rate, lower, upper = _checked(capacities_per_second, requests_per_second, min_shares, max_shares, path)
    filled, threshold = _optimum(p, rate, lower, upper)
    shares = filled.amounts
    proportional = p / p.sum()
    within = bool(((proportional >= lower - _SUM_TOLERANCE) & (proportional <= upper + _SUM_TOLERANCE)).all())
    return SharePlan(
        requests_per_second=rate,
        capacities_per_second=tuple(p.tolist()),
        min_shares=tuple(lower.tolist()),
        max_shares=tuple(upper.tolist()),
        shares=tuple(shares.tolist()),
        utilisations=tuple((rate * shares / p).tolist()),
        left_out=_indices(shares == 0),
        at_min_share=_indices((shares <= lower) & (lower > 0)),
        at_max_share=_indices((shares >= upper) & (upper < 1)),
        threshold=threshold,
        mean_ms=mean_response_of_shares_ms(shares, p, rate),
        proportional_ms=mean_response_of_shares_ms(proportional, p, rate) if within else None,
    )


def mean_response_of_shares_ms(shares: ArrayLike, capacities_per_second: ArrayLike, requests_per_second: float) -> float:
    """1000 · Σ x_i/(p_i − λ·x_i): the mean response time in milliseconds; infinite where a server is overloaded."""
    x, p = np.asarray(shares, dtype=np.float64), np.asarray(capacities_per_second, dtype=np.float64)
    used = x > 0
    spare = p[used] - requests_per_second * x[used]
    return float(1000 * (x[used] / spare).sum()) if (spare > 0).all() else float("inf")


def kkt_residual(
    shares: ArrayLike,
    capacities_per_second: ArrayLike,
    requests_per_second: float,
    *,
    min_shares: ArrayLike | None = None,
    max_shares: ArrayLike | None = None,
) -> float:
    """How far shares are from the conditions that only the optimum meets; 0 is optimal.

    The largest of: |Σ x − 1|; by how much a bound is broken; and by how much, relative to it, the dearest marginal
    p/(p − λx)² among the servers that could give requests away exceeds the cheapest among those that could take more.
    Infinite where a server is overloaded.
    """
    x, p = np.asarray(shares, dtype=np.float64), np.asarray(capacities_per_second, dtype=np.float64)
    lower, upper = bounds_of(min_shares, max_shares, len(p), "servers")
    spare = p - requests_per_second * x
    if (spare <= 0).any():
        return float("inf")
    marginal = p / spare**2
    primal = max(abs(x.sum() - 1), float((lower - x).max()), float((x - upper).max()))
    giving, taking = marginal[x > lower], marginal[x < upper]
    dual = (giving.max() - taking.min()) / giving.max() if len(giving) and len(taking) else 0.0
    return float(max(primal, dual, 0.0))


def _checked(
    capacities: ArrayLike, requests_per_second: float, low: ArrayLike | None, high: ArrayLike | None, path: str
) -> tuple[Floats, float, Floats, Floats]:
    p = positive_numbers(capacities, f"{path}.capacities_per_second", "capacity in requests per second")
    rate = rate_of(requests_per_second, "requests_per_second")
    lower, upper = bounds_of(low, high, len(p), path)
    _check_feasible(p, rate, lower, upper, path)
    return p, rate, lower, upper


def greatest_rate_per_second(p: Floats, lower: Floats, upper: Floats) -> float:
    """The demand below which shares within the bounds exist that overload no server; Σ p without bounds."""
    if (lower == 0).all() and (upper >= 1).all():
        return float(p.sum())
    # Σ min(u·λ, p) ≥ λ must hold. For any set S: Σ_S p + λ·Σ_others u ≥ λ; the sets that bind are prefixes by p/u.
    with np.errstate(divide="ignore", over="ignore"):
        order = np.argsort(np.where(upper > 0, p / upper, np.inf))
        taken = np.concatenate(([0.0], np.cumsum(p[order])))
        missing = 1 - np.concatenate((np.cumsum(upper[order][::-1])[::-1], [0.0]))
        by_ceiling = np.where(missing > _SUM_TOLERANCE, taken / np.maximum(missing, _SUM_TOLERANCE), np.inf)
        by_floor = np.where(lower > 0, p / lower, np.inf)
    return float(min(by_ceiling.min(), by_floor.min()))


def _check_feasible(p: Floats, rate: float, lower: Floats, upper: Floats, path: str) -> None:
    problems = [
        Problem(f"{path}[{i}]", f"min_share {lower[i]:g} is above max_share {upper[i]:g}", "a minimum within the maximum", "change one")
        for i in _indices(lower > upper)[:20]
    ]
    if lower.sum() > 1 + _SUM_TOLERANCE:
        problems.append(Problem(f"{path}.min_shares", f"the minimum shares add up to {lower.sum():.4g}", "at most 1", "lower some of them"))
    if upper.sum() < 1 - _SUM_TOLERANCE:
        problems.append(
            Problem(f"{path}.max_shares", f"the maximum shares add up to {upper.sum():.4g}", "at least 1", "raise some of them")
        )
    if problems:
        raise GateError(problems)
    greatest = greatest_rate_per_second(p, lower, upper)
    if rate < greatest * (1 - _NEAREST_TO_SATURATION):
        return
    capacity = float(p.sum())
    if rate >= capacity * (1 - _NEAREST_TO_SATURATION):
        problems.append(
            Problem(
                path,
                f"{rate:g} requests/s reach {len(p)} server{'s' if len(p) > 1 else ''} that can answer {capacity:g}/s together",
                f"a capacity of more than {rate:g}/s",
                f"add capacity ({_more_servers(p, rate)}), or lower the demand",
            )
        )
    for i in _indices(rate * lower >= p * (1 - _NEAREST_TO_SATURATION))[:20]:
        problems.append(
            Problem(
                f"{path}[{i}].min_share",
                f"a share of at least {lower[i]:g} is {rate * lower[i]:g} requests/s for a server that can answer {p[i]:g}/s",
                f"less than {p[i] / rate:.4g}, or a capacity of more than {rate * lower[i]:g}/s",
                "lower the minimum share, or make the server faster",
            )
        )
    if not problems:
        held = ", ".join(f"[{i}]" for i in _indices(rate * upper < p)[:20])
        problems.append(
            Problem(
                f"{path}.max_shares",
                f"with these maximum shares the servers can take no more than {greatest:g} requests/s, not {rate:g}/s",
                f"a demand below {greatest:g}/s",
                f"raise the maximum share of {held} (they have capacity left), or add capacity to the others",
            )
        )
    raise GateError(problems)


def _more_servers(p: Floats, rate: float) -> str:
    more = int(max(rate - p.sum(), 0) / p.max()) + 1
    return f"more than {max(rate - float(p.sum()), 0):g}/s, such as {more} more like the fastest"


def _optimum(p: Floats, rate: float, lower: Floats, upper: Floats) -> tuple[Filled, float]:
    largest = float(p.max())
    scaled, load = p / largest, rate / largest
    # A ceiling of 1 never binds before Σ x = 1 does, and without ceilings half the breakpoints fall away.
    ceiling = np.where(upper >= 1, np.inf, upper)
    if load < _NO_LOAD * scaled.min():
        return _without_load(scaled, lower, upper), float(np.sqrt(largest))
    roots = np.sqrt(scaled)
    reference = int(scaled.argmax())
    for _ in range(_MOST_REFERENCES):
        # x = √p·(t + (√p − √r)/λ) with s = √r − λt: equal to (p − s√p)/λ, but it keeps its digits at light load, where
        # p − s√p is the small difference of two numbers. (p − r)/(√p + √r) does the same for nearly equal servers.
        offset = (scaled - scaled[reference]) / (roots + roots[reference]) / load
        filled = fill(roots, offset, lower, ceiling, 1.0)
        if filled.free[reference]:
            break
        # The digits are kept for servers near the reference, and this one is held by a bound: take one that is not, or
        # that has its bound where the requests ended.
        if filled.free.any():
            following = int(np.where(filled.free, scaled, -1).argmax())
        else:
            bounds = np.stack((lower / roots - offset, ceiling / roots - offset))
            following = int(np.abs(bounds - filled.level).min(axis=0).argmin())
        if following == reference:
            break
        reference = following
    threshold = (float(roots[reference]) - load * filled.level) * float(np.sqrt(largest))
    return filled, threshold if filled.free.any() else 0.0


def _without_load(p: Floats, lower: Floats, upper: Floats) -> Filled:
    """The limit λ → 0: fastest first up to the maximum share; servers of equal capacity share alike."""
    classes, member = np.unique(-p, return_inverse=True)
    room = np.bincount(member, weights=upper - lower, minlength=len(classes))
    before = np.concatenate(([0.0], np.cumsum(room)[:-1]))
    left = 1 - lower.sum()
    last = max(0, int(np.searchsorted(before, left, side="left")) - 1)
    shares = np.where(member < last, upper, lower)
    at_last = member == last
    filled = fill(np.ones(at_last.sum()), np.zeros(at_last.sum()), lower[at_last], upper[at_last], 1 - shares[~at_last].sum())
    shares[at_last] = filled.amounts
    return Filled(shares, filled.level, at_last)


def _indices(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(np.flatnonzero(mask).tolist())
