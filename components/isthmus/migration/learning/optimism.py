"""The best policy under the kindest transitions that what was seen does not exclude: UCRL2's extended value iteration.

Around the mean of each row, all distributions within an L1 distance are believed possible (Weissman et al. 2003; Jaksch, Ortner and Auer
2010, who have 14·X·ln(2·A·t/δ) below the root to cover all steps at once):

    d(x) = scale · √(2·(X·ln 2 + ln 1/δ) / max(1, visits of x))

The kindest one for given values moves up to d/2 of the mass from the dearest cells to the cheapest.
"""

import math

import numpy as np

from isthmus.migration.learning.backups import choice_costs
from isthmus.migration.process import Choices, Numbers, Process

_MOST_SWEEPS = 20_000


def distances(visits: Numbers, confidence: float = 0.95, scale: float = 1.0) -> Numbers:
    """(X,), the L1 distance for each cell. visits: (X,). scale: 1 is what the theory asks for."""
    needed = 2 * (len(visits) * math.log(2) - math.log(1 - confidence))
    found: Numbers = np.minimum(scale * np.sqrt(needed / np.maximum(visits, 1.0)), 2.0)
    return found


def kindest(mean: Numbers, distance: Numbers, value: Numbers) -> Numbers:
    """(P, X): the least expected value of the next cell for each place, over all rows within the distance. value: (P, X)."""
    order = np.argsort(value, axis=1)  # cheapest first
    rows = np.take_along_axis(np.broadcast_to(mean, (len(value), *mean.shape)), order[:, None, :], axis=2)
    gained = np.minimum(distance / 2, 1 - rows[:, :, 0])
    rows = rows.copy()
    # What the cheapest cell gains is taken from the dearest ones, the dearest first: what may stay, from the cheap end, is capped.
    rows[:, :, 0] += gained
    sums = np.minimum(np.cumsum(rows, axis=2), 1.0)
    rows = np.diff(sums, axis=2, prepend=0.0)
    found: Numbers = (rows * np.sort(value, axis=1)[:, None, :]).sum(axis=2)
    return found


def optimistic(process: Process, distance: Numbers, tolerance: float = 1e-3) -> tuple[Choices, Numbers]:
    """The policy, (P, X), and its hoped-for value, (P, X): at most what the best policy costs if no distance is too small.

    The process's own transitions are the mean. tolerance: of the value, in units of cost.
    """
    value = np.where(process.allowed, process.serving_cost, process.serving_cost.max()) / (1 - process.discount)
    ahead = process.discount / (1 - process.discount)
    for _ in range(_MOST_SWEEPS):
        costs = choice_costs(process, process.discount * kindest(process.transition, distance, value))
        swept = costs.min(axis=1)
        change = swept - value
        value = swept + ahead * (change.max() + change.min()) / 2
        if ahead * (change.max() - change.min()) <= tolerance:
            break
    return costs.argmin(axis=1), value
