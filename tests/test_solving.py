import importlib.util
import sys
import time

import numpy as np
import pytest
from toolchain.testing import patience

from isthmus import solving
from isthmus.errors import InputError
from isthmus.sizing.formulas.allocation_tasks import Node, Task
from isthmus.solving import allocate_within

needs_search = pytest.mark.skipif(importlib.util.find_spec("ortools") is None, reason="the extra [allocate] is not installed")
NODES = [Node("a", 1), Node("b", 1)]
# Graham's worst case for LPT on two equal nodes: 7 against 6.
TASKS = [Task(f"t{i}", work) for i, work in enumerate([3, 3, 2, 2, 2])]


@pytest.fixture
def solver(monkeypatch):
    """Puts some other program in the solver's place."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())

    def put(code, grace_seconds=60.0):
        defaults = solving._search_apart.__kwdefaults__
        monkeypatch.setitem(defaults, "command", (sys.executable, "-c", code))
        monkeypatch.setitem(defaults, "grace_seconds", grace_seconds)

    return put


@needs_search
def test_the_search_runs_in_a_process_of_its_own_and_improves_on_lpt():
    loaded = "ortools" in sys.modules
    result = allocate_within(10, TASKS, NODES, workers=1)
    assert (result.lpt_seconds, result.makespan_seconds, result.found_by) == (7, 6, "CP-SAT")
    assert result.gap_percent < 1e-3
    assert ("ortools" in sys.modules) == loaded


@needs_search
def test_a_search_out_of_time_keeps_lpts_answer_and_states_the_gap():
    generator = np.random.default_rng(5)
    tasks = [Task(f"t{i}", float(work)) for i, work in enumerate(generator.lognormal(0, 1, 200))]
    nodes = [Node(f"n{i}", float(each)) for i, each in enumerate(generator.uniform(1, 4, 10))]
    result = allocate_within(1e-6, tasks, nodes, workers=1)
    assert result.makespan_seconds <= result.lpt_seconds
    assert 0 < result.gap_percent < 5
    assert "ended the search" in result.verdict


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "the solver died (Segmentation fault)"),
        ("raise SystemExit('no room')", "the solver died (status 1: no room)"),
    ],
)
def test_a_solver_that_dies_leaves_lpts_answer_with_its_certified_gap(solver, code, said):
    solver(code)
    result = allocate_within(5, TASKS, NODES)
    assert (result.makespan_seconds, result.found_by, result.verdict) == (7, "LPT", said)
    assert result.gap_percent == pytest.approx(100 / 7)
    assert said in result.explain()


def test_a_solver_that_does_not_end_is_stopped(solver):
    solver("import time; time.sleep(600)", grace_seconds=0.2)
    started = time.monotonic()
    result = allocate_within(0.1, TASKS, NODES)
    assert time.monotonic() - started < patience.scaled(60)
    assert (result.found_by, result.verdict) == ("LPT", "the solver did not end and was stopped after 0.3 s")


def test_a_search_without_or_tools_says_how_to_get_it_and_all_else_that_is_wrong(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError) as caught:
        allocate_within(float("nan"), TASKS, NODES, workers=0)
    assert [problem.path for problem in caught.value.problems] == [
        "allocation.time_budget_seconds",
        "allocation.workers",
        "allocation.time_budget_seconds",
    ]
    assert "pip install 'isthmus[allocate]', or take LPT's answer" in str(caught.value)
