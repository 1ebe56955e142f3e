"""How good and how fast the replica planner is: `python benchmarks/replicas.py [--requests N] [--seeds S]`.

First table: predicted p95 against simulation, over loads, servers and variation (scv) of the service time, with the half-width
of the simulation's own 95 % confidence interval. Second: what a plan costs, beside the simulation that would be the alternative;
a mix beside trying every mix.
"""

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
from rich.console import Console
from rich.table import Table

from isthmus.errors import GateError
from isthmus.limits import MOST_REPLICAS
from isthmus.sizing.formulas.simulation import simulate
from isthmus.sizing.headroom import Headroom
from isthmus.sizing.mixing import plan_mix
from isthmus.sizing.pooling import Pools, ServerKind
from isthmus.sizing.queueing import response_time_quantile_ms
from isthmus.sizing.replicas import Demand, plan_replicas

MU = 100.0
LOADS = (0.3, 0.6, 0.8, 0.9)
SERVERS = (1, 2, 4, 16)
VARIATIONS = (0.0, 0.1, 0.5, 1.0, 2.0, 4.0)
# Those of a constant service time or one server are simulated without a loop, so that more cost little.
FREE = 5


def accuracy(requests: int, seeds: int) -> Table:
    title = f"predicted p95 against simulation, % (± its own error), {datetime.now(UTC).date()}"
    table = Table("scv", "servers", *(f"load {load:.0%}" for load in LOADS), title=title)
    for scv, servers in itertools.product(VARIATIONS, SERVERS):
        cells = []
        for load in LOADS:
            rate = load * servers * MU
            count = requests * (FREE if servers == 1 or scv == 0 else 1)
            runs = [simulate(servers, rate, MU, scv=scv, requests=count, seed=seed) for seed in range(1, seeds + 1)]
            seen = statistics.mean(run.p95_ms for run in runs)
            # Of the runs' own intervals, since a few runs say little about their spread.
            error = math.sqrt(sum(run.p95_error_ms**2 for run in runs)) / len(runs)
            predicted = response_time_quantile_ms(0.95, servers, rate, MU, scv)
            cells.append(f"{100 * (predicted / seen - 1):+.1f} ±{100 * error / seen:.1f}")
        table.add_row(f"{scv:g}", str(servers), *cells)
    return table


def seconds(work: Callable[[], object], runs: int) -> float:
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def refused(work: Callable[[], object]) -> None:
    try:
        work()
    except GateError:
        return
    raise AssertionError("this demand should have been refused")


def simulated_plan(demand: Demand, scv: float) -> int:
    """The plan without a formula: simulate one number of replicas after another."""
    servers = math.floor(demand.requests_per_second / MU) + 1
    while simulate(servers, demand.requests_per_second, MU, scv=scv).p95_ms > demand.p95_ms:
        servers += 1
    return servers


def every_mix(demand: Demand, kinds: list[ServerKind], most: int) -> float:
    """The least price among all mixes of up to `most` servers of each kind."""
    pools = Pools(demand, kinds, work=0)
    prices = np.array([kind.price_per_hour for kind in kinds])
    counts = itertools.product(range(most + 1), repeat=len(kinds))
    return min(float(prices @ mix) for mix in counts if any(mix) and pools.meets(mix))


def speed(runs: int) -> Table:
    kinds = [ServerKind("small", 40, 0.05), ServerKind("medium", 90, 0.1), ServerKind("large", 200, 0.22, scv=0.3)]
    many = [ServerKind("small", 40, 0.05, 10**6), ServerKind("medium", 90, 0.1, 10**6)]
    mixed, plain, all_of_it = Demand(700, 80), Demand(1000, 60), Headroom(1, 3, 1, 1.5, "25%", 1, 100, True)
    if not math.isclose(plan_mix(mixed, kinds).price_per_hour, every_mix(mixed, kinds, 12)):
        raise AssertionError("the search and the enumeration disagree")
    rows: list[list[tuple[str, Callable[[], object]]]] = [
        [
            ("replicas by simulation, one count after another", lambda: simulated_plan(plain, 0.5)),
            ("replicas, M/M/c", lambda: plan_replicas(plain, MU)),
            ("replicas, M/G/c", lambda: plan_replicas(plain, MU, scv=0.5)),
            ("replicas, M/G/c, all head-room", lambda: plan_replicas(plain, MU, scv=0.5, headroom=all_of_it)),
            (f"replicas, M/M/c, {MOST_REPLICAS - 200} needed", lambda: plan_replicas(Demand((MOST_REPLICAS - 200) * MU, 60), MU)),
            ("replicas, a million needed: refused", lambda: refused(lambda: plan_replicas(Demand(1e6 * MU, 60), MU))),
            ("p95 of a million servers, scv 0.5", lambda: response_time_quantile_ms(0.95, 10**6, (10**6 - 500) * MU, MU, 0.5)),
        ],
        [
            ("mix of 3 kinds, every one of up to 12 each", lambda: every_mix(mixed, kinds, 12)),
            ("mix of 3 kinds", lambda: plan_mix(mixed, kinds)),
            ("mix of 2 kinds, a thousand servers", lambda: plan_mix(Demand(1e5, 120), many)),
            ("mix, a million needed: refused", lambda: refused(lambda: plan_mix(Demand(6e7, 120), many))),
        ],
    ]
    table = Table("what", "median ms", "ratio to the first", title="time of a plan")
    for group in rows:
        figures = [seconds(work, runs) for _, work in group]
        for (name, _), figure in zip(group, figures, strict=True):
            table.add_row(name, f"{figure * 1000:.2f}", f"{figure / figures[0]:.4f}")
        table.add_section()
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000, help="of one simulation")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=3, help="of each timing")
    options = parser.parse_args()
    console = Console(width=120)
    console.print(speed(options.runs))
    console.print(accuracy(options.requests, options.seeds))


if __name__ == "__main__":
    main()
