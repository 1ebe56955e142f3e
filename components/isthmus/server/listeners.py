"""Where the server listens: ports of one address, and Unix sockets."""

import errno
import os
import socket
from pathlib import Path

from isthmus.server.errors import StartError

_MAX_PATH_BYTES = 107  # Linux's sockaddr_un
_PRIVATE = 0o600


def bind_port(address: str, port: int) -> socket.socket:
    """A socket that holds the port and does not listen yet, so that clients are refused until the models are there.

    Raises:
        StartError: the port is in use, or not ours to use.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((address, port))
    except OSError as error:
        bound.close()
        raise StartError(f"cannot listen on {address}:{port}: {error.strerror}. Fix: choose another port, or stop what uses it") from None
    return bound


def bind_path(path: str) -> socket.socket:
    """A Unix socket at path, for its owner alone, that does not listen yet.

    Raises:
        StartError: as `free_path`.
    """
    free_path(path)
    bound = socket.socket(socket.AF_UNIX)
    try:
        bound.bind(path)
        os.chmod(path, _PRIVATE)
    except OSError as error:
        bound.close()
        raise StartError(f"cannot listen on {path}: {error.strerror}. Fix: name a path in a folder that this user may write") from None
    return bound


def free_path(path: str) -> None:
    """Removes the socket that an ended server left at path.

    Raises:
        StartError: the path is too long, is not a socket, or a server listens there.
    """
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise StartError(f"cannot listen on {path}: a Unix socket's path has at most {_MAX_PATH_BYTES} bytes. Fix: choose a shorter path")
    if not Path(path).is_socket():
        if os.path.lexists(path):
            raise StartError(f"cannot listen on {path}: it exists and is not a socket. Fix: choose another path")
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) != errno.ECONNREFUSED:
            raise StartError(f"cannot listen on {path}: a server listens there. Fix: choose another path, or stop what uses it")
    remove_path(path)


def remove_path(path: str) -> None:
    """Removes a socket that is not used any more."""
    Path(path).unlink(missing_ok=True)


def make_private(path: str) -> None:
    """Lets only the owner connect to the socket at path."""
    os.chmod(path, _PRIVATE)
