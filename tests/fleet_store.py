"""A store in memory, with the answers of S3 over HTTP: what publishers write and devices read, without a server of its own."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from isthmus.errors import IntegrityError
from isthmus.release.store import ListedObject, MissingObjectError, Page


class KilledError(BaseException):
    """The publisher's end, as if by a signal: nothing of it runs on."""


class MemoryStore:
    """What `isthmus.release.store.Store` can do with objects. Threads may share it.

    dies_at: the number of the write, from 1, before which whoever writes is killed. puts: keys in the order they were written.
    clock: seconds; ages are by it. pages: how many listings were asked for with them.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        self.dies_at = 0
        self.attempts = 0
        self.pages = 0
        self.clock: Callable[[], float] = time.time
        self.written: dict[str, float] = {}
        self._lock = threading.Lock()

    def put(self, key: str, data: bytes | Path, *, only_new: bool = False, over: str = "") -> bool:
        content = data.read_bytes() if isinstance(data, Path) else data
        with self._lock:
            self.attempts += 1
            if self.attempts == self.dies_at:
                raise KilledError
            if (only_new and key in self.objects) or (over and self._tag(key) != over):
                return False
            self.objects[key] = content
            self.written[key] = self.clock()
            self.puts.append(key)
            return True

    def get(self, key: str, *, max_bytes: int) -> bytes:
        with self._lock:
            if key not in self.objects:
                raise MissingObjectError(f"the store has no {key!r}")
            if len(self.objects[key]) > max_bytes:
                raise IntegrityError(f"{key!r} is larger than {max_bytes} bytes")
            return self.objects[key]

    def tag(self, key: str) -> str:
        with self._lock:
            return self._tag(key)

    def list(self, prefix: str) -> list[str]:
        with self._lock:
            return sorted(key for key in self.objects if key.startswith(prefix))

    def page(self, prefix: str, *, after: str = "") -> Page:
        with self._lock:
            self.pages += 1
            found = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
            now = self.clock()
            listed = (ListedObject(key, now - self.written.get(key, now), self._tag(key)) for key in found[:1000])
            return Page(tuple(listed), len(found) <= 1000)

    def delete(self, keys: "list[str]") -> None:
        with self._lock:
            for key in keys:
                self.objects.pop(key, None)

    def signed_url(self, method: str, key: str, *, valid_seconds: int, only_new: bool = False) -> str:
        return f"https://store.test/models/{key}?method={method}&seconds={valid_seconds}"

    def _tag(self, key: str) -> str:
        return f'"{hashlib.sha256(self.objects[key]).hexdigest()[:32]}"' if key in self.objects else ""

    @contextmanager
    def killed_at(self, number: int) -> Iterator[None]:
        """Kills the writer before its write of that number, within the block."""
        self.attempts, self.dies_at = 0, number
        try:
            with suppress(KilledError):
                yield
        finally:
            self.dies_at = 0


@dataclass
class Reply:
    """What a test has sent instead of the store's answer. trickle_seconds: between its bytes; endless: goes on with zeros for ever.

    sent: gets how many bytes of an endless answer were taken off this side's hands.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    trickle_seconds: float = 0.0
    trickles_head: bool = False
    endless: bool = False
    sent: list[int] = field(default_factory=list)


@dataclass
class Served:
    """A store over HTTP. url: ends with `/`. requests: (method, path below it, headers in small letters).

    fault: gives another reply for a request, or None. hidden: headers that are not sent. dates: values of Date instead of the time.
    checks: gives a status other than 0 for a request that is not let in.
    """

    store: MemoryStore
    url: str = ""
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    fault: Callable[[str, dict[str, str]], Reply | None] = lambda path, headers: None
    hidden: frozenset[str] = frozenset()
    dates: tuple[str, ...] | None = None
    checks: Callable[[str, str, dict[str, str]], int] = lambda method, target, headers: 0
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def paths(self) -> list[str]:
        return [path for _, path, _ in self.requests]


@contextmanager
def served(store: MemoryStore) -> Iterator[Served]:
    """The store on a free port of loopback, until the block ends."""
    state = Served(store)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: a client would acknowledge the first one 40 ms later

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path).removeprefix("/bucket/")
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.requests.append(("GET", path, headers))
            if refused := state.checks("GET", self.path, headers):
                self._answer(Reply(refused, b"<Error><Code>AccessDenied</Code></Error>"))
                return
            self._answer(state.fault(path, headers) or _answer_of(store, path, headers))

        def do_PUT(self) -> None:
            path = unquote(urlsplit(self.path).path).removeprefix("/bucket/")
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.requests.append(("PUT", path, headers))
            body = self.rfile.read(int(headers.get("content-length", 0)))
            refused = state.checks("PUT", self.path, headers)
            if not refused:
                store.put(path, body)
            self._answer(Reply(refused or 200))

        def do_DELETE(self) -> None:
            path = unquote(urlsplit(self.path).path).removeprefix("/bucket/")
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.requests.append(("DELETE", path, headers))
            refused = state.checks("DELETE", self.path, headers)
            if not refused:
                store.delete([path])
            self._answer(Reply(refused or 204))

        def _answer(self, reply: Reply) -> None:
            lines = [f"HTTP/1.1 {reply.status} Answer"]
            dates = (formatdate(time.time(), usegmt=True),) if state.dates is None else state.dates
            headers = [*(("Date", date) for date in dates), *reply.headers.items()]
            if not reply.endless and reply.status not in (204, 304):
                headers.append(("Content-Length", str(len(reply.body))))
            else:
                self.close_connection = reply.endless
            lines += [f"{name}: {value}" for name, value in headers if name.lower() not in state.hidden]
            head = ("\r\n".join(lines) + "\r\n\r\n").encode()
            with suppress(OSError):
                self._send(head, reply.trickle_seconds if reply.trickles_head else 0.0)
                self._send(reply.body, reply.trickle_seconds)
                reply.sent.append(0)
                while reply.endless and not state.stopped.is_set():
                    self.wfile.write(bytes(1 << 16))
                    reply.sent[-1] += 1 << 16

        def _send(self, data: bytes, trickle_seconds: float) -> None:
            if not trickle_seconds:
                self.wfile.write(data)
                return
            for byte in data:
                if state.stopped.wait(trickle_seconds):
                    return
                self.wfile.write(bytes([byte]))

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/bucket/"
    try:
        yield state
    finally:
        state.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _answer_of(store: MemoryStore, path: str, headers: dict[str, str]) -> Reply:
    tag = store.tag(path)
    if not tag:
        return Reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
    if headers.get("if-none-match") == tag:
        return Reply(304, headers={"ETag": tag})
    body = store.objects[path]
    if span := headers.get("range"):
        start = int(span.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            return Reply(416)
        return Reply(206, body[start:], {"ETag": tag, "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"})
    return Reply(200, body, {"ETag": tag})
