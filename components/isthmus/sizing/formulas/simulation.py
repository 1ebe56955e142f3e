"""G/G/c, first come first served, simulated request by request: the reference that the formulas are held against.

Pure: times go in, times come out. One server, and any number of servers with one constant service time, are computed without
a loop, by Lindley's recursion W' = max(0, W + S − A) in its closed form; everything else walks the requests with a heap
of the times at which servers are free (J. Kiefer and J. Wolfowitz, 1955), about half a second a million.
"""

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BATCHES = 20
# Student's t for 95 % and 19 degrees of freedom.
_STUDENT = 2.093


@dataclass(frozen=True)
class Simulated:
    """What was seen. p95_error_ms: half the width of p95's 95 % confidence interval, by the method of batch means."""

    requests: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p95_error_ms: float


def response_times(gaps: Floats, services: Floats, servers: int) -> Floats:
    """Time from arrival to answer of each request, in the unit of the input.

    Args:
        gaps: (n,) time from the arrival before to this one, each ≥ 0.
        services: (n,) service time of each request, each ≥ 0.
        servers: c ≥ 1.

    Raises:
        ValueError: shapes that differ, no requests, no servers, or a time that is negative or not a number.
    """
    gaps, services = np.asarray(gaps, dtype=np.float64), np.asarray(services, dtype=np.float64)
    if servers < 1 or gaps.ndim != 1 or gaps.shape != services.shape or gaps.size == 0:
        raise ValueError("a simulation needs at least one server, and as many gaps as service times, at least one")
    if not (np.isfinite(gaps).all() and np.isfinite(services).all() and min(gaps.min(), services.min()) >= 0):
        raise ValueError("gaps and service times are numbers from 0 on")
    arrivals = np.cumsum(gaps)
    if servers == 1 or services.min() == services.max():
        # Constant times leave in the order of arrival, so that request i follows i − c on the same server.
        times = np.empty_like(arrivals)
        for lane in range(min(servers, arrivals.size)):
            times[lane::servers] = _one_server(arrivals[lane::servers], services[lane::servers])
        return times
    return _walk(arrivals, services, servers)


def _one_server(arrivals: Floats, services: Floats) -> Floats:
    """Departure i = max over j ≤ i of (arrival j + service j + … + service i)."""
    worked = np.cumsum(services)
    times: Floats = np.maximum.accumulate(arrivals - worked + services) + worked - arrivals
    return times


def _walk(arrivals: Floats, services: Floats, servers: int) -> Floats:
    free = [0.0] * servers
    first, replace = free[0], heapq.heapreplace
    ends = []
    for at, length in zip(arrivals.tolist(), services.tolist(), strict=True):
        first = free[0]
        end = (at if at > first else first) + length
        replace(free, end)
        ends.append(end)
    return np.array(ends) - arrivals


def draw_services(random: np.random.Generator, requests: int, mean: float, scv: float) -> Floats:
    """Service times of that mean and scv, shape (requests,): constant, gamma, exponential, or hyperexponential with balanced means.

    Raises:
        ValueError: an scv that is negative or not a number.
    """
    if not (math.isfinite(scv) and scv >= 0):
        raise ValueError(f"a squared coefficient of variation is a number from 0 on, not {scv}")
    if scv == 0:
        return np.full(requests, mean)
    if scv <= 1:
        return random.gamma(1 / scv, mean * scv, requests)
    likely = (1 + math.sqrt((scv - 1) / (scv + 1))) / 2
    chance = np.where(random.random(requests) < likely, likely, 1 - likely)
    times: Floats = random.exponential(mean, requests) / (2 * chance)
    return times


def simulate(
    servers: int, arrivals_per_second: float, service_rate_per_second: float, *, scv: float = 1.0, requests: int = 200_000, seed: int = 1
) -> Simulated:
    """M/G/c from an empty start; the first tenth is left out.

    Raises:
        ValueError: the queue would grow without bound, or as `response_times`.
    """
    if not 0 < arrivals_per_second < servers * service_rate_per_second:
        raise ValueError("a queue in equilibrium needs 0 < arrivals < servers × service rate")
    random = np.random.default_rng(seed)
    gaps = random.exponential(1000 / arrivals_per_second, requests)
    services = draw_services(random, requests, 1000 / service_rate_per_second, scv)
    return summarise(response_times(gaps, services, servers)[requests // 10 :])


def summarise(times_ms: Floats) -> Simulated:
    """Mean and quantiles of at least `BATCHES` response times in their order of arrival."""
    if times_ms.size < BATCHES:
        raise ValueError(f"at least {BATCHES} response times are needed")
    p50, p95 = np.quantile(times_ms, [0.5, 0.95])
    batches = np.array([np.quantile(batch, 0.95) for batch in np.array_split(times_ms, BATCHES)])
    error = _STUDENT * float(batches.std(ddof=1)) / math.sqrt(BATCHES)
    return Simulated(times_ms.size, float(times_ms.mean()), float(p50), float(p95), error)
