"""Single servers behind a balancer, simulated request by request: what each policy of the gateway does to unequal servers."""

import heapq
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

# (when what is at each server will be done) → index of the server that gets the next request.
Choose = Callable[[Sequence["deque[float]"]], int]


def mean_ms(policy: str, rates_per_second: Sequence[float], weights: Sequence[int], arrivals_per_second: float, requests: int) -> float:
    """Mean response time of M/M/1 servers, each with a queue of its own, from an empty start; the first tenth is left out.

    Args:
        policy: `weighted` and `round_robin`, which space requests evenly as Envoy does, or `least_request`: the server with the
            fewest requests, any of them where there are several.
    """
    dice = np.random.default_rng(1)
    arrivals = np.cumsum(dice.exponential(1000 / arrivals_per_second, requests)).tolist()
    work = dice.exponential(1000, requests).tolist()
    queues: list[deque[float]] = [deque() for _ in rates_per_second]  # when what is there will be done, in order
    given = weights if policy == "weighted" else [1] * len(queues)
    choose = _least_request(dice) if policy == "least_request" else _in_turn(given)
    times = []
    for at, load in zip(arrivals, work, strict=True):
        for queue in queues:
            while queue and queue[0] <= at:
                queue.popleft()
        index = choose(queues)
        queue = queues[index]
        queue.append((queue[-1] if queue else at) + load / rates_per_second[index])
        times.append(queue[-1] - at)
    return float(np.mean(times[requests // 10 :]))


def _least_request(dice: np.random.Generator) -> Choose:
    def choose(queues: Sequence["deque[float]"]) -> int:
        fewest = min(map(len, queues))
        return int(dice.choice([index for index, queue in enumerate(queues) if len(queue) == fewest]))

    return choose


def _in_turn(weights: Sequence[int]) -> Choose:
    """Earliest deadline first: a server of weight w is due every 1/w."""
    due = [(1 / weight, index) for index, weight in enumerate(weights) if weight]
    heapq.heapify(due)

    def choose(_: Sequence["deque[float]"]) -> int:
        at, index = due[0]
        heapq.heapreplace(due, (at + 1 / weights[index], index))
        return index

    return choose
