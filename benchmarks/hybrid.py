"""What each way to answer costs, end to end: `python benchmarks/hybrid.py [--seeds N] [--days D] [--mistake-ms M] [--json FILE]`.

One request in each step of the ten traces (isthmus.migration.learning.traces), on a device with models/commands as int4. All ways see the
same cells, examples and random numbers (hybrid_ways.py). Where each number comes from:

- measured, of the release's record: which held-out examples the edge variant, the serving variant, both and neither answer right at which
  calibrated confidence; bytes of a request and its answer in JSON; times of both variants. Their medians stand for means, since a shared
  machine's outliers are other work's, and the device's are × a class's speed_factor: 8 (docs/edge.md's `small`), 500 (`older` of
  fleets/vehicles.yaml). Also measured here: the ways of the network cut in two, and the raw probabilities that Sedna's rule takes;
- of policies/cameras.yaml, plausible and not measured: round trip, rate and loss of the network's levels (its rates lie within the traces'
  levels), requests a second (usual, busy), joules (0.12 in 34 ms of computing are 3.5 W; 6 a megabyte), and what a missed deadline, a joule
  and money are worth in ms;
- of stacks/Pulumi.offline-voice-assistant.yaml: the deadline. Of isthmus.sizing.cost: prices, round figures, of a server's time and of
  traffic. Of isthmus.migration.learning.stream: what a wrong answer is worth (a missed "yes");
- assumed: the cloud's servers are used to 40 and to 90 %, either side of the traces' 80; hard scenes have the examples that the device is
  less sure of, so that the plan's mixture of scenes is the evaluation set.

- `device`, `cloud`: always there; from a cloud that does not answer in time the device has its own answer ready by the deadline.
- `Sedna 0.5`: by its source (kubeedge/sedna, lib/sedna): asks where 1 − H(p)/log n < 0.5, waits for every answer; in its favour with the
  same deadline, and the device's own answer then (its own client has neither).
- `auto`: asks below the threshold of `min_confidence: auto`. `by network`: the rule that somebody would write by hand: the device where the
  network is cut or poor, else `auto` or `cloud`, the better of both in hindsight, on each trace. `H2T2`: its threshold on the confidence is
  learned, told what asking costs in each cell; its settings are the best in hindsight, on each trace.
- `MDP`: the policy solved for the plan's transitions over device, device then cloud (by `auto`), cloud, wrong answers among its costs.
  `MDP, as signed`: what devices follow (docs/migration.md): solved as a preview does, over network and load alone, from the shares of wrong
  and of unsure answers on the evaluation data. `MDP, no price`: the same of a policy file in which a wrong answer has none: its places are
  device and cloud, and what is unsure by `auto` is passed on wherever the network is. `learned`: the process of `MDP`, its transitions
  counted as they come. `partition`: at each network level the way that `isthmus partition` takes.

Below it, times alone of a network that is worth cutting: the medians of docs/performance.md's network split.

Intervals are of 95 %, over seeds (Student's t). `all, ms` is what the decision process weighs: ms waited, missed deadlines, wrong answers,
joules and money. `− MDP` is its difference to the MDP's, seed by seed.
"""

import argparse
import itertools
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hybrid_h2t2 import Asking
from hybrid_release import MODEL, RECIPE, Known, known
from hybrid_signed import signed_policy
from hybrid_tables import AS_SIGNED, BY_NETWORK, FIGURES, UNPRICED, WAYS, interval, main_table, trace_table
from hybrid_ways import PLACES, UNSURE, Case, Outcome, Requests, answered, drawn, levels, partitioned, process_of
from report import machine
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from isthmus.migration.learning.counting import Counting
from isthmus.migration.learning.rivals import SEDNA_DEFAULT
from isthmus.migration.learning.stream import LEVELS, Prices
from isthmus.migration.learning.traces import DAY_STEPS, Trace, traces
from isthmus.migration.process import Choices, Process
from isthmus.migration.situation import Link, Worth
from isthmus.migration.solve import solve
from isthmus_agent.formats.policy import CLOUD, DEVICE

