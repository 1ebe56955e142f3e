"""A device in its group: the pure core, a connection to the broker, and a thread that has them meet."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from random import Random, SystemRandom
from typing import Any, Final

from isthmus_agent.bus.failures import BusFailure, OldFailure
from isthmus_agent.bus.link import Broker, Down, Heard, Link, Up
from isthmus_agent.formats import numbers, passing, presence, topics
from isthmus_agent.formats.numbers import FormatError
from isthmus_agent.formats.passing import MOST_PAYLOAD_BYTES, Outcome
from isthmus_agent.formats.topics import Kind, Topic
from isthmus_agent.group.core import Core
from isthmus_agent.group.effects import Answered, Effect, Joined, Key, Moved, Pass, Say, Torn, Unanswered, Work

_MOST_IN_QUEUE: Final = 1024
"""Messages that were heard and not yet looked at; the oldest go first. Whoever sent one that mattered sends it again."""
_LEAST_WAIT_SECONDS: Final = 0.005

Listen = Callable[[str, bytes], None]
"""Gets what a device told: its name, and the content. Raises FormatError for what is none, which is counted."""


class UnansweredError(Exception):
    """A request, or a job in tiles, that has no answer, and why."""


class Member:
    """Takes part in a group from `start` to `close`. All of its methods may be called from any thread; none of them waits for the bus.

    work: does requests, on the member's own thread, and must not hold it up: it hands them to whoever serves, and `done` says what came of
    them. say: gets one line for each change that a person may want to know of. moved: gets each move of a stream of this device.
    listens: by subject, what gets what another device tells all (`tell`): who it is, and the content. Like `work` it must not hold the
    thread up. there: gets the names of those that are there, at the start and whenever they are others than before; while the broker is
    away, nobody is.

    Raises FormatError for a group's name that is none, ValueError where the broker knows the device by another name than its group.
    """

    def __init__(
        self,
        group: str,
        broker: Broker,
        core: Core,
        work: Callable[[Key, str, bytes], None],
        *,
        say: Callable[[str], None] = lambda text: None,
        moved: Callable[[Moved], None] = lambda move: None,
        listens: Mapping[str, Listen] | None = None,
        there: Callable[[Sequence[str]], None] = lambda names: None,
        random: Random | None = None,
    ) -> None:
        if broker.user != core.own:
            raise ValueError(f"the broker's user is {broker.user}, and the device is {core.own}: a broker's ACL goes by the user")
        self._group, self._own = numbers.name(group, "group"), core.own
        self._core, self._work, self._say, self._moved = core, work, say, moved
        self._listens, self._there = dict(listens or {}), there
        self._live: list[str] | None = None
        self._wishes: queue.SimpleQueue[Callable[[], Sequence[Effect]]] = queue.SimpleQueue()
        self._heard: deque[Heard] = deque()
        self._answers: dict[int, Future[bytes]] = {}
        self._jobs: dict[int, Future[tuple[bytes, ...]]] = {}
        self._said: BusFailure | None = None
        self._is_up = self._is_over = False
        self.unread = self.overrun = 0
        reads = topics.reads(group, core.own, tuple(self._listens))
        self._link = Link(broker, reads, self._will, self._tell, random or SystemRandom())
        self._thread = threading.Thread(target=self._run, name="group-member", daemon=True)

    def start(self) -> None:
        """Begins to take part."""
        self._thread.start()
        self._link.start()

    def close(self) -> None:
        """Leaves: others hear of it at once, and what waits for an answer here has none."""
        if self._thread.is_alive():
            self._link.close(self._asked(lambda: (self._farewell(), [])))
            self._wish(self._end)
            self._thread.join(timeout=5.0)

    def open(self, stream: str, work_per_1000_seconds: int, *, may_move: bool = True, among: str = "") -> None:
        """See `Core.open`. Raises as that does."""
        self._asked(lambda: (None, self._core.open(stream, work_per_1000_seconds, time.monotonic(), may_move=may_move, among=among)))

    def offer(self, capacity_per_1000_seconds: int) -> None:
        """See `Core.offer`. Does not wait for it. Raises FormatError."""
        offered = numbers.integer(capacity_per_1000_seconds, "capacity_per_1000_seconds", 0, presence.MOST_WORK)
        self._wish(lambda: self._core.offer(offered, time.monotonic()))

    def owner(self, stream: str) -> str | None:
        """Who does a stream of this device's at the moment; None: nobody. Raises KeyError for one that is not open."""
        found: str | None = self._asked(lambda: (self._core.asking.leases[stream].owner, []))
        return found

    def tell(self, subject: str, content: bytes) -> bool:
        """Says something to all that listen to a subject, at once or not at all: whether it was handed over. It comes to those that are
        connected, if nothing is lost on the way, and may come twice. Raises FormatError, ValueError."""
        if len(content) > MOST_PAYLOAD_BYTES:
            raise ValueError(f"{len(content)} bytes, expected {MOST_PAYLOAD_BYTES} at most")
        return self._link.send(Topic(Kind.TOLD, self._own, numbers.name(subject, "subject")).text(self._group), content)

    def ask(self, stream: str, payload: bytes, within_seconds: float) -> "Future[bytes]":
        """The one answer to a request, when it comes; UnansweredError where none will. Raises as `Core.ask` does.

        A future that is cancelled withdraws the request: an answer from elsewhere was there first.
        """
        answer: Future[bytes] = Future()

        def begin() -> tuple[None, Sequence[Effect]]:
            number, effects = self._core.ask(stream, payload, time.monotonic(), within_seconds)
            self._answers[number] = answer
            answer.add_done_callback(lambda it: self._withdraw(number) if it.cancelled() else None)
            return None, effects

        self._asked(begin)
        return answer

    def split(self, tiles: Sequence[bytes], work_per_1000_tiles: int, within_seconds: float) -> "Future[tuple[bytes, ...]]":
        """One input done in tiles by all that are there, joined in their order. Raises as `Core.split` does."""
        whole: Future[tuple[bytes, ...]] = Future()

        def begin() -> tuple[None, Sequence[Effect]]:
            now = time.monotonic()
            number, effects = self._core.split(tiles, self._core.speeds(work_per_1000_tiles, now), now, within_seconds)
            self._jobs[number] = whole
            return None, effects

        self._asked(begin)
        return whole

    def done(self, key: Key, outcome: Outcome, payload: bytes) -> None:
        """What came of a `work`."""
        self._wish(lambda: self._core.done(key, outcome, payload, time.monotonic()))

    def server_lost(self) -> None:
        """Who did the work died with what it had in hand: all of that is to be done again."""
        self._wish(self._core.server_lost)

    def status(self) -> Mapping[str, Any]:
        """What is so now: members, streams with owners, what waits, what was refused and dropped."""
        found: Mapping[str, Any] = self._asked(lambda: (self._status(), []))
        return found

    # The member's thread

    def _run(self) -> None:
        while not self._is_over:
            now = time.monotonic()
            wait_seconds = max(_LEAST_WAIT_SECONDS, self._core.wakes_at(now) - now)
            try:
                wish = self._wishes.get(timeout=wait_seconds)
            except queue.Empty:
                self._do(self._core.tick(time.monotonic()))
                self._see_members()
                continue
            self._do(wish())
            if self._core.wakes_at(time.monotonic()) <= time.monotonic():
                self._do(self._core.tick(time.monotonic()))
            self._see_members()

    def _see_members(self) -> None:
        live = sorted(self._core.membership.live(time.monotonic())) if self._is_up else []
        if live != self._live:
            self._live = live
            self._there(live)

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Work):
                self._work(effect.key, effect.stream, effect.payload)
            elif isinstance(effect, Pass):
                kind = Kind.REQUEST if isinstance(effect.message, passing.Request) else Kind.ANSWER
                self._link.send(Topic(kind, self._own, effect.to).text(self._group), passing.encoded(effect.message))
            elif isinstance(effect, Say):
                self._link.send(Topic(Kind.PRESENCE, self._own).text(self._group), presence.encoded(effect.presence), retain=True)
            elif isinstance(effect, Moved):
                self._say(f"stream {effect.stream}: {effect.before or 'nobody'} → {effect.after or 'nobody'}")
                self._moved(effect)
            elif isinstance(effect, Answered | Unanswered):
                _settle(self._answers.pop(effect.id, None), effect.payload if isinstance(effect, Answered) else UnansweredError(effect.why))
            elif isinstance(effect, Joined | Torn):
                _settle(self._jobs.pop(effect.job, None), effect.results if isinstance(effect, Joined) else UnansweredError(effect.why))

    def _end(self) -> Sequence[Effect]:
        self._is_over = True
        unanswered: list[Future[Any]] = [*self._answers.values(), *self._jobs.values()]
        for waiting in unanswered:
            _settle(waiting, UnansweredError("this device has left its group"))
        return []

    # What others' threads say

    def _wish(self, wish: Callable[[], Sequence[Effect]]) -> None:
        self._wishes.put(wish)

    def _asked(self, what: Callable[[], tuple[Any, Sequence[Effect]]]) -> Any:
        """Has something done between two events, and gives what it returns or raises."""
        result: Future[Any] = Future()

        def wish() -> Sequence[Effect]:
            try:
                found, effects = what()
            except Exception as error:
                result.set_exception(error)
                return []
            result.set_result(found)
            return effects

        if threading.current_thread() is self._thread:
            self._do(wish())
        elif self._thread.is_alive():
            self._wish(wish)
        else:
            raise UnansweredError("this device takes no part in its group")
        return result.result(timeout=30.0)

    def _tell(self, what: Up | Down | Heard) -> None:
        """From the link's thread."""
        if isinstance(what, Heard):
            if len(self._heard) >= _MOST_IN_QUEUE:
                self._heard.popleft()
                self.overrun += 1
            self._heard.append(what)
            self._wish(self._read)
        else:
            self._wish(lambda: self._changed(what))

    def _changed(self, what: Up | Down) -> Sequence[Effect]:
        self._is_up = isinstance(what, Up)
        if isinstance(what, Up):
            self._said = None
            self._say("the group's broker is there")
            return self._core.connected(time.monotonic())
        self._core.disconnected()
        is_known = self._said is not None and (type(self._said), str(self._said)) == (type(what.why), str(what.why))
        if not is_known and not isinstance(what.why, OldFailure):
            self._said = what.why
            self._say(f"{what.why.failure}: {what.why}")
        return []

    def _read(self) -> Sequence[Effect]:
        if not self._heard:
            return []
        heard, now = self._heard.popleft(), time.monotonic()
        try:
            topic = topics.read(heard.topic, self._group)
            if topic.kind is Kind.PRESENCE:
                return self._core.heard(topic.sender, presence.decoded(heard.content), now, is_retained=heard.is_retained)
            if topic.kind is Kind.TOLD:
                return self._hear_told(topic, heard.content)
            if topic.kind is Kind.REQUEST:
                return self._core.asked(topic.sender, passing.request(heard.content))
            return self._core.answered(topic.sender, passing.answer(heard.content), now)
        except FormatError:
            self.unread += 1
            return []

    def _hear_told(self, topic: Topic, content: bytes) -> Sequence[Effect]:
        """Raises FormatError."""
        listen = self._listens.get(topic.to or "")
        if topic.sender != self._own and listen is not None:
            listen(topic.sender, content)
        return []

    def _will(self) -> tuple[str, bytes]:
        """From the link's thread, which waits for it: the number of a connection is the core's to give."""
        return self._asked(lambda: ((Topic(Kind.PRESENCE, self._own).text(self._group), presence.encoded(self._core.connecting())), []))  # type: ignore[no-any-return]

    def _farewell(self) -> tuple[str, bytes]:
        return Topic(Kind.PRESENCE, self._own).text(self._group), presence.encoded(self._core.leaving())

    def _withdraw(self, number: int) -> None:
        def wish() -> Sequence[Effect]:
            self._answers.pop(number, None)
            self._core.asking.withdraw(number)
            return []

        self._wish(wish)

    def _status(self) -> Mapping[str, Any]:
        core, now = self._core, time.monotonic()
        return {
            "is_connected": self._is_up,
            "members": sorted(core.membership.live(now)),
            "streams": {name: lease.owner for name, lease in core.asking.leases.items()},
            "waiting": len(core.asking),
            "working": len(core.working),
            "asked_again": core.asking.asked_again,
            "answers_refused": core.asking.refused,
            "requests_repeated": core.working.repeated,
            "requests_outdated": core.working.outdated,
            "requests_turned_away": core.working.turned_away,
            "presences_refused": core.membership.refused,
            "unread": self.unread,
            "overrun": self.overrun,
            "unsent": self._link.dropped,
            "failure": str(self._said) if self._said else None,
        }


def _settle(waiting: "Future[Any] | None", what: object) -> None:
    """Has a future have its result, or its exception; not one that was cancelled meanwhile."""
    if waiting is None or not waiting.set_running_or_notify_cancel():
        return
    if isinstance(what, Exception):
        waiting.set_exception(what)
    else:
        waiting.set_result(what)
