"""All that is said of a migration policy before anything is deployed, for one class of devices."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from isthmus.migration.costs import MISSED, REQUESTS, Built, build
from isthmus.migration.process import Choices, Process, stationary
from isthmus.migration.rivals import expected, rivals, without_policy
from isthmus.migration.simulate import Estimate, LongRun, Week, long_run, week
from isthmus.migration.situation import Situation
from isthmus.migration.solve import Solution, evaluate, solve, with_margin

SEED: Final = 1


@dataclass(frozen=True, eq=False)
class Solved:
    """A class of devices and its policy.

    best: the optimum. chosen: the same with the margin, which is what devices get. rivals: cost of a request, in ms, by name. requests:
    of a step, in the long run. A cost of a request is the discounted cost of a step over these.
    """

    device_class: str
    built: Built
    best: Solution
    chosen: Solution
    rivals: Mapping[str, float]
    requests: float
    long_run: LongRun

    @property
    def cost(self) -> float:
        """Of a request under the chosen policy, in ms."""
        return expected(self.built.process, self.chosen.value) / self.requests

    @property
    def best_cost(self) -> float:
        """Of a request under the best policy, in ms."""
        return expected(self.built.process, self.best.value) / self.requests

    def gain(self, rival: str) -> float:
        """The share of a rival's cost that the chosen policy saves; below 0 where the margin costs more than that."""
        return 1 - self.cost / self.rivals[rival]

    @property
    def shares(self) -> Mapping[str, float]:
        """Of the steps in the long run, by the place where their requests run."""
        return dict(zip(self.built.process.places, self.long_run.places.tolist(), strict=True))

    def requests_at(self, place: str) -> float:
        """The share of the requests, in the long run, that run there; 0 where the process has no such place."""
        process = self.built.process
        asked = self.long_run.shares @ self.built.figures[REQUESTS][0]
        if place not in process.places or not asked.any():
            return 0.0
        return min(1.0, float(asked[process.places.index(place)] / asked.sum()))


@dataclass(frozen=True, eq=False)
class Study(Solved):
    """The same, and a simulated week of it."""

    week: Week

    def data(self) -> dict[str, Any]:
        """As plain values."""
        process = self.built.process
        return {
            "class": self.device_class,
            "places": [*process.places],
            "dimensions": [
                {"name": it.name, "unit": it.unit, "levels": [*it.levels], "edges": [*it.edges], "transition": axis.transition.tolist()}
                for it, axis in zip(process.dimensions, self.built.situation.axes, strict=True)
            ],
            "states": process.shape[0] * process.shape[1],
            "cost_ms": self.cost,
            "best_cost_ms": self.best_cost,
            "misses_ms": self.best.misses / self.requests,
            "rivals_ms": dict(self.rivals),
            "next_place": [[process.places[it] for it in row] for row in self.chosen.next_place],
            "allowed": process.allowed.tolist(),
            "step_cost_ms": process.serving_cost.tolist(),
            "moving_cost_ms": process.moving_cost.tolist(),
            "long_run": {
                "shares": dict(self.shares),
                "moves_per_day": self.long_run.moves * 86_400 / self.built.situation.step_seconds,
            },
            "week": {
                "runs": self.week.runs,
                "seconds": self.week.seconds,
                "shares": {name: _estimate(it) for name, it in self.week.shares.items()},
                "moves": _estimate(self.week.moves),
                **{name.replace(" ", "_"): _estimate(it) for name, it in self.week.sums.items()},
            },
        }

    @property
    def missed_share(self) -> Estimate:
        """Of the week's requests, those that missed the deadline. Requests vary less than misses: their mean divides both."""
        requests, missed = self.week.sums[REQUESTS], self.week.sums[MISSED]
        asked = requests.mean or 1.0
        return Estimate(missed.mean / asked, missed.plus_minus / asked)


def solved(
    device_class: str, situation: Situation, margin: float = 0.0, compared: Callable[[Process], Mapping[str, Choices]] = without_policy
) -> Solved:
    """The policy of a class. margin: see `solve.with_margin`. compared: the rivals. Raises InputError where the process is not sound."""
    return solved_of(device_class, build(situation), margin, compared)


def solved_of(
    device_class: str, built: Built, margin: float = 0.0, compared: Callable[[Process], Mapping[str, Choices]] = without_policy
) -> Solved:
    """As `solved`, from a process that was built already, or learned."""
    process = built.process
    best = solve(process)
    chosen = with_margin(process, best, margin) if margin else best
    requests = float((stationary(process.transition) * built.figures[REQUESTS][0]).sum())
    requests = requests or 1.0  # of a device that nobody asks: nothing costs anything, and no share is taken of it
    costs = {name: expected(process, evaluate(process, it)) / requests for name, it in compared(process).items()}
    return Solved(device_class, built, best, chosen, costs, requests, long_run(process, chosen.next_place))


def study(device_class: str, situation: Situation, margin: float = 0.0, seed: int = SEED) -> Study:
    """As `solved`, with all rivals and a simulated week."""
    return study_of(device_class, build(situation), margin, seed)


def study_of(device_class: str, built: Built, margin: float = 0.0, seed: int = SEED) -> Study:
    """As `study`, from a process that was built already, or learned."""
    found, situation = solved_of(device_class, built, margin, rivals), built.situation
    shown = week(
        found.built.process,
        found.chosen.next_place,
        step_seconds=situation.step_seconds,
        seed=seed,
        figures=found.built.figures,
        moving_figures=found.built.moving_figures,
    )
    return Study(**{it.name: getattr(found, it.name) for it in fields(found)}, week=shown)


def _estimate(it: Estimate) -> dict[str, float]:
    return {"mean": it.mean, "plus_minus": it.plus_minus}


def same_rows(found: Study) -> Mapping[tuple[str, ...], tuple[int, ...]]:
    """The places from which the chosen policy does the same in every cell, with what it does: one map for all of them."""
    grouped: dict[tuple[int, ...], list[str]] = {}
    for place, row in zip(found.built.process.places, np.asarray(found.chosen.next_place), strict=True):
        grouped.setdefault(tuple(int(it) for it in row), []).append(place)
    return {tuple(places): row for row, places in grouped.items()}
