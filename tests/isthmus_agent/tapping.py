"""What goes over a wire: every byte that clients send to a server, kept."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Tap:
    """url: to use in place of the server's. sent: by clients, connection by connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = parts.hostname, parts.port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{parts.scheme}://127.0.0.1:{self.listener.getsockname()[1]}"
        self.sent: list[bytearray] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._to)
            self.sent.append(bytearray())
            threading.Thread(target=_pass_on, args=(client, server, self.sent[-1]), daemon=True).start()
            threading.Thread(target=_pass_on, args=(server, client, bytearray()), daemon=True).start()


def _pass_on(source: socket.socket, to: socket.socket, kept: bytearray) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            kept += data
            to.sendall(data)
    for it in (source, to):
        with suppress(OSError):
            it.shutdown(socket.SHUT_RDWR)


@contextmanager
def tapped(url: str) -> Iterator[Tap]:
    """A tap, until the block ends."""
    tap = Tap(url)
    try:
        yield tap
    finally:
        tap.listener.close()
