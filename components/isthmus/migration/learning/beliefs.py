"""What is believed of the cells' transitions after some were seen: Dirichlet posteriors, several memories of them, and a test for change.

One memory holds counts N(x, x') that fade: each visit of x multiplies the counts of its row by 1 − 1/window first. Its belief of the row is
Dirichlet(weight·prior(x, ·) + N(x, ·)), with mean (weight·prior + N)/(weight + ΣN) (Strens 2000; exponential forgetting as in Kulhavý and
Zarrop 1993). A factored memory has such counts for each dimension by itself, and believes their product: far fewer numbers, learned far
sooner, and wrong where the dimensions depend on each other.

Which memory is right isn't known and changes. They are mixed by how well each foretold what came, with a fixed share (Herbster and Warmuth
1998): w_i ∝ (1 − α)·w_i·p_i(x'|x) + α/n. Over any span, the mixture foretells nearly as well as the memory that was best in it.

Change: S ← max(0, S + log p(x'|x)/p₀(x'|x)), p the mixture and p₀ the model in use. As long as p₀ is the truth, Σ exp of the terms is a
martingale's, so that S passes h once in e^h steps on average at most (Lorden 1971; e-detectors, Shin, Ramdas and Rinaldo 2023).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from isthmus.migration.process import Numbers, Process, product_transition, stationary

SURPRISE: Final = 0.01
"""How much of the prior is spread evenly: what the plan holds for impossible can be learned, too."""


@dataclass(frozen=True)
class Memory:
    """window: visits of a row after which a count has faded to 1/e; infinite: never. factored: each dimension by itself."""

    window: float = math.inf
    factored: bool = False


MEMORIES: Final = (Memory(), Memory(300.0), *(Memory(window, factored=True) for window in (math.inf, 1000.0, 200.0, 50.0)))


class Dirichlet:
    """One table of rows: their counts, and the prior. prior: (n, n), stochastic. weight: what it counts for, in transitions a row."""

    def __init__(self, prior: Numbers, weight: float, window: float = math.inf) -> None:
        states = len(prior)
        self._base = weight * ((1 - SURPRISE) * prior + SURPRISE / states)
        self._weight = weight
        self._keep = 1 - 1 / window
        self.counts = np.zeros((states, states))

    def add(self, state: int, following: int) -> None:
        """One transition that was seen."""
        if self._keep < 1:
            self.counts[state] *= self._keep
        self.counts[state, following] += 1

    def probability(self, state: int, following: int) -> float:
        """That it follows, by the mean."""
        row = self.counts[state]
        return float((self._base[state, following] + row[following]) / (self._weight + row.sum()))

    @property
    def parameters(self) -> Numbers:
        """(n, n), of the posterior."""
        found: Numbers = self._base + self.counts
        return found

    def mean(self) -> Numbers:
        """(n, n), stochastic."""
        parameters = self.parameters
        found: Numbers = parameters / parameters.sum(axis=1, keepdims=True)
        return found

    def drawn(self, generator: np.random.Generator) -> Numbers:
        """(n, n), stochastic: one draw of the posterior."""
        gammas = generator.standard_gamma(self.parameters) + np.finfo(float).tiny
        found: Numbers = gammas / gammas.sum(axis=1, keepdims=True)
        return found


class _Tables:
    """A memory's tables: one of the cells, or one for each dimension, and what each cell is in each of them."""

    def __init__(self, process: Process, memory: Memory, weight: float) -> None:
        cells = np.arange(process.shape[1])
        if memory.factored:
            self._states = [np.asarray(it) for it in np.unravel_index(cells, process.levels)]
            priors = [marginal(process, index) for index in range(len(process.levels))]
        else:
            self._states, priors = [cells], [process.transition]
        self.of_state = [it.tolist() for it in self._states]
        self.tables = [Dirichlet(prior, weight, memory.window) for prior in priors]

    def probability(self, cell: int, following: int) -> float:
        found = 1.0
        for table, states in zip(self.tables, self.of_state, strict=True):
            found *= table.probability(states[cell], states[following])
        return found

    def add(self, cell: int, following: int) -> None:
        for table, states in zip(self.tables, self.of_state, strict=True):
            table.add(states[cell], states[following])

    def mean(self) -> Numbers:
        return product_transition([table.mean() for table in self.tables])

    def drawn(self, generator: np.random.Generator) -> Numbers:
        return product_transition([table.drawn(generator) for table in self.tables])

    def visits(self) -> Numbers:
        """(X,): after how many visits each cell is known as well as it is."""
        by_table = [table.counts.sum(axis=1)[states] for table, states in zip(self.tables, self._states, strict=True)]
        found: Numbers = np.min(by_table, axis=0)
        return found


class Beliefs:
    """A mixture of memories over one process's cells. weight: of the plan's transitions, in transitions a row. share: α above."""

    def __init__(self, process: Process, memories: Sequence[Memory] = MEMORIES, weight: float = 20.0, share: float = 0.002) -> None:
        self._members = [_Tables(process, memory, weight) for memory in memories]
        self._share = share
        self.shares = np.full(len(memories), 1 / len(memories))

    def add(self, cell: int, following: int) -> float:
        """Learns from one transition. How likely the mixture held it before."""
        foretold = np.array([member.probability(cell, following) for member in self._members])
        mixed = self.shares * foretold
        probability = float(mixed.sum())
        self.shares = (1 - self._share) * mixed / probability + self._share / len(mixed)
        for member in self._members:
            member.add(cell, following)
        return probability

    def mean(self) -> Numbers:
        """(X, X), stochastic."""
        whole = sum(share * member.mean() for share, member in zip(self.shares, self._members, strict=True))
        return _stochastic(np.asarray(whole))

    def drawn(self, generator: np.random.Generator) -> Numbers:
        """(X, X), stochastic: a memory by its share, and a draw of its posterior."""
        return _stochastic(self._members[int(generator.choice(len(self.shares), p=self.shares))].drawn(generator))

    def visits(self) -> Numbers:
        """(X,): on how many visits what is believed of each cell rests, on average over the memories."""
        found: Numbers = np.average([member.visits() for member in self._members], axis=0, weights=self.shares)
        return found


class Change:
    """The test for change. model: (X, X), in use. steps_between: steps, at least, between two false alarms, on average."""

    def __init__(self, model: Numbers, steps_between: float) -> None:
        self._model, self._most = model, math.log(steps_between)
        self.evidence = 0.0

    def saw(self, cell: int, following: int, probability: float) -> bool:
        """Whether the model is refuted by now. probability: which the beliefs held, before they learned of it."""
        ratio = math.log(probability) - math.log(max(float(self._model[cell, following]), np.finfo(float).tiny))
        self.evidence = max(0.0, self.evidence + ratio)
        return self.evidence > self._most


def marginal(process: Process, dimension: int) -> Numbers:
    """(L, L), how a dimension goes by itself in the long run of the process's own transitions."""
    levels = process.levels
    flow = (stationary(process.transition)[:, None] * process.transition).reshape(*levels, *levels)
    kept = (dimension, len(levels) + dimension)
    flow = flow.sum(axis=tuple(axis for axis in range(flow.ndim) if axis not in kept)) + np.finfo(float).tiny
    return _stochastic(flow)


def _stochastic(matrix: Numbers) -> Numbers:
    found: Numbers = matrix / matrix.sum(axis=1, keepdims=True)
    return found
