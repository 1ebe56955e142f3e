"""Requests of a device: one way out, with bounds on everything that an answer may cost.

An answer has to come at a minimum rate and by a deadline, its headers included; a redirect is not followed (portals send them);
nothing is decompressed. Requests are signed where the device has credentials, at the store's own time.
"""

import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socket import SHUT_RDWR
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

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
    """The way to the store. One thread uses it at a time."""

    def __init__(self, credentials: Credentials | None = None, *, ca_file: str | None = None, clock: StoreClock | None = None) -> None:
        self._credentials = credentials
        self._clock = clock or StoreClock()
        self._ca_file = ca_file
        self._pools: dict[str, urllib3.PoolManager] = {}

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
        asked = signed_url(method, url, self._credentials, self._clock.now()) if self._credentials else url
        with _Watch(patience.deadline_seconds) as watch:
            with _told(watch, urlsplit(url).netloc):
                response = self._pool(url).request(
                    method,
                    asked,
                    body=body,
                    headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers},
                    timeout=urllib3.Timeout(connect=patience.silence_seconds, read=patience.silence_seconds),
                    preload_content=False,
                    decode_content=False,
                    redirect=False,
                    retries=False,
                )
            try:
                tag = response.headers.get("ETag", "")
                yield Answer(
                    response.status,
                    tag if _is_plain(tag) else "",
                    _chunks(response, watch, patience),
                    tuple(response.headers.getlist("Date")),
                )
            finally:
                _leave(response)

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        proxies = getproxies()
        proxy = "" if proxy_bypass(parts.hostname or "") else proxies.get(parts.scheme, proxies.get("all", ""))
        if proxy not in self._pools:
            options: dict[str, Any] = {"maxsize": 1, "retries": False}
            if parts.scheme == "https":
                options["ssl_context"] = ssl.create_default_context(cafile=self._ca_file)
            pool = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
            pool.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedTlsPool}
            self._pools[proxy] = pool
        return self._pools[proxy]


def _is_plain(tag: str) -> bool:
    return len(tag) <= 256 and tag.isascii() and tag.isprintable()


def _leave(response: Any) -> None:
    """Keeps the connection where the answer is read, or nearly: else it is closed."""
    with suppress(urllib3.exceptions.HTTPError, OSError, ValueError):
        if response.length_remaining in range(MOST_REFUSAL_BYTES):
            response.drain_conn()
        else:
            response.close()
        response.release_conn()


def _beginning(answer: Answer) -> bytes:
    found = b""
    for chunk in answer.chunks:
        found += chunk
        if len(found) >= MOST_REFUSAL_BYTES:
            break
    return found[:MOST_REFUSAL_BYTES]


def _chunks(response: Any, watch: "_Watch", patience: Patience) -> Iterator[bytes]:
    """What has arrived, at once: reading until a chunk is full would hide a trickle."""
    begun, received = time.monotonic(), 0
    with _told(watch, "the store"):
        while chunk := response.read1(CHUNK_BYTES):
            if watch.over:  # where an answer says no length, its connection is no longer there to be cut
                raise SlowFailure("the store does not end in time")
            yield chunk
            received += len(chunk)
            if (passed := time.monotonic() - begun) > patience.window_seconds:
                if received < passed * patience.least_bytes_per_second:
                    raise SlowFailure(f"too slow: {received} bytes in {passed:.0f} s")
                begun, received = time.monotonic(), 0
        if response.length_remaining:
            raise TransportFailure(f"the answer broke off: {response.length_remaining} bytes are missing")


@contextmanager
def _told(watch: "_Watch", whom: str) -> Iterator[None]:
    """Errors of the network as ours."""
    try:
        yield
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        # ValueError: of an answer whose headers are none. OSError is a device's own where files are written, and none are here.
        if watch.over or isinstance(error, urllib3.exceptions.TimeoutError):
            raise SlowFailure(f"{whom} does not answer in time") from error
        raise TransportFailure(f"cannot reach {whom}: {type(error).__name__}") from error


class _Watch:
    """A deadline that ends even what no timeout of a read ends: headers that come byte by byte."""

    _now = threading.local()

    def __init__(self, seconds: float) -> None:
        self.over = False
        self.connection: Any = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> "_Watch":
        _Watch._now.watch = self
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        _Watch._now.watch = None

    def _cut(self) -> None:
        self.over = True
        if (found := getattr(self.connection, "sock", None)) is not None:
            with suppress(OSError):
                found.shutdown(SHUT_RDWR)

    @classmethod
    def seen(cls, connection: Any) -> None:
        """Tells the watch of this thread which connection its request is on."""
        if (watch := getattr(cls._now, "watch", None)) is not None:
            watch.connection = connection


class _WatchedConnection(HTTPConnection):
    def putrequest(self, *args: Any, **options: Any) -> None:
        _Watch.seen(self)
        super().putrequest(*args, **options)


class _WatchedTlsConnection(HTTPSConnection):
    def putrequest(self, *args: Any, **options: Any) -> None:
        _Watch.seen(self)
        super().putrequest(*args, **options)


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTlsConnection
