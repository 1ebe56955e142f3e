"""The cloud role, as a device asks it: by a few threads, for as long as somebody waits.

A thread may be held up in what knows no deadline (names, a handshake, a trickle of headers). So the time is kept where the answers are
taken: what is late ends, and its connection with it. An answer is bounded in size, and no redirect is followed; whether it is one at all is
for who asks to say (`check`).
"""

import http.client
import json
import math
import queue
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from isthmus_agent.channel import Fallback
from isthmus_agent.formats import routing
from isthmus_agent.formats.answers import ASKED_BY, DEVICE
from isthmus_agent.formats.paths import model_path, predict_path
from isthmus_agent.formats.pauses import FIRST_PAUSE_SECONDS
from isthmus_agent.server.answers import Check, Due
from isthmus_agent.server.breaker import Breaker, May
from isthmus_agent.server.full import RETRY_AFTER, full_seconds

_MOST_AT_ONCE: Final = 8
_MOST_LEFT: Final = 8
"""Questions that go on although nobody waits for them any more: by them the breaker learns whether the cloud is there."""
_RESERVE_SECONDS: Final = 0.002
"""Of a deadline, for giving the device's own answer."""
_STACK_BYTES: Final = 1 << 20
_PIECE_BYTES: Final = 64 << 10
_ABOUT_THE_REQUEST: Final = (400, 413, 422)
"""Statuses that say something of what was asked, and nothing of who was asked."""
_WHO_ASKS: Final = {ASKED_BY: DEVICE}
_HEADERS: Final = {"Content-Type": "application/json", **_WHO_ASKS}
_PACKED_HEADERS: Final = {**_HEADERS, "Content-Encoding": "gzip"}
_GZIP: Final = b"\x1f\x8b"
"""What a packed body begins with, and no JSON."""
_NEW_PART: Final = 0.5
"""Of the smoothed round trip, what the newest one is. Probes are seconds apart: with less, a change would take minutes to be seen."""


class _UnusableError(Exception):
    """An answer that is none."""


class Question:
    """One request to the cloud. until: when the cloud is late. waits_until: when who asked waits no longer. is_left: nobody waits for it
    any more. is_try: nobody may have waited for it from the beginning. full_seconds: there was no room for it, and is none for so long.
    is_probe: it asks for the model's status, has no body, and its round trip is measured: from when it was sent over a connection that
    stood, to the beginning of the reply. took_ms: of what is no probe, in the same way."""

    __slots__ = (
        "body",
        "check",
        "failure",
        "found",
        "full_seconds",
        "is_about_request",
        "is_left",
        "is_over",
        "is_probe",
        "is_try",
        "model",
        "round_trip_ms",
        "sock",
        "took_ms",
        "until",
        "waits_until",
    )

    def __init__(
        self, model: str, body: bytes, check: Check, until: float, waits_until: float, *, is_try: bool, is_probe: bool = False
    ) -> None:
        self.model, self.body, self.check, self.until, self.is_try, self.is_probe = model, body, check, until, is_try, is_probe
        self.round_trip_ms = self.took_ms = math.nan
        self.waits_until, self.is_left = min(waits_until, until), False
        self.found: bytes | None = None
        self.failure = ""
        self.full_seconds: float | None = None
        self.is_about_request = self.is_over = False
        self.sock: socket.socket | None = None

    @property
    def outcome(self) -> str:
        """What became of it, as `formats.routing.ASKED` has it."""
        if self.found is not None:
            return "answered"
        if self.is_about_request:
            return "refused"
        return "full" if self.full_seconds is not None else "late" if self.is_over else "failed"


