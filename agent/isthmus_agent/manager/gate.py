"""The way from programs on a device to its group: HTTP on a Unix socket in the state folder, which only the device's own user can open.

Who asks is the server's process (`server.peers`), or a program whose requests are to outlive a server that falls over. What is answered
under which beginning of a path is for others to say (`route`); each request has a thread for as long as it takes.
"""

import http.client
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from isthmus_agent.channel import GATE
from isthmus_agent.disk import durable, sockets
from isthmus_agent.formats.answers import DEADLINE_MS, deadline_ms
from isthmus_agent.formats.carried import MOST_BODY_BYTES
from isthmus_agent.formats.numbers import FormatError

_MOST_CONNECTIONS: Final = 64
_BACKLOG: Final = 64
_IDLE_SECONDS: Final = 75.0
_PAUSE_SECONDS: Final = 0.1
_MOST_LINE_BYTES: Final = 4 << 10
_WITHIN_SECONDS: Final = 10.0
"""Of requests that say no deadline."""


@dataclass(frozen=True)
class Asked:
    """path: what comes after the route's beginning. within_seconds: until nobody waits for the answer any more."""

    method: str
    path: str
    body: bytes
    within_seconds: float


@dataclass(frozen=True)
class Said:
    """An HTTP status, and what comes with it. retry_seconds: when asking again is of use; None: nothing is said of that."""

    status: int
    body: bytes = b""
    retry_seconds: int | None = None


Handle = Callable[[Asked], Said]
"""What answers; it may wait, and must not raise."""


class Gate:
    """Answers on the socket from `start` to `close`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._routes: dict[str, Handle] = {}
        self._room = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        self._listener = socket.socket(socket.AF_UNIX)
        self._closing = threading.Event()

    def route(self, beginning: str, handle: Handle) -> None:
        """Has paths that begin so answered by somebody; before `start`."""
        self._routes[beginning] = handle

    def start(self) -> None:
        """Begins to listen. Raises OSError where the folder takes no socket."""
        durable.remove(self._folder / GATE)
        with sockets.short(self._folder, GATE) as path:
            self._listener.bind(path)
        os.chmod(self._folder / GATE, 0o600)
        self._listener.listen(_BACKLOG)
        threading.Thread(target=self._accept, name="group-gate", daemon=True).start()

    def close(self) -> None:
        """Takes no more connections; those that there are end with what they wait for."""
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            self._room.acquire()
            try:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), name="group-request", daemon=True).start()
            except (OSError, RuntimeError):
                self._room.release()
                if self._closing.wait(_PAUSE_SECONDS):  # else there are no descriptors, or no threads, for a while
                    return

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as file, suppress(OSError, ValueError, http.client.HTTPException):
                connection.settimeout(_IDLE_SECONDS)
                while (asked := _read(file)) is not None:
                    said = asked if isinstance(asked, Said) else self._answer(asked)
                    connection.sendall(_written(said, ends=isinstance(asked, Said)))
                    if isinstance(asked, Said):
                        return
        finally:
            self._room.release()

    def _answer(self, asked: Asked) -> Said:
        for beginning, handle in self._routes.items():
            if asked.path.startswith(beginning):
                return handle(Asked(asked.method, asked.path[len(beginning) :], asked.body, asked.within_seconds))
        return Said(404, b"there is nothing under this path")


def _read(file: IO[bytes]) -> Asked | Said | None:
    """One request; what is said to what is none; None where there is no further one. Raises OSError, ValueError, HTTPException."""
    line = file.readline(_MOST_LINE_BYTES + 1)
    if not line:
        return None
    method, path, *rest = line.decode("ascii").split()
    if len(line) > _MOST_LINE_BYTES or rest != ["HTTP/1.1"]:
        return Said(400, b"no HTTP request")
    headers: Mapping[str, str] = http.client.parse_headers(file)  # type: ignore[assignment]
    length = int(headers.get("Content-Length", "0"))
    if not 0 <= length <= MOST_BODY_BYTES or "Transfer-Encoding" in headers:
        return Said(413, f"expected a Content-Length of {MOST_BODY_BYTES} at most".encode())
    try:
        wanted = headers.get(DEADLINE_MS)
        within_seconds = _WITHIN_SECONDS if wanted is None else deadline_ms(wanted) / 1000
    except FormatError as error:
        return Said(400, str(error).encode())
    body = file.read(length)
    return Asked(method, path, body, within_seconds) if len(body) == length else None


def _written(said: Said, *, ends: bool) -> bytes:
    again = "" if said.retry_seconds is None else f"Retry-After: {said.retry_seconds}\r\n"
    end = "Connection: close\r\n" if ends else ""
    phrase = http.client.responses.get(said.status, "Unknown")
    head = f"HTTP/1.1 {said.status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(said.body)}\r\n{again}{end}\r\n"
    return head.encode("ascii") + said.body
