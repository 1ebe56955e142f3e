"""Sends reports, in a thread of its own: nothing ever waits for one.

A report is the key of an empty object (`formats.report`). The same said again puts the same key again, which makes it young; where figures
changed that somebody waits for, or something else is said, a new key is put, and then the old one deleted; but what an earlier start of
the program has said is deleted first. Which keys are in the store is kept on disk, so that this also holds over restarts.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from isthmus_agent.core.backoff import doubled_seconds
from isthmus_agent.core.effects import Say
from isthmus_agent.disk import durable
from isthmus_agent.disk.queue import Queue
from isthmus_agent.formats import report
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.report import MOST_KEY_BYTES, Figures, Outcome, Report, printable
from isthmus_agent.manager.failures import RepositoryFailure, check_stored
from isthmus_agent.manager.transport import Transport

FIRST_BACKOFF_SECONDS: Final = 5.0
MOST_BACKOFF_SECONDS: Final = 900.0
_MOST_KEYS: Final = 8


@dataclass(frozen=True)
class Sender:
    """Who reports, and where to. url: of the repository; ends with `/`. key: the device's own. patience_seconds: how long it is kept back
    that an update is under way; most are over by then, and need no report of it."""

    device: str
    fleet: str
    url: str
    key: bytes
    patience_seconds: float = 120.0


class Reporter:
    """Reports that wait, and the thread that sends them. memory: a file, for the keys that are in the store."""

    def __init__(
        self, queue: Queue, sender: Sender, transport: Transport, memory: Path, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._queue, self._sender, self._transport, self._memory, self._monotonic = queue, sender, transport, memory, monotonic
        self._figures: Callable[[], Figures] = Figures
        self._changed = threading.Condition()
        self._since: dict[int, float] = {}
        self._sequence = 0
        self._failures = 0
        self._last: tuple[Say, Figures] | None = None
        self._said_since = 0.0
        self._keys = _remembered(memory)  # in the store, as far as is known; the newest last
        self._inherited = frozenset(self._keys)
        self.last_failure = ""
        self.sent_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)

    def start(self, figures: Callable[[], Figures]) -> None:
        """Begins with what a process before this one left. figures: what is measured now, without the count of reports."""
        self._figures = figures
        self._thread.start()

    def say(self, say: Say) -> None:
        """The effect Say."""
        with self._changed:
            self._since.setdefault(say.number, self._monotonic())
            self._queue.put(replace(say, text=printable(say.text)))
            self._changed.notify()

    @property
    def waiting(self) -> int:
        """How many reports were not sent yet."""
        with self._changed:
            return len(self._queue.waiting)

    def _run(self) -> None:
        while True:
            with self._changed:
                say, wait_seconds = self._next()
                if say is None:
                    self._changed.wait(wait_seconds)
                    continue
            try:
                self._send(say)
            except (RepositoryFailure, FormatError) as error:
                self._failed(say, error)
            else:
                self._failures, self.last_failure, self.sent_at = 0, "", self._monotonic()
                with self._changed:
                    self._queue.sent(say)
                    self._since.pop(say.number, None)

    def _next(self) -> tuple[Say | None, float | None]:
        """What is to be sent now; or how long there is nothing. None: until something is said."""
        now, waits = self._monotonic(), []
        for say in self._queue.waiting:
            due = self._since.get(say.number, 0.0) + self._sender.patience_seconds if say.outcome is Outcome.UPDATING else now
            if due <= now:
                return say, None
            waits.append(due - now)
        return None, min(waits, default=None)

    def _failed(self, say: Say, error: Exception) -> None:
        self._failures += 1
        self.last_failure = f"{type(error).__name__}: {error}"
        if isinstance(error, FormatError):  # it will never be one
            with self._changed:
                self._queue.sent(say)
            return
        longest = doubled_seconds(FIRST_BACKOFF_SECONDS, MOST_BACKOFF_SECONDS, self._failures)
        until = self._monotonic() + longest * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads devices, and hides nothing
        with self._changed:
            while (left := until - self._monotonic()) > 0:
                self._changed.wait(left)

    def _send(self, say: Say) -> None:
        key = self._key(say)
        # What was said of other assignments stays: it is about them.
        old = [it for it in self._keys if it != key and it.startswith(report.folder("", say.number))]
        # What an earlier start has said goes first: beside what this one says it would look like a second device of this name.
        self._delete([it for it in old if it in self._inherited])
        self._remember([*(it for it in self._keys if it != key), key])
        check_stored(self._transport.put(self._url(key)))
        self._delete([it for it in old if it not in self._inherited])

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            with suppress(RepositoryFailure):
                if self._transport.delete(self._url(key)) in (200, 204, 404):
                    self._remember([it for it in self._keys if it != key])

    def _key(self, say: Say) -> str:
        last, figures = self._last, self._figures()
        is_said = last is not None and replace(last[0], text="") == replace(say, text="")
        # A reason that is added to an outcome does not begin it anew.
        if last is None or (last[0].number, last[0].digest, last[0].outcome) != (say.number, say.digest, say.outcome):
            self._said_since = self._monotonic()
        figures = replace(figures, outcome_seconds=int(self._monotonic() - self._said_since))
        if last is None or not is_said or _is_news(last[1], figures):
            self._sequence += 1
            text = say.text if last is None or not is_said else last[0].text
            self._last = last = replace(say, text=text), replace(figures, sequence=self._sequence)
        found = Report(self._sender.device, say.number, say.outcome, say.digest, say.reason, last[0].text, last[1])
        return found.object_key("", self._sender.fleet, self._sender.key)

    def _url(self, key: str) -> str:
        return self._sender.url + quote(key, safe="/~")

    def _remember(self, keys: Sequence[str]) -> None:
        self._keys = list(keys)[-_MOST_KEYS:]
        with suppress(OSError):
            durable.write_document(self._memory, self._keys)


def _is_news(before: Figures, now: Figures) -> bool:
    """Whether somebody waits for these figures: they hurt, the outcome has held for longer by an eighth, which ends a gate's soak, or
    requests ran elsewhere since: who looks on from afar sees it in no other way."""
    held_seconds, longer_seconds = before.outcome_seconds or 0, now.outcome_seconds or 0
    is_worse = now.crashes > before.crashes or now.errors > 2 * before.errors
    return is_worse or before.routed != now.routed or longer_seconds - held_seconds > held_seconds // 8


def _remembered(memory: Path) -> list[str]:
    found = durable.read_document(memory)
    keys = found if isinstance(found, list) else []
    return [it for it in keys if isinstance(it, str) and len(it) <= MOST_KEY_BYTES][-_MOST_KEYS:]
