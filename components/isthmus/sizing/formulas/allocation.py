"""Formula 2 for divisible work: how much of one job each node gets.

Minimise the maximum of (a_i + t_i)/c_i over t with Σ t_i = T, t_i ≥ 0: c_i is node i's capacity, a_i what it still has to do
(zero at the start; the rest of its part when the work of a lost node is given out again). At the optimum all nodes that get
work finish together: t_i = max(0, c_i·τ − a_i), in proportion to c where nothing waits. Whole units are given out so that no
other split of whole units finishes earlier.

Units: work in units of any kind (rows, requests, frames), capacities in units per second, times in seconds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from isthmus.errors import GateError, InputError, Problem
from isthmus.sizing.formulas.checks import positive_numbers
from isthmus.sizing.formulas.filling import Floats, fill
from isthmus_agent.core.dividing import JUST_BELOW, give_out

# Units are counted in 64-bit numbers, and a float tells neighbours apart up to here.
MOST_UNITS = 2**53


@dataclass(frozen=True)
class DivisionPlan:
    """A split of divisible work, with what is predicted for it.

    All tuples have one entry a node, in the order of the input. parts: whole numbers from `divide_units`.
    makespan_seconds: when the last node is done. ideal_seconds: the same if units could be cut: no split is faster.
    rounding_loss_percent: makespan over ideal. equal_split_seconds: when an equal split would be done; None where a node's
    `most` forbids it. left_out: indices of the nodes that get nothing.
    """

    total: float
    capacities_per_second: tuple[float, ...]
    already: tuple[float, ...]
    parts: tuple[float, ...]
    makespan_seconds: float
    ideal_seconds: float
    rounding_loss_percent: float
    equal_split_seconds: float | None
    left_out: tuple[int, ...]

    def explain(self) -> str:
        """The arithmetic in one line (at most eight nodes are spelled out)."""
        shown = [f"{c:g}/s → {t:g}" for c, t in zip(self.capacities_per_second[:8], self.parts[:8], strict=True)]
        if len(self.parts) > len(shown):
            shown.append(f"… {len(self.parts)} nodes")
        text = f"formula 2: {self.total:g} units over {sum(self.capacities_per_second):g}/s: {', '.join(shown)}; done in "
        text += f"{self.makespan_seconds:.3g} s (rounding loses {self.rounding_loss_percent:.2g} %)"
        return text if self.equal_split_seconds is None else text + f"; equal split: {self.equal_split_seconds:.3g} s"


def divide_work(
    total: float,
    capacities_per_second: ArrayLike,
    *,
    already: ArrayLike | None = None,
    most: ArrayLike | None = None,
    path: str = "nodes",
) -> DivisionPlan:
    """The exact optimum for work that can be cut anywhere.

    Args:
        total: T ≥ 0, in units.
        capacities_per_second: c, shape (M,), M ≥ 1, each positive.
        already: a, units that each node still has to do, shape (M,); none by default.
        most: units that each node can take at most (its memory, say), shape (M,); no limit by default.
        path: property path of the nodes, for the messages.

    Raises:
        InputError: numbers that make no sense. GateError: `most` leaves no room for the total.
    """
    c, waiting, limit = _checked(total, capacities_per_second, already, most, path, whole=False)
    parts = fill(c, -waiting / c, np.zeros(len(c)), limit, float(total)).amounts
    return _plan(total, c, waiting, limit, parts=parts, ideal=parts, whole=False)


def divide_units(
    units: int,
    capacities_per_second: ArrayLike,
    *,
    already: ArrayLike | None = None,
    most: ArrayLike | None = None,
    path: str = "nodes",
) -> DivisionPlan:
    """The exact optimum in whole units: no other whole split is done earlier. Arguments and errors as `divide_work`.

    The loss against the ideal is less than M units over the whole capacity: Σ ⌊c_i·τ⌋ ≥ T for any τ ≥ (T + M)/Σ c.
    """
    if not isinstance(units, int) or isinstance(units, bool):
        raise InputError([Problem("units", f"{units} units", "a whole number", "use divide_work for work that can be cut")])
    c, waiting, limit = _checked(units, capacities_per_second, already, most, path, whole=True)
    ideal = fill(c, -waiting / c, np.zeros(len(c)), limit, float(units)).amounts
    # All units done by the ideal's end stay; of the others (fewer than M + 1) the one that is done first comes first.
    parts = [int(part) for part in np.floor(ideal * JUST_BELOW).tolist()]
    give_out(parts, units - sum(parts), c.tolist(), waiting.tolist(), limit.tolist())
    return _plan(units, c, waiting, limit, parts=np.array(parts, dtype=float), ideal=ideal, whole=True)


def _checked(
    total: float, capacities: ArrayLike, already: ArrayLike | None, most: ArrayLike | None, path: str, *, whole: bool
) -> tuple[Floats, Floats, Floats]:
    if not 0 <= total <= MOST_UNITS:
        raise InputError([Problem("total", f"{total:g} units of work", f"0 to {MOST_UNITS:g}", "correct it")])
    c = positive_numbers(capacities, f"{path}.capacities_per_second", "capacity in units per second")
    waiting = np.zeros(len(c)) if already is None else positive_numbers(already, f"{path}.already", "units of work", zero_too=True)
    limit = np.full(len(c), np.inf) if most is None else positive_numbers(most, f"{path}.most", "a limit in units", zero_too=True)
    for array, name in ((waiting, "already"), (limit, "most")):
        if len(array) != len(c):
            raise InputError([Problem(f"{path}.{name}", f"{len(array)} values for {len(c)} nodes", "one for each", "add or remove some")])
    if whole:
        limit = np.floor(limit)
    room = float(limit.sum())
    if room < total:
        raise GateError(
            [
                Problem(
                    f"{path}.most",
                    f"{total:g} units of work are to go to nodes that can take {room:g}",
                    f"room for {total - room:g} more",
                    "raise the limits, add a node, or give out less work",
                )
            ]
        )
    return c, waiting, limit


def _plan(total: float, c: Floats, waiting: Floats, limit: Floats, *, parts: Floats, ideal: Floats, whole: bool) -> DivisionPlan:
    makespan, best = float(((waiting + parts) / c).max()), float(((waiting + ideal) / c).max())
    equal = np.full(len(c), total / len(c))
    if whole:
        equal = np.floor(equal) + (np.arange(len(c)) < total % len(c))
    return DivisionPlan(
        total=total,
        capacities_per_second=tuple(c.tolist()),
        already=tuple(waiting.tolist()),
        parts=tuple(int(part) for part in parts) if whole else tuple(parts.tolist()),
        makespan_seconds=makespan,
        ideal_seconds=best,
        rounding_loss_percent=max(0.0, 100 * (makespan / best - 1)) if best > 0 else 0.0,
        equal_split_seconds=float(((waiting + equal) / c).max()) if (equal <= limit).all() else None,
        left_out=tuple(np.flatnonzero(parts == 0).tolist()),
    )
