"""Three servers of speeds 4:2:1 behind the gateway: formula 3's weights against round robin and fewest requests.

What each server answers a second is measured first, one request after the other; weights and predictions come from that. The
formula is for streams that are split at random; a simulation of each policy's own way of choosing stands beside it.
"""

import http.client
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import balancers
import generator
import paced_model
from report import spread
from rich.table import Table
from serving_processes import Running, gateway_to, server

from isthmus.sizing.formulas.balancing import plan_shares
from isthmus.sizing.formulas.weights import round_to_weights
from isthmus.sizing.replicas import Demand
from isthmus.sizing.unequal import predict_unequal

SPEEDS = (4.0, 2.0, 1.0)
WORK_MS = 40.0  # of one request, on average, at speed 1
LOADS = (0.4, 0.6)
POLICIES = ("weighted", "least_request", "round_robin")
# A policy that gives a server more than it can do: times grow as long as the run lasts.
OVERLOADED_SECONDS = 20.0
SIMULATED_REQUESTS = 400_000
# Before a server's speed is measured: its first answers are slow.
WARM_UP_REQUESTS = 50
NO_OBJECTIVE_MS = 1e9


def measure(folder: Path, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """At each load all policies in turn, in the other order in every second round."""
    bodies = paced_model.write_bodies(folder / "bodies", "exponential", WORK_MS, requests=40_000, seed=1)
    found = []
    with servers(folder) as running:
        rates = [1000 / service_ms(it.ports["rest"]) for it in running]
        for load in LOADS:
            arrivals = load * sum(rates)
            weights = round_to_weights(plan_shares(rates, arrivals)).weights
            rows = {policy: _row(rates, load, weights, policy) for policy in POLICIES}
            for number in range(rounds):
                for policy in POLICIES[:: -1 if number % 2 else 1]:
                    length = OVERLOADED_SECONDS if rows[policy]["simulated_ms"] is None else seconds
                    with gateway(running, policy, weights, folder) as url:
                        seen = generator.drive(url, bodies, arrivals, length, seed=number)
                    if seen.failures:
                        raise SystemExit(f"{policy}: {dict(seen.failures)}")
                    rows[policy]["mean_ms"].append(float(seen.times_ms.mean()))
            found += rows.values()
    return found


def _row(rates: Sequence[float], load: float, weights: Sequence[int], policy: str) -> dict[str, Any]:
    """What is said beforehand: Σ x/(p − λx) where shares are fixed, and the policy simulated unless it overloads a server."""
    arrivals = load * sum(rates)
    fixed = {"weighted": tuple(weights), "round_robin": (1,) * len(rates)}.get(policy)
    formula = predict_unequal(Demand(arrivals, NO_OBJECTIVE_MS), tuple(rates), fixed, policy) if fixed else None
    overloads = fixed is not None and formula is None
    return {
        "load": load,
        "rates_per_second": list(rates),
        "policy": policy,
        "weights": fixed,
        "predicted_ms": formula.mean_ms if formula else None,
        "simulated_ms": None if overloads else balancers.mean_ms(policy, rates, weights, arrivals, SIMULATED_REQUESTS),
        "mean_ms": [],
    }


@contextmanager
def servers(folder: Path) -> Iterator[list[Running]]:
    with ExitStack() as stack:
        running = []
        for index, speed in enumerate(SPEEDS):
            paced_model.write_model(folder / f"model-{index}" / "1", speed)
            running.append(server(index, folder / f"model-{index}", folder, paced_model.NAME))
            stack.callback(running[-1].close)
        for one in running:
            one.wait()
        yield running


def service_ms(port: int, requests: int = 300) -> float:
    """Mean time of requests one after the other, of which the work is spread as in the load."""
    connection, times_ms = http.client.HTTPConnection("127.0.0.1", port), []
    for work in [0.0] * WARM_UP_REQUESTS + paced_model.spread_work("exponential", WORK_MS, requests).tolist():
        began = time.perf_counter()
        connection.request("POST", paced_model.PREDICT, json.dumps({"instances": [[work]]}))
        reply = connection.getresponse()
        reply.read()
        if reply.status != 200:
            raise SystemExit(f"HTTP {reply.status} from port {port}")
        times_ms.append(1000 * (time.perf_counter() - began))
    connection.close()
    return statistics.mean(times_ms[WARM_UP_REQUESTS:])


@contextmanager
def gateway(running: Sequence[Running], policy: str, weights: Sequence[int], folder: Path) -> Iterator[str]:
    """URL of a predict call through a gateway with this policy."""
    envoy = gateway_to(running, folder, model=paced_model.NAME, balancing=policy, weights=weights)
    try:
        envoy.wait()
        yield f"http://127.0.0.1:{envoy.ports['rest']}{paced_model.PREDICT}"
    finally:
        envoy.close()


def table(rows: Sequence[dict[str, Any]], machine: str) -> Table:
    """Medians over the rounds (least–most); the ratio within a round."""
    rates = ", ".join(f"{rate:.1f}" for rate in rows[0]["rates_per_second"])
    found = Table(
        *("load", "policy", "weights", "mean ms: formula", "simulated", "measured", "against weighted"),
        title=f"servers that answer {rates} requests/s; {machine}",
        title_justify="left",
    )
    weighted = {row["load"]: row["mean_ms"] for row in rows if row["policy"] == "weighted"}
    for row in rows:
        means = row["mean_ms"]
        ratios = [mean / base for mean, base in zip(means, weighted[row["load"]], strict=True)]
        found.add_row(
            *(f"{row['load']:.0%}", row["policy"], ":".join(map(str, row["weights"] or ()))),
            *("–" if row[key] is None else f"{row[key]:.1f}" for key in ("predicted_ms", "simulated_ms")),
            spread(means, 1),
            f"{statistics.median(ratios):.2f}",
            end_section=row["policy"] == POLICIES[-1],
        )
    return found
