"""The best policy of a decision process, with a bound on what it misses; and what any policy costs, exactly.

Modified policy iteration (Puterman and Shin 1978): a sweep of value iteration, which gives a greedy policy, then some sweeps of that policy
alone. For any V, with TV the sweep of V, π greedy for V, and d = TV − V (MacQueen 1966; Puterman 1994, proposition 6.6.2):

    TV + discount/(1 − discount)·min d  ≤  V*  ≤  Vπ  ≤  TV + discount/(1 − discount)·max d

So π costs at most discount/(1 − discount)·(max d − min d) more than the best policy, in every state: the sweeps stop where that is small.
The policy found is then evaluated exactly, and the residual of its own value bounds once more, by other arithmetic, what it misses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from isthmus.migration.process import Choices, Numbers, Process

PARTIAL_SWEEPS: Final = 20
"""Of the greedy policy after each full one. Any number is right; this one was the fastest on processes with 4,200 states."""
MOST_SWEEPS: Final = 10_000
MOST_SOLVED: Final = 4000
"""Unknowns of the dense linear system; what has more is swept until nothing changes but the last digits."""
_SWEEPS_WORTH: Final = 700
"""So many sweeps are made until then, roughly: a system whose n³ is more work than they are is swept as well."""
_TIE: Final = 1e-9
"""Of the largest value: what differs by less is taken as equal, and then staying wins."""


@dataclass(frozen=True, eq=False)
class Solution:
    """A policy and what it costs.

    next_place: (P, X), the index of the place to be in. value: (P, X), its expected discounted cost, exact to rounding. misses: no policy
    is cheaper by more than this, in any state. sweeps: full ones that were made. margin: what a move must gain at least, see `with_margin`.
    """

    next_place: Choices
    value: Numbers
    misses: float
    sweeps: int
    margin: float = 0.0


def solve(process: Process, tolerance: float = 1e-6) -> Solution:
    """The best policy, to within `tolerance` in units of cost (of the largest value, where that is more than 1), in every state.

    Where two places are equally good, staying wins, and after it the place that is named first.
    """
    model = _Model(process)
    value = model.start()
    sweeps, policy = 0, model.stays
    while sweeps < MOST_SWEEPS:
        swept, policy = model.sweep(value)
        sweeps += 1
        change = swept - value
        least, most = float(change.min()), float(change.max())
        ahead = process.discount / (1 - process.discount)
        if ahead * (most - least) <= tolerance * max(1.0, float(np.abs(swept).max())):
            break
        value = swept + ahead * (least + most) / 2  # between the bounds: the constant part needs no sweeps
        step = model.under(policy)
        for _ in range(PARTIAL_SWEEPS):
            value = step(value)
    return _found(model, policy, sweeps, value)


def evaluate(process: Process, next_place: Choices) -> Numbers:
    """(P, X), the expected discounted cost of a policy, exact to rounding. Raises ValueError where it goes where it may not."""
    return _Model(process).value_of(next_place)


def solution_of(process: Process, next_place: Choices) -> Solution:
    """Any policy, with its exact cost and the bound on what it misses. Raises ValueError where it goes where it may not."""
    return _found(_Model(process), next_place, 0)


def with_margin(process: Process, best: Solution, margin: float) -> Solution:
    """The policy that moves only where it gains more than `margin` by it, or must.

    Every choice of it is within `margin` of the best one, so it costs at most margin/(1 − discount) more than the best policy; what it
    does cost is in its value. Among cells that a device crosses again and again it moves less often.
    """
    model = _Model(process)
    choices = model.choices(best.value)
    stay = np.take_along_axis(choices, model.stays[None], axis=0)[0]
    policy = np.where(stay - choices.min(axis=0) <= margin, model.stays, best.next_place)
    found = _found(model, policy, best.sweeps)
    return Solution(policy, found.value, found.misses, best.sweeps, margin)


class _Model:
    """A process as the sweeps want it. A place where requests may not run costs infinity."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.serving = np.where(process.allowed, process.serving_cost, np.inf)
        self.moving = np.ascontiguousarray(process.moving_cost.transpose(1, 0, 2))  # (to, from, X): the least over `to` is by whole planes
        self.forward = np.ascontiguousarray(process.transition.T) * process.discount
        places, cells = process.shape
        self.stays: Choices = np.repeat(np.arange(places)[:, None], cells, axis=1)
        self._cells = np.arange(cells)[None, :]

    def start(self) -> Numbers:
        """What it would cost to stay in each place and cell for ever: where sweeps begin."""
        return np.where(np.isfinite(self.serving), self.serving, 0.0) / (1 - self.process.discount)

    def choices(self, value: Numbers) -> Numbers:
        """(to, from, X): the cost of each choice, and of what comes after it by `value`."""
        found: Numbers = self.moving + (self.serving + value @ self.forward)[:, None, :]
        return found

    def sweep(self, value: Numbers) -> tuple[Numbers, Choices]:
        """One step of value iteration, and the greedy policy."""
        choices = self.choices(value)
        best = choices.min(axis=0)
        near = best + _TIE * max(1.0, float(np.abs(best).max()))
        stay = np.take_along_axis(choices, self.stays[None], axis=0)[0]
        policy = np.where(stay <= near, self.stays, (choices <= near).argmax(axis=0))
        return best, policy

    def under(self, policy: Choices) -> Callable[[Numbers], Numbers]:
        """One step of value iteration under a policy. What does not depend on the value is looked up once."""
        move = self.moving[policy, self.stays, self._cells]
        goes_to = policy * self.serving.shape[1] + self._cells

        def step(value: Numbers) -> Numbers:
            after = value @ self.forward
            after += self.serving
            found: Numbers = after.take(goes_to) + move
            return found

        return step

    def value_of(self, policy: Choices, near: Numbers | None = None) -> Numbers:
        """The exact value of a policy. near: from where sweeps begin, where the policy chooses too many (q, x) for a linear system.

        A move costs once; what comes after it depends only on where the device is then. So the unknowns are the values after the choice,
        W(q, x) = serving(q, x) + discount·Σ T(x, x')·[moving(q, π(q, x'), x') + W(π(q, x'), x')], for those (q, x) that the policy chooses
        anywhere: often a few hundred of thousands of states.
        """
        policy = np.asarray(policy, dtype=np.intp)
        if policy.shape != self.stays.shape or not np.isfinite(self.serving[policy, self._cells]).all():
            raise ValueError("a policy that goes where requests may not run, or of another shape")
        places, cells = policy.shape
        chosen = np.zeros((places, cells), dtype=bool)
        chosen[policy, self._cells] = True
        number = np.cumsum(chosen).reshape(chosen.shape) - 1
        unknowns = int(chosen.sum())
        if unknowns > MOST_SOLVED or unknowns**3 > _SWEEPS_WORTH * places * cells**2:
            return self._settled(policy, near)
        move = self.moving[policy, self.stays, self._cells]
        where, cell = np.nonzero(chosen)
        ahead = self.forward.T[cell]  # (unknowns, X)
        goes_to = number[policy, self._cells][where]  # (unknowns, X): a pair for each next cell, so that none stands twice in a row
        system = np.eye(unknowns)
        system[np.arange(unknowns)[:, None], goes_to] -= ahead
        after = np.linalg.solve(system, self.serving[where, cell] + (ahead * move[where]).sum(axis=1))
        found: Numbers = move + after[number[policy, self._cells]]
        return found

    def _settled(self, policy: Choices, near: Numbers | None) -> Numbers:
        """The value by sweeps, each shifted between its bounds, until only rounding is left."""
        value = self.start() if near is None else near
        ahead = self.process.discount / (1 - self.process.discount)
        step, before = self.under(policy), np.inf
        for _ in range(MOST_SWEEPS * 10):
            swept = step(value)
            change = swept - value
            span = float(change.max() - change.min())
            value = swept + ahead * float(change.max() + change.min()) / 2
            size = max(1.0, float(np.abs(value).max()))
            is_rounding = span >= before and ahead * span < 1e-9 * size
            if is_rounding or ahead * span <= 1e-13 * size:
                break
            before = span
        return value


def _found(model: _Model, policy: Choices, sweeps: int, near: Numbers | None = None) -> Solution:
    """With its exact value. V − V* ≤ max(V − TV)/(1 − discount), in every state."""
    value = model.value_of(policy, near)
    residual = float((value - model.choices(value).min(axis=0)).max())
    return Solution(policy, value, max(residual, 0.0) / (1 - model.process.discount), sweeps)
