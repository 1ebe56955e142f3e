"""The learner that counts: beliefs about the cells' transitions, and the exact policy for them, solved again where that pays.

The cell goes its way whatever is chosen, so each step teaches the same about the transitions, wherever requests run: there is nothing to
explore. Certainty equivalence (`mean`) therefore loses nothing by not exploring; posterior sampling (`thompson`: PSRL, Strens 2000; Osband,
Russo and Van Roy 2013) and optimism (`optimistic`: UCRL2, Jaksch et al. 2010) are here for cells that a place hides, and to be compared.

Solved again: when the model in use is refuted by what came (`beliefs.Change`), and every `look_steps`, if over the steps until the next
look the policy is expected to lose more than `solve_cost`: the states that were lately visited, times what each loses by its next choice.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from isthmus.migration.learning.backups import losses
from isthmus.migration.learning.beliefs import MEMORIES, Beliefs, Change, Memory
from isthmus.migration.learning.optimism import distances, optimistic
from isthmus.migration.process import Choices, Numbers, Process
from isthmus.migration.solve import solve

Choice = Literal["mean", "thompson", "optimistic"]


@dataclass(frozen=True)
class Counted:
    """How a learner counts.

    prior_weight: what the plan's transitions count for, in transitions a row. share: of all memories' weights, how much is spread anew each
    step. false_alarm_steps: between two false alarms, at least, on average. look_steps: between two looks whether solving pays. solve_cost:
    in the process's unit. optimism: multiplies UCRL2's distances; 1 is what its theory asks for.
    """

    choice: Choice = "mean"
    memories: tuple[Memory, ...] = MEMORIES
    prior_weight: float = 20.0
    share: float = 0.002
    false_alarm_steps: float = 2000.0
    look_steps: int = 100
    solve_cost: float = 5.0
    optimism: float = 0.1


class Counting:
    """Learns on one device's stream. process: the plan's. seed: only `thompson` draws anything.

    solved: how often a policy was solved, the first time included. alarms: how often a model in use was refuted.
    """

    def __init__(self, process: Process, counted: Counted | None = None, seed: int = 0) -> None:
        self._counted = counted or Counted()
        self._process = process
        self.beliefs = Beliefs(process, self._counted.memories, self._counted.prior_weight, self._counted.share)
        self._generator = np.random.default_rng(seed)
        self._visited = np.zeros(process.shape)
        self._since_look = 0
        self.solved = self.alarms = 0
        self._solve(process.transition)

    def place(self, place: int, cell: int) -> int:
        """Where to be next, in this place and cell."""
        return int(self._next_place[place, cell])

    def saw(self, place: int, cell: int, chosen: int, cost: float, following: int) -> None:
        """One step: in that place and cell another was chosen, it cost so much, and that cell followed. The cost teaches nothing here."""
        self._visited[place, cell] += 1
        refuted = self._change.saw(cell, following, self.beliefs.add(cell, following))
        self._since_look += 1
        if refuted or self._since_look >= self._counted.look_steps:
            self._look(refuted)

    @property
    def policy(self) -> Choices:
        """(P, X), in use."""
        return self._next_place

    def _look(self, refuted: bool) -> None:
        mean = self.beliefs.mean()
        lost = (self._visited * losses(self._process, mean, self._value, self._next_place)).sum()
        expected = lost / self._visited.sum() * self._counted.look_steps
        self._visited *= 0.5
        self._since_look = 0
        self.alarms += refuted
        if refuted or expected > self._counted.solve_cost or self._counted.choice == "thompson":
            self._solve(mean)

    def _solve(self, mean: Numbers) -> None:
        process = replace(self._process, transition=self.beliefs.drawn(self._generator) if self._counted.choice == "thompson" else mean)
        if self._counted.choice == "optimistic":
            distance = distances(self.beliefs.visits(), scale=self._counted.optimism)
            self._next_place, self._value = optimistic(process, distance)
        else:
            solution = solve(process)
            self._next_place, self._value = solution.next_place, solution.value
        self._change = Change(mean, self._counted.false_alarm_steps)
        self.solved += 1
