"""A group of whole devices: programs as processes of their own, real servers, and a real broker."""

import http.client
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.isthmus_agent.bus.brokers import GROUP, PASSWORDS, RunningBroker
from tests.isthmus_agent.living import Fleet, Living
from toolchain.testing import patience

from isthmus_agent.channel import GATE
from isthmus_agent.disk import sockets
from isthmus_agent.manager import control

PACE = {"beat_seconds": 0.25, "expiry_seconds": 1.5, "answer_seconds": 1.5}


class AtGate(http.client.HTTPConnection):
    """A program on a device, as it asks the group."""

    def __init__(self, state: Path, timeout_seconds: float = 30.0) -> None:
        super().__init__("group", timeout=patience.scaled(timeout_seconds))
        self._state = state

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        with sockets.short(self._state, GATE) as path:
            self.sock.connect(path)

    def ask(self, path: str, rows: object, within_ms: int = 20_000) -> tuple[int, Any]:
        """Status and document."""
        self.request("POST", path, json.dumps({"instances": rows}), {"X-Isthmus-Deadline-Ms": str(within_ms)})
        reply = self.getresponse()
        content = reply.read()
        return reply.status, json.loads(content) if reply.status == 200 else content


@dataclass
class Yard:
    """Devices by their names, at one broker."""

    fleet: Fleet
    broker: RunningBroker
    ca_file: Path | None
    folder: Path
    devices: dict[str, Living] = field(default_factory=dict)

    def told(self, name: str, port: int | None = None, *, password: str = "", **changes: Any) -> Mapping[str, Any]:
        """The section `group` of a device's configuration."""
        file = self.folder / f"{name}.password"
        file.touch(0o600)
        file.write_text(password or PASSWORDS[name])
        found = {
            "name": GROUP,
            "broker": f"mqtt{'s' if self.ca_file else ''}://127.0.0.1:{port or self.broker.port}",
            **({"ca_file": str(self.ca_file)} if self.ca_file else {}),
            "password_file": str(file),
            "inputs": "stay_in_group",
            "mqtt": "5" if self.broker.speaks_5 else "3.1.1",
            **PACE,
        }
        return {**found, **changes}

    def join(
        self, name: str, *, device_class: str = "*", more: Mapping[str, Any] | None = None, port: int | None = None, **group: Any
    ) -> Living:
        """Starts a device. more: of its configuration."""
        changes = {"class": device_class, "group": self.told(name, port, **group), **(more or {})}
        self.devices[name] = Living(self.fleet, self.folder / name, changes, name=name)
        return self.devices[name].start()

    def state(self, name: str) -> dict[str, Any]:
        """What the device says of its group."""
        found: dict[str, Any] = control.ask(self.devices[name].state, {"do": "status"})["group"]
        return found

    def wait(self, name: str, holds: Callable[[dict[str, Any]], object], seconds: float = 20.0) -> dict[str, Any]:
        """What the device says of its group, once something holds of it."""
        found: dict[str, Any] = patience.wait_until(lambda: (it := self.state(name)) and holds(it) and it, seconds, 0.1)
        return found

    def gate(self, name: str) -> AtGate:
        return AtGate(self.devices[name].state)

    def close(self) -> None:
        for it in self.devices.values():
            it.kill()


@dataclass
class Stream:
    """Requests of one stream, one after the other by a few programs, from `begin` to `end`; each with its own rows."""

    yard: Yard
    home: str
    answers: dict[int, Any] = field(default_factory=dict)
    _is_over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: int = 0
    name: str = "camera"

    @contextmanager
    def flowing(self, programs: int = 3) -> Iterator["Stream"]:
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(programs)]
        for it in self._threads:
            it.start()
        try:
            yield self
        finally:
            self._is_over.set()
            for it in self._threads:
                it.join()

    @staticmethod
    def rows(number: int) -> list[list[float]]:
        """Different for each."""
        return [[number % 7 / 7, number % 11 / 11, number % 13 / 13, number / 10_000]]

    def await_more(self, count: int = 10, seconds: float = 30.0) -> None:
        """Until so many more have been answered."""
        wanted = len(self.answers) + count
        patience.wait_until(lambda: len(self.answers) >= wanted, seconds, 0.02)

    def _ask(self) -> None:
        gate = self.yard.gate(self.home)
        while not self._is_over.wait(0.01):
            with self._lock:
                number, self._next = self._next, self._next + 1
            found = gate.ask(f"/streams/{self.name}/v1/models/digits:predict", self.rows(number))
            with self._lock:
                assert number not in self.answers
                self.answers[number] = found
        gate.close()


def server_of(device: Living) -> int:
    """The process that answers."""
    assert device.process is not None
    tasks = Path(f"/proc/{device.process.pid}/task").iterdir()
    found = [int(it) for task in tasks for it in (task / "children").read_text().split()]
    return next(it for it in found if b"isthmus_agent.server" in Path(f"/proc/{it}/cmdline").read_bytes())


def memory_bytes(device: Living) -> int:
    """Of the manager."""
    assert device.process is not None
    return int(Path(f"/proc/{device.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
