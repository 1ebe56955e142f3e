"""HTTP over a Unix socket."""

import http.client
import socket


class UnixConnection(http.client.HTTPConnection):
    """A connection to the server that listens at a path."""

    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
