"""How many of a fleet's devices ask the cloud role at once: the policy's own simulation of all of them.

Each device follows its class's policy through its own network and load. What their networks do has common causes in part (a provider's
outage, and its end): of each step, with probability c, all devices of the fleet throw one die for their network, else each its own, so that
each sees by itself the changes that the policy was solved for, and c of them come to all that they can come to at once. This is the common
shock of A. W. Marshall and I. Olkin, "A multivariate exponential distribution", J. Am. Stat. Assoc. 62 (1967), in steps. Load changes are
each device's own.

Devices in the same place and cell are alike, so that their numbers are followed, not they: in a step the devices of one (place, cell) fall
to what may follow by a multinomial distribution. Of the devices that pass on what they are not sure of, so many are unsure as the
beta-binomial distribution says (`isthmus.sizing.offload`), given how many there are.

A device counts by how much it is asked: with twice the mean load it is two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from isthmus.limits import MIGRATION
from isthmus.migration.costs import REQUESTS
from isthmus.migration.process import Choices, Numbers
from isthmus.migration.simulate import WEEK_SECONDS, reached
from isthmus.migration.study import SEED, Solved
from isthmus_agent.formats.policy import CLOUD, DEVICE, THEN_CLOUD

RUNS: Final = 16
"""Side by side, each a part of the time: one pass through Python's loop is a step of all."""
MOST_ROWS: Final = 2_500_000
"""(place, cell) times steps that are followed: less than a second's work. Where there are more, it is a shorter time."""
STEP_SECONDS: Final = float(MIGRATION["step_seconds"].default)
"""Between two looks where no class has a policy."""
_MIXED: Final = 5.0
"""Times in which the slowest difference from the long run falls to 1/e, until a run that began in it is taken for settled."""


@dataclass(frozen=True, eq=False)
class Devices:
    """Devices of one class. solved: their policy; None: they have none, and pass on what they are not sure of. unsure_share: of their
    requests, that they pass on where they do."""

    solved: Solved | None
    devices: int
    unsure_share: float = 0.0


@dataclass(frozen=True, eq=False)
class Asked:
    """devices: (looks,), that ask at each look of the simulated time, the fewest first. seconds: the time, of all runs together."""

    devices: Numbers
    seconds: float

    @property
    def mean(self) -> float:
        return float(self.devices.mean())

    def quantile(self, percent: float) -> float:
        """The least number that so many percent of the looks do not exceed."""
        return float(self.devices[max(0, math.ceil(percent / 100 * len(self.devices) - 1e-9) - 1)])


