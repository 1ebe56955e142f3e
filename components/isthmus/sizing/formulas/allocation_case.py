"""Tasks and nodes as the allocators see them: checked, tasks that belong together joined to one item, limits as arrays."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import GateError, InputError, Problem
from isthmus.sizing.formulas.checks import MOST_NAMED, refuse
from isthmus.sizing.formulas.filling import Floats

# Tasks times nodes; LPT looks at each pair once: some seconds at this limit.
MOST_PAIRS = 200_000_000
# What an int64 sum of them must hold; no node has an exbibyte.
MOST_MEMORY_BYTES = 2**60

_T = TypeVar("_T", bound="Node | Task")


@dataclass(frozen=True)
class Node:
    """capacity_per_second: units of work per second. memory_bytes: None means no limit."""

    name: str
    capacity_per_second: float
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Task:
    """work: in the units of the nodes' capacities. memory_bytes: held on its node. node: the node it is fixed to, if any."""

    name: str
    work: float
    memory_bytes: int = 0
    node: str | None = None


@dataclass(frozen=True)
class Case:
    """n items for m nodes. An item is one task, or several that must share a node.

    members: indices of the tasks in each item. work, memory: shape (n,). capacity, room: shape (m,); room in bytes.
    fixed: index of the node, or −1, shape (n,). apart: for each item, those that must not share its node.
    groups: the items of each `apart` group.
    """

    members: tuple[tuple[int, ...], ...]
    work: Floats
    memory: NDArray[np.int64]
    fixed: NDArray[np.int64]
    capacity: Floats
    room: NDArray[np.int64]
    apart: dict[int, frozenset[int]]
    groups: tuple[tuple[int, ...], ...]

    def loads(self, assignment: NDArray[np.int64]) -> Floats:
        """Seconds of work of each node, shape (m,), for a node index per item."""
        return np.bincount(assignment, weights=self.work, minlength=len(self.capacity)) / self.capacity

    def allowed(self, item: int) -> NDArray[np.bool_]:
        """The nodes that could take the item alone, shape (m,)."""
        nodes: NDArray[np.bool_] = self.room >= self.memory[item]
        if self.fixed[item] >= 0:
            nodes &= np.arange(len(self.room)) == self.fixed[item]
        return nodes


def case_of(
    tasks: Sequence[Task], nodes: Sequence[Node], together: Sequence[Collection[str]], apart: Sequence[Collection[str]], path: str
) -> Case:
    """The checked case.

    Raises:
        InputError: names that are unknown or used twice, numbers that make no sense, or too much to look at.
        GateError: limits that contradict each other; all that is found without a search.
    """
    _check_values(tasks, nodes, together, apart, path)
    task_at, node_at = {task.name: i for i, task in enumerate(tasks)}, {node.name: i for i, node in enumerate(nodes)}
    members = _joined(len(tasks), [[task_at[name] for name in group] for group in together])
    item_of = {task: item for item, group in enumerate(members) for task in group}
    groups = tuple(tuple(item_of[task_at[name]] for name in dict.fromkeys(group)) for group in apart)
    fixed = np.full(len(members), -1, dtype=np.int64)
    problems: list[Problem] = []
    for item, group in enumerate(members):
        wanted = {tasks[i].node for i in group} - {None}
        if len(wanted) > 1:
            names = ", ".join(tasks[i].name for i in group if tasks[i].node)
            problems.append(
                _clash(f"{path}.together", f"{names} must share a node, but are fixed to {', '.join(sorted(map(str, wanted)))}")
            )
        elif wanted:
            fixed[item] = node_at[str(wanted.pop())]
    neighbours: dict[int, set[int]] = {}
    for listed, items in zip(apart, groups, strict=True):
        names = ", ".join(listed)
        for i in items:
            neighbours.setdefault(i, set()).update(set(items) - {i})
        if len(set(items)) < len(items):
            problems.append(_clash(f"{path}.apart", f"{names} must not share a node, but some of them must share one"))
        elif len(items) > len(nodes):
            problems.append(_clash(f"{path}.apart", f"{len(items)} tasks must not share a node, and there are {len(nodes)} nodes"))
        on = fixed[list(items)]
        for node in {int(n) for n in on if n >= 0 and (on == n).sum() > 1}:
            problems.append(_clash(f"{path}.apart", f"{names} must not share a node, but several are fixed to {nodes[node].name}"))
    room = np.array([MOST_MEMORY_BYTES if node.memory_bytes is None else node.memory_bytes for node in nodes], dtype=np.int64)
    memory = np.array([sum(tasks[i].memory_bytes for i in group) for group in members], dtype=np.int64)
    case = Case(
        members=members,
        work=np.array([math.fsum(tasks[i].work for i in group) for group in members]),
        memory=memory,
        fixed=fixed,
        capacity=np.array([node.capacity_per_second for node in nodes], dtype=np.float64),
        room=room,
        apart={item: frozenset(others) for item, others in neighbours.items()},
        groups=groups,
    )
    problems += _memory_problems(case, tasks, nodes, path)
    if problems:
        raise GateError(problems[:MOST_NAMED])
    return case


