"""Reading what a fleet says: seconds and requests for a look at so many devices, against a SeaweedFS of its own.

    python benchmarks/fleet_reports.py [DEVICES]

Prints the time of a look, and how much of it is listing and how much is checking. Figures are in docs/performance.md.
"""

import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests import seaweedfs

from isthmus.release.store import Page, Store
from isthmus.repository.reports import Asked, look
from isthmus_agent.formats.report import Figures, Outcome, Report, folder
from isthmus_agent.formats.roster import Device, Roster

FLEET, PREFIX, SECRET, TRIES = "cameras", "edge/", b"s" * 32, 5


class Pages:
    """Pages that were listed before."""

    def __init__(self, store: Store) -> None:
        self._pages: dict[str, Page] = {}
        self._store = store

    def page(self, prefix: str, *, after: str = "") -> Page:
        if after not in self._pages:
            self._pages[after] = self._store.page(prefix, after=after)
        return self._pages[after]


def main(count: int) -> None:
    roster = Roster(FLEET, tuple(Device(f"camera-{number:06}", "small") for number in range(count)))
    asked = Asked(FLEET, 17, roster, SECRET)
    with seaweedfs.running() as server:
        store = Store(server.address, f"bucket-{uuid.uuid4().hex[:8]}")
        store.ensure_bucket()

        def say(device: Device) -> None:
            figures = Figures(3, 12345678, 99, 100_000, 3, 0, 1500, 50 << 20, 7, 600)
            it = Report(device.name, 17, Outcome.CONFIRMED, "ab" * 8, figures=figures)
            store.put(it.object_key(PREFIX, FLEET, device.report_key(SECRET, FLEET)), b"")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(say, roster.devices))
        kept = Pages(store)
        look(kept, PREFIX, asked)
        whole, checking = [], []
        for _ in range(TRIES):
            begun = time.perf_counter()
            found = look(store, PREFIX, asked)
            whole.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            look(kept, PREFIX, asked)
            checking.append(time.perf_counter() - begun)
        if len(found.reports) != count:
            raise SystemExit(f"only {len(found.reports)} reports count; dropped: {found.dropped}")
        sys.stdout.write(
            f"{count} devices below {folder(PREFIX, 17)}: {found.requests} requests; a look {min(whole):.2f} s, "
            f"of which {min(checking):.2f} s are checking (the fastest of {TRIES})\n"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
