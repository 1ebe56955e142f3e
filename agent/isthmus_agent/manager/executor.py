"""Carries out what the core wants, and tells it what came of it. One thread, which waits for events and for the core's next time.

What takes its time (the store, downloads, reports, the server) has threads of its own. What it owes the core stands in `core.effects`.
"""

import os
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from isthmus_agent.core import events
from isthmus_agent.core.effects import Cancel, Check, Effect, Fetch, Measure, Persist, Say, Serve, Sweep
from isthmus_agent.core.events import Event, Measurement
from isthmus_agent.core.state import Kept, Moment, Phase, State
from isthmus_agent.core.step import Step, step, wakes_at
from isthmus_agent.disk.opening import Disk
from isthmus_agent.formats.report import Figures, Reason
from isthmus_agent.formats.samples_wanted import SamplesWanted
from isthmus_agent.manager import telling
from isthmus_agent.manager.failures import disk_reason
from isthmus_agent.manager.fetching import Fetcher
from isthmus_agent.manager.history import Entry, History
from isthmus_agent.manager.looking import Known, Looker
from isthmus_agent.manager.notify import Watcher
from isthmus_agent.manager.reporter import Reporter
from isthmus_agent.manager.way import Folder, Way
from isthmus_agent.manager.worker import Worker

_LEAST_WAIT_SECONDS = 0.02
"""Between two ticks: a core that wants one at once, and does nothing with it, must not keep a processor busy."""
_UNDER_WAY = (Phase.CHECKING, Phase.DOWNLOADING, Phase.VERIFIED, Phase.WAITING)


