"""Floors that no learner goes below: how sure answers must be and how many may be late, as places that are not allowed.

A floor is kept by what is known beforehand (the release's record, the profile of the network's level), never by trial: a place that would
break it in a cell is no choice there, neither when a policy is solved nor when it is explored.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from isthmus.errors import InputError, Problem, property_path
from isthmus.migration.process import Flags, Numbers, Process


@dataclass(frozen=True)
class Floors:
    """least_accuracy: share of answers that must be right. most_late: share that may miss their deadline."""

    least_accuracy: float = 0.0
    most_late: float = 1.0


def within(process: Process, floors: Floors, accuracy: Numbers, late: Numbers) -> Process:
    """The process in which only places that keep the floors are allowed.

    accuracy, late: (P, X), shares, of the answers in each place and cell.

    Raises:
        InputError: cells in which no place keeps them, and shares that are none; all of them at once.
    """
    problems = [*_share_problems(process, {"accuracy": accuracy, "late": late})]
    if problems:
        raise InputError(problems)
    keeps = process.allowed & (accuracy >= floors.least_accuracy) & (late <= floors.most_late)
    problems = [*_cell_problems(process, floors, keeps, accuracy, late)]
    if problems:
        raise InputError(problems)
    return replace(process, allowed=keeps)


def _share_problems(process: Process, tables: dict[str, Numbers]) -> Iterator[Problem]:
    for name, table in tables.items():
        if table.shape != process.shape:
            yield Problem(name, f"has shape {table.shape}", f"{process.shape}, places and cells")
        elif not ((table >= 0) & (table <= 1)).all():  # not a number is neither
            place, cell = np.argwhere(~((table >= 0) & (table <= 1)))[0]
            yield Problem(property_path([name, int(place), int(cell)]), f"found {table[place, cell]:g}", "a share, 0 to 1")


def _cell_problems(process: Process, floors: Floors, keeps: Flags, accuracy: Numbers, late: Numbers) -> Iterator[Problem]:
    for cell in np.flatnonzero(~keeps.any(axis=0)).tolist():
        best = int(np.where(process.allowed[:, cell], accuracy[:, cell] - late[:, cell], -np.inf).argmax())
        yield Problem(
            property_path(["allowed", 0, cell]),
            f"no place keeps the floors in cell {cell} ({process.cell_name(cell)}): {process.places[best]} comes nearest,"
            f" with {accuracy[best, cell]:.4g} right and {late[best, cell]:.4g} late",
            f"{floors.least_accuracy:g} right at least, {floors.most_late:g} late at most",
            "lower the floor, or allow a place that keeps it",
        )
