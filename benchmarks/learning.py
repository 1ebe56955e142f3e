"""What learning the migration policy gains where transitions are unknown or drift: `python benchmarks/learning.py [--seeds N] [--days D]`.

Ten traces (isthmus.migration.learning.traces) of one device's stream of questions (…learning.stream): all ways to decide see the same cells
and the same scores. What is told is how much more each costs than the policy of one who knows every step's true transitions, in percent,
with 95 % confidence intervals over seeds (Student's t, of the differences seed by seed, so that what all have in common cancels).

- `learned`: isthmus.migration.learning.counting with its defaults; `Thompson`: the same, by posterior sampling; `Q`: …qlearning, on the
  process that keeps the floors (at most 5 % of the answers late).
- `fixed`: the policy that was solved for the plan's transitions, never again.
- `Sedna 0.5` with the default threshold; `Sedna` and `H2T2` tuned on each trace in hindsight, which nobody can.

The learners' own defaults were chosen with seeds 0 to 2, which are not among these.
"""

import argparse
import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import stats

from isthmus.migration.learning import rivals, simulate
from isthmus.migration.learning.counting import Counted, Counting
from isthmus.migration.learning.floors import Floors, within
from isthmus.migration.learning.merging import learned_process
from isthmus.migration.learning.qlearning import Explored, SafeQ
from isthmus.migration.learning.stream import PLACES, UNSURE, Stream, stream
from isthmus.migration.learning.traces import DAY_STEPS, Trace, traces
from isthmus.migration.process import Process
from isthmus.migration.rivals import expected
from isthmus.migration.solve import evaluate, solve
from isthmus_agent.core.seeing import Seeing
from isthmus_agent.formats import experience
from isthmus_agent.formats.policy import CLOUD, DEVICE, Measured, Policy

FIRST_SEED = 100
FLOORS = Floors(most_late=0.05)
SEDNA_THRESHOLDS = tuple(np.round(np.arange(0, 1.01, 0.1), 1).tolist())
H2T2_SETTINGS = tuple(itertools.product((0.02, 0.1), (0.02, 0.1, 0.5)))
"""Exploration and rate."""
LOOKED_AT = (0, 500, 2000, 8000, 16000)
"""Steps after which a policy is evaluated."""
RIVALS = ("never", "always cloud", "Sedna 0.5", "Sedna", "H2T2")


@dataclass(frozen=True, eq=False)
class Ran:
    """One trace. costs: by name, (seeds, steps) of quarter means: (seeds, 4). late: Q's, with floors and without, as shares."""

    name: str
    costs: dict[str, np.ndarray]
    solved: float
    alarms: float
    late: dict[str, float]
    learning_us: float


def quarters(costs: np.ndarray) -> np.ndarray:
    return np.array([part.mean() for part in np.array_split(costs, 4)])


def run(trace: Trace, seeds: Sequence[int]) -> Ran:
    it = stream()
    process = it.process
    drawn = [simulate.drawn(it, trace, seed) for seed in seeds]
    known, fixed = simulate.best(it, trace), solve(process).next_place
    rules = {
        "best": lambda one: simulate.chosen_by(it, one, known),
        "fixed": lambda one: simulate.chosen_by(it, one, fixed),
        "never": lambda one: simulate.always(it, one, PLACES.index(DEVICE)),
        "always cloud": lambda one: simulate.always(it, one, PLACES.index(CLOUD)),
        "Sedna 0.5": lambda one: simulate.thresholds(it, one, rivals.sedna(it)),
    }
    costs = {name: np.stack([quarters(rule(one)) for one in drawn]) for name, rule in rules.items()}
    tuned = [np.stack([quarters(simulate.thresholds(it, one, rivals.sedna(it, value))) for one in drawn]) for value in SEDNA_THRESHOLDS]
    costs["Sedna"] = min(tuned, key=lambda found: found.mean())
    tuned = [np.stack([quarters(row) for row in simulate.h2t2(it, drawn, *setting)]) for setting in H2T2_SETTINGS]
    costs["H2T2"] = min(tuned, key=lambda found: found.mean())
    begun = time.process_time()
    learners = [Counting(process, Counted(), seed) for seed in seeds]
    costs["learned"] = np.stack([quarters(simulate.learned(it, *both)[0]) for both in zip(drawn, learners, strict=True)])
    spent = time.process_time() - begun
    thompson = [Counting(process, Counted(choice="thompson"), seed) for seed in seeds]
    costs["Thompson"] = np.stack([quarters(simulate.learned(it, *both)[0]) for both in zip(drawn, thompson, strict=True)])
    bounded = within(process, FLOORS, it.accuracy, it.late)
    late = {}
    for name, allowed, settings in (
        ("Q", bounded, Explored()),
        ("Q without bounds", process, Explored(most_wrong=np.inf)),
    ):
        runs = [simulate.learned(it, one, SafeQ(allowed, settings, seed)) for one, seed in zip(drawn, seeds, strict=True)]
        costs[name] = np.stack([quarters(cost) for cost, _ in runs])
        late[name] = float(
            np.mean([(it.late[places, one.cells[:-1]] > FLOORS.most_late).mean() for (_, places), one in zip(runs, drawn, strict=True)])
        )
    return Ran(
        trace.name,
        costs,
        float(np.mean([learner.solved for learner in learners])),
        float(np.mean([learner.alarms for learner in learners])),
        late,
        spent / len(seeds) / trace.steps * 1e6,
    )


