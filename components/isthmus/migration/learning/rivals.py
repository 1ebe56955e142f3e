"""How others decide where a question is answered, for the simulator: as their sources and papers say, and where these leave it open, in
their favour.

- Sedna (KubeEdge) asks the cloud for "hard examples": `CrossEntropyFilter` takes an answer for hard if 1 − H(p)/log n is below a threshold,
  0.5 where nothing is said. It looks at neither network nor load.
- H2T2 (arXiv 2509.15674): two thresholds on the score of a yes-or-no question, below, between and above which the device says no, asks, and
  says yes; learned by exponential weights over all pairs. Implemented from the paper's abstract and the construction it belongs to
  (hierarchical inference with exponential weights and exploration); its own pseudocode was not at hand. In its favour it is told the
  cost of asking in every cell, before it is paid, and its exploration and rate are tuned in hindsight by the benchmark.
"""

import math

import numpy as np

from isthmus.migration.learning.stream import LEVELS, Stream
from isthmus.migration.process import Choices, Flags, Numbers

SEDNA_DEFAULT = 0.5


def sedna(stream: Stream, threshold: float = SEDNA_DEFAULT) -> Flags:
    """(LEVELS,), the scores for which it asks the cloud."""
    score = stream.scores
    entropy = -(score * np.log(score) + (1 - score) * np.log(1 - score))
    found: Flags = 1 - entropy / math.log(2) < threshold
    return found


class H2T2:
    """Several runs side by side. explore: probability to ask all the same. rate: of the weights, with costs divided by the largest one."""

    def __init__(self, stream: Stream, runs: int, explore: float, rate: float, seed: int = 0) -> None:
        self._stream, self._explore = stream, explore
        self._rate = rate / float(stream.answer_cost.max())
        self._generator = np.random.default_rng(seed)
        below, above = np.indices((LEVELS + 1, LEVELS + 1))
        self._log_weights = np.where(below <= above, 0.0, -np.inf)[None].repeat(runs, axis=0)
        levels = np.arange(LEVELS)[:, None, None]
        # (LEVELS, pairs): what each pair of thresholds does with each score.
        self._says_no, self._says_yes = levels < below, levels >= above
        self._asks = ~self._says_no & ~self._says_yes

    def step(self, cells: Choices, scores: Choices) -> Numbers:
        """(runs,): what one question costs in each run; learns from it. cells, scores: (runs,)."""
        weights = np.exp(self._log_weights - self._log_weights.max(axis=(1, 2), keepdims=True))
        weights /= weights.sum(axis=(1, 2), keepdims=True)
        no, yes, asks = self._says_no[scores], self._says_yes[scores], self._asks[scores]
        share_asks, share_yes = (weights * asks).sum(axis=(1, 2)), (weights * yes).sum(axis=(1, 2))
        # Asked: by the drawn pair, or by chance. The rest says yes or no by weight.
        asked = share_asks + (1 - share_asks) * self._explore
        draws = self._generator.random((3, len(cells)))
        is_asked = draws[0] < asked
        yes_by_own = draws[1] * (1 - share_asks) < share_yes
        own = self._stream.answer_cost[yes_by_own.astype(int), scores]
        offload = self._stream.offload_cost[cells, scores]
        self._learn(cells, scores, is_asked / asked, draws[2], (no, yes, asks))
        found: Numbers = self._stream.device_ms[cells] + np.where(is_asked, offload, own)
        return found

    def _learn(self, cells: Choices, scores: Choices, importance: Numbers, draws: Numbers, does: tuple[Flags, Flags, Flags]) -> None:
        """The cost of asking is known; what an own answer would have cost only where the cloud was asked and answered."""
        no, yes, asks = does
        truth = draws < self._stream.scores[scores]
        answered = importance * ~self._stream.is_cut[cells]
        prices = self._stream.prices
        cost = (
            asks * self._stream.offload_cost[cells, scores][:, None, None]
            + no * (answered * truth * prices.missed)[:, None, None]
            + yes * (answered * ~truth * prices.false_alarm)[:, None, None]
        )
        self._log_weights = self._log_weights - self._rate * cost
