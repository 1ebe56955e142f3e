"""M/M/c and M/G/c: Poisson arrivals, c equal servers, one queue, first come first served.

Units: rates are per second, times are milliseconds. `scv` is the squared coefficient of variation of the service time
(variance over squared mean): 0 constant, 1 exponential, above 1 burstier than that.

M/M/c (scv = 1) is exact: A. K. Erlang (1917); as in any textbook, for example D. Gross and C. Harris, "Fundamentals of
Queueing Theory", section 2.3. For any other scv the response time is approximated in three steps:

1. An arrival waits with Erlang's probability C; it depends on little but the mean service time.
2. Its wait is R + M: R is the time until the first of c busy servers is free (the least of c residual service times),
   M the wait in M/G/1 with a server c times as fast. H. Tijms, M. van Hoorn and A. Federgruen, "Approximations for the
   steady-state probabilities in the M/G/c queue", Advances in Applied Probability 13 (1981); H. Tijms, "A First Course
   in Stochastic Models" (2003), section 9.6. It is taken as two exponential phases. scv < 1: in series, with the mean and
   variance of R + M. scv > 1: the two decay rates of M/H2/1 with a c times faster server, and the mean of R + M; exact for
   c = 1. Both give M/M/c at scv = 1.
3. The service time is added, fitted to its first two moments: constant, gamma with shape 1/scv (Erlang where that is
   whole), exponential, or hyperexponential with balanced means.

Validity, against simulation of the fitted service times up to 90 % load (docs/replicas.md has the table): within 1 % at
scv = 0.5, 2.5 % at 0.1 and for one server at any scv ≥ 0.1, 4.5 % (too high) for constant times, 4 % (too high) at scv = 4. Above
1 two moments do not settle a p95: lognormal times of scv 2 to 4 came out up to 10 % lower than predicted.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Quantiles are found by bisection down to this relative width; far below what any measured service rate is known to.
_RELATIVE_WIDTH = 1e-10
# Erlang B forgets where its recurrence began: from this many √a below the load a on, to less than 1e-16.
_ROOTS_BEFORE_LOAD, _LONG_RECURRENCE = 10, 1000
# A service time whose deviation is below 1e-6 of its mean is a constant.
_LEAST_SCV = 1e-12
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


def erlang_c(servers: int, offered_load: float) -> float:
    """The probability that an arriving request has to wait.

    Args:
        servers: c, at least 1. Beyond a thousand the work grows with √a and c − a, not with c.
        offered_load: a = λ/μ in erlangs, 0 ≤ a < c.

    Raises:
        ValueError: the queue would grow without bound (a ≥ c), or an argument is not a sensible number.
    """
    if servers < 1 or not 0 <= offered_load < servers:
        raise ValueError(f"Erlang C needs 0 <= offered load < servers, not {offered_load} and {servers}")
    blocking = 1.0  # Erlang B by its recurrence: stable for any number of servers, no factorials
    for k in range(_first_step(servers, offered_load), servers + 1):
        blocking = offered_load * blocking / (k + offered_load * blocking)
        if blocking == 0:
            break
    return blocking / (1 - offered_load / servers * (1 - blocking))


def _first_step(servers: int, offered_load: float) -> int:
    if servers <= _LONG_RECURRENCE:
        return 1
    return max(1, math.floor(offered_load - _ROOTS_BEFORE_LOAD * math.sqrt(offered_load)))


def response_time_tail(time_ms: float, servers: int, arrivals_per_second: float, service_rate_per_second: float, scv: float = 1.0) -> float:
    """P(T > t) for the time T from arrival to answer.

    With scv = 1: e^{−μt}·[1 + C·μ·(1 − e^{−(θ−μ)t})/(θ−μ)] with θ = cμ − λ, written as
    e^{−μt} + C·μ·(e^{−μt} − e^{−θt})/(θ−μ), which does not overflow; where θ = μ the fraction is t·e^{−μt}.

    Raises:
        ValueError: as `erlang_c`, or a negative scv.
    """
    return _tail(servers, arrivals_per_second, service_rate_per_second, scv)(time_ms)


def response_time_tails(
    time_ms: float, servers: int, arrivals_per_second: Floats, service_rate_per_second: float, scv: float = 1.0
) -> Floats:
    """`response_time_tail` for many arrival rates (shape (n,), each in [0, cμ)) at once."""
    loads = np.asarray(arrivals_per_second, dtype=np.float64) / service_rate_per_second
    if servers < 1 or loads.size == 0 or not (loads.min() >= 0 and loads.max() < servers):
        raise ValueError("each offered load lies in [0, servers)")
    blocking = np.ones_like(loads)
    for k in range(_first_step(servers, float(loads.min())), servers + 1):
        blocking = loads * blocking / (k + loads * blocking)
    waiting = blocking / (1 - loads / servers * (1 - blocking))
    return _mixed_tail(time_ms / 1000 * service_rate_per_second, waiting, *_phases(servers, loads, scv), scv)


def response_time_quantile_ms(
    quantile: float,
    servers: int,
    arrivals_per_second: float,
    service_rate_per_second: float,
    scv: float = 1.0,
    *,
    relative_width: float = _RELATIVE_WIDTH,
) -> float:
    """The time in milliseconds within which that share of the requests (0 < quantile < 1) is answered.

    Args:
        relative_width: how closely it is found; a drawing needs less than a plan.

    Raises:
        ValueError: as `response_time_tail`, or a quantile outside (0, 1).
    """
    tail = _tail(servers, arrivals_per_second, service_rate_per_second, scv)
    return _quantile_ms(quantile, tail, 1000 / service_rate_per_second, relative_width)


def service_time_quantile_ms(quantile: float, service_rate_per_second: float, scv: float = 1.0) -> float:
    """The same for the service time alone, as it is fitted: the response time with servers without number."""
    _check_scv(scv)
    if scv == 1:
        return -1000 * math.log(1 - quantile) / service_rate_per_second
    return _quantile_ms(quantile, lambda t: _service_tail(t / 1000 * service_rate_per_second, scv), 1000 / service_rate_per_second)


def mean_response_ms(servers: int, arrivals_per_second: float, service_rate_per_second: float, scv: float = 1.0) -> float:
    """Mean time from arrival to answer: 1/μ + C/(cμ − λ) with scv = 1, else 1/μ + C·(E R + E M). ValueError as `response_time_tail`."""
    load = arrivals_per_second / service_rate_per_second
    waiting = erlang_c(servers, load)
    if scv == 1:
        return 1000 * (1 / service_rate_per_second + waiting / (servers * service_rate_per_second - arrivals_per_second))
    mean = float(_wait_mean(servers, np.array([load]), scv)[0])
    return 1000 * (1 + waiting * mean) / service_rate_per_second


def _tail(servers: int, arrivals: float, mu: float, scv: float) -> Callable[[float], float]:
    """t in ms → P(T > t), with what does not depend on t computed once."""
    waiting = erlang_c(servers, arrivals / mu)
    if scv != 1:
        weights, rates = _phases(servers, np.array([arrivals / mu]), scv)
        share = np.array([waiting])
        return lambda time_ms: float(_mixed_tail(time_ms / 1000 * mu, share, weights, rates, scv)[0])
    theta = servers * mu - arrivals
    difference = theta - mu

    def exact(time_ms: float) -> float:
        t = time_ms / 1000
        near = abs(difference) * t < 1e-9
        fraction = t * math.exp(-mu * t) if near else (math.exp(-mu * t) - math.exp(-theta * t)) / difference
        return min(1.0, math.exp(-mu * t) + waiting * mu * fraction)

    return exact


def _quantile_ms(quantile: float, tail_at: Callable[[float], float], start_ms: float, relative_width: float = _RELATIVE_WIDTH) -> float:
    if not 0 < quantile < 1:
        raise ValueError(f"a quantile lies between 0 and 1, not at {quantile}")
    tail = 1 - quantile
    low, high = 0.0, start_ms
    while tail_at(high) > tail:
        low, high = high, high * 2
    while high - low > relative_width * high:
        middle = (low + high) / 2
        if tail_at(middle) > tail:
            low = middle
        else:
            high = middle
    return high


def _check_scv(scv: float) -> None:
    if not (math.isfinite(scv) and scv >= 0):
        raise ValueError(f"a squared coefficient of variation is a number from 0 on, not {scv}")


# From here on the unit of time is the mean service time.


@lru_cache(maxsize=4096)
def _balanced(scv: float) -> Floats:
    """Hyperexponential with balanced means, mean 1, scv ≥ 1: the probabilities p of its two phases; their rates are 2p."""
    root = math.sqrt((scv - 1) / (scv + 1))
    found = np.array([(1 + root) / 2, (1 - root) / 2])
    found.flags.writeable = False  # everybody gets the same one
    return found


@lru_cache(maxsize=4096)
def _residual_moments(servers: int, scv: float) -> tuple[float, float]:
    """E R and, up to scv = 1, E R² of the least of c residual service times (else 0).

    Up to scv = 1 interpolated between constant (exact: 1/(c+1), 2/((c+1)(c+2))) and exponential (exact: 1/c, 2/c²) times,
    with the share of the second that makes c = 1 exact for the gamma fit; above 1 exact for the hyperexponential fit, whose
    residual is in either phase with probability ½.
    """
    c = servers
    if scv <= 1:
        share = (3 * scv + 2 * scv**2) / 5
        least = 2 / ((c + 1) * (c + 2))
        return (1 - scv) / (c + 1) + scv / c, least + share * (2 / c**2 - least)
    fast, slow = 2 * _balanced(scv)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, c + 1)))])
    chance = np.exp(logs[c] - logs - logs[::-1] - c * math.log(2))
    return float((chance / (fast * np.arange(c + 1) + slow * np.arange(c, -1, -1))).sum()), 0.0


def _wait_mean(servers: int, loads: Floats, scv: float) -> Floats:
    """E(R + M) for offered loads of shape (n,); E M is Pollaczek and Khinchine's."""
    _check_scv(scv)
    return _residual_moments(servers, float(scv))[0] + loads * (1 + scv) / (2 * servers * (servers - loads))