def _check_values(
    tasks: Sequence[Task], nodes: Sequence[Node], together: Sequence[Collection[str]], apart: Sequence[Collection[str]], path: str
) -> None:
    if len(tasks) * len(nodes) > MOST_PAIRS:
        text = f"{len(tasks)} tasks on {len(nodes)} nodes"
        raise InputError([Problem(path, text, f"at most {MOST_PAIRS:g} pairs", "divide the work, or join small tasks to larger ones")])
    problems = [Problem(f"{path}.{name}", "none", "at least one") for name, given in (("tasks", tasks), ("nodes", nodes)) if not given]
    for kind, things in (("tasks", tasks), ("nodes", nodes)):
        problems += [Problem(f"{path}.{kind}", f"the name {name} is used twice", "names of their own") for name in _repeated(things)]
    for node in nodes:
        at, room = f"{path}.nodes.{node.name}", node.memory_bytes
        if not 1e-60 <= node.capacity_per_second <= 1e60:
            problems.append(Problem(f"{at}.capacity_per_second", f"a capacity of {node.capacity_per_second:g}", "a finite number > 0"))
        if room is not None and not 0 <= room <= MOST_MEMORY_BYTES:
            problems.append(Problem(f"{at}.memory_bytes", f"{room} bytes", f"0 to {MOST_MEMORY_BYTES}"))
    node_names, task_names = {node.name for node in nodes}, {task.name for task in tasks}
    total = 0
    for task in tasks:
        at, total = f"{path}.tasks.{task.name}", total + max(0, task.memory_bytes)
        if not (task.work == 0 or 1e-60 <= task.work <= 1e60):
            problems.append(Problem(f"{at}.work", f"work of {task.work:g}", "a finite number >= 0"))
        if not 0 <= task.memory_bytes <= MOST_MEMORY_BYTES:
            problems.append(Problem(f"{at}.memory_bytes", f"{task.memory_bytes} bytes", f"0 to {MOST_MEMORY_BYTES}"))
        if task.node is not None and task.node not in node_names:
            problems.append(Problem(f"{at}.node", f"there is no node {task.node}", f"one of {', '.join(sorted(node_names)[:10])}"))
    if total > MOST_MEMORY_BYTES:
        problems.append(Problem(f"{path}.tasks", f"{total} bytes in all", f"at most {MOST_MEMORY_BYTES}"))
    for kind, groups in (("together", together), ("apart", apart)):
        for i, group in enumerate(groups):
            problems += [
                Problem(f"{path}.{kind}[{i}]", f"there is no task {name}", "names of tasks") for name in group if name not in task_names
            ]
    refuse(problems[:MOST_NAMED], len(problems), path)


def _memory_problems(case: Case, tasks: Sequence[Task], nodes: Sequence[Node], path: str) -> Iterable[Problem]:
    largest, total, room = int(case.room.max()), int(case.memory.sum()), sum(map(int, case.room))
    for item in np.flatnonzero(case.memory > largest).tolist():
        names = " + ".join(tasks[i].name for i in case.members[item])
        text = f"{names}: {case.memory[item]} bytes do not fit any node"
        yield Problem(f"{path}.tasks", text, f"at most {largest} bytes, the largest node's", "add a larger node, or make the task smaller")
    for node in range(len(nodes)):
        held = int(case.memory[case.fixed == node].sum())
        if held > case.room[node]:
            text = f"the tasks fixed to {nodes[node].name} hold {held} bytes"
            yield Problem(f"{path}.nodes.{nodes[node].name}", text, f"at most {case.room[node]} bytes", "fix fewer tasks to it")
    if total > room:
        text = f"the tasks hold {total} bytes, the nodes have {room}"
        yield Problem(f"{path}.nodes", text, f"{total - room} bytes more", "add a node or memory")


def _joined(count: int, groups: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Disjoint sets: tasks that share a group, directly or through others, come into one item."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for group in groups:
        for i in group[1:]:
            parent[root(i)] = root(group[0])
    items: dict[int, list[int]] = {}
    for i in range(count):
        items.setdefault(root(i), []).append(i)
    return tuple(map(tuple, items.values()))


def _repeated(things: Sequence[_T]) -> list[str]:
    seen: set[str] = set()
    return [thing.name for thing in things if thing.name in seen or seen.add(thing.name)]  # type: ignore[func-returns-value]


def _clash(path: str, what: str) -> Problem:
    return Problem(path, what, "limits that agree with each other", "drop one of them")