class Cloud:
    """Asks, and says what came of it (`fileno`, `answered`). Its methods are for one thread.

    most_answer_bytes: of one answer. request_seconds: for all that becomes of one request. version: that is asked for; None: whichever the
    cloud serves. name: what the log calls it.
    """

    def __init__(
        self,
        fallback: Fallback,
        *,
        most_answer_bytes: int,
        request_seconds: float,
        version: int | None = None,
        breaker: Breaker | None = None,
        name: str = "the cloud role",
    ) -> None:
        self._fallback, self._most_answer_bytes, self._request_seconds = fallback, most_answer_bytes, request_seconds
        self._version, self._name = version, name
        self._breaker = breaker or Breaker()
        self._url = urlsplit(fallback.url)
        self._tls = ssl.create_default_context(cafile=fallback.ca_file) if self._url.scheme == "https" else None
        self._questions: queue.SimpleQueue[Question] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Question] = queue.SimpleQueue()
        self._asked: set[Question] = set()
        self._round_trip_ms = math.nan
        self._counts: Counter[str] = Counter()
        self._threads = 0
        self._wakes, self._waker = socket.socketpair()
        self._wakes.setblocking(False)
        self._waker.setblocking(False)

    def fileno(self) -> int:
        """Readable when something has come."""
        return self._wakes.fileno()

    def next_at(self) -> float | None:
        """When the next question is late."""
        return min((it.until if it.is_left else it.waits_until for it in self._asked), default=None)

    def ask(self, model: str, body: bytes, check: Check, due: Due, *, is_needed: bool) -> Question | None:
        """See `answers.Asker`."""
        now = time.monotonic()
        waits_until = math.inf if due.seconds is None else due.began + due.seconds - _RESERVE_SECONDS
        if waits_until <= now:
            return None
        may = self._breaker.may(now)
        if may is May.NOTHING:
            return None
        until = min(now + self._fallback.timeout_seconds, due.began + self._request_seconds)
        question = Question(model, body, check, until, waits_until, is_try=may is May.TRY)
        is_put = self._is_put(question)
        return question if is_put and (may is May.ASK or is_needed) else None

    def has_room(self) -> bool:
        """Whether what is asked now would be sent at once."""
        return len(self._asked) < _MOST_AT_ONCE

    def hasten(self, question: Hashable, until: float) -> None:
        """Nobody waits for it longer than to that time."""
        for it in self._asked:
            if it is question:
                it.waits_until = min(it.waits_until, until - _RESERVE_SECONDS)

    def probe(self, model: str) -> None:
        """Asks for the model's status, which is cheap to answer, where the breaker allows it; it counts there as every question does."""
        now = time.monotonic()
        may = self._breaker.may(now)
        if may is not May.NOTHING:
            until = now + self._fallback.timeout_seconds
            self._is_put(Question(model, b"", _status, until, until, is_try=may is May.TRY, is_probe=True))

    def round_trip_ms(self) -> float:
        """The smoothed round trip of probes; infinity while the cloud is away or full, not a number before the first.

        Of probes alone: what is asked besides takes the model's time and that of its bytes too, so that a device which asks more would
        find the network worse for it.
        """
        return math.inf if self._is_paused() else self._round_trip_ms

    def breaker(self) -> str:
        """See `answers.Asker`."""
        return routing.FULL if self._breaker.is_full else routing.OPEN if self._breaker.is_open else routing.CLOSED

    def counts(self) -> Mapping[str, int]:
        """See `answers.Asker`. Probes are not among them."""
        return {name: self._counts[name] for name in routing.ASKED}

    def _is_put(self, question: Question) -> bool:
        """Whether a thread will ask it."""
        self._count("asked", question)
        if self._threads < min(_MOST_AT_ONCE, len(self._asked) + 1) and not self._has_one_more() and not self._threads:
            question.failure = "no thread to ask it"
            self._judge(question)
            return False
        self._asked.add(question)
        self._questions.put(question)
        return True

    def _has_one_more(self) -> bool:
        """Whether another thread could be started: memory may be short, or bounded."""
        threading.stack_size(_STACK_BYTES)
        try:
            threading.Thread(target=self._run, name="cloud", daemon=True).start()
        except (RuntimeError, MemoryError):
            return False
        self._threads += 1
        return True

    def answered(self) -> Iterator[tuple[Question, bytes | None]]:
        """What has come, and what is late."""
        with suppress(BlockingIOError):
            self._wakes.recv(4096)
        while not self._done.empty():
            question = self._done.get()
            if question in self._asked:
                self._asked.remove(question)
                self._judge(question)
                yield question, question.found
        now = time.monotonic()
        for question in sorted((it for it in self._asked if it.until <= now), key=lambda it: it.until):
            self._asked.remove(question)
            self._give_up(question)
            self._judge(question)
            yield question, None
        for question in sorted((it for it in self._asked if it.waits_until <= now and not it.is_left), key=lambda it: it.waits_until):
            self._leave(question)
            yield question, None

    def _leave(self, question: Question) -> None:
        """Nobody waits any more. The cloud has its time all the same: a deadline that was short is no failure of the cloud, and one that
        is away must be found out even if every request is in a hurry."""
        self._count("left", question)
        if question.is_try or sum(it.is_left for it in self._asked) < _MOST_LEFT:
            question.is_left = True
        else:
            self._asked.remove(question)
            self._give_up(question)

    def _count(self, what: str, question: Question) -> None:
        if not question.is_probe:
            self._counts[what] += 1

    def _judge(self, question: Question) -> None:
        if not question.is_left:  # it is counted already
            self._count(question.outcome, question)
        was_paused = self._is_paused()
        if question.found is not None or question.is_about_request:
            # A status that comes between answers that do not is no sign that they will.
            if question.is_try or not question.is_probe or self._breaker.is_full:
                self._breaker.well()
            self._measure(question.round_trip_ms)
        elif question.full_seconds is not None:
            self._breaker.full(time.monotonic(), question.full_seconds)
        else:
            self._breaker.failed(time.monotonic(), was_try=question.is_try)
        if self._is_paused() != was_paused:
            said = "answers again" if was_paused else f"is not asked for a while: {question.failure}"
            sys.stderr.write(f"{self._name} {said}\n")

    def _measure(self, round_trip_ms: float) -> None:
        if not math.isnan(round_trip_ms):
            before = round_trip_ms if math.isnan(self._round_trip_ms) else self._round_trip_ms
            self._round_trip_ms = before + _NEW_PART * (round_trip_ms - before)

    def _is_paused(self) -> bool:
        return self._breaker.is_open or self._breaker.is_full

    def _give_up(self, question: Question) -> None:
        question.is_over, question.found = True, None
        question.failure = f"no answer within {self._fallback.timeout_seconds:g} s"
        sock = question.sock
        if sock is not None:
            with suppress(OSError):
                # Not the class's own, which would take what the thread reads by away from it.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    # The threads

    def _run(self) -> None:
        kept: http.client.HTTPConnection | None = None
        while True:
            question = self._questions.get()
            if not question.is_over:
                kept = self._answer(question, kept)
                self._done.put(question)
                with suppress(OSError):  # it is awake then
                    self._waker.send(b".")
            del question  # it may be large

    def _answer(self, question: Question, kept: http.client.HTTPConnection | None) -> http.client.HTTPConnection | None:
        """Answers a question. The connection, where it can be used again."""
        connection = kept
        try:
            connection, reply = self._sent(question, kept)
            found = question.check(self._read(question, reply))
            if not question.is_over:
                question.found = found
        except Exception as error:  # whatever it is, the thread has to go on
            question.failure = str(error)[:100] if isinstance(error, _UnusableError | ValueError) else type(error).__name__
        if connection is not None and (question.found is None or connection.sock is None):
            connection.close()
            connection = None
        question.sock = None
        return connection

    def _sent(
        self, question: Question, kept: http.client.HTTPConnection | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """The beginning of a reply. The cloud may have ended a connection that was kept: then it is asked over a new one."""
        if kept is not None:
            try:
                return kept, self._reply(question, kept)
            except ConnectionError:
                kept.close()
        connection = self._connection()
        try:
            return connection, self._reply(question, connection)
        except BaseException:
            connection.close()
            raise

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._tls is None:
            return http.client.HTTPConnection(host, port)
        return http.client.HTTPSConnection(host, port, context=self._tls)

    def _reply(self, question: Question, connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
        left_seconds = question.until - time.monotonic()
        if question.is_over or left_seconds <= 0:
            raise TimeoutError
        if connection.sock is None:
            connection.timeout = left_seconds
            connection.connect()
        connection.sock.settimeout(left_seconds)
        question.sock = connection.sock
        if question.is_over:  # between the two
            raise TimeoutError
        if not question.is_probe:
            path = f"{self._url.path}{predict_path(question.model, self._version)}"
            headers = self._headers(left_seconds, is_packed=question.body[:2] == _GZIP)
            began = time.monotonic()
            connection.request("POST", path, question.body, headers)
            reply = connection.getresponse()
            question.took_ms = 1000 * (time.monotonic() - began)
            return reply
        began = time.monotonic()
        connection.request("GET", f"{self._url.path}{model_path(question.model)}", headers=_WHO_ASKS)
        reply = connection.getresponse()
        question.round_trip_ms = 1000 * (time.monotonic() - began)
        return reply

    def _headers(self, left_seconds: float, *, is_packed: bool = False) -> Mapping[str, str]:
        """Of a question. left_seconds: until it is late."""
        return _PACKED_HEADERS if is_packed else _HEADERS

    def _read(self, question: Question, reply: http.client.HTTPResponse) -> bytes:
        if reply.status == http.client.NOT_FOUND and self._version is not None and not question.is_probe:
            # On its way to another version, before or after this device: as one without room it is there, and asked again later.
            question.full_seconds = FIRST_PAUSE_SECONDS
            raise _UnusableError(f"it has no version {self._version}")
        if reply.status != http.client.OK:
            question.is_about_request = reply.status in _ABOUT_THE_REQUEST
            question.full_seconds = full_seconds(reply.status, reply.getheader(RETRY_AFTER))
            raise _UnusableError(f"status {reply.status}")
        found = bytearray()
        while not question.is_over and (piece := reply.read(_PIECE_BYTES)):
            found += piece
            if len(found) > self._most_answer_bytes:
                raise _UnusableError(f"an answer of more than {self._most_answer_bytes} bytes")
        if reply.length:
            raise _UnusableError("half an answer")
        return bytes(found)


def _status(content: bytes) -> bytes:
    """The check of a probe: a model's status, so that no portal is taken for the cloud role."""
    if "model_version_status" not in json.loads(content):
        raise ValueError("no status of a model")
    return content
