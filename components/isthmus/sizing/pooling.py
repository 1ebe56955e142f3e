"""Pools of servers of different kinds behind one gateway: who gets which share of the requests, and how many are late.

Split: λ_k·P(T_k > t) is convex in λ_k for M/M/c (Erlang's C is convex and increasing in the load: A. A. Jagers and
E. A. van Doorn, Operations Research Letters 5 (1986)), so that the best split has equal slopes wherever a pool is used. The
curves are taken as chords between 257 points or more; a chord lies above its curve, so that no late mix passes for a good
one, and whatever is returned has been checked against the formula itself. A mix whose late requests are within about 0.01 %
of the allowed ones may be passed over.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isthmus.limits import MOST_REPLICAS
from isthmus.sizing.queueing import Floats, response_time_tail, response_time_tails, service_time_quantile_ms
from isthmus.sizing.replicas import OBJECTIVE_QUANTILE, Demand

# No pool's own p95 may be beyond so many times the objective.
POOL_FACTOR = 2.0
LATE = 1 - OBJECTIVE_QUANTILE
_POINTS = 128
# What judging one mix costs beside its curves, in steps of Erlang's recurrence.
_JUDGING = 20


@dataclass(frozen=True)
class ServerKind:
    """price_per_hour: of one server, above 0. max_servers: how many can be had. scv: of its service time."""

    name: str
    service_rate_per_second: float
    price_per_hour: float
    max_servers: int = MOST_REPLICAS
    scv: float = 1.0


class Pools:
    """Judges mixes of these kinds, given as one count a kind, for one demand.

    work: falls with what was computed, in steps of Erlang's recurrence; the owner decides when to stop.
    """

    def __init__(self, demand: Demand, kinds: Sequence[ServerKind], work: int) -> None:
        self.kinds, self.rate, self.time_ms, self.work = kinds, demand.requests_per_second, demand.p95_ms, work
        self.takes = [_most_taken(demand, kind) for kind in kinds]
        self._curves: dict[tuple[int, int], tuple[Floats, Floats]] = {}

    def capacity(self, index: int, count: int) -> float:
        return min(count * self.kinds[index].service_rate_per_second, self.takes[index])

    def meets(self, counts: Sequence[int]) -> bool:
        if sum(self.capacity(index, count) for index, count in enumerate(counts)) <= self.rate:
            return False
        return self.judge(counts)[1] <= LATE

    def judge(self, counts: Sequence[int]) -> tuple[Floats, float]:
        """The best split (k,) in requests/s, and the share of late requests under it; 1 where there is no split."""
        split = np.zeros(len(counts))
        used = [index for index, count in enumerate(counts) if count]
        self.work -= _JUDGING
        if len(used) == 1:
            split[used[0]] = self.rate
        else:
            curves = [self._curve(index, counts[index]) for index in used]
            widths = np.concatenate([np.diff(rates) for rates, _ in curves])
            slopes = np.concatenate([np.diff(late) for _, late in curves]) / widths
            order = np.argsort(slopes, kind="stable")
            before = np.cumsum(widths[order]) - widths[order]
            owner = np.repeat(used, [rates.size - 1 for rates, _ in curves])[order]
            split[:] = np.bincount(owner, np.clip(self.rate - before, 0, widths[order]), minlength=len(counts))
            if split.sum() < self.rate * (1 - 1e-12):
                return split, 1.0
            late = sum(float(np.interp(split[index], *curve)) for index, curve in zip(used, curves, strict=True))
            if late > LATE * self.rate:
                return split, late / self.rate
        late = math.fsum(rate * self._tail(index, counts[index], rate) for index, rate in enumerate(split.tolist()) if rate > 0)
        return split, late / self.rate

    def _tail(self, index: int, count: int, rate: float) -> float:
        kind = self.kinds[index]
        if rate >= count * kind.service_rate_per_second:
            return 1.0
        self.work -= count
        return response_time_tail(self.time_ms, count, rate, kind.service_rate_per_second, kind.scv)

    def _curve(self, index: int, count: int) -> tuple[Floats, Floats]:
        """Requests/s to a pool against late requests/s from it, up to where the pool alone is late with all that may be."""
        if (index, count) not in self._curves:
            kind, allowed = self.kinds[index], LATE * self.rate
            most = min(count * kind.service_rate_per_second * (1 - 1e-9), self.rate)

            def late(rates: Floats) -> Floats:
                self.work -= count
                return rates * response_time_tails(self.time_ms, count, rates, kind.service_rate_per_second, kind.scv)

            def may(rates: Floats) -> NDArray[np.bool_]:
                self.work -= count
                slow = response_time_tails(POOL_FACTOR * self.time_ms, count, rates, kind.service_rate_per_second, kind.scv)
                return (late(rates) <= allowed) & (slow <= LATE)

            low, high = 0.0, most
            for _ in range(2):  # the last rate that the pool may be given, to one part in 250,000
                rates = np.linspace(low, high, 4 * _POINTS)
                first = rates.size if (good := may(rates)).all() else int(np.argmin(good))
                low, high = rates[max(first - 1, 0)], rates[min(first, rates.size - 1)]
            rates = np.linspace(0, low, _POINTS)
            # As many points again where the curve bends: at equal steps of what it shows.
            seen = late(rates)
            bend = np.interp(np.linspace(0, seen[-1], _POINTS + 2)[1:-1], seen, rates)
            rates = np.unique(np.concatenate([rates, bend]))
            rates = rates[np.concatenate([[True], np.diff(rates) > 1e-12 * most])]
            self._curves[index, count] = rates, late(rates)
        return self._curves[index, count]


def _most_taken(demand: Demand, kind: ServerKind) -> float:
    """What a kind can take however many there are: no more than what is late in all, if its own service is often late."""
    mu = kind.service_rate_per_second
    if service_time_quantile_ms(OBJECTIVE_QUANTILE, mu, kind.scv) >= POOL_FACTOR * demand.p95_ms:
        return 0.0
    tail = response_time_tail(demand.p95_ms, 1, 0.0, mu, kind.scv)
    return math.inf if tail <= LATE else LATE * demand.requests_per_second / tail
