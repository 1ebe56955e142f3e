"""Our gates against those of others, on the same simulated rollouts: `python benchmarks/fleet_gates.py [--rollouts N] [--spread S] …`.

A fleet of 1,000 devices in waves of 2, 10, 40 and 100 %; a release may fail on 2 % of the devices. Good releases and bad ones, each
failing in its own way; devices begin evenly over an hour, a failure is told after 20 s, a success after 80 s; a look every minute. Rules:

- `ours, pause`: the gates of isthmus.fleet with their defaults: a wave with more failures than a release makes that fails on half of the
  limit pauses.
- `ours, proof`: `when_unclear: pass`, so that nothing but proof stops a rollout. `ours, assigned`: the same without knowing who began.
- Each of the others with the number that a user would write for "2 %" (`as written`), and tuned on other rollouts: among its settings
  that stop at most 5 % of the releases at the limit wrongly, in whichever way, the ones that hurt the fewest devices over all bad
  releases.

A wrong stop is an abort, a pause, or a rollout that goes on for ever, of a good release. Hurt: devices on which the release fails and that
began before the stop. Minutes: until the stop, over the rollouts that were stopped. Missed: neither stopped nor stuck.
"""

import argparse
import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from isthmus.fleet.gates import Gate, plan_gates
from isthmus.fleet.rivals import AwsIotJobs, FlightControl, HawkBit
from isthmus.fleet.sequential import at_most
from isthmus.fleet.simulate import Gated, Release, Result, Rule, Times, Trial, simulate

SIZES = (20, 80, 300, 600)
ALLOWED_PERCENT = 2.0
MOST_WRONG = 0.05
TUNING_ROLLOUTS = 4000

AT_LIMIT = (
    Release("at the limit: fails on 2 %", 0.02, is_good=True),
    Release("at the limit: 1 % fail, 0.5 % die, 0.5 % late", 0.01, 0.005, 0.005, is_good=True),
)
GOOD = (*AT_LIMIT, Release("fails on 0.5 %", 0.005, is_good=True))
BAD = (
    Release("fails on 4 %", 0.04),
    Release("fails on 8 %", 0.08),
    Release("fails on 20 %", 0.2),
    Release("fails on 60 %", 0.6),
    Release("dies on 20 %", 0, 0.2),
    Release("fails late on 20 %", 0, 0, 0.2),
    Release("fails on 30 % of wave 3 and 4", 0.3, by_wave=(0.01, 0.01, 1, 1)),
)
SHARES = {release.name: 2 if release in AT_LIMIT else 1 for release in (*GOOD, *BAD)}
"""How many of the rollouts each gets, in proportion."""


def ours() -> list[Rule]:
    found: list[Rule] = []
    for name, gate, knows_begun in (
        ("ours, pause", Gate(ALLOWED_PERCENT, deadline_seconds=7200), True),
        ("ours, proof", Gate(ALLOWED_PERCENT, deadline_seconds=7200, when_unclear="pass"), True),
        ("ours, assigned", Gate(ALLOWED_PERCENT, deadline_seconds=7200, when_unclear="pass"), False),
    ):
        waves = [(f"wave-{size}", size, gate) for size in SIZES]
        found.append(Gated(name, plan_gates(waves, knows_begun=knows_begun), knows_begun))
    return found


def as_written() -> list[Rule]:
    least = SIZES[0] // 2
    return [
        AwsIotJobs("AWS IoT Jobs, as written", least, ALLOWED_PERCENT),
        HawkBit("hawkBit, as written", [ALLOWED_PERCENT] * len(SIZES), 90),
        FlightControl("Flight Control, as written", [100 - ALLOWED_PERCENT] * len(SIZES)),
    ]


def settings() -> dict[str, list[Rule]]:
    """What the others are tuned over. Where one has thresholds a group, also the exact ones for its size: they get our arithmetic."""
    percents = (2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40)
    aws = [
        AwsIotJobs(f"AWS {least} {percent} {of}", least, percent, of)  # type: ignore[arg-type]
        for least, percent, of in itertools.product((2, 5, 10, 20, 40, 80), percents, ("done", "heard"))
    ]
    groups = [[percent] * len(SIZES) for percent in percents] + [_a_group(spent) for spent in (0.008, 0.01, 0.0125, 0.015, 0.02)]
    hawkbit = [HawkBit(f"hawkBit {errors} {success}", errors, success) for errors, success in itertools.product(groups, (50, 80, 90, 95))]
    control = [FlightControl(f"Flight {errors}", [100 - percent for percent in errors]) for errors in groups]
    return {"AWS IoT Jobs, tuned": [*aws], "hawkBit, tuned": [*hawkbit], "Flight Control, tuned": [*control]}


