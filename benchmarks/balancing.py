"""Balancing shares against cvxpy with Clarabel: `python benchmarks/balancing.py [--runs N] [--most M]`.

Random instances (capacities over three decades, loads from 5 % to 99 %), the same for both. The gap is relative: by how much
the mean response time of Clarabel's shares, scaled to a sum of 1, is above ours; negative would mean that ours is worse. All
times are medians over the instances: ours for the shares alone and for the whole plan (predictions, explanation), both with
all checks; Clarabel's alone (`solver_stats`) and through cvxpy. The last column shows our growth against M·log M.

Clarabel's tolerances are 1e-11; where it cannot reach them (cvxpy warns), its best answer counts.
cvxpy is not a dependency of the repository: install it beside it to run this.
"""

import argparse
import math
import statistics
import time
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from isthmus.sizing.formulas.balancing import kkt_residual, mean_response_of_shares_ms, optimal_shares, plan_shares

try:
    import cvxpy
except ImportError:
    raise SystemExit(
        "this benchmark compares with cvxpy and Clarabel, which are no dependency of the project: install `cvxpy` beside it"
    ) from None


def clarabel(p: NDArray[np.float64], rate: float) -> tuple[NDArray[np.float64], float, float]:
    """Shares, seconds in all, seconds of the solver.

    In the servers' utilisations u = λx/p, which is the form that Clarabel's conditioning likes best: λx/(p − λx) + 1 = 1/(1 − u).
    """
    started = time.perf_counter()
    u = cvxpy.Variable(len(p), nonneg=True)
    demand = (p / p.mean()) @ u == rate / p.mean()
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(cvxpy.inv_pos(1 - u)) / len(p)), [demand])
    problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    found = np.maximum(np.asarray(u.value, dtype=np.float64), 0) * p
    return found / found.sum(), time.perf_counter() - started, float(problem.solver_stats.solve_time)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--most", type=int, default=10_000)
    options = parser.parse_args()
    columns = ("servers", "shares ms", "plan ms", "solver ms", "cvxpy ms", "solver ratio", "cvxpy ratio")
    checks = ("smallest gap", "largest gap", "KKT residual", "growth / M·log₂M")
    table = Table(*columns, *checks, title=f"{datetime.now(UTC).date()}, {options.runs} instances each")
    generator, unit = np.random.default_rng(11), None
    for servers in (10, 100, 1_000, 10_000, 100_000, 1_000_000):
        times: dict[str, list[float]] = {"ours": [], "plan": [], "solver": [], "cvxpy": []}
        gaps, residuals = [], []
        for _ in range(options.runs):
            p = 10 ** generator.uniform(0, 3, servers)
            rate = float(p.sum() * generator.choice([0.05, 0.3, 0.6, 0.8, 0.95, 0.99]))
            started = time.perf_counter()
            optimal_shares(p, rate)
            times["ours"].append(1000 * (time.perf_counter() - started))
            started = time.perf_counter()
            plan = plan_shares(p, rate)
            times["plan"].append(1000 * (time.perf_counter() - started))
            residuals.append(kkt_residual(plan.shares, p, rate))
            if servers <= options.most:
                shares, all_seconds, solver_seconds = clarabel(p, rate)
                times["cvxpy"].append(1000 * all_seconds)
                times["solver"].append(1000 * solver_seconds)
                gaps.append(mean_response_of_shares_ms(shares, p, rate) / plan.mean_ms - 1)
        ours, plans, *theirs = (statistics.median(figures) if figures else None for figures in times.values())
        assert ours is not None  # noqa: S101
        assert plans is not None  # noqa: S101
        per = ours / (servers * math.log2(servers))
        unit = per if servers == 10_000 else unit
        row = [f"{servers:,}", f"{ours:.2f}", f"{plans:.2f}", *("-" if figure is None else f"{figure:.1f}" for figure in theirs)]
        row += ["-" if figure is None else f"{figure / ours:.0f}" for figure in theirs]
        row += [f"{min(gaps):.1e}", f"{max(gaps):.1e}"] if gaps else ["-", "-"]
        table.add_row(*row, f"{max(residuals):.0e}", "-" if unit is None else f"{per / unit:.2f}")
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
