"""HTTP/1 on connections: requests in, replies out, one at a time and in their order.

httptools parses. What a client may make a connection hold is bounded here: headers, one body, the bodies of all
connections together, and how many connections there are. Where there are too many, one that never finished a request
goes first, then the one that was silent longest.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache

import httptools

from isthmus.server.limits import LINGER_SECONDS, MAX_BODY_BYTES, MAX_HEAD_BYTES, STALLED_SECONDS, Budget, CountedLine
from isthmus_agent.protocol import Reply, RestError
from isthmus_agent.protocol.errors import PageError, phrase

_MAX_PIPELINED = 8
_MAX_AT_ONCE = 16  # a client that sends many requests at once must not keep the others waiting
_OVERHEAD = 8  # bytes on the wire for one of the body, at most: one sent in chunks of a single byte takes six
_LARGE_BODY_BYTES = 64 * 1024
_SWEEP_SECONDS = 5.0
_CORS = b"Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: POST, GET\r\nAccess-Control-Allow-Headers: Content-Type\r\n"
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Request:
    """One request. target: as in the request line. headers: names in lower case."""

    method: str = ""
    target: str = ""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes | bytearray = b""
    minor_version: int = 1
    keep_alive: bool = True
    held_bytes: int = 0

    def header(self, name: bytes) -> bytes:
        """The first header of that name; empty where there is none."""
        return next((value for key, value in self.headers if key == name), b"")


Answer = Callable[[Request], Reply | Awaitable[Reply]]


class HttpServer:
    """What the event loop's `create_server` takes: makes a connection for each client.

    Args:
        answer: the reply to a request, at once or later; raises nothing.
        budget: for the bodies of all connections.
        max_connections: more than these are not kept.
        cors: whether replies of the API allow other origins.
    """

    def __init__(self, answer: Answer, budget: Budget, max_connections: int, *, cors: bool = False) -> None:
        self.answer, self.budget = answer, budget
        self.cors = _CORS if cors else b""
        self.draining = False
        # In the order of their last activity. A dict, as it keeps an order and forgets in constant time.
        self.new: dict[Connection, None] = {}
        self.known: dict[Connection, None] = {}
        self.dropped = CountedLine(_log, "%d clients left before they had their reply")
        self._crowded = CountedLine(_log, "%d connections closed: there are too many")
        self._max_connections = max_connections
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None

    def __call__(self) -> "Connection":
        if self._sweeper is None:
            self._sweep()
        while len(self.new) + len(self.known) >= self._max_connections and self._evict():
            self._crowded.add()
        return Connection(self)

    def _evict(self) -> bool:
        """Closes the connection that is missed least; False where all are being answered."""
        for connections in (self.new, self.known):
            for connection in connections:
                if not connection.busy:
                    connection.close()
                    connections.pop(connection, None)
                    return True
        return False

    def _sweep(self) -> None:
        before = time.monotonic() - STALLED_SECONDS
        for connections in (self.new, self.known):
            for connection in [c for c in connections if c.receiving and not c.busy and c.active_at < before]:
                connection.close()
        self.dropped.flush()
        self._crowded.flush()
        self._sweeper = asyncio.get_running_loop().call_later(_SWEEP_SECONDS, self._sweep)

    def forget(self, connection: "Connection") -> None:
        """The connection is gone."""
        self.new.pop(connection, None)
        self.known.pop(connection, None)
        if self._empty is not None and not self.new and not self.known:
            self._empty.set()

    async def shut_down(self, seconds: float) -> None:
        """Close the connections that wait for a request at once, the others after their reply, all after that time."""
        self.draining = True
        for connection in [*self.new, *self.known]:
            if not connection.busy:
                connection.close()
        if self.new or self.known:
            self._empty = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), seconds)
        for connection in [*self.new, *self.known]:
            connection.close()
        if self._sweeper is not None:
            self._sweeper.cancel()


class Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: HttpServer) -> None:
        self.busy = False  # a request is being answered
        self.receiving = False  # one has begun
        self.active_at = time.monotonic()
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._received_bytes = 0  # of that request, as they came
        self._waiting: deque[Request] = deque()
        self._refused: Reply | None = None
        self._lingering = False
        self._choked = False  # the client does not read what it asked for
        self._task: asyncio.Task[None] | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._server.new[self] = None

    def connection_lost(self, exception: Exception | None) -> None:
        if self._task is not None or self.receiving:
            self._server.dropped.add()
        if self._task is not None:
            self._task.cancel()
        self._server.forget(self)
        for request in (self._request, *self._waiting):
            self._release(request)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self.active_at = time.monotonic()
        self._received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # the client would like another protocol; it gets its answer in this one
            if self._waiting:
                self._waiting[-1].keep_alive = False
        except httptools.HttpParserInvalidMethodError:
            self._refused = PageError(501, "unknown method").reply
        except httptools.HttpParserError:
            self._refused = self._refused or PageError(400, "no HTTP").reply
        if self.receiving and self._received_bytes > MAX_HEAD_BYTES + _OVERHEAD * self._request.held_bytes:
            self._refuse(431, f"the request's line and headers have more than {MAX_HEAD_BYTES} bytes")
        if len(self._waiting) > _MAX_PIPELINED:
            self._transport.pause_reading()
        if not self.busy:
            self._go_on()

    def pause_writing(self) -> None:
        self._choked = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._choked = False
        self._transport.resume_reading()
        if not self.busy:
            self._go_on()

    # What the parser calls.

    def on_message_begin(self) -> None:
        self.receiving = True
        self._received_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._request.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        request = self._request
        request.method = self._parser.get_method().decode("latin-1")
        request.minor_version = 0 if self._parser.get_http_version() == "1.0" else 1
        request.keep_alive = self._parser.should_keep_alive()
        for name, value in request.headers:
            if name == b"content-length" and value.isdigit() and int(value[:20]) > MAX_BODY_BYTES:
                self._refuse(413, f"the request's body has more than {MAX_BODY_BYTES} bytes")
                return
            if name == b"expect" and value.lower() == b"100-continue" and request.minor_version:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, chunk: bytes) -> None:
        request = self._request
        if self._refused:
            return
        if request.held_bytes + len(chunk) > MAX_BODY_BYTES:
            self._refuse(413, f"the request's body has more than {MAX_BODY_BYTES} bytes")
        elif not self._server.budget.take(len(chunk)):
            self._refuse(503, "the server holds as many requests as it can; try again", "UNAVAILABLE")
        else:
            request.held_bytes += len(chunk)
            if not request.body:
                request.body = chunk
            elif isinstance(request.body, bytearray):
                request.body += chunk
            else:
                request.body = bytearray(request.body) + chunk

    def on_message_complete(self) -> None:
        request, self._request = self._request, Request()
        self.receiving = False
        if self._refused:
            self._release(request)
        else:
            self._waiting.append(request)

    # Answering.

    def _go_on(self) -> None:
        """Answers what waits, until something takes time."""
        self.busy = False
        for _ in range(_MAX_AT_ONCE):
            if not self._waiting or self._choked or self._transport.is_closing():
                break
            request = self._waiting.popleft()
            reply = self._server.answer(request)
            if not isinstance(reply, Reply):
                self.busy = True
                self._task = asyncio.ensure_future(self._later(request, reply))
                return
            self._finish(request, reply)
        else:
            if self._waiting:
                self.busy = True
                asyncio.get_running_loop().call_soon(self._go_on)
                return
        if self._refused and not self._waiting and not self._lingering:
            self._lingering = True
            self._release(self._request)
            self._write(Request(keep_alive=False), self._refused)
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self.close)

    async def _later(self, request: Request, reply: Awaitable[Reply]) -> None:
        try:
            answered = await reply
        finally:
            self.busy = False
            self._task = None
            self._release(request)
        if not self._transport.is_closing():
            self._finish(request, answered)
        if not self._transport.is_closing():
            if not self._choked:
                self._transport.resume_reading()
            self._go_on()

    def _finish(self, request: Request, reply: Reply) -> None:
        self._release(request)
        if self._server.draining or reply.last:
            request.keep_alive = False
        self._write(request, reply)
        if not request.keep_alive:
            self.close()
            return
        self._server.new.pop(self, None)
        self._server.known.pop(self, None)
        self._server.known[self] = None

    def _write(self, request: Request, reply: Reply) -> None:
        head = _head(reply.status, reply.content_type, request.minor_version, request.keep_alive)
        body = b"" if request.method == "HEAD" else reply.body
        # A page is the HTTP server's own, not the API's.
        cors = b"" if reply.last else self._server.cors
        head = b"%b%bDate: %b\r\nContent-Length: %d\r\n\r\n" % (head, cors, _date(int(time.time())), len(body))
        if len(body) > _LARGE_BODY_BYTES:
            self._transport.writelines((head, body))
        else:
            self._transport.write(head + body)

    def _refuse(self, status: int, message: str, code: str = "INVALID_ARGUMENT") -> None:
        """Ends the connection with that reply: what follows on it can't be told from the rest of the request."""
        self._refused = self._refused or RestError(status, message, code).reply

    def _release(self, request: Request) -> None:
        self._server.budget.give(request.held_bytes)
        request.held_bytes = 0

    def close(self) -> None:
        """Ends the connection once what was written is sent."""
        self.receiving = False
        self._transport.close()


@lru_cache(maxsize=256)
def _head(status: int, content_type: str, minor_version: int, keep_alive: bool) -> bytes:
    lines = [f"HTTP/1.{minor_version} {status} {phrase(status)}", f"Content-Type: {content_type}"]
    if not keep_alive:
        lines.append("Connection: close")
    elif not minor_version:
        lines.append("Connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n").encode()


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
