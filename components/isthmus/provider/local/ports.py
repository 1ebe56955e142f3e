"""Ports on loopback: free ones, and who holds those that are not."""

import errno
import random
import socket
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isthmus.errors import ResourceFullError

HOST: Final = "127.0.0.1"
_LOWEST: Final = 20_000
# Linux hands ports from here on to outgoing connections, unless told otherwise.
_USUAL_EPHEMERAL_START: Final = 32_768
_ATTEMPTS: Final = 200

_handed_out: set[int] = set()
_lock = threading.Lock()


def is_free(port: int) -> bool:
    """Whether a server could listen on that port now. Raises PermissionError for a port that needs privileges."""
    with socket.socket() as probe:
        # As servers do, so that connections which are just closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def choose(taken: Collection[int]) -> int:
    """A free port that is not in `taken`, and that this process has handed out to nobody else.

    It lies below the range of outgoing connections: a replica that restarts must not find its port held by one of those.
    Raises ResourceFullError.
    """
    highest = max(_LOWEST + 1000, _ephemeral_start()) - 1
    with _lock:
        for _ in range(_ATTEMPTS):
            port = random.randint(_LOWEST, highest)  # noqa: S311 - nothing depends on its being hard to guess
            if port not in taken and port not in _handed_out and is_free(port):
                _handed_out.add(port)
                return port
    raise ResourceFullError(f"no free port between {_LOWEST} and {highest} on {HOST}")


def _ephemeral_start() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_EPHEMERAL_START


@dataclass(frozen=True)
class Holder:
    """The process that listens on a port, as far as this user may know. environment: empty where it may not."""

    description: str
    environment: dict[str, str]


def holder(port: int) -> Holder:
    """Who listens on a port."""
    import psutil

    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        connections = []
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port and connection.pid:
            try:
                process = psutil.Process(connection.pid)
                description = f"{process.name()} (process {process.pid})"
                return Holder(description, process.environ())
            except (psutil.Error, OSError):
                return Holder(f"process {connection.pid}", {})
    return Holder("another program", {})
