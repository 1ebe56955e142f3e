"""Requests of the group, done by this device's own server: asked for over its own socket, as any client on the device would.

Nothing of them leaves this device: its server is told to ask nobody else, and to take none of them for a sample. A server that fell over
costs a request a second try; what fails twice is not tried on the next server.
"""

import http.client
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from isthmus_agent.formats.answers import ANSWER_BY, DEVICE, NEVER, SAMPLE
from isthmus_agent.formats.carried import MOST_BODY_BYTES, Call, Result, call_in, encoded_result
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.passing import Outcome
from isthmus_agent.group.effects import Key
from isthmus_agent.manager.loopback import LoopbackConnection

_HEADERS: Final = {"Content-Type": "application/json", ANSWER_BY: DEVICE, SAMPLE: NEVER}
_THREADS: Final = 2
"""A server answers one request at a time; the second one is on its way meanwhile."""
_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.1
_NO_SERVER: Final = 503

Done = Callable[[Key, Outcome, bytes], None]


class Doing:
    """Does what it is given, in threads of its own. address: of the server. done: gets what came of each. request_seconds: that an answer
    may take."""

    def __init__(self, address: Any, done: Done, request_seconds: float) -> None:
        self._address, self._done, self._request_seconds = address, done, request_seconds
        self._waiting: queue.SimpleQueue[tuple[Key, bytes] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name="group-work", daemon=True) for _ in range(_THREADS)]
        self._lock = threading.Lock()
        self.done = 0

    def start(self) -> None:
        """Begins."""
        for thread in self._threads:
            thread.start()

    def take(self, key: Key, stream: str, payload: bytes) -> None:
        """One more; never waits."""
        self._waiting.put((key, payload))

    def close(self) -> None:
        """Ends after what is in hand."""
        for _ in self._threads:
            self._waiting.put(None)

    def _run(self) -> None:
        connection = LoopbackConnection(self._address, self._request_seconds)
        while (found := self._waiting.get()) is not None:
            key, payload = found
            outcome, answer = self._outcome(connection, payload)
            with self._lock:
                self.done += outcome is Outcome.DONE
            self._done(key, outcome, answer)
        connection.close()

    def _outcome(self, connection: http.client.HTTPConnection, payload: bytes) -> tuple[Outcome, bytes]:
        try:
            call = call_in(payload)
        except FormatError as error:
            return Outcome.FAILED, str(error).encode()
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_SECONDS)
            found = _asked(connection, call)
            if found is None or found.status == _NO_SERVER:
                continue  # the next server is on its way
            if found.status == http.client.INTERNAL_SERVER_ERROR and not attempt:
                continue  # it may have died of something else
            try:
                return Outcome.DONE, encoded_result(found)
            except FormatError as error:
                return Outcome.FAILED, str(error).encode()
        return Outcome.BUSY, b""


def _asked(connection: http.client.HTTPConnection, call: Call) -> Result | None:
    """What the server says; None where it was lost on the way."""
    try:
        connection.request("POST", call.path, call.body, _HEADERS)
        reply = connection.getresponse()
        return Result(reply.status, reply.read(MOST_BODY_BYTES + 1))
    except (OSError, http.client.HTTPException):
        connection.close()
        return None
