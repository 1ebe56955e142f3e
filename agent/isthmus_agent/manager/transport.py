"""Requests of a device: one way out, with bounds on everything that an answer may cost.

An answer has to come at a minimum rate and by a deadline, its headers included; a redirect is not followed (portals send them);
nothing is decompressed. Requests are signed where the device has credentials, at the store's own time. The environment names proxies, as
it does for others (`https_proxy`, `no_proxy`): plain ones, which are asked for a tunnel where the store speaks TLS.

The standard library's client does: urllib3 alone is a fifth of the memory that a manager may take.
"""

import base64
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, unquote, urlsplit

from isthmus_agent.formats.report import Reason
from isthmus_agent.manager.failures import SlowFailure, TransportFailure
from isthmus_agent.manager.signing_v4 import Credentials, StoreClock, signed_url

CHUNK_BYTES = 64 << 10
MOST_REFUSAL_BYTES = 4 << 10
USER_AGENT = "isthmus-agent"


@dataclass(frozen=True)
class Patience:
    """How long a request may take.

    silence_seconds: between two pieces of an answer, and for the connection. window_seconds, least_bytes_per_second: every such
    window has to bring that many. deadline_seconds: for the whole of an answer; what is left of a long one is asked for again.
    """

    silence_seconds: float = 20.0
    window_seconds: float = 30.0
    least_bytes_per_second: int = 512
    deadline_seconds: float = 3600.0


METADATA_PATIENCE = Patience(deadline_seconds=60.0)


@dataclass(frozen=True)
class Answer:
    """status: of HTTP. chunks: of the body, none longer than CHUNK_BYTES; raises TransportFailure. dates: Date headers, as they are."""

    status: int
    tag: str
    chunks: Iterator[bytes]
    dates: tuple[str, ...] = ()


