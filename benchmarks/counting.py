"""What it costs a device to count how its network, load and head-room change: `python benchmarks/counting.py`.

The router of one server, with four network levels, four of load, two of temperature and two of battery: a request between two looks, and a
look, each with counting and without (the counter put out of its way, as the device program was before). Processor time of one thread; each
figure is the median of nine runs, and both sides take turns, so that a busy machine is busy for both.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from isthmus_agent.core.seeing import Tally
from isthmus_agent.formats.policy import BATTERY, LOAD, NETWORK, TEMPERATURE, Measured, Policy
from isthmus_agent.server.headroom import KERNEL, Headroom
from isthmus_agent.server.looks import Looks
from isthmus_agent.server.router import Router

RUNS, REQUESTS, LOOKS = 9, 200_000, 20_000
STEP_SECONDS = 10.0
DIMENSIONS = (
    Measured(NETWORK, "ms", ("good", "fair", "poor", "cut"), (30_000, 90_000, 1_000_000), 5_000, 3),
    Measured(LOAD, "per second", ("idle", "usual", "busy", "crowd"), (2_000, 10_000, 18_000), 500),
    Measured(TEMPERATURE, "degrees", ("cool", "hot"), (75_000,), 2_000),
    Measured(BATTERY, "percent", ("low", "full"), (20_000,), 1_000, 1),
)
POLICY = Policy("sha256:" + "a" * 64, "*", ("device", "cloud"), DIMENSIONS, (0, 1) * 64, round(STEP_SECONDS * 1000))


class Network:
    """A round trip that is drawn anew at each look."""

    def __init__(self) -> None:
        self._dice = random.Random(1)  # noqa: S311

    def probe(self, model: str) -> None:
        """Costs what it costs; it is not what is measured here."""

    def round_trip_ms(self) -> float:
        """Some time."""
        return self._dice.uniform(5, 2000)


class _Blind(Looks):
    """Counts nothing."""

    def looked(self, *_: object) -> None:
        """Nothing."""


def router(counts: bool) -> Router:
    """One that begins now. Its head-room is drawn."""
    dice = random.Random(2)  # noqa: S311
    found = Router(POLICY, "digits", Network(), 0.0, headroom=lambda: {TEMPERATURE: dice.uniform(20, 95), BATTERY: dice.uniform(0, 100)})
    if not counts:
        found._looks = _Blind(POLICY)
    return found


def nanoseconds(times: int, work: Callable[[], None]) -> float:
    """Of each, in processor time."""
    begin = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - begin) / times


def requests(counts: bool) -> float:
    """A request between two looks."""
    it = router(counts)
    it.chosen(STEP_SECONDS)

    def work() -> None:
        for _ in range(REQUESTS):
            it.count()
            it.chosen(STEP_SECONDS)

    return nanoseconds(REQUESTS, work)


def looks(counts: bool) -> float:
    """A request at which the policy is looked at."""
    it = router(counts)

    def work() -> None:
        for step in range(LOOKS):
            it.count()
            it.chosen((step + 1) * STEP_SECONDS)

    return nanoseconds(LOOKS, work)


def main() -> int:
    """Prints the table."""
    print("| what | without counting | with counting | more |\n| -- | -- | -- | -- |")
    for name, measure in (("a request between two looks", requests), ("a request with a look", looks)):
        both = [(measure(False), measure(True)) for _ in range(RUNS)]
        without, with_it = (statistics.median(it) for it in zip(*both, strict=True))
        ratio = statistics.median(b / a for a, b in both)
        print(f"| {name} | {without / 1000:.2f} µs | {with_it / 1000:.2f} µs | {100 * (ratio - 1):+.0f} % |")
    files = Headroom(POLICY, KERNEL)
    kernel = nanoseconds(1000, lambda: [files() for _ in range(1000)] and None) / 1000
    zones = len(list(Path(KERNEL / "thermal").glob("thermal_zone*"))) if (KERNEL / "thermal").is_dir() else 0
    print(f"| the kernel's files, a look ({zones} zones here) | | {kernel:.0f} µs | |")
    full = router(True)
    for step in range(LOOKS):
        full.count()
        full.chosen((step + 1) * STEP_SECONDS)
    kept, parts = Tally.of(POLICY), 0
    while (seen := full._looks._seeing._tally.taken(400)) and not seen.is_empty:
        kept.add_all(seen)
        parts += 1
    document = kept.experience().written()
    print(f"| {LOOKS:,} looks, drawn anew each time | | {parts} messages; a document of {len(document) / 1000:.1f} kB | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
