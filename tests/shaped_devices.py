"""Whole devices with a migration policy, each in a network of its own (`shaped`), and who asks them."""

import http.client
import io
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tests.isthmus_agent import tiny_model
from tests.isthmus_agent.contents import content_of, tiny_content
from tests.isthmus_agent.living import FLEET, PREFIX, SECRET, Fleet, Living
from tests.shaped import Network, Shape, program_within
from toolchain.testing import patience

from isthmus.arguments.policy_file import load_policy
from isthmus.migration.policy_file import policy_of
from isthmus.migration.study import Solved, solved
from isthmus_agent.formats import bundle, digests, report, routing
from isthmus_agent.formats.answers import ANSWERED_BY, DEADLINE_MS, ROUTING_PATH

MODEL: Final = "digits"
ROWS: Final = [[1.0, 0.0, 0.0, 0.5]]
ANSWER: Final = {"predictions": tiny_model.answer(ROWS).tolist()}


GOOD: Final = Shape(6, 2, 0.0, 50)
"""A network in which `figures` has the cloud role asked."""


def figures(step_seconds: float, per_second: float, deadline_ms: int) -> dict[str, Any]:
    """Of a policy that asks the cloud role first where the network is GOOD, and else not."""
    return {
        "name": "shaped",
        "step_seconds": step_seconds,
        "data": "may_leave_device",
        "deadline_ms": deadline_ms,
        "request_bytes": 200,
        "answer_bytes": 200,
        "worth": {"deadline_miss_ms": 1000, "joule_ms": 0, "money_ms": 0},
        "network": {
            "band": 10,
            "levels": [
                {"name": "good", "until": 180, "stays_seconds": 600, "rtt_ms": 6, "megabits_per_second": 50},
                {"name": "poor", "until": 2000, "stays_seconds": 600, "rtt_ms": 600, "megabits_per_second": 4},
                {"name": "cut", "stays_seconds": 600, "cut": True},
            ],
        },
        "load": {"levels": [{"name": "usual", "requests_per_second": per_second}]},
        "device": {"service_ms": 45, "p95_ms": 60},
        "cloud": {"service_ms": 4, "p95_ms": 8},
    }


def with_policy(figures: dict[str, Any], folder: Path, content: bytes | None = None) -> tuple[bytes, Solved]:
    """A bundle's plain form with the policy that these figures make, and the solution. content: the bundle; None: the tiny model's.
    folder: for the file of figures."""
    (folder / "policy.json").write_text(json.dumps(figures))
    settings = load_policy("policy.json", folder, "policy")
    [(name, situation)] = settings.situations().items()
    found = solved(name, replace(situation, peers=None), settings.margin_ms)
    plain = io.BytesIO(content or tiny_content())
    manifest = bundle.read(plain, bundle.MANIFEST)
    gates = {bundle.POLICY: policy_of(found, digests.of(manifest)).to_json().decode()}
    return content_of(bundle.read(plain, bundle.MODEL), manifest, bundle.document(plain, bundle.GOLDEN), gates), found


@dataclass(frozen=True)
class Asked:
    """One request, as who asked saw it. at: when it was sent, by the monotonic clock. by: who answered; empty: nobody."""

    at: float
    seconds: float
    status: int
    by: str
    failure: str = ""


@dataclass
class Device:
    """A device that runs in its network. body: of the requests that it is asked."""

    living: Living
    network: Network
    body: bytes = json.dumps({"instances": ROWS}).encode()

    def ask(self, connection: http.client.HTTPConnection, deadline_ms: int) -> Asked:
        """One request."""
        began = time.monotonic()
        headers = {"Content-Type": "application/json", DEADLINE_MS: str(deadline_ms)}
        try:
            connection.request("POST", f"/v1/models/{MODEL}:predict", self.body, headers)
            reply = connection.getresponse()
            content = reply.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return Asked(began, time.monotonic() - began, 0, "", type(error).__name__)
        failure = "" if reply.status == 200 and "predictions" in json.loads(content) else content[:200].decode(errors="replace")
        return Asked(began, time.monotonic() - began, reply.status, reply.headers.get(ANSWERED_BY, ""), failure)

    def connection(self) -> http.client.HTTPConnection:
        """To be made by a thread that is in the network."""
        return http.client.HTTPConnection(self.living.url.removeprefix("http://"), timeout=10)

    def routing(self) -> routing.Routing:
        """What it says of its routing."""

        def get() -> bytes:
            connection = self.connection()
            connection.request("GET", ROUTING_PATH)
            return connection.getresponse().read()

        return routing.read(self.network.within(get))


@dataclass(frozen=True)
class Told:
    """A fleet that was told a content, by its number."""

    fleet: Fleet
    number: int

    def is_confirmed(self, device: str) -> bool:
        """Whether the device has said so."""
        said = report.folder(PREFIX, self.number) + f"{device}~confirmed~"
        return any(key.startswith(said) for key in self.fleet.store.objects)


@contextmanager
def device_in(network: Network, told: Told, folder: Path, name: str, **fallback: Any) -> Iterator[Device]:
    """A device that serves what the fleet was told: it got it where it reaches the store, and is in its network now."""
    key = report.device_key(SECRET, FLEET, name, 1).hex()
    asks = {"url": network.url, "min_confidence": 0.0, "policy": "as_signed", **fallback}
    living = Living(told.fleet, folder, {"device": name, "report_key": key, "fallback": asks})
    try:
        living.start()
        patience.wait_until(lambda: told.is_confirmed(name), 60)
        served = living.served()
        living.stop()
        living.start(program_within(network, [sys.executable, "-m", "isthmus_agent", "run", "--config", str(living.configured())]))
        patience.wait_until(lambda: network.within(living.served) == served, 60)
        yield Device(living, network)
    finally:
        living.kill()


@dataclass
class Asking:
    """Who asks a device at a steady rate, in a thread in its network. asked: all of it."""

    device: Device
    per_second: float
    deadline_ms: int
    asked: list[Asked] = field(default_factory=list)
    _ends: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> "Asking":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> Sequence[Asked]:
        """All that was asked. Every request that was begun has ended."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join(30)
        return self.asked

    def await_one(self, wanted: Callable[[Asked], bool], seconds: float = 60.0) -> Asked:
        """The first request from now on that is so."""
        seen = len(self.asked)
        return patience.wait_until(lambda: next((it for it in self.asked[seen:] if wanted(it)), None), seconds, 0.01)

    def _run(self) -> None:
        self.device.network.enter()
        connection, due = self.device.connection(), time.monotonic()
        while not self._ends.is_set():
            self.asked.append(self.device.ask(connection, self.deadline_ms))
            due = max(due + 1 / self.per_second, time.monotonic() - 1 / self.per_second)
            self._ends.wait(max(0.0, due - time.monotonic()))
        connection.close()
