"""One simulated device: an executor of the core's effects on a virtual clock."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.simulated.agenda import Agenda
from tests.simulated.line import Line, Traffic

from isthmus_agent.core import events
from isthmus_agent.core.effects import Cancel, Check, Effect, Fetch, Measure, Persist, Say, Serve, Sweep
from isthmus_agent.core.events import Event, Measurement
from isthmus_agent.core.state import Device, Kept, Moment, Settings
from isthmus_agent.core.step import start, step, wakes_at
from isthmus_agent.disk.opening import opened
from isthmus_agent.formats.report import Figures, Reason
from isthmus_agent.manager.failures import disk_reason
from isthmus_agent.manager.fetching import Fetcher
from isthmus_agent.manager.looking import Known, Looker
from isthmus_agent.manager.reporter import Reporter, Sender
from isthmus_agent.manager.repository import Address, Repository
from isthmus_agent.manager.signing_v4 import Credentials, StoreClock

LOOK_SECONDS: Final = 0.5
START_SECONDS: Final = 2.0
MEASURE_SECONDS: Final = 0.2
BYTES_PER_SECOND: Final = 125_000
REQUESTS_PER_SECOND: Final = 2.0
LEAST_WAIT_SECONDS: Final = 0.5
_MARK_BYTES: Final = 6


@dataclass(frozen=True)
class Kind:
    """What a content does on a device.

    self_test: None: it passes. bad_request_seconds: the mean time until a request comes that ends it, for `bad_reason`. p95_microseconds:
    of its answers. is_silent: its device is never heard of again once it is on trial.
    """

    self_test: Reason | None = None
    bad_request_seconds: float | None = None
    bad_reason: Reason = Reason.CRASHED
    p95_microseconds: int = 2_000
    is_silent: bool = False


GOOD: Final = Kind()


@dataclass(frozen=True)
class World:
    """What all devices share. kinds: of contents that are not good, by digest. held_back_seconds: as `reporter.Sender.patience_seconds`."""

    agenda: Agenda
    traffic: Traffic
    address: Address
    root: bytes
    settings: Settings
    kinds: Mapping[str, Kind]
    held_back_seconds: float = 120.0


class _Repository(Repository):
    def forget(self) -> None:
        """Frees what was read: it is on the disk, and 10,000 devices share this memory."""
        self._targets = None


class _Reporter(Reporter):
    """The thread's work, done when asked."""

    def start(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def send_due(self) -> float | None:
        """Sends what is due; in how many seconds there is more, if ever."""
        while True:
            say, wait_seconds = self._next()
            if say is None:
                return wait_seconds
            self._send(say)
            self._queue.sent(say)
            self._since.pop(say.number, None)


class SimulatedDevice:
    """touched: the numbers of assignments whose content it fetched, or had on trial. confirmed: when it confirmed each content."""

    def __init__(self, world: World, who: Device, key: bytes, credentials: Credentials | None, folder: Path) -> None:
        self.world, self.who, self.folder = world, who, folder
        self._key, self._credentials = key, credentials
        self.touched: set[int] = set()
        self.confirmed: dict[str, float] = {}
        self.is_dead = False
        self._dice = random.Random(who.name)  # noqa: S311 - a simulation's chance
        self._process: tuple[int, str] | None = None
        self._starts, self._crashes, self._began = 0, 0, 0.0
        self._wakes: float | None = None
        self._ticked = -math.inf
        self._p95: int | None = None
        self._heard: list[Event] = []
        monotonic = lambda: world.agenda.now  # noqa: E731
        clock = StoreClock()
        self.line = Line(credentials, clock, world.traffic)
        self.disk = opened(folder)
        self._repository = _Repository(world.address, folder / "metadata", world.root, self.line, monotonic=monotonic)
        self._looker = Looker(self._repository, self.line, clock, who, self._heard.append, monotonic=monotonic)
        self._fetcher = Fetcher(self.disk, self.line, world.address.targets_url, self._heard.append)
        sender = Sender(who.name, who.fleet, world.address.url, key, world.held_back_seconds)
        self._reporter = _Reporter(self.disk.queue, sender, self.line, folder / "reported", monotonic=monotonic)
        self._reporter.start(self._figures)
        self._mark = self._dice.getrandbits(8 * _MARK_BYTES)

    def again(self) -> "SimulatedDevice":
        """The same device from what its disk has, after whatever ended it."""
        found = SimulatedDevice(self.world, self.who, self._key, self._credentials, self.folder)
        found.touched, found.confirmed, found.line.log = self.touched, self.confirmed, self.line.log
        return found

    def boot(self) -> None:
        """Begins to live."""
        kept, held = self.disk.kept, self.disk.held
        self.state, effects = start(self.who, self.world.settings, kept, self._now(), held=held, seed=self.who.name)
        self._do(effects)
        self._schedule()

    def give(self, event: Event) -> None:
        """Has something happen."""
        if self.is_dead:
            return
        self.state, effects = step(self.state, event, self._now())
        if self.state.kept.current and self.state.kept.current not in self.confirmed:
            self.confirmed[self.state.kept.current] = self.world.agenda.now
        self._do(effects)
        self._schedule()

    def _now(self) -> Moment:
        return Moment(self.world.agenda.now, self.world.agenda.utc.timestamp())

    def _later(self, seconds: float, event: Event) -> None:
        self.world.agenda.at(self.world.agenda.now + seconds, lambda: self.give(event))

    def _schedule(self) -> None:
        # A core that wants a tick at once, and does nothing with it, is asked again after a while, as by the real executor.
        wakes = max(wakes_at(self.state), self._ticked + LEAST_WAIT_SECONDS)
        if self._wakes is None or wakes < self._wakes:
            self._wakes = wakes
            self.world.agenda.at(wakes, lambda: self._wake(wakes))

    def _wake(self, at: float) -> None:
        if self._wakes != at:
            return  # an earlier one took its place
        self._wakes = None
        if not self.is_dead and wakes_at(self.state) <= self.world.agenda.now:
            self._ticked = self.world.agenda.now
            self.give(events.Tick())
        elif not self.is_dead:
            self._schedule()

    def _do(self, effects: Sequence[Effect]) -> None:
        for index, effect in enumerate(effects):
            if isinstance(effect, Persist):
                try:
                    self.disk.keep(effect.kept)
                except OSError as error:
                    kept = self.disk.marks.read() or Kept()
                    self.give(events.PersistFailed(disk_reason(error), kept, effects[index + 1 :]))
                    return
                if effect.kept.trial:
                    self.touched.add(effect.kept.trial_number)
            else:
                self._do_one(effect)

    def _do_one(self, effect: Effect) -> None:
        if isinstance(effect, Check):
            kept = self.state.kept
            self._looker.look(effect, Known(kept.number, kept.time_floor, kept.time_keys, self.state.is_lost))
            self._repository.forget()
            self._later(LOOK_SECONDS, self._heard.pop())
        elif isinstance(effect, Fetch):
            number = self.state.target.number if self.state.target else self.state.kept.number
            self.touched.add(number)
            self._fetcher.want(effect.variant.digest)
            self._fetcher.fetch(effect, number, self._looker.targets)
            self._later(LOOK_SECONDS + effect.variant.bytes / BYTES_PER_SECOND, self._heard.pop())
        elif isinstance(effect, Cancel):
            self._fetcher.give_up(effect.digest)
        elif isinstance(effect, Serve):
            self._serve(effect.digest)
        elif isinstance(effect, Measure):
            self._measure(effect.digest)
        elif isinstance(effect, Sweep):
            self.disk.slots.sweep(effect.keep)
            self.disk.parts.sweep(effect.keep)
        elif isinstance(effect, Say):
            self._reporter.say(effect)
            self._send()

    # The interpreter.

    def _serve(self, digest: str | None) -> None:
        self._starts += 1
        if digest is None:
            self._process = None
        elif self._process and self._process[1] == digest:
            self._later(0.0, events.Serving(digest))
        else:
            begun = self._starts
            kind = self.world.kinds.get(digest, GOOD)
            self.is_dead = self.is_dead or kind.is_silent
            self.world.agenda.at(self.world.agenda.now + START_SECONDS, lambda: self._started(begun, digest, kind))

    def _started(self, begun: int, digest: str, kind: Kind) -> None:
        if begun != self._starts:
            return  # another one was asked for meanwhile
        if kind.self_test:
            self.give(events.ServeFailed(digest, kind.self_test))
            return
        self._process, self._began, self._p95 = (begun, digest), self.world.agenda.now, None
        if kind.bad_request_seconds is not None:
            comes = self.world.agenda.now + self._dice.expovariate(1 / kind.bad_request_seconds)
            self.world.agenda.at(comes, lambda: self._bad_request(begun, digest, kind.bad_reason))
        self.give(events.Serving(digest))

    def _bad_request(self, begun: int, digest: str, reason: Reason) -> None:
        if self._process == (begun, digest):
            self._process = None
            self._crashes += 1
            self.give(events.Crashed(digest, reason))

    def _measure(self, digest: str) -> None:
        if self._process and self._process[1] == digest:
            self._p95 = self.world.kinds.get(digest, GOOD).p95_microseconds
            self._later(MEASURE_SECONDS, events.Measured(digest, Measurement(True, self._p95, 40 << 20, 0)))

    # Reports.

    def _figures(self) -> Figures:
        requests = int((self.world.agenda.now - self._began) * REQUESTS_PER_SECOND)
        crashes = max(self._crashes, self.state.crashes)
        return Figures(self.state.kept.boots, self._mark, 0, requests, 0, crashes, self._p95, 40 << 20, 0)

    def _send(self) -> None:
        if self.is_dead:
            return
        seconds = self._reporter.send_due()
        if seconds is not None:
            self.world.agenda.at(self.world.agenda.now + seconds, self._send)
