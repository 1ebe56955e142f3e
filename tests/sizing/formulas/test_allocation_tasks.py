import importlib.util
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.errors import GateError, InputError
from isthmus.sizing.formulas import allocation_tasks
from isthmus.sizing.formulas.allocation_exact import Searched
from isthmus.sizing.formulas.allocation_tasks import LPT_FACTOR, Node, Task, allocate
from isthmus.solving import request_of, searched_of

needs_search = pytest.mark.skipif(importlib.util.find_spec("ortools") is None, reason="the extra [allocate] is not installed")
# Small problems are solved in milliseconds; the budget only ends what would be a mistake.
BUDGET_SECONDS = 10.0
# One process for all searches of these tests: each line is a request, and an answer.
SOLVER = "import sys; from isthmus.solving import answer\nfor line in sys.stdin: print(answer(line), flush=True)"
NODES = [Node("a", 4, 100), Node("b", 2, 50), Node("c", 1, 50)]


@pytest.fixture(scope="module")
def search():
    """A search for `allocate`; OR-Tools never runs in this process."""
    with subprocess.Popen([sys.executable, "-c", SOLVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as solver:

        def ask(case, start, bound):
            solver.stdin.write(request_of(case, start, bound, BUDGET_SECONDS, 1) + "\n")
            solver.stdin.flush()
            return searched_of(solver.stdout.readline())

        yield ask
        solver.stdin.close()


@st.composite
def plain(draw, most_tasks=7, most_nodes=3):
    works = draw(st.lists(st.floats(0.1, 20), min_size=1, max_size=most_tasks))
    capacities = draw(st.lists(st.floats(0.5, 5), min_size=1, max_size=most_nodes))
    return [Task(f"t{i}", work) for i, work in enumerate(works)], [Node(f"n{i}", each) for i, each in enumerate(capacities)]


@st.composite
def limited(draw, most_tasks=6, most_nodes=3):
    """(tasks, nodes, limits): with memory, fixed nodes, and groups together and apart; not always possible to keep."""
    tasks, nodes = draw(plain(most_tasks, most_nodes))
    memory = st.integers(0, 10)
    nodes = [Node(node.name, node.capacity_per_second, draw(st.one_of(st.none(), st.integers(10, 30)))) for node in nodes]
    fixed = st.one_of(st.none(), st.none(), st.sampled_from([node.name for node in nodes]))
    tasks = [Task(task.name, task.work, draw(memory), draw(fixed)) for task in tasks]
    groups = st.lists(st.lists(st.sampled_from([task.name for task in tasks]), min_size=2, max_size=3, unique=True), max_size=1)
    if len(tasks) < 2:
        return tasks, nodes, {}
    return tasks, nodes, {"together": draw(groups), "apart": draw(groups)}


def makespan(tasks, nodes, node_of):
    return max(sum(task.work for task in tasks if node_of[task.name] == node.name) / node.capacity_per_second for node in nodes)


def broken_limits(tasks, nodes, node_of, together=(), apart=()):
    """The names of the limits that an assignment breaks."""
    broken = [task.name for task in tasks if task.node not in (None, node_of[task.name])]
    for node in nodes:
        held = sum(task.memory_bytes for task in tasks if node_of[task.name] == node.name)
        if node.memory_bytes is not None and held > node.memory_bytes:
            broken.append(node.name)
    broken += ["together" for group in together if len({node_of[name] for name in group}) > 1]
    broken += ["apart" for group in apart if len({node_of[name] for name in group}) < len(group)]
    return broken


def optimum(tasks, nodes, **limits):
    """The least makespan of all assignments that keep the limits; None where there is none."""
    best = None
    for chosen in itertools.product([node.name for node in nodes], repeat=len(tasks)):
        node_of = {task.name: name for task, name in zip(tasks, chosen, strict=True)}
        if not broken_limits(tasks, nodes, node_of, **limits):
            seconds = makespan(tasks, nodes, node_of)
            best = seconds if best is None else min(best, seconds)
    return best


@given(plain(most_tasks=30, most_nodes=8))
def test_the_answer_is_what_it_says_it_is(case):
    tasks, nodes = case
    result = allocate(tasks, nodes)
    assert set(result.node_of) == {task.name for task in tasks}
    assert result.makespan_seconds == pytest.approx(makespan(tasks, nodes, result.node_of))
    assert max(result.seconds_of.values()) == result.makespan_seconds == result.lpt_seconds
    assert 0 < result.lower_bound_seconds <= result.makespan_seconds
    gap = 100 * (result.makespan_seconds - result.lower_bound_seconds) / result.makespan_seconds
    assert result.gap_percent == pytest.approx(gap, abs=1e-9)


@given(plain())
def test_lpt_keeps_its_proven_factor_and_the_bound_is_below_the_optimum(case):
    tasks, nodes = case
    result, best = allocate(tasks, nodes), optimum(tasks, nodes)
    assert result.lower_bound_seconds <= best * (1 + 1e-12)
    assert best <= result.makespan_seconds * (1 + 1e-12)
    assert result.makespan_seconds <= best * LPT_FACTOR * (1 + 1e-12)
    assert result.makespan_seconds <= best * max(1, 2 * len(nodes) / (len(nodes) + 1)) * (1 + 1e-12)


@given(st.lists(st.floats(0.1, 20), min_size=1, max_size=7), st.integers(1, 3))
def test_on_equal_nodes_lpt_keeps_grahams_factor(works, count):
    tasks, nodes = [Task(f"t{i}", work) for i, work in enumerate(works)], [Node(f"n{i}", 1) for i in range(count)]
    assert allocate(tasks, nodes).makespan_seconds <= optimum(tasks, nodes) * (4 / 3 - 1 / (3 * count)) * (1 + 1e-12)


@settings(max_examples=200)
@given(limited())
def test_every_limit_holds_and_the_bound_is_below_the_optimum_with_limits(case):
    tasks, nodes, limits = case
    best = optimum(tasks, nodes, **limits)
    if best is None:
        with pytest.raises(GateError):
            allocate(tasks, nodes, **limits)
        return
    try:
        result = allocate(tasks, nodes, **limits)
    except GateError as error:
        # LPT may miss an assignment, but must not claim that there is none
        if "there may be one" not in str(error):
            raise
        return
    assert broken_limits(tasks, nodes, result.node_of, **limits) == []
    assert result.lower_bound_seconds <= best * (1 + 1e-12)
    assert result.makespan_seconds >= best * (1 - 1e-12)


def test_the_check_of_limits_sees_a_broken_one():
    tasks = [Task("x", 1, 60), Task("y", 1, 0, "b"), Task("z", 1)]
    everything_on_b = {"x": "b", "y": "b", "z": "b"}
    assert broken_limits(tasks, NODES, everything_on_b, apart=[["y", "z"]]) == ["b", "apart"]
    assert broken_limits(tasks, NODES, {"x": "a", "y": "a", "z": "b"}, together=[["x", "z"]]) == ["y", "together"]


def test_lpt_takes_the_bulky_tasks_first_where_the_long_ones_first_end_in_a_corner():
    # by work alone p and q fill both nodes by half, and r finds no room
    tasks = [Task("p", 3, 5), Task("q", 2, 5), Task("r", 1, 10)]
    nodes = [Node("a", 1, 10), Node("b", 1, 10)]
    assert allocate(tasks, nodes).node_of["p"] == allocate(tasks, nodes).node_of["q"]


def test_nothing_better_than_a_task_alone_is_said_to_be_optimal():
    result = allocate([Task("long", 40), Task("short", 1)], NODES)
    assert (result.gap_percent, result.verdict, result.makespan_seconds) == (0, "optimal", 10)
    assert result.bound_by == "the largest tasks over the fastest nodes"


def test_the_explanation_has_the_numbers():
    result = allocate([Task("x", 4), Task("y", 3), Task("z", 3)], [Node("a", 1), Node("b", 1)])
    text = result.explain()
    for part in ("3 tasks on 2 nodes", "done in 6 s by LPT", "not below 6 s (two tasks share a node)", "gap at most 0 %", "optimal"):
        assert part in text


def test_work_of_zero_takes_no_time():
    result = allocate([Task("nothing", 0)], NODES)
    assert (result.makespan_seconds, result.gap_percent) == (0, 0)


@pytest.mark.parametrize(
    ("tasks", "limits", "message"),
    [
        ([Task("x", 1, 120)], {}, "x: 120 bytes do not fit any node; expected at most 100 bytes"),
        ([Task("x", 1, 60), Task("y", 1, 60)], {"together": [["x", "y"]]}, r"x \+ y: 120 bytes do not fit any node"),
        ([Task("x", 1, 0, "a"), Task("y", 1, 0, "b")], {"together": [["x", "y"]]}, "x, y must share a node, but are fixed to a, b"),
        ([Task(name, 1) for name in "xyz"], {"together": ["xy", "yz"], "apart": ["xz"]}, "some of them must share one"),
        ([Task("x", 1, 0, "a"), Task("y", 1, 0, "a")], {"apart": [["x", "y"]]}, "several are fixed to a"),
        ([Task(name, 1) for name in "wxyz"], {"apart": ["wxyz"]}, "4 tasks must not share a node, and there are 3 nodes"),
        ([Task("x", 1, 40, "b"), Task("y", 1, 40, "b")], {}, "the tasks fixed to b hold 80 bytes; expected at most 50 bytes"),
        ([Task(name, 1, 90) for name in "xyz"], {}, "the tasks hold 270 bytes, the nodes have 200; expected 70 bytes more"),
    ],
)  # fmt: skip
def test_limits_that_contradict_are_named(tasks, limits, message):
    with pytest.raises(GateError, match=message):
        allocate(tasks, NODES, **limits)


def test_all_contradictions_are_named_at_once():
    with pytest.raises(GateError) as caught:
        allocate([Task("x", 1, 120), Task("y", 1, 40, "b"), Task("z", 1, 40, "b")], NODES, apart=[["y", "z"]])
    assert [problem.path for problem in caught.value.problems] == ["allocation.apart", "allocation.tasks", "allocation.nodes.b"]


def test_every_mistake_in_the_input_is_named_at_once():
    with pytest.raises(InputError) as caught:
        allocate([Task("x", float("nan"), -1, "q"), Task("x", 1)], [Node("a", 0, -5)], together=[["k"]])
    expected = "tasks, nodes.a.capacity_per_second, nodes.a.memory_bytes, tasks.x.work, tasks.x.memory_bytes, tasks.x.node, together[0]"
    assert ", ".join(problem.path.removeprefix("allocation.") for problem in caught.value.problems) == expected


@pytest.mark.parametrize(("tasks", "nodes"), [([], NODES), ([Task("x", 1)], [])])
def test_no_tasks_or_no_nodes_are_refused(tasks, nodes):
    with pytest.raises(InputError, match="none; expected at least one"):
        allocate(tasks, nodes)


def test_more_pairs_than_can_be_looked_at_are_refused_at_once():
    nodes = [Node(f"n{i}", 1) for i in range(20_001)]
    with pytest.raises(InputError, match=r"at most 2e\+08 pairs"):
        allocate([Task("x", 1)] * 10_000, nodes)


@pytest.mark.parametrize("shape", [(100_000, 3), (2_000, 1_000)])
def test_many_tasks_or_many_nodes_are_answered(shape):
    count, size = shape
    works = np.random.default_rng(3).lognormal(0, 1, count).tolist()
    tasks = [Task(f"t{i}", work) for i, work in enumerate(works)]
    result = allocate(tasks, [Node(f"n{i}", 1 + i % 4) for i in range(size)], search=lambda *_: pytest.fail("too large to search"))
    assert len(result.node_of) == count
    assert result.gap_percent < 50


def test_a_search_that_fails_leaves_lpts_answer_with_its_own_gap():
    tasks, nodes = [Task(f"t{i}", work) for i, work in enumerate([3, 3, 2, 2, 2])], [Node("a", 1), Node("b", 1)]
    result = allocate(tasks, nodes, search=lambda *_: Searched(None, 0.0, "the solver died"))
    assert (result.makespan_seconds, result.found_by, result.verdict) == (7, "LPT", "the solver died")
    assert result.gap_percent == pytest.approx(100 / 7)


def test_ten_thousand_tasks_are_allocated():
    generator = np.random.default_rng(3)
    tasks = [Task(f"t{i}", float(work)) for i, work in enumerate(generator.lognormal(0, 1, 10_000))]
    nodes = [Node(f"n{i}", float(each)) for i, each in enumerate(generator.uniform(1, 4, 50))]
    assert allocate(tasks, nodes).gap_percent < 0.1


@needs_search
@settings(max_examples=40)
@given(plain())
def test_the_search_finds_the_optimum_and_proves_it(search, case):
    tasks, nodes = case
    result = allocate(tasks, nodes, search=search)
    assert result.makespan_seconds == pytest.approx(optimum(tasks, nodes), rel=2e-6)
    assert result.lower_bound_seconds <= optimum(tasks, nodes) * (1 + 1e-12)
    assert result.gap_percent < 1e-3
    assert result.makespan_seconds <= result.lpt_seconds


@needs_search
@settings(max_examples=60)
@given(limited())
def test_with_limits_the_search_finds_the_optimum_or_proves_that_there_is_none(search, case):
    tasks, nodes, limits = case
    best = optimum(tasks, nodes, **limits)
    if best is None:
        with pytest.raises(GateError) as caught:
            allocate(tasks, nodes, search=search, **limits)
        assert "there may be one" not in str(caught.value)
        return
    result = allocate(tasks, nodes, search=search, **limits)
    assert broken_limits(tasks, nodes, result.node_of, **limits) == []
    assert result.makespan_seconds == pytest.approx(best, rel=2e-6)
    assert result.lower_bound_seconds <= best * (1 + 1e-12)


@needs_search
def test_the_search_improves_on_lpt_and_says_so(search):
    # Graham's worst case for LPT on two equal nodes: 7 against 6
    tasks, nodes = [Task(f"t{i}", work) for i, work in enumerate([3, 3, 2, 2, 2])], [Node("a", 1), Node("b", 1)]
    result = allocate(tasks, nodes, search=search)
    assert (result.lpt_seconds, result.makespan_seconds, result.found_by) == (7, 6, "CP-SAT")
    assert result.explain().endswith("gap at most 0 %: optimal up to rounding; LPT: 7 s")


@needs_search
def test_limits_that_only_a_search_sees_through_are_proven_impossible(search):
    tasks = [Task("x", 1, 60), Task("y", 1, 60), Task("z", 1, 40)]
    nodes = [Node("a", 4, 100), Node("b", 2, 50), Node("c", 1, 50)]
    with pytest.raises(GateError, match="there may be one"):
        allocate(tasks, nodes)
    with pytest.raises(GateError, match=r"proven by a search.*160 bytes of tasks on nodes of 100, 50, 50 bytes"):
        allocate(tasks, nodes, search=search)


@needs_search
def test_the_search_finds_what_lpt_cannot(search):
    # two bins of ten, filled exactly by 6 + 4 and 5 + 3 + 2: no order of largest first leads there by finish times
    sizes = {"e": (1, 2), "d": (2, 3), "c": (3, 5), "b": (4, 4), "a": (5, 6)}
    tasks = [Task(name, work, memory) for name, (work, memory) in sizes.items()]
    result = allocate(tasks, [Node("x", 1, 10), Node("y", 100, 10)], search=search)
    assert result.node_of["a"] == result.node_of["b"]
    assert result.gap_percent < 1e-3


def test_what_is_too_large_for_a_search_is_not_searched(monkeypatch):
    monkeypatch.setattr(allocation_tasks, "MOST_CHOICES", 5)
    tasks = [Task("x", 3), Task("y", 2), Task("z", 2)]
    result = allocate(tasks, [Node("a", 1.1), Node("b", 1)], search=lambda *_: pytest.fail("searched"))
    assert (result.found_by, result.verdict) == ("LPT", "not searched: 6 choices are more than 5")
