"""Questions of people at the device: a Unix socket in the state folder, one JSON object each way. Only its owner can open it."""

import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from isthmus_agent.disk import durable, sockets

NAME: Final = "control"
MOST_BYTES: Final = 1 << 20
_PATIENCE_SECONDS: Final = 60.0

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class NotRunningError(Exception):
    """No manager answers."""


class Control:
    """Answers in a thread of its own, one after the other."""

    def __init__(self, folder: Path, answer: Answer) -> None:
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        try:
            with sockets.short(folder, NAME) as path:
                durable.remove(folder / NAME)
                self._listener.bind(path)
                os.chmod(folder / NAME, 0o600)
            self._listener.listen(8)
        except OSError:
            self._listener.close()
            raise
        threading.Thread(target=self._run, name="control", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, suppress(OSError, ValueError):
                connection.settimeout(5.0)
                question = json.loads(_read(connection))
                answer = self._answer(question) if isinstance(question, dict) else {"error": "expected an object"}
                connection.sendall(json.dumps(answer).encode() + b"\n")

    def close(self) -> None:
        """Ends it."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def ask(folder: Path, question: dict[str, Any]) -> dict[str, Any]:
    """The running manager's answer. Raises NotRunningError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE_SECONDS)
        try:
            with sockets.short(folder, NAME) as path:
                connection.connect(path)
            connection.sendall(json.dumps(question).encode() + b"\n")
            found = json.loads(_read(connection))
        except PermissionError as error:
            raise NotRunningError(f"not allowed to ask the program in {folder}: become the user that it runs as") from error
        except (OSError, ValueError) as error:
            raise NotRunningError(f"no program answers in {folder}") from error
    return found if isinstance(found, dict) else {}


def _read(connection: socket.socket) -> bytes:
    found = b""
    while not found.endswith(b"\n") and len(found) < MOST_BYTES and (more := connection.recv(64 << 10)):
        found += more
    return found