def _phases(servers: int, loads: Floats, scv: float) -> tuple[Floats, Floats]:
    """The tail of the wait of those that wait, as Σ_j weight_j·e^{−rate_j·t}: weights and rates, both (n, 2)."""
    c, mean = servers, _wait_mean(servers, loads, scv)
    if scv > 1:
        # λ·(E e^{ηS/c} − 1) = η is a quadratic here; the small root from the product, which does not cancel.
        product, total = 4 * c * float(_balanced(scv).prod()) * (c - loads), 2 * c - loads
        large = (total + np.sqrt(np.maximum(total**2 - 4 * product, 0))) / 2
        rates = np.stack([product / large, large], axis=-1)
        slow = (mean - 1 / large) / np.maximum(large / product - 1 / large, 1e-300)
        return np.stack([slow, 1 - slow], axis=-1), rates
    residual, squared = _residual_moments(servers, float(scv))
    busy, wait = loads / c, mean - residual  # Var M = (E M)² + λ·E(S/c)³ / (3(1 − ρ))
    variance = squared - residual**2 + wait**2 + busy * (1 + scv) * (1 + 2 * scv) / (3 * c**2 * (1 - busy))
    # Two equal phases are the least varied that a series of two can be; 1e-6 keeps them apart, 1 − 1e-12 keeps both there.
    root = np.sqrt(np.clip(2 * variance / mean**2 - 1, 1e-6, 1 - 1e-12))
    series = np.stack([(1 + root) / 2, (1 - root) / 2], axis=-1)
    return np.array([1.0, -1.0]) * series / root[:, None], 1 / (series * mean[:, None])


