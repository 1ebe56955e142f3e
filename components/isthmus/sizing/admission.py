"""How many requests of devices a service takes at one time, so that everybody else's p95 is kept whatever devices do.

In a storm a place that becomes free is taken at once. So K requests of devices are always there: customers who never leave, and line up
again behind all others when they have been served. With exponential times and one queue, first come first served, that is a
quasi-reversible queue with an open class (the others, λ) and a closed one (K), whose distribution is a product: F. Baskett, K. M.
Chandy, R. R. Muntz and F. G. Palacios, "Open, closed, and mixed networks of queues with different classes of customers", J. ACM 22
(1975); M/G/1 with permanent customers: O. J. Boxma and J. W. Cohen, IEEE J. Sel. Areas Commun. 9 (1991).

    P(n others) ∝ C(n + K, K) · λⁿ / Π_{i=1}^{n+K} min(i, c)·μ

Who arrives sees it (PASTA), with m = n + K before him: he waits for m − c + 1 answers at rate cμ, if that is more than 0, and is then
served. It holds for scv = 1; smaller scv waits less (not proven; simulated in the tests).

For any times there is a bound, path by path: of c servers never more than K are devices', and who has fewer than c before him is being
served, so that the others never wait longer than with c − K servers of their own.
"""

import math

import numpy as np
from numpy.typing import NDArray

from isthmus.sizing.queueing import response_time_tail
from isthmus.sizing.replicas import OBJECTIVE_QUANTILE, Demand, smallest

Floats = NDArray[np.float64]

MOST_IN_FLIGHT = 1024
"""More than this is no limit: it is what a gateway lets through of anybody (`gateway.GatewayOptions.max_requests`)."""
_NOTHING = 1e-13
_FIRST_TERMS, _MOST_TERMS = 256, 1 << 21


def most_in_flight(servers: int, demand: Demand, service_rate_per_second: float, scv: float) -> int:
    """The most K, from 0 to MOST_IN_FLIGHT, with which the others' p95 is within the objective.

    Args:
        servers: c. demand: of the others. service_rate_per_second: μ of one server.
    """
    rate, mu, late = demand.requests_per_second, service_rate_per_second, 1 - OBJECTIVE_QUANTILE
    if rate >= servers * mu:
        return 0
    alone = smallest(math.floor(rate / mu) + 1, lambda c: response_time_tail(demand.p95_ms, c, rate, mu, scv) <= late)
    apart = max(0, servers - alone) if alone is not None else 0
    if scv > 1:
        return min(apart, MOST_IN_FLIGHT)
    low, high = min(apart, MOST_IN_FLIGHT), MOST_IN_FLIGHT
    while low < high:
        middle = (low + high + 1) // 2
        if tail_beside(demand.p95_ms, servers, rate, mu, middle) <= late:
            low = middle
        else:
            high = middle - 1
    return low


def tail_beside(time_ms: float, servers: int, arrivals_per_second: float, service_rate_per_second: float, permanent: int) -> float:
    """P(T > t) of those who arrive beside `permanent` customers who never leave; M/M/c where there are none.

    P(Erlang(j, θ) + S > t) = P(N < j) + H_j with θ = cμ, N Poisson of mean θt, p its chances, and H_{j−1} = H_j·(θ − μ)/θ + p_{j−1}:
    downwards nothing is subtracted.

    Raises:
        ValueError: the queue would grow without bound.
    """
    c, mu, k = servers, service_rate_per_second, permanent
    if c < 1 or k < 0 or not 0 <= arrivals_per_second < c * mu:
        raise ValueError(f"no rest with {c} servers at {arrivals_per_second}/s")
    time, theta = time_ms / 1000, c * mu
    chances = _others(c, arrivals_per_second / mu, k)
    ahead = np.maximum(np.arange(len(chances)) + k - c + 1, 0)  # answers to wait for
    steps = int(ahead[-1])
    # Beyond the last one the chance that so many answers came in time is what is cut off.
    steps_far = max(steps, math.ceil(theta * time + 12 * math.sqrt(theta * time) + 40))
    order = np.arange(steps_far + 1, dtype=np.float64)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(order[1:]))])
    poisson = np.exp(order * math.log(theta * time) - theta * time - factorials) if time > 0 else (order == 0).astype(float)
    later = np.zeros(steps_far + 1)
    kept = (theta - mu) / theta
    for j in range(steps_far, 0, -1):
        later[j - 1] = later[j] * kept + poisson[j - 1]
    fewer = np.concatenate([[0.0], np.cumsum(poisson)[:-1]])
    # Nobody to wait for: the service alone, which is what the sum tends to.
    later[0] = math.exp(-mu * time)
    return min(1.0, float(np.dot(chances, (fewer + later)[ahead])))


def _others(servers: int, offered_load: float, permanent: int) -> Floats:
    """P(n others), n = 0, 1, …, as far as it is more than nothing."""
    terms = _FIRST_TERMS
    while True:
        n = np.arange(1, terms, dtype=np.float64)
        ratios = (n + permanent) / n * offered_load / np.minimum(n + permanent, servers)
        with np.errstate(divide="ignore"):
            logs = np.concatenate([[0.0], np.cumsum(np.log(ratios))])
        found = np.exp(logs - logs.max())
        found /= found.sum()
        if (found[-1] < _NOTHING and ratios[-1] < 1) or terms >= _MOST_TERMS:
            return np.asarray(found)
        terms *= 2