class Transport:
    """The way to the store. One thread uses it at a time. A connection to a host is kept for the next request."""

    def __init__(self, credentials: Credentials | None = None, *, ca_file: str | None = None, clock: StoreClock | None = None) -> None:
        self._credentials = credentials
        self._clock = clock or StoreClock()
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None
        self._kept: dict[tuple[str, str, str], HTTPConnection] = {}

    @contextmanager
    def get(self, url: str, headers: Mapping[str, str] | None = None, *, patience: Patience = METADATA_PATIENCE) -> Iterator[Answer]:
        """The answer to a GET, whatever its status. Raises TransportFailure where there is none, SlowFailure where it comes too slowly."""
        with self._asked("GET", url, headers or {}, patience) as answer:
            if not (self._credentials and answer.status == 403 and self._clock.learn(answer.dates, _beginning(answer))):
                yield answer
                return
        with self._asked("GET", url, headers or {}, patience) as answer:
            yield answer

    def put(self, url: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, patience: Patience = METADATA_PATIENCE) -> int:
        """The status that a PUT is answered with. Failures as for `get`."""
        return self._status("PUT", url, body, headers or {}, patience)

    def delete(self, url: str, *, patience: Patience = METADATA_PATIENCE) -> int:
        """The status that a DELETE is answered with. Failures as for `get`."""
        return self._status("DELETE", url, None, {}, patience)

    def _status(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], patience: Patience) -> int:
        for last in (False, True):
            with self._asked(method, url, headers, patience, body) as answer:
                if last or not (self._credentials and answer.status == 403 and self._clock.learn(answer.dates, _beginning(answer))):
                    return answer.status
        raise AssertionError("the last try returns")

    @contextmanager
    def _asked(self, method: str, url: str, headers: Mapping[str, str], patience: Patience, body: bytes | None = None) -> Iterator[Answer]:
        asked = urlsplit(signed_url(method, url, self._credentials, self._clock.now()) if self._credentials else url)
        with _Watch(patience.deadline_seconds) as watch:
            with _told(watch, asked.netloc):
                proxy = _proxy_of(asked)
                place = asked.scheme, asked.netloc, proxy
                options = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
                connection, response = self._response(watch, place, asked, (method, body, options), patience)
            reading = _Reading(response, patience)
            try:
                tag = response.headers.get("ETag", "")
                dates = tuple(response.headers.get_all("Date") or ())
                yield Answer(response.status, tag if _is_plain(tag) else "", reading.chunks(watch), dates)
            except TransportFailure:
                reading.give_up()
                raise
            finally:
                if reading.leave():
                    self._kept[place] = connection
                else:
                    connection.close()

    def _response(
        self,
        watch: "_Watch",
        place: tuple[str, str, str],
        asked: SplitResult,
        request: tuple[str, bytes | None, dict[str, str]],
        patience: Patience,
    ) -> tuple[HTTPConnection, HTTPResponse]:
        method, body, headers = request
        path = (asked.path or "/") + (f"?{asked.query}" if asked.query else "")
        if place[2] and asked.scheme == "http":
            path, headers = f"http://{asked.netloc}{path}", {**headers, **_proxy_headers(place[2])}
        for connection, is_last in ((self._kept.pop(place, None), False), (self._connection(asked, place[2]), True)):
            if connection is None or (not is_last and not _is_usable(connection)):
                continue
            watch.connection, watch.socket = connection, None
            try:
                connection.timeout = patience.silence_seconds
                if connection.sock is not None:
                    connection.sock.settimeout(patience.silence_seconds)
                connection.request(method, path, body, headers)
                watch.socket = connection.sock  # the connection forgets it where the answer is its last one
                return connection, connection.getresponse()
            except (HTTPException, OSError, ValueError) as error:
                connection.close()
                # A server may end a connection that rests at any moment, also at this one.
                if is_last or watch.over or isinstance(error, TimeoutError):
                    raise
        raise AssertionError("the last try returns, or raises")

    def _connection(self, asked: SplitResult, proxy: str) -> HTTPConnection:
        host, port = asked.hostname or "", asked.port
        to, at = (host, port) if not proxy else _proxy_address(proxy)
        if asked.scheme != "https":
            return HTTPConnection(to, at)
        self._context = self._context or ssl.create_default_context(cafile=self._ca_file)
        found = _TlsConnection(to, at, context=self._context)
        if proxy:
            found.set_tunnel(host, port or 443, _proxy_headers(proxy))
        return found


def whole(chunks: Iterable[bytes], most_bytes: int) -> bytes:
    """An answer, in one piece. Raises TransportFailure where it is larger."""
    pieces, size = [], 0
    for chunk in chunks:
        pieces.append(chunk)
        size += len(chunk)
        if size > most_bytes:
            raise TransportFailure(f"the store's answer is larger than the {most_bytes} bytes that it may have", Reason.ODD_ANSWER)
    return b"".join(pieces)


def fetched(url: str, transport: Transport, most_bytes: int) -> tuple[int, bytes]:
    """Status and body of a small answer; the body is empty unless the status is 200. Raises TransportFailure."""
    with transport.get(url) as answer:
        return answer.status, whole(answer.chunks, most_bytes) if answer.status == 200 else b""


class _TlsConnection(HTTPSConnection):
    """A connection whose handshake can be cut off as well."""

    def connect(self) -> None:
        HTTPConnection.connect(self)
        name = self._tunnel_host or self.host  # type: ignore[attr-defined]
        context: ssl.SSLContext = self._context  # type: ignore[attr-defined]
        self.sock = context.wrap_socket(self.sock, server_hostname=name, do_handshake_on_connect=False)
        self.sock.do_handshake()


