"""What servers have counted of the network and load, kept over their ends and this program's, and told where the fleet's owner wants it.

A server counts and hands over (`channel.MEASURED`); here it is added up and kept on disk. When a policy cuts cells otherwise, it begins
anew. What leaves the device is `formats.experience` of it alone: at most once a day, under this device's own name, as long as the signed
assignment says so. All of that is done in a thread of its own: nothing ever waits for the disk or the store. A disk that takes nothing,
and a store that is away, change nothing but what is known here or there.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from isthmus_agent.core.backoff import doubled_seconds
from isthmus_agent.core.seeing import Tally, tally_from
from isthmus_agent.disk import durable
from isthmus_agent.formats import told_counts
from isthmus_agent.formats.numbers import DAY_SECONDS, FormatError
from isthmus_agent.manager.failures import RepositoryFailure, check_stored
from isthmus_agent.manager.reporter import FIRST_BACKOFF_SECONDS, MOST_BACKOFF_SECONDS, Sender
from isthmus_agent.manager.transport import Transport

SAVE_SECONDS: Final = 600.0
"""After which what was counted is on disk; a device that loses its power loses as much of it."""
TELL_SECONDS: Final = float(DAY_SECONDS)
"""Between two times that it is told."""
MOST_FILE_BYTES: Final = 1 << 20
"""More than what `Tally` holds at most."""


class Counting:
    """What was counted, and the thread that keeps and tells it; it begins when there is something to do.

    file: where it is kept. may_tell: whether this device follows what the fleet's owner wants of it. by_itself: False: there is no thread,
    and somebody calls `turn`.
    """

    def __init__(
        self,
        file: Path,
        sender: Sender,
        transport: Transport,
        *,
        may_tell: bool = True,
        by_itself: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file, self._sender, self._transport, self._may_tell, self._monotonic = file, sender, transport, may_tell, monotonic
        self._changed, self._writing, self._by_itself = threading.Condition(), threading.Lock(), by_itself
        self._tally = _read(file)
        self._is_wanted = self._is_news = False
        self._save_at: float | None = None
        # The first time comes after a random part of a day, so that devices are spread, and restarts bring no more on average.
        self._tell_at = monotonic() + random.uniform(0, TELL_SECONDS)  # noqa: S311 - it spreads, and hides nothing
        self._told = b""
        self._sent = self._failures = 0
        self._last_failure = ""
        self._thread: threading.Thread | None = None

    def heard(self, value: object) -> None:
        """Takes what a server has counted since the last time. Raises FormatError for what no server says."""
        found = tally_from(value, "seen")
        with self._changed:
            if self._tally is not None and self._tally.is_of_same(found):
                self._tally.add_all(found)
            else:
                self._tally = found
            if self._save_at is None:
                self._save_at = self._monotonic() + SAVE_SECONDS
            self._wake()

    def follow(self, is_wanted: bool) -> None:
        """From now on the fleet's owner wants to be told, or does not."""
        with self._changed:
            if is_wanted != self._is_wanted:
                self._is_wanted = is_wanted
                self._wake()

    def close(self) -> None:
        """Keeps what was not kept yet."""
        with self._changed:
            kept = self._due(self._save_at)
        self._save(kept)

    @property
    def status(self) -> Mapping[str, Any]:
        """For people at the device."""
        with self._changed:
            told = self._is_wanted and self._may_tell
            return {"told_to_owner": told, "sent": self._sent, "fails": self._last_failure or None}

    def turn(self) -> float | None:
        """Does what is due. In how many seconds something is again; None: not before something is heard."""
        with self._changed:
            now, waits = self._monotonic(), []
            kept = self._due(now)
            if self._save_at is not None:
                waits.append(self._save_at - now)
            tells = self._is_wanted and self._may_tell and self._tally is not None
            content = self._content() if tells and now >= self._tell_at else b""
            if tells and now < self._tell_at:
                waits.append(self._tell_at - now)
        self._save(kept)
        if content:
            waits.append(self._tell(content))
        return min(waits, default=None)

    def _wake(self) -> None:
        if self._thread is None and self._by_itself:
            self._thread = threading.Thread(target=self._run, name="counts", daemon=True)
            self._thread.start()
        self._is_news = True
        self._changed.notify()

    def _run(self) -> None:
        while True:
            wait_seconds = self.turn()
            with self._changed:
                if not self._is_news:  # of what came since, nobody would tell again
                    self._changed.wait(wait_seconds)
                self._is_news = False

    def _content(self) -> bytes:
        """What is to be told now; nothing where that is what was told before, or nothing may leave. A day later it is looked at again."""
        assert self._tally is not None  # noqa: S101 - the caller has looked
        found = self._tally.experience()
        content = told_counts.written(found, self._sender.fleet, self._sender.device, self._sender.key) if found.rows else b""
        if not content or content == self._told:
            self._tell_at = self._monotonic() + TELL_SECONDS
            return b""
        return content

    def _tell(self, content: bytes) -> float:
        """Puts it into the store; how many seconds later the next time is."""
        url = self._sender.url + quote(told_counts.object_key("", self._sender.fleet, self._sender.device), safe="/~")
        try:
            check_stored(self._transport.put(url, content))
        except RepositoryFailure as error:
            self._failures, self._last_failure = self._failures + 1, f"{type(error).__name__}: {error}"
            longest = doubled_seconds(FIRST_BACKOFF_SECONDS, MOST_BACKOFF_SECONDS, self._failures)
            wait_seconds = longest * random.uniform(0.5, 1.0)  # noqa: S311 - it spreads devices, and hides nothing
        else:
            self._failures, self._last_failure, self._told, wait_seconds = 0, "", content, TELL_SECONDS
            self._sent += 1
        self._tell_at = self._monotonic() + wait_seconds
        return wait_seconds

    def _due(self, now: float | None) -> Mapping[str, Any] | None:
        """What is to be kept by now; None: nothing is."""
        if self._save_at is None or now is None or now < self._save_at or self._tally is None:
            return None
        self._save_at = None
        return self._tally.to_value()

    def _save(self, kept: Mapping[str, Any] | None) -> None:
        """A disk that takes nothing is tried again when something more was counted. Whoever counts does not wait for it."""
        if kept is not None:
            with self._writing, suppress(OSError):
                durable.write_document(self._file, kept)


def _read(file: Path) -> Tally | None:
    """What a program before this one kept; None where there is nothing, or nothing that can be read."""
    with suppress(FormatError):
        return tally_from(durable.read_document(file, MOST_FILE_BYTES), file.name)
    return None
