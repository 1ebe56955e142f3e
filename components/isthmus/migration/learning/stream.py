"""One device's stream of yes-or-no questions, with every cost: what the traces' cells cost in each place, for learners and their rivals.

Costs are milliseconds; money and mistakes are told in them, too. The device answers each question with a score, its calibrated probability
of "yes", in LEVELS equal steps; how scores are spread depends on the scene. A wrong "no" costs `missed`, a wrong "yes" `false_alarm` (the
setting of H2T2, arXiv 2509.15674), so that an answer by a score costs min(missed·score, false_alarm·(1 − score)) at best.

Places: the device; the device first and then the cloud for scores between two thresholds; a peer in the same local network; the cloud.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from isthmus.migration.learning.traces import CLOUD_LOAD, LOAD, NETWORK, PLANNED, SCENE, matrix_of
from isthmus.migration.process import Choices, Dimension, Flags, Numbers, Process, stationary
from isthmus_agent.formats.policy import CLOUD, DEVICE, PEER

LEVELS: Final = 16
UNSURE: Final = "device, then cloud"
PLACES: Final = (DEVICE, UNSURE, f"{PEER}gateway", CLOUD)
_DIMENSIONS: Final = (
    Dimension("network", NETWORK, (1.0, 5.0, 20.0), "Mbit/s"),
    Dimension("load", LOAD, (70.0,), "%"),
    Dimension("scene", SCENE),
    Dimension("cloud load", CLOUD_LOAD, (80.0,), "%"),
)


@dataclass(frozen=True)
class Prices:
    """In milliseconds, or what is worth as much."""

    device_ms: tuple[float, float] = (20.0, 60.0)
    """By load."""
    link_ms: tuple[float, float, float, float] = (240.0, 150.0, 50.0, 25.0)
    """By network; cut: until it is given up, after which the device answers."""
    cloud_ms: tuple[float, float] = (10.0, 70.0)
    """By its load, money included."""
    peer_ms: float = 65.0
    missed: float = 800.0
    false_alarm: float = 400.0
    certainty: tuple[float, float] = (2.0, 0.3)
    """How much the device's scores crowd at 0 and 1, by scene."""
    cloud_mistakes: float = 0.02
    """Share of all answers."""
    peer_mistakes: float = 0.7
    """Share of the device's."""
    deadline_ms: float = 230.0
    moves: tuple[float, float, float, float] = (60.0, 60.0, 120.0, 200.0)
    """What going to each place costs: warming up, a connection, the stream's memory."""


@dataclass(frozen=True, eq=False)
class Stream:
    """process: with the planned transitions. cost: (P, X, LEVELS), of one question in each place, cell and score; serving_cost is its mean.
    score_shares: (X, LEVELS). scores: (LEVELS,), the middle of each. answer_cost: (2, LEVELS), of the device's "no" and "yes".
    device_ms: (X,). offload_cost: (X, LEVELS), of asking the cloud after the device. is_cut: (X,), whether asking is in vain.
    accuracy: (P, X), the share of right answers. late: (P, X), the share that takes longer than the deadline.
    """

    prices: Prices
    process: Process
    cost: Numbers
    score_shares: Numbers
    scores: Numbers
    answer_cost: Numbers
    device_ms: Numbers
    offload_cost: Numbers
    is_cut: Flags
    accuracy: Numbers
    late: Numbers

    def score_levels(self, cells: Choices, seed: int) -> Choices:
        """A drawn score for each of the cells, as a level."""
        draws = np.random.default_rng(seed).random(len(cells))
        sums = np.cumsum(self.score_shares, axis=1)
        found: Choices = np.minimum((draws[:, None] >= sums[cells]).sum(axis=1), LEVELS - 1)
        return found

    def threshold_cost(self, offloads: Flags) -> Numbers:
        """(X, LEVELS): the cost of the device that asks the cloud for these levels, (LEVELS,)."""
        local = self.answer_cost.min(axis=0)[None, :]
        found: Numbers = self.device_ms[:, None] + np.where(offloads[None, :], self.offload_cost, local)
        return found


def stream(prices: Prices | None = None, discount: float = 0.99) -> Stream:
    """The stream that the benchmark and the tests run."""
    it = prices or Prices()
    scores = (np.arange(LEVELS) + 0.5) / LEVELS
    answer_cost = np.stack([it.missed * scores, it.false_alarm * (1 - scores)])
    network, load, scene, cloud_load = (axis.ravel() for axis in np.indices([len(d.levels) for d in _DIMENSIONS]))
    shares = np.stack([_spread(scores, power) for power in it.certainty])[scene]
    is_cut = network == 0
    device_ms = np.array(it.device_ms)[load]
    asking_ms = np.array(it.link_ms)[network] + np.where(is_cut, 0.0, np.array(it.cloud_ms)[cloud_load])
    own = answer_cost.min(axis=0)
    by_cloud = it.cloud_mistakes * (it.missed * scores + it.false_alarm * (1 - scores))
    offload = asking_ms[:, None] + np.where(is_cut[:, None], own, by_cloud)
    planned = matrix_of(PLANNED)
    # The two thresholds are the best ones at the planned mean cost of asking: the closed form for a calibrated device.
    unsure = own > stationary(planned) @ offload
    cost = np.stack(
        [
            device_ms[:, None] + own,
            device_ms[:, None] + np.where(unsure, offload, own),
            np.broadcast_to(it.peer_ms + it.peer_mistakes * own, shares.shape),
            offload + np.where(is_cut, device_ms, 0.0)[:, None],
        ]
    )
    wrong = np.where(answer_cost[0] < answer_cost[1], scores, 1 - scores)
    wrong_by_cloud = np.where(is_cut[:, None], wrong, it.cloud_mistakes)
    mistakes = np.stack(
        [
            np.broadcast_to(wrong, shares.shape),
            np.where(unsure, wrong_by_cloud, wrong),
            np.broadcast_to(it.peer_mistakes * wrong, shares.shape),
            wrong_by_cloud,
        ]
    )
    after_device, at_once = device_ms + asking_ms, asking_ms + np.where(is_cut, device_ms, 0.0)
    late = [
        device_ms > it.deadline_ms,
        (after_device > it.deadline_ms) * (shares * unsure).sum(axis=1),
        np.full(len(network), it.peer_ms > it.deadline_ms),
        at_once > it.deadline_ms,
    ]
    places = len(PLACES)
    moving = np.broadcast_to(np.array(it.moves)[None, :, None], (places, places, len(network))) * (1 - np.eye(places))[:, :, None]
    mean_cost = (cost * shares).sum(axis=2)
    process = Process(PLACES, _DIMENSIONS, planned, mean_cost, moving, np.ones(mean_cost.shape, dtype=bool), discount)
    accuracy = 1 - (mistakes * shares).sum(axis=2)
    return Stream(it, process, cost, shares, scores, answer_cost, device_ms, offload, is_cut, accuracy, np.array(late, dtype=float))


def _spread(scores: Numbers, power: float) -> Numbers:
    """Shares of the scores, the larger the power the more of them near 0 and 1."""
    density = (scores * (1 - scores)) ** -power
    found: Numbers = density / density.sum()
    return found
