"""M/M/c: Poisson arrivals, exponential service times, c equal servers, one queue.

Units: rates are per second, times are milliseconds. Source of the formulas: A. K. Erlang (1917); as in any textbook of
queueing theory, for example D. Gross and C. Harris, "Fundamentals of Queueing Theory", section 2.3 (M/M/c).
"""

import math

# Quantiles are found by bisection down to this relative width; far below what any measured service rate is known to.
_RELATIVE_WIDTH = 1e-10


def erlang_c(servers: int, offered_load: float) -> float:
    """The probability that an arriving request has to wait.

    Args:
        servers: c, at least 1.
        offered_load: a = λ/μ in erlangs, 0 ≤ a < c.

    Raises:
        ValueError: the queue would grow without bound (a ≥ c), or an argument is not a sensible number.
    """
    if servers < 1 or not 0 <= offered_load < servers:
        raise ValueError(f"Erlang C needs 0 <= offered load < servers, not {offered_load} and {servers}")
    blocking = 1.0  # Erlang B by its recurrence: stable for any number of servers, no factorials
    for k in range(1, servers + 1):
        blocking = offered_load * blocking / (k + offered_load * blocking)
    return blocking / (1 - offered_load / servers * (1 - blocking))


def response_time_tail(time_ms: float, servers: int, arrivals_per_second: float, service_rate_per_second: float) -> float:
    """P(T > t) for the time T from arrival to answer.

    e^{−μt}·[1 + C·μ·(1 − e^{−(θ−μ)t})/(θ−μ)] with θ = cμ − λ, written as e^{−μt} + C·μ·(e^{−μt} − e^{−θt})/(θ−μ), which
    does not overflow; where θ = μ the fraction is t·e^{−μt}.

    Raises:
        ValueError: as `erlang_c`.
    """
    mu, t = service_rate_per_second, time_ms / 1000
    theta = servers * mu - arrivals_per_second
    waiting = erlang_c(servers, arrivals_per_second / mu)
    difference = theta - mu
    near = abs(difference) * t < 1e-9
    fraction = t * math.exp(-mu * t) if near else (math.exp(-mu * t) - math.exp(-theta * t)) / difference
    return min(1.0, math.exp(-mu * t) + waiting * mu * fraction)


def response_time_quantile_ms(quantile: float, servers: int, arrivals_per_second: float, service_rate_per_second: float) -> float:
    """The time in milliseconds within which that share of the requests (0 < quantile < 1) is answered.

    Raises:
        ValueError: as `erlang_c`, or a quantile outside (0, 1).
    """
    if not 0 < quantile < 1:
        raise ValueError(f"a quantile lies between 0 and 1, not at {quantile}")
    tail = 1 - quantile
    low, high = 0.0, 1000 / service_rate_per_second
    while response_time_tail(high, servers, arrivals_per_second, service_rate_per_second) > tail:
        low, high = high, high * 2
    while high - low > _RELATIVE_WIDTH * high:
        middle = (low + high) / 2
        if response_time_tail(middle, servers, arrivals_per_second, service_rate_per_second) > tail:
            low = middle
        else:
            high = middle
    return high


def mean_response_ms(servers: int, arrivals_per_second: float, service_rate_per_second: float) -> float:
    """Mean time from arrival to answer: 1/μ + C/(cμ − λ). Raises ValueError as `erlang_c`."""
    waiting = erlang_c(servers, arrivals_per_second / service_rate_per_second)
    return 1000 * (1 / service_rate_per_second + waiting / (servers * service_rate_per_second - arrivals_per_second))
