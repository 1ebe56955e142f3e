"""The planned number of replicas under the planned demand, and one less.

`pulumi up` of a service of the paced model: the compiler measures it, the planner sizes the service by M/M/c or M/G/c from the mean
and the variance that it found. Then the demand comes to the stack's gateway, as long and as random as it was planned for.
"""

import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import generator
import paced_model
from report import spread
from rich.table import Table

from isthmus.sizing.queueing import response_time_quantile_ms

sys.path.insert(0, str(generator.REPOSITORY / "tests" / "e2e"))

from project import Project, free_port

MEAN_WORK_MS = 20.0
REQUESTS_PER_SECOND = 140.0
# By distribution of the service time: between the p95 of what is planned and that of one replica less.
OBJECTIVES_MS = {"exponential": 110.0, "normal": 60.0}
# With so lax an objective the planner takes any number that can keep up.
LAX_MS = 20_000.0


def measure(folder: Path, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """For each distribution the planned number, then one less; in each round the same requests at other times."""
    found = []
    for distribution, objective_ms in OBJECTIVES_MS.items():
        (folder / distribution).mkdir()
        with running(folder / distribution, distribution) as stand:
            planned = stand.up(REQUESTS_PER_SECOND, objective_ms)
            found.append(stand.run(planned, int(planned["replicas"]), seconds, rounds))
            less = int(planned["replicas"]) - 1
            # A demand that one less can keep up with, however slowly: what comes to them is the whole demand all the same.
            stand.up(0.9 * REQUESTS_PER_SECOND * less / planned["replicas"], LAX_MS, replicas=less)
            found.append(stand.run(planned, less, seconds, rounds))
    return found


def predicted(plan: dict[str, Any], replicas: int, quantile: float) -> float | None:
    """What the plan's own arithmetic says of so many replicas; None where they cannot keep up."""
    rate = plan["service_rate_per_second"]
    if replicas * rate <= REQUESTS_PER_SECOND:
        return None
    return response_time_quantile_ms(quantile, replicas, REQUESTS_PER_SECOND, rate, plan["inputs"].get("scv", 1.0))


@dataclass
class Stand:
    """A stack of the benchmark's own. arguments: of its service, but for demand and objective."""

    project: Project
    distribution: str
    bodies: Path
    arguments: dict[str, Any]

    def up(self, requests_per_second: float, p95_ms: float, replicas: int = 1) -> dict[str, Any]:
        """The plan that was deployed: of at least so many replicas."""
        demand = {"requests_per_second": requests_per_second, "p95_ms": p95_ms, "min_replicas": replicas}
        self.project.configure(services={paced_model.NAME: {**self.arguments, **demand}})
        done = self.project.up()
        if done.code:
            raise SystemExit(done.text)
        plan: dict[str, Any] = self.project.outputs()["services"][paced_model.NAME]["plan"]
        if replicas > 1 and plan["replicas"] != replicas:
            raise SystemExit(f"the plan is {plan['replicas']} replicas, not {replicas}")
        return plan

    def run(self, plan: dict[str, Any], replicas: int, seconds: float, rounds: int) -> dict[str, Any]:
        """The planned demand on so many replicas, which have been deployed."""
        url = f"http://127.0.0.1:{self.arguments['local']['port']}{paced_model.PREDICT}"
        loads = [generator.drive(url, self.bodies, REQUESTS_PER_SECOND, seconds, seed) for seed in range(rounds)]
        seen = [load.summary() for load in loads]
        return {
            "distribution": self.distribution,
            "service_ms": 1000 / plan["service_rate_per_second"],
            "scv": plan["inputs"].get("scv", 1.0),
            "sent_per_second": [load.per_second for load in loads],
            "replicas": replicas,
            "predicted_p50_ms": predicted(plan, replicas, 0.5),
            "p50_ms": [it.p50_ms for it in seen],
            "predicted_p95_ms": predicted(plan, replicas, 0.95),
            "p95_ms": [it.p95_ms for it in seen],
            "objective_ms": OBJECTIVES_MS[self.distribution],
            "failures": [dict(load.failures) for load in loads],
        }


@contextmanager
def running(folder: Path, distribution: str) -> Iterator[Stand]:
    project = Project(folder, folder / "cache")
    project.init()
    arguments = {
        "model": str(paced_model.write_model(folder / "model")),
        "evaluation": str(paced_model.write_evaluation(folder / "evaluation.npz", distribution, MEAN_WORK_MS)),
        "recipe": "serving-only",
        "platform": "local",
        "local": {"port": free_port(), "grpc_port": free_port()},
    }
    bodies = paced_model.write_bodies(folder / "bodies", distribution, MEAN_WORK_MS, requests=20_000, seed=1)
    try:
        yield Stand(project, distribution, bodies, arguments)
    finally:
        destroyed = project.destroy()
        if destroyed.code:
            print(destroyed.text, file=sys.stderr)


def table(runs: Sequence[dict[str, Any]], machine: str) -> Table:
    """Medians over the rounds (least–most)."""
    found = Table(
        *("service time", "ms", "scv", "requests/s", "replicas", "p50 ms: predicted", "measured", "p95 ms: predicted", "measured"),
        *("objective ms", "kept"),
        title=f"replicas; {machine}",
        title_justify="left",
    )
    for run in runs:
        if any(run["failures"]):
            raise SystemExit(f"requests failed: {run['failures']}")
        p50, p95 = ("–" if run[key] is None else f"{run[key]:.1f}" for key in ("predicted_p50_ms", "predicted_p95_ms"))
        kept = sum(it <= run["objective_ms"] for it in run["p95_ms"])
        found.add_row(
            *(run["distribution"], f"{run['service_ms']:.1f}", f"{run['scv']:.2f}", f"{statistics.median(run['sent_per_second']):.0f}"),
            *(str(run["replicas"]), p50, spread(run["p50_ms"], 1), p95, spread(run["p95_ms"], 1)),
            *(f"{run['objective_ms']:g}", f"{kept} of {len(run['p95_ms'])}"),
        )
    return found