def asked_at_once(fleet: Sequence[Devices], *, correlation: float = 0.0, seed: int = SEED, seconds: float = WEEK_SECONDS) -> Asked:
    """The simulation. The policies are of one file: their networks are the same.

    Args:
        correlation: between devices, of being unsure.
        seconds: of the fleet's life, all runs together.

    Raises:
        ValueError: no device in it.
    """
    groups = [it for it in fleet if it.devices]
    if not groups:
        raise ValueError("a fleet without devices asks nothing")
    dice = np.random.default_rng(seed)
    chains = [_Chain.of(it) for it in groups]
    first = next((it.solved for it in groups if it.solved), None)
    rows = sum(len(it.begin) for it in chains)
    step_seconds = first.built.situation.step_seconds if first else STEP_SECONDS
    most = max(RUNS, MOST_ROWS // rows)
    steps = max(1, min(math.ceil(seconds / step_seconds), most) // RUNS)
    common = first.built.situation.network_common if first else 0.0
    settling = min(steps, _settling(first)) if common and first else 0
    begin = [dice.multinomial(group.devices, _sound(it.begin), RUNS) for it, group in zip(chains, groups, strict=True)]
    shared = np.where(dice.random((settling + steps, RUNS)) < common, dice.random((settling + steps, RUNS)), np.nan)
    always, passing = _followed(chains, begin, shared, settling, dice)
    found = always.sum(axis=0)
    for chain, group, numbers in zip(chains, groups, passing, strict=True):
        shares = _unsure_shares(group.unsure_share, correlation, found.size, seed)
        for weight, count in zip(chain.weights, numbers, strict=True):
            found += weight * dice.binomial(count, shares)
    return Asked(np.sort(found), steps * RUNS * step_seconds)


@dataclass(frozen=True, eq=False)
class _Chain:
    """What the devices of a class come to: R pairs of (place served in, cell), and K that may follow each.

    begin: (R,), their long-run shares. follows: (R, K), the pair. chances: (R, K), the likeliest first. upper, lower: (R, K), between which
    a die for the network must lie for this to follow. cloud: (R,), how much a device there asks in any case. weights: W, of those that pass
    on. passes: (R, W), whether a pair is of them and has this weight.
    """

    begin: Numbers
    follows: Choices
    chances: Numbers
    lower: Numbers
    upper: Numbers
    cloud: Numbers
    weights: Numbers
    passes: Numbers

    @classmethod
    def of(cls, group: Devices) -> "_Chain":
        solved = group.solved
        if solved is None:
            one = np.ones((1, 1))
            return cls(one[0], np.zeros((1, 1), np.intp), one, 0 * one, one, 0 * one[0], one[0], one)
        process, policy = solved.built.process, solved.chosen.next_place
        cells = np.arange(process.shape[1])
        pairs = reached(process, policy)
        number = np.cumsum(pairs).reshape(pairs.shape) - 1
        place, cell = np.nonzero(pairs)
        chances = process.transition[cell]  # (R, X)
        order = np.argsort(-chances, axis=1, kind="stable")[:, : int((chances > 0).sum(axis=1).max())]
        follows = number[policy[place[:, None], order], order]
        follows = np.where(np.take_along_axis(chances, order, 1) > 0, follows, follows[:, :1])  # what never follows has no pair, perhaps
        # The network is the first dimension: its levels are runs of cells.
        by_level = chances.reshape(len(cell), process.levels[0], -1).sum(axis=2)
        level = order // math.prod(process.levels[1:])
        upper = np.minimum(np.cumsum(by_level, axis=1), 1.0)
        upper[:, -1] = 1.0
        lower = np.concatenate([np.zeros((len(cell), 1)), upper[:, :-1]], axis=1)
        load = solved.built.figures[REQUESTS][0][cells] / solved.requests
        passing = THEN_CLOUD if THEN_CLOUD in process.places else DEVICE
        is_passing = np.array([process.places[it] == passing for it in place])
        weights, which = np.unique(load[cell], return_inverse=True)
        return cls(
            solved.long_run.shares[place, cell] / solved.long_run.shares[place, cell].sum(),
            follows,
            np.take_along_axis(chances, order, 1),
            np.take_along_axis(lower, level, 1),
            np.take_along_axis(upper, level, 1),
            np.array([process.places[it] == CLOUD for it in place]) * load[cell],
            weights,
            is_passing[:, None] * (which.reshape(-1, 1) == np.arange(len(weights))),
        )

    def shared(self, dice: Numbers) -> Numbers:
        """(runs, R, K): the chances of what follows, where the die for the network is known, (runs,)."""
        die = dice[:, None, None]
        found = np.where((self.lower <= die) & (die < self.upper), self.chances, 0.0)
        found /= np.maximum(found.sum(axis=2, keepdims=True), 1e-300)
        return found


def _followed(
    chains: Sequence[_Chain], begin: Sequence[Choices], shared: Numbers, settling: int, dice: np.random.Generator
) -> tuple[Numbers, list[list[Choices]]]:
    """What asks in any case, (chains, looks); and of each chain and weight how many devices pass on, (looks,).

    begin: (RUNS, R) each, the devices in each pair. shared: (steps, RUNS), the die of all networks; not a number where each has its own.
    """
    steps, counts = len(shared) - settling, [*begin]
    always = np.zeros((len(chains), steps, RUNS))
    passing = [np.zeros((steps, RUNS, len(it.weights)), np.intp) for it in chains]
    runs = np.arange(RUNS)[:, None, None]
    goes = [(runs * len(it.begin) + it.follows).ravel() for it in chains]
    own = [np.broadcast_to(_sound(it.chances), (RUNS, *it.chances.shape)) for it in chains]
    for step, die in enumerate(shared):
        together = np.flatnonzero(~np.isnan(die))
        for index, chain in enumerate(chains):
            chances = own[index]
            if len(together):
                chances = chances.copy()
                chances[together] = _sound(chain.shared(die[together]))
            moved = dice.multinomial(counts[index], chances)
            counts[index] = np.bincount(goes[index], moved.ravel(), RUNS * len(chain.begin)).reshape(RUNS, -1).astype(np.intp)
            if step >= settling:
                always[index, step - settling] = counts[index] @ chain.cloud
                passing[index][step - settling] = counts[index] @ chain.passes
    return always.reshape(len(chains), -1), [list(it.reshape(-1, it.shape[2]).T) for it in passing]


def _sound(chances: Numbers) -> Numbers:
    """The same; rounding never makes more than 1 of them together."""
    found: Numbers = chances / np.maximum(chances.sum(axis=-1, keepdims=True), 1e-300)
    found *= 1 - 1e-15
    return found


def _settling(solved: Solved) -> int:
    """Steps until the networks of a fleet, which begin independent of each other, are as much alike as they become."""
    sizes = np.sort(np.abs(np.linalg.eigvals(solved.built.situation.network_axis.transition)))
    slowest = float(sizes[-2]) if len(sizes) > 1 else 0.0
    return math.ceil(_MIXED / max(1 - slowest, 1e-9))


def _unsure_shares(share: float, correlation: float, looks: int, seed: int) -> Numbers:
    """(looks,), the share of devices that are unsure at each look: Beta with this mean, so that pairs are correlated. All classes of a
    fleet have their high and their low shares at the same looks."""
    dice = np.random.default_rng([seed, 1])
    if share in (0, 1) or correlation == 0:
        return np.full(looks, share)
    at = dice.permutation(looks)
    if correlation == 1:
        return (at >= round((1 - share) * looks)).astype(np.float64)
    factor = (1 - correlation) / correlation
    drawn: Numbers = np.sort(dice.beta(share * factor, (1 - share) * factor, looks))[at]
    return drawn
