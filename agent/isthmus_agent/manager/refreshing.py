"""A refresh of signed metadata, done by a process that lives for that long: the manager itself knows neither python-tuf nor a parser of
signatures. It costs no memory while nothing is new, and what a hostile file does to a parser, it does to that process.

The process (`isthmus_agent.manager.metadata`) is told a question on its standard input, and answers on its standard output, one JSON
object a line:

    {"get": URL}                    what it wants of the network; the answer is {"status", "bytes"}, and then so many bytes
    {"found": {…}}                  what it found, as `Refreshed`
    {"failure": …, "reason": …, "text": …}

It has no credentials, and is ended where it takes too long.
"""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Final

from isthmus_agent.formats.report import Reason
from isthmus_agent.formats.sizes import MOST_TARGETS_BYTES
from isthmus_agent.manager import failures
from isthmus_agent.manager.child import WORKING_FOLDER, environment
from isthmus_agent.manager.failures import DeviceFailure, RepositoryFailure, TransportFailure
from isthmus_agent.manager.transport import Transport, fetched

_MOST_SECONDS: Final = 600.0
_MOST_MESSAGE_BYTES: Final = 4 * MOST_TARGETS_BYTES
_END_SECONDS: Final = 5.0
_MODULE: Final = "isthmus_agent.manager.metadata"


@dataclass(frozen=True)
class Floor:
    """What this device knows from before, kept apart from the metadata: nothing below it is accepted, whatever became of the cache.

    time_seconds: since 1970; it is not earlier now. number: of the assignment. root: version of the root metadata.
    time_keys: by whose keys the time was learned. It holds for as long as root names them.
    """

    time_seconds: int
    number: int = 0
    root: int = 0
    time_keys: str = ""


@dataclass(frozen=True)
class Question:
    """What is to be refreshed. folder: of the cache. url: of the metadata. root: the anchor. floor: nothing below it is accepted.

    timestamp: timestamp.json, where it was fetched already. asks_for_root: whether the store is asked for a newer root.
    """

    folder: Path
    url: str
    fleet: str
    root: bytes = field(repr=False)
    floor: Floor = Floor(0)
    timestamp: bytes | None = field(default=None, repr=False)
    asks_for_root: bool = True

    def to_text(self) -> str:
        """One line."""
        packed = {name: None if it is None else base64.b64encode(it).decode() for name, it in self._files.items()}
        return json.dumps({**asdict(replace(self, root=b"", timestamp=None)), "folder": str(self.folder), **packed}) + "\n"

    @property
    def _files(self) -> Mapping[str, bytes | None]:
        return {"root": self.root, "timestamp": self.timestamp}


def question_from(text: str | bytes) -> Question:
    """What `to_text` wrote."""
    value = json.loads(text)
    files = {name: None if value[name] is None else base64.b64decode(value[name]) for name in ("root", "timestamp")}
    return Question(**{**value, **files, "folder": Path(value["folder"]), "floor": Floor(**value["floor"])})


@dataclass(frozen=True)
class Target:
    """A file of the fleet, as it was signed. hashes: by their algorithms."""

    path: str
    length: int
    hashes: Mapping[str, str]


@dataclass(frozen=True)
class Refreshed:
    """What the metadata says. assignment: as it was signed, None where there is none yet. expires_seconds: of the timestamp."""

    assignment: Any
    floor: Floor
    expires_seconds: int
    targets: Mapping[str, Target] = field(default_factory=dict)


Refresh = Callable[[Question, Transport], Refreshed]
"""It raises RepositoryFailure by its kinds. The transport is asked in the thread that calls."""


def in_child(question: Question, transport: Transport) -> Refreshed:
    """By a process of its own."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            cwd=WORKING_FOLDER,
        )
    except OSError as error:
        raise DeviceFailure(f"no process to be had: {error.strerror or error}", Reason.OUT_OF_MEMORY) from None
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    deadline = threading.Timer(_MOST_SECONDS, process.kill)
    deadline.daemon = True
    deadline.start()
    try:
        return _asked(question, transport, process.stdin, process.stdout)
    except (OSError, ValueError, LookupError, TypeError) as error:
        what = f"the metadata was not read to its end: {type(error).__name__}"
        raise TransportFailure(what, Reason.ODD_ANSWER) from None
    finally:
        deadline.cancel()
        process.kill()
        process.wait(_END_SECONDS)
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()


def _asked(question: Question, transport: Transport, says: IO[bytes], tells: IO[bytes]) -> Refreshed:
    says.write(question.to_text().encode())
    says.flush()
    while True:
        message = json.loads(tells.readline(_MOST_MESSAGE_BYTES))
        if "get" in message:
            status, content = _got(transport, message["get"], question.url)
            says.write(json.dumps({"status": status, "bytes": len(content)}).encode() + b"\n" + content)
            says.flush()
        elif "found" in message:
            found = message["found"]
            targets = {path: Target(path, it["length"], it["hashes"]) for path, it in found["targets"].items()}
            return Refreshed(found["assignment"], Floor(**found["floor"]), found["expires_seconds"], targets)
        else:
            raise _failure(message)


def _got(transport: Transport, url: str, folder_url: str) -> tuple[int, bytes]:
    if not url.startswith(folder_url):
        raise ValueError("it asks for something else than metadata")
    return fetched(url, transport, MOST_TARGETS_BYTES)


def looks_signed(data: bytes) -> bool:
    """Whether it could be metadata: a portal's page is none."""
    return data.lstrip()[:1] == b"{"


def failure_value(failure: RepositoryFailure) -> dict[str, Any]:
    """A failure, for another process."""
    return {"failure": type(failure).__name__, "reason": int(failures.reason_of(failure)), "text": str(failure)}


def _failure(message: Mapping[str, Any]) -> RepositoryFailure:
    kind = getattr(failures, str(message["failure"]), None)
    if not (isinstance(kind, type) and issubclass(kind, RepositoryFailure)):
        kind = TransportFailure
    return kind(str(message["text"])[:500], Reason(message["reason"]))
