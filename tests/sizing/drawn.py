"""A service with devices before it, simulated request by request: the reference that sizing and admission are held against."""

import heapq
from dataclasses import dataclass

import numpy as np

from isthmus.sizing.formulas.simulation import Floats, draw_services


class Servers:
    """So many equal ones behind one queue, first come first served, whose service times are drawn."""

    def __init__(self, servers: int, rate_per_second: float, scv: float, requests: int) -> None:
        self._free = [0.0] * servers
        self._lengths = iter(draw_services(np.random.default_rng(7), requests, 1000 / rate_per_second, scv).tolist())

    def end(self, at: float) -> float:
        """When who comes at that time has been served. Times never fall from call to call."""
        end = max(at, self._free[0]) + next(self._lengths)
        heapq.heapreplace(self._free, end)
        return end


def beside_permanent(
    servers: int, arrivals_per_second: float, rate_per_second: float, permanent: int, *, scv: float = 1.0, requests: int = 50_000
) -> Floats:
    """Response times in ms of those who arrive beside so many who line up again whenever they have been served."""
    arrivals = np.cumsum(np.random.default_rng(8).exponential(1000 / arrivals_per_second, requests))
    most = requests + permanent + int(2 * servers * rate_per_second * arrivals[-1] / 1000)
    service, back, found = Servers(servers, rate_per_second, scv, most), [0.0] * permanent, []
    for at in arrivals.tolist():
        while back and back[0] <= at:
            heapq.heapreplace(back, service.end(back[0]))
        found.append(service.end(at) - at)
    return np.array(found[requests // 10 :])


@dataclass(frozen=True)
class Shed:
    """share: of devices' requests that were turned away. times_ms: of the others."""

    share: float
    times_ms: Floats


def admitted(
    servers: int, others_and_devices_per_second: tuple[float, float], rate_per_second: float, most: int, requests: int = 100_000
) -> Shed:
    """Requests of both at random; of devices no more than `most` are there at a time."""
    random, every = np.random.default_rng(9), sum(others_and_devices_per_second)
    arrivals = np.cumsum(random.exponential(1000 / every, requests)).tolist()
    are_devices = (random.random(requests) < others_and_devices_per_second[1] / every).tolist()
    service, inside, away, times = Servers(servers, rate_per_second, 1.0, requests), list[float](), 0, []
    for at, is_device in zip(arrivals, are_devices, strict=True):
        while inside and inside[0] <= at:
            heapq.heappop(inside)
        if not is_device:
            times.append(service.end(at) - at)
        elif len(inside) < most:
            heapq.heappush(inside, service.end(at))
        else:
            away += 1
    return Shed(away / sum(are_devices), np.array(times))
