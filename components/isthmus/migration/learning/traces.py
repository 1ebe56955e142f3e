"""Ten traces of network, load and scene, as what makes cells: seeded, and with the true transition matrix of every step.

A dimension goes by `holding(shares, hold)`: with probability `hold` it stays as it is, else it is drawn anew from the shares. So the shares
are its long-run ones, a level with share s lasts 1/((1 − hold)(1 − s)) steps on average, and either can drift without the other. A trace is
a row of spans with one matrix each; what drifts has a new one every DRIFT_STEPS.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from isthmus.migration.process import Choices, Numbers, product_transition

NETWORK: Final = ("cut", "poor", "fair", "good")
LOAD: Final = ("low", "high")
SCENE: Final = ("clear", "hard")
CLOUD_LOAD: Final = ("low", "high")
DAY_STEPS: Final = 4320
"""Of 20 seconds each."""
TRACE_STEPS: Final = 4 * DAY_STEPS
DRIFT_STEPS: Final = 40


@dataclass(frozen=True)
class Way:
    """How one dimension goes. shares: of its levels. hold: probability that a step changes nothing."""

    shares: tuple[float, ...]
    hold: float

    def matrix(self) -> Numbers:
        """(levels, levels)."""
        return holding(self.shares, self.hold)

    def towards(self, other: "Way", share: float) -> "Way":
        """So far from this one to the other; share: 0 … 1. What lasts is mixed by how long it lasts (in logarithms of 1 − hold)."""
        shares = tuple(a + share * (b - a) for a, b in zip(self.shares, other.shares, strict=True))
        return Way(shares, 1 - (1 - self.hold) ** (1 - share) * (1 - other.hold) ** share)


Ways = Mapping[str, Way]
"""One for each of `network`, `load`, `scene`, `cloud load`, in this order."""

PLANNED: Final[Ways] = {
    "network": Way((0.02, 0.13, 0.35, 0.5), 0.95),
    "load": Way((0.7, 0.3), 0.97),
    "scene": Way((0.7, 0.3), 0.95),
    "cloud load": Way((0.85, 0.15), 0.98),
}
"""What the plan takes for true before anything was seen."""


def holding(shares: Sequence[float], hold: float) -> Numbers:
    """The matrix of a dimension that stays with probability `hold` and is drawn anew otherwise."""
    drawn = np.broadcast_to(np.asarray(shares, dtype=float), (len(shares), len(shares)))
    found: Numbers = hold * np.eye(len(shares)) + (1 - hold) * drawn / drawn.sum(axis=1, keepdims=True)
    return found


def matrix_of(ways: Ways) -> Numbers:
    """(X, X), of all dimensions together."""
    return product_transition([way.matrix() for way in ways.values()])


@dataclass(frozen=True, eq=False)
class Trace:
    """starts: the first step of each span, rising from 0. matrices: (spans, X, X), the truth. steps: how long it is."""

    name: str
    starts: tuple[int, ...]
    matrices: Numbers
    steps: int

    def matrix_at(self, step: int) -> Numbers:
        """(X, X), by which the cell of that step is followed."""
        found: Numbers = self.matrices[int(np.searchsorted(self.starts, step, side="right")) - 1]
        return found

    def spans(self) -> list[tuple[int, int, Numbers]]:
        """From and to which step each matrix holds, the last one not included."""
        return [
            (start, min(end, self.steps), it) for (start, end), it in zip(pairwise((*self.starts, self.steps)), self.matrices, strict=True)
        ]

    def cells(self, seed: int) -> Choices:
        """(steps + 1,), drawn; the first is the likeliest cell of the first matrix in the long run."""
        draws = np.random.default_rng(seed).random(self.steps)
        found = np.empty(self.steps + 1, dtype=np.intp)
        found[0] = cell = int(np.linalg.matrix_power(self.matrices[0], 1 << 12)[0].argmax())
        for start, end, matrix in self.spans():
            sums = np.cumsum(matrix, axis=1)
            sums[:, -1] = 1.0
            for step in range(start, end):
                cell = int(np.searchsorted(sums[cell], draws[step], side="right"))
                found[step + 1] = cell
        return found


def _trace(name: str, ways_at: Callable[[float], Ways], steps: int, changes: bool = True) -> Trace:
    """ways_at: of the days since the start."""
    starts = tuple(range(0, steps, DRIFT_STEPS)) if changes else (0,)
    return Trace(name, starts, np.stack([matrix_of(ways_at(start / DAY_STEPS)) for start in starts]), steps)


# What the plan did not know.
_GOOD = Way((0.01, 0.04, 0.15, 0.8), 0.98)
_FLAPPING = Way((0.05, 0.35, 0.3, 0.3), 0.4)
_POOR = Way((0.05, 0.55, 0.3, 0.1), 0.98)
_CUTS = Way((0.45, 0.15, 0.2, 0.2), 0.985)
_HANDOVER = Way((0.12, 0.18, 0.2, 0.5), 0.7)
_BUSY_CLOUD = Way((0.25, 0.75), 0.99)
_HARD_SCENE = Way((0.35, 0.65), 0.97)
_HIGH_LOAD = Way((0.25, 0.75), 0.98)


def traces(steps: int = TRACE_STEPS) -> tuple[Trace, ...]:
    """The ten. What happens in them happens at the same share of their length, whatever that is; only days have their own."""
    days = steps / DAY_STEPS

    def with_ways(**ways: Way) -> Ways:
        return {name: ways.get(name.replace(" ", "_"), way) for name, way in PLANNED.items()}

    def daily(day: float) -> float:
        """0 at night, 1 at noon."""
        return 0.5 - 0.5 * math.cos(2 * math.pi * day)

    def diurnal(day: float) -> Ways:
        noon = daily(day)
        return with_ways(
            network=_GOOD.towards(_POOR, noon),
            load=PLANNED["load"].towards(_HIGH_LOAD, noon),
            scene=PLANNED["scene"].towards(_HARD_SCENE, noon),
        )

    def cut(day: float) -> Ways:
        return with_ways(network=_CUTS if 0.3 <= day / days < 0.7 else PLANNED["network"])

    def slow(day: float) -> Ways:
        share = day / days
        return with_ways(network=_GOOD.towards(_FLAPPING, share), scene=PLANNED["scene"].towards(_HARD_SCENE, share))

    def sudden(day: float) -> Ways:
        return with_ways(network=_GOOD) if day / days < 0.4 else with_ways(network=_FLAPPING, load=_HIGH_LOAD)

    def handover(day: float) -> Ways:
        return with_ways(network=_HANDOVER if day / days * 8 % 1 < 0.6 else _GOOD)

    def fleet(day: float) -> Ways:
        return with_ways(cloud_load=PLANNED["cloud load"].towards(_BUSY_CLOUD, daily(day)))

    def diurnal_cut(day: float) -> Ways:
        return {**diurnal(day), **({"network": _CUTS} if 0.5 <= day / days < 0.7 else {})}

    def all_together(day: float) -> Ways:
        found = {**handover(day), "cloud load": fleet(day)["cloud load"]}
        return {**found, "scene": slow(day)["scene"], "load": sudden(day)["load"]}

    return (
        _trace("stationary, as planned", lambda day: PLANNED, steps, changes=False),
        _trace("stationary, not as planned", lambda day: with_ways(network=_FLAPPING, scene=_HARD_SCENE), steps, changes=False),
        _trace("diurnal", diurnal, steps),
        _trace("cut", cut, steps),
        _trace("slow drift", slow, steps),
        _trace("sudden change", sudden, steps),
        _trace("handover", handover, steps),
        _trace("the fleet's load", fleet, steps),
        _trace("diurnal with a cut", diurnal_cut, steps),
        _trace("handover, drift, load", all_together, steps),
    )
