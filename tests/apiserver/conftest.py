"""A kubeconfig, and a server that answers as an API server does."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

SECRET = "hunter2hunter2"


def kubeconfig(server: str = "http://127.0.0.1:1", user: Any = None, **more: Any) -> dict[str, Any]:
    """With two contexts, `one` and `two`, and one user."""
    others = {"one": server, "two": "http://127.0.0.1:2"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url}} for name, url in others.items()],
        "users": [{"name": "me", "user": {"token": SECRET} if user is None else user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "me", "namespace": f"in-{name}"}} for name in others],
        "current-context": "one",
        **more,
    }


class Server:
    """answers: (status, content type, body) for each request in turn; the last one stays. seen: (method, path, headers, body)."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, str, bytes]] = [(200, "application/json", b"{}")]
        self.seen: list[tuple[str, str, Any, bytes]] = []
        self.url = ""
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)

    def says(self, *answers: tuple[int, Any]) -> None:
        """JSON values, or texts."""
        self.answers = [
            (status, "text/plain", it.encode()) if isinstance(it, str) else (status, "application/json", json.dumps(it).encode())
            for status, it in answers
        ]

    def answer(self) -> tuple[int, str, bytes]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def status(code: int, message: str, **more: Any) -> tuple[int, Any]:
    """As an API server refuses."""
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code, **more}


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None: ...

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.seen.append((self.command, self.path, self.headers, body))
            code, kind, content = found.answer()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

    http = found.http
    http.RequestHandlerClass = Handler
    threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
    found.url = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield found
    finally:
        http.shutdown()
        http.server_close()


@pytest.fixture
def config() -> Callable[..., dict[str, Any]]:
    return kubeconfig


@pytest.fixture
def refusal() -> Callable[..., tuple[int, Any]]:
    return status
