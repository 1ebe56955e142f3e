"""A class's policy solved anew from what its devices have counted: documents sorted, the process learned, and what the new policy gains.

The order: `documents` reads what there is, once for all classes; `learned` makes a class's process of it; `study.solved_of` solves that;
`Learned.of` compares. Without documents of a class nothing is learned of it, and its process is the plan's, to the last digit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from isthmus.migration.costs import Built
from isthmus.migration.learning.merging import learned_process
from isthmus.migration.policy_file import frame
from isthmus.migration.process import Process, stationary
from isthmus.migration.rivals import expected
from isthmus.migration.situation import Situation
from isthmus.migration.solve import evaluate
from isthmus.migration.study import Solved
from isthmus_agent.formats import told_counts
from isthmus_agent.formats.experience import Experience, meaning_of, read
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.report import printable

MOST_CHANGES: Final = 5
"""Transitions that are shown."""
_SHOWN: Final = 3


@dataclass(frozen=True)
class Documents:
    """What devices have told. by_device: what could be read. broken: why the others could not, by device, in printable ASCII."""

    by_device: Mapping[str, Experience]
    broken: Mapping[str, str]

    @property
    def warning(self) -> str:
        """Of those that could not be read; empty where all could."""
        if not self.broken:
            return ""
        some = [f"{name}: {why}" for name, why in sorted(self.broken.items())[:_SHOWN]]
        more = len(self.broken) - len(some)
        total = len(self.by_device) + len(self.broken)
        which = "; ".join([*some, *([f"and {more} more"] if more else [])])
        return f"{len(self.broken)} of {total} devices' counts could not be read, and are left out: {which}"


def documents(contents: Mapping[str, bytes]) -> Documents:
    """Contents, by device (or file), as documents; with or without what the store's objects have around them. Never raises."""
    by_device, broken = {}, {}
    for name, content in sorted(contents.items()):
        try:
            by_device[name] = read(told_counts.document_in(content))
        except FormatError as error:
            broken[name] = printable(str(error))
    return Documents(by_device, broken)


@dataclass(frozen=True)
class Change:
    """A transition that devices saw more or less often than the plan has it. before, after: cells, in words. Probabilities of one step."""

    before: str
    after: str
    planned: float
    learned: float


@dataclass(frozen=True, eq=False)
class Knowledge:
    """A class's process as its devices have seen it. looks: transitions that counted, from so many devices. others: documents of this class
    that were counted under a policy with other cells."""

    built: Built
    devices: int
    looks: int
    others: int


def learned(built: Built, device_class: str, told: Documents) -> Knowledge:
    """The process of a class with what its devices have told. built: the plan's."""
    own, others = _own(built.situation, built.process, device_class, told)
    if not own:
        return Knowledge(built, 0, 0, others)
    meaning = next(iter(own.values())).meaning
    merged = learned_process(built.process, meaning, {name: [it] for name, it in own.items()})
    return Knowledge(replace(built, process=merged.process), merged.devices, merged.transitions, others)


def _own(situation: Situation, process: Process, device_class: str, told: Documents) -> tuple[dict[str, Experience], int]:
    """The class's documents over these cells, whatever places they were counted under: a device may reach fewer than a file names."""
    meaning, cells = meaning_of(frame(device_class, situation)), process.shape[1]
    found, others = {}, 0
    for name, it in told.by_device.items():
        if it.device_class != device_class:
            continue
        if it.meaning == meaning and it.cells == cells:
            found[name] = replace(it, places=process.shape[0])
        else:
            others += 1
    return found, others


@dataclass(frozen=True)
class Learned:
    """What devices' counts change. planned_cost, cost: of a request, in ms, under the plan's policy and under the new one, as the cells go
    by what was learned. choices: of so many states, in which the two differ."""

    devices: int
    looks: int
    others: int
    planned_cost: float
    cost: float
    choices: int
    changes: tuple[Change, ...]

    @classmethod
    def of(cls, planned: Solved, found: Solved, knowledge: Knowledge) -> "Learned":
        """Both policies under the learned process. found: solved from what was learned."""
        process = found.built.process
        under = expected(process, evaluate(process, planned.chosen.next_place)) / found.requests
        differ = int((planned.chosen.next_place != found.chosen.next_place).sum())
        changes = _changes(planned.built.process, process)
        return cls(knowledge.devices, knowledge.looks, knowledge.others, under, found.cost, differ, changes)

    @property
    def gain(self) -> float:
        """The share of the planned policy's cost that the new one saves."""
        return 1 - self.cost / self.planned_cost if self.planned_cost else 0.0

    def data(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "devices": self.devices,
            "looks": self.looks,
            "of_other_cells": self.others,
            "planned_policy_ms": self.planned_cost,
            "cost_ms": self.cost,
            "other_choices": self.choices,
            "transitions": [{"before": it.before, "after": it.after, "planned": it.planned, "learned": it.learned} for it in self.changes],
        }


def _changes(planned: Process, found: Process) -> tuple[Change, ...]:
    """Those that changed most, by how often they come about: the long-run share of the cell before, times the difference."""
    weight = stationary(found.transition)[:, None] * np.abs(found.transition - planned.transition)
    largest = np.argsort(-weight.ravel(), kind="stable")[:MOST_CHANGES]
    cells = [divmod(int(it), len(weight)) for it in largest if weight.ravel()[it] > 0]
    return tuple(
        Change(found.cell_name(a), found.cell_name(b), float(planned.transition[a, b]), float(found.transition[a, b])) for a, b in cells
    )
