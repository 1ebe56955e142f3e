"""The learner without a model: values of places, learned from what came and what it cost, within safe bounds.

After a choice nothing but the place and the cell matters, so that what is learned are the values after the choice (post-decision states:
Powell 2011, chapter 4; Mastronarde and van der Schaar 2011),

    Q(p, x, q) = moving_cost(p, q, x) + C(q, x) + discount·W(q, x),      W(q, x) = E[min over r of Q(q, x', r)].

The cell goes its way whatever is chosen: from one step x → x', W(q, x) is learned for all places q at once. C(q, x) is learned only for the
place that was chosen, which is why exploring is needed. Steps are 1/n until they reach `least_step`, so that what drifts is followed.

Bounds. Only places that the process allows are chosen, explored or not; `floors.within` leaves those that keep the floors. And a place q
is explored only where a wrong choice costs `most_wrong` at most. Against choosing g, the best by Q, it costs more in this step, and in the
next one to go wherever g would have led, at its worst

    moving_cost(p, q, x) + upper(q, x) - moving_cost(p, g, x) - lower(g, x)
        + max over r, x' of [moving_cost(q, r, x') - moving_cost(g, r, x')]

upper and lower are what a step can cost: the plan's costs, with a margin of `cost_margin` of them.
"""

from dataclasses import dataclass

import numpy as np

from isthmus.migration.process import Choices, Numbers, Process
from isthmus.migration.solve import solve


@dataclass(frozen=True)
class Explored:
    """How a learner explores.

    share: of the steps. most_wrong: what one may cost more than it should, in the process's unit; 0: none that could cost anything.

    cost_margin: by which share the plan's costs may be wrong. least_step: of learning, 0 … 1. prior_weight: of the plan's values, in
    visits.
    """

    share: float = 0.05
    most_wrong: float = 150.0
    cost_margin: float = 0.5
    least_step: float = 0.03
    prior_weight: float = 20.0


class SafeQ:
    """Learns on one device's stream. process: the plan's, with only those places allowed that keep the floors.

    explored: how often another place than the best was chosen.
    """

    def __init__(self, process: Process, settings: Explored | None = None, seed: int = 0) -> None:
        self._settings = settings or Explored()
        self._process = process
        self._generator = np.random.default_rng(seed)
        self.explored = 0
        self._cost = np.array(process.serving_cost)
        self._after: Numbers = solve(process).value @ process.transition.T
        self._cost_visits = np.full(process.shape, self._settings.prior_weight)
        self._after_visits = np.full(process.shape[1], self._settings.prior_weight)
        self._barred = np.where(process.allowed, 0.0, np.inf)
        self._wrong = wrong_costs(process, self._settings.cost_margin)

    def place(self, place: int, cell: int) -> int:
        """Where to be next: the best by Q, or one that is explored."""
        best = int(self._choices(cell)[place].argmin())
        if self._generator.random() >= self._settings.share:
            return best
        others = self.safe(place, best, cell)
        if not others:
            return best
        self.explored += 1
        return others[int(self._generator.integers(len(others)))]

    def safe(self, place: int, best: int, cell: int) -> list[int]:
        """The places that may be explored instead of the best one."""
        bounded = (self._wrong[place, best, :, cell] <= self._settings.most_wrong) & self._process.allowed[:, cell]
        return [it for it in np.flatnonzero(bounded).tolist() if it != best]

    def saw(self, place: int, cell: int, chosen: int, cost: float, following: int) -> None:
        """One step: in that place and cell another was chosen, it cost so much (serving, without moving), and that cell followed."""
        self._cost_visits[chosen, cell] += 1
        step = max(1 / self._cost_visits[chosen, cell], self._settings.least_step)
        self._cost[chosen, cell] += step * (cost - self._cost[chosen, cell])
        self._after_visits[cell] += 1
        step = max(1 / self._after_visits[cell] ** 0.7, self._settings.least_step)
        self._after[:, cell] += step * (self._choices(following).min(axis=1) - self._after[:, cell])

    @property
    def policy(self) -> Choices:
        """(P, X), the best places by what was learned."""
        after = self._cost + self._process.discount * self._after + self._barred
        found: Choices = (self._process.moving_cost + after[None]).argmin(axis=1)
        return found

    def _choices(self, cell: int) -> Numbers:
        """(P, P), from, to: Q in this cell."""
        after = self._cost[:, cell] + self._process.discount * self._after[:, cell] + self._barred[:, cell]
        found: Numbers = self._process.moving_cost[:, :, cell] + after[None, :]
        return found


def wrong_costs(process: Process, margin: float) -> Numbers:
    """(P, P, P, X), from, best, explored: what a step in the explored place costs more than one in the best, with the way on, at most."""
    moving, serving = process.moving_cost, process.serving_cost
    upper, lower = serving + margin * np.abs(serving), serving - margin * np.abs(serving)
    back = (moving[None] - moving[:, None]).max(axis=(2, 3))  # (best, explored): to any place, at the worst
    there = moving + upper[None]  # (from, explored, X)
    stayed = moving + lower[None]  # (from, best, X)
    found: Numbers = there[:, None] + back[None, :, :, None] - stayed[:, :, None]
    return found
