"""Formula 2 for tasks that cannot be divided: which node gets which task (Q‖Cmax, with limits).

Minimise the maximum of t_i/c_i, t_i being the work of the tasks on node i. LPT (longest processing time first: each task, the
largest first, to the node that would have it done earliest) needs milliseconds and is at most 1 + √3/3 ≈ 1.577 times the
optimum (A. Kovács, "New approximation bounds for LPT scheduling", Algorithmica 57, 2010; without further limits), in practice
within a percent. CP-SAT goes on from there where a search is given (`isthmus.solving.allocate_within`). Every answer comes with
a proven lower bound.

Units: work in units of any kind, capacities in units per second, times in seconds, memory in bytes.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import GateError, Problem
from isthmus.sizing.formulas.allocation_case import Case, Node, Task, case_of
from isthmus.sizing.formulas.allocation_exact import MOST_CHOICES, Searched

__all__ = ["LPT_FACTOR", "Allocation", "Node", "Search", "Task", "allocate"]

Search = Callable[[Case, NDArray[np.int64] | None, float], Searched]
"""Looks for something better than an assignment (None: there is none yet), knowing a proven lower bound in seconds."""


LPT_FACTOR = 1 + math.sqrt(3) / 3
# A gap below this is rounding (CP-SAT counts in ticks of 1e-7 of the makespan).
_CLOSED_PERCENT = 1e-3


@dataclass(frozen=True)
class Allocation:
    """An assignment that keeps all limits, and how good it is.

    node_of: task name → node name. seconds_of: node name → when it is done.
    lower_bound_seconds: proven, by what `bound_by` says; no assignment is done earlier.
    gap_percent: 100·(makespan − bound)/makespan: no assignment is better by more than this.
    found_by: "LPT" or "CP-SAT". lpt_seconds: LPT's makespan; None where LPT found nothing that keeps the limits.
    verdict: why the search ended, in words.
    """

    node_of: Mapping[str, str]
    seconds_of: Mapping[str, float]
    makespan_seconds: float
    lower_bound_seconds: float
    bound_by: str
    gap_percent: float
    found_by: str
    lpt_seconds: float | None
    verdict: str

    def explain(self) -> str:
        """The arithmetic in one line."""
        text = (
            f"formula 2: {len(self.node_of)} tasks on {len(self.seconds_of)} nodes: "
            f"done in {self.makespan_seconds:.4g} s by {self.found_by}; not below {self.lower_bound_seconds:.4g} s "
            f"({self.bound_by}), gap at most {self.gap_percent:.2g} %: {self.verdict}"
        )
        return text + (f"; LPT: {self.lpt_seconds:.4g} s" if self.lpt_seconds is not None and self.found_by != "LPT" else "")


def allocate(
    tasks: Sequence[Task],
    nodes: Sequence[Node],
    *,
    together: Sequence[Collection[str]] = (),
    apart: Sequence[Collection[str]] = (),
    search: Search | None = None,
    path: str = "allocation",
) -> Allocation:
    """An allocation with a small makespan that keeps every limit: fixed nodes, memory, together, apart.

    Args:
        together: groups of task names that must share a node. apart: groups of which no two tasks may share one.
        search: goes on from LPT's answer; None takes that, which is the same on every machine.
        path: property path, for the messages.

    Raises:
        InputError: names or numbers that make no sense; more than 2·10⁸ pairs of task and node.
        GateError: the limits contradict each other (proven), or LPT found nothing that keeps them and there was no search.
    """
    case = case_of(tasks, nodes, together, apart, path)
    best = _longest_first(case)
    lpt_seconds = None if best is None else float(case.loads(best).max())
    bound, bound_by = lower_bound(case)
    found_by, makespan = "LPT", lpt_seconds
    choices = len(case.work) * len(case.capacity)
    if makespan is not None and _gap_percent(makespan, bound) <= _CLOSED_PERCENT:
        verdict = "optimal"
    elif search is None:
        verdict = "nothing was searched"
    elif choices > MOST_CHOICES:
        verdict = f"not searched: {choices} choices are more than {MOST_CHOICES}"
    else:
        result = search(case, best, bound)
        if result.infeasible:
            raise GateError([_no_room(case, path, "no assignment keeps all the limits (proven by a search)")])
        if result.lower_bound_seconds > bound:
            bound, bound_by = result.lower_bound_seconds, "CP-SAT"
        if result.assignment is not None:
            seconds = float(case.loads(result.assignment).max())
            if makespan is None or seconds < makespan:
                best, makespan, found_by = result.assignment, seconds, "CP-SAT"
        verdict = result.ended_by
    if best is None or makespan is None:
        raise GateError([_no_room(case, path, f"no assignment that keeps all the limits was found ({verdict}); there may be one")])
    seconds_of = {node.name: float(seconds) for node, seconds in zip(nodes, case.loads(best), strict=True)}
    node_of = {tasks[i].name: nodes[best[item]].name for item, group in enumerate(case.members) for i in group}
    bound = min(bound, makespan)  # the two may differ in the last digit
    return Allocation(
        node_of=MappingProxyType(node_of),
        seconds_of=MappingProxyType(seconds_of),
        makespan_seconds=makespan,
        lower_bound_seconds=bound,
        bound_by=bound_by,
        gap_percent=_gap_percent(makespan, bound),
        found_by=found_by,
        lpt_seconds=lpt_seconds,
        verdict=verdict,
    )


def lower_bound(case: Case) -> tuple[float, str]:
    """The best of the bounds that need no search, in seconds, and its name."""
    order = np.argsort(-case.work, kind="stable")
    work, speed = case.work[order], np.sort(case.capacity)[::-1]
    both = min(len(work), len(speed))
    bounds = {
        "all work over all capacity": float(case.work.sum() / case.capacity.sum()),
        # The k largest tasks use at most the k fastest nodes.
        "the largest tasks over the fastest nodes": float((np.cumsum(work[:both]) / np.cumsum(speed[:both])).max()),
        "the work fixed to one node": float(
            (np.bincount(case.fixed[case.fixed >= 0], case.work[case.fixed >= 0], len(speed)) / case.capacity).max()
        ),
        "one task on the fastest node that may take it": _alone(case),
    }
    if len(work) > len(speed):  # of the m + 1 largest tasks two share a node
        bounds["two tasks share a node"] = float((work[len(speed) - 1] + work[len(speed)]) / speed[0])
    for group in case.groups:  # of k tasks on k nodes, the j-th largest or a larger one is not on the j − 1 fastest nodes
        largest = np.sort(case.work[list(group)])[::-1]
        value = float((largest / speed[: len(largest)]).max())
        bounds["tasks that stay apart"] = max(value, bounds.get("tasks that stay apart", 0.0))
    name = max(bounds, key=bounds.__getitem__)
    return bounds[name], name


def _alone(case: Case) -> float:
    """The longest that a task takes on the fastest node whose memory holds it, or on the node it is fixed to."""
    by_room = np.argsort(case.room, kind="stable")
    fastest_with_room = np.maximum.accumulate(case.capacity[by_room][::-1])[::-1]
    fastest = fastest_with_room[np.searchsorted(case.room[by_room], case.memory, side="left")]
    fastest = np.where(case.fixed >= 0, case.capacity[case.fixed], fastest)
    return float((case.work / fastest).max())


def _longest_first(case: Case) -> NDArray[np.int64] | None:
    """LPT within the limits; where it ends in a corner, the same with the bulkiest, then the most restricted, tasks first."""
    degree = np.array([len(case.apart.get(item, ())) for item in range(len(case.work))])
    for keys in ((-case.work,), (-case.work, -case.memory), (-case.work, -case.memory, -degree)):
        assignment = _list_schedule(case, np.lexsort((*keys, case.fixed < 0)))
        if assignment is not None:
            return assignment
    return None


def _list_schedule(case: Case, order: NDArray[np.intp]) -> NDArray[np.int64] | None:
    """Each item in that order to the node that has it done earliest; None where an item finds no node."""
    load, room = np.zeros(len(case.capacity)), case.room.copy()
    assignment = np.full(len(case.work), -1, dtype=np.int64)
    tight = bool(case.memory.any())
    for item in order.tolist():
        done = (load + case.work[item]) / case.capacity
        if tight:
            done[room < case.memory[item]] = np.inf
        taken = [assignment[other] for other in case.apart.get(item, ()) if assignment[other] >= 0]
        if taken:
            done[taken] = np.inf
        node = int(case.fixed[item]) if case.fixed[item] >= 0 else int(done.argmin())
        if not np.isfinite(done[node]):
            return None
        assignment[item] = node
        load[node] += case.work[item]
        room[node] -= case.memory[item]
    return assignment


def _gap_percent(makespan: float, bound: float) -> float:
    return max(0.0, 100 * (makespan - bound) / makespan) if makespan > 0 else 0.0


def _no_room(case: Case, path: str, what: str) -> Problem:
    limited = [f"{len(case.groups)} groups apart"] if case.groups else []
    if case.memory.any():
        limited.append(f"{case.memory.sum()} bytes of tasks on nodes of {', '.join(map(str, case.room[:10].tolist()))} bytes")
    if (case.fixed >= 0).any():
        limited.append(f"{int((case.fixed >= 0).sum())} fixed")
    fix = "add a node or memory, loosen a limit, or give a time budget for the search"
    return Problem(path, f"{what}: {'; '.join(limited)}", "limits that leave one assignment", fix)
