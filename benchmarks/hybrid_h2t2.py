"""H2T2 (isthmus.migration.learning.rivals) for `hybrid.py`: on the confidence of one of many classes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hybrid_release import Flags, Numbers
from hybrid_ways import BEFORE_DEADLINE_MS, TIMEOUT_OF_CLOUD_MS, Case, asked_ms_and_share, levels

from isthmus.migration.learning.rivals import H2T2
from isthmus.migration.learning.stream import LEVELS, Prices
from isthmus.migration.process import Choices


@dataclass(frozen=True)
class _Told:
    """What H2T2 is told of a stream."""

    prices: Prices
    scores: Numbers
    answer_cost: Numbers
    device_ms: Numbers
    offload_cost: Numbers
    is_cut: Flags


class Asking(H2T2):
    """H2T2 with its upper threshold alone, since of ten classes "no" is no answer; it learns from the examples' own truth. asked: (runs,),
    what it did with the last questions."""

    def __init__(self, case: Case, runs: int, explore: float, rate: float) -> None:
        scores = (np.arange(LEVELS) + 0.5) / LEVELS
        cells, is_cut = len(levels()[0]), levels()[0] == 0
        own = case.mistake_ms * np.stack([scores, 1 - scores])
        wrong, wrong_there = 1 - case.known.edge_right.mean(), 1 - case.known.serving_right.mean()
        # What asking adds, the cloud's mistakes in it. What the device's own run costs is the same whatever it does.
        asking = np.zeros(cells)
        for cell, (network, _, _, cloud_load) in enumerate(zip(*levels(), strict=True)):
            link = case.links[network]
            if link is not None:
                limit = min(TIMEOUT_OF_CLOUD_MS, case.deadline_ms - BEFORE_DEADLINE_MS - case.device[0])
                ms, in_vain = asked_ms_and_share(case, link, cloud_load, limit)
                asking[cell] = ms + case.mistake_ms * ((1 - in_vain) * wrong_there + in_vain * wrong)
        stream: Any = _Told(
            Prices(missed=case.mistake_ms, false_alarm=case.mistake_ms),
            scores,
            own,
            np.zeros(cells),
            np.where(is_cut[:, None], own[1][None], asking[:, None]),
            is_cut,
        )
        super().__init__(stream, runs, explore, rate)
        self._log_weights[:, 1:, :] = -np.inf
        self._truth = np.zeros(runs)
        self.asked = np.zeros(runs, np.bool_)

    def saw(self, cells: Choices, scores: Choices, right: Flags) -> Flags:
        """(runs,): which it asks for."""
        self._truth = np.where(right, 0.0, 1.0)
        self.step(cells, scores)
        return self.asked

    def _learn(self, cells: Choices, scores: Choices, importance: Numbers, draws: Numbers, does: tuple[Flags, Flags, Flags]) -> None:
        self.asked = importance > 0
        super()._learn(cells, scores, importance, self._truth, does)
