"""A page on this machine, kept up to date: for whoever is logged in here, in a browser, and for no other machine nor web site."""

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from rich.console import Console

from isthmus.errors import InputError, IsthmusError, Problem
from isthmus.pages.live import SCRIPT, VIEW, script

T = TypeVar("T")
Pages = Callable[[T], tuple[str, str]]
"""The whole page of what was seen, and of it what a live page shows anew."""
LOOPBACK: Final = "127.0.0.1"
TROUBLE: Final = "Isthmus-Trouble"
"""A header: why the last look failed, percent-encoded. What is shown is of the look before."""
_MOST_TROUBLE_CHARACTERS: Final = 400
_SOCKET_SECONDS: Final = 30
_HEADERS: Final = {
    # A page of another site may neither read this one, nor show it in a frame.
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class _Answer:
    kind: str
    content: bytes

    @property
    def tag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


@dataclass
class Shown(Generic[T]):
    """What is served. trouble: why the last look failed."""

    pages: Pages[T]
    answers: Mapping[str, _Answer] = field(default_factory=dict)
    trouble: str = ""

    def take(self, seen: T) -> None:
        """What was seen takes the place of what is served."""
        whole, view = self.pages(seen)
        made = {
            "/": _Answer("text/html", whole.encode(errors="replace")),
            VIEW: _Answer("text/html", view.encode(errors="replace")),
            SCRIPT: _Answer("text/javascript", script().encode()),
        }
        self.answers, self.trouble = made, ""


class PageServer(ThreadingHTTPServer):
    """Loopback only. Raises InputError where the port is taken."""

    daemon_threads = True

    def __init__(self, shown: Shown[Any], port: int) -> None:
        self.shown = shown
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OSError as error:
            raise InputError([Problem("--port", f"{port}: {error.strerror}", "a free port, or 0 for any")]) from error

    @property
    def url(self) -> str:
        """To open in a browser."""
        return f"http://{LOOPBACK}:{self.server_port}/"

    @property
    def hosts(self) -> tuple[str, ...]:
        """What a browser that was told this address says. A name that somebody's DNS has lead here is none of them."""
        return tuple(f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost"))


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = _SOCKET_SECONDS
    server_version, sys_version = "isthmus", ""

    def do_GET(self) -> None:
        if self.headers.get_all("Host", []) not in [[host] for host in self.server.hosts]:
            self._answer(421, _Answer("text/plain", b"this page is asked for by its address\n"))
            return
        found = self.server.shown.answers.get(self.path)
        if found is None:
            self._answer(404, _Answer("text/plain", b"there is nothing here\n"))
        elif self.headers.get("If-None-Match") == found.tag:
            self._answer(304, found)
        else:
            self._answer(200, found)

    def _answer(self, status: int, answer: _Answer) -> None:
        self.send_response(status)
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        if trouble := self.server.shown.trouble:
            self.send_header(TROUBLE, quote(trouble[:_MOST_TROUBLE_CHARACTERS]))
        self.send_header("ETag", answer.tag)
        if status != 304:
            self.send_header("Content-Type", f"{answer.kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        if status != 304:
            self.wfile.write(answer.content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is the user's."""


def keep_looking(look: Callable[[], T], shown: Shown[T], every_seconds: float, ended: threading.Event) -> None:
    """Looks again until it is ended. What fails is said on the page, and tried again."""
    while not ended.wait(every_seconds):
        try:
            shown.take(look())
        except IsthmusError as error:
            shown.trouble = str(error)


def serve(look: Callable[[], T], first: T, pages: Pages[T], console: Console, *, port: int, every_seconds: float) -> None:
    """Serves until Ctrl-C. look: raises IsthmusError. first: what was seen already. Raises InputError where the port is taken."""
    shown, ended = Shown(pages), threading.Event()
    shown.take(first)
    with PageServer(shown, port) as server:
        looking = threading.Thread(target=keep_looking, args=(look, shown, every_seconds, ended), daemon=True)
        looking.start()
        console.print(f"{server.url} (Ctrl-C ends it)", markup=False, highlight=False, soft_wrap=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.print()
        finally:
            ended.set()
