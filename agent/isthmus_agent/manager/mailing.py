"""Batches of samples on their way to the store, in a thread of their own: nothing ever waits for one.

They are in this process's memory alone: plain until they are sealed, and sealed until they are sent. What there is no room for is dropped,
the oldest first.
"""

import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from isthmus_agent.core.backoff import doubled_seconds
from isthmus_agent.formats import samples
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.samples import Origin, Sample
from isthmus_agent.manager.failures import RepositoryFailure, check_stored
from isthmus_agent.manager.reporter import FIRST_BACKOFF_SECONDS, MOST_BACKOFF_SECONDS, Sender
from isthmus_agent.manager.transport import Transport

MOST_HELD_BYTES: Final = 1 << 20
"""Of samples that wait."""


@dataclass
class _Batch:
    owner_key: bytes
    since: float
    samples: list[Sample] = field(default_factory=list)
    size_bytes: int = 0

    @property
    def is_full(self) -> bool:
        return self.size_bytes >= samples.FULL_BYTES or len(self.samples) == samples.MOST_SAMPLES


class Mailing:
    """Samples that wait, and the thread that sends them; it begins with the first one. gather_seconds: after which a batch is sent also
    where it is not full."""

    def __init__(
        self, sender: Sender, transport: Transport, gather_seconds: float, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._sender, self._transport, self._gather_seconds, self._monotonic = sender, transport, gather_seconds, monotonic
        self._changed = threading.Condition()
        self._batches: deque[_Batch] = deque()
        self._thread: threading.Thread | None = None
        self._era = self._sent = self._dropped = self._failures = 0
        self._last_failure = ""

    def put(self, sample: Sample, owner_key: bytes) -> None:
        """Takes a sample for its next batch."""
        with self._changed:
            last = self._batches[-1] if self._batches else None
            if last is None or last.is_full or last.owner_key != owner_key:
                last = _Batch(owner_key, self._monotonic())
                self._batches.append(last)
            last.samples.append(sample)
            last.size_bytes += len(sample.request) + len(sample.answer) + samples.MOST_HEAD_BYTES
            while len(self._batches) > 1 and sum(it.size_bytes for it in self._batches) > MOST_HELD_BYTES:
                self._dropped += len(self._batches.popleft().samples)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="samples", daemon=True)
                self._thread.start()
            self._changed.notify()

    def forget(self) -> None:
        """Drops what was not sent: nobody is to have it any more."""
        with self._changed:
            self._era += 1
            self._batches.clear()
            self._changed.notify()

    @property
    def status(self) -> Mapping[str, Any]:
        """For people at the device."""
        with self._changed:
            waiting = sum(len(it.samples) for it in self._batches)
            return {"sent": self._sent, "waiting": waiting, "dropped": self._dropped, "fails": self._last_failure or None}

    def _run(self) -> None:
        while True:
            batch, era = self._next()
            origin = Origin(self._sender.fleet, self._sender.device, os.urandom(samples.NAME_BYTES))
            try:
                content = samples.sealed(batch.samples, batch.owner_key, origin, self._sender.key, os.urandom)
            except FormatError as error:  # it will never be one
                self._dropped, self._last_failure = self._dropped + len(batch.samples), str(error)
                continue
            count, url = len(batch.samples), self._sender.url + quote(origin.object_key(""), safe="/~")
            del batch  # from here on it is there sealed alone
            self._send(url, content, count, era)

    def _next(self) -> tuple[_Batch, int]:
        """The next batch that is due, and in which era."""
        with self._changed:
            while True:
                wait_seconds = None
                if self._batches:
                    first = self._batches[0]
                    is_due = first.is_full or len(self._batches) > 1
                    wait_seconds = first.since + self._gather_seconds - self._monotonic()
                    if is_due or wait_seconds <= 0:
                        return self._batches.popleft(), self._era
                self._changed.wait(wait_seconds)

    def _send(self, url: str, content: bytes, count: int, era: int) -> None:
        """Until it is sent, nobody is to have it any more, or newer ones have no room."""
        while True:
            try:
                check_stored(self._transport.put(url, content))
            except RepositoryFailure as error:
                self._last_failure = f"{type(error).__name__}: {error}"
                self._failures += 1
            else:
                self._failures, self._last_failure, self._sent = 0, "", self._sent + count
                return
            longest = doubled_seconds(FIRST_BACKOFF_SECONDS, MOST_BACKOFF_SECONDS, self._failures)
            until = self._monotonic() + longest * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads devices, and hides nothing
            with self._changed:
                while era == self._era and (left := until - self._monotonic()) > 0:
                    self._changed.wait(left)
                if era != self._era or sum(it.size_bytes for it in self._batches) + len(content) > MOST_HELD_BYTES:
                    self._dropped += count
                    return
