"""Single steps of dynamic programming, as learners take them between two solutions."""

from collections.abc import Sequence

import numpy as np

from isthmus.migration.process import Choices, Numbers, Process


def choice_costs(process: Process, following: Numbers) -> Numbers:
    """(P, P, X), from, to: the cost of each choice and of what comes after it; infinite where it isn't allowed.

    following: (P, X), the expected cost from the next step on, by the place chosen and the cell of now.
    """
    after = np.where(process.allowed, process.serving_cost + following, np.inf)
    found: Numbers = process.moving_cost + after[None, :, :]
    return found


def losses(process: Process, transition: Numbers, value: Numbers, next_place: Choices) -> Numbers:
    """(P, X): what a policy loses by its next choice against the best one, if `value` (P, X) is what comes after it."""
    costs = choice_costs(process, process.discount * value @ transition.T)
    own = np.take_along_axis(costs, next_place[:, None, :], axis=1)[:, 0, :]
    found: Numbers = own - costs.min(axis=1)
    return found


def foreseeing(process: Process, spans: Sequence[tuple[int, int, Numbers]]) -> Choices:
    """(steps, P, X), the best places of one who knows every step's transitions, but no cell before it comes.

    Backward induction of the whole cost, without a discount: no policy, learned or not, has a smaller expected one.
    spans: first step, the one after the last, and the matrix between them, in order.
    """
    places, cells = process.shape
    steps = spans[-1][1]
    found = np.empty((steps, places, cells), dtype=np.intp)
    value = np.zeros((places, cells))
    for start, end, matrix in reversed(spans):
        turned = np.ascontiguousarray(matrix.T)
        for step in range(end - 1, start - 1, -1):
            costs = choice_costs(process, value @ turned)
            found[step] = costs.argmin(axis=1)
            value = costs.min(axis=1)
    return found
