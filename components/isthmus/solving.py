"""The search for better allocations (CP-SAT), in a process of its own: JSON in, JSON out.

OR-Tools 9.15 ends a process that has loaded certain other native libraries with a segmentation fault, which no handler can
catch: so it never runs in ours. A search that dies, or that does not end, costs what it would have found and nothing else;
LPT's answer then stands, with its own certified gap, and the verdict says so. This is not in `sizing/`, which starts no process.

`python -m isthmus.solving` is that process.
"""

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import InputError, Problem
from isthmus.sizing.formulas.allocation_case import Case, Node, Task
from isthmus.sizing.formulas.allocation_exact import Searched, search
from isthmus.sizing.formulas.allocation_tasks import Allocation, allocate

# CP-SAT's portfolio of strategies is made for eight threads, also where there are fewer cores.
DEFAULT_WORKERS = 8
_MOST_BUDGET_SECONDS = 86_400
# Beyond its budget: imports and the model of 100,000 choices, on a busy machine.
_GRACE_SECONDS = 60.0
_INT_ARRAYS, _FLOAT_ARRAYS = ("memory", "fixed", "room"), ("work", "capacity")
_COMMAND = (sys.executable, "-m", "isthmus.solving")


def allocate_within(
    time_budget_seconds: float,
    tasks: Sequence[Task],
    nodes: Sequence[Node],
    *,
    together: Sequence[Collection[str]] = (),
    apart: Sequence[Collection[str]] = (),
    workers: int = DEFAULT_WORKERS,
    path: str = "allocation",
) -> Allocation:
    """As `isthmus.sizing.formulas.allocation_tasks.allocate`, with a search of so many seconds. workers: threads of it.

    Raises:
        InputError: also where the budget or the threads make no sense, or OR-Tools is not installed. GateError: as there.
    """
    problems = []
    if not 0 < time_budget_seconds <= _MOST_BUDGET_SECONDS:
        what = f"a time budget of {time_budget_seconds:g} s"
        problems.append(Problem(f"{path}.time_budget_seconds", what, f"more than 0, up to {_MOST_BUDGET_SECONDS}"))
    if workers < 1:
        problems.append(Problem(f"{path}.workers", f"{workers} threads", "at least 1"))
    if importlib.util.find_spec("ortools") is None:
        what, fix = "a search for a better allocation needs OR-Tools, which is not installed", "pip install 'isthmus[allocate]'"
        problems.append(Problem(f"{path}.time_budget_seconds", what, "the extra [allocate]", f"{fix}, or take LPT's answer"))
    if problems:
        raise InputError(problems)
    apart_from_us = partial(_search_apart, time_budget_seconds=time_budget_seconds, workers=workers)
    return allocate(tasks, nodes, together=together, apart=apart, search=apart_from_us, path=path)


def _search_apart(
    case: Case,
    start: NDArray[np.int64] | None,
    lower_bound_seconds: float,
    *,
    time_budget_seconds: float,
    workers: int,
    command: Sequence[str] = _COMMAND,
    grace_seconds: float = _GRACE_SECONDS,
) -> Searched:
    """`search` in a process of its own; what goes wrong there is what the search ended by."""
    text = request_of(case, start, lower_bound_seconds, time_budget_seconds, workers)
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=time_budget_seconds + grace_seconds, check=False)
    except subprocess.TimeoutExpired as error:
        return Searched(None, 0.0, f"the solver did not end and was stopped after {error.timeout:g} s")
    except OSError as error:
        return Searched(None, 0.0, f"the solver did not start: {error}")
    return searched_of(done.stdout) if done.returncode == 0 else Searched(None, 0.0, f"the solver died ({_why(done)})")


def _why(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode < 0:
        return signal.strsignal(-done.returncode) or f"signal {-done.returncode}"
    last = done.stderr.strip().rpartition("\n")[2]
    return f"status {done.returncode}{f': {last}' if last else ''}"


def request_of(case: Case, start: NDArray[np.int64] | None, lower_bound_seconds: float, time_budget_seconds: float, workers: int) -> str:
    """The arguments of `search` as one line of JSON."""
    given = {
        "case": {**asdict(case), "apart": {}},  # the search needs the groups alone
        "start": start,
        "bound": lower_bound_seconds,
        "budget": time_budget_seconds,
        "workers": workers,
    }
    return json.dumps(given, default=np.ndarray.tolist)


def searched_of(text: str) -> Searched:
    """What `answer` said."""
    found = json.loads(text)
    assignment = found["assignment"]
    return Searched(**{**found, "assignment": None if assignment is None else np.array(assignment, dtype=np.int64)})


def _case_from(raw: dict[str, Any]) -> Case:
    arrays = {name: np.array(raw[name], dtype=np.int64) for name in _INT_ARRAYS}
    arrays |= {name: np.array(raw[name], dtype=np.float64) for name in _FLOAT_ARRAYS}
    return Case(**{**raw, **arrays, "groups": tuple(map(tuple, raw["groups"]))})


def answer(request: str) -> str:
    """One search: its case and limits as JSON, and what was found as JSON."""
    given = json.loads(request)
    start = None if given["start"] is None else np.array(given["start"], dtype=np.int64)
    found = search(_case_from(given["case"]), start, given["bound"], given["budget"], given["workers"])
    return json.dumps(asdict(found), default=np.ndarray.tolist)


if __name__ == "__main__":
    sys.stdout.write(answer(sys.stdin.read()))