FIRST_SEED = 200
SPEED_FACTORS = (8.0, 500.0)
USED = (0.4, 0.9)
POOR = 1
"""Level of the network."""
SPLIT_MBITS = ("0.5", "2", "10", "50")
"""Of the measured network split that stand for cut (the device's time alone), poor, fair, good."""
H2T2_SETTINGS = tuple(itertools.product((0.02, 0.1), (0.1, 0.5)))
"""Exploration and rate."""


def case_of(release: Known, speed_factor: float, mistake_ms: float) -> Case:
    policy = yaml.safe_load(Path("policies/cameras.yaml").read_text())
    stack = yaml.safe_load(Path("stacks/Pulumi.offline-voice-assistant.yaml").read_text())["config"]["models:hybrids"]["commands"]
    network = {it["name"]: it for it in policy["network"]["levels"]}
    load = {it["name"]: it["requests_per_second"] for it in policy["load"]["levels"]}
    links = [Link(*(network[name][it] for it in ("rtt_ms", "megabits_per_second", "loss_percent"))) for name in ("poor", "fair", "good")]
    return Case(
        release,
        speed_factor,
        stack["situation"]["p95_ms"],
        (None, *links),
        (load["usual"], load["busy"]),
        USED,
        Worth(*(float(policy["worth"][it]) for it in ("deadline_miss_ms", "joule_ms", "money_ms"))),
        mistake_ms,
        policy["device"]["joules_per_request"] / policy["device"]["service_ms"] * 1000,
        policy["joules_per_megabyte"],
    )


def followed(cells: Choices, next_place: Choices) -> Choices:
    """(steps,), the places of a policy, (P, X)."""
    place, found = 0, []
    for cell in cells.tolist():
        place = int(next_place[place, cell])
        found.append(place)
    return np.array(found, np.intp)


def counted(process: Process, cells: Choices, following: int) -> Choices:
    """(steps,), the places of the learner."""
    learner, place, found, after = Counting(process), 0, [], [*cells[1:].tolist(), following]
    for cell, then in zip(cells.tolist(), after, strict=True):
        chosen = learner.place(place, cell)
        learner.saw(place, cell, chosen, 0.0, then)
        place = chosen
        found.append(place)
    return np.array(found, np.intp)


def h2t2(case: Case, runs: list[Requests], explore: float, rate: float) -> list[Outcome]:
    """Of each run, all side by side."""
    cells, examples = np.stack([it.cells for it in runs], axis=1), np.stack([it.example for it in runs], axis=1)
    scores = np.minimum((case.known.sure * LEVELS).astype(np.intp), LEVELS - 1)[examples]
    rule = Asking(case, len(runs), explore, rate)
    asks = np.stack([rule.saw(*now) for now in zip(cells, scores, case.known.edge_right[examples], strict=True)], axis=1)
    return [answered(case, it, always(it, UNSURE), row) for it, row in zip(runs, asks, strict=True)]


def always(it: Requests, place: str) -> Choices:
    return np.full(len(it.cells), PLACES.index(place))


def above_poor(it: Requests, place: str) -> Choices:
    """This place where the network is fair or good, else the device."""
    return np.where(levels()[0][it.cells] > POOR, PLACES.index(place), PLACES.index(DEVICE))


def cheapest(case: Case, tried: list[list[Outcome]]) -> list[Outcome]:
    """In hindsight."""
    return min(tried, key=lambda found: float(np.mean([it.weighed(case).mean() for it in found])))


def passing_on(places: Choices) -> Choices:
    """The same, on a device that has a `min_confidence`, too."""
    return np.where(places == PLACES.index(DEVICE), PLACES.index(UNSURE), places)


