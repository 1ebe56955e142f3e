"""Cloud roles, and what is taken for one: who answers a device that asks."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from isthmus_agent.server.http import Reader, Request, written

Answer = Callable[[socket.socket, Request], None]
PREDICTIONS = [[0.0, 0.0, 1.0]]


def says(document: object, status: int = 200, content_type: str = "application/json", more: str = "") -> Answer:
    """Answers so. document: bytes as they are."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return lambda connection, _: connection.sendall(written(status, content, content_type, stays=True, more=more))


def hangs(connection: socket.socket, _: Request) -> None:
    """Takes the request, and says nothing."""
    with suppress(OSError):
        connection.recv(1)  # until the device ends it


def trickles(connection: socket.socket, _: Request) -> None:
    """A byte of its head now and then."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def never_ends(connection: socket.socket, _: Request) -> None:
    """An answer without an end."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        connection.sendall(b" " * 65536)


def breaks_off(connection: socket.socket, _: Request) -> None:
    """Half an answer."""
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"predictions": [[0.0, 0.0, 1.0]]}')
    connection.shutdown(socket.SHUT_RDWR)


right = says({"predictions": PREDICTIONS})
_STATUS = says({"model_version_status": [{"version": "1", "state": "AVAILABLE"}]})


def with_status(answer: Answer) -> Answer:
    """Answers so what is asked, and a model's status besides."""
    return lambda connection, request: (_STATUS if request.method == "GET" else answer)(connection, request)


WRONG: dict[str, Answer] = {
    "a portal": says(b"<html>Welcome to Hotel WiFi</html>", content_type="text/html"),
    "a redirect": says(b"", 302, more="Location: /portal\r\n"),
    "an error with status 200": says({"error": "x"}),
    "an error beside an answer": says({"error": "x", "predictions": PREDICTIONS}),
    "an error": says({"error": "x"}, 500),
    "a list": says([PREDICTIONS]),
    "another form": says({"outputs": PREDICTIONS}),
    "no rows": says({"predictions": []}),
    "too many rows": says({"predictions": PREDICTIONS * 2}),
    "rows that are too short": says({"predictions": [[0.0, 1.0]]}),
    "text for numbers": says({"predictions": [["0", "0", "1"]]}),
    "true for a number": says({"predictions": [[True, 0.0, 1.0]]}),
    "more nesting than there is memory for": says(b'{"predictions": ' + b"[" * 100_000),
    "nothing": says(b""),
    "half an answer": breaks_off,
    "no HTTP": lambda connection, _: connection.sendall(b"SSH-2.0-OpenSSH\r\n"),
}
SLOW: dict[str, Answer] = {"no answer": hangs, "a trickle": trickles, "an answer without an end": never_ends}


class CloudRole:
    """Answers as `answer` does, which can be set. asked: all requests."""

    def __init__(self, answer: Answer = right, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.asked: list[Request] = []
        self.heard = b""
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._tls = tls
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def bodies(self) -> list[object]:
        return [json.loads(it.body) for it in self.asked]

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        reader = Reader(1 << 26)
        with connection, suppress(OSError):
            connection = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            while data := connection.recv(65536):
                self.heard += data
                reader.feed(data)
                while (request := reader.take()) is not None:
                    self.asked.append(request)
                    self.answer(connection, request)

    def stop(self) -> None:
        """Nobody listens any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
