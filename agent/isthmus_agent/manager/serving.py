"""What is served on this device: one content at a time, by a process that may fall over without anybody's socket being closed.

`Serving` owns the listening sockets. To swap, it starts a server for the new content, which tests itself while the old one serves; then
the new one accepts and the old one finishes what it has. It says what becomes of it in the core's words: `Serving` or `ServeFailed` for
each content that was asked for, `Crashed`, `Measured`. It never starts one unasked: what to do about a crash is the core's to say. It is
done at once the first time, and later the more often the content fell over.

What a crash costs: the request that was being answered (500, or 504 after its deadline), and those that were half here (503). Nothing is
asked twice. Connections that rested are handed to the next server, and new ones wait in the kernel; if none comes, all are told so (503).
With a fallback there is always a server: one without a content, as long as there is none, by which the cloud answers alone.
"""

import queue
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from isthmus_agent import channel
from isthmus_agent.channel import Fallback, Limits, Peers, View
from isthmus_agent.core import events
from isthmus_agent.core.events import Event
from isthmus_agent.formats.report import Reason, printable
from isthmus_agent.formats.samples_wanted import SamplesWanted
from isthmus_agent.manager.child import RELAY, Child
from isthmus_agent.manager.counting import Counting
from isthmus_agent.manager.evidence import Evidence
from isthmus_agent.manager.falls import Falls
from isthmus_agent.manager.measuring import Counts, Measuring
from isthmus_agent.manager.sampling import Sampling
from isthmus_agent.manager.waiting import Waiting

_RELAY_AFTER_SECONDS: Final = 0.25
"""How long there is no server until the cloud answers alone: what comes next is mostly on its way."""


@dataclass(frozen=True)
class Settings:
    """How contents are served.

    stop_first: the old server ends before the new one starts, for devices that cannot hold both. wait_seconds: how long connections wait
    for a server before it is said that there is none. probe_seconds: for the golden probes of one measurement. count_seconds: after
    which it is asked again what a server has counted. first_backoff_seconds:
    before the second start in a row of a content that fell over; twice as long each time, up to most_backoff_seconds, until it ran for as
    long. about: what `/healthz` says of the device. fallback: who is asked besides; None: nobody. peers: of the group; None: none is
    asked. view: as whom it answers with its group; None: it answers alone.
    """

    limits: Limits = field(default_factory=Limits)
    stop_first: bool = False
    wait_seconds: float = 10.0
    probe_seconds: float = 30.0
    count_seconds: float = 30.0
    first_backoff_seconds: float = 0.5
    most_backoff_seconds: float = 60.0
    about: Mapping[str, str] = field(default_factory=dict)
    fallback: Fallback | None = None
    peers: Peers | None = None
    view: View | None = None


