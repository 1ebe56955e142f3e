"""Formula 2 in whole units, with the standard library alone: devices split work by it, and `isthmus` rounds by it.

Minimise the maximum of (a_i + t_i)/c_i over whole t_i ≥ 0 with Σ t_i = T: c_i is a worker's capacity in units per second, a_i what it
still has to do, in units. Could units be cut, all that get work would be done together, at the level τ with Σ max(0, c_i·τ − a_i) = T; the
units that are done by then stay, and the others go one by one to whoever is done with one first, which no other split of whole units beats.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

JUST_BELOW: Final = 1 - 1e-12
"""Parts are rounded down from just below themselves, so that 2.9999999999 and 3 come to the same after the last unit is given out."""


@dataclass(frozen=True)
class Division:
    """parts: whole units, one for each worker. makespan_seconds: when the last of them is done. ideal_seconds: the same if units could
    be cut, below which no split comes."""

    parts: tuple[int, ...]
    makespan_seconds: float
    ideal_seconds: float


def level_seconds(units: float, capacities: Sequence[float], already: Sequence[float]) -> float:
    """The time τ at which all workers that get any of the units are done. capacities: positive, at least one."""
    order = sorted(range(len(capacities)), key=lambda i: already[i] / capacities[i])
    work, capacity, level = float(units), 0.0, 0.0
    for i in order:
        if capacity and already[i] / capacities[i] >= level:
            break
        work, capacity = work + already[i], capacity + capacities[i]
        level = work / capacity
    return level


def give_out(parts: list[int], units: int, capacities: Sequence[float], already: Sequence[float], most: Sequence[float]) -> None:
    """Adds so many units to the parts, each to the worker that is done with it first and has room for it (parts_i < most_i).

    Their sum must have room. Of two that are done at once the first in the order has it.
    """
    waiting = [((already[i] + parts[i] + 1) / capacities[i], i) for i in range(len(parts)) if parts[i] < most[i]]
    heapq.heapify(waiting)
    for _ in range(units):
        i = waiting[0][1]
        parts[i] += 1
        if parts[i] < most[i]:
            heapq.heapreplace(waiting, ((already[i] + parts[i] + 1) / capacities[i], i))
        else:
            heapq.heappop(waiting)


def divide(units: int, capacities: Sequence[float], already: Sequence[float]) -> Division:
    """The split of whole units that is done first. Raises ValueError where no worker has a capacity, or one of them makes no sense."""
    if not capacities or not all(math.isfinite(it) and it > 0 for it in capacities):
        raise ValueError("expected at least one worker, each with a positive capacity")
    ideal = level_seconds(units, capacities, already)
    cut = [max(0.0, capacity * ideal - waits) for capacity, waits in zip(capacities, already, strict=True)]
    parts = [math.floor(it * JUST_BELOW) for it in cut]
    give_out(parts, units - sum(parts), capacities, already, [math.inf] * len(parts))
    ends = [(waits + part) / capacity for capacity, waits, part in zip(capacities, already, parts, strict=True)]
    bound = max([ideal, *(waits / capacity for capacity, waits in zip(capacities, already, strict=True))])
    return Division(tuple(parts), max(ends), bound)
