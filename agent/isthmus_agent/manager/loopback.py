"""A connection to this device's own server, as any client on the device has it."""

import http.client
import socket
from typing import Any


class LoopbackConnection(http.client.HTTPConnection):
    """address: a host and port, or the path of a Unix socket."""

    def __init__(self, address: Any, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._address = address

    def connect(self) -> None:
        """As any client would."""
        if isinstance(self._address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._address)
        else:
            self.sock = socket.create_connection(tuple(self._address[:2]), self.timeout)
