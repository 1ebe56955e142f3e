"""Ports on loopback: free ones, and who holds those that are not."""

import contextlib
import errno
import json
import random
import socket
import threading
from collections import deque
from collections.abc import Collection, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from isthmus.errors import ResourceFullError
from isthmus.provider.local import orphans
from isthmus.provider.local.layout import Layout

HOST: Final = "127.0.0.1"
_LOWEST: Final = 20_000
# Linux hands ports from here on to outgoing connections, unless told otherwise.
_USUAL_EPHEMERAL_START: Final = 32_768
_ATTEMPTS: Final = 200

# Each holds a name of this machine's, so that another process passes the port over until its server listens.
_MOST_RESERVATIONS: Final = 256

_handed_out: set[int] = set()
_reservations: deque[socket.socket] = deque()
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
    """A free port that is not in `taken`, and that was handed out to nobody else on this machine.

    Between its being handed out and its server's listening, another process would find it free as well, and servers that share ports
    (SO_REUSEPORT) would not notice. So it is reserved while this process lives, or until many others were.

    It lies below the range of outgoing connections: a replica that restarts must not find its port held by one of those.
    Raises ResourceFullError.
    """
    highest = max(_LOWEST + 1000, _ephemeral_start()) - 1
    with _lock:
        for _ in range(_ATTEMPTS):
            port = random.randint(_LOWEST, highest)  # noqa: S311 - nothing depends on its being hard to guess
            if port not in taken and port not in _handed_out and _reserved(port) and is_free(port):
                _handed_out.add(port)
                return port
    raise ResourceFullError(f"no free port between {_LOWEST} and {highest} on {HOST}")


def _reserved(port: int) -> bool:
    """Whether it is reserved for this process by now. The name is one of the network namespace's, as the port is, and leaves no file."""
    reservation = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        reservation.bind(f"\0isthmus-port-{port}")
    except OSError:
        reservation.close()
        return False
    _reservations.append(reservation)
    if len(_reservations) > _MOST_RESERVATIONS:
        _reservations.popleft().close()
    return True


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

    pid = next((pid for _, pid in listeners({port}) if pid), None)
    environment = {}
    with contextlib.suppress(psutil.Error, OSError):
        environment = psutil.Process(pid).environ() if pid else {}
    return Holder(described(pid), environment)


def listeners(wanted: Container[int]) -> list[tuple[int, int | None]]:
    """Port and process id of all that listens on these ports; None: a process of another user's."""
    found = _listeners(wanted)
    # Who has which socket is read before which sockets there are: one that was opened in between seems to be nobody's that may be seen.
    return _listeners(wanted) if any(pid is None for _, pid in found) else found


def _listeners(wanted: Container[int]) -> list[tuple[int, int | None]]:
    import psutil

    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        return []
    found = ((it.laddr.port, it.pid) for it in connections if it.status == psutil.CONN_LISTEN and it.laddr)
    return [(port, pid) for port, pid in found if port in wanted]


def described(pid: int | None) -> str:
    """A process in words; one of ours with the name that it has under its supervisor."""
    import psutil

    if pid is None:
        return "another program"
    try:
        process = psutil.Process(pid)
        text, environment = f"{process.name()} (process {pid})", process.environ()
    except (psutil.Error, OSError):
        return f"process {pid}"
    directory, replica = environment.get(orphans.MARK), environment.get(orphans.REPLICA_MARK)
    if not directory or not replica:
        return text
    return f"{text}, which is {replica} of {_owner(Path(directory), replica) or f'the supervisor in {directory}'}"


def _owner(directory: Path, replica: str) -> str:
    """The URN of the resource that a replica under a supervisor is of; empty where that cannot be found out."""
    try:
        saved = json.loads(Layout(directory).program(replica.rpartition("-")[0]).read_text(encoding="utf-8"))
        return str(saved["owner"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
