"""Whole agents in a simulated fleet: processes with a manager, a server and a real interpreter, in real time."""

import http.client
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.fleet_store import MemoryStore, Served
from tests.isthmus_agent import living
from tests.isthmus_agent.living import Living
from tests.simulated.fleet import FLEET, PREFIX, SECRET, SimulatedFleet
from toolchain.testing import patience

from isthmus.repository.access import derived_access
from isthmus_agent.formats import report
from isthmus_agent.formats.roster import Device

SECONDS: Final = 240.0
AT_A_TIME: Final = 4
"""So many start at once: each takes a second of a processor for its interpreter."""


class WholeAgents:
    """names: of devices of the fleet's roster, which none of its simulated devices is."""

    def __init__(self, fleet: SimulatedFleet, names: Sequence[str], folder: Path) -> None:
        self.names = names
        self._fleet = fleet
        root = fleet.keyring.root_at(1)
        assert root is not None
        folder.mkdir(parents=True)
        behind = living.Fleet(Served(MemoryStore(), fleet.site.url), fleet.site.place, fleet.keyring)
        by_name = fleet.roster.by_name()
        self.agents = {name: Living(behind, folder / name, self._changes(by_name[name])) for name in names}

    def _changes(self, device: Device) -> dict[str, Any]:
        endpoint, _, bucket = self._fleet.site.url.removeprefix("http://").partition("/")
        store = {"endpoint": f"http://{endpoint}", "bucket": bucket.rstrip("/"), "prefix": PREFIX}
        if self._fleet.site.has_identities:
            access = derived_access(SECRET, FLEET, device)
            store |= {"access_key": access.access_key, "secret_key": access.secret_key}
        limits = {"request_seconds": 2.0, "self_test_seconds": SECONDS}
        key = device.report_key(SECRET, FLEET).hex()
        return {
            "device": device.name,
            "store": store,
            "report_key": key,
            "poll_seconds": 2.0,
            "measure_seconds": 20.0,
            "limits": limits,
            "class": "small",
        }

    def start(self) -> None:
        """Starts all."""
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(lambda agent: agent.start(), self.agents.values()))

    def await_served(self, plain: bytes) -> None:
        """Until all serve a content."""
        for agent in self.agents.values():
            agent.await_served(plain, SECONDS)

    def ask(self, rows: object) -> None:
        """Sends all one request; how it ends is theirs."""

        def one(agent: Living) -> None:
            with suppress(OSError, http.client.HTTPException, ValueError):
                agent.predict(rows)

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(one, self.agents.values()))

    def await_outcomes(self, number: int) -> dict[str, str]:
        """What they say about an assignment, by name, once each has given a verdict."""

        def found() -> dict[str, str]:
            claims = [report.read(key, PREFIX) for key in self._fleet.site.place.objects.list(report.folder(PREFIX, number))]
            said = {it.device: it.report.outcome.value for it in claims if it.device in self.agents and it.report.outcome.is_final}
            return said if len(said) == len(self.agents) else {}

        outcomes: dict[str, str] = patience.wait_until(found, SECONDS, 0.5)
        return outcomes

    def kill(self) -> None:
        """Ends all, as a power cut does."""
        for agent in self.agents.values():
            agent.kill()
