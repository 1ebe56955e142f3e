"""Measurements of what is served: golden probes through the socket that it serves on, then what the server has counted."""

import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isthmus_agent import channel
from isthmus_agent.core.events import Measurement
from isthmus_agent.manager import probe
from isthmus_agent.manager.child import WORKING_FOLDER, Child, environment

_MORE_SECONDS = 5.0


@dataclass(frozen=True)
class Counts:
    """What the content in service was asked, as far as it was measured. crashes: of all contents since the start. cloud_unavailable: how
    often the cloud was needed and had no answer; peer_unavailable: likewise of peers."""

    requests: int = 0
    errors: int = 0
    crashes: int = 0
    answered_by_cloud: int = 0
    cloud_unavailable: int = 0
    answered_by_peer: int = 0
    peer_unavailable: int = 0


@dataclass
class _Running:
    """process: of the probes; None once they are over."""

    child: Child
    process: "subprocess.Popen[bytes] | None"
    until: float
    passed: bool = False


class Measuring:
    """One measurement at a time. selector: its data are calls without arguments. request_seconds: that an answer of the server may take."""

    def __init__(self, selector: selectors.BaseSelector, listener: socket.socket, probe_seconds: float, request_seconds: float) -> None:
        self._selector, self._listener = selector, listener
        self._probe_seconds, self._request_seconds = probe_seconds, request_seconds
        self._running: _Running | None = None

    @property
    def until(self) -> float | None:
        """When it is overdue."""
        return self._running.until if self._running else None

    def begin(self, child: Child, content: Path) -> None:
        """Asks the golden probes. What is being measured already is answered once."""
        if self._running is not None:
            return
        question = probe.Question(os.getpid(), str(content), self._address(), self._probe_seconds)
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "isthmus_agent.manager.probe", question.to_text()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env=environment(),
                cwd=WORKING_FOLDER,
            )
        except OSError:
            return
        self._running = _Running(child, process, time.monotonic() + self._probe_seconds)
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        self._selector.register(process.stdout, selectors.EVENT_READ, lambda: self._probed(None))

    def end_overdue(self, now: float) -> None:
        """Probes that take too long have not passed."""
        if self._running and now >= self._running.until:
            self._probed(b"false")

    def heard(self, child: Child, message: Mapping[str, Any]) -> Measurement | None:
        """The measurement, where it is of a server that was asked for one."""
        running = self._running
        if running is None or running.child is not child or running.process is not None:
            return None
        self._running = None
        return Measurement(running.passed, message["p95_microseconds"], message["rss_bytes"], message["distribution_distance_millionths"])

    def stop(self) -> None:
        """Gives up what runs."""
        if self._running is not None:
            self._end_probes(self._running)
            self._running = None

    def _address(self) -> object:
        address = self._listener.getsockname()
        if isinstance(address, str):
            return address
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0]), address[1]  # noqa: S104 - it is compared with

    def _probed(self, said: bytes | None) -> None:
        """The probes are over. said: None: it is to be read."""
        running = self._running
        if running is None:
            return
        if running.process is None:  # the server does not answer: its own deadline sees to that
            self.stop()
            return
        passed = (running.process.stdout.read() if said is None and running.process.stdout else said) == b"true"
        self._end_probes(running)
        running.passed, running.until = passed, time.monotonic() + self._request_seconds + _MORE_SECONDS
        if not running.child.channel.send(channel.MEASURE):
            self.stop()

    def _end_probes(self, running: _Running) -> None:
        process, running.process = running.process, None
        if process is not None and process.stdout is not None:
            self._selector.unregister(process.stdout)
            process.stdout.close()
            process.kill()
            process.wait()
