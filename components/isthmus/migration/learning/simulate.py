"""What each way to decide costs on a trace, step by step, all on the same cells and scores."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from isthmus.migration.learning.backups import foreseeing
from isthmus.migration.learning.rivals import H2T2
from isthmus.migration.learning.stream import PLACES, UNSURE, Stream
from isthmus.migration.learning.traces import Trace
from isthmus.migration.process import Choices, Flags, Numbers

HOME = 0
"""Where requests run before the first step: on the device."""


class Learner(Protocol):
    """Whoever decides step by step."""

    def place(self, place: int, cell: int) -> int:
        """Where to be next, in this place and cell."""

    def saw(self, place: int, cell: int, chosen: int, cost: float, following: int) -> None:
        """One step: there and then another place was chosen, serving cost so much, and that cell followed."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """One seed of a trace. cells: (steps + 1,). scores: (steps,), as levels."""

    cells: Choices
    scores: Choices


def drawn(stream: Stream, trace: Trace, seed: int) -> Drawn:
    """The cells and scores of a seed."""
    cells = trace.cells(seed)
    return Drawn(cells, stream.score_levels(cells[:-1], seed + 1_000_003))


def learned(stream: Stream, it: Drawn, learner: Learner) -> tuple[Numbers, Choices]:
    """(steps,), the costs of each step of a learner, and the places it chose."""
    cells, moving = it.cells.tolist(), stream.process.moving_cost
    served = stream.cost[:, it.cells[:-1], it.scores].T.tolist()
    place, costs, places = HOME, [], []
    for step, cost in enumerate(served):
        cell = cells[step]
        chosen = learner.place(place, cell)
        costs.append(cost[chosen] + (float(moving[place, chosen, cell]) if chosen != place else 0.0))
        learner.saw(place, cell, chosen, cost[chosen], cells[step + 1])
        place = chosen
        places.append(place)
    return np.array(costs), np.array(places, dtype=np.intp)


def chosen_by(stream: Stream, it: Drawn, next_place: Choices) -> Numbers:
    """(steps,), the costs of a policy: (P, X), or (steps, P, X) where it has its own for each step."""
    cells = it.cells[:-1]
    by_step = next_place[:, :, :][np.arange(len(cells)), :, cells] if next_place.ndim == 3 else next_place[:, cells].T
    place, places = HOME, []
    for row in by_step.tolist():
        place = row[place]
        places.append(place)
    return _of_places(stream, it, np.array(places, dtype=np.intp))


def always(stream: Stream, it: Drawn, place: int) -> Numbers:
    """(steps,), the costs of one place."""
    return _of_places(stream, it, np.full(len(it.scores), place, dtype=np.intp))


def thresholds(stream: Stream, it: Drawn, offloads: Flags) -> Numbers:
    """(steps,), the costs of the device that asks the cloud for these scores, whatever the cell."""
    costs = stream.threshold_cost(offloads)[it.cells[:-1], it.scores]
    return _with_connection(stream, it.cells, costs)


def h2t2(stream: Stream, seeds: list[Drawn], explore: float, rate: float) -> Numbers:
    """(seeds, steps), the costs of H2T2, a run for each seed."""
    cells, scores = np.stack([it.cells[:-1] for it in seeds], axis=1), np.stack([it.scores for it in seeds], axis=1)
    rule = H2T2(stream, len(seeds), explore, rate)
    costs = np.stack([rule.step(*now) for now in zip(cells, scores, strict=True)], axis=1)
    return np.stack([_with_connection(stream, it.cells, row) for it, row in zip(seeds, costs, strict=True)])


def best(stream: Stream, trace: Trace) -> Choices:
    """(steps, P, X), the policy of one who knows the trace's transitions: what regret is told against."""
    return foreseeing(stream.process, trace.spans())


def _of_places(stream: Stream, it: Drawn, places: Choices) -> Numbers:
    cells = it.cells[:-1]
    before = np.concatenate([[HOME], places[:-1]])
    found: Numbers = stream.cost[places, cells, it.scores] + stream.process.moving_cost[before, places, cells]
    return found


def _with_connection(stream: Stream, cells: Choices, costs: Numbers) -> Numbers:
    """Whoever asks the cloud now and then has opened the connection once."""
    found = costs.copy()
    found[0] += stream.process.moving_cost[HOME, PLACES.index(UNSURE), cells[0]]
    return found