class Serving:
    """Serves contents. Its methods may be called from any thread.

    listeners: it closes them. tell: called in its own thread, must not wait. path_of: the file of a content. sampling: None: never.
    counting: keeps what servers count of the network and load; None: nobody does. evidence: what servers say to the device's group; None:
    to nobody.
    """

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        settings: Settings,
        tell: Callable[[Event], None],
        path_of: Callable[[str], Path],
        sampling: Sampling | None = None,
        *,
        counting: Counting | None = None,
        evidence: Evidence | None = None,
    ) -> None:
        self._listeners, self._settings, self._tell, self._path_of, self._sampling = listeners, settings, tell, path_of, sampling
        self._counting = counting
        self._selector = selectors.DefaultSelector()
        self._wishes: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wakes, self._waker = socket.socketpair()
        self._wakes.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._wakes, selectors.EVENT_READ, self._hear)
        self._waiting = Waiting(self._selector, listeners, settings.about, settings.limits.slots)
        self._orders: deque[tuple[str | None, str | None]] = deque()
        self._current: Child | None = None
        self._starting: Child | None = None
        self._draining: set[Child] = set()
        self._measuring = Measuring(self._selector, listeners[0], settings.probe_seconds, settings.limits.request_seconds)
        self._evidence = evidence or Evidence()
        self._evidence.attach(self._wish, self._children)
        self._falls = Falls(settings.first_backoff_seconds, settings.most_backoff_seconds)
        self._alone_since = float("-inf")  # without a server
        self._relay_at = float("inf")
        self._crashes = 0
        self._counts = Counts()
        self._count_at = 0.0
        self._is_over = False
        # One thread for the whole life: a child ends with the thread that started it.
        self._thread = threading.Thread(target=self._run, name="serving", daemon=True)

    def start(self) -> None:
        """Begins to listen."""
        self._is_alone()
        self._thread.start()

    def serve(self, digest: str | None, against: str | None = None) -> None:
        """The effect Serve. against: the version before, whose predictions are to be compared with this one's."""
        self._wish(lambda: self._orders.append((digest, against)))

    def measure(self, digest: str) -> None:
        """The effect Measure."""
        self._wish(lambda: self._measure(digest))

    def sample(self, wanted: SamplesWanted | None, *, is_known: bool = True) -> None:
        """What the fleet's owner wants of the requests; see `Sampling.follow`."""
        if (sampling := self._sampling) is not None:
            self._wish(lambda: sampling.follow(wanted, is_known=is_known))

    @property
    def samples(self) -> Mapping[str, Any] | None:
        """What becomes of samples; None: none are taken."""
        return None if self._sampling is None else self._sampling.status

    @property
    def counts(self) -> Counts:
        """What the reports say."""
        return self._counts

    @property
    def pids(self) -> frozenset[int]:
        """The processes that there are."""
        return frozenset(child.pid for child in self._children())

    def close(self) -> None:
        """Drains what serves, and closes the sockets. Returns when that is done."""

        def end() -> None:
            self._is_over = True
            self._orders.clear()
            if self._starting:
                self._starting.end()
            self._retire()

        self._wish(end)
        self._thread.join()

    # The thread

    def _wish(self, wish: Callable[[], None]) -> None:
        self._wishes.put(wish)
        with suppress(BlockingIOError):  # it is awake then
            self._waker.send(b".")

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            self._wakes.recv(4096)
        while not self._wishes.empty():
            self._wishes.get()()

    def _run(self) -> None:
        try:
            while not (self._is_over and not self._children()):
                now = time.monotonic()
                times = [
                    self._go_on(now),
                    self._see_to_relay(now),
                    self._see_to_waiting(now),
                    self._count(now),
                    None if self._sampling is None else self._sampling.see_to(self._current, now),
                    self._end_overdue(now),
                    self._waiting.tidy(),
                ]
                until = min((it for it in times if it is not None), default=None)
                for key, _ in self._selector.select(None if until is None else max(0.0, until - time.monotonic())):
                    known = self._selector.get_map().get(key.fd)
                    if known is not None and known.data is key.data:  # an earlier call may have ended it
                        key.data()
        finally:
            for child in self._children():
                child.end()
            self._measuring.stop()
            if self._counting is not None:
                self._counting.close()
            self._waiting.close()
            for listener in self._listeners:
                listener.close()
            self._selector.close()

    def _children(self) -> list[Child]:
        return [it for it in (self._current, self._starting, *self._draining) if it is not None]

    def _go_on(self, now: float) -> float | None:
        """Carries out the next order, if the one before is done. When it is of use again."""
        while self._orders and (self._starting is None or self._starting.is_relay):
            (digest, against), current = self._orders[0], self._current
            if digest is not None and current is not None and current.digest == digest:
                self._tell(events.Serving(digest))
            elif digest is None:
                if current is not None and not current.is_relay:
                    self._retire()
                    self._is_alone()
            else:
                if (due := self._falls.due(digest)) > now:
                    return due
                if self._settings.stop_first:
                    self._retire()
                if self._starting is not None:  # a content goes first
                    self._starting.end()
                    return None
                if self._draining:  # there are never three at a time
                    return None
                self._begin(digest, against)
            self._orders.popleft()
        return None

    def _is_alone(self, for_long: bool = True) -> None:
        """There is no server now. for_long: none is on its way, so that nobody waits for one, unless the cloud can answer."""
        now = time.monotonic()
        self._alone_since = float("-inf") if for_long and self._settings.fallback is None else now
        self._relay_at = now + _RELAY_AFTER_SECONDS

    def _see_to_relay(self, now: float) -> float | None:
        """Has the cloud answer alone, where there is no server. When it is of use again."""
        if self._settings.fallback is None or self._is_over or self._children():
            return None
        due = max(self._relay_at, self._falls.due(RELAY))
        if due > now:
            return due
        self._begin(RELAY)
        return None

    def _begin(self, digest: str, against: str | None = None) -> None:
        its, listeners = self._settings, self._listeners
        content, before = (None if it is None else self._path_of(it) for it in (digest or None, against))
        try:
            others: dict[str, Any] = {"fallback": its.fallback, "peers": its.peers, "view": its.view}
            child = Child(digest, content, listeners, limits=its.limits, about=its.about, against=before, **others)
        except OSError as error:
            if digest == RELAY:
                self._falls.fell(RELAY)
                return
            self._tell(events.ServeFailed(digest, Reason.SERVER_FAULT, printable(f"no process could be started: {error}")))
            return
        self._starting = child
        self._selector.register(child.channel.fileno(), selectors.EVENT_READ, lambda: self._read(child))

    def _retire(self) -> None:
        if self._current is not None:
            self._current.drain()
            self._draining.add(self._current)
            self._current = None
            self._is_alone(for_long=False)
            self._measuring.stop()

    def _see_to_waiting(self, now: float) -> float | None:
        """Whether those who ask wait or are told that there is nothing. When it is of use again."""
        if self._current is not None or self._is_over:
            self._waiting.answer(False)
            return None
        said_at = self._alone_since + self._settings.wait_seconds
        self._waiting.answer(now >= said_at)
        return None if now >= said_at else said_at

    def _end_overdue(self, now: float) -> float | None:
        children = self._children()
        for child in children:
            if child.deadline is not None and now >= child.deadline:
                child.end()
        self._measuring.end_overdue(now)
        return min((it for it in (self._measuring.until, *(child.deadline for child in children)) if it is not None), default=None)

    # What servers say

    def _read(self, child: Child) -> None:
        try:
            for message, descriptors in child.channel.received():
                self._heed(child, message, descriptors)
        except EOFError:
            self._ended(child)
        except (ValueError, LookupError, TypeError, OSError):  # who knows what became of that process
            child.failure = child.failure or (Reason.SERVER_FAULT, "the server says what cannot be read")
            child.end()

    def _heed(self, child: Child, message: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        what = message["what"]
        if what == channel.LOADED:
            child.is_loaded()
        elif what == channel.READY and child is self._starting:
            self._switch(child)
        elif what == channel.UNFIT:
            child.failure = child.failure or (Reason(message["reason"]), str(message["text"]))
        elif what == channel.SAMPLED and self._sampling is not None:
            self._sampling.heard(child, descriptors)
        elif what == channel.MEASURED:
            self._measured(child, message)
        elif what == channel.EVIDENCE:
            self._evidence.said(message)
        elif what in (channel.HELD, channel.DROPPED, channel.RELEASED):
            connection = child.take(message, descriptors)
            if connection is not None:
                self._waiting.park(connection)
                self._hand_on()

    def _switch(self, child: Child) -> None:
        self._waiting.answer(False)
        self._evidence.begin(child)
        child.serve()
        old, self._current, self._starting = self._current, child, None
        self._falls.began(child.digest)
        self._hand_on()
        if old is not None:
            self._measuring.stop()
            old.drain()
            self._draining.add(old)
        if not child.is_relay:
            self._counts = Counts(crashes=self._crashes)
            self._tell(events.Serving(child.digest))

    def _hand_on(self) -> None:
        current = self._current
        if current is not None:
            self._waiting.hand_on(lambda connection: current.channel.send(channel.ADOPT, connection.fileno()))

    def _ended(self, child: Child) -> None:
        self._selector.unregister(child.channel.fileno())
        status = child.reap()
        if child is self._starting:
            self._starting = None
            reason, text = child.why_not_ready(status)
            if child.is_relay:
                self._falls.fell(RELAY)
            elif child.fell_over_before and not self._is_over:  # without, then
                self._orders.appendleft((child.digest, None))
            elif not self._is_over:
                self._tell(events.ServeFailed(child.digest, reason, printable(text)))
        else:
            reason, text = child.why_ended(status)
            was_current = child is self._current
            if was_current:
                self._current = None
                self._is_alone(for_long=False)
            self._draining.discard(child)
            self._waiting.bury(child, reason, text)
            self._hand_on()
            if was_current:
                self._measuring.stop()
                self._falls.fell(child.digest)
                if not child.is_relay:
                    self._crashes += 1
                    self._counts = replace(self._counts, crashes=self._crashes)
                    self._tell(events.Crashed(child.digest, reason, printable(text)))
        child.page.close()

    # Measurements

    def _measure(self, digest: str) -> None:
        """What is not served is answered by the event that says so."""
        if self._current is not None and self._current.digest == digest:
            self._measuring.begin(self._current, self._path_of(digest))

    def _count(self, now: float) -> float | None:
        """Asks what the server has counted, now and then. When it is of use again."""
        if self._current is None or self._current.is_relay:
            return None
        if now >= self._count_at:
            self._count_at = now + self._settings.count_seconds
            self._current.channel.send(channel.MEASURE)
        return self._count_at

    def _measured(self, child: Child, message: Mapping[str, Any]) -> None:
        if self._counting is not None and message.get("seen") is not None:
            self._counting.heard(message["seen"])
        found = self._measuring.heard(child, message)
        if child is self._current and not child.is_relay:
            self._counts = Counts.of(message, self._crashes)
        if found is not None:
            self._tell(events.Measured(child.digest, found))
