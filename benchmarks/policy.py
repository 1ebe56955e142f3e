"""The migration policy: `python benchmarks/policy.py [--runs N]`.

Solves a process of 4,200 states and 21 actions (21 places; 10 levels of network × 5 of load × 4 of head-room) with our solver, with value
iteration alone to the same bound, and with mdpsolver (C++, two threads or more), which gets the process as sparse lists; and holds the
values against each other. Then a device's look at a policy of that size: from measured numbers to the next place; and what its server's
router takes of each request, without a look and with one. Medians; the goals are 0.1 s and 20 µs. Costs are drawn (seed 1), and what each
rival would cost stands below. Last, what a preview takes to simulate how many of 1,000 devices ask the cloud role at once, by the policies
of policies/*.yaml (the goal is 1 s), with several shares of common network changes.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mdpsolver
import numpy as np
from rich.console import Console
from rich.table import Table

from isthmus.arguments.policy_file import load_policy
from isthmus.limits import OFFLOAD
from isthmus.migration import solve as solver
from isthmus.migration.process import Dimension, Numbers, Process, product_transition
from isthmus.migration.rivals import expected, rivals
from isthmus.migration.situation import wandering
from isthmus.migration.solve import evaluate, solve
from isthmus.migration.study import solved
from isthmus.migration.together import Devices, asked_at_once
from isthmus.sizing.offload import quantile_of, unsure_devices
from isthmus_agent.formats.policy import CLOUD, Measured, Policy
from isthmus_agent.server.router import Router

LEVELS = (10, 5, 4)
PLACES = ("device", "cloud", *(f"peer:class-{it}" for it in range(19)))
LOOKS = 20_000
DEVICES = 1000
RELEASE = "sha256:" + "0" * 64


def drawn(seed: int) -> Process:
    """A process whose costs are drawn; a tenth of the places is closed in each cell, the device never."""
    dice = np.random.default_rng(seed)
    transition = product_transition([wandering(tuple(dice.uniform(20, 200, it)), 10.0) for it in LEVELS])
    cells, places = len(transition), len(PLACES)
    moving = np.repeat(dice.uniform(5, 40, (places, places, 1)), cells, axis=2)
    moving[np.arange(places), np.arange(places)] = 0
    allowed = dice.random((places, cells)) < 0.9
    allowed[0] = True
    dimensions = tuple(
        Dimension(name, tuple(f"l{level}" for level in range(it))) for name, it in zip(("network", "load", "headroom"), LEVELS, strict=True)
    )
    return Process(PLACES, dimensions, transition, dice.uniform(1, 30, (places, cells)), moving, allowed, 0.99)


def timed(what: Callable[[], Any], runs: int) -> tuple[Any, float, float]:
    """Its result, and the medians of processor time and of the clock, in seconds."""
    processor, clock, found = [], [], None
    for _ in range(runs):
        began, at = time.process_time(), time.perf_counter()
        found = what()
        processor.append(time.process_time() - began)
        clock.append(time.perf_counter() - at)
    return found, statistics.median(processor), statistics.median(clock)


def swept_alone(process: Process) -> Numbers:
    """Value iteration to the same bound, with no sweeps of one policy between and no shift."""
    model = solver._Model(process)
    value, ahead = model.start(), process.discount / (1 - process.discount)
    while True:
        swept, _ = model.sweep(value)
        change = swept - value
        value = swept
        if ahead * float(change.max() - change.min()) <= 1e-6 * float(np.abs(swept).max()):
            return swept + ahead * float(change.max() + change.min()) / 2


def other(process: Process) -> Any:
    """mdpsolver's model of the process, as its lists."""
    places, cells = process.shape
    serving = np.where(process.allowed, process.serving_cost, 1e6)
    rewards = -(process.moving_cost.transpose(0, 2, 1) + serving.T[None]).reshape(places * cells, places)
    near = [np.flatnonzero(row) for row in process.transition]
    chances = [process.transition[cell][near[cell]].tolist() for cell in range(cells)]
    columns = [[(near[cell] + place * cells).tolist() for place in range(places)] for cell in range(cells)]
    found = mdpsolver.model()
    found.mdp(
        discount=process.discount,
        rewards=rewards.tolist(),
        tranMatProbs=[[chances[cell]] * places for _ in range(places) for cell in range(cells)],
        tranMatColumns=[columns[cell] for _ in range(places) for cell in range(cells)],
    )
    return found


def policy_of(process: Process, table: np.ndarray) -> Policy:
    measured = tuple(
        Measured(it.name, "unit", it.levels, tuple(1000 * edge for edge in range(1, len(it.levels))), 100) for it in process.dimensions
    )
    return Policy(RELEASE, "*", process.places, measured, tuple(int(it) for it in table.ravel()), 10_000)


