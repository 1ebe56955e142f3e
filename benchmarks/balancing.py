"""Balancing shares against cvxpy with Clarabel: `python benchmarks/balancing.py [--runs N] [--most M]`.

Random instances (capacities over three decades, loads from 5 % to 99 %), the same for both. The gap is relative: by how much
the mean response time of Clarabel's shares, scaled to a sum of 1, is above ours; negative would mean that ours is worse. Each
time is the median of the runs; ours includes all checks and the result with its tuples, cvxpy's is solving alone
(`solver_stats`) and with the building of the problem. The last columns show how our time grows against M·log M.

cvxpy is not a dependency of the repository: install it beside it to run this.
"""

import argparse
import math
import statistics
import time
from datetime import datetime, timezone

import cvxpy
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from isthmus.sizing.balancing import kkt_residual, mean_response_of_shares_ms, plan_shares


def clarabel(p: NDArray[np.float64], rate: float) -> tuple[NDArray[np.float64], float, float]:
    """Shares, seconds in all, seconds of the solver. p/(p − λx) − 1 = λx/(p − λx), so Σ p/(p − λx) has the same optimum."""
    started = time.perf_counter()
    scale = p.sum()
    capacity, load = p / scale, rate / scale
    x = cvxpy.Variable(len(p), nonneg=True)
    terms = cvxpy.multiply(capacity, cvxpy.inv_pos(capacity - load * x))
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(terms) / len(p)), [cvxpy.sum(x) == 1])
    tight = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-12, "tol_feas": 1e-12}
    problem.solve(solver="CLARABEL", **tight)
    found = np.maximum(np.asarray(x.value, dtype=np.float64), 0)
    return found / found.sum(), time.perf_counter() - started, float(problem.solver_stats.solve_time)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--most", type=int, default=10_000)
    options = parser.parse_args()
    columns = ("servers", "ours ms", "solver ms", "cvxpy ms", "ratio to solver", "ratio to cvxpy")
    checks = ("smallest gap", "largest gap", "KKT residual", "ms per M·log₂M, M=100: 1")
    table = Table(*columns, *checks, title=f"{datetime.now(timezone.utc).date()}, {options.runs} instances each")
    generator, unit = np.random.default_rng(11), None
    for servers in (10, 100, 1_000, 10_000, 100_000, 1_000_000):
        times: dict[str, list[float]] = {"ours": [], "solver": [], "cvxpy": []}
        gaps, residuals = [], []
        for _ in range(options.runs):
            p = 10 ** generator.uniform(0, 3, servers)
            rate = float(p.sum() * generator.choice([0.05, 0.3, 0.6, 0.8, 0.95, 0.99]))
            started = time.perf_counter()
            plan = plan_shares(p, rate)
            times["ours"].append(1000 * (time.perf_counter() - started))
            residuals.append(kkt_residual(plan.shares, p, rate))
            if servers <= options.most:
                shares, all_seconds, solver_seconds = clarabel(p, rate)
                times["cvxpy"].append(1000 * all_seconds)
                times["solver"].append(1000 * solver_seconds)
                gaps.append(mean_response_of_shares_ms(shares, p, rate) / plan.mean_ms - 1)
        ours, *theirs = (statistics.median(figures) if figures else None for figures in times.values())
        assert ours is not None  # noqa: S101
        per = ours / (servers * math.log2(servers))
        unit = per if servers == 100 else unit
        row = [f"{servers:,}", f"{ours:.2f}", *("-" if figure is None else f"{figure:.1f}" for figure in theirs)]
        row += ["-" if figure is None else f"{figure / ours:.0f}" for figure in theirs]
        row += [f"{min(gaps):.1e}", f"{max(gaps):.1e}"] if gaps else ["-", "-"]
        table.add_row(*row, f"{max(residuals):.0e}", "-" if unit is None else f"{per / unit:.2f}")
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
