"""A Markov decision process whose state is (place, cell), and whose action is the next place.

The place is where requests run now. The cell is what the choice does not move: network quality × own load × (thermal or battery
head-room). So the transition factors: the place goes where the action says, the cell goes by a matrix of its own. In one step a device
sees (p, x) and chooses q; it pays moving_cost[p, q, x] + serving_cost[q, x], and is in (q, x') with probability transition[x, x'].
(The order of Wang et al., arXiv 1506.05261: migrate, serve, then the user moves.) The optimal expected discounted cost solves

    V(p, x) = min over allowed q of  moving_cost[p, q, x] + serving_cost[q, x] + discount · Σ_x' transition[x, x'] · V(q, x')

P places, X cells; all arrays are float64 but `allowed`, and cannot be written to.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from isthmus.errors import InputError, Problem, property_path
from isthmus.limits import MIGRATION
from isthmus_agent.formats.policy import MOST_CELLS, MOST_PLACES

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Choices = NDArray[np.intp]

MOST_COST: Final = 1e9
"""A cost beyond it is a mistake; sums of smaller ones lose no digit that anyone reads."""
_ROW_TOLERANCE: Final = 1e-9
_SHOWN: Final = 5


@dataclass(frozen=True)
class Dimension:
    """One thing that is measured, cut into levels.

    name: such as `network`. levels: one word each, in the order of the measured number. edges: where one level ends and the next begins,
    one fewer than levels, rising; a value on an edge belongs to the upper level. unit: of the measured number. unmeasured: the level to
    assume until something was measured.
    """

    name: str
    levels: tuple[str, ...]
    edges: tuple[float, ...] = ()
    unit: str = ""
    unmeasured: int = 0


@dataclass(frozen=True, eq=False)
class Process:
    """The process, sound: one that is not cannot be made.

    places: names of the P places. dimensions: of the cell; the X cells are the product of their levels, the last dimension fastest.
    transition: (X, X), of the cells in one step; rows sum to 1. serving_cost: (P, X), of one step's requests in that place and cell.
    moving_cost: (P, P, X), from, to; staying costs nothing. allowed: (P, X), where requests may run. discount: in (0, 1), of one step.
    All costs are in one unit.

    Raises:
        InputError: everything that is wrong, at once.
    """

    places: tuple[str, ...]
    dimensions: tuple[Dimension, ...]
    transition: Numbers
    serving_cost: Numbers
    moving_cost: Numbers
    allowed: Flags
    discount: float

    def __post_init__(self) -> None:
        for name in _ARRAYS:
            object.__setattr__(self, name, _fixed(getattr(self, name), bool if name == "allowed" else float))
        problems = [*_problems(self)]
        if problems:
            raise InputError(problems)

    @property
    def shape(self) -> tuple[int, int]:
        """(P, X)."""
        return len(self.places), self.transition.shape[0]

    @property
    def levels(self) -> tuple[int, ...]:
        """How many each dimension has."""
        return tuple(len(it.levels) for it in self.dimensions)

    def cell(self, *levels: int) -> int:
        """The cell with these levels, one for each dimension."""
        return int(np.ravel_multi_index(levels, self.levels))

    def cell_levels(self, cell: int) -> tuple[int, ...]:
        """The levels of a cell, one for each dimension."""
        return tuple(int(it) for it in np.unravel_index(cell, self.levels))

    def cell_name(self, cell: int) -> str:
        """Such as `network good, load low`."""
        return ", ".join(f"{it.name} {it.levels[level]}" for it, level in zip(self.dimensions, self.cell_levels(cell), strict=True))


_ARRAYS: Final = ("transition", "serving_cost", "moving_cost", "allowed")


def product_transition(parts: Sequence[Numbers]) -> Numbers:
    """The cells' matrix where the dimensions move without regard to each other: the Kronecker product of theirs, first dimension first."""
    whole: Numbers = np.ones((1, 1))
    for part in parts:
        whole = np.asarray(np.kron(whole, part), dtype=np.float64)
    return whole


