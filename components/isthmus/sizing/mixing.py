"""Servers of different kinds, mixed at least cost so that 95 % of all requests are answered within the objective.

Model: each kind is a pool of its own with one queue (M/M/c, or M/G/c for a kind with scv ≠ 1), and the gateway sends each
request to pool k with probability λ_k/λ, so that each pool sees Poisson arrivals. The objective holds for all requests
taken together: Σ_k λ_k·P(T_k > p95_ms) ≤ 5 % of λ; and no pool's own p95 is beyond twice that (`pooling.POOL_FACTOR`), or the cheapest
mix would feed one small server to the full and let all of its requests be among the 5 %.

Counts: depth first over the kinds, dearest per request first, with two bounds: the price of the capacity that is still
lacking, and the least mix found so far; the last kind's count is bisected, since one more server never hurts. The work is
bounded; a search that was cut short says so and gives the bound that it can still prove.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from isthmus.errors import GateError, Problem, property_path
from isthmus.limits import MOST_REPLICAS
from isthmus.sizing.headroom import number_problem
from isthmus.sizing.pooling import Pools, ServerKind
from isthmus.sizing.queueing import response_time_quantile_ms, service_time_quantile_ms
from isthmus.sizing.replicas import OBJECTIVE_QUANTILE, Demand, demand_problems, scv_problems, smallest

MOST_KINDS = 8
# In steps of Erlang's recurrence, each over all points of a curve; this many are a few seconds.
DEFAULT_WORK = 500_000


@dataclass(frozen=True)
class Pool:
    """The servers of one kind, and what they get. p95_ms: of the requests that go to this pool."""

    kind: ServerKind
    servers: int
    requests_per_second: float
    p95_ms: float

    @property
    def utilisation(self) -> float:
        return self.requests_per_second / (self.servers * self.kind.service_rate_per_second)


@dataclass(frozen=True)
class MixPlan:
    """The mix of least cost.

    late_share: predicted share of all requests that take longer than the objective. bound_per_hour: no mix costs less; equal to
    the price where the search was complete (`exact`). pools: only kinds that are used, in the order given.
    """

    demand: Demand
    pools: tuple[Pool, ...]
    price_per_hour: float
    late_share: float
    bound_per_hour: float
    exact: bool

    def explain(self) -> str:
        """One line for the mix, one a pool."""
        proof = "least cost" if self.exact else f"search cut short; no mix costs less than {self.bound_per_hour:.4g}/h"
        lines = [
            f"pools by kind, split at equal slopes: λ = {self.demand.requests_per_second:g}/s → "
            f"{' + '.join(f'{pool.servers} {pool.kind.name}' for pool in self.pools)}: {self.price_per_hour:.4g}/h ({proof}); "
            f"{1 - self.late_share:.1%} within {self.demand.p95_ms:g} ms"
        ]
        lines += [
            f"  {pool.kind.name}: {pool.servers} servers of {pool.kind.service_rate_per_second:g}/s get {pool.requests_per_second:.1f}/s, "
            f"utilisation {pool.utilisation:.0%}, p95 {pool.p95_ms:.1f} ms"
            for pool in self.pools
        ]
        return "\n".join(lines)


def plan_mix(demand: Demand, kinds: Sequence[ServerKind], *, work: int = DEFAULT_WORK, path: str = "") -> MixPlan:
    """The mix of least price whose p95 over all requests is within the objective.

    Args:
        kinds: 1 to `MOST_KINDS` kinds of server, names all different.
        work: limit of the search; a mix is returned in any case.

    Raises:
        GateError: a number is not one; or no mix meets the objective (it says how many more servers of which kind would).
    """
    problems = _problems(demand, kinds, path)
    if problems:
        raise GateError(problems)
    alone = [service_time_quantile_ms(OBJECTIVE_QUANTILE, kind.service_rate_per_second, kind.scv) for kind in kinds]
    if demand.p95_ms <= min(alone):
        fastest = kinds[alone.index(min(alone))].name
        what = (
            f"a p95 of {demand.p95_ms:g} ms cannot be met: one request alone takes {min(alone):.2f} ms at p95 on {fastest}, "
            "the fastest kind"
        )
        fix = "relax p95_ms, or add a faster kind"
        raise GateError([Problem(f"{path}.p95_ms".lstrip("."), what, f"more than {min(alone):.2f} ms", fix)])
    ordered = sorted(kinds, key=lambda kind: kind.price_per_hour / kind.service_rate_per_second)
    search = _Search(demand, ordered, work)
    if not search.start():
        raise GateError([_too_few(search, path)])
    search.run()
    split, late = search.judge(search.best)
    counts = {kind.name: (count, float(rate)) for kind, count, rate in zip(ordered, search.best, split, strict=True)}
    pools = tuple(
        Pool(kind, count, rate, response_time_quantile_ms(OBJECTIVE_QUANTILE, count, rate, kind.service_rate_per_second, kind.scv))
        for kind in kinds
        for count, rate in [counts[kind.name]]
        if count
    )
    price = search.price(search.best)
    return MixPlan(demand, pools, price, late, price if search.complete else search.root_bound, search.complete)


class _Search(Pools):
    """Branch and bound over the counts; `kinds` are ordered by price per request, cheapest first."""

    def __init__(self, demand: Demand, kinds: Sequence[ServerKind], work: int) -> None:
        super().__init__(demand, kinds, work)
        self.complete = True
        self.most = [min(kind.max_servers, MOST_REPLICAS) for kind in kinds]
        self.best: list[int] = []
        self.root_bound = 0.0

    def price(self, counts: Sequence[int]) -> float:
        return math.fsum(count * kind.price_per_hour for count, kind in zip(counts, self.kinds, strict=True))

    def alone(self, index: int) -> int | None:
        """How many of that kind would do by themselves, whatever `max_servers` says."""
        kind = self.kinds[index]
        return smallest(
            math.floor(min(self.rate / kind.service_rate_per_second, MOST_REPLICAS)) + 1,
            lambda count: self.meets([count if i == index else 0 for i in range(len(self.kinds))]),
        )

    def start(self) -> bool:
        """A first mix: the kinds filled up in their order, or one kind alone. False where everything there is does not do."""
        enough = [self.alone(index) if self.takes[index] == math.inf else None for index in range(len(self.kinds))]
        self.most = [0 if takes == 0 else most if need is None else min(most, need)
                     for most, need, takes in zip(self.most, enough, self.takes, strict=True)]  # fmt: skip
        found = [
            [count if i == index else 0 for i in range(len(self.kinds))]
            for index, count in enumerate(enough)
            if count is not None and count <= self.most[index]
        ]
        counts = [0] * len(self.kinds)
        for index, most in enumerate(self.most):
            counts[index] = most
            if self.meets(counts):
                found.append(self._fewest(counts, index, 0))
                break
        if not found:
            return False
        self.best = min(found, key=self.price)
        self.root_bound = self._bound(len(self.kinds), self.rate)
        return True

    def run(self) -> None:
        self._descend(len(self.kinds) - 1, [0] * len(self.kinds), 0.0, self.rate)

    def _descend(self, index: int, counts: list[int], paid: float, lacking: float) -> None:
        kind, best = self.kinds[index], self.price(self.best)
        if index == 0:
            most = min(self.most[0], math.ceil((best - paid) / kind.price_per_hour - 1e-9) - 1)
            fewest = max(0, math.floor(lacking / kind.service_rate_per_second))
            if fewest <= most and self.meets([most, *counts[1:]]):
                self.best = self._fewest([most, *counts[1:]], 0, fewest)
            return
        for count in range(self.most[index] + 1):
            if self.work <= 0:
                self.complete = False
                return
            cost, left = paid + count * kind.price_per_hour, lacking - self.capacity(index, count)
            bound = self._bound(index, left)
            if bound == math.inf:
                continue  # too few: the kinds that are still to come cannot carry the rest
            # The rest is no dearer per request than this kind, so that the bound only grows with the count.
            if cost + bound >= self.price(self.best) * (1 - 1e-12):
                return
            self._descend(index - 1, [*counts[:index], count, *counts[index + 1 :]], cost, left)

    def _bound(self, kinds: int, lacking: float) -> float:
        """The least price of capacity for that many requests/s from the first `kinds` kinds, servers taken as divisible."""
        total = 0.0
        for index in range(kinds):
            if lacking <= 0:
                return total
            taken = min(lacking, self.capacity(index, self.most[index]))
            total += taken * self.kinds[index].price_per_hour / self.kinds[index].service_rate_per_second
            lacking -= taken
        return total if lacking <= 0 else math.inf

    def _fewest(self, counts: Sequence[int], index: int, low: int) -> list[int]:
        """`counts`, which meet the objective, with as few of that kind as still do."""
        high = counts[index]
        found = list(counts)
        while low < high:
            found[index] = middle = (low + high) // 2
            low, high = (low, middle) if self.meets(found) else (middle + 1, high)
        found[index] = high
        return found


def _too_few(search: _Search, path: str) -> Problem:
    """What is lacking, said as the cheapest kind and count that would mend it with everything else at its most."""
    offers = []
    for index, kind in enumerate(search.kinds):
        most, need = search.most[index], search.alone(index)
        if need is not None and search.takes[index] == math.inf:
            others = [need if i == index else count for i, count in enumerate(search.most)]
            count = search._fewest(others, index, most)[index]
            offers.append(((count - most) * kind.price_per_hour, f"{count} {kind.name} servers instead of {most}"))
    have = " + ".join(f"{kind.max_servers} {kind.name}" for kind in search.kinds)
    return Problem(
        f"{path}.servers".lstrip("."),
        f"{search.rate:g} requests/s within {search.time_ms:g} ms at p95 are too many for all the servers there are ({have})",
        min(offers)[1] if offers else f"kinds of which {MOST_REPLICAS} servers can do it",
        "raise max_servers, lower requests_per_second, or relax p95_ms",
    )


def _problems(demand: Demand, kinds: Sequence[ServerKind], path: str) -> list[Problem]:
    problems = demand_problems(demand, path)
    at = f"{path}.servers".lstrip(".")
    if not 1 <= len(kinds) <= MOST_KINDS:
        problems.append(Problem(at, f"{len(kinds)} kinds of server", f"1 to {MOST_KINDS} kinds"))
    names = [kind.name for kind in kinds]
    problems += [Problem(at, f"two kinds are named {name!r}", "names that differ") for name in sorted(set(names)) if names.count(name) > 1]
    for kind in kinds:
        here = property_path([kind.name], at)
        problems += number_problem(f"{here}.service_rate_per_second", kind.service_rate_per_second, "positive")
        problems += number_problem(f"{here}.price_per_hour", kind.price_per_hour, "positive")
        problems += number_problem(f"{here}.max_servers", kind.max_servers, "from 1 on")
        problems += scv_problems(f"{here}.scv", kind.scv)
    return problems