def interval(values: np.ndarray) -> tuple[float, float]:
    """The mean, and the half-width of its 95 % confidence interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)


def more_percent(ran: Ran, name: str) -> str:
    best = ran.costs["best"].mean(axis=1)
    mean, half = interval((ran.costs[name].mean(axis=1) / best - 1) * 100)
    return f"{mean:.1f} ± {half:.1f}"


def beats(ran: Ran, name: str) -> list[str]:
    """The rivals than which it is cheaper, beyond the interval."""
    own = ran.costs[name].mean(axis=1)
    found = []
    for rival in RIVALS:
        mean, half = interval(ran.costs[rival].mean(axis=1) - own)
        if mean > half:
            found.append(rival)
    return found


def main_table(ran: Sequence[Ran]) -> Table:
    names = ("learned", "Thompson", "Q", "fixed", *RIVALS)
    table = Table(
        "trace", "best, ms", *(f"{name}, +%" for name in names), "solved", "alarms", title="More than the best, on average over a trace"
    )
    for it in ran:
        table.add_row(
            it.name, f"{it.costs['best'].mean():.1f}", *(more_percent(it, name) for name in names), f"{it.solved:.0f}", f"{it.alarms:.0f}"
        )
    return table


def regret_table(ran: Sequence[Ran]) -> Table:
    table = Table(
        "trace",
        *(f"{who}, quarter {n}" for who in ("fixed", "learned") for n in (1, 2, 3, 4)),
        "learned - fixed",
        title="Regret in ms a step",
    )
    for it in ran:
        best = it.costs["best"]
        rows = [(it.costs[name] - best).mean(axis=0) for name in ("fixed", "learned")]
        mean, half = interval((it.costs["learned"] - it.costs["fixed"]).mean(axis=1))
        table.add_row(it.name, *(f"{value:.2f}" for row in rows for value in row), f"{mean:.2f} ± {half:.2f}")
    return table


def excess_percent(truth: Process, next_place: np.ndarray) -> float:
    """What a policy costs more than the best one, in the long run of a known process, exactly."""
    return 100 * (expected(truth, evaluate(truth, next_place)) / expected(truth, solve(truth).value) - 1)


def known_table(it: Stream, seeds: Sequence[int]) -> Table:
    table = Table("trace", "prior", *(f"{steps:,} steps" for steps in LOOKED_AT), title="The policy in use, exactly, +%")
    known = traces(LOOKED_AT[-1])
    for trace, prior in ((known[0], "the truth"), (known[1], "the truth"), (known[1], "the plan")):
        truth = replace(it.process, transition=trace.matrices[0])
        found = []
        for seed in seeds:
            learner = Counting(truth if prior == "the truth" else it.process)
            cells = trace.cells(seed).tolist()
            place, row = simulate.HOME, [excess_percent(truth, learner.policy)]
            for step in range(LOOKED_AT[-1]):
                chosen = learner.place(place, cells[step])
                learner.saw(place, cells[step], chosen, 0.0, cells[step + 1])
                place = chosen
                if step + 1 in LOOKED_AT:
                    row.append(excess_percent(truth, learner.policy))
            found.append(row)
        table.add_row(trace.name, prior, *("{:.2f} ± {:.2f}".format(*interval(column)) for column in np.array(found).T))
    return table


def told_table(it: Stream, seeds: Sequence[int], trace: Trace) -> Table:
    """Devices that tell what they have seen in a day, suppressed and rounded; the next preview solves with it."""
    truth = replace(it.process, transition=trace.matrices[0])
    dimensions = tuple(
        Measured(one.name.replace(" ", "-"), "x", one.levels, tuple(range(len(one.levels) - 1))) for one in it.process.dimensions
    )
    policy = Policy("sha256:" + "0" * 64, "camera", PLACES, dimensions, (0,) * it.process.serving_cost.size, 20_000)
    table = Table(
        "devices", "bytes each", "counts told, %", "the policy solved next, +%", title=f"After a day of each device: {trace.name}"
    )
    for devices in (1, 5, 20):
        rows = []
        for seed in seeds:
            told, seen, size = {}, 0, 0
            for device in range(devices):
                counter = Seeing(policy)
                for cell in trace.cells(seed * 1000 + device)[:DAY_STEPS].tolist():
                    counter.saw(0, cell)
                document = counter.experience().written()
                told[f"camera-{device}"] = [experience.read(document)]
                size += len(document)
                seen += sum(sum(row.counts.values()) for row in counter.experience().rows.values())
            merged = learned_process(it.process, experience.meaning_of(policy), told)
            rows.append((size / devices, 100 * seen / devices / DAY_STEPS, excess_percent(truth, solve(merged.process).next_place)))
        size, share, _ = np.mean(rows, axis=0)
        table.add_row(str(devices), f"{size:,.0f}", f"{share:.0f}", "{:.2f} ± {:.2f}".format(*interval(np.array(rows)[:, 2])))
    table.add_row("0 (the plan's own)", "", "", f"{excess_percent(truth, solve(it.process).next_place):.2f}")
    return table


def same_places_table(it: Stream, seeds: Sequence[int]) -> Table:
    """The learner with the two places alone that the thresholds have: what of its gain is knowing when to ask, and not where else to go."""
    table = Table(
        "trace", "Sedna, ms", "learned, of the same places, ms", "cheaper by, %", title="With the places of the thresholds, one day"
    )
    allowed = np.repeat([[name in (DEVICE, UNSURE)] for name in PLACES], it.process.shape[1], axis=1)
    process = replace(it.process, allowed=allowed)
    for trace in traces(DAY_STEPS):
        drawn = [simulate.drawn(it, trace, seed) for seed in seeds]
        tuned = [np.array([simulate.thresholds(it, one, rivals.sedna(it, value)).mean() for one in drawn]) for value in SEDNA_THRESHOLDS]
        sedna = min(tuned, key=lambda found: found.mean())
        own = np.array([simulate.learned(it, one, Counting(process))[0].mean() for one in drawn])
        gain = "{:.1f} ± {:.1f}".format(*interval(100 * (1 - own / sedna)))
        table.add_row(trace.name, f"{sedna.mean():.1f}", f"{own.mean():.1f}", gain)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--days", type=float, default=4)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    all_traces = traces(int(options.days * DAY_STEPS))
    console = Console(width=220)
    with ProcessPoolExecutor(options.jobs) as pool:
        ran = list(pool.map(run, all_traces, itertools.repeat(seeds)))
    console.print(main_table(ran), regret_table(ran))
    it = stream()
    console.print(known_table(it, seeds), same_places_table(it, seeds), told_table(it, seeds, all_traces[1]))
    for name in ("learned", "Q"):
        won = [one.name for one in ran if len(beats(one, name)) == len(RIVALS)]
        console.print(f"{name}: cheaper than all of {', '.join(RIVALS)}, beyond the interval, on {len(won)} of {len(ran)} traces")
    better = {one.name: interval((one.costs["fixed"] - one.costs["learned"]).mean(axis=1)) for one in ran}
    console.print(
        "learned against fixed: cheaper on",
        sum(mean > half for mean, half in better.values()),
        "dearer on",
        sum(mean < -half for mean, half in better.values()),
    )
    for name in ("Q", "Q without bounds"):
        console.print(f"{name}: {100 * max(one.late[name] for one in ran):.2f} % of the steps below the floor, on the worst trace")
    console.print(f"learning: {np.median([one.learning_us for one in ran]):.0f} µs of processor time a step, solutions included")


if __name__ == "__main__":
    main()