def stationary(transition: Numbers) -> Numbers:
    """The long-run share of each cell, (X,), of a stochastic matrix with one closed group of cells; exact to rounding.

    π(I − T) = 0 is one equation less than it looks: the last one gives way to Σπ = 1.
    """
    cells = len(transition)
    system, right = np.eye(cells) - transition.T, np.zeros(cells)
    system[-1], right[-1] = 1.0, 1.0
    shares = np.linalg.solve(system, right)
    found: Numbers = np.clip(shares, 0.0, None)
    found /= found.sum()
    return found


def reachable(transition: Numbers) -> Flags:
    """(X, X): whether a cell (row) leads to another (column), in any number of steps; each leads to itself."""
    found: Flags = (transition > 0) | np.eye(len(transition), dtype=bool)
    if found.all():
        return found
    for _ in range(math.ceil(math.log2(max(len(transition), 2)))):
        steps = found.astype(np.float32)
        found = (steps @ steps) > 0
    return found


def _fixed(value: Any, kind: type) -> Any:
    """An array of this kind that cannot be written to; what is no such array stays what it is, and is told below."""
    try:
        array = np.array(value)
        if kind is float and array.dtype.kind not in "iuf":  # a bool is no number
            return value
        if kind is bool and array.dtype.kind != "b":
            return value
        array = array.astype(np.float64 if kind is float else np.bool_)
    except (TypeError, ValueError, OverflowError):
        return value
    array.flags.writeable = False
    return array


def _problems(process: Process) -> Iterator[Problem]:
    structure = [*_name_problems(process), *_shape_problems(process)]
    yield from structure
    if structure:
        return  # what follows counts on the shapes
    yield from _transition_problems(process)
    yield from _cost_problems(process)
    yield from _dead_problems(process)


def _name_problems(process: Process) -> Iterator[Problem]:
    if not process.places or len(process.places) > MOST_PLACES:
        yield Problem("places", f"found {len(process.places)}", f"1 to {MOST_PLACES}")
    for name in sorted({it for it in process.places if process.places.count(it) > 1}):
        yield Problem("places", f"two places {name!r}", "different places")
    names = [it.name for it in process.dimensions]
    for name in sorted({it for it in names if names.count(it) > 1}):
        yield Problem("dimensions", f"two dimensions {name!r}", "different dimensions")
    for index, dimension in enumerate(process.dimensions):
        path = property_path(["dimensions", index])
        if not dimension.levels:
            yield Problem(f"{path}.levels", "is empty", "at least one level")
        if dimension.edges and len(dimension.edges) != len(dimension.levels) - 1:
            yield Problem(f"{path}.edges", f"found {len(dimension.edges)}", f"{len(dimension.levels) - 1}, one between two levels")
        if not all(math.isfinite(it) for it in dimension.edges) or any(a >= b for a, b in itertools.pairwise(dimension.edges)):
            yield Problem(f"{path}.edges", f"found {list(dimension.edges)}", "finite numbers that rise")
        if not 0 <= dimension.unmeasured < max(len(dimension.levels), 1):
            yield Problem(f"{path}.unmeasured", f"found {dimension.unmeasured}", "the number of a level, from 0")
    discount, limit = process.discount, MIGRATION["discount"]
    if isinstance(discount, bool) or not isinstance(discount, (int, float)) or not limit.allows(discount):
        yield Problem("discount", f"found {discount!r}", limit.range)


def _shape_problems(process: Process) -> Iterator[Problem]:
    places, cells = len(process.places), math.prod(process.levels)
    if cells > MOST_CELLS:
        yield Problem("dimensions", f"make {cells:,} cells", f"{MOST_CELLS:,} at most", "have fewer levels, or fewer dimensions")
    wanted = {
        "transition": (cells, cells),
        "serving_cost": (places, cells),
        "moving_cost": (places, places, cells),
        "allowed": (places, cells),
    }
    for name, shape in wanted.items():
        array = getattr(process, name)
        kind = "yes and no" if name == "allowed" else "numbers"
        if not isinstance(array, np.ndarray) or array.dtype != (np.bool_ if name == "allowed" else np.float64):
            yield Problem(name, f"found {type(array).__name__} that is no array of {kind}", f"{kind} of shape {shape}")
        elif array.shape != shape:
            yield Problem(name, f"has shape {array.shape}", f"{shape}")