def _a_group(spent: float) -> list[float]:
    """The lowest percentage of each group that a release at the limit exceeds with at most this probability."""
    rate = ALLOWED_PERCENT / 100
    return [100 * next(most for most in range(size + 1) if 1 - at_most(most, size, rate) <= spent) / size for size in SIZES]


def tuned(times: Times, seed: int) -> tuple[list[Rule], list[str]]:
    """The best setting of each of the others under its name, and what it is."""
    grids = settings()
    every = [rule for rules in grids.values() for rule in rules]
    wrong = [simulate(every, Trial(release, SIZES, times), rollouts=TUNING_ROLLOUTS, seed=seed) for release in AT_LIMIT]
    kept = {key: [it for it in rules if all(is_wrong(found[it.name]) <= MOST_WRONG for found in wrong)] for key, rules in grids.items()}
    left = [rule for rules in kept.values() for rule in rules]
    hurt = [simulate(left, Trial(release, SIZES, times), rollouts=TUNING_ROLLOUTS // 8, seed=seed, chunk=500) for release in BAD]
    best, said = [], []
    for key, rules in kept.items():
        if not rules:
            said.append(f"{key}: no setting stops at most 5 % of the good releases")
            continue
        rule = min(rules, key=lambda it: sum(found[it.name].mean_hurt for found in hurt))
        said.append(f"{key}: {rule.name}")
        best.append(replace(rule, name=key))  # type: ignore[type-var]
    return best, said


def is_wrong(result: Result) -> float:
    return result.share("stopped") + result.share("paused") + result.share("stalled")


def table(title: str, rules: Sequence[Rule], releases: Sequence[Release], results: Sequence[dict[str, Result]]) -> Table:
    shown = Table(title=title)
    shown.add_column("rule")
    for release in releases:
        shown.add_column(release.name, justify="right")
    for rule in rules:
        cells = []
        for release, found in zip(releases, results, strict=True):
            it = found[rule.name]
            if release.is_good:
                cells.append(f"{100 * it.share('stopped'):.1f} + {100 * it.share('paused'):.1f} + {100 * it.share('stalled'):.1f} %")
            else:
                when = "" if math.isnan(it.mean_minutes) else f" in {it.mean_minutes:.0f} min"
                missed = "" if is_wrong(it) > 0.995 else f", {100 * (1 - is_wrong(it)):.0f} % missed"
                cells.append(f"{it.mean_hurt:.1f}{when}{missed}")
        shown.add_row(rule.name, *cells)
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spread", type=float, default=3600, help="seconds over which the devices of a wave begin")
    parser.add_argument("--lost", type=float, default=0.02, help="share of devices whose report that they began is lost")
    options = parser.parse_args()
    times = Times(spread=options.spread, lost=options.lost)
    started = time.perf_counter()
    console = Console(width=220)
    best, said = tuned(times, options.seed + 1)
    rules = [*ours(), *best, *as_written()]
    part = options.rollouts / sum(SHARES.values())
    results = [
        simulate(rules, Trial(release, SIZES, times), rollouts=round(part * SHARES[release.name]), seed=options.seed + 100)
        for release in (*GOOD, *BAD)
    ]
    total = sum(len(found) for it in results for found in it[rules[0].name].hurt)
    console.print(
        f"{datetime.now(UTC):%Y-%m-%d}: {total} rollouts of {sum(SIZES)} devices in waves of {SIZES}, {ALLOWED_PERCENT:g} % may fail"
    )
    console.print(*said, sep="\n")
    console.print(table("Good releases: aborted + paused + stalled", rules, GOOD, results[: len(GOOD)]))
    console.print(table("Bad releases: devices hurt, minutes to the stop", rules, BAD, results[len(GOOD) :]))
    console.print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
