"""How soon a device's requests follow its network: `python benchmarks/reaction.py [--cuts N] [--steps SECONDS …]`.

A whole device in a network namespace, whose policy has good networks in the cloud and all others on the device, is asked ten times a
second, each time with the same deadline. Its link is cut, and later mended; then its round trip becomes a hundred times as long, and later
what it was. Told are the times from each change to the first request that is answered in the other place, the longest that a request took,
and how many had no answer. It takes root, ip and tc; the first line says what shaped the link.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from report import machine
from rich.console import Console
from rich.table import Table
from tests.fleet_store import MemoryStore, served
from tests.isthmus_agent.clouds import CloudRole, says, with_status
from tests.isthmus_agent.living import Fleet
from tests.shaped import CUT, Shape, networks, why_not
from tests.shaped_devices import ANSWER, GOOD, Asked, Asking, Told, device_in, figures, with_policy

POOR = Shape(600, 20, 0.0, 4)
PER_SECOND, DEADLINE_MS, TIMEOUT_MS = 10.0, 500, 1000
CHANGES = (("cut", CUT, "device"), ("mended", GOOD, "cloud"), ("poor", POOR, "device"), ("good again", GOOD, "cloud"))
IN_A_ROW = 5


def settled(asking: Asking, by: str) -> None:
    """Waits until the policy has moved there, and some requests in a row were answered there."""
    while [it.by for it in asking.asked[-IN_A_ROW:]] != [by] * IN_A_ROW or asking.device.routing().place != by:
        time.sleep(0.05)


def changed(asking: Asking, cuts: int) -> Iterator[tuple[str, float, list[Asked]]]:
    """Change, seconds to the first answer from where it should be, and what was asked meanwhile."""
    settled(asking, "cloud")
    for _ in range(cuts):
        for name, shape, by in CHANGES:
            seen, began = len(asking.asked), time.monotonic()
            asking.device.network.shape(shape)
            first = asking.await_one(lambda it, by=by: it.by == by, 120)
            yield name, first.at + first.seconds - began, asking.asked[seen:]
            settled(asking, by)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--steps", type=float, nargs="+", default=[0.25, 1.0, 10.0])
    given = parser.parse_args()
    console = Console()
    if missing := why_not():
        console.print(missing)
        return
    table = Table("step", "change", "first answer there: median s", "largest s", "slowest request ms", "asked meanwhile", "lost")
    role = CloudRole(with_status(says(ANSWER)))
    for step in given.steps:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            content, _ = with_policy(figures(step, PER_SECOND, DEADLINE_MS), folder)
            fleet = Fleet.founded(stack.enter_context(served(MemoryStore())), folder / "keys")
            told = Told(fleet, fleet.tell(content))
            [network] = stack.enter_context(networks(1, int(role.url.rpartition(":")[2])))
            device = stack.enter_context(device_in(network, told, folder / "camera-1", "camera-1", timeout_ms=TIMEOUT_MS))
            if step == given.steps[0]:
                console.print(f"{machine()}; shaped by {network.by}", soft_wrap=True)
            asking = Asking(device, PER_SECOND, DEADLINE_MS).start()
            found = list(changed(asking, given.cuts))
            everything = asking.stop()
            for name, _, _ in CHANGES:
                its = [it for it in found if it[0] == name]
                took, meanwhile = [it[1] for it in its], [asked for it in its for asked in it[2]]
                slowest = max(it.seconds for it in meanwhile)
                lost = sum(bool(it.failure) for it in meanwhile)
                table.add_row(
                    f"{step:g} s",
                    name,
                    f"{statistics.median(took):.2f}",
                    f"{max(took):.2f}",
                    f"{1000 * slowest:.0f}",
                    f"{len(meanwhile)}",
                    f"{lost}",
                )
            console.print(f"step {step:g} s: {len(everything)} requests, {sum(bool(it.failure) for it in everything)} without an answer")
    role.stop()
    console.print(table)


if __name__ == "__main__":
    main()
