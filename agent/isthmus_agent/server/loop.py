"""The loop of a server: connections, and the manager's wishes. One thread, one request at a time."""

import ctypes
import selectors
import signal
import socket
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from isthmus_agent import channel
from isthmus_agent.channel import Channel, Limits, Page
from isthmus_agent.protocol import RestError
from isthmus_agent.server.answers import Answer, Answering, Group, Heard, Later
from isthmus_agent.server.http import HttpError, Reader, Request, written

_RECEIVE_BYTES = 128 << 10
_LARGE_BYTES = 1 << 20
_LEAST_REST_SECONDS = 0.5
"""How long a connection rests at least before it may be closed for another that waits."""
_TIDY_SECONDS = 1.0

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's


def trim() -> None:
    """Gives back memory that is free, where the C library can."""
    if _malloc_trim is not None:
        _malloc_trim(0)


@dataclass(frozen=True)
class _Asked:
    """A request that somebody else has a part in. finish: see `Later`."""

    request: Request
    finish: Callable[[bytes | None], Answer]


class _Connection:
    """ends: whether it is closed when what is to be sent was sent. is_deaf: what still comes is thrown away. asked: what somebody else is
    asked for it; nothing of it is read meanwhile."""

    __slots__ = ("asked", "ends", "is_deaf", "out", "reader", "since", "slot", "sock")

    def __init__(self, sock: socket.socket, slot: int, most_body_bytes: int) -> None:
        self.sock, self.slot, self.reader = sock, slot, Reader(most_body_bytes)
        self.out = memoryview(b"")
        self.ends = self.is_deaf = False
        self.asked: _Asked | None = None
        self.since = time.monotonic()