def ran(case: Case, process: Process, trace: Trace, seeds: range) -> dict[str, list[Outcome]]:
    """What each way does with each seed of a trace."""
    whole = [trace.cells(seed) for seed in seeds]
    runs = [drawn(case, cells[:-1], seed + 1_000_003) for cells, seed in zip(whole, seeds, strict=True)]
    unsure, hard = case.known.sure < case.known.auto, case.known.certainty < SEDNA_DEFAULT
    policy = solve(process).next_place
    signed, unpriced = signed_policy(case), signed_policy(replace(case, mistake_ms=0.0))
    by_hand = [[answered(case, it, above_poor(it, place), unsure[it.example]) for it in runs] for place in (UNSURE, CLOUD)]
    return {
        DEVICE: [answered(case, it, always(it, DEVICE), unsure[it.example]) for it in runs],
        CLOUD: [answered(case, it, always(it, CLOUD), unsure[it.example]) for it in runs],
        "Sedna 0.5": [answered(case, it, always(it, UNSURE), hard[it.example], has_breaker=False) for it in runs],
        "auto": [answered(case, it, always(it, UNSURE), unsure[it.example]) for it in runs],
        BY_NETWORK: cheapest(case, by_hand),
        "H2T2": cheapest(case, [h2t2(case, runs, *setting) for setting in H2T2_SETTINGS]),
        "MDP": [answered(case, it, followed(it.cells, policy), unsure[it.example]) for it in runs],
        AS_SIGNED: [answered(case, it, followed(it.cells, signed), unsure[it.example]) for it in runs],
        UNPRICED: [answered(case, it, passing_on(followed(it.cells, unpriced)), unsure[it.example]) for it in runs],
        "learned": [
            answered(case, it, counted(process, it.cells, int(cells[-1])), unsure[it.example])
            for it, cells in zip(runs, whole, strict=True)
        ],
        "partition": [partitioned(case, it)[0] for it in runs],
    }


def figures(case: Case, it: Outcome) -> list[float]:
    """In the order of FIGURES; shares in percent, money for a million requests."""
    late = 100 * (it.ms > case.deadline_ms).mean()
    costs = (1e6 * it.money.mean(), it.sent_bytes.mean(), it.joules.mean())
    return [*np.percentile(it.ms, (50, 95, 99)), late, 100 * it.right.mean(), *costs, 100 * it.sent.mean(), it.weighed(case).mean()]


def split_medians() -> dict[str, tuple[float, ...]]:
    """The measured medians in ms of docs/performance.md's network split over a shaped link, by way, for each network level."""
    section = Path("docs/performance.md").read_text().split("## A network split over a shaped link")[1].split("\n## ")[0]
    rows = {cells[0]: cells for line in section.splitlines() if (cells := [it.strip() for it in line.strip("| ").split("|")])}
    table = [[float(rows[at][column]) for at in SPLIT_MBITS] for column in (5, 6, 7)]
    return {name: (table[0][0], *found[1:]) for name, found in zip((DEVICE, CLOUD, "partition"), table, strict=True)}


def alexnet_table(all_traces: tuple[Trace, ...], seeds: range) -> Table:
    """A network for which a cut pays at some rates: ms over the traces' network levels, from medians, with no spread of their own."""
    table = Table("way", "mean ms", "p50 ms", "p95 ms", title="AlexNet's layers, a device × 8: times alone, medians by network level")
    level = np.array([[levels()[0][trace.cells(seed)[:-1]] for seed in seeds] for trace in all_traces])  # (traces, seeds, steps)
    medians = split_medians()
    best = tuple(min(both) for both in zip(medians[DEVICE], medians[CLOUD], strict=True))
    for name, by_level in {**medians, "the better of device and cloud": best}.items():
        ms = np.array(by_level)[level]
        columns = (ms.mean(axis=2), np.percentile(ms, 50, axis=2), np.percentile(ms, 95, axis=2))
        table.add_row(name, *(interval(it.mean(axis=0), 1) for it in columns))
    return table


def expected_line(case: Case, process: Process, trace: Trace, seeds: range) -> str:
    """The plan's closed forms beside the simulation, over the same cells: what a request costs in each place, with the interval of the
    difference."""
    unsure, rows = case.known.sure < case.known.auto, []
    for seed in seeds:
        it = drawn(case, trace.cells(seed)[:-1], seed + 1_000_003)
        simulated = [answered(case, it, always(it, place), unsure[it.example]).weighed(case).mean() for place in PLACES]
        rows.append([*zip(process.serving_cost[:, it.cells].mean(axis=1), simulated, strict=True)])
    table = np.array(rows)  # (seeds, places, closed and simulated)
    said = (f"{name} {interval(table[:, at, 0] - table[:, at, 1], 2)}" for at, name in enumerate(PLACES))
    return f"closed forms less the simulation, all in ms, {trace.name}: " + "; ".join(said)