def _transition_problems(process: Process) -> Iterator[Problem]:
    transition = process.transition
    sound = np.isfinite(transition) & (transition >= 0) & (transition <= 1 + _ROW_TOLERANCE)
    broken = ~sound.all(axis=1)
    for cell in _some(broken):
        found = transition[cell][~sound[cell]][0]
        yield Problem(property_path(["transition", cell]), f"holds {found:g} ({process.cell_name(cell)})", "probabilities, 0 to 1")
    sums = np.where(sound, transition, 0.0).sum(axis=1)
    for cell in _some(~broken & (np.abs(sums - 1) > _ROW_TOLERANCE)):
        yield Problem(
            property_path(["transition", cell]),
            f"sums to {sums[cell]:.12g} ({process.cell_name(cell)})",
            "1",
            "what a cell does in one step must be told in full",
        )
    if not broken.any():
        yield from _reach_problems(process)


def _reach_problems(process: Process) -> Iterator[Problem]:
    """Of cells that nothing leads to, and of groups of cells that never meet."""
    leads = reachable(process.transition)
    alone = len(leads) > 1 and ~(leads & ~np.eye(len(leads), dtype=bool)).any(axis=0)
    for cell in _some(alone):
        yield Problem(
            property_path(["transition", cell]),
            f"no cell leads to this one ({process.cell_name(cell)})",
            "cells that can be reached",
            "leave the level out, or say how a device comes to it",
        )
    closed = (leads <= leads.T).all(axis=1)  # all that it leads to lead back
    groups = np.unique(leads[closed], axis=0)
    if len(groups) > 1:
        named = " and ".join(process.cell_name(int(np.flatnonzero(group)[0])) for group in groups[:2])
        yield Problem(
            "transition",
            f"falls into {len(groups)} groups of cells that never lead to each other ({named})",
            "cells that all lead to one group",
            "say how a device comes from one to the other, or solve each by itself",
        )


def _cost_problems(process: Process) -> Iterator[Problem]:
    serving, moving = process.serving_cost, process.moving_cost
    wrong = ~(np.isfinite(serving) & (np.abs(serving) <= MOST_COST))
    for place, cell in itertools.islice(np.argwhere(wrong), _SHOWN):
        yield Problem(property_path(["serving_cost", int(place), int(cell)]), f"found {serving[place, cell]:g}", _COSTS)
    wrong = ~(np.isfinite(moving) & (moving >= 0) & (moving <= MOST_COST))
    for before, after, cell in itertools.islice(np.argwhere(wrong), _SHOWN):
        where = property_path(["moving_cost", int(before), int(after), int(cell)])
        yield Problem(where, f"found {moving[before, after, cell]:g}", f"0 to {MOST_COST:g}")
    for place in np.flatnonzero(moving[np.arange(len(moving)), np.arange(len(moving))].any(axis=1)):
        yield Problem(property_path(["moving_cost", int(place), int(place)]), "staying costs something", "0, or make it part of serving")


_COSTS: Final = f"a finite number, {MOST_COST:g} at most on either side of 0"


def _dead_problems(process: Process) -> Iterator[Problem]:
    for cell in _some(~process.allowed.any(axis=0)):
        yield Problem(
            property_path(["allowed", 0, cell]),
            f"no place is allowed in cell {cell} ({process.cell_name(cell)})",
            "one at least",
            "requests must run somewhere: allow the device",
        )


def _some(flags: Any) -> Iterator[int]:
    """Where these, (n,), are true: the first few."""
    return (int(it) for it in np.flatnonzero(flags)[:_SHOWN])