class _Counts(Protocol):
    @property
    def requests(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def crashes(self) -> int: ...
    @property
    def answered_by_cloud(self) -> int: ...
    @property
    def cloud_unavailable(self) -> int: ...


class Server(Protocol):
    """What serves contents: `serving.Serving`, or a test's own. Its events come by the executor's `tell`."""

    def start(self) -> None:
        """Begins to listen."""

    def serve(self, digest: str | None, against: str | None = None) -> None:
        """The effect Serve. against: the version before, whose predictions are to be compared with this one's."""

    def measure(self, digest: str) -> None:
        """The effect Measure."""

    def sample(self, wanted: SamplesWanted | None, *, is_known: bool = True) -> None:
        """What the fleet's owner wants of the requests; None: nothing. is_known: False where that could not be asked."""

    @property
    def samples(self) -> Mapping[str, Any] | None:
        """What becomes of samples; None: none are taken."""

    def close(self) -> None:
        """Drains and ends."""

    @property
    def counts(self) -> _Counts:
        """What was asked and answered."""


class Group(Protocol):
    """The device's part in its group: `together.Together`."""

    def start(self) -> None:
        """Begins to take part."""

    def status(self) -> Mapping[str, Any]:
        """For people at the device."""

    def close(self) -> None:
        """Leaves."""


@dataclass
class Rooms:
    """What the executor does things with. ways: of looks and of downloads. url: what a mirror in a folder is a mirror of. group: None: it
    works alone."""

    disk: Disk
    server: Server
    looker: Looker
    fetcher: Fetcher
    reporter: Reporter
    history: History
    ways: Sequence[Way]
    url: str
    group: Group | None = None


class Mailbox:
    """Events on their way to the executor, from any thread."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Event | Callable[[], None]] = queue.SimpleQueue()

    def tell(self, event: Event) -> None:
        """Something has happened."""
        self._waiting.put(event)

    def ask(self, what: Callable[[], None]) -> None:
        """Has something done between two events."""
        self._waiting.put(what)

    def next(self, wait_seconds: float) -> "Event | Callable[[], None] | None":
        """What came first; None where nothing came."""
        try:
            return self._waiting.get(timeout=max(0.0, wait_seconds))
        except queue.Empty:
            return None


class Executor:
    """One device's life. begun: what `core.step.start` gave. boot_mark: drawn at this start."""

    def __init__(self, begun: Step, rooms: Rooms, mailbox: Mailbox, boot_mark: int, watcher: Watcher) -> None:
        self.state, self._first = begun
        self._rooms, self._mailbox, self._boot_mark, self._watcher = rooms, mailbox, boot_mark, watcher
        self._looks, self._fetches = Worker("looks"), Worker("fetches")
        self._measured: tuple[str, Measurement] | None = None
        self._mirror: Folder | None = None
        self._is_mirror_taken = self._is_over = False
        self.ends_when_settled = False
        self.update_failed: str | None = None

    @property
    def entries(self) -> Sequence[Entry]:
        """What happened lately."""
        return self._rooms.history.entries

    def now(self) -> Moment:
        """The moment, for the core."""
        return Moment(time.monotonic(), self._rooms.looker.utc_seconds(self.state.kept.time_floor))

    def run(self) -> None:
        """Lives until it is stopped."""
        self._rooms.server.start()
        if self._rooms.group is not None:
            self._rooms.group.start()
        self._rooms.reporter.start(self.figures)
        self._rooms.history.note(f"started, boot {self.state.kept.boots}", self.state.phase)
        self._do(self._first)
        while not self._is_over:
            self._watcher.awake()
            wait_seconds = max(_LEAST_WAIT_SECONDS, wakes_at(self.state) - time.monotonic())
            found = self._mailbox.next(min(wait_seconds, self._watcher.wait_seconds))
            if callable(found):
                found()
            elif found is not None:
                self.give(found)
            elif wakes_at(self.state) <= time.monotonic():
                self.give(events.Tick())
            self._see_to_mirror()
        if self._rooms.group is not None:
            self._rooms.group.close()
        self._rooms.server.close()

    def stop(self) -> None:
        """Has it end, from any thread or from a signal's handler."""
        self._mailbox.ask(self._end)

    def _end(self) -> None:
        self.give(events.Stopping())
        self._is_over = True

    def give(self, event: Event) -> None:
        """Has something happen."""
        if isinstance(event, events.Measured):
            self._measured = event.digest, event.measurement
        if self._mirror and self._is_mirror_taken and isinstance(event, events.CheckFailed | events.FetchFailed):
            is_delta = event.reason is Reason.DELTA_UNUSABLE  # then the whole is looked for
            self.update_failed = self.update_failed if is_delta else f"{event.reason.name.lower()}: {event.text}"
        before = self.state
        self.state, effects = step(before, event, self.now())
        self._rooms.history.see(before, event, self.state)
        self._do(effects)
        self._see_to_samples(event)

    def _see_to_samples(self, event: Event) -> None:
        """Samples are taken as long as the last look at the store went well: who is kept from the store is kept from what ends them."""
        told, device = self.state.assignment, self.state.device
        if isinstance(event, events.CheckFailed) or (isinstance(event, events.Checked) and told is not event.assignment):
            self._rooms.server.sample(None, is_known=False)
        elif isinstance(event, events.Checked | events.Unchanged) and told is not None:
            is_asked = told.samples is not None and told.samples.has(device.labels)
            self._rooms.server.sample(told.samples if is_asked else None)

    def figures(self) -> Figures:
        """What reports say beside their outcome."""
        counts, measured = self._rooms.server.counts, self._measured
        found = measured[1] if measured and measured[0] == self.state.served else Measurement()
        return Figures(
            self.state.kept.boots,
            self._boot_mark,
            0,
            counts.requests,
            counts.errors,
            max(counts.crashes, self.state.crashes),
            found.p95_microseconds,
            found.rss_bytes,
            found.distribution_distance_millionths,
            answered_by_cloud=counts.answered_by_cloud,
            cloud_unavailable=counts.cloud_unavailable,
        )

    # Effects

    def _do(self, effects: Sequence[Effect]) -> None:
        for index, effect in enumerate(effects):
            if isinstance(effect, Persist):
                try:
                    self._rooms.disk.keep(effect.kept)
                except OSError as error:
                    kept = self._rooms.disk.marks.read() or Kept()
                    self.give(events.PersistFailed(disk_reason(error), kept, effects[index + 1 :]))
                    return
            else:
                self._do_one(effect)

    def _do_one(self, effect: Effect) -> None:
        rooms, state = self._rooms, self.state
        if isinstance(effect, Check):
            known = Known(state.kept.number, state.kept.time_floor, state.kept.time_keys, state.is_lost)
            self._looks.do(lambda: rooms.looker.look(effect, known))
        elif isinstance(effect, Fetch):
            number = state.target.number if state.target else state.kept.number
            rooms.fetcher.want(effect.variant.digest)
            self._fetches.do(lambda: rooms.fetcher.fetch(effect, number, rooms.looker.targets))
        elif isinstance(effect, Cancel):
            rooms.fetcher.give_up(effect.digest)
        elif isinstance(effect, Serve):
            rooms.server.serve(effect.digest, _before(state.kept, effect.digest))
        elif isinstance(effect, Measure):
            rooms.server.measure(effect.digest)
        elif isinstance(effect, Sweep):
            rooms.disk.slots.sweep(effect.keep)
            rooms.disk.parts.sweep(effect.keep)
        elif isinstance(effect, Say):
            rooms.reporter.say(effect)

    # What people at the device want

    def asked(self, question: dict[str, Any]) -> dict[str, Any]:
        """The answer to somebody at the device. From any thread; it is given between two events."""
        answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._mailbox.ask(lambda: answers.put(self._answer(question)))
        try:
            return answers.get(timeout=30.0)
        except queue.Empty:
            return {"error": "the program is busy; ask again"}

    def _answer(self, question: dict[str, Any]) -> dict[str, Any]:
        wish = question.get("do")
        if wish == "status":
            return self._status()
        if wish == "rollback":
            kept = self.state.kept
            if kept.trial is None and (kept.current is None or kept.previous not in self.state.held):
                return {"error": "there is nothing to go back to: this device has no model before the one that it serves"}
            self.give(events.RollBack())
            return self._status()
        if wish == "update" and isinstance(question.get("from"), str):
            self.update_from(Path(question["from"]))
            return self._status()
        return {"error": "that is nothing that can be asked for"}

    def _status(self) -> dict[str, Any]:
        rooms = self._rooms
        found = telling.of_state(self.state, self.now(), rooms.history.entries)
        progress = rooms.fetcher.progress
        return {
            **found,
            "pid": os.getpid(),
            "update_failed": self.update_failed,
            "source": str(self._mirror.folder) if self._mirror else "store",
            "fetched_bytes": progress[0] if progress else None,
            "fetched_of_bytes": progress[1] if progress else None,
            "reports_waiting": rooms.reporter.waiting,
            "reports_fail": rooms.reporter.last_failure or None,
            "requests": rooms.server.counts.requests,
            "errors": rooms.server.counts.errors,
            "samples": rooms.server.samples,
            "group": None if rooms.group is None else rooms.group.status(),
        }

    def update_from(self, folder: Path) -> None:
        """Looks into a mirror of the repository instead of the store, until what is found there is on trial, or of no use."""
        self._mirror, self._is_mirror_taken, self.update_failed = Folder(folder, self._rooms.url), False, None

    def _see_to_mirror(self) -> None:
        state, mirror = self.state, self._mirror
        if mirror is None:
            self._is_over = self._is_over or (self.ends_when_settled and not state.looking and _is_settled(state))
        elif not self._is_mirror_taken:
            if state.fetching is not None:
                self._rooms.fetcher.give_up(state.fetching)
            elif not state.looking:
                self._is_mirror_taken = True
                for way in self._rooms.ways:
                    way.folder = mirror
                self.give(events.LookNow())
        elif not state.looking and (state.phase not in _UNDER_WAY or not mirror.folder.is_dir()):
            self._mirror = None
            for way in self._rooms.ways:
                way.folder = None


def _is_settled(state: State) -> bool:
    return state.phase not in (*_UNDER_WAY, Phase.TRIAL)


def _before(kept: Kept, digest: str | None) -> str | None:
    """The version before a content on probation, where its probation asks how far their predictions are from each other."""
    is_asked = digest == kept.trial and kept.probation.max_distribution_distance_millionths is not None
    return kept.current if is_asked else None
