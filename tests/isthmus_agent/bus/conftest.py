import itertools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.isthmus_agent.bus import device
from tests.isthmus_agent.bus.brokers import PASSWORDS, RunningBroker
from tests.isthmus_agent.living import Fleet
from tests.isthmus_agent.yard import Yard

from isthmus.provider.local.certificates import for_loopback
from isthmus_agent.bus.member import Member

STARTS = itertools.count(1)
"""As a device has them: the broker still has the last words of those that an earlier test started."""


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of 127.0.0.1, signed by itself: its file and its key's."""
    folder = tmp_path_factory.mktemp("certificate")
    found = for_loopback()
    (folder / "certificate.pem").write_text(found.certificate_pem)
    (folder / "key.pem").write_text(found.private_pem)
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture(scope="module", params=["amqtt", "mosquitto"])
def broker(
    request: pytest.FixtureRequest, certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningBroker]:
    found = RunningBroker(request.param, tmp_path_factory.mktemp(request.param), *certificate)
    yield found
    found.kill()


@pytest.fixture
def running(broker: RunningBroker) -> RunningBroker:
    """The broker, started if a test has killed it."""
    if broker.process is None:
        broker.start()
    return broker


class Group:
    """Devices in this process, and others in processes of their own."""

    def __init__(self, broker: RunningBroker, ca_file: Path) -> None:
        self.broker, self.ca_file = broker, ca_file
        self.members: dict[str, Member] = {}
        self.servers: dict[str, device.Server] = {}
        self.processes: list[subprocess.Popen[bytes]] = []
        self.said: list[tuple[str, str]] = []

    def join(
        self,
        name: str,
        capacity: int,
        *,
        port: int | None = None,
        password: str | None = None,
        ca_file: Path | None = None,
        is_5: bool | None = None,
        **more: Any,
    ) -> Member:
        start = next(STARTS)
        arguments = (
            port or self.broker.port,
            ca_file or self.ca_file,
            password or PASSWORDS[name],
            capacity,
        )
        versions = {"start": start, "is_5": self.broker.speaks_5}
        self.members[name], self.servers[name] = device.made(
            name, *arguments, **versions, say=lambda text: self.said.append((name, text)), **more
        )
        self.members[name].start()
        return self.members[name]

    def spawn(self, name: str, capacity: int) -> subprocess.Popen[bytes]:
        start = next(STARTS)
        arguments = [
            str(self.broker.port),
            str(self.ca_file),
            PASSWORDS[name],
            str(capacity),
            str(start),
            "5" if self.broker.speaks_5 else "3.1.1",
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        program = [sys.executable, device.__file__, name, *arguments]
        process = subprocess.Popen(program, env=environment, stdout=subprocess.PIPE)
        self.processes.append(process)
        assert process.stdout
        assert b"broker is there" in process.stdout.readline()
        return process

    def wait(self, name: str, holds: Callable[[dict], bool], seconds: float = 15.0) -> dict:
        """The member's status, once something holds of it."""
        ticks = threading.Event()
        for _ in range(int(seconds / 0.01)):
            status = self.members[name].status()
            if holds(status):
                return status
            ticks.wait(0.01)
        raise AssertionError(f"{status}; {self.said}")

    def close(self) -> None:
        for member in self.members.values():
            member.close()
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def group(running: RunningBroker, certificate: tuple[Path, Path]) -> Iterator[Group]:
    found = Group(running, certificate[0])
    yield found
    found.close()


class Way:
    """A way to the broker that can be cut: a cable that is pulled lets no packet through, and tells nobody."""

    def __init__(self, port: int) -> None:
        self._to, self._listener, self._sockets = port, socket.create_server(("127.0.0.1", 0)), []
        self.port, self.is_cut = self._listener.getsockname()[1], False
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Nothing comes through any more, and whoever asks is refused."""
        self.is_cut = True
        for it in self._sockets:
            with suppress(OSError):
                it.shutdown(socket.SHUT_RDWR)
            it.close()
        self._sockets.clear()

    def mend(self) -> None:
        self.is_cut = False

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if self.is_cut:
                    near.close()
                    continue
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:  # the broker is away
                    near.close()
                    continue
                self._sockets += [near, far]
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, to: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            to.sendall(piece)
    for it in (source, to):
        with suppress(OSError):
            it.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def way(running: RunningBroker) -> Iterator[Way]:
    found = Way(running.port)
    yield found
    found.close()


@pytest.fixture
def yard(fleet: Fleet, running: RunningBroker, certificate: tuple[Path, Path], tmp_path: Path) -> Iterator[Yard]:
    found = Yard(fleet, running, certificate[0], tmp_path)
    yield found
    found.close()
