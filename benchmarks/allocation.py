"""Allocation of tasks: `python benchmarks/allocation.py [--instances N] [--seconds S] [--workers W]`.

Log-normal tasks on nodes of speed 1 to 4. Named alternative: an equal number of tasks for each node, in turn (what a round
robin over the servers does). Then LPT, and CP-SAT with S seconds from there; all on the same instances. The certified gap is
against the proven lower bound. CP-SAT's seconds have the start of its process in them.
For divisible work the ratio to an equal split follows from formula 2 alone.
"""

import argparse
import statistics
import time
from datetime import UTC, datetime

import numpy as np
from rich.console import Console
from rich.table import Table

from isthmus.sizing.formulas.allocation import divide_units
from isthmus.sizing.formulas.allocation_tasks import Node, Task, allocate
from isthmus.solving import allocate_within


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--workers", type=int, default=8)
    options = parser.parse_args()
    generator, date = np.random.default_rng(11), datetime.now(UTC).date()
    columns = (
        "tasks",
        "nodes",
        "in turn / LPT",
        "LPT ms",
        "LPT gap %",
        "CP-SAT gap %",
        "LPT / CP-SAT − 1, %",
        "CP-SAT s",
        "better",
        "optimal",
    )
    table = Table(
        *columns, title=f"{date}, medians of {options.instances} instances, CP-SAT {options.seconds:g} s, {options.workers} threads"
    )
    for count, size in ((10, 3), (20, 4), (50, 6), (100, 8), (500, 20), (2_000, 40)):
        rows: list[tuple[float, ...]] = []
        for _ in range(options.instances):
            speeds, works = generator.uniform(1, 4, size), generator.lognormal(0, 1, count)
            nodes = [Node(f"node-{i}", float(speed)) for i, speed in enumerate(speeds)]
            tasks = [Task(f"task-{i}", float(work)) for i, work in enumerate(works)]
            in_turn = float((np.bincount(np.arange(count) % size, weights=works) / speeds).max())
            started = time.perf_counter()
            lpt = allocate(tasks, nodes)
            middle = time.perf_counter()
            best = allocate_within(options.seconds, tasks, nodes, workers=options.workers)
            ended = time.perf_counter()
            gain = 100 * (lpt.makespan_seconds / best.makespan_seconds - 1)
            figures = (in_turn / lpt.makespan_seconds, 1000 * (middle - started), lpt.gap_percent, best.gap_percent, gain, ended - middle)
            rows.append((*figures, best.found_by == "CP-SAT", best.verdict.startswith("optimal")))
        medians = [statistics.median(column) for column in list(zip(*rows, strict=True))[:6]]
        shown = [f"{value:.{digits}f}" for value, digits in zip(medians, (2, 2, 3, 4, 3, 2), strict=True)]
        table.add_row(str(count), str(size), *shown, *(f"{sum(row[i] for row in rows):.0f}" for i in (6, 7)))
    Console(width=160).print(table)
    units = Table(
        "rows", "speeds", "equal split s", "by formula 2 s", "ratio", "rounding loss %", "ms", title=f"{date}, divisible work in whole rows"
    )
    for rows_given, speeds_given in (
        (10_000, [4, 2, 1]),
        (1_000, [400, 200, 100]),
        (100, [9, 7, 4, 2, 1]),
        (10**9, list(range(1, 10_001))),
    ):
        started = time.perf_counter()
        plan = divide_units(rows_given, speeds_given)
        milliseconds, equal = 1000 * (time.perf_counter() - started), plan.equal_split_seconds or 0.0
        name = ":".join(map(str, speeds_given)) if len(speeds_given) < 10 else f"1:2:…:{len(speeds_given)}"
        figures_shown = (f"{equal:.4g}", f"{plan.makespan_seconds:.4g}", f"{equal / plan.makespan_seconds:.2f}")
        units.add_row(f"{rows_given:,}", name, *figures_shown, f"{plan.rounding_loss_percent:.2g}", f"{milliseconds:.2f}")
    Console(width=160).print(units)


if __name__ == "__main__":
    main()
