"""A language host in a process of its own, spoken to over gRPC as the engine does."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import language_pb2_grpc

HOST = Path("toolchain", "language_host", "__main__.py")


class Host:
    """A host process and a client of it."""

    def __init__(self, project: Path) -> None:
        command = [sys.executable, str(project / HOST), "127.0.0.1:1"]
        started = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.start_seconds = time.monotonic() - started
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        self.output: tuple[str, str] | None = None
        self.client: Any = language_pb2_grpc.LanguageRuntimeStub(self.channel)

    def close(self) -> tuple[str, str]:
        """Interrupts it as the engine does; returns what it wrote besides its port. Once it is closed, nothing more happens."""
        if self.output is not None:
            return self.output
        self.channel.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.output = self.process.communicate(timeout=15)
            return self.output
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)


@pytest.fixture
def start_host(project: Path) -> Iterator[Callable[[], Host]]:
    """Starts hosts that end with the test."""
    started: list[Host] = []

    def start() -> Host:
        started.append(Host(project))
        return started[-1]

    yield start
    for host in started:
        host.close()


@pytest.fixture
def host(start_host: Callable[[], Host]) -> Host:
    """One host."""
    return start_host()
