"""CP-SAT (OR-Tools) for tasks that cannot be divided: improves on LPT and certifies how much better anything could be.

OR-Tools is imported only here, when a search is asked for, and belongs in a process of its own: `isthmus.solving` starts that.
"""

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.sizing.formulas.allocation_case import Case

# CP-SAT counts in whole numbers: times are rounded down to 1/10⁷ of the makespan that LPT found. Rounded down, the search is
# a relaxation, so that its bound holds for the true times; the makespan is always that of the true times.
_TICKS = 10_000_000
# Choices (items times nodes). Beyond it, building the model alone takes seconds and a search in a plan's time finds little.
MOST_CHOICES = 100_000
_SEED = 1


@dataclass(frozen=True)
class Searched:
    """assignment: a node index for each item, shape (n,), or None. lower_bound_seconds: proven; 0: nothing is. infeasible: proven.

    ended_by: why the search stopped, in words.
    """

    assignment: NDArray[np.int64] | None
    lower_bound_seconds: float
    ended_by: str
    infeasible: bool = False


def search(case: Case, start: NDArray[np.int64] | None, lower_bound_seconds: float, time_budget_seconds: float, workers: int) -> Searched:
    """The best assignment that CP-SAT finds within the budget.

    Args:
        start: an assignment that keeps all limits, to start from; shape (n,).
        lower_bound_seconds: a bound that is already proven.
        time_budget_seconds: wall-clock time of the solver. workers: threads of the solver.

    Raises ImportError where OR-Tools is not installed.
    """
    cp_model: Any = importlib.import_module("ortools.sat.python.cp_model")
    items, nodes = len(case.work), len(case.capacity)
    horizon = float(case.loads(start).max()) if start is not None else float(case.work.sum() / case.capacity.min())
    scale = _TICKS / horizon if horizon > 0 else 1.0
    model = cp_model.CpModel()
    choice: list[dict[int, Any]] = []
    for item in range(items):
        allowed = np.flatnonzero(case.allowed(item)).tolist()
        choice.append({node: model.new_bool_var("") for node in allowed})
        model.add_exactly_one(choice[item].values())
    least = min(int(lower_bound_seconds * scale), _TICKS)
    makespan = model.new_int_var(least, _TICKS, "makespan")
    for node in range(nodes):
        here = [(item, choice[item][node]) for item in range(items) if node in choice[item]]
        ticks = [int(case.work[item] / case.capacity[node] * scale) for item, _ in here]
        model.add(sum(t * taken for t, (_, taken) in zip(ticks, here, strict=True)) <= makespan)
        if sum(int(case.memory[item]) for item, _ in here) > case.room[node]:
            model.add(sum(int(case.memory[item]) * taken for item, taken in here) <= int(case.room[node]))
        for group in case.groups:
            model.add_at_most_one(choice[item][node] for item in group if node in choice[item])
    if start is not None:
        for item in range(items):
            for node, taken in choice[item].items():
                model.add_hint(taken, int(node == start[item]))
    model.minimize(makespan)
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_budget_seconds
    solver.parameters.num_workers = workers
    solver.parameters.random_seed = _SEED
    status = solver.solve(model)
    if status == cp_model.INFEASIBLE:
        return Searched(None, lower_bound_seconds, "proven impossible", infeasible=True)
    bound = max(lower_bound_seconds, solver.best_objective_bound / scale)
    ended_by = "optimal up to rounding" if status == cp_model.OPTIMAL else f"the time budget of {time_budget_seconds:g} s ended the search"
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return Searched(None, bound, ended_by)
    found = [next(node for node, taken in choice[item].items() if solver.boolean_value(taken)) for item in range(items)]
    return Searched(np.array(found, dtype=np.int64), bound, ended_by)