def _proxy_of(asked: SplitResult) -> str:
    """The proxy's address; empty where there is none."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return ""
    from urllib.request import getproxies, proxy_bypass  # takes memory that is of no use elsewhere

    proxies = getproxies()
    return "" if proxy_bypass(asked.hostname or "") else proxies.get(asked.scheme, proxies.get("all", ""))


def _proxy_address(proxy: str) -> tuple[str, int]:
    found = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if found.scheme != "http" or not found.hostname:
        raise ValueError("of proxies, plain ones (http://) can be used")
    return found.hostname, found.port or 80


def _proxy_headers(proxy: str) -> dict[str, str]:
    found = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if not found.username:
        return {}
    both = f"{unquote(found.username)}:{unquote(found.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}


def _is_usable(connection: HTTPConnection) -> bool:
    """Whether a connection that rested still rests: where there is something to read, it is an end, or nothing that was asked for."""
    if connection.sock is None:
        return False
    ready, _, _ = select.select([connection.sock], [], [], 0)
    return not ready


def _is_plain(tag: str) -> bool:
    return len(tag) <= 256 and tag.isascii() and tag.isprintable()


def _beginning(answer: Answer) -> bytes:
    found = b""
    for chunk in answer.chunks:
        found += chunk
        if len(found) >= MOST_REFUSAL_BYTES:
            break
    return found[:MOST_REFUSAL_BYTES]


class _Reading:
    """An answer's body, as it comes. Its length is counted here: not all versions of the library do, where pieces are asked for."""

    def __init__(self, response: HTTPResponse, patience: Patience) -> None:
        self._response, self._patience = response, patience
        self._left: int | None = response.length
        self._is_read = self._left == 0

    def chunks(self, watch: "_Watch") -> Iterator[bytes]:
        """What has arrived, at once: reading until a chunk is full would hide a trickle."""
        begun, received, patience = time.monotonic(), 0, self._patience
        with _told(watch, "the store"):
            while chunk := self._piece(CHUNK_BYTES):
                yield chunk
                received += len(chunk)
                if (passed := time.monotonic() - begun) > patience.window_seconds:
                    if received < passed * patience.least_bytes_per_second:
                        raise SlowFailure(f"too slow: {received} bytes in {passed:.0f} s")
                    begun, received = time.monotonic(), 0
            if watch.over:
                raise SlowFailure("the store does not answer in time")
            if self._left:
                raise TransportFailure(f"the answer broke off: {self._left} bytes are missing")

    def give_up(self) -> None:
        """Has nothing more of it read: the rest of what comes too slowly would take as long as the sender likes."""
        self._left = None

    def leave(self) -> bool:
        """Whether the connection is good for another request: the answer is read, or nearly, and then read here."""
        will_close = self._response.will_close
        try:
            while not self._is_read and self._left in range(MOST_REFUSAL_BYTES) and self._piece(MOST_REFUSAL_BYTES):
                pass
            self._response.close()
        except (HTTPException, OSError, ValueError):
            return False
        return self._is_read and not self._left and not will_close

    def _piece(self, most_bytes: int) -> bytes:
        if self._is_read:
            return b""
        chunk = self._response.read1(most_bytes if self._left is None else min(most_bytes, self._left))
        if self._left is not None:
            self._left -= len(chunk)
        self._is_read = not chunk or self._left == 0
        return chunk


@contextmanager
def _told(watch: "_Watch", whom: str) -> Iterator[None]:
    """Errors of the network as ours."""
    try:
        yield
    except (HTTPException, OSError, ValueError) as error:
        # ValueError: of an answer whose headers are none. OSError is a device's own where files are written, and none are here.
        if watch.over or isinstance(error, TimeoutError):
            raise SlowFailure(f"{whom} does not answer in time") from error
        raise TransportFailure(f"cannot reach {whom}: {type(error).__name__}") from error


class _Watch:
    """A deadline that ends even what no timeout of a read ends: headers that come byte by byte."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self.connection: HTTPConnection | None = None
        self.socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "_Watch":
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _cut(self) -> None:
        self.over = True
        found = self.socket or (self.connection.sock if self.connection else None)
        if found is not None:
            with suppress(OSError):
                socket.socket.shutdown(found, socket.SHUT_RDWR)
