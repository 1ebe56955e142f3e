"""Sockets that requests come in by."""

import socket
from pathlib import Path
from typing import Final

BACKLOG: Final = 128


def listen_tcp(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError."""
    listener = socket.create_server((host, port), backlog=BACKLOG, family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setblocking(False)
    return listener


def listen_unix(path: Path) -> socket.socket:
    """A listening Unix socket, in place of what an earlier process left there. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            path.unlink()
        listener.bind(str(path))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