def looked_up(policy: Policy) -> float:
    """Seconds of processor time for one look, with the levels carried on from look to look."""
    dice = np.random.default_rng(1)
    values = [dict(zip(("network", "load", "headroom"), row, strict=True)) for row in (dice.random((LOOKS, 3)) * LEVELS).tolist()]
    place, levels = 0, policy.unmeasured
    began = time.process_time()
    for measured in values:
        levels = policy.levels(levels, measured)
        place = policy.next_place(place, levels)
    return (time.process_time() - began) / LOOKS


class Near:
    """A cloud role that is always 20 ms away."""

    def probe(self, model: str) -> None:
        """It is known."""

    def round_trip_ms(self) -> float:
        """Always the same."""
        return 20.0


def routed(policy: Policy, looks: bool) -> float:
    """Seconds of processor time that the router takes of a request. looks: whether each of them is the first of a step."""
    router, now = Router(policy, "model", Near(), 0.0), 0.0
    gap_seconds = 2 * policy.step_ms / 1000 if looks else policy.step_ms / 1000 / LOOKS
    began = time.process_time()
    for _ in range(LOOKS):
        now += gap_seconds
        router.count()
        router.chosen(now)
    return (time.process_time() - began) / LOOKS


def at_once(console: Console) -> None:
    """The simulated fleets: how many ask, and what that takes."""
    table = Table("policy", "common", "days", "mean", "p50", "p99", "binomial p99", "beta-binomial p99", "processor s", box=None)
    for file in sorted(Path("policies").glob("*.yaml")):
        settings = load_policy(str(file), Path(), str(file))
        for common in (0.0, 0.1, 0.5, 1.0):
            situations = {name: replace(it, peers=None, network_common=common) for name, it in settings.situations().items()}
            fleet = [Devices(solved(name, it, settings.margin_ms), DEVICES // len(situations)) for name, it in situations.items()]
            share = sum(it.devices * it.solved.requests_at(CLOUD) for it in fleet if it.solved) / DEVICES
            found, spent, _ = timed(lambda fleet=fleet: asked_at_once(fleet), 3)
            closed = [quantile_of(unsure_devices(DEVICES, share, it), 0.99) for it in (0.0, OFFLOAD["correlation"].default)]
            figures = (f"{found.mean:.0f}", f"{found.quantile(50):.0f}", f"{found.quantile(99):.0f}", *map(str, closed), f"{spent:.2f}")
            table.add_row(file.stem, f"{common:.0%}", f"{found.seconds / 86_400:.1f}", *figures)
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    process, console = drawn(1), Console()
    places, cells = process.shape
    best, processor, clock = timed(lambda: solve(process), runs)
    plain, plain_processor, plain_clock = timed(lambda: swept_alone(process), max(1, runs // 3))
    model = other(process)
    _, other_processor, other_clock = timed(lambda: model.solve(algorithm="mpi", tolerance=1e-3, verbose=False), 1)
    theirs = -np.array(model.getValueVector()).reshape(places, cells)
    table = Table(f"{places * cells:,} states, {places} actions", "processor s", "clock s", "values differ by, of the largest", box=None)
    largest = float(best.value.max())
    for name, spent, passed, value in (
        ("ours, with its proof and exact value", processor, clock, best.value),
        ("value iteration alone", plain_processor, plain_clock, plain),
        ("mdpsolver, modified policy iteration", other_processor, other_clock, theirs),
    ):
        table.add_row(name, f"{spent:.3f}", f"{passed:.3f}", f"{float(np.abs(value - best.value).max()) / largest:.1e}")
    console.print(table)
    console.print(f"{best.sweeps} sweeps; no policy is cheaper by more than {best.misses:.1g} of {largest:,.0f}; {os.cpu_count()} cores")
    looks = statistics.median(looked_up(policy_of(process, best.next_place)) for _ in range(runs))
    size = len(policy_of(process, best.next_place).to_json())
    console.print(f"one look of a device: {looks * 1e6:.1f} µs, from a file of {size:,} bytes")
    policy = policy_of(process, best.next_place)
    without, with_look = (statistics.median(routed(policy, looks) for _ in range(runs)) for looks in (False, True))
    console.print(f"the router, of a request: {without * 1e6:.2f} µs, with a look {with_look * 1e6:.1f} µs")
    table = Table("policy", "a step costs", "of the best", box=None)
    ours = expected(process, best.value)
    for name, cost in [("the best", ours), *((name, expected(process, evaluate(process, it))) for name, it in rivals(process).items())]:
        table.add_row(name, f"{cost:.3f}", f"{cost / ours:.2f}")
    console.print(table)
    at_once(console)


if __name__ == "__main__":
    main()
