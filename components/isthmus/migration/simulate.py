"""What a policy does over time: its long-run shares, exactly; and a week of it, simulated, with what chance does to one week.

A simulated week follows the cells step by step for many devices at once, each with dice of its own from one seed. What is counted is what
the policy does (where it is, when it moves); what a step costs in that place and cell are the process's own expectations.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from isthmus.migration.process import Choices, Flags, Numbers, Process, stationary

WEEK_SECONDS: Final = 7 * 86_400
MOST_WEEK_STEPS: Final = 100_000
"""Of a simulated week; where steps are so short that a week has more, it is a shorter time."""
RUNS: Final = 64
STUDENT: Final = 2.0
"""The 97.5 % quantile of Student's t with 63 degrees of freedom, 1.998: of the mean of 64 weeks."""
MOST_SOLVED: Final = 1500
"""Unknowns of a dense linear system."""
MOST_STEPS: Final = 20_000
_NEARLY_ONE: Final = 1 - 1e-8
_SETTLED: Final = 1e-12


@dataclass(frozen=True, eq=False)
class LongRun:
    """After a long time. shares: (P, X), of the steps that are served in that place and cell. moves: a step."""

    shares: Numbers
    moves: float

    @property
    def places(self) -> Numbers:
        """(P,), of the steps in each place."""
        found: Numbers = self.shares.sum(axis=1)
        return found


@dataclass(frozen=True)
class Estimate:
    """A mean over the runs, and how far either side of it 95 % of such means reach."""

    mean: float
    plus_minus: float


@dataclass(frozen=True)
class Week:
    """A simulated week of one device. shares: of the steps, by place. moves, sums of each figure: over all of it. seconds: its length."""

    shares: Mapping[str, Estimate]
    moves: Estimate
    sums: Mapping[str, Estimate]
    steps: int
    runs: int
    seconds: float


def long_run(process: Process, next_place: Choices, start_place: int = 0) -> LongRun:
    """The long-run shares of a policy, of a device that begins in that place.

    The joint chain of (place served in, cell) need not have one closed group (a policy that never moves has one for each place), so the
    limit of its averages is taken as μ(1 − β)(I − βM)⁻¹ with β near 1, which is right for any chain; over the pairs that the device can
    come to. Its error is of the order (1 − β) times the steps in which the chain mixes. Where there are many pairs, the chain is followed.
    """
    cells = np.arange(process.shape[1])
    pairs = reached(process, next_place, start_place)
    begin = np.zeros(process.shape)
    begin[next_place[start_place], cells] = stationary(process.transition)
    limit = _solved if pairs.sum() <= MOST_SOLVED else _swept
    found = np.clip(limit(process, next_place, pairs, begin), 0, None)
    found /= found.sum()
    arriving = found @ process.transition
    moving = next_place != np.arange(process.shape[0])[:, None]
    return LongRun(found, float(arriving[moving].sum()))


def reached(process: Process, next_place: Choices, start_place: int = 0) -> Flags:
    """(P, X), which pairs (served in, cell) a device comes to that begins in that place."""
    _, cells = process.shape
    pairs = np.zeros(process.shape, dtype=bool)
    pairs[next_place[start_place], np.arange(cells)] = True
    while True:
        leads = (pairs.astype(float) @ process.transition) > 0  # (P, X): may be seen from this place next
        where, cell = np.nonzero(leads)
        found = pairs.copy()
        found[next_place[where, cell], cell] = True
        if (found == pairs).all():
            return pairs
        pairs = found


def _solved(process: Process, next_place: Choices, pairs: Flags, begin: Numbers) -> Numbers:
    """The limit by one linear system over the pairs that are reached."""
    number = np.cumsum(pairs).reshape(pairs.shape) - 1
    where, cell = np.nonzero(pairs)
    index = number[next_place[where], np.arange(process.shape[1])]  # (pairs, X): a pair for each next cell
    ahead = process.transition[cell]
    comes = ahead > 0  # what never comes has no pair, perhaps
    rows = np.broadcast_to(np.arange(len(where))[:, None], index.shape)
    joint = np.zeros((len(where), len(where)))
    joint[rows[comes], index[comes]] = ahead[comes]
    found = np.zeros(process.shape)
    found[where, cell] = np.linalg.solve(np.eye(len(where)) - _NEARLY_ONE * joint.T, (1 - _NEARLY_ONE) * begin[where, cell])
    return found


def _swept(process: Process, next_place: Choices, pairs: Flags, begin: Numbers) -> Numbers:
    """The limit by steps of the lazy chain, which stays where it is every other time and so never goes round in circles."""
    goes_to = (next_place * process.shape[1] + np.arange(process.shape[1])).ravel()
    shares = begin
    for _ in range(MOST_STEPS):
        after = np.bincount(goes_to, (shares @ process.transition).ravel(), minlength=pairs.size).reshape(pairs.shape)
        change, shares = float(np.abs(after - shares).max()), (shares + after) / 2
        if change < _SETTLED:
            break
    return shares


def week(
    process: Process,
    next_place: Choices,
    *,
    step_seconds: float,
    seed: int,
    figures: Mapping[str, Numbers] | None = None,
    moving_figures: Mapping[str, Numbers] | None = None,
    seconds: float = WEEK_SECONDS,
    runs: int = RUNS,
) -> Week:
    """A week of a device that begins in the first place, `runs` times.

    Args:
        figures: what is summed up besides, (P, X) each: a step's requests, late ones, joules.
        moving_figures: the same of a move, (P, P, X), from, to; of the same names.
    """
    steps = min(max(1, math.ceil(seconds / step_seconds)), MOST_WEEK_STEPS)
    dice = np.random.default_rng(seed)
    places, cells = process.shape
    # One sorted array for all rows: row x lies between x and x + 1, so that one search finds the next cell of every run.
    bounds = np.minimum(np.cumsum(process.transition, axis=1), 1.0)
    bounds[:, -1] = 1.0
    flat = (bounds + np.arange(cells)[:, None]).ravel()
    cell = dice.choice(cells, size=runs, p=stationary(process.transition))
    place = np.zeros(runs, dtype=np.intp)
    visits = np.zeros((places * cells, runs))
    moved = np.zeros(runs)
    moving = moving_figures or {}
    sums = {name: np.zeros(runs) for name in [*(figures or {}), *moving]}
    lanes = np.arange(runs)
    for _ in range(steps):
        after = next_place[place, cell]
        changes = after != place
        if changes.any():
            moved += changes
            for name, costs in moving.items():
                sums[name] += costs[place, after, cell]
        place = after
        visits[place * cells + cell, lanes] += 1
        cell = np.minimum(np.searchsorted(flat, cell + dice.random(runs), side="right") - cell * cells, cells - 1)
    by_pair = visits.reshape(places, cells, runs)
    for name, costs in (figures or {}).items():
        sums[name] += np.einsum("px,pxr->r", costs, by_pair)
    shares = {name: _estimate(by_pair[index].sum(axis=0) / steps) for index, name in enumerate(process.places)}
    return Week(shares, _estimate(moved), {name: _estimate(total) for name, total in sums.items()}, steps, runs, steps * step_seconds)


def _estimate(values: Numbers) -> Estimate:
    """Of independent runs."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else math.inf
    return Estimate(float(values.mean()), STUDENT * spread / math.sqrt(len(values)))
