"""Connections that no server has: those that rest wait for the next one; where none comes, it is said."""

import json
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from isthmus_agent import channel
from isthmus_agent.formats.answers import HEALTH_PATH
from isthmus_agent.formats.report import Reason
from isthmus_agent.manager.child import Child

_REST_SECONDS: Final = 60.0
_LINGER_SECONDS: Final = 10.0
_RECEIVE_BYTES: Final = 64 << 10
_HEALTH: Final = f"GET {HEALTH_PATH} ".encode()
_STATUS: Final = b"GET /v1/models/"


class Waiting:
    """Connections by what is to become of them.

    selector: its data are calls without arguments. about: what `/healthz` says of the device. most: connections of a kind.
    """

    def __init__(self, selector: selectors.BaseSelector, listeners: Sequence[socket.socket], about: Mapping[str, str], most: int) -> None:
        self._selector, self._listeners, self._about, self._most = selector, listeners, about, most
        self._parked: deque[socket.socket] = deque()
        self._ending: dict[socket.socket, float] = {}
        self.answers = False

    def park(self, connection: socket.socket) -> None:
        """Keeps a connection for the next server."""
        if self.answers:
            self._answer_later(connection)
        elif len(self._parked) < self._most:
            self._parked.append(connection)
        else:
            _end(connection)

    def hand_on(self, take: Callable[[socket.socket], bool]) -> None:
        """Gives all of them to a server. take: whether it could be given."""
        while self._parked:
            connection = self._parked.popleft()
            if take(connection):
                connection.close()
            else:
                _end(connection)

    def answer(self, wanted: bool) -> None:
        """Whether it is said to all who ask that nothing is served, instead of having them wait."""
        if wanted == self.answers:
            return
        self.answers = wanted
        for listener in self._listeners:
            if wanted:
                self._selector.register(listener, selectors.EVENT_READ, lambda it=listener: self._accept(it))
            else:
                self._selector.unregister(listener)
        while wanted and self._parked:
            self._answer_later(self._parked.popleft())

    def bury(self, child: Child, reason: Reason, text: str) -> None:
        """Sees to the connections of a server that ended: each request on them has one answer, or its connection ends."""
        for slot, connection in child.connections.items():
            connection.setblocking(False)
            state = child.page[slot]
            if state == channel.RESTS:
                self.park(connection)
            elif state in (channel.READS, channel.ASKS):
                self._refuse(connection, "503 Service Unavailable", "the server ended before this request was complete")
            elif state == channel.RUNS:
                status = "504 Gateway Timeout" if reason is Reason.HUNG else "500 Internal Server Error"
                self._refuse(connection, status, f"{text}: this one" if reason is Reason.HUNG else text)
            else:  # a part of its answer is out
                _end(connection)
        child.connections.clear()

    def _refuse(self, connection: socket.socket, status: str, text: str) -> None:
        """Answers a request that died with its server, and ends the connection."""
        self._say(connection, status, {"error": text})

    def tidy(self) -> float | None:
        """Ends what takes too long. When that is of use again."""
        now = time.monotonic()
        for connection, until in list(self._ending.items()):
            if now >= until:
                self._close(connection)
        return min(self._ending.values(), default=None)

    def close(self) -> None:
        """Ends all of them."""
        self.answer(False)
        for connection in list(self._ending):
            self._close(connection)
        while self._parked:
            _end(self._parked.popleft())

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        if len(self._ending) >= self._most:
            _end(connection)
            return
        connection.setblocking(False)
        self._answer_later(connection)

    def _answer_later(self, connection: socket.socket) -> None:
        """Answers when the request is there: one that comes unasked would be taken for another's."""
        self._ending[connection] = time.monotonic() + _REST_SECONDS
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._answer(connection))

    def _answer(self, connection: socket.socket) -> None:
        try:
            head = connection.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            head = b""
        self._selector.unregister(connection)
        if not head:
            del self._ending[connection]
            connection.close()
        elif head.startswith(_HEALTH):
            self._say(connection, "200 OK", {**self._about, "state": "empty", "digest": None, "version": None})
        elif head.startswith(_STATUS):
            model = head[len(_STATUS) :].split(b" ")[0].split(b"/")[0].decode("latin-1")
            self._say(connection, "404 Not Found", {"error": f"Could not find any versions of model {model}"})
        else:
            self._say(connection, "503 Service Unavailable", {"error": "no release is served on this device at the moment"})

    def _say(self, connection: socket.socket, status: str, document: Mapping[str, object]) -> None:
        body = json.dumps(document, indent=4).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        try:
            connection.send(head.encode() + body)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            self._ending.pop(connection, None)
            connection.close()
            return
        # What the client still sends is taken: it would not see the answer else.
        self._ending[connection] = time.monotonic() + _LINGER_SECONDS
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._take_rest(connection))

    def _take_rest(self, connection: socket.socket) -> None:
        try:
            if connection.recv(_RECEIVE_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._ending[connection]
        _end(connection)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