class Loop:
    """Serves until it is told to drain, or the manager is gone. allow: hears the manager's leave for samples. asker: who else is asked by
    some answers. fused: with whom some are given."""

    def __init__(
        self,
        control: Channel,
        page: Page,
        listeners: Sequence[socket.socket],
        limits: Limits,
        *,
        answer: Answering,
        figures: Callable[[], Mapping[str, Any]],
        allow: Callable[[Mapping[str, Any]], None] = lambda message: None,
        asker: Heard | None = None,
        fused: Group | None = None,
    ) -> None:
        self._control, self._page, self._listeners, self._limits = control, page, listeners, limits
        self._answer, self._figures, self._allow, self._asker, self._fused = answer, figures, allow, asker, fused
        self._selector = selectors.DefaultSelector()
        self._selector.register(control.fileno(), selectors.EVENT_READ, lambda _: self._hear())
        if asker is not None:
            self._selector.register(asker.fileno(), selectors.EVENT_READ, lambda _: None)  # it is seen to in every turn
        self._asking: dict[Hashable, _Connection] = {}
        self._connections: dict[int, _Connection] = {}
        self._free = list(range(limits.slots - 1, -1, -1))
        self._unsaid: list[int] = []  # slots whose end the manager does not know
        self._accepts = self._listens = False
        self._ends_at: float | None = None
        self._tidied_at = 0.0

    def run(self) -> None:
        """Returns when everything is drained. Raises EOFError where the manager is gone."""
        while self._ends_at is None or self._connections:
            for key, mask in self._selector.select(self._wait_seconds()):
                key.data(mask)
            self._hear_asker()
            now = time.monotonic()
            if self._ends_at is not None and now >= self._ends_at:
                break
            if now - self._tidied_at >= _TIDY_SECONDS:
                self._tidied_at = now
                self._tidy(now)
            self._listen()

    def _wait_seconds(self) -> float | None:
        tidies = _TIDY_SECONDS if self._connections or self._unsaid else None
        late_at = min((at for it in (self._asker, self._fused) if it and (at := it.next_at()) is not None), default=None)
        if late_at is None:
            return tidies
        left_seconds = max(0.0, late_at - time.monotonic())
        return left_seconds if tidies is None else min(tidies, left_seconds)

    # The manager's wishes

    def _hear(self) -> None:
        for message, descriptors in self._control.received():
            what = message["what"]
            if what == channel.SERVE:
                self._accepts = True
            elif what == channel.ADOPT:
                for descriptor in descriptors:
                    self._begin(socket.socket(fileno=descriptor))
            elif what == channel.DRAIN:
                self._drain()
            elif what == channel.MEASURE:
                self._control.send(channel.MEASURED, **self._figures())
            elif what == channel.SAMPLE:
                self._allow(message)
            elif what in (channel.EVIDENCE, channel.PRESENT) and self._fused is not None:
                self._fused.hear(message)

    def _drain(self) -> None:
        self._accepts, self._ends_at = False, time.monotonic() + self._limits.drain_seconds
        self._listen()
        for connection in list(self._connections.values()):
            if self._rests(connection):
                self._release(connection)

    def _rests(self, connection: _Connection) -> bool:
        return connection.reader.is_between and not connection.out and not connection.is_deaf and connection.asked is None

    def _release(self, connection: _Connection) -> None:
        """Leaves a connection to the manager, which holds it too."""
        if self._control.send(channel.RELEASED, slot=connection.slot):
            self._forget(connection)
        else:
            self._close(connection)

    # Connections

    def _listen(self) -> None:
        """Accepts only as long as there is room: what waits, waits in the kernel."""
        wants = self._accepts and (len(self._connections) < self._limits.most_connections or self._resting() is not None)
        if wants != self._listens:
            self._listens = wants
            for listener in self._listeners:
                if wants:
                    self._selector.register(listener, selectors.EVENT_READ, lambda _, it=listener: self._accept(it))
                else:
                    self._selector.unregister(listener)

    def _resting(self) -> _Connection | None:
        """The connection that has rested longest, if it has for a while."""
        latest = time.monotonic() - _LEAST_REST_SECONDS
        found = [it for it in self._connections.values() if self._rests(it) and it.since < latest]
        return min(found, key=lambda it: it.since, default=None)

    def _accept(self, listener: socket.socket) -> None:
        if not self._accepts:
            return
        if len(self._connections) >= self._limits.most_connections:
            resting = self._resting()
            if resting is None:
                return
            self._close(resting)
        try:
            sock, _ = listener.accept()
        except OSError:  # another server was faster, or the client is gone
            return
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._begin(sock)

    def _begin(self, sock: socket.socket) -> None:
        if not self._free:
            sock.close()
            return
        sock.setblocking(False)
        connection = _Connection(sock, self._free.pop(), self._limits.most_body_bytes)
        self._page[connection.slot] = channel.RESTS
        self._control.send(channel.HELD, sock.fileno(), slot=connection.slot)
        self._connections[connection.slot] = connection
        self._selector.register(sock, selectors.EVENT_READ, lambda mask: self._serve(connection, mask))

    def _close(self, connection: _Connection) -> None:
        with suppress(OSError):
            # The manager has the connection open too: without this it would not end.
            connection.sock.shutdown(socket.SHUT_RDWR)
        self._forget(connection)
        self._unsaid.append(connection.slot)
        self._say_dropped()

    def _say_dropped(self) -> None:
        while self._unsaid and self._control.send(channel.DROPPED, slot=self._unsaid[0]):
            self._free.append(self._unsaid.pop(0))

    def _forget(self, connection: _Connection) -> None:
        self._selector.unregister(connection.sock)
        connection.sock.close()
        del self._connections[connection.slot]

    def _tidy(self, now: float) -> None:
        limits = self._limits
        self._say_dropped()
        for connection in list(self._connections.values()):
            age = now - connection.since
            if self._rests(connection):
                if age > limits.idle_seconds:
                    self._close(connection)
            elif connection.asked is not None:  # that has a time of its own
                continue
            elif age > limits.receive_seconds:
                if connection.out or connection.is_deaf:
                    self._close(connection)
                else:
                    self._refuse(connection, RestError(408, f"the request did not come in whole within {limits.receive_seconds:g} s"))

    # Requests

    def _serve(self, connection: _Connection, mask: int) -> None:
        if self._connections.get(connection.slot) is not connection or connection.asked:  # by what came before in this turn
            return
        if mask & selectors.EVENT_WRITE:
            self._send(connection)
            if connection.out or connection.slot not in self._connections:
                return
        elif self._receive(connection):
            return
        self._advance(connection)

    def _receive(self, connection: _Connection) -> bool:
        """Whether there is nothing more to do."""
        try:
            data = connection.sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return True
        except OSError:
            data, connection.is_deaf = b"", True
        if not data:
            if connection.is_deaf or connection.reader.is_between:
                self._close(connection)
            else:
                self._refuse(connection, RestError(400, "the request's body is not complete"))
            return True
        if connection.is_deaf:
            return True
        if connection.reader.is_between:
            connection.since = time.monotonic()
        connection.reader.feed(data)
        return False

    def _advance(self, connection: _Connection) -> None:
        """Answers what is there of whole requests."""
        reader = connection.reader
        while not connection.out and not connection.is_deaf and connection.slot in self._connections:
            self._page[connection.slot] = channel.RESTS if reader.is_between else channel.READS
            try:
                request = reader.take()
            except HttpError as error:
                self._refuse(connection, RestError(error.status, str(error)))
                return
            except MemoryError:
                self._refuse(connection, RestError(503, "there is not enough memory for this request"))
                return
            if request is None:
                self._wait_for_more(connection)
                return
            self._page[connection.slot] = channel.RUNS
            with self._alarmed():
                answer = self._answer(request)
            if isinstance(answer, Later):
                self._ask(connection, request, answer)
                return
            size = self._say(connection, request, answer)
            del request, answer
            if size > _LARGE_BYTES:
                trim()  # else the memory of one large request is kept for ever

    @contextmanager
    def _alarmed(self) -> Iterator[None]:
        signal.setitimer(signal.ITIMER_REAL, self._limits.request_seconds)
        yield
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _say(self, connection: _Connection, request: Request, answer: Answer) -> int:
        """Answers a request. How many bytes the two are."""
        reply = answer.reply
        connection.ends = not request.stays or reply.last
        more, with_body = answer.headers, request.method != "HEAD"
        content = written(reply.status, reply.body, reply.content_type, stays=not connection.ends, with_body=with_body, more=more)
        self._begin_to_send(connection, content)
        return len(request.body) + len(content)

    def _ask(self, connection: _Connection, request: Request, later: Later) -> None:
        self._page[connection.slot] = channel.ASKS
        connection.asked = _Asked(request, later.finish)
        self._asking[later.question] = connection
        self._selector.unregister(connection.sock)

    def _hear_asker(self) -> None:
        for asked in (self._asker, self._fused):
            if asked is not None and sum(self._said_later(*it) for it in asked.answered()) > _LARGE_BYTES:
                trim()

    def _said_later(self, question: Hashable, found: bytes | None) -> int:
        """Answers the request that a question was about. How many bytes the two are."""
        connection = self._asking.pop(question, None)
        if connection is None or connection.asked is None:  # nobody waits for it
            return 0
        asked, connection.asked = connection.asked, None
        self._selector.register(connection.sock, selectors.EVENT_READ, lambda mask: self._serve(connection, mask))
        self._page[connection.slot] = channel.RUNS  # the model may run for it now
        with self._alarmed():
            answer = asked.finish(found)
        size = self._say(connection, asked.request, answer)
        self._advance(connection)
        return size

    def _wait_for_more(self, connection: _Connection) -> None:
        reader, limits = connection.reader, self._limits
        if reader.is_between:
            if self._ends_at is not None:
                self._release(connection)
            return
        if reader.held_bytes > _LARGE_BYTES:
            held = sum(it.reader.held_bytes for it in self._connections.values())
            if held > 2 * limits.most_body_bytes:
                self._refuse(connection, RestError(503, "there are too many large requests at once"))
                return
        if reader.expects_continue:
            reader.expects_continue = False
            self._begin_to_send(connection, b"HTTP/1.1 100 Continue\r\n\r\n")

    def _refuse(self, connection: _Connection, error: RestError) -> None:
        """Answers and ends. What the client still sends is taken for a while: it would not see the answer else."""
        reply = error.reply
        connection.reader = Reader(self._limits.most_body_bytes)
        connection.ends = True
        connection.since = time.monotonic()
        self._begin_to_send(connection, written(reply.status, reply.body, reply.content_type, stays=False))

    def _begin_to_send(self, connection: _Connection, answer: bytes) -> None:
        self._page[connection.slot] = channel.WRITES
        connection.since = time.monotonic()
        connection.out = memoryview(answer)
        self._send(connection)
        if connection.out and connection.slot in self._connections:
            self._watch(connection, selectors.EVENT_WRITE)

    def _send(self, connection: _Connection) -> None:
        try:
            sent = connection.sock.send(connection.out)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        connection.out = connection.out[sent:]
        if connection.out:
            return
        connection.since = time.monotonic()
        if self._selector.get_key(connection.sock).events != selectors.EVENT_READ:
            self._watch(connection, selectors.EVENT_READ)
        if connection.ends:
            connection.is_deaf = True
            try:
                connection.sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._close(connection)
        else:
            self._page[connection.slot] = channel.RESTS if connection.reader.is_between else channel.READS

    def _watch(self, connection: _Connection, events: int) -> None:
        self._selector.modify(connection.sock, events, self._selector.get_key(connection.sock).data)