def _mixed_tail(time: float, waiting: Floats, weights: Floats, rates: Floats, scv: float) -> Floats:
    """P(S + W > t) for the fitted service time S and a wait W that is 0 with probability 1 − waiting. Shape (n,)."""

    def waits_longer(times: Floats) -> Floats:  # (m,) → (n, m)
        later: Floats = (waiting[:, None, None] * weights[:, :, None] * np.exp(-rates[:, :, None] * times)).sum(axis=1)
        return later

    alone = _service_tail(time, scv)
    if scv <= _LEAST_SCV:
        later = np.zeros_like(waiting) if alone else waits_longer(np.array([time - 1]))[:, 0]
    elif scv < 1:
        # Only where both the density of S and the wait's tail are not nothing, so that a fixed number of nodes resolves both.
        start, end = _support(scv)
        start, end = max(start, time - 45 / float(rates.min())), min(end, time)
        if start >= end:
            return np.full_like(waiting, alone)
        nodes = (start + end) / 2 + (end - start) / 2 * _NODES
        later = waits_longer(time - nodes) @ (_WEIGHTS * (end - start) / 2 * _gamma_density(nodes, scv))
    else:
        chance = _balanced(scv)
        mu, nu = 2 * chance[None, :, None], rates[:, None, :]
        gap = np.abs(mu - nu) * time
        share = np.where(gap < 1e-9, 1.0, -np.expm1(-gap) / np.maximum(gap, 1e-300))
        both = time * np.exp(-np.minimum(mu, nu) * time) * share
        later = waiting * (chance[None, :, None] * mu * weights[:, None, :] * both).sum(axis=(1, 2))
    return np.clip(alone + later, 0.0, 1.0)


def _service_tail(time: float, scv: float) -> float:
    if scv <= _LEAST_SCV:
        return float(time < 1)
    if scv >= 1:
        chance = _balanced(scv)
        return float((chance * np.exp(-2 * chance * time)).sum())
    start, end = _support(scv)
    if not start < time < end:
        return float(time <= start)
    low, high = (time, end) if time > 1 else (start, time)
    part = float(_gamma_density((low + high) / 2 + (high - low) / 2 * _NODES, scv) @ _WEIGHTS) * (high - low) / 2
    return part if time > 1 else 1 - part


def _support(scv: float) -> tuple[float, float]:
    """Where the gamma density is above about 1e-17 of its peak."""
    deviation = math.sqrt(scv)
    return max(0.0, 1 - 12 * deviation), 1 + 12 * deviation + 40 * scv


def _gamma_density(times: Floats, scv: float) -> Floats:
    shape = 1 / scv
    return np.exp(shape * math.log(shape) + (shape - 1) * np.log(times) - shape * times - math.lgamma(shape))