def policy_lines(case: Case, process: Process) -> list[str]:
    """What the policies do, as seen from the device, by network level; and where the network is cut in two."""
    unpriced = signed_policy(replace(case, mistake_ms=0.0))
    named = (("MDP", solve(process).next_place), (AS_SIGNED, signed_policy(case)), (UNPRICED, unpriced))
    lines = [line for name, best in named for line in level_lines(process, name, best)]
    return [*lines, "partition, network cut to good: " + "; ".join(partitioned(case, drawn(case, np.zeros(1, np.intp), 0))[1])]


def level_lines(process: Process, policy: str, best: Choices) -> list[str]:
    """A policy's places, a line for each network level."""
    lines = []
    for level, name in enumerate(process.dimensions[0].levels):
        cells = [cell for cell in range(process.shape[1]) if process.cell_levels(cell)[0] == level]
        places = [PLACES[int(best[0, cell])] for cell in cells]
        said = ", ".join(f"{it} in {places.count(it)} of {len(cells)} cells" for it in PLACES if it in places)
        lines.append(f"{policy}, network {name}: {said}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--days", type=float, default=1)
    parser.add_argument("--mistake-ms", type=float, default=Prices().missed, help="what a wrong answer is worth")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.seeds < 2 or not 0 < options.days < 100 or not 0 <= options.mistake_ms < 1e6:
        parser.error("two seeds at least, for the intervals; more than no days, below 100; a mistake worth 0 to 1e6 ms")
    seeds, all_traces = range(FIRST_SEED, FIRST_SEED + options.seeds), traces(int(options.days * DAY_STEPS))
    console, data = Console(width=200), {}
    begun, columns = time.process_time(), (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        row = progress.add_task("", total=None)
        release = known(lambda step: progress.update(row, description=step))
        for speed_factor in SPEED_FACTORS:
            case = case_of(release, speed_factor, options.mistake_ms)
            process = process_of(case)
            values: dict[str, list[list[list[float]]]] = {name: [] for name in WAYS}
            for trace in all_traces:
                progress.update(row, description=f"a device × {speed_factor:g}: {trace.name}")
                for name, outcomes in ran(case, process, trace, seeds).items():
                    values[name].append([figures(case, it) for it in outcomes])
            found = {name: np.array(it) for name, it in values.items()}
            title = f"{MODEL} {RECIPE}, a device × {speed_factor:g}: {case.device[0]:.2f} ms a run"
            progress.console.print()
            console.print(main_table(found, title), trace_table(found, [it.name for it in all_traces], title))
            lines = [*policy_lines(case, process), expected_line(case, process, all_traces[0], seeds)]
            console.print("\n".join(lines))
            data[f"{speed_factor:g}"] = {name: it.tolist() for name, it in found.items()}
    console.print(alexnet_table(all_traces, seeds))
    measured = {"device_ms": release.device.p50_ms, "device_p95_ms": release.device.p95_ms, "cloud_ms": release.cloud.p50_ms}
    facts: dict[str, Any] = {**measured, "cloud_p95_ms": release.cloud.p95_ms, "auto": release.auto, "examples": len(release.sure)}
    facts |= {"request_bytes": release.request_bytes, "answer_bytes": release.answer_bytes, "release": release.digest}
    console.print(facts)
    steps = f"{len(all_traces)} traces of {all_traces[0].steps:,} requests, {options.seeds} seeds"
    console.print(f"{datetime.now(UTC).date()}, {machine()}; {steps}; {time.process_time() - begun:.0f} s of processor time")
    if options.json:
        document = {"machine": machine(), "facts": facts, "figures": FIGURES, "traces": [it.name for it in all_traces], "ways": data}
        options.json.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
